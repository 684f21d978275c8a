import json
from pathlib import Path

import pytest

from memxfer.cli.session import Session


@pytest.mark.parametrize(
    "arguments", [("--json", "status", "j"), ("status", "j", "--json"), ("status", "--json", "j")]
)
def test_global_options_work_before_and_after_the_command(cli, verbs, result, arguments):
    verbs(status=result())
    assert json.loads(cli(*arguments).stdout)["job"] == "old-to-new-1"


def test_a_group_takes_them_before_and_after_its_command_too(cli, verbs):
    calls = verbs(list_jobs=[])
    assert cli("--state-dir", "a", "jobs", "--json").exit_code == 0
    assert cli("jobs", "--json", "list", "--state-dir", "b").exit_code == 0
    assert [args for _, args, _ in calls] == [(Path("a").absolute(),), (Path("b").absolute(),)]


def test_the_option_nearest_to_the_command_wins(cli, verbs, result):
    calls = verbs(status=result())
    cli("--state-dir", "outer", "status", "j", "--state-dir", "inner")
    assert calls[0][2]["state_dir"] == Path("inner").absolute()


def test_options_left_out_keep_their_value():
    before = Session(config="a.toml", as_json=True, verbose=1)
    assert before.updated({"config": None, "as_json": False, "verbose": 0, "quiet": True}) == Session(
        config="a.toml", as_json=True, verbose=1, quiet=True
    )


def test_the_version_is_printed_alone(cli):
    answer = cli("--version")
    assert (answer.exit_code, answer.stdout) == (0, "memxfer 0.1.0\n")


def test_every_command_shows_the_global_options_in_its_help(cli):
    for command in (["diff"], ["jobs", "export"], ["providers", "check"], ["demo"]):
        shown = cli(*command, "--help", env={"COLUMNS": "120"}).stdout
        assert "--state-dir" in shown
        assert "--log-format" in shown


def test_a_typing_mistake_is_a_usage_error(cli):
    answer = cli("migrate", "old", "new", "--acept-loss", "all")
    assert answer.exit_code == 2
    assert answer.stdout == ""
