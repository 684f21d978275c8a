"""Conversations as turns of threads: whose, in which order, and how many a request."""

import json
from datetime import UTC, datetime

import pytest

from memxfer.spi import Document, MemoryRecord, Message, Scope
from memxfer_zep import ZepConfig
from memxfer_zep.bodies import body_of
from memxfer_zep.documents import document_of
from memxfer_zep.turns import join

AT = datetime(2024, 3, 9, 14, 25, 36, 123456, tzinfo=UTC)
ANN = Scope(user="ann")
TALK = Scope(user="ann", session="42")


def config(**settings):
    return ZepConfig(provider="zep", api_key="k", **settings)


def record(content="Ann likes tea", **fields):
    return MemoryRecord(**{"id": "r1", "content": content, "scope": ANN, "created_at": AT, **fields})


def prepared(one, envelope=None, **settings):
    return document_of(one, "mx:k:1", envelope or {}, config=config(**settings))


def body(one, envelope=None, **settings):
    document = prepared(one, envelope, **settings)
    assert isinstance(document, Document), document
    return body_of(document)


def turn(role="user", content="hello", **fields):
    return Message(role=role, content=content, **fields)


def part(number, *, at=AT, turns=1, **fields):
    messages = tuple(turn(content=f"{number}.{n}", at=at) for n in range(turns))
    return document_of(
        record("", id=f"r{number}", messages=messages, scope=TALK, **fields),
        f"k{number}",
        {},
        config=config(),
    )


def test_turns_are_parts_of_their_thread():
    document = part(1)
    assert (document.group, document.owner) == ("thread:ann/42", TALK)
    assert [one.name for one in document.containers] == ["user:ann", "thread:ann/42"]
    [message] = body_of(document)["messages"]
    assert message["role"] == "user"
    assert message["reference_time"] == "2024-03-09T14:25:36.123456Z"
    assert message["metadata"]["memxfer_key"] == "k1"
    assert message["metadata"]["memxfer_session"] == "42"


def test_names_of_threads_do_not_run_into_each_other():
    def group(user, session):
        one = record("hello", messages=(turn(),), scope=Scope(user=user, session=session))
        return prepared(one).group

    assert group("a/b", "c") != group("a", "b/c")


def test_parts_sort_by_time_then_position_then_id():
    early = datetime(2023, 1, 1, tzinfo=UTC)
    ranks = [
        part(5, at=early).rank,
        part(9, provenance={"index": 1}).rank,
        part(1, provenance={"index": 2}).rank,
        part(2, provenance={"index": 2}).rank,
    ]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == 4


def test_a_thread_is_cut_into_requests_of_thirty_messages_at_most():
    parts = [part(n, turns=7) for n in range(10)]
    joined = join(parts)
    assert [one.count for one in joined] == [4, 4, 2]
    sent = [message["content"] for one in joined for message in body_of(one.document)["messages"]]
    assert sent == [f"{n}.{m}" for n in range(10) for m in range(7)]
    assert [one.document.key for one in joined] == ["k0", "k4", "k8"]
    assert all(one.document.size == len(one.document.body) for one in joined)
    assert join([]) == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "no_turns"),
        ({"messages": (turn(),), "scope": ANN}, "no_turns"),
        ({"messages": (turn("narrator"),), "scope": TALK}, "role"),
        ({"messages": (turn(content=""),), "scope": TALK}, "empty"),
        ({"messages": (turn(content="x" * 4_097),), "scope": TALK}, "too_large"),
        ({"messages": (turn(),) * 31, "scope": TALK}, "too_large"),
    ],
    ids=str,
)
def test_what_is_no_conversation_is_refused_as_one(fields, code):
    assert prepared(record(**fields), write="message").error.code == code


def test_metadata_of_single_turns_is_said_to_be_left_out():
    one = record("hello", messages=(turn(metadata={"a": 1}),), scope=TALK)
    assert prepared(one).changes == ("turn_metadata_dropped",)


def test_an_envelope_repeats_nothing_that_a_thread_tells():
    one = record("hello", messages=(turn(),), scope=TALK)
    origin = {"v": 1, "source": "s", "namespace": "n", "source_id": "r1"}
    bare = body(one, {**origin, "messages": [1], "session": "42"})["messages"][0]["metadata"]
    full = body(one, {**origin, "messages": [1], "pinned": True})["messages"][0]["metadata"]
    assert "memxfer" not in bare
    assert json.loads(full["memxfer"]) == {**origin, "pinned": True}
