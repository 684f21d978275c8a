import json
from pathlib import Path

import pytest

from memxfer.errors import JobNotFoundError
from memxfer.migration import Holdings
from memxfer.migration.results import Failure, JobStatus, JobSummary

FAILURES = [
    Failure(
        id="user[/red]x", state="failed", code="too_large", reason="too\x1b[31m large", correlation_id="c1"
    ),
    Failure(id="b", key="mx:b", state="uncertain"),
]
SUMMARY = JobSummary(
    job="j1",
    source="old",
    target="new",
    status=JobStatus.COMPLETED,
    listed=3,
    stored=3,
    created_at="2026-01-31T12:00:00Z",
    running=False,
)


def test_failures_are_one_line_each_with_foreign_text_made_harmless(cli, verbs):
    verbs(failures=FAILURES)
    first, second = cli("failures", "j").stdout.splitlines()
    assert first.split("\t") == ["user[/red]x", "", "failed", "too_large", "too\\x1b[31m large", "c1"]
    assert second.split("\t") == ["b", "mx:b", "uncertain", "", "", ""]


def test_failures_as_json_are_one_object(cli, verbs):
    verbs(failures=iter(FAILURES))
    shown = json.loads(cli("failures", "j", "--json").stdout)
    assert shown["job"] == "j"
    assert [row["id"] for row in shown["failures"]] == ["user[/red]x", "b"]


def test_no_failures_are_an_empty_list(cli, verbs):
    verbs(failures=iter(()))
    assert json.loads(cli("failures", "j", "--json").stdout) == {"job": "j", "failures": []}


def test_jobs_alone_lists_them(cli, verbs):
    verbs(list_jobs=[SUMMARY])
    assert cli("jobs").stdout == cli("jobs", "list").stdout
    assert "j1" in cli("jobs").stdout


def test_a_state_folder_without_jobs_says_so(cli, verbs):
    verbs(list_jobs=[])
    assert "No jobs here." in cli("jobs").stdout


@pytest.mark.usefixtures("at_a_terminal")
def test_rm_asks_and_leaves_the_job_without_a_yes(cli, verbs):
    calls = verbs(holdings=Holdings(None, 0, True), remove_job=None)
    answer = cli("jobs", "rm", "j", input="n\n")
    assert answer.exit_code == 130
    assert [name for name, _, _ in calls] == ["holdings"]


@pytest.mark.usefixtures("at_a_terminal")
def test_rm_removes_after_a_yes_and_with_the_flag(cli, verbs):
    calls = verbs(holdings=Holdings(None, 0, True), remove_job=None)
    assert cli("jobs", "rm", "j", input="y\n").exit_code == 0
    assert cli("jobs", "rm", "j", "--yes").exit_code == 0
    assert [name for name, _, _ in calls] == ["holdings", "remove_job"] * 2


@pytest.mark.usefixtures("at_a_terminal")
def test_rm_of_a_job_that_is_not_there_does_not_ask(cli, verbs):
    verbs(holdings=JobNotFoundError("no job 'j'"))
    answer = cli("jobs", "rm", "j", input="y\n")
    assert answer.exit_code == 2
    assert "Remove" not in answer.output


def test_export_and_import_pass_file_and_state_folder(cli, verbs):
    calls = verbs(export_job=None, import_job="j1")
    cli("jobs", "export", "j1", "j1.tar.gz", "--state-dir", "here")
    answer = cli("jobs", "import", "j1.tar.gz", "--json")
    assert calls[0] == ("export_job", ("j1", Path("j1.tar.gz")), {"state_dir": Path("here").absolute()})
    assert json.loads(answer.stdout) == {"job": "j1"}
