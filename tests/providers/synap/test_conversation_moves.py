"""Whole moves of conversations with the engine, on both transports."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from memxfer import migration
from memxfer.spi import MemoryRecord, Message, Scope
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

pytestmark = pytest.mark.anyio

INGEST = "/v1/conversations/ingest"
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
ACCEPT = migration.Options(accept_loss=("all",))


def turn(user, session, number, role="user"):
    text = f"{user} says {number} in {session}."
    return MemoryRecord(
        id=f"{user}-{session}-{number}",
        content=text,
        kind="message",
        messages=(Message(role=role, content=text, name=user),),
        scope=Scope(user=user, session=session),
        created_at=NOON + timedelta(seconds=number),
    )


def talk(user, session, count):
    return [turn(user, session, number) for number in range(count)]


FACTS = [
    MemoryRecord(id=f"fact-{n}", content=f"Ann likes tea {n}.", scope=Scope(user="ann"), created_at=NOON)
    for n in range(5)
]
EVERYTHING = [*talk("ann", "a1", 4), *FACTS, *talk("bob", "b1", 3), *reversed(talk("ann", "a2", 3))]


@pytest.fixture
def source():
    def make(records):
        MemoryStore.forget("talks")
        MemoryStore.named("talks").seed(records)
        return MemoryReferenceProvider(MemoryConfig(provider="memory", store="talks"))

    yield make
    MemoryStore.forget("talks")


async def moved(synap, source, tmp_path, records=EVERYTHING, job="one", **settings):
    settings = {"conversations": "transcript", "retry": {"attempts": 4, "backoff": 0.001}, **settings}
    return await migration.migrate(
        source(records),
        synap.provider(**settings),
        state_dir=tmp_path / job,
        options=ACCEPT,
    )


def conversations(synap):
    return {
        one["document"]["metadata"]["original_conversation_id"]: [turn["content"] for turn in one["turns"]]
        for one in synap.truth()
        if one["origin"] == "transcript"
    }


EXPECTED = {
    session: [f"{user} says {n} in {session}." for n in range(count)]
    for user, session, count in (("ann", "a1", 4), ("bob", "b1", 3), ("ann", "a2", 3))
}


async def test_turns_become_conversations_and_the_rest_documents_in_one_job(synap, source, tmp_path):
    result = await moved(synap, source, tmp_path)
    assert (result.status, result.counts.listed, result.counts.stored) == ("completed", 15, 15)
    assert conversations(synap) == EXPECTED
    assert set(synap.stored().values()) == {1}
    assert len(synap.stored()) == 3 + 5
    assert synap.emulator.summary()["conversations"] == 3


async def test_documents_are_the_default_and_register_no_conversation(synap, source, tmp_path):
    result = await moved(synap, source, tmp_path, conversations="documents")
    assert (result.status, result.counts.stored) == ("completed", 15)
    assert conversations(synap) == {}
    named = [one["document"]["metadata"].get("original_conversation_id") for one in synap.truth()]
    assert sorted(filter(None, named)) == ["a1"] * 4 + ["a2"] * 3 + ["b1"] * 3


@pytest.mark.parametrize(
    "action",
    [{"close": "reset", "when": "after"}, {"status": 503, "when": "after"}, {"cut": 10, "when": "after"}],
    ids=["reset", "503", "cut"],
)
async def test_a_lost_answer_costs_one_more_request_and_nothing_else(synap, source, tmp_path, action):
    synap.break_with(INGEST, match={"nth": 2}, **action)
    result = await moved(synap, source, tmp_path)
    assert (result.status, result.counts.stored) == ("completed", 15)
    assert synap.batches_sent() == 4
    assert conversations(synap) == EXPECTED
    assert set(synap.stored().values()) == {1}


async def test_a_conversation_is_sent_again_even_where_documents_would_be_stored_twice(
    synap, source, tmp_path
):
    synap.configure(duplicate_policy="store_twice")
    synap.break_with(INGEST, match={"nth": 1}, close="reset", when="after")
    result = await moved(synap, source, tmp_path, duplicate_policy="append")
    assert (result.status, result.counts.stored, result.counts.uncertain) == ("completed", 15, 0)
    assert conversations(synap) == EXPECTED
    assert set(synap.stored().values()) == {1}


@pytest.mark.parametrize("mode", ["documents", "transcript"])
async def test_two_users_sessions_of_one_name_are_two_conversations(synap, source, tmp_path, mode):
    both = [*talk("ann", "s", 2), *talk("bob", "s", 2)]
    result = await moved(synap, source, tmp_path, both, conversations=mode)
    assert (result.counts.stored, result.counts.failed) == (4, 0)
    key = "conversation_id"
    named = {one.get(key) or one["document"]["metadata"][key] for one in synap.truth()}
    assert len(named) == 2


async def test_a_second_job_over_the_same_turns_finds_them_and_stores_nothing(synap, source, tmp_path):
    turns = [record for record in EVERYTHING if record.messages]
    await moved(synap, source, tmp_path, turns)
    again = await moved(synap, source, tmp_path, turns, job="two")
    assert (again.status, again.counts.stored) == ("completed", 10)
    assert conversations(synap) == EXPECTED
    assert synap.emulator.summary()["documents"] == 3


async def test_a_conversation_that_went_on_is_a_conflict_that_says_what_to_do(synap, source, tmp_path):
    await moved(synap, source, tmp_path, talk("ann", "a1", 2))
    longer = [*talk("ann", "a1", 3), *talk("ann", "a2", 3)]
    result = await moved(synap, source, tmp_path, longer, job="two")
    assert (result.status, result.counts.stored, result.counts.failed) == ("completed_with_failures", 3, 3)
    assert conversations(synap)["a1"] == EXPECTED["a1"][:2]
    assert conversations(synap)["a2"] == EXPECTED["a2"]


async def test_the_report_counts_what_a_transcript_alters(synap, source, tmp_path):
    odd = [*talk("ann", "a1", 2), turn("ann", "a1", 7, role="tool")]
    shared = msgspec.structs.replace(turn("ann", "a9", 1), scope=Scope(session="a9"))
    result = await moved(synap, source, tmp_path, [*odd, shared], unscoped="customer")
    lines = [line for line in result.losses if line.dimension == "messages"]
    assert [line.records for line in lines if "another role" in line.consequence] == [1]
    assert [line.records for line in lines if "labelled text" in line.consequence] == [1]
    assert not any(line.contradiction for line in result.losses)
