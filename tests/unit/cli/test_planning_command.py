"""`memxfer plan`, `migrate --plan`, and the question at a terminal, on real in-process stores."""

import json

import pytest

from memxfer.models import MemoryRecord, Scope, Version
from memxfer_memory import MemoryStore

CONFIG = """
[connections.old]
provider = "memory"
store = "planned-from"
[connections.new]
provider = "memory"
store = "planned-into"
drops = ["versions"]
unit_price = 0.25
"""


@pytest.fixture(autouse=True)
def stores(working_folder):
    (working_folder / "memxfer.toml").write_text(CONFIG)
    MemoryStore.named("planned-from").seed(
        MemoryRecord(
            id=f"r{n}", content=f"text {n}", scope=Scope(user="ann"), versions=(Version(content="w"),)
        )
        for n in range(4)
    )
    yield
    for name in ("planned-from", "planned-into"):
        MemoryStore.forget(name)


def written():
    return len(MemoryStore.named("planned-into"))


def test_a_plan_says_what_would_move_cost_and_be_kept_and_writes_its_file_alone(cli, working_folder):
    answer = cli("plan", "old", "new", "-o", "move.json", "--accept-loss", "versions")

    assert answer.exit_code == 0, answer.stderr
    shown = " ".join(answer.stdout.split())
    for said in ("Plan: old -> new", "4 memories in old", "land with 1 user", "1.00 is what", "4 originals"):
        assert said in shown
    assert {path.name for path in working_folder.iterdir()} == {"memxfer.toml", "move.json"}
    assert (working_folder / "move.json").stat().st_mode & 0o777 == 0o600
    assert written() == 0


def test_a_plan_without_consent_is_written_and_ends_with_3_and_the_flag(cli, working_folder):
    answer = cli("plan", "old", "new", "-o", "move.json")

    assert answer.exit_code == 3
    assert "--accept-loss versions" in answer.stderr
    assert (working_folder / "move.json").exists()


def test_a_plan_is_carried_out_and_resumed_as_any_job(cli):
    cli("plan", "old", "new", "-o", "move.json", "--accept-loss", "versions")

    answer = cli("migrate", "--plan", "move.json", "--job", "j", "--json", "--yes")

    assert answer.exit_code == 0, answer.stderr
    assert json.loads(answer.stdout)["counts"]["stored"] == written() == 4
    assert cli("resume", "j").exit_code == 0


def test_consent_may_follow_the_plan(cli):
    cli("plan", "old", "new", "-o", "move.json")

    assert cli("migrate", "--plan", "move.json", "--yes").exit_code == 3
    assert written() == 0
    assert cli("migrate", "--plan", "move.json", "--accept-loss", "all", "--yes").exit_code == 0
    assert written() == 4


@pytest.mark.parametrize(
    "words",
    [
        ("old", "new", "--plan", "move.json"),
        ("--plan", "move.json", "--where", "user=ann"),
        ("--plan", "move.json", "--sample", "1"),
        ("--plan", "move.json", "--residue", "off"),
        ("--plan", "none.json"),
        ("old",),
        (),
    ],
)
def test_a_plan_and_something_else_or_neither_ends_with_2(cli, words):
    cli("plan", "old", "new", "-o", "move.json")

    answer = cli("migrate", *words)

    assert answer.exit_code == 2
    assert written() == 0


def test_json_is_the_plan_with_its_report_and_no_secret(cli):
    shown = json.loads(cli("plan", "old", "new", "--json").stdout)

    assert shown["forecast"]["documents"] == 4
    assert shown["report"]["dimensions"][0]["dimension"] == "versions"
    assert "api_key" not in json.dumps(shown)


def test_a_plan_that_cannot_be_written_is_said_before_anything_is_read(cli, working_folder):
    answer = cli("plan", "old", "new", "-o", "no/such/folder/move.json")

    assert answer.exit_code == 2
    assert "no folder" in answer.stderr


@pytest.mark.parametrize("name", ["move.html", "move.pdf", "move"])
def test_a_plan_is_not_written_under_the_ending_of_something_else(cli, working_folder, name):
    answer = cli("plan", "old", "new", "-o", name)

    assert answer.exit_code == 2
    assert "name it move.json" in answer.stderr
    assert not (working_folder / name).exists()


@pytest.mark.usefixtures("at_a_terminal")
def test_a_person_sees_the_plan_and_is_asked(cli):
    answer = cli("migrate", "old", "new", "--accept-loss", "versions", input="yes\n")

    assert answer.exit_code == 0, answer.stderr
    assert "Plan: old -> new" in answer.stderr
    assert "Move these records?" in answer.stderr
    assert written() == 4


@pytest.mark.usefixtures("at_a_terminal")
@pytest.mark.parametrize("word", ["", "y\n", "no\n", "YES\n"])
def test_any_other_word_moves_nothing(cli, word):
    answer = cli("migrate", "old", "new", "--accept-loss", "versions", input=word or "\n")

    assert answer.exit_code == 130
    assert "nothing was written" in answer.stderr
    assert written() == 0


@pytest.mark.usefixtures("at_a_terminal")
def test_a_loss_is_never_accepted_by_the_answer_or_by_yes(cli):
    asked = cli("migrate", "old", "new", input="yes\n")
    unasked = cli("migrate", "old", "new", "--yes")

    assert (asked.exit_code, unasked.exit_code, written()) == (3, 3, 0)
    assert "Move these records?" not in asked.stderr


def test_with_yes_nobody_is_asked(cli):
    answer = cli("migrate", "old", "new", "--accept-loss", "all", "--yes", input="")

    assert answer.exit_code == 0
    assert "Move these records?" not in answer.stderr


def test_what_waits_for_a_decision_is_told_apart_from_what_can_never_be_sent(cli, working_folder):
    (working_folder / "memxfer.toml").write_text(CONFIG + 'required_axes = ["tenant"]\n')

    answer = cli("plan", "old", "new")

    shown = " ".join(answer.stdout.split())
    assert answer.exit_code == 3
    assert "4 wait for a decision of yours (unscoped)" in shown
    assert "can never be sent" not in shown
    assert "1 to be decided" in shown
