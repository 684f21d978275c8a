"""Memory is bounded in bytes, and no bound is too small to finish."""

import asyncio

import pytest

from memxfer.engine.budget import ByteBudget
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("buffer_bytes", [1, 500, 2**20])
@pytest.mark.parametrize(("listers", "writers"), [(1, 1), (64, 1), (1, 64), (64, 64)])
@pytest.mark.parametrize("batch_size", [1, 5])
async def test_no_setting_of_the_knobs_gets_stuck(job, record, buffer_bytes, listers, writers, batch_size):
    job.source_config = {"split_by": "user", "max_page": 3}
    job.target_config = {"max_batch": 5, "batch_size": batch_size}
    job.source.seed(record(f"r{n:02d}", user=f"u{n % 3}") for n in range(12))
    run = await job.run(buffer_bytes=buffer_bytes, listers=listers, writers=writers)
    assert run.cause is None
    job.check_complete()


async def test_what_is_held_stays_within_the_bound(job):
    held = []

    class Watched(MemoryReferenceProvider):
        async def _write(self, batch):
            await asyncio.sleep(0)
            held.append(Watched.run.engine._budget.used)
            return await super()._write(batch)

    async def watch(run):
        Watched.run = run

    job.target_class = Watched
    job.source_config = {"max_page": 1000}
    job.seed(400)
    run = await job.run(buffer_bytes=20_000, during=watch)
    assert run.cause is None
    job.check_complete()
    assert max(held) <= 2 * 20_000


async def test_a_full_budget_waits_for_no_company(job):
    job.seed(5)
    run = await job.run(buffer_bytes=1, linger=1000.0)
    assert run.cause is None
    job.check_complete()


async def test_one_record_larger_than_the_bound_passes_alone(job, record):
    job.source.seed([record("a"), record("big", "x" * 100_000), record("c")])
    run = await job.run(buffer_bytes=1000, batch_bytes=1000)
    assert run.cause is None
    job.check_complete()
    assert run.target.script.calls("write") >= 2


async def test_a_request_holds_no_more_bytes_than_it_may(job, record):
    sizes = []

    class Watched(MemoryReferenceProvider):
        async def _write(self, batch):
            sizes.append([document.size for document in batch])
            return await super()._write(batch)

    job.target_class = Watched
    job.target_config = {"max_batch": 50}
    job.source.seed(record(f"r{n}", "x" * 300) for n in range(20))
    await job.run(batch_bytes=1000)
    job.check_complete()
    assert all(sum(batch) <= 1000 or len(batch) == 1 for batch in sizes)
    assert max(len(batch) for batch in sizes) > 1


async def test_the_budget_lets_pass_in_turn_and_takes_back():
    budget = ByteBudget(10)
    await budget.acquire(8)
    waiting = asyncio.ensure_future(budget.acquire(5))
    await asyncio.sleep(0)
    assert budget.is_tight
    assert not waiting.done()
    await budget.release(4)
    await waiting
    assert (budget.used, budget.is_tight) == (9, False)


async def test_a_holder_may_take_too_much_when_nothing_else_is_held():
    budget = ByteBudget(10)
    await budget.acquire(1000)
    await budget.release(1000)
    assert budget.used == 0


async def test_a_closed_budget_holds_nobody_up():
    budget = ByteBudget(10)
    await budget.acquire(10)
    waiting = asyncio.ensure_future(budget.acquire(10))
    await asyncio.sleep(0)
    await budget.close()
    await waiting
    await budget.acquire(10)


async def test_a_cancelled_waiter_leaves_no_trace():
    budget = ByteBudget(10)
    await budget.acquire(10)
    waiting = asyncio.ensure_future(budget.acquire(5))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (budget.used, budget.is_tight) == (10, False)
