"""Whole conversations over the wire, on both transports: receipts, faults, and what there is then."""

from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest

from memxfer.spi import (
    AmbiguousError,
    AuthError,
    IngestState,
    MemoryRecord,
    Message,
    NotReadyError,
    Outcome,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    Scope,
    Timeouts,
)
from memxfer_synap.metadata import conversation_keys

pytestmark = pytest.mark.anyio

INGEST = "/v1/conversations/ingest"
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


THREAD = conversation_keys("thread 7", "acme", "ann")["conversation_id"]


def turn(number, content=None, *, role=None, user="ann", session="thread 7", at=NOON, **fields):
    text = content or f"Ann likes tea number {number}."
    speaker = role or ("user" if number % 2 else "assistant")
    return MemoryRecord(
        id=f"m{number}",
        content=text,
        kind="message",
        messages=(Message(role=speaker, content=text, name="Ann" if number % 2 else None),),
        scope=Scope(user=user, session=session),
        created_at=at + timedelta(seconds=number) if at else None,
        **fields,
    )


def whole(provider, records):
    parts = [provider.prepare(record, f"mx:{record.id}", {}) for record in records]
    [joined] = provider.join(sorted(parts, key=lambda part: part.rank))
    assert joined.count == len(parts)
    return joined.document


async def connected(synap, **settings):
    return await synap.connected(conversations="transcript", **settings)


async def status_of(provider, receipt):
    return await provider.ingest_status(receipt.ingestion_id)


async def test_a_conversation_is_one_registered_transcript_with_the_time_of_every_turn(synap):
    provider = await connected(synap)
    document = whole(provider, [turn(n) for n in (1, 2, 3)])
    [receipt] = await provider.write([document])
    assert receipt.outcome is Outcome.PENDING
    assert receipt.correlation_id
    status = await status_of(provider, receipt)
    assert (status.state, len(status.target_ids)) == (IngestState.STORED, 3)
    [stored] = synap.truth()
    assert (stored["document_id"], stored["origin"], stored["times_stored"]) == (THREAD, "transcript", 1)
    assert stored["scope"] == {"level": "user", "user_id": "ann", "customer_id": "acme"}
    assert [(one["role"], one["content"], one["timestamp"], one["speaker"]) for one in stored["turns"]] == [
        ("user", "Ann likes tea number 1.", "2025-03-01T12:00:01Z", "Ann"),
        ("assistant", "Ann likes tea number 2.", "2025-03-01T12:00:02Z", None),
        ("user", "Ann likes tea number 3.", "2025-03-01T12:00:03Z", "Ann"),
    ]
    assert stored["document"]["document_created_at"][:19] == "2025-03-01T12:00:01"
    assert stored["turns"][1]["metadata"]["document_id"] == "mx:m2"


async def test_a_conversation_of_a_b2c_instance_names_no_customer(synap):
    synap.configure(isolation="equals_customer")
    provider = await connected(synap, customer_id=None)
    [receipt] = await provider.write([whole(provider, [turn(1)])])
    assert receipt.outcome is Outcome.PENDING
    assert synap.truth()[0]["scope"] == {"level": "user", "user_id": "ann", "customer_id": None}


async def test_the_memories_of_a_conversation_can_be_deleted_by_their_ids(synap):
    provider = await connected(synap)
    [receipt] = await provider.write([whole(provider, [turn(1), turn(2)])])
    ids = (await status_of(provider, receipt)).target_ids
    assert await provider.delete(ids) == 2
    assert synap.truth()[0]["memories"] == []


async def test_a_conversation_that_cannot_be_extracted_has_failed(synap):
    provider = await connected(synap)
    [receipt] = await provider.write([whole(provider, [turn(1, "[[fail]]")])])
    assert (await status_of(provider, receipt)).state is IngestState.FAILED


async def test_the_same_conversation_again_is_followed_under_its_first_ingestion(synap):
    provider = await connected(synap)
    document = whole(provider, [turn(1), turn(2)])
    [first] = await provider.write([document])
    [again] = await provider.write([document])
    assert (again.outcome, again.ingestion_id) == (Outcome.PENDING, first.ingestion_id)
    assert synap.stored() == {THREAD: 1}
    assert synap.truth()[0]["times_received"] == 2


async def test_a_duplicate_of_what_failed_is_not_taken_for_stored(synap):
    provider = await connected(synap)
    document = whole(provider, [turn(1, "[[fail]]")])
    await provider.write([document])
    [again] = await provider.write([document])
    assert (await status_of(provider, again)).state is IngestState.FAILED


async def test_both_transports_send_the_same_transcript(synap):
    provider = await connected(synap)
    document = whole(provider, [turn(1, metadata={"n": 1}), turn(2, at=NOON + timedelta(microseconds=5))])
    [first] = await provider.write([document])
    other = await connected(synap, transport={"sdk": "http", "http": "sdk"}[synap.transport])
    [again] = await other.write([document])
    assert again.ingestion_id == first.ingestion_id


@pytest.mark.parametrize(
    "other",
    [
        lambda provider: whole(provider, [turn(1), turn(2), turn(3)]),
        lambda provider: whole(provider, [turn(1), turn(12)]),
    ],
    ids=["it went on", "it went otherwise"],
)
async def test_another_transcript_of_the_same_id_is_rejected_and_told_what_to_do(synap, other):
    provider = await connected(synap)
    await provider.write([whole(provider, [turn(1), turn(2)])])
    before = synap.truth()
    [receipt] = await provider.write([other(provider)])
    assert (receipt.outcome, receipt.error.code, receipt.error.status) == (Outcome.REJECTED, "conflict", 409)
    assert 'conversations = "documents"' in str(receipt.error)
    assert receipt.error.correlation_id
    assert synap.truth() == before


@pytest.mark.parametrize(
    "action",
    [
        {"close": "eof", "when": "after"},
        {"close": "reset", "when": "after"},
        {"cut": 20, "when": "after"},
        {"malformed": True, "when": "after"},
        {"status": 500, "when": "after"},
        {"status": 202, "when": "after"},
        {"body": {"conversation_id": "x"}, "when": "after"},
        {"body": {"status": "queued", "ingestion_id": None}, "when": "after"},
    ],
    ids=lambda action: "-".join(f"{name}" for name in action if name != "when"),
)
async def test_a_lost_answer_is_unknown_and_sending_again_finds_the_one_conversation(synap, action):
    provider = await connected(synap)
    document = whole(provider, [turn(1), turn(2)])
    synap.break_with(INGEST, match={"nth": 1}, **action)
    [lost] = await provider.write([document])
    assert lost.outcome is Outcome.UNKNOWN
    assert isinstance(lost.error, AmbiguousError)
    assert synap.batches_sent() == 1
    [again] = await provider.write([document])
    assert again.outcome is Outcome.PENDING
    status = await status_of(provider, again)
    assert (status.state, len(status.target_ids)) == (IngestState.STORED, 2)
    assert synap.stored() == {THREAD: 1}
    assert synap.emulator.summary()["conversations"] == 1


async def test_an_answer_that_takes_too_long_is_unknown(synap):
    provider = await connected(synap, timeouts=Timeouts(connect=2, read=0.3, write=2))
    synap.break_with(INGEST, delay_seconds=1.0, when="after")
    [receipt] = await provider.write([whole(provider, [turn(1)])])
    assert receipt.outcome is Outcome.UNKNOWN
    assert synap.stored() == {THREAD: 1}


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ({"status": 429, "headers": {"retry-after": "1.5"}}, RateLimitedError),
        ({"status": 401}, AuthError),
        ({"preset": "insufficient_credits"}, QuotaExceededError),
        ({"preset": "instance_not_ready"}, NotReadyError),
    ],
    ids=["429", "401", "402", "building"],
)
async def test_a_refusal_of_the_account_is_an_error_and_nothing_is_stored(synap, action, kind):
    provider = await connected(synap)
    synap.break_with(INGEST, **action)
    with pytest.raises(kind) as caught:
        await provider.write([whole(provider, [turn(1)])])
    assert type(caught.value) is kind
    assert synap.truth() == []


@pytest.mark.parametrize(("status", "code"), [(400, "invalid"), (413, "too_large"), (422, "invalid")])
async def test_a_refused_conversation_is_rejected_for_good(synap, status, code):
    provider = await connected(synap)
    synap.break_with(INGEST, status=status)
    [receipt] = await provider.write([whole(provider, [turn(1)])])
    assert (receipt.outcome, receipt.error.code, receipt.error.status) == (Outcome.REJECTED, code, status)
    assert synap.truth() == []


async def test_a_conversation_never_shares_a_request(synap, record):
    provider = await connected(synap)
    conversation = whole(provider, [turn(1)])
    plain = provider.prepare(record(9), "mx:9", {})
    for batch in ([conversation, plain], [conversation, whole(provider, [turn(2, session="8")])]):
        with pytest.raises(ProviderError, match="lanes"):
            await provider.write(batch)
    assert synap.truth() == []


async def test_documents_and_transcripts_of_one_session_live_side_by_side(synap):
    session = "0b0c5f0e-6a0c-4d4e-9d0a-3f6f1f9b2a11"
    provider = await connected(synap)
    await provider.write([whole(provider, [turn(1, "I like tea.", session=session)])])
    fact = MemoryRecord(
        id="f", content="Ann likes tea best.", scope=Scope(user="ann", session=session), created_at=NOON
    )
    document = provider.prepare(fact, "mx:f", {})
    assert document.group is None
    await provider.write([document])
    truth = {one["origin"]: one for one in synap.truth()}
    assert truth["transcript"]["conversation_id"] == session
    assert truth["document"]["document"]["metadata"]["conversation_id"] == session
    query = {"conversation_id": session, "user_id": "ann", "customer_id": "acme", "search_query": ["tea"]}
    answer = httpx.post(
        f"{synap.url}/v1/context/conversation/fetch",
        json={**query, "response_shape": "ranked"},
        headers={"Authorization": f"Bearer {synap.emulator.api_key}"},
        trust_env=False,
    ).json()
    # A conversation's fetch reads what its owner's does.
    assert [one["content"] for one in answer["context"]["items"]] == ["I like tea.", "Ann likes tea best."]


async def test_a_thread_of_ten_thousand_messages_is_one_call(synap):
    provider = await connected(synap)
    synap.break_with(INGEST)
    document = whole(provider, [turn(n, f"Line {n}.") for n in range(1, 10_001)])
    [receipt] = await provider.write([document])
    assert receipt.outcome is Outcome.PENDING
    assert synap.batches_sent() == 1
    [stored] = synap.truth()
    assert len(stored["turns"]) == 10_000
    assert [one["content"] for one in stored["turns"][::5_000]] == ["Line 1.", "Line 5001."]


async def test_bad_turns_arrive_as_declared_or_do_not_leave(synap):
    provider = await connected(synap, undated="send")
    odd = MemoryRecord(
        id="odd",
        content="",
        messages=(Message(role="tool", content="\x00"), Message(role="user", content="\u200b \n")),
        scope=Scope(user="ann", session="thread 7"),
    )
    document = whole(provider, [odd, turn(1)])
    assert document.changes == ("role_replaced", "nul_replaced")
    [receipt] = await provider.write([document])
    assert receipt.outcome is Outcome.PENDING
    turns = synap.truth()[0]["turns"]
    assert [(one["role"], one["content"], one["timestamp"]) for one in turns] == [
        ("user", "Ann likes tea number 1.", "2025-03-01T12:00:01Z"),
        ("assistant", "\u2400", None),
        ("user", "\u200b \n", None),
    ]
    assert turns[1]["metadata"]["original_role"] == "tool"


async def test_a_transcript_that_the_emulator_must_refuse_is_rejected_not_lost(synap):
    provider = await connected(synap)
    document = whole(provider, [turn(1)])
    body = {**msgspec.json.decode(document.body), "transcript": []}
    [receipt] = await provider.write([msgspec.structs.replace(document, body=msgspec.json.encode(body))])
    assert (receipt.outcome, receipt.error.code) == (Outcome.REJECTED, "invalid")
    assert synap.truth() == []


HANDLE = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("told", "recorded"),
    [
        ({"status": "queued", "turns_recorded": 1}, "1"),
        ({"status": "queued", "turns_recorded": 0}, "0"),
        ({"status": "queued", "turns_recorded": -3}, "0"),
        ({"status": "queued"}, "an unknown number"),
        ({"status": "queued", "turns_recorded": None}, "an unknown number"),
        ({"status": "queued", "turns_recorded": "2"}, "an unknown number"),
        ({"status": "queued", "turns_recorded": True}, "an unknown number"),
        ({"status": "a new word", "turns_recorded": 1}, "1"),
        ({"status": "duplicate", "turns_recorded": 1}, "1"),
    ],
)
async def test_turns_that_synap_does_not_say_it_took_are_not_proven(synap, told, recorded):
    provider = await connected(synap)
    synap.break_with(INGEST, status=200, body={"ingestion_id": HANDLE, **told})
    [receipt] = await provider.write([whole(provider, [turn(1), turn(2)])])
    assert (receipt.outcome, receipt.ingestion_id) == (Outcome.PENDING, HANDLE)
    assert receipt.error.code == "turns_not_recorded"
    assert f"recorded {recorded} of the 2 turns" in str(receipt.error)
    assert "tea" not in str(receipt.error)


async def test_a_transcript_that_synap_has_already_counts_no_new_turns_and_lacks_none(synap):
    provider = await connected(synap)
    document = whole(provider, [turn(1), turn(2)])
    receipts = [(await provider.write([document]))[0] for _ in range(2)]
    assert [receipt.error for receipt in receipts] == [None, None]
    assert receipts[0].ingestion_id == receipts[1].ingestion_id


async def test_an_answer_about_another_conversation_proves_nothing(synap):
    provider = await connected(synap)
    other = "11111111-0000-4000-8000-000000000000"
    told = {"ingestion_id": HANDLE, "status": "queued", "turns_recorded": 2}
    for names in ({"conversation_id": other}, {"external_conversation_id": other, "conversation_id": other}):
        synap.break_with(INGEST, status=200, body={**told, **names})
        [receipt] = await provider.write([whole(provider, [turn(1), turn(2)])])
        assert (receipt.outcome, receipt.error.code) == (Outcome.UNKNOWN, "other_conversation")


async def test_no_content_of_a_conversation_is_in_an_error(synap):
    provider = await connected(synap)
    synap.break_with(INGEST, status=422, body={"detail": [{"msg": "bad", "input": "Ann likes tea"}]})
    [receipt] = await provider.write([whole(provider, [turn(1)])])
    assert "tea" not in str(receipt.error)
