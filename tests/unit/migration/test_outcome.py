from collections import Counter
from types import SimpleNamespace

import pytest

from memxfer.capabilities import Channel, Level
from memxfer.engine.control import RunControl, StopCause
from memxfer.errors import NotReadyError, RateLimitedError
from memxfer.migration import JobStatus
from memxfer.migration.outcome import outcome
from memxfer.plan import JobPlan, PlanEnd
from memxfer.testing import ManualClock

END = PlanEnd(connection="new", provider="memory", namespace="x")
PLAN = JobPlan(job="move", created_at="2026-01-01T00:00:00Z", source=END, target=END, document_id="{id}")


def ended(
    *,
    plan=PLAN,
    cause=None,
    silent=0,
    aborted=(),
    is_short=False,
    seconds=2.0,
    notes=None,
    missing=None,
    **counts,
):
    control = RunControl(ManualClock())
    if cause:
        control.stop(cause, "it says why")
    ledger = SimpleNamespace(
        counts=lambda: Counter(counts),
        problems=lambda code: silent,
        notes=lambda prefix: notes or {},
        meta=lambda name: missing,
    )
    engine = SimpleNamespace(aborted=dict(aborted), is_short=is_short, finished=5)
    return outcome(plan, ledger, engine, control, seconds=seconds)


@pytest.mark.parametrize(
    ("cause", "status", "goes_on"),
    [
        (StopCause.INTERRUPTED, JobStatus.INTERRUPTED, True),
        (StopCause.AUTH, JobStatus.PAUSED, True),
        (StopCause.QUOTA, JobStatus.PAUSED, True),
        (StopCause.FATAL, JobStatus.PAUSED, True),
        (StopCause.UNAVAILABLE, JobStatus.PAUSED, True),
        (StopCause.UNCERTAIN, JobStatus.INCOMPLETE, False),
        (StopCause.LEDGER, JobStatus.FAILED, True),
        (StopCause.BUG, JobStatus.FAILED, True),
    ],
)
def test_a_run_that_stopped_early_says_why_and_is_never_complete(cause, status, goes_on):
    result = ended(cause=cause, stored=9)

    assert (result.status, result.cause) == (status, cause.value)
    assert result.message.startswith("it says why")
    assert ("`memxfer resume move` goes on" in result.message) is goes_on


def test_a_partition_that_was_given_up_makes_a_job_incomplete():
    result = ended(aborted={"user:a": "its cursors expired"}, stored=1)

    assert result.status is JobStatus.INCOMPLETE
    assert result.message == "1 partitions not read to their end (user:a: its cursors expired)"


def test_a_listing_that_came_out_short_makes_a_job_incomplete():
    result = ended(is_short=True, stored=1)

    assert result.status is JobStatus.INCOMPLETE
    assert result.message.startswith("the source says it holds more rows than it listed; ")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"stored": 1}, ""),
        (
            {"accepted": 1_200},
            "1,200 documents are accepted and not yet stored; `memxfer resume move` asks again",
        ),
        ({"uncertain": 1}, "`memxfer failures move` lists what did not arrive, and why"),
        ({"rejected": 1}, "`memxfer failures move` lists what did not arrive, and why"),
    ],
)
def test_a_job_at_rest_says_what_to_do_next(counts, message):
    assert ended(**counts).message == message


def test_a_sample_says_how_to_move_the_rest():
    result = ended(plan=PLAN.model_copy(update={"sample": 10}), stored=10)

    assert result.status is JobStatus.COMPLETED
    assert result.message == "a sample of 10 records; `memxfer resume move --all` moves the rest"


def test_what_the_run_did_is_counted_and_its_speed_told():
    result = ended(stored=4, intent=1, documents_acknowledged=6, documents_resent=2, silent=3, seconds=2.0004)

    assert (result.counts.listed, result.counts.uncertain, result.documents, result.resent) == (5, 1, 6, 2)
    assert (result.seconds, result.records_per_second) == (2.0, 2.5)
    assert [line.records for line in result.losses] == [3]
    assert ended(seconds=0.0).records_per_second == 0.0


@pytest.mark.parametrize("kind", [RateLimitedError, NotReadyError])
def test_an_error_that_asks_to_wait_keeps_all_it_was_told(kind):
    error = kind("wait", retry_after=3.0, provider="p", operation="write", status=429, correlation_id="c")

    assert (error.retry_after, error.provider, error.status, error.correlation_id) == (3.0, "p", 429, "c")
    assert kind("wait").retry_after is None


def test_levels_are_written_by_name():
    channel = Channel(read=Level.NATIVE, write=Level.LOSSY)

    assert channel.model_dump(mode="json") == {"read": "native", "write": "lossy", "note": ""}
