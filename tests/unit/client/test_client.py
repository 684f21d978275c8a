"""The calls of a client: to whom they go, what they give, and what they say when they cannot."""

from datetime import UTC, datetime

import pytest

from memxfer.client import ClientSettings, capability_gaps
from memxfer.errors import ConfigError, UnavailableError, UnsupportedOperationError
from memxfer.models import Message, Scope
from memxfer_memory import MemoryConfig, MemoryReferenceProvider
from tests.unit.client.conftest import ANN

pytestmark = pytest.mark.anyio
THEN = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


class Mute(MemoryReferenceProvider):
    """Searches nothing and updates nothing."""

    search = update = None


async def test_what_is_ingested_is_found_listed_got_changed_and_removed(backends):
    async with backends.client(outbox=False) as memory:
        handle = await memory.ingest(text="Ann likes green tea", scope=ANN, metadata={"topic": "tea"})
        await memory.ingest(verbatim="Bob likes coffee", scope=Scope(user="bob"))

        [hit] = await memory.search("green tea?", scope=ANN)
        page = await memory.list_memories(ANN, limit=10)
        got = await memory.get(handle.document_id)
        changed = await memory.update(handle.document_id, "Ann likes black tea")
        gone = await memory.delete(handle.document_id)

        assert handle.is_kept
        assert (await handle.progress()).state == "stored"
        assert hit.memory == got == page.memories[0]
        assert (got.metadata, got.scope) == ({"topic": "tea"}, ANN)
        assert page.cursor is None
        assert changed.content == "Ann likes black tea"
        assert gone
        assert await memory.get(handle.document_id) is None
        assert not await memory.delete(handle.document_id)


async def test_lists_come_in_pages(backends):
    async with backends.client(outbox=False) as memory:
        for number in range(25):
            await memory.ingest(text=f"fact {number}", scope=ANN)
        first = await memory.list_memories(ANN, limit=10)
        second = await memory.list_memories(ANN, limit=10, cursor=first.cursor)

        assert (len(first.memories), len(second.memories)) == (10, 10)
        assert not {one.id for one in first.memories} & {one.id for one in second.memories}
        assert [one.content async for one in memory.each_memory(ANN, limit=7)] == [
            f"fact {number}" for number in range(25)
        ]


async def test_the_moment_of_a_turn_is_kept_and_its_messages_too(backends):
    async with backends.client(outbox=False) as memory:
        said = [{"role": "user", "content": "tea?"}, Message(role="assistant", content="yes", name="Bot")]
        handle = await memory.ingest(
            messages=said, scope=Scope(user="ann", session="a/b"), turn=3, occurred_at=THEN
        )
        [record] = [row.record for row in backends.store("one").rows()]

    assert handle.document_id == "turn_a%2Fb_3"
    assert (record.occurred_at, record.created_at) == (THEN, THEN)
    assert record.content == "User: tea?\nAssistant: yes"
    assert [(one.role, one.content, one.name, one.at) for one in record.messages] == [
        ("user", "tea?", None, THEN),
        ("assistant", "yes", "Bot", None),
    ]


@pytest.mark.parametrize(
    "wrong",
    [{}, {"text": "a", "verbatim": "b"}, {"messages": []}, {"messages": [{"role": "user"}]}],
    ids=["nothing", "two", "no messages", "no content"],
)
async def test_arguments_that_do_not_fit_are_refused(backends, wrong):
    async with backends.client(outbox=False) as memory:
        with pytest.raises(ValueError, match=r"exactly one|empty|needs role"):
            await memory.ingest(scope=ANN, **wrong)


async def test_a_call_that_a_backend_cannot_serve_names_those_that_can(backends):
    backends.kinds["mute"] = Mute
    async with backends.client("mute", "one", "two", outbox=False) as memory:
        assert not memory.supports("search")
        assert memory.supports("search", "two")
        with pytest.raises(UnsupportedOperationError, match=r"mute .* has no search; one, two can"):
            await memory.search("x", scope=ANN)
        with pytest.raises(UnsupportedOperationError, match="has no package; one, two can"):
            await memory.package("x", scope=ANN)
        assert await memory.recall("x", scope=ANN) is None


async def test_a_call_can_be_routed(backends):
    async with backends.client("one", "two", outbox=False) as memory:
        await memory.ingest(text="here", scope=ANN, provider="two")
        assert (backends.texts("one"), backends.texts("two")) == ([], ["here"])
        with pytest.raises(ConfigError, match="no provider 'three' here; configured: one, two"):
            await memory.get("x", provider="three")


async def test_a_package_keeps_to_its_budget_with_whole_memories(backends):
    async with backends.client(outbox=False) as memory:
        for text in ("tea is green", "tea is black and comes from far away", "tea is hot"):
            await memory.ingest(text=text, scope=ANN)
        whole = await memory.package("tea is", scope=ANN)
        cut = await memory.package("tea is", scope=ANN, budget=30)

    assert len(whole.text.splitlines()) == 3
    assert not whole.is_cut
    assert cut.is_cut
    assert len(cut.text) <= 30
    assert set(cut.text.splitlines()) == {"- tea is green", "- tea is hot"}


async def test_settings_are_read_as_those_of_a_connection(monkeypatch):
    from memxfer.client import MemoryClient

    async with MemoryClient({"scratch": {"provider": "memory", "store": "settings-test"}}) as memory:
        assert memory.capabilities().writing is not None
    with pytest.raises(ConfigError, match=r"scratch.*unknown field 'stores'"):
        await MemoryClient({"scratch": {"provider": "memory", "stores": "x"}}).initialize()
    with pytest.raises(ConfigError, match="at least one provider"):
        MemoryClient({})


async def test_a_backend_that_hangs_is_given_up_in_time_and_left_alone_for_a_while(backends, clock, caplog):
    class Hanging(MemoryReferenceProvider):
        asked = 0

        async def get(self, record_id):
            import asyncio

            Hanging.asked += 1
            if Hanging.asked <= 3:
                await asyncio.sleep(60)

    backends.kinds["one"] = Hanging
    settings = ClientSettings(timeout=0.02, breaker_failures=3, breaker_pause=30)
    async with backends.client(outbox=False, settings=settings, clock=clock) as memory:
        for _ in range(3):
            with pytest.raises(UnavailableError, match=r"within 0\.02 s"):
                await memory.get("x")
        with pytest.raises(UnavailableError, match="3 calls in a row"):
            await memory.get("x")
        assert Hanging.asked == 3
        clock.advance(31)
        assert await memory.get("x") is None
        assert await memory.get("x") is None
        assert Hanging.asked == 5
    assert "provider=one code=timeout" in caplog.text


async def test_mistakes_of_the_caller_do_not_open_the_breaker(backends):
    class Strict(MemoryReferenceProvider):
        async def search(self, query, *, scope, limit):
            raise ValueError("a scope is needed")

    backends.kinds["one"] = Strict
    async with backends.client(outbox=False, settings=ClientSettings(breaker_failures=2)) as memory:
        for _ in range(5):
            with pytest.raises(ValueError, match="a scope is needed"):
                await memory.search("x", scope=Scope())
        assert await memory.get("x") is None


async def test_what_fails_in_recall_is_logged_with_the_request_s_id_and_never_raised(backends, caplog):
    class Failing(MemoryReferenceProvider):
        error = UnavailableError("down", provider="one", code="http_503", correlation_id="req-7")

        async def search(self, query, *, scope, limit):
            raise self.error

    backends.kinds["one"] = Failing
    async with backends.client(outbox=False) as memory:
        assert await memory.recall("my secret question", scope=ANN) is None
        Failing.error = RuntimeError("a bug that quotes my secret")
        assert await memory.recall("my secret question", scope=ANN) is None
    assert "correlation_id=req-7" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


async def test_a_slow_recall_ends_when_the_agent_wants_to_answer(backends):
    class Slow(MemoryReferenceProvider):
        async def search(self, query, *, scope, limit):
            import asyncio

            await asyncio.sleep(60)

    backends.kinds["one"] = Slow
    async with backends.client(outbox=False) as memory:
        assert await memory.recall("x", scope=ANN, seconds=0.02) is None


def test_gaps_between_two_backends_are_data():
    whole = MemoryReferenceProvider(MemoryConfig(provider="memory"))
    less = Mute(MemoryConfig(provider="memory", drops=["tags", "validity"]))

    gaps = capability_gaps(whole, less)

    assert {(gap.kind, gap.name) for gap in gaps} == {
        ("operation", "search"),
        ("operation", "update"),
        ("operation", "package"),
        ("dimension", "tags"),
        ("dimension", "validity"),
    }
    assert capability_gaps(less, whole) == []
