"""Another backend under load: nothing fails, nothing is lost, nothing ends on a closed connection."""

import asyncio

import pytest

from memxfer.client import SyncMemoryClient
from memxfer.errors import AuthError, ConfigError, ProviderError, UnsupportedOperationError
from memxfer.models import Scope
from memxfer.spi import Axis, Identity
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider
from tests.unit.client.conftest import ANN

pytestmark = pytest.mark.anyio


class Slow(MemoryReferenceProvider):
    """Takes its time, and notices when it is closed under a call."""

    gate = None
    broken = 0

    async def search(self, query, *, scope, limit):
        if type(self).gate is not None:
            await type(self).gate.wait()
        else:
            await asyncio.sleep(0.002)
        if self.role is None:
            type(self).broken += 1
            raise AssertionError("closed under a call")
        return await super().search(query, scope=scope, limit=limit)


@pytest.fixture
def slow(backends):
    kind = type("SlowHere", (Slow,), {"broken": 0, "gate": None})
    backends.kinds |= {"one": kind, "two": kind}
    return kind


def open_ones(backends):
    return [name for name, provider in backends.made if provider.role is not None]


async def test_calls_go_to_the_new_one_after_a_swap(backends):
    async with backends.swappable(outbox=False) as memory:
        await memory.ingest(text="before", scope=ANN)
        assert (memory.current, open_ones(backends)) == ("one", ["one"])
        await memory.swap("two")
        await memory.ingest(text="after", scope=ANN)
        await memory.drained()
        assert (memory.current, open_ones(backends)) == ("two", ["two"])
    assert (backends.texts("one"), backends.texts("two")) == (["before"], ["after"])
    assert open_ones(backends) == []


async def test_a_call_under_way_ends_on_the_old_one(backends, slow):
    slow.gate = asyncio.Event()
    async with backends.swappable(outbox=False) as memory:
        await memory.ingest(text="old tea", scope=ANN)
        search = asyncio.create_task(memory.search("tea", scope=ANN))
        await asyncio.sleep(0)
        await memory.swap("two")
        assert open_ones(backends) == ["one", "two"]
        slow.gate.set()
        [hit] = await search
        await memory.drained()
        assert hit.memory.content == "old tea"
        assert open_ones(backends) == ["two"]
    assert slow.broken == 0


async def test_a_stream_that_began_before_a_swap_ends_on_the_old_one(backends):
    async with backends.swappable(outbox=False) as memory:
        for number in range(10):
            await memory.ingest(text=f"old {number}", scope=ANN)
        found = []
        async for one in memory.each_memory(ANN, limit=3):
            if not found:
                await memory.swap("two")
            found.append(one.content)
        assert found == [f"old {number}" for number in range(10)]
        await memory.drained()
        assert open_ones(backends) == ["two"]


async def test_a_call_that_does_not_end_holds_the_old_one_open_no_longer_than_agreed(backends, slow, caplog):
    slow.gate = asyncio.Event()
    async with backends.swappable(outbox=False, drain=0.02) as memory:
        search = asyncio.create_task(memory.search("tea", scope=ANN))
        await asyncio.sleep(0)
        await memory.swap("two")
        await memory.drained()
        assert open_ones(backends) == ["two"]
        search.cancel()
    assert "1 calls on one did not end" in caplog.text


@pytest.mark.parametrize("kind", [FaultKind.AUTH, FaultKind.UNAVAILABLE])
async def test_a_swap_that_fails_changes_nothing(backends, kind):
    backends.faults["two"] = [Fault(kind, on="connect")]
    async with backends.swappable(outbox=False) as memory:
        with pytest.raises(ProviderError):
            await memory.swap("two")
        await memory.ingest(text="still here", scope=ANN)
        assert (memory.current, open_ones(backends)) == ("one", ["one"])
    assert backends.texts("one") == ["still here"]


class Narrow(MemoryReferenceProvider):
    """Knows users alone, and lists nothing."""

    list_scoped = None

    def _capabilities(self):
        made = super()._capabilities()
        return made.model_copy(update={"identity": Identity(axes=frozenset({Axis.USER}))})


async def test_a_swap_to_one_with_less_says_what_the_app_has_to_do_without(backends, caplog):
    backends.kinds["two"] = Narrow
    async with backends.swappable(outbox=False) as memory:
        gaps = await memory.swap("two")
        with pytest.raises(UnsupportedOperationError, match=r"two .* has no list_memories; one can"):
            await memory.list_memories(ANN)

    assert {gap.name for gap in gaps} == {
        "list_memories",
        *("agent", "app", "group", "session", "tenant"),
    }
    assert "two has no list_memories, which one does" in caplog.text
    assert "two does not tell memories apart by agent, app, group, session, tenant" in caplog.text


async def test_a_swap_to_nobody_or_to_itself_changes_nothing(backends):
    async with backends.swappable(outbox=False) as memory:
        with pytest.raises(ConfigError, match="no provider 'three'"):
            await memory.swap("three")
        await memory.swap("one")
        assert len(backends.made) == 1


async def test_swaps_at_once_come_one_after_the_other(backends):
    async with backends.swappable("one", "two", "three", outbox=False) as memory:
        await asyncio.gather(*(memory.swap(name) for name in ("two", "three", "one", "two")))
        await memory.drained()
        assert (memory.current, open_ones(backends)) == ("two", ["two"])
    assert open_ones(backends) == []


async def test_a_cancelled_swap_leaves_nothing_half_done(backends):
    async with backends.swappable(outbox=False) as memory:
        for ticks in range(12):
            task = asyncio.create_task(memory.swap("two" if memory.current == "one" else "one"))
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await memory.drained()
            assert open_ones(backends) == [memory.current]
            await memory.ingest(text="works", scope=ANN)


async def test_what_was_put_in_before_a_swap_goes_where_it_was_meant_to_go(backends):
    backends.faults["one"] = [Fault(FaultKind.UNAVAILABLE, calls=(1,))]
    async with backends.swappable() as memory:
        await memory.ingest(text="for one", scope=ANN)
        await memory.swap("two")
        await memory.ingest(text="for two", scope=ANN)
        assert await memory.flush(5)
    assert (backends.texts("one"), backends.texts("two")) == (["for one"], ["for two"])


async def test_under_a_burst_of_calls_and_swaps_nothing_fails_and_nothing_is_lost(backends, slow):
    async with backends.swappable() as memory:

        async def user(number):
            scope = Scope(user=f"u{number}", session=f"s{number}")
            for turn in range(10):
                await memory.search("anything", scope=scope)
                handle = await memory.ingest(
                    messages=[{"role": "user", "content": f"{number} {turn}"}], scope=scope
                )
                assert handle.is_kept

        async def swapper():
            for number in range(20):
                await asyncio.sleep(0.005)
                await memory.swap(("two", "one")[number % 2])

        await asyncio.gather(swapper(), *(user(number) for number in range(30)))
        assert await memory.flush(10)
    arrived = backends.texts("one") + backends.texts("two")
    assert sorted(arrived) == sorted(f"User: {n} {t}" for n in range(30) for t in range(10))
    assert slow.broken == 0


async def test_another_than_the_one_in_use_cannot_be_asked(backends):
    async with backends.swappable(outbox=False) as memory:
        with pytest.raises(ConfigError, match="two is not in use, one is; swap to it first"):
            await memory.get("x", provider="two")
        with pytest.raises(ProviderError, match="call initialize"):
            await backends.swappable(outbox=False).get("x")


def test_the_same_without_async(backends):
    names = {name: backends.factory(name) for name in ("one", "two")}
    with SyncMemoryClient(names, outbox=backends.folder / "sync.sqlite") as memory:
        handle = memory.ingest(text="Ann likes tea", scope=ANN)
        assert memory.flush(5)
        assert memory.progress(handle).state == "stored"
        assert memory.supports("search")
        assert memory.capabilities().writing is not None
        assert [hit.memory.content for hit in memory.search("tea", scope=ANN)] == ["Ann likes tea"]
        assert memory.get(handle.document_id) == memory.list_memories(ANN).memories[0]
        assert [one.content for one in memory.each_memory(ANN)] == ["Ann likes tea"]
        assert memory.update(handle.document_id, "no more").content == "no more"
        assert memory.package("more", scope=ANN).text == "- no more"
        assert memory.recall("more", scope=ANN).text == "- no more"
        memory.swap("two")
        assert memory.current == "two"
        assert not memory.delete(handle.document_id)
    memory.close()
    assert open_ones(backends) == []


def test_a_first_provider_that_does_not_open_leaves_no_thread_behind(backends):
    import threading

    backends.faults["one"] = [Fault(FaultKind.AUTH, on="connect")]
    with pytest.raises(AuthError):
        SyncMemoryClient({"one": backends.factory("one")})
    assert "memxfer-client" not in {thread.name for thread in threading.enumerate()}
