"""An app with its memory in Zep, through a client of memory."""

import time
from datetime import UTC, datetime

import pytest

from memxfer.client import ClientSettings, MemoryClient
from memxfer.spi import ProviderError, Scope
from memxfer_zep import ZepProvider

pytestmark = pytest.mark.anyio

ANN = Scope(user="ann")


@pytest.fixture(autouse=True)
def _now(emulated):
    emulated.clock.now = time.time()


def client(zep, outbox=None, **settings):
    config = zep.config(**settings)
    return MemoryClient(
        {"zep": lambda: ZepProvider(config)}, outbox=outbox, settings=ClientSettings(timeout=5, drain=0)
    )


async def test_an_app_remembers_searches_lists_changes_and_forgets(zep, tmp_path):
    then = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
    async with client(zep, tmp_path / "outbox.sqlite") as memory:
        scope = Scope(user="ann", session="chat")
        said = [{"role": "user", "content": "I like green tea"}, {"role": "assistant", "content": "Fine"}]
        turn = await memory.ingest(messages=said, scope=scope, occurred_at=then)
        fact = await memory.ingest(verbatim="Ann likes green tea", scope=scope)
        await memory.ingest(verbatim="Bob likes tea", scope=Scope(user="bob"))
        assert await memory.flush(20)
        ids = (await fact.progress()).target_ids
        page = await memory.list_memories(scope)
        [hit] = await memory.search("green tea", scope=scope)
        package = await memory.package("green tea", scope=scope)
        short = await memory.package("green tea", scope=scope, budget=25)
        thread = await memory.package("", scope=scope)
        changed = await memory.update(hit.memory.id, "Ann likes black tea")

        assert turn.document_id.startswith("turn_chat_")
        assert (hit.memory.id,) == ids
        assert page.memories == (hit.memory,)
        assert "<FACTS>\n- Ann likes green tea (" in package.text
        assert "Ann likes green tea" in thread.text
        assert short.text == "- Ann likes green tea"
        assert (await memory.get(hit.memory.id)).content == changed.content == "Ann likes black tea"
        assert await memory.delete(hit.memory.id)
        assert not await memory.delete(hit.memory.id)
        assert (await memory.recall("tea", scope=Scope(user="nobody"))).text == ""
        assert await memory.recall("tea", scope=Scope()) is None
    assert [one["reference_time"] for one in zep.truth("message")] == ["2026-03-01T12:30:15Z"] * 2
    assert [one["fact"] for one in zep.truth("edge")] == ["Bob likes tea"]


async def test_without_an_outbox_nothing_can_be_handed_in(zep):
    async with client(zep) as memory:
        with pytest.raises(ProviderError, match="outbox"):
            await memory.ingest(verbatim="Ann likes tea", scope=ANN)
