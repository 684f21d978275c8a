"""Probes in bad weather: whatever happens, what was written is removed, or named."""

import asyncio

import pytest

from memxfer.errors import AuthError, ConfigError, UnavailableError
from memxfer.migration import ClaimVerdict, StopSignal
from memxfer.testing import Fault, FaultKind, SimulatedCrashError
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio

WRITES = 5


def fault(kind, on="write", *calls, **more):
    return Fault(kind, on=on, calls=calls, **more)


# -- what passes ------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["write", "lookup", "read_page", "get", "delete", "finish", "begin"])
async def test_refusals_with_429_are_waited_for(bench, lowered, on):
    report = await bench.probe(bench.faulty(fault(FaultKind.RATE_LIMITED, on, 1, retry_after=17.0)))
    assert (report.status, lowered(report)) == ("completed", {})
    assert 17.0 in bench.clock.slept
    assert bench.is_as_before


@pytest.mark.parametrize("on", ["write", "lookup", "count", "read_page", "get", "delete", "ingest_status"])
async def test_a_backend_that_is_away_for_a_moment_is_asked_again(bench, lowered, on):
    settings = {"acknowledges": "async"} if on == "ingest_status" else {}
    report = await bench.probe(bench.faulty(fault(FaultKind.UNAVAILABLE, on, 1, 2), **settings))
    assert (report.status, lowered(report)) == ("completed", {})
    assert bench.is_as_before


# -- what ends it -----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "cause"), [(FaultKind.AUTH, "auth"), (FaultKind.QUOTA, "quota")])
@pytest.mark.parametrize("call", range(1, WRITES + 1))
async def test_a_refusal_for_good_ends_the_probe_and_what_it_wrote_is_removed(bench, kind, cause, call):
    report = await bench.probe(bench.faulty(fault(kind, "write", call)))
    assert (report.status, report.cause) == ("failed", cause)
    assert report.documents == call - 1
    assert report.leftovers == ()
    assert report.evidence_file is None
    assert bench.is_as_before


async def test_a_backend_that_dies_and_stays_dead_is_said_with_what_is_left(bench):
    dead = [
        fault(FaultKind.UNAVAILABLE, "write", *range(3, 99)),
        *(Fault(FaultKind.UNAVAILABLE, on=on) for on in ("delete", "lookup", "finish")),
    ]
    report = await bench.probe(bench.faulty(*dead))
    assert (report.status, report.cause) == ("failed", "unavailable")
    [left] = report.leftovers
    assert left.key == bench.store.keys[0]
    assert left.target_ids == ("mem-00000002",)
    assert "nobody answers" in left.reason
    assert bench.told.warnings[-2:] != []
    assert "mem-00000002" in " ".join(bench.told.warnings)


@pytest.mark.parametrize("error", [AuthError("the key was revoked"), UnavailableError("nobody answers")])
async def test_a_backend_that_cannot_be_opened_again_is_said_with_what_is_left(bench, error):
    class OpensOnce(MemoryReferenceProvider):
        opened = 0

        async def _connect(self, role):
            self.opened += 1
            if self.opened > 2:  # target, source, and no more
                raise error
            return await super()._connect(role)

    report = await bench.probe(bench.provider(OpensOnce))
    assert report.leftovers
    assert {left.key for left in report.leftovers} == set(bench.store.keys)
    assert all("cannot be opened again" in left.reason for left in report.leftovers)


async def test_a_source_that_cannot_be_opened_costs_only_what_it_would_show(bench, claim_of):
    class NoSource(MemoryReferenceProvider):
        async def _connect(self, role):
            if role == "source":
                raise ConfigError("several stores in one")
            return await super()._connect(role)

    report = await bench.probe(bench.provider(NoSource))
    assert (report.status, report.leftovers) == ("completed", ())
    assert "several stores in one" in claim_of(report, "dimensions.tags.write").note
    assert claim_of(report, "operations.lookup").verdict is ClaimVerdict.CONFIRMED
    assert bench.is_as_before


@pytest.mark.parametrize("kind", [FaultKind.AUTH, FaultKind.UNAVAILABLE])
async def test_a_source_that_cannot_be_read_costs_only_what_it_would_show(bench, claim_of, kind):
    report = await bench.probe(bench.faulty(Fault(kind, on="read_page"), hidden=("get",)))
    assert (report.status, report.leftovers) == ("completed", ())
    assert "reading back failed" in claim_of(report, "dimensions.tags.write").note
    assert bench.is_as_before


# -- lost answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [FaultKind.AMBIGUOUS_AFTER, FaultKind.AMBIGUOUS_BEFORE, FaultKind.DROPPED_RECEIPTS]
)
@pytest.mark.parametrize("call", range(1, WRITES + 1))
@pytest.mark.parametrize("policy", ["upsert", "append"])
async def test_what_a_lost_answer_may_have_stored_is_looked_up_and_removed(bench, kind, call, policy):
    report = await bench.probe(bench.faulty(fault(kind, "write", call), client_key=policy))
    assert report.status == "completed"
    assert report.leftovers == ()
    assert bench.is_as_before


async def test_a_lost_answer_that_nobody_can_ask_about_is_a_leftover(bench):
    class Blind(MemoryReferenceProvider):
        @classmethod
        def is_source(cls):
            return False

    provider = bench.faulty(fault(FaultKind.AMBIGUOUS_AFTER, "write", 1), hidden=("lookup",), kind=Blind)
    report = await bench.probe(provider)
    [left] = report.leftovers
    assert left.key == bench.store.keys[0]
    assert "may have been stored" in left.reason


async def test_a_lost_answer_is_no_policy(bench, claim_of, lowered):
    report = await bench.probe(bench.faulty(fault(FaultKind.AMBIGUOUS_AFTER, "write", 2)))
    assert claim_of(report, "writing.client_key").verdict is ClaimVerdict.NOT_TESTABLE
    assert lowered(report) == {}


# -- deletion ---------------------------------------------------------------------------------


async def test_a_refused_deletion_is_a_downgrade_and_a_leftover(bench, lowered):
    report = await bench.probe(bench.faulty(Fault(FaultKind.AUTH, on="delete")))
    assert report.status == "completed"
    assert lowered(report) == {"operations.delete": "no", "writing.rollback": "none"}
    assert {left.key for left in report.leftovers} == set(bench.store.keys)
    assert all("the key is refused" in left.reason for left in report.leftovers)


async def test_a_backend_that_deletes_nothing_says_what_stays(bench):
    report = await bench.probe(bench.faulty(hidden=("delete",)))
    assert {left.key for left in report.leftovers} == set(bench.store.keys)
    assert all("deletes nothing" in left.reason for left in report.leftovers)


# -- processing that does not end -------------------------------------------------------------


async def test_a_document_that_is_never_processed_ends_the_probe_soon_and_is_named(bench, claim_of):
    provider = bench.provider(acknowledges="async", polls_until_stored=10_000)
    report = await bench.probe(provider)
    assert (report.status, report.documents) == ("completed", 1)
    assert "still being processed" in claim_of(report, "writing.client_key").note
    [left] = report.leftovers
    assert left.ingestion_id == "ing-00000002"
    assert bench.is_as_before


async def test_a_document_that_is_processed_while_the_probe_cleans_up_is_removed(bench):
    stop = StopSignal()

    class Asked(MemoryReferenceProvider):
        async def ingest_status(self, ingestion_id):
            stop.request()
            return await super().ingest_status(ingestion_id)

    report = await bench.probe(bench.provider(Asked, acknowledges="async", polls_until_stored=4), stop=stop)
    assert (report.status, report.documents, report.leftovers) == ("interrupted", 1, ())
    assert bench.is_as_before


# -- being stopped ----------------------------------------------------------------------------


class Stopping(MemoryReferenceProvider):
    """Calls `on_write` with the number of each write, after it."""

    writes = 0

    async def _write(self, batch):
        receipts = await super()._write(batch)
        self.writes += 1
        self.on_write(self.writes)
        return receipts


@pytest.mark.parametrize("call", range(1, WRITES + 1))
async def test_a_probe_that_is_stopped_removes_what_it_wrote(bench, call):
    stop = StopSignal()
    provider = bench.provider(Stopping)
    provider.on_write = lambda number: stop.request() if number == call else None
    report = await bench.probe(provider, stop=stop)
    assert (report.status, report.cause, report.documents) == ("interrupted", "interrupted", call)
    assert report.evidence_file is None
    assert bench.is_as_before


async def test_a_probe_that_was_stopped_before_it_began_writes_nothing(bench):
    stop = StopSignal()
    stop.request()
    report = await bench.probe(stop=stop)
    assert (report.status, report.documents) == ("interrupted", 0)
    assert bench.store.attempts == {}


@pytest.mark.parametrize("call", [1, 4])
async def test_a_cancelled_probe_removes_what_it_wrote(bench, call):
    provider = bench.provider(Stopping)
    task = asyncio.ensure_future(bench.probe(provider))
    provider.on_write = lambda number: task.cancel() if number == call else None
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.store.attempts
    assert bench.is_as_before


@pytest.mark.parametrize("error", [SimulatedCrashError(), ZeroDivisionError("a bug of the adapter's")])
async def test_whatever_else_comes_up_passes_and_what_was_written_is_removed(bench, error):
    def fail(number):
        if number == 4:
            raise error

    provider = bench.provider(Stopping)
    provider.on_write = fail
    with pytest.raises(type(error)):
        await bench.probe(provider)
    assert bench.is_as_before


async def test_a_bug_while_cleaning_up_passes_and_what_is_left_is_told(bench):
    class BreaksDown(MemoryReferenceProvider):
        async def delete(self, target_ids):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bench.probe(bench.provider(BreaksDown))
    assert {key for key in bench.store.keys if any(key in text for text in bench.told.warnings)} == set(
        bench.store.keys
    )


async def test_nothing_stays_open(bench):
    class Closing(MemoryReferenceProvider):
        is_open = False

        async def _connect(self, role):
            self.is_open = True
            return await super()._connect(role)

        async def _aclose(self):
            self.is_open = False

    provider = bench.provider(Closing)
    await bench.probe(provider)
    assert not provider.is_open
