"""Which documents belong to one conversation, where turns go one by one. No server needed."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.spi import MemoryRecord, Message, Refused, Scope
from memxfer_synap import SynapConfig
from memxfer_synap.capabilities import capabilities_of
from memxfer_synap.mapping import document_of

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
UUID = "0b0c5f0e-6a0c-4d4e-9d0a-3f6f1f9b2a11"
ANN = Scope(user="ann", session="thread 7")


def config(**settings):
    return SynapConfig(**{"provider": "synap", "api_key": "k", "customer_id": "acme", **settings})


def prepare(record, envelope=None, *, is_b2c=False, key=None, **settings):
    return document_of(
        record, key or f"mx:{record.id}", envelope or {}, config=config(**settings), is_b2c=is_b2c
    )


def part(record, envelope=None, **settings):
    return prepare(record, envelope, **{"conversations": "transcript", **settings})


def turn(number=1, content=None, *, role="user", name=None, at=None, message_at=None, scope=ANN, **fields):
    text = content or f"Turn number {number}."
    return MemoryRecord(
        id=f"m{number}",
        content=text,
        kind="message",
        messages=(Message(role=role, content=text, name=name, at=message_at),),
        scope=scope,
        created_at=at or NOON + timedelta(minutes=number),
        **fields,
    )


def metadata(document):
    return json.loads(document.body)["metadata"]


def test_a_turn_is_a_labelled_document_with_its_own_time_and_its_conversation():
    body = json.loads(prepare(turn(role="assistant", message_at=NOON)).body)
    assert body["document"] == "Assistant: Turn number 1."
    assert body["document_type"] == "ai-chat-conversation"
    assert body["document_created_at"] == "2025-03-01T12:00:00Z"
    assert body["metadata"]["original_created_at"] == "2025-03-01T12:01:00Z"
    assert uuid.UUID(body["metadata"]["conversation_id"]).version == 5
    assert body["metadata"]["original_conversation_id"] == "thread 7"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"occurred_at": NOON - timedelta(days=1), "message_at": NOON}, "2025-02-28T12:00:00Z"),
        ({"message_at": NOON}, "2025-03-01T12:00:00Z"),
        ({}, "2025-03-01T12:01:00Z"),
    ],
)
@pytest.mark.parametrize("mode", ["documents", "transcript"])
def test_a_turn_was_when_it_happened_else_was_said_else_was_stored(times, expected, mode):
    body = json.loads(prepare(turn(**times), conversations=mode).body)
    found = body["document_created_at"] if mode == "documents" else body["transcript"][0]["timestamp"]
    assert found == expected


@pytest.mark.parametrize("session", [UUID, UUID.upper()])
def test_a_session_that_is_a_uuid_is_the_conversation_itself(session):
    found = metadata(prepare(turn(scope=Scope(user="ann", session=session))))
    assert found["conversation_id"] == session
    assert "original_conversation_id" not in found


def test_a_message_without_a_known_speaker_is_a_conversation_s_document_and_nobody_s_words():
    body = json.loads(
        prepare(MemoryRecord(id="m", content="Hm.", kind="message", scope=ANN, created_at=NOON)).body
    )
    assert (body["document"], body["document_type"]) == ("Hm.", "ai-chat-conversation")
    assert body["metadata"]["original_conversation_id"] == "thread 7"


def conversation(scope, **settings):
    return metadata(prepare(turn(scope=scope), **settings))["conversation_id"]


def test_turns_of_one_session_share_a_conversation_whatever_else_differs():
    assert conversation(ANN) == conversation(Scope(user="ann", session="thread 7", agent="bot"))
    assert conversation(ANN) == metadata(prepare(turn(9)))["conversation_id"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ANN, Scope(user="bob", session="thread 7")),
        (ANN, Scope(user="ann", session="thread 8")),
        (ANN, Scope(user="ann", session="thread 7", tenant="corp")),
        (Scope(agent="a", session="s"), Scope(agent="b", session="s")),
        (Scope(agent="a", session="s"), Scope(user="a", session="s")),
    ],
)
def test_sessions_of_others_are_other_conversations_even_of_the_same_name(one, other):
    assert conversation(one, unscoped="client") != conversation(other, unscoped="client")


@given(
    st.tuples(st.text(min_size=1), st.text(min_size=1)), st.tuples(st.text(min_size=1), st.text(min_size=1))
)
def test_no_two_sessions_share_a_conversation_whatever_their_names(one, other):
    def made(pair):
        found = prepare(turn(scope=Scope(user=pair[0], session=pair[1])))
        return None if isinstance(found, Refused) else metadata(found)["conversation_id"]

    if None not in (made(one), made(other)):
        assert (made(one) == made(other)) is (one == other)


def test_a_key_of_the_user_s_own_wins_over_the_conversation_s():
    found = metadata(prepare(turn(metadata={"original_conversation_id": "mine"}), {"v": 1}))
    assert found["original_conversation_id"] == "mine"
    assert found["memxfer"]["plain_keys"] == {"original_conversation_id": "thread 7"}


def test_the_session_s_keys_are_reserved_and_those_of_turns_where_there_are_transcripts():
    reserved = {
        mode: capabilities_of(config(conversations=mode), is_b2c=False).limits.reserved_keys
        for mode in ("documents", "transcript")
    }
    assert "original_conversation_id" in reserved["documents"]
    assert reserved["transcript"] - reserved["documents"] == {"original_role", "turn_metadata"}


def test_a_record_whose_turns_say_nothing_is_empty():
    nothing = MemoryRecord(
        id="m", content=" ", messages=(Message(role="user", content=""),), scope=ANN, created_at=NOON
    )
    assert prepare(nothing).error.code == "empty"
    assert part(nothing).error.code == "empty"
