from collections import Counter
from types import SimpleNamespace

import pytest

from memxfer.capabilities import Channel, Level
from memxfer.cli.exits import CLEAN, FAILED, INCOMPLETE, code_of_result
from memxfer.engine.control import RunControl, StopCause
from memxfer.engine.engine import Shortage
from memxfer.errors import NotReadyError, RateLimitedError
from memxfer.ledger import State
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
    unfinished=(),
    vanished=(),
    shortage=None,
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
    engine = SimpleNamespace(
        aborted=dict(aborted),
        unfinished=lambda: list(unfinished),
        vanished=vanished,
        shortage=shortage,
        finished=5,
    )
    return outcome(plan, ledger, engine, control, seconds=seconds)


@pytest.mark.parametrize(
    ("cause", "status", "goes_on"),
    [
        (StopCause.INTERRUPTED, JobStatus.INTERRUPTED, True),
        (StopCause.AUTH, JobStatus.PAUSED, True),
        (StopCause.QUOTA, JobStatus.PAUSED, True),
        (StopCause.FATAL, JobStatus.PAUSED, True),
        (StopCause.UNAVAILABLE, JobStatus.PAUSED, True),
        (StopCause.CONFIG, JobStatus.PAUSED, True),
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


def test_a_run_that_met_a_wrong_setting_says_to_mend_it_before_going_on():
    result = ended(cause=StopCause.CONFIG, stored=9)

    assert result.message == "it says why. Fix that first; then `memxfer resume move` goes on"


@pytest.mark.parametrize(
    ("left", "message"),
    [
        (
            {"aborted": {"user:a": "cursors expired"}},
            "1 partition not read to the end (user:a: cursors expired); `memxfer resume move` tries again",
        ),
        ({"unfinished": ["user:a", "user:b"]}, "in 2 partitions (user:a) records still turned up"),
        ({"shortage": Shortage(24, 12)}, "the source counts 24 rows and has listed 12, although"),
        (
            {"waiting": 3},
            "3 records wait for their group to be sent; `memxfer resume move` goes on with them",
        ),
        ({"intent": 1}, "1 records may have been sent and have no answer; `memxfer resume move` goes on"),
        (
            {"intent": 2, "waiting": 4, "failed": 1},
            "2 records may have been sent and have no answer and 4 records wait for their group",
        ),
    ],
)
def test_a_run_that_leaves_anything_undone_is_never_complete(left, message):
    result = ended(stored=9, **left)

    assert result.status is JobStatus.INCOMPLETE
    assert code_of_result(result) == INCOMPLETE
    assert result.message.startswith(message)
    assert "`memxfer resume move`" in result.message


@pytest.mark.parametrize("state", list(State))
def test_a_clean_end_has_records_in_good_final_states_only(state):
    result = ended(**{state.value: 1})

    is_good = state in (State.STORED, State.PRESENT, State.SKIPPED, State.GONE, State.ROLLED_BACK)
    assert (code_of_result(result) == CLEAN) is is_good


def test_a_sample_leaves_partitions_unread_and_is_complete_but_never_with_open_records():
    sample = PLAN.model_copy(update={"sample": 10})

    assert ended(plan=sample, stored=10, unfinished=["all"]).status is JobStatus.COMPLETED
    assert ended(plan=sample, stored=10, waiting=1).status is JobStatus.INCOMPLETE


@pytest.mark.parametrize(
    ("counts", "status", "code"),
    [
        ({"stored": 1}, JobStatus.COMPLETED_WITH_FAILURES, FAILED),
        ({"gone": 1}, JobStatus.COMPLETED_WITH_FAILURES, FAILED),
        ({"failed": 1}, JobStatus.COMPLETED_WITH_FAILURES, FAILED),
        ({"uncertain": 1}, JobStatus.INCOMPLETE, INCOMPLETE),
    ],
)
def test_a_partition_that_vanished_unread_is_named_and_lets_the_job_end(counts, status, code):
    result = ended(vanished=("user:ann", "user:bob"), **counts)

    assert (result.status, code_of_result(result)) == (status, code)
    assert result.message.startswith(
        "2 partitions disappeared from the source before all was read (user:ann)"
    )


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


def test_a_job_of_which_the_target_kept_nothing_says_so_first():
    nothing = ended(failed=1_200, skipped=3, silent=1_200)
    assert nothing.status is JobStatus.COMPLETED_WITH_FAILURES
    assert nothing.message == (
        "new kept no memory of any of the 1,200 records; "
        "`memxfer failures move` lists what did not arrive, and why"
    )
    assert not ended(failed=2, stored=1, silent=2).message.startswith("new kept")


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
