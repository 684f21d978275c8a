"""Moves after which Synap holds less than it was sent: never a clean end, on both transports."""

from datetime import UTC, datetime, timedelta

import pytest

from memxfer import migration
from memxfer.cli.exits import code_of_result
from memxfer.spi import IngestState, MemoryRecord, Message, Scope
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

pytestmark = pytest.mark.anyio

INGEST = "/v1/conversations/ingest"
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def fact(number, text):
    return MemoryRecord(id=f"f{number}", content=text, scope=Scope(user="ann"), created_at=NOON)


def turn(number, *, session="talk", user="ann"):
    at = NOON + timedelta(minutes=number)
    text = f"{user} says {number}."
    return MemoryRecord(
        id=f"{user}-{number}",
        content=text,
        kind="message",
        messages=(Message(role="user", content=text, at=at),),
        scope=Scope(user=user, session=session),
        created_at=at,
    )


@pytest.fixture
def move(synap, tmp_path):
    async def moved(records, **settings):
        MemoryStore.forget("short")
        MemoryStore.named("short").seed(records)
        result = await migration.migrate(
            MemoryReferenceProvider(MemoryConfig(provider="memory", store="short")),
            synap.provider(retry={"attempts": 2, "backoff": 0.001}, **settings),
            state_dir=tmp_path,
            job="j",
            options=migration.Options(accept_loss=("all",)),
        )
        named = {one.id: one.code for one in migration.failures("j", state_dir=tmp_path)}
        assert migration.status("j", state_dir=tmp_path).status is result.status
        return result, named

    yield moved
    MemoryStore.forget("short")


def failed(result):
    return (result.status.value, code_of_result(result), result.counts.stored, result.counts.failed)


async def test_a_conversation_recorded_in_part_names_each_of_its_records(synap, move):
    synap.configure(turns_recorded=2)
    result, named = await move(
        [*(turn(n) for n in range(7)), turn(0, user="bob"), fact(1, "Ann likes tea.")],
        conversations="transcript",
    )
    assert failed(result) == ("completed_with_failures", 1, 2, 7)
    assert named == {f"ann-{n}": "not_proven" for n in range(7)}


async def test_a_conversation_recorded_in_part_stays_unproven_when_its_status_comes_in_a_later_run(
    synap, move, tmp_path
):
    synap.configure(turns_recorded=1)
    synap.break_with("/api/v1/memories/status/", match={"nth": 1}, status=401)
    result, _ = await move([turn(n) for n in range(3)], conversations="transcript")
    assert (result.status.value, result.counts.accepted) == ("paused", 3)
    result = await migration.resume(
        "j",
        source=MemoryReferenceProvider(MemoryConfig(provider="memory", store="short")),
        target=synap.provider(conversations="transcript"),
        state_dir=tmp_path,
    )
    assert failed(result) == ("completed_with_failures", 1, 0, 3)


async def test_documents_that_nothing_is_made_of_are_named_and_the_rest_is_stored(move):
    texts = ["Ann likes tea.", "Hm [[no_memories]].", "Ann likes milk."]
    result, named = await move([fact(n, text) for n, text in enumerate(texts)])
    assert failed(result) == ("completed_with_failures", 1, 2, 1)
    assert named == {"f1": "no_memories"}
    assert not result.message.startswith("synap kept no memory")
    assert [line.records for line in result.losses if "kept no memory" in line.consequence] == [1]


async def test_a_move_of_which_nothing_is_made_is_said_to_have_kept_nothing(move):
    result, named = await move([fact(n, f"Hm {n} [[no_memories]].") for n in range(4)])
    assert failed(result) == ("completed_with_failures", 1, 0, 4)
    assert set(named.values()) == {"no_memories"}
    assert result.message.startswith("synap kept no memory of any of the 4 records")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"status": "partial_success", "memory_ids": ["m1"], "error_message": "half of it"}, "partial"),
        ({"status": "PARTIAL_SUCCESS", "memory_ids": ["m1"]}, "partial"),
        ({"status": "partial_success", "memory_ids": []}, "partial"),
        ({"status": "completed", "memories_created": 3, "memory_ids": []}, "partial"),
        ({"status": "completed", "memories_created": 0, "memory_ids": None}, "no_memories"),
        ({"status": "completed"}, "no_memories"),
        ({"status": "completed", "memory_ids": [1, None, {}]}, "no_memories"),
        ({"status": "Failed", "memory_ids": ["m1"], "error_message": ["odd"]}, "extraction_failed"),
    ],
)
async def test_every_status_that_does_not_prove_a_memory_is_a_failure(synap, move, answer, code):
    synap.break_with("/api/v1/memories/status/", match={"nth": 2}, status=200, body=answer)
    result, named = await move([fact(n, f"Ann likes tea {n}.") for n in range(3)])
    assert failed(result) == ("completed_with_failures", 1, 2, 1)
    assert list(named.values()) == [code]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "completed", "memory_ids": ["m"], "ingestion_id": "11111111-0000-4000-8000-000000000000"},
        {"status": "failed", "ingestion_id": "11111111-0000-4000-8000-000000000000"},
        {"status": "processing"},
        {"status": "queued", "memory_ids": ["m1"]},
        {"status": "a new word", "memory_ids": ["m1"]},
    ],
)
async def test_a_status_of_another_document_or_an_earlier_stage_tells_nothing(synap, answer):
    synap.break_with("/api/v1/memories/status/", status=200, body=answer)
    provider = await synap.connected()
    status = await provider.ingest_status("00000000-0000-4000-8000-000000000000")
    assert (status.state, status.error) == (IngestState.PROCESSING, None)


async def test_a_status_that_goes_back_and_forth_is_believed_when_it_says_that_it_is_done(synap, move):
    synap.configure(processing_delay_seconds=0.3)
    other = {"status": "completed", "memory_ids": ["m"], "ingestion_id": "0" * 32}
    synap.break_with("/api/v1/memories/status/", match={"nth": 2}, status=200, body=other)
    result, named = await move([fact(n, f"Ann likes tea {n}.") for n in range(2)])
    assert (failed(result), named) == (("completed", 0, 2, 0), {})


@pytest.mark.parametrize(
    ("mode", "session"),
    [*(("transcript", one) for one in ("", "a\0b", "x" * 5000, " ", "Ünï\u202e/..")), ("documents", "a\0b")],
)
async def test_turns_of_an_odd_session_are_accounted_for_and_never_another_conversations(
    synap, move, session, mode
):
    odd, plain = [turn(n, session=session) for n in range(3)], [turn(9, session="a")]
    result, named = await move([*odd, *plain], conversations=mode)
    counts = result.counts
    assert counts.stored + counts.rejected == counts.listed == 4
    assert (code_of_result(result) == 0) == (counts.stored == 4)
    if counts.rejected:
        assert {code for name, code in named.items() if name != "ann-9"} == {"nul_in_id"}
    found = {conversation_of(one) for one in synap.truth() if "says 9" not in str(one["document"])}
    assert len(found) == (counts.stored > 1)
    assert not found & {conversation_of(one) for one in synap.truth() if "says 9" in str(one["document"])}


def conversation_of(stored):
    return stored.get("conversation_id") or stored["document"]["metadata"].get("conversation_id")
