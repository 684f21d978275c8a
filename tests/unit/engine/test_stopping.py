"""Ctrl-C, refusals, revoked keys, dead ledgers: the run ends, the place is kept, the counts add up."""

import asyncio
import sqlite3

import pytest

from memxfer.engine.control import StopCause
from memxfer.errors import NotReadyError, RateLimitedError, UnavailableError
from memxfer.ledger import Ledger
from memxfer.spi import ClientKey, Outcome, WriteReceipt
from memxfer.testing import Fault, FaultKind, ManualClock
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio

SAFE = [ClientKey.UPSERT, ClientKey.DEDUPE, ClientKey.REJECT, ClientKey.NONE, ClientKey.APPEND]


def stop_after(calls, *, on="write"):
    """Press Ctrl-C in the middle of the n-th call."""

    class Interrupted(MemoryReferenceProvider):
        seen = 0
        control = None

        def press(self):
            Interrupted.seen += 1
            if Interrupted.seen == calls:
                Interrupted.control.stop(StopCause.INTERRUPTED, "stopped")

        async def _write(self, batch):
            if on == "write":
                self.press()
                await asyncio.sleep(0)
            return await super()._write(batch)

        async def _read_page(self, partition, cursor, limit):
            if on == "read":
                self.press()
                await asyncio.sleep(0)
            return await super()._read_page(partition, cursor, limit)

    return Interrupted


def given(interrupted):
    async def during(run):
        interrupted.control = run.control

    return during


@pytest.mark.parametrize("client_key", SAFE)
@pytest.mark.parametrize("on", ["read", "write"])
async def test_a_stop_at_any_call_drains_and_the_next_run_sends_each_record_exactly_once(
    make_job, client_key, on
):
    for call in range(1, 7):
        job = make_job(client_key=client_key, source_config={"max_page": 5}, target_config={"max_batch": 3})
        job.seed(28)
        interrupted = stop_after(call, on=on)
        setattr(job, "source_class" if on == "read" else "target_class", interrupted)
        run = await job.run(during=given(interrupted))
        if run.cause is None:
            continue
        assert run.cause is StopCause.INTERRUPTED
        assert set(job.states()) <= {"stored"}, "what was not sent is not in doubt"
        job.source_class = job.target_class = MemoryReferenceProvider
        again = await job.run()
        assert again.cause is None
        job.check_complete()
        assert set(job.target.attempts.values()) == {1}
        assert job.states() == {"stored": 28}


async def test_a_stop_before_the_start_sends_nothing(job):
    job.seed(10)

    async def at_once(run):
        run.control.stop(StopCause.INTERRUPTED, "stopped")

    class Slow(MemoryReferenceProvider):
        async def count(self):
            await asyncio.sleep(0)
            return await super().count()

    job.source_class = Slow
    run = await job.run(during=at_once)
    assert run.cause is StopCause.INTERRUPTED
    assert job.states() == {}
    assert len(job.target) == 0


async def test_a_stop_ends_a_wait_for_the_rate_limit_at_once(job):
    class Forever(ManualClock):
        async def sleep(self, seconds):
            self.slept.append(seconds)
            await asyncio.Event().wait()

    async def press(run):
        while not run.clock.slept:
            await asyncio.sleep(0)
        run.control.stop(StopCause.INTERRUPTED, "stopped")

    job.seed(30)
    faults = [Fault(FaultKind.RATE_LIMITED, retry_after=3600)]
    run = await job.run(target_faults=faults, during=press, clock=Forever())
    assert run.cause is StopCause.INTERRUPTED
    assert job.states() == {}


async def test_a_stop_ends_a_wait_for_the_pacer_at_once(job):
    class Forever(ManualClock):
        async def sleep(self, seconds):
            self.slept.append(seconds)
            await asyncio.Event().wait()

    async def press(run):
        while not run.clock.slept:
            await asyncio.sleep(0)
        run.control.stop(StopCause.INTERRUPTED, "stopped")

    job.seed(30)
    job.target_config = {"max_batch": 5, "max_rate": 0.001}
    run = await job.run(during=press, clock=Forever())
    assert run.cause is StopCause.INTERRUPTED
    assert len(job.target) <= 5
    assert set(job.states()) <= {"stored"}


async def test_only_the_first_reason_to_stop_is_kept(job):
    job.seed(30)
    run = await job.run(target_faults=[Fault(FaultKind.AUTH)])
    run.control.stop(StopCause.INTERRUPTED, "later")
    assert run.cause is StopCause.AUTH


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after", "expected"), [(7.0, 7.0), (0.25, 0.25), (None, None), (0.0, None), (-5.0, None)]
)
async def test_a_refused_call_waits_as_long_as_it_was_asked_to_and_else_backs_off(job, retry_after, expected):
    job.target_config = {"retry": {"backoff": 2.0, "backoff_max": 8.0}}
    job.seed(3)
    faults = [Fault(FaultKind.RATE_LIMITED, calls=(1, 2), retry_after=retry_after)]
    run = await job.run(target_faults=faults)
    assert run.cause is None
    waits = [seconds for seconds in run.clock.slept if seconds not in (0.01, 0.001)]
    if expected is None:
        assert 1.0 <= waits[0] <= 2.0
        assert 2.0 <= waits[1] <= 4.0
    else:
        assert waits[:2] == [expected, expected]
    job.check_complete()
    assert job.counters()["documents_resent"] == 0


async def test_a_storm_of_refusals_uses_up_no_tries(job):
    job.target_config = {"retry": {"attempts": 2, "backoff": 0.5}}
    job.seed(3)
    run = await job.run(target_faults=[Fault(FaultKind.RATE_LIMITED, calls=range(1, 2001))])
    assert run.cause is None
    job.check_complete()
    assert max(run.clock.slept) <= 30.0


async def test_only_the_refused_request_waits(job):
    refused = []

    class Choosy(MemoryReferenceProvider):
        async def _write(self, batch):
            if not refused:
                refused.append(batch)
                raise RateLimitedError("429", retry_after=10**6)
            return await super()._write(batch)

    class Patient(ManualClock):
        async def sleep(self, seconds):
            self.slept.append(seconds)
            if seconds < 10**6:
                await super().sleep(seconds)
                return
            while len(job.target) < 25:
                await asyncio.sleep(0)
            self.advance(seconds)

    job.target_class = Choosy
    job.seed(30)
    run = await job.run(clock=Patient())
    assert run.cause is None
    job.check_complete()


async def test_the_run_tells_until_when_it_waits(job):
    seen = []

    class Watching(ManualClock):
        async def sleep(self, seconds):
            seen.append(self.watched.engine.snapshot().waiting)
            await super().sleep(seconds)

    clock = Watching()

    async def watch(run):
        clock.watched = run

    job.seed(3)
    await job.run(
        target_faults=[Fault(FaultKind.RATE_LIMITED, calls=(1,), retry_after=9.0)], during=watch, clock=clock
    )
    assert 9.0 in seen


async def test_a_target_that_is_being_set_up_is_waited_for(job):
    class Starting(MemoryReferenceProvider):
        asked = 0

        async def _write(self, batch):
            Starting.asked += 1
            if Starting.asked < 20:
                raise NotReadyError("starting", retry_after=3.0)
            return await super()._write(batch)

    job.target_class = Starting
    job.target_config = {"retry": {"attempts": 2}}
    job.seed(3)
    run = await job.run()
    assert run.cause is None
    assert run.clock.slept.count(3.0) == 19
    job.check_complete()


@pytest.mark.parametrize("on", ["write", "read_page", "count"])
async def test_a_backend_that_comes_back_costs_nothing(job, on):
    job.seed(20)
    fault = Fault(FaultKind.UNAVAILABLE, on=on, calls=(1, 2, 3))
    run = await job.run(**{"target_faults" if on == "write" else "source_faults": [fault]})
    assert run.cause is None
    job.check_complete()
    assert job.counters()["documents_resent"] == 0


@pytest.mark.parametrize("on", ["write", "read_page", "count", "finish"])
@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (FaultKind.UNAVAILABLE, StopCause.UNAVAILABLE),
        (FaultKind.AUTH, StopCause.AUTH),
        (FaultKind.QUOTA, StopCause.QUOTA),
    ],
)
async def test_what_no_call_can_mend_pauses_the_job_and_a_later_run_completes_it(job, on, kind, cause):
    job.client_key = ClientKey.APPEND
    job.seed(20)
    side = "target_faults" if on in ("write", "finish") else "source_faults"
    run = await job.run(**{side: [Fault(kind, on=on)]})
    assert run.cause is cause
    assert run.control.reason
    assert set(job.states()) <= {"stored"}
    assert (await job.run()).cause is None
    job.check_complete()
    assert set(job.target.attempts.values()) == {1}


async def test_a_key_revoked_in_mid_job_leaves_nothing_in_doubt(job):
    job.client_key = ClientKey.REJECT
    job.seed(40)
    run = await job.run(target_faults=[Fault(FaultKind.AUTH, calls=range(3, 100))])
    assert run.cause is StopCause.AUTH
    assert job.states() == {"stored": 10}
    await job.run()
    assert job.states() == {"stored": 40}


async def test_the_number_of_tries_is_what_the_connection_says(job):
    job.target_config = {"retry": {"attempts": 3}}
    job.seed(3)
    run = await job.run(target_faults=[Fault(FaultKind.UNAVAILABLE)], writers=1)
    assert run.target.script.calls("write") == 3
    assert "tried 3 times" in run.control.reason


async def test_a_slow_finish_is_tried_again(job):
    job.seed(3)
    run = await job.run(target_faults=[Fault(FaultKind.UNAVAILABLE, on="finish", calls=(1, 2))])
    assert run.cause is None
    assert job.target.finished == 1


async def test_missing_receipts_stop_the_job_with_the_documents_in_doubt(job):
    job.seed(3)
    run = await job.run(target_faults=[Fault(FaultKind.DROPPED_RECEIPTS, calls=(1,))])
    assert run.cause is StopCause.FATAL
    assert "receipts" in run.control.reason
    assert job.states() == {"intent": 3}
    await job.run()
    assert job.states() == {"present": 3}


async def test_a_bug_in_an_adapter_stops_the_job_and_names_no_memory(job):
    class Buggy(MemoryReferenceProvider):
        async def _write(self, batch):
            raise ZeroDivisionError("text of the memory")

    job.target_class = Buggy
    job.seed(20)
    run = await job.run()
    assert run.cause is StopCause.BUG
    assert "ZeroDivisionError" in run.control.reason
    assert "memory" not in run.control.reason
    job.target_class = MemoryReferenceProvider
    await job.run()
    job.check_complete()


async def test_a_bug_in_reading_stops_the_job_and_sends_only_whole_batches(job):
    class Buggy(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            if cursor:
                raise ZeroDivisionError
            return await super()._read_page(partition, cursor, limit)

    job.source_class = Buggy
    job.seed(20)
    run = await job.run()
    assert run.cause is StopCause.BUG
    job.source_class = MemoryReferenceProvider
    await job.run()
    job.check_complete()


async def test_a_stop_while_leftovers_are_looked_for_takes_back_what_waits(job):
    job.client_key = ClientKey.APPEND
    job.seed(8)
    await job.run(target_faults=[Fault(FaultKind.CRASH_BEFORE, calls=(1,))], writers=1)
    job.source.remove("r0001")
    job.seed(20, start=100)
    run = await job.run(source_faults=[Fault(FaultKind.AUTH, on="get")])
    assert run.cause is StopCause.AUTH
    assert set(job.states()) <= {"intent", "stored"}
    assert job.state_of("r0001") == "intent"
    again = await job.run()
    assert again.cause is None
    assert job.state_of("r0001") == "gone"
    assert set(job.target.attempts.values()) == {1}


# -- the ledger dies ----------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1, 2**20])
@pytest.mark.parametrize("pages", [0, 1, 2])
async def test_a_full_disk_stops_the_run_without_a_hang_and_without_success(job, monkeypatch, budget, pages):
    full = []

    def fill(self, change, _submit=Ledger.commit):
        if not full:
            full.append(1)
            limit = self._committer._connection.execute("PRAGMA page_count").fetchone()[0] + pages
            self._committer._connection.execute(f"PRAGMA max_page_count = {limit}")
        return _submit(self, change)

    job.seed(100)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "commit", fill)
        run = await job.run(buffer_bytes=budget)
    assert run.cause is StopCause.LEDGER
    assert "full" in run.control.reason
    assert "resume" in run.control.reason
    again = await job.run()
    assert again.cause is None
    job.check_complete()


async def test_a_ledger_that_dies_under_rows_nobody_waits_for_is_no_success(job, monkeypatch):
    job.target_config = {"content_bytes": 1}
    job.seed(5)

    def breaking(self, changes):
        raise sqlite3.OperationalError("disk I/O error")

    async def break_it(run):
        monkeypatch.setattr(run.ledger._committer, "_apply", lambda changes: breaking(None, changes))

    run = await job.run(hide_source=("count",), during=break_it)
    assert run.cause is StopCause.LEDGER
    assert "disk I/O error" in run.control.reason


async def test_a_cancelled_run_ends_at_once_and_can_be_resumed(job):
    job.client_key = ClientKey.NONE

    class Hanging(MemoryReferenceProvider):
        async def _write(self, batch):
            await asyncio.Event().wait()

    job.target_class = Hanging
    job.seed(40)
    task = asyncio.ensure_future(job.run())
    while not (job.path.exists() and job.path.stat().st_size and job_intents(job)):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    job.target_class = MemoryReferenceProvider
    await job.run()
    job.check_complete()


def job_intents(job):
    try:
        return job.states()["intent"] >= 15
    except sqlite3.OperationalError:
        return False


async def test_errors_of_a_provider_that_mixes_answers_are_settled_one_by_one(job):
    class Mixed(MemoryReferenceProvider):
        async def _write(self, batch):
            receipts = await super()._write(batch)
            receipts[0] = WriteReceipt(Outcome.UNKNOWN, error=UnavailableError("half an answer"))
            return receipts

    job.target_class = Mixed
    job.target_config = {"max_batch": 5, "retry": {"attempts": 3}}
    job.seed(5)
    run = await job.run()
    assert run.cause is StopCause.UNAVAILABLE
    assert "half an answer" in run.control.reason
    assert job.states() == {"stored": 4, "intent": 1}
