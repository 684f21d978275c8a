"""Listings that shift: what the walk missed is met by a sweep, and nothing comes twice."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from memxfer.engine.control import RunControl, StopCause
from memxfer.engine.engine import Shortage
from memxfer.errors import AuthError, CursorExpiredError, ProviderError, UnavailableError
from memxfer.ledger import State
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import RawPage
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


class Drifting(MemoryReferenceProvider):
    """Newest first by position; rows come and go between its pages, as a live app makes them."""

    plan: ClassVar = {}
    reads: ClassVar = 0

    async def _read_page(self, partition, cursor, limit):
        page = await super()._read_page(partition, cursor, limit)
        kind = type(self)
        kind.reads += 1
        added, removed = kind.plan.pop(kind.reads, ((), ()))
        self.data.seed(MemoryRecord(id=one, content=one, scope=Scope(user="ann")) for one in added)
        for one in removed:
            self.data.remove(one)
        return page


@pytest.fixture
def drift(job):
    job.source_config = {"max_page": 10, "listing": "offset"}
    job.source_class = Drifting
    Drifting.plan, Drifting.reads = {}, 0
    yield Drifting
    Drifting.plan, Drifting.reads = {}, 0


async def test_rows_that_a_deletion_moved_behind_the_walk_are_met_by_a_sweep(job, drift):
    job.seed(50)
    gone = [f"r{n:04d}" for n in range(40, 48)]
    drift.plan = {2: ((), gone)}

    run = await job.run()

    stored = {row.key for row in job.target.rows()}
    stayed = {f"r{n:04d}" for n in range(50)} - set(gone)
    assert {job.key(one) for one in stayed} <= stored
    assert all(row.writes == 1 for row in job.target.rows())
    assert run.cause is None


async def test_rows_that_come_meanwhile_are_moved_once(job, drift):
    job.seed(30)
    drift.plan = {1: (["n1", "n2"], ()), 3: (["n3"], ())}

    await job.run()

    assert len(job.target) == 33
    assert all(row.writes == 1 for row in job.target.rows())


async def test_a_source_at_rest_is_swept_once_and_no_more(job, drift):
    job.seed(20)

    await job.run()

    assert drift.reads == 2 * 2


async def test_a_source_that_never_rests_is_swept_twice_and_left(job, drift):
    job.seed(20)
    drift.plan = {number: ([f"n{number}"], ()) for number in range(1, 40)}

    run = await job.run()

    assert run.cause is None
    assert drift.reads < 20


async def test_a_sample_is_not_swept(job, drift):
    job.seed(40)

    await job.run(sample=15)

    assert len(job.target) == 15


async def test_a_stable_listing_is_not_swept(job):
    job.source_class = Drifting
    Drifting.plan, Drifting.reads = {}, 0
    job.seed(20)

    await job.run()

    assert Drifting.reads == 2


@pytest.mark.parametrize("crash_at", range(1, 16))
async def test_a_crash_in_a_sweep_loses_nothing_and_doubles_nothing(job, drift, crash_at):
    job.seed(25)
    drift.plan = {2: (["n1", "n2", "n3"], ["r0003"]), 5: (["n4"], ())}

    await job.run(crash_at=crash_at)
    run = await job.run()

    stored = {row.key for row in job.target.rows()}
    assert {job.key(f"r{n:04d}") for n in range(25) if n != 3} <= stored
    assert {job.key(f"n{n}") for n in range(1, 5)} <= stored
    assert set(job.states()) <= {State.STORED.value, State.PRESENT.value}
    assert run.cause is None


async def test_a_job_that_was_swept_is_left_alone(job, drift):
    job.seed(20)
    await job.run()
    reads = drift.reads

    await job.run()

    assert drift.reads == reads


# -- a sweep counts when it was walked to its end -----------------------------------------------


LATER = datetime(2026, 1, 2, tzinfo=UTC)


class Falling(Drifting):
    """Stops answering at its n-th page, then answers again in the next run."""

    falls: ClassVar = {}

    async def _read_page(self, partition, cursor, limit):
        error = type(self).falls.pop(type(self).reads + 1, None)
        if error is not None:
            type(self).reads += 1
            for _ in range(50):  # what was listed before it is taken
                await asyncio.sleep(0)
            raise error
        return await super()._read_page(partition, cursor, limit)


@pytest.fixture
def fall(job, drift):
    job.source_config["retry"] = {"attempts": 1}
    job.source_class = Falling
    Falling.plan, Falling.reads, Falling.falls = {}, 0, {}
    yield Falling
    Falling.plan, Falling.reads, Falling.falls = {}, 0, {}


def check_all_arrived(job):
    stored = [row.key for row in job.target.rows()]
    assert {job.key(one) for one in job.source_ids()} <= set(stored)
    assert len(stored) == len(set(stored))
    assert set(job.states()) <= {State.STORED.value, State.PRESENT.value, State.GONE.value}


FALLS = [UnavailableError("503"), AuthError("revoked"), ProviderError("500, whatever one asks")]


@pytest.mark.parametrize("hidden", [(), ("count",)], ids=["counted", "uncounted"])
@pytest.mark.parametrize("error", FALLS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("page", range(2, 11))
async def test_a_source_that_fails_in_the_walk_or_in_the_sweep_is_swept_later(job, fall, error, page, hidden):
    """Deletions before the failure move rows behind the walk; only a sweep meets them."""
    job.seed(45)
    fall.plan = {1: ((), ["r0044", "r0043"]), 2: ((), ["r0042"])}
    fall.falls = {page: error}

    run = await job.run(hide_source=hidden, listers=1)
    assert run.cause is not None or "all" in run.engine.aborted
    for _ in range(2):
        run = await job.run(hide_source=hidden, listers=1)
        assert (run.cause, run.unfinished, run.engine.shortage) == (None, (), None)

    check_all_arrived(job)


@pytest.mark.parametrize("reads", range(1, 12))
async def test_a_stop_at_any_page_of_walk_or_sweep_loses_nothing(job, drift, reads):
    job.seed(45)
    drift.plan = {1: ((), ["r0044", "r0043"]), 3: ((), ["r0042"]), 7: (["late"], ())}

    async def stop(run):
        while drift.reads < reads:
            await asyncio.sleep(0)
        run.control.stop(StopCause.INTERRUPTED, "stopped")

    run = await job.run(during=stop, listers=1)
    assert run.cause is StopCause.INTERRUPTED
    for _ in range(2):
        run = await job.run(listers=1)
        assert (run.cause, run.unfinished) == (None, ())

    check_all_arrived(job)


class Stopping(RunControl):
    """Is stopped when somebody asks for the n-th time whether it stops."""

    def __init__(self, clock, at):
        super().__init__(clock)
        self.left = at

    @property
    def is_stopping(self):
        self.left -= 1
        if self.left == 0:
            self.stop(StopCause.INTERRUPTED, "stopped")
        return self.cause is not None


@pytest.mark.parametrize("at", range(1, 70, 3))
async def test_a_stop_wherever_the_run_looks_for_one_loses_nothing(job, drift, monkeypatch, at):
    job.seed(25)
    drift.plan = {1: ((), ["r0024", "r0023"]), 4: (["late"], ["r0000"])}

    with monkeypatch.context() as patched:
        patched.setattr("tests.unit.engine.conftest.RunControl", lambda clock: Stopping(clock, at))
        run = await job.run(listers=1, writers=1)
        if run.cause is None:
            assert run.unfinished == ()
    for _ in range(2):
        run = await job.run(listers=1)

    assert (run.cause, run.unfinished) == (None, ())
    check_all_arrived(job)


@pytest.mark.parametrize("durable", [True, False])
async def test_a_crash_before_the_note_of_the_sweep_sweeps_again_and_after_it_does_not(
    make_job, drift, durable
):
    found = set()
    for crash_at in range(1, 40):
        job = make_job(source_config={"max_page": 10, "listing": "offset"}, source_class=Drifting)
        job.seed(25)
        crashed = (await job.run(crash_at=crash_at, durable=durable, listers=1)).crashed
        is_noted = job.query("SELECT done FROM partition") == [(2,)]
        found.add((crashed, is_noted))
        drift.reads = 0
        run = await job.run(listers=1)
        assert run.unfinished == ()
        assert (drift.reads == 0) is is_noted
        if not crashed:
            break
    assert found == {(True, False), (True, True), (False, True)}


async def test_cursors_that_expire_in_the_sweep_start_it_again(job, fall):
    job.seed(45)
    fall.plan = {1: ((), ["r0044"])}
    fall.falls = {7: CursorExpiredError("expired"), 9: CursorExpiredError("expired")}

    run = await job.run()

    assert (run.cause, run.unfinished, run.engine.aborted) == (None, (), {})
    check_all_arrived(job)
    assert set(job.target.attempts.values()) == {1}


async def test_cursors_that_expire_again_and_again_in_the_sweep_leave_it_to_the_next_run(job, fall):
    job.seed(25)
    fall.falls = {number: CursorExpiredError("expired") for number in range(5, 40)}

    run = await job.run()
    assert "all" in run.engine.aborted

    fall.falls = {}
    run = await job.run()

    assert (run.unfinished, run.engine.aborted) == ((), {})
    check_all_arrived(job)


# -- what is swept ------------------------------------------------------------------------------


async def test_a_sweep_that_still_meets_missed_records_leaves_the_job_unfinished(job, drift):
    """Each sweep makes room for another row to be missed, and the run does not go on for ever."""
    job.seed(60)
    drift.plan = {number: ((), [f"r{60 - number:04d}"]) for number in (1, 7, 13)}
    drift.plan |= {number: ([f"n{number}"], ()) for number in (2, 8, 14)}

    run = await job.run(listers=1)

    assert run.cause is None
    assert run.unfinished == ("all",)

    for _ in range(2):
        run = await job.run(listers=1)
        assert run.unfinished == ()
        reads = drift.reads
    assert drift.reads == reads
    check_all_arrived(job)


async def test_records_made_after_the_job_began_do_not_keep_it_from_its_end(job, drift, record):
    job.seed(20)

    class Busy(Drifting):
        made = 0

        async def _read_page(self, partition, cursor, limit):
            page = await super()._read_page(partition, cursor, limit)
            Busy.made += 1
            self.data.seed([record(f"n{Busy.made}", created_at=self.clock.now())])
            return page

    job.source_class = Busy

    run = await job.run(listers=1)

    assert run.unfinished == ()
    assert {job.key(f"r{n:04d}") for n in range(20)} <= set(job.target.keys)


@pytest.mark.parametrize("created_at", [None, datetime(2025, 1, 1, tzinfo=UTC), LATER])
async def test_records_of_another_age_count_as_missed(job, drift, record, created_at):
    job.seed(20)

    class Busy(Drifting):
        made = 0

        async def _read_page(self, partition, cursor, limit):
            page = await super()._read_page(partition, cursor, limit)
            Busy.made += 1
            self.data.seed([record(f"n{Busy.made}", created_at=created_at)])
            return page

    job.source_class = Busy

    run = await job.run(listers=1)

    assert run.unfinished == ("all",)


@pytest.fixture
def owners(job, drift, record):
    job.source_config = {"max_page": 4, "listing": "offset", "split_by": "user"}
    job.source.seed(record(f"{user}-{n}", user=user) for user in ("ann", "bob") for n in range(9))
    return job


async def test_an_owner_who_appears_in_the_first_walk_is_swept_too(owners, drift, record):
    async def appear(run):
        while drift.reads < 2:
            await asyncio.sleep(0)
        owners.source.seed(record(f"cay-{n}", user="cay") for n in range(9))

    run = await owners.run(during=appear, listers=1)

    assert run.unfinished == ()
    check_all_arrived(owners)
    assert owners.query("SELECT name FROM partition WHERE done != 2") == []


async def test_an_owner_who_appears_after_the_end_is_walked_and_swept_by_the_next_run(owners, drift, record):
    await owners.run()
    reads = drift.reads
    owners.source.seed(record(f"cay-{n}", user="cay") for n in range(9))

    run = await owners.run()

    assert run.unfinished == ()
    assert drift.reads - reads == 2 * 3
    check_all_arrived(owners)


async def test_partitions_swept_by_an_earlier_run_are_not_swept_again_and_the_others_are(owners, fall):
    fall.falls = {9: UnavailableError("503")}
    owners.source_config["retry"] = {"attempts": 1}

    run = await owners.run(listers=1)
    assert run.cause is StopCause.UNAVAILABLE
    assert owners.query("SELECT done FROM partition") == [(1,), (1,)]
    Falling.reads = 0
    Falling.falls = {5: UnavailableError("503")}
    run = await owners.run(listers=1)
    assert owners.query("SELECT done FROM partition ORDER BY id") == [(2,), (1,)]
    Falling.reads = 0

    run = await owners.run(listers=1)

    assert run.unfinished == ()
    assert fall.reads == 3


async def test_a_partition_that_vanishes_before_its_sweep_ends_the_job_well(owners, drift):
    async def leave(run):
        while drift.reads < 6:
            await asyncio.sleep(0)
        for n in range(9):
            owners.source.remove(f"bob-{n}")

    run = await owners.run(during=leave, listers=1)

    assert (run.cause, run.unfinished, run.engine.aborted, run.engine.vanished) == (None, (), {}, ())
    assert len(owners.target) == 18


async def test_records_under_way_in_a_sweep_whose_partition_then_vanished_have_an_end(
    make_job, drift, record
):
    in_doubt = (
        "SELECT 1 FROM record r JOIN partition p ON p.id = r.partition WHERE p.done AND state = 'intent'"
    )
    seen = 0
    for crash_at in range(1, 40):
        job = make_job(source_config={"max_page": 4, "listing": "offset", "split_by": "user"})
        job.source_class = Drifting
        drift.reads, drift.plan = 0, {1: ((), ["ann-8"])}
        job.source.seed(record(f"{user}-{n}", user=user) for user in ("ann", "bob") for n in range(9))
        if not (await job.run(crash_at=crash_at, listers=1)).crashed:
            break
        seen += len(job.query(in_doubt))
        for n in range(9):
            job.source.remove(f"ann-{n}")

        run = await job.run(listers=1)

        assert (run.cause, run.unfinished) == (None, ())
        assert State.INTENT.value not in job.states()
    assert seen


@pytest.mark.parametrize("sample", [1, 7, 30, 100])
async def test_a_sample_that_goes_on_to_everything_is_swept(job, drift, sample):
    job.seed(30)
    drift.plan = {1: ((), ["r0029"]), 2: ((), ["r0027"])}
    await job.run(sample=sample, listers=1)
    await job.run(sample=sample, listers=1)
    drift.plan = {drift.reads + 1: ((), ["r0028"])}

    run = await job.run(listers=1)

    assert run.unfinished == ()
    check_all_arrived(job)
    assert job.query("SELECT done FROM partition") == [(2,)]


async def test_a_ledger_that_says_swept_in_the_old_way_is_swept_once_more(job, drift):
    """Such a note was also made when the run was stopping."""
    job.seed(30)
    await job.run()
    reads = drift.reads
    with closing(sqlite3.connect(job.path)) as ledger, ledger:
        ledger.execute("UPDATE partition SET done = 1")
        ledger.execute("INSERT INTO meta VALUES ('swept', 'yes')")

    await job.run()
    await job.run()

    assert drift.reads - reads == 3


# -- against the source's count -----------------------------------------------------------------


class Churning(MemoryReferenceProvider):
    """Loses rows before their turn, and gets as many behind the walk: a listing by random ids."""

    plan: ClassVar = {}
    reads: ClassVar = 0
    hides: ClassVar = ()

    async def _read_page(self, partition, cursor, limit):
        rows = sorted(self.data.rows(), key=lambda row: row.record.id)
        rows = [row for row in rows if row.record.id > (cursor or "") and row.record.id not in self.hides]
        page = rows[:limit]
        kind = type(self)
        kind.reads += 1
        added, removed = kind.plan.pop(kind.reads, ((), ()))
        self.data.seed(MemoryRecord(id=one, content=one, scope=Scope(user="ann")) for one in added)
        for one in removed:
            self.data.remove(one)
        return RawPage(page, page[-1].record.id if len(rows) > limit else None)


@pytest.fixture
def churn(job):
    job.source_class = Churning
    Churning.plan, Churning.reads, Churning.hides = {}, 0, ()
    yield Churning
    Churning.plan, Churning.reads, Churning.hides = {}, 0, ()


def behind(count, prefix="a"):
    return [f"{prefix}{n:04d}" for n in range(count)]


async def test_rows_deleted_before_their_turn_while_others_came_behind_do_not_keep_a_job_open(job, churn):
    job.seed(40)
    churn.plan = {1: (behind(12), [f"r{n:04d}" for n in range(25, 37)])}

    run = await job.run()

    assert (run.engine.shortage, run.unfinished) == (None, ())
    check_all_arrived(job)
    reads = churn.reads
    await job.run()
    assert churn.reads == reads


async def test_such_a_job_that_an_earlier_run_left_short_is_ended_by_a_resume(job, churn):
    job.seed(40)
    churn.plan = {1: (behind(12), [f"r{n:04d}" for n in range(25, 37)])}
    await job.run(source_faults=[Fault(FaultKind.AUTH, on="count", calls=(2,))])

    run = await job.run()

    assert (run.engine.shortage, run.unfinished) == (None, ())
    check_all_arrived(job)


async def test_rows_that_the_source_counts_and_never_lists_are_told_and_read_once_only(job, churn):
    job.seed(40)
    churn.hides = ("r0003", "r0030")

    run = await job.run()
    reads = churn.reads
    assert run.engine.shortage == Shortage(counted=40, listed=38)
    assert reads == 2 * 4
    for _ in range(2):
        run = await job.run()
        assert run.engine.shortage == Shortage(counted=40, listed=38)
        assert churn.reads == reads, "nothing has changed, so nothing is read again"

    job.source.seed([MemoryRecord(id="new", content="new", scope=Scope(user="ann"))])
    run = await job.run()
    assert run.engine.shortage == Shortage(counted=41, listed=39)
    assert churn.reads == reads + 2 * 4, "an undated record turned up, so it was read once more"

    churn.hides = ()
    job.source.remove("new")
    run = await job.run()
    assert run.engine.shortage is None
    check_all_arrived(job)


async def test_rows_that_shift_and_rows_that_are_hidden_are_told_apart(job, drift):
    job.seed(40)
    drift.plan = {1: ((), ["r0039", "r0038"])}

    run = await job.run(source_faults=[Fault(FaultKind.LYING_TOTAL, on="count", factor=1.5)])

    assert run.unfinished == ()
    assert run.engine.shortage == Shortage(counted=57, listed=40)
    reads = drift.reads
    await job.run(source_faults=[Fault(FaultKind.LYING_TOTAL, on="count", factor=1.5)])
    assert drift.reads == reads


@pytest.mark.parametrize("read", range(5, 9))
async def test_a_second_listing_that_breaks_off_is_made_by_the_next_run(job, churn, read):
    job.seed(40)
    churn.plan = {1: (behind(12), [f"r{n:04d}" for n in range(25, 37)])}
    run = await job.run(source_faults=[Fault(FaultKind.AUTH, on="read_page", calls=(read - 1,))])
    assert run.cause is StopCause.AUTH

    run = await job.run()

    assert (run.engine.shortage, run.unfinished) == (None, ())
    check_all_arrived(job)
