"""What an app hands to Synap while it runs, and the whole way through the client, on both transports."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memxfer.client import IngestState, MemoryClient
from memxfer.spi import Message, RecordError, Refused, Scope, UnsupportedOperationError
from memxfer_memory import MemoryStore
from memxfer_synap.emulator import EMULATOR_API_KEY
from memxfer_synap.emulator.settings import Retrieval
from tests.providers.synap.conftest import say

pytestmark = pytest.mark.anyio

ANN = Scope(user="ann")
AT = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)


# -- documents of an app ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "options", "sent"),
    [
        ({}, {}, ("fast", "document")),
        ({"mode": "long-range"}, {}, ("long-range", "document")),
        ({"mode": "long-range"}, {"mode": "fast"}, ("fast", "document")),
        ({}, {"mode": "long-range", "document_type": "email"}, ("long-range", "email")),
        ({"document_type": "pdf"}, {}, ("fast", "pdf")),
        ({"document_type": "pdf"}, {"document_type": "email"}, ("fast", "email")),
    ],
)
async def test_a_call_s_own_options_come_first_then_the_connection_s(app, synap, settings, options, sent):
    provider = await app(**settings)
    await say(provider, "Ann likes tea.", extensions={"synap": options})
    [document] = [one["document"] for one in synap.truth()]
    assert (document["mode"], document["document_type"]) == sent
    assert "source" not in document["metadata"]


@pytest.mark.parametrize(
    "options", [{"mode": "slow"}, {"document_type": ["note"]}, {"priority": "BOOTSTRAP"}]
)
async def test_an_option_that_there_is_not_is_refused(app, record, options):
    provider = await app()
    prepared = provider.prepare(record(extensions={"synap": options}), "k", {})
    assert isinstance(prepared, Refused)
    assert prepared.error.code == "bad_option"


async def test_a_move_honours_a_known_type_of_the_record_s_own_and_no_mode(synap, record):
    provider = await synap.connected()
    own = {"document_type": "email", "mode": "fast", "other": 1}
    await provider.write([provider.prepare(record(1, extensions={"synap": own}), "k1", {})])
    odd = {"document_type": "note"}
    await provider.write([provider.prepare(record(2, extensions={"synap": odd}), "k2", {})])
    documents = {one["document_id"]: one["document"] for one in synap.truth()}
    assert [(documents[key]["mode"], documents[key]["document_type"]) for key in ("k1", "k2")] == [
        ("long-range", "email"),
        ("long-range", "document"),
    ]


async def test_turns_of_an_app_are_documents_also_where_moved_ones_are_transcripts(app, synap):
    provider = await app(conversations="transcript")
    turn = (Message(role="user", content="I like tea."), Message(role="assistant", content="Noted."))
    text = "User: I like tea.\nAssistant: Noted."
    session = Scope(user="ann", session="s1")
    await say(provider, text, scope=session, messages=turn, kind="message")
    [one] = synap.truth()
    assert one["origin"] != "transcript"
    assert one["document"]["document"] == text
    assert one["document"]["document_type"] == "ai-chat-conversation"
    assert one["document"]["document_created_at"] == "2025-03-04T05:06:07Z"
    assert one["document"]["metadata"]["original_conversation_id"] == "s1"


# -- the whole way, through the client ----------------------------------------------------------


@pytest.fixture
def memory(synap, tmp_path):
    def client(*, outbox=True, **settings):
        synap_settings = {
            "api_key": EMULATOR_API_KEY,
            "base_url": synap.url,
            "transport": synap.transport,
            "customer_id": "acme",
            **settings,
        }
        providers = {"synap": synap_settings, "memory": {"store": "synap-runtime"}}
        return MemoryClient(providers, outbox=tmp_path / "outbox.sqlite" if outbox else None)

    yield client
    MemoryStore.forget("synap-runtime")


async def test_an_app_s_turn_goes_through_the_outbox_and_comes_back_as_memories(memory, synap):
    session = Scope(user="ann", session="chat/1")
    async with memory() as client:
        said = [{"role": "user", "content": "I like tea."}, {"role": "assistant", "content": "Noted."}]
        handle = await client.ingest(messages=said, scope=session, occurred_at=AT)
        assert handle.document_id.startswith("turn_chat%2F1_")
        assert await client.flush(10)
        progress = await handle.progress()
        assert progress.state is IngestState.STORED
        [hit, *_] = await client.search("tea", scope=ANN)
        assert hit.memory.occurred_at == AT
        assert "tea" in (await client.package("tea", scope=session)).text
        assert "tea" in (await client.recall("tea", scope=session)).text
        assert (await client.get(hit.memory.id)).content == hit.memory.content
        assert (await client.update(hit.memory.id, "Ann likes coffee.")).content == "Ann likes coffee."
        assert await client.delete(hit.memory.id)
        assert not await client.delete(hit.memory.id)
        with pytest.raises(UnsupportedOperationError, match="memory can"):
            await client.list_memories(ANN)
    assert synap.stored() == {handle.document_id: 1}


async def test_what_synap_could_not_process_is_told_and_can_be_noted(memory):
    async with memory() as client:
        handle = await client.ingest(text="[[fail]] tea", scope=ANN)
        assert await client.flush(10)
        progress = await handle.progress()
        assert progress.state is IngestState.FAILED
        assert await client.note_failed(progress.ingestion_id, "a webhook said so")
        assert (await handle.progress()).problem == "a webhook said so"


async def test_without_an_outbox_the_options_of_a_call_reach_synap_and_wrong_ones_are_refused(memory, synap):
    async with memory(outbox=False) as client:
        await client.ingest(text="tea", scope=ANN, options={"synap": {"mode": "long-range"}})
        assert [one["document"]["mode"] for one in synap.truth()] == ["long-range"]
        with pytest.raises(RecordError, match="mode"):
            await client.ingest(text="tea", scope=ANN, options={"synap": {"mode": "slow"}})


async def test_recall_is_none_when_synap_could_not_look(memory, synap):
    async with memory(outbox=False) as client:
        synap.configure(retrieval=Retrieval(level="failed"))
        assert await client.recall("tea", scope=ANN) is None
        synap.configure()
        assert (await client.recall("tea", scope=ANN)).text == ""
