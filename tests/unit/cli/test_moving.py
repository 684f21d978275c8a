import asyncio
import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest

import memxfer.migration
from memxfer.errors import AuthError, DecisionRequiredError, JobNotFoundError
from memxfer.migration import Holdings
from memxfer.migration.results import JobStatus
from memxfer.plan import Forecast, JobPlan

RESULT_KEYS = {
    "job",
    "status",
    "counts",
    "ignored",
    "documents",
    "resent",
    "losses",
    "seconds",
    "records_per_second",
    "residue",
}
REPORT_COUNTS = {"scanned", "total", "sample", "rows", "filtered", "unreadable", "ignored"}
COUNT_KEYS = {
    "listed",
    "accepted",
    "stored",
    "present",
    "skipped",
    "rejected",
    "failed",
    "in_flight",
    "uncertain",
    "gone",
}
STREAMS = ("stdin", "stdout", "stderr")
TUNING = {"listers", "writers", "buffer_bytes"}
LINE_KEYS = {
    "dimension",
    "group",
    "source",
    "target",
    "verdict",
    "records",
    "estimate",
    "samples",
    "blocking",
    "contradiction",
    "consequence",
    "remedy",
}


def test_migrate_json_is_one_object_with_the_keys_of_the_contract(cli, verbs, result):
    verbs(migrate=result())
    answer = cli("migrate", "old", "new", "--json", "--yes")
    shown = json.loads(answer.stdout)
    assert answer.exit_code == 0
    assert set(shown) == RESULT_KEYS
    assert set(shown["counts"]) == COUNT_KEYS
    assert set(shown["losses"][0]) == LINE_KEYS


def test_diff_json_is_one_object_with_the_keys_of_the_contract(cli, verbs, report):
    verbs(diff=report)
    shown = json.loads(cli("diff", "old", "new", "--json").stdout)
    assert set(shown) == {"source", "target", "blocking", "dimensions", *REPORT_COUNTS}
    assert set(shown["dimensions"][0]) == LINE_KEYS
    assert shown["dimensions"][0]["verdict"] == "lost"


def test_what_migrate_is_told_reaches_the_verb(cli, verbs, result):
    calls = verbs(migrate=result())
    cli(
        *("migrate", "old", "new", "--where", "user=alice", "--sample", "5", "--scan", "50", "--job", "mine"),
        *("--accept-loss", "versions, temporal", "--accept-loss", "ids", "--wait-ready", "--no-wait"),
        *("--on-uncertain", "skip", "--yes"),
    )
    _, (source, target), told = calls[0]
    assert (source, target, told["job"]) == ("old", "new", "mine")
    given = asdict(told["options"])
    assert {name: given[name] for name in given if name not in TUNING} == {
        "where": "user=alice",
        "sample": 5,
        "scan": 50,
        "accept_loss": ("versions", "temporal", "ids"),
        "accept_decisions": (),
        "residue": "lossy",
        "dry_run": False,
        "wait_ready": True,
        "on_uncertain": "skip",
        "settle": False,
    }


def test_a_dry_run_says_what_would_be_lost_and_that_nothing_was_written(cli, verbs, result):
    calls = verbs(migrate=result(listed=0, stored=0))
    answer = cli("migrate", "old", "new", "--dry-run")
    assert calls[0][2]["options"].dry_run is True
    assert "versions" in answer.stdout
    assert "nothing was written" in answer.stdout
    assert "listed" not in answer.stdout


def test_a_missing_decision_ends_with_3_and_the_exact_flags(cli, verbs):
    verbs(
        migrate=DecisionRequiredError(
            "2 records would lose their versions", remedies=("--accept-loss versions",)
        )
    )
    answer = cli("migrate", "old", "new", "--yes")
    assert answer.exit_code == 3
    assert answer.stdout == ""
    assert "--accept-loss versions" in answer.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_what_lacks_a_consent_is_shown_as_a_plan_and_with_json_the_error_alone(cli, verbs, as_json):
    error = DecisionRequiredError("40 rows", remedies=("--accept-loss ignored",))
    end = {"connection": "old", "provider": "memory", "namespace": "m"}
    error.plan = JobPlan(
        created_at="2026-01-01T00:00:00Z",
        source=end,
        target=end,
        document_id="{id}",
        forecast=Forecast(listed=2, ignored={"no_text": 40}),
    )
    verbs(migrate=error)
    answer = cli("migrate", "old", "new", "--yes", *(["--json"] if as_json else []))
    assert answer.exit_code == 3
    if as_json:
        assert json.loads(answer.stdout)["error"]["code"] == "decision_required"
    else:
        assert "40    rows beside them are ignored" in answer.stdout


def test_a_refused_key_ends_with_4_and_the_correlation_id(cli, verbs):
    verbs(
        migrate=AuthError("the key is refused", provider="synap", operation="connect", correlation_id="c-17")
    )
    answer = cli("migrate", "old", "new", "--yes")
    assert answer.exit_code == 4
    assert "c-17" in answer.stderr


@pytest.mark.parametrize(
    ("status", "code"), [(JobStatus.INTERRUPTED, 130), (JobStatus.INCOMPLETE, 5), (JobStatus.COMPLETED, 0)]
)
def test_resume_ends_with_the_code_of_the_result(cli, verbs, result, status, code):
    verbs(resume=result(status))
    assert cli("resume", "old-to-new-1").exit_code == code


def test_resume_passes_on_what_it_is_told(cli, verbs, result):
    calls = verbs(resume=result())
    cli("resume", "j", "--on-uncertain", "resend", "--no-wait")
    assert calls[0][1] == ("j",)
    assert calls[0][2]["options"] == memxfer.migration.Options(on_uncertain="resend", settle=False)


@pytest.mark.parametrize(("verdict", "code"), [("lost", 3), ("approximated", 3), ("enveloped", 3)])
def test_fail_on_fails_at_its_verdict_and_at_worse_ones(cli, verbs, report, verdict, code):
    verbs(diff=report)
    assert cli("diff", "old", "new", "--fail-on", verdict).exit_code == code


def test_fail_on_ignores_better_verdicts_and_lines_without_records(cli, verbs, report, line):
    milder = (line("tags", "context", "enveloped", records=9), line("expiry", "temporal", "lost", records=0))
    verbs(diff=report.model_copy(update={"dimensions": milder}))
    assert cli("diff", "old", "new", "--fail-on", "at_risk").exit_code == 0


def test_fail_on_fails_when_a_decision_is_missing(cli, verbs, report):
    verbs(diff=report.model_copy(update={"dimensions": (), "blocking": True}))
    assert cli("diff", "old", "new", "--fail-on", "lost").exit_code == 3


def test_diff_alone_reports_and_ends_with_0(cli, verbs, report):
    verbs(diff=report)
    answer = cli("diff", "old", "new")
    assert answer.exit_code == 0
    assert "Versioning" in answer.stdout


@pytest.mark.parametrize("scan", ["0", "-1", "some"])
def test_scan_takes_a_number_or_all(cli, scan):
    answer = cli("diff", "old", "new", f"--scan={scan}")
    assert answer.exit_code == 2
    assert "--scan takes a number of records or all" in answer.stderr


def test_an_unknown_job_is_a_usage_error_in_the_words_of_the_core(cli, verbs):
    verbs(resume=JobNotFoundError("no job 'x' in .memxfer"))
    answer = cli("resume", "x")
    assert (answer.exit_code, answer.stderr) == (2, "error: no job 'x' in .memxfer\n")


@pytest.mark.parametrize(
    "words",
    [
        ("migrate", "old", "new"),
        ("migrate", "old", "new", "--accept-loss", "all", "--json"),
        ("migrate", "--plan", "move.json"),
        ("jobs", "rm", "j"),
        ("providers", "check", "new", "--probe"),
    ],
)
@pytest.mark.parametrize("typed", ["", "yes\n"])
def test_without_a_terminal_nothing_is_written_unless_yes_is_on_the_line(cli, verbs, result, words, typed):
    calls = verbs(
        migrate=result(),
        plan=None,
        remove_job=None,
        probe=None,
        read_plan=None,
        holdings=Holdings(None, 0, True),
    )

    answer = cli(*words, input=typed)

    assert answer.exit_code == 2
    assert "not a terminal: pass --yes" in answer.stderr
    assert {name for name, *_ in calls} <= {"holdings", "read_plan"}


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_one_stream_that_is_no_terminal_is_enough_not_to_ask(cli, verbs, result, monkeypatch, closed):
    calls = verbs(migrate=result())
    streams = {name: SimpleNamespace(isatty=lambda name=name: name != closed) for name in STREAMS}
    monkeypatch.setattr("memxfer.cli.asking.sys", SimpleNamespace(**streams))

    assert cli("migrate", "old", "new").exit_code == 2
    assert calls == []


def test_neither_a_dry_run_nor_a_resumed_job_needs_a_yes(cli, verbs, result):
    verbs(migrate=result(), resume=result())

    assert cli("migrate", "old", "new", "--dry-run").exit_code == 0
    assert cli("resume", "old-to-new-1").exit_code == 0


def test_what_a_resumed_job_may_lose_on_top_reaches_the_verb(cli, verbs, result):
    calls = verbs(resume=result())

    cli(
        "resume",
        "j",
        "--accept-loss",
        "tags,ids",
        "--accept-decision",
        "unscoped",
        "--accept-decision",
        "drops",
    )

    options = calls[0][2]["options"]
    assert options.accept_loss == ("tags", "ids")
    assert options.accept_decisions == ("unscoped", "drops")


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_job_that_waits_for_consent_ends_with_3_and_says_the_flag(cli, verbs, result, words):
    verbs(resume=result(JobStatus.PAUSED, cause="decision"))

    answer = cli("resume", "j", *words)

    assert answer.exit_code == 3
    assert "Done." in (answer.stderr if words else answer.stdout)


def test_progress_goes_to_stderr_and_data_to_stdout(cli, monkeypatch, result):
    async def migrate(*args, observer, **kwargs):
        observer.notice("info", "reading old")
        await asyncio.sleep(0)
        return result()

    monkeypatch.setattr(memxfer.migration, "migrate", migrate, raising=False)
    answer = cli("migrate", "old", "new", "--yes")
    assert "reading old" in answer.stderr
    assert "reading old" not in answer.stdout
    assert "old-to-new-1: completed" in answer.stdout
    assert cli("migrate", "old", "new", "-q", "--yes").stderr == ""
