"""Listings that shift: what the walk missed is met by a sweep, and nothing comes twice."""

from typing import ClassVar

import pytest

from memxfer.ledger import State
from memxfer.models import MemoryRecord, Scope
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
