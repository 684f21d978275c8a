"""What an app hands in while it runs: kept as it is, or given to Mem0 to extract from."""

import time

import pytest

from memxfer.capabilities import ClientKey
from memxfer.client import ClientSettings, MemoryClient
from memxfer.spi import (
    Document,
    IngestState,
    Message,
    Outcome,
    Refused,
    Role,
    Scope,
)
from memxfer_mem0_platform import Mem0PlatformConfig, Mem0PlatformProvider
from memxfer_mem0_platform import provider as provider_module

pytestmark = pytest.mark.anyio

ANN = Scope(user="ann")


def turn(record, **fields):
    said = (Message(role="human", content="I like tea"), Message(role="ai", content="Noted"))
    defaults = {"content": "Human: I like tea\nAi: Noted", "messages": said, "kind": "message"}
    return record(**{**defaults, **fields})


async def app_with(platform, **settings):
    provider = platform.provider(**settings)
    await provider.connect(Role.APP)
    return provider


async def written(provider, record, key="k"):
    document = provider.prepare(record, key, {})
    assert isinstance(document, Document), document
    [receipt] = await provider.write([document])
    return receipt


@pytest.fixture
async def app(platform):
    return await app_with(platform)


async def test_unless_told_otherwise_a_turn_is_kept_as_it_is(platform, record, app):
    receipt = await written(app, turn(record))
    assert receipt.outcome is Outcome.CREATED
    assert platform.texts() == ["Human: I like tea\nAi: Noted"]
    assert app.capabilities().writing.verbatim


async def test_with_infer_turns_are_queued_and_extracted(platform, record):
    app = await app_with(platform, infer=True)
    platform.configure(event_seconds=3600)
    receipt = await written(app, turn(record, scope=Scope(user="ann", agent="helper")))
    assert (receipt.outcome, receipt.target_ids) == (Outcome.PENDING, ())
    assert (await app.ingest_status(receipt.ingestion_id)).state is IngestState.PROCESSING
    platform.configure(event_seconds=0)
    status = await app.ingest_status(receipt.ingestion_id)
    assert status.state is IngestState.STORED
    assert {one["id"] for one in platform.truth()} == set(status.target_ids)
    # what the agent said is the agent's, the rest the user's
    assert {one["memory"]: (one["user_id"], one["agent_id"]) for one in platform.truth()} == {
        "I like tea": ("ann", None),
        "Noted": (None, "helper"),
    }
    writing = app.capabilities().writing
    assert (writing.verbatim, writing.acknowledges, writing.client_key) == (False, "async", ClientKey.NONE)


@pytest.mark.parametrize(
    ("setting", "fields", "is_extracted"),
    [
        (True, {"kind": "fact"}, False),
        (True, {"kind": "episode"}, True),
        (True, {"kind": "fact", "extensions": {"mem0": {"infer": True}}}, True),
        (True, {"kind": "episode", "extensions": {"mem0": {"infer": False}}}, False),
        (False, {"kind": "episode"}, False),
        (False, {"kind": "episode", "extensions": {"mem0": {"infer": True}}}, True),
    ],
)
async def test_a_fact_is_kept_raw_text_is_extracted_from_and_the_option_wins(
    platform, record, setting, fields, is_extracted
):
    app = await app_with(platform, infer=setting)
    receipt = await written(app, record(**fields))
    assert (receipt.outcome is Outcome.PENDING) is is_extracted


async def test_a_migration_never_lets_mem0_extract(platform, record):
    target = await platform.target(infer=True)
    receipt = await written(target, turn(record, extensions={"mem0": {"infer": True}}))
    assert receipt.outcome is Outcome.CREATED
    assert target.capabilities().writing.verbatim
    assert target.lookup_visibility == "immediate"


async def test_an_option_that_makes_no_sense_is_refused(record, app):
    refused = app.prepare(record(extensions={"mem0": {"infer": "yes"}}), "k", {})
    assert isinstance(refused, Refused)
    assert refused.error.code == "infer"


async def test_turns_of_the_system_alone_are_refused(platform, record):
    app = await app_with(platform, infer=True)
    said = (Message(role="System", content="be kind"), Message(role="user", content=" "))
    refused = app.prepare(turn(record, messages=said), "k", {})
    assert isinstance(refused, Refused)
    assert refused.error.code == "empty"


async def test_what_is_worth_no_memory_is_stored_without_ids(platform, record):
    app = await app_with(platform, infer=True)
    platform.configure(extraction="nothing")
    receipt = await written(app, turn(record))
    status = await app.ingest_status(receipt.ingestion_id)
    assert (status.state, status.target_ids) == (IngestState.STORED, ())
    platform.break_with(status=200, body={"results": [], "status": "SUCCEEDED"})
    receipt = await written(app, turn(record))
    assert (receipt.outcome, receipt.target_ids) == (Outcome.CREATED, ())


class Asked(Mem0PlatformProvider):
    """Notes when it is asked what it holds."""

    asked = ()

    async def lookup(self, keys):
        type(self).asked += (time.monotonic(),)
        return await super().lookup(keys)


@pytest.mark.parametrize("extraction", ["all", "without_metadata"])
async def test_a_lost_answer_to_an_extraction_does_not_make_the_same_text_twice(
    platform, tmp_path, extraction, monkeypatch
):
    assert provider_module._EXTRACTION_SECONDS == 10.0
    monkeypatch.setattr(provider_module, "_EXTRACTION_SECONDS", 0.7)
    kind = type("AskedHere", (Asked,), {})
    platform.configure(extraction=extraction)
    platform.break_with(match={"times": 1}, when="after", close="eof")
    config = Mem0PlatformConfig(**platform.settings(infer=True))
    memory = MemoryClient(
        {"mem0": lambda: kind(config)},
        outbox=tmp_path / "outbox.sqlite",
        settings=ClientSettings(timeout=5, drain=0),
    )
    async with memory:
        began = time.monotonic()
        handle = await memory.ingest(text="Ann likes green tea", scope=ANN)
        assert await memory.flush(20)
        assert (await handle.progress()).state == "stored"
    assert kind.asked[-1] - began >= 0.7
    # found by its key where the metadata is kept; else extracted again, and known by its text
    [stored] = platform.truth()
    assert stored["times_received"] == (1 if extraction == "all" else 2)
    assert stored["memory"] == "Ann likes green tea"
