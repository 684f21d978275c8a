"""A command that a message suggests finds the jobs and connections that the message is about."""

import re
import shlex
from datetime import UTC, datetime

import pytest

from memxfer.cli.session import Session
from memxfer.errors import ConfigError, DecisionRequiredError
from memxfer.ledger import FirstPlan, StateFolder


@pytest.fixture
def elsewhere(tmp_path):
    return tmp_path / "else where" / "jobs"


def suggested(text):
    """Return the command lines between backticks, as a shell would take them apart."""
    return [shlex.split(found)[1:] for found in re.findall(r"`(memxfer [^`]+)`", text)]


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("`memxfer resume j` goes on", "`memxfer resume j{}` goes on"),
        (
            "`memxfer resume j --all` and `memxfer jobs list`",
            "`memxfer resume j --all{0}` and `memxfer jobs list{0}`",
        ),
        ("let them go: memxfer jobs rm j --yes", "let them go: memxfer jobs rm j --yes{}"),
        ("memxfer migrate a b", "memxfer migrate a b{}"),
        ("see memxfer migrate or the docs", "see memxfer migrate or the docs"),
        ("`memxfer providers check old --probe`", "`memxfer providers check old --probe{}`"),
        ("`memxfer providers show synap` lists", "`memxfer providers show synap` lists"),
        ("`memxfer init` writes one", "`memxfer init` writes one"),
        ("`--where` of memxfer", "`--where` of memxfer"),
        ("one\nmemxfer status j\nthree", "one\nmemxfer status j{}\nthree"),
    ],
)
def test_commands_in_a_text_get_the_options_once(text, completed):
    options = " -c '/a b/m.toml' --state-dir /jobs"
    session = Session(repeated=options)
    assert session.complete(text) == completed.format(options)
    assert session.complete(session.complete(text)) == completed.format(options)
    assert Session().complete(text) == text


def test_nothing_is_repeated_where_the_defaults_lead_there(working_folder, monkeypatch):
    assert Session().resolved().repeated == ""
    assert Session(state_dir=working_folder / ".memxfer").resolved().repeated == ""
    monkeypatch.setenv("MEMXFER_STATE_DIR", str(working_folder / "jobs"))
    assert Session().resolved().repeated == ""
    assert Session(state_dir=working_folder / "jobs").resolved().repeated == ""
    beside = Session(config="deep/m.toml").resolved()
    assert (
        beside.repeated
        == f" -c {working_folder}/deep/m.toml --state-dir {working_folder}/jobs".partition(" --")[0]
    )


def test_the_remedies_of_a_decision_are_completed_as_well():
    error = DecisionRequiredError("why", remedies=("keep them: memxfer migrate a b", "--accept-loss tags"))
    Session(repeated=" --state-dir /x").complete_error(error)
    assert error.remedies == ("keep them: memxfer migrate a b --state-dir /x", "--accept-loss tags")


def test_an_error_without_a_text_is_left_alone():
    error = ConfigError()
    Session(repeated=" -c x").complete_error(error)
    assert error.args == ()


@pytest.mark.parametrize("spoil", ["unknown", "no ledger", "half made", "name taken", "empty plan"])
def test_what_an_error_suggests_works_as_it_is_typed(cli, elsewhere, spoil, tmp_path):
    job = elsewhere / "jobs" / "j"
    if spoil == "half made":
        job.mkdir(parents=True)
    elif spoil != "unknown":
        with StateFolder(elsewhere).claim("j") as folder:
            folder.begin(FirstPlan("j", "f" * 32, PLAN, datetime(2026, 1, 1, tzinfo=UTC)), PLAN)
    if spoil == "no ledger":
        (job / "ledger.sqlite").unlink()
    if spoil == "empty plan":
        (job / "plan.json").write_text("")
    words = ("migrate", "old", "new", "--job", "j", "--yes") if spoil == "name taken" else ("status", "j")
    answer = cli(*words, "--state-dir", str(elsewhere), "-c", "memxfer.toml")

    commands = suggested(answer.output)
    assert commands
    for command in commands:
        assert command[-4:] == ["-c", str(tmp_path / "memxfer.toml"), "--state-dir", str(elsewhere)]
        if command[:2] == ["jobs", "rm"]:
            assert cli(*command, "--yes").exit_code == 0
            assert not job.exists()
        elif command[0] == "jobs":
            assert cli(*command).exit_code == 0


PLAN = (
    '{"format": 1, "job": "j", "created_at": "2026-01-01T00:00:00Z", "document_id": "{id}", '
    '"source": {"connection": "old", "provider": "memory", "namespace": "a"}, '
    '"target": {"connection": "new", "provider": "memory", "namespace": "b"}}'
)
