"""What a transcript is made of: the turns of one record, and all of them joined. No server needed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.spi import (
    Dimension,
    Document,
    Level,
    MemoryRecord,
    Message,
    RecordError,
    Scope,
    Skipped,
    SupportsGroups,
)
from memxfer_synap import SynapConfig, SynapProvider
from memxfer_synap.capabilities import capabilities_of
from memxfer_synap.mapping import document_of
from memxfer_synap.metadata import conversation_keys
from memxfer_synap.transcripts import join_parts

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
ANN = Scope(user="ann", session="thread 7")
THREAD = conversation_keys("thread 7", "acme", "ann")
OURS = {"source": "migration", "original_conversation_id": "thread 7"}


def config(**settings):
    return SynapConfig(**{"provider": "synap", "api_key": "k", "customer_id": "acme", **settings})


def prepare(record, envelope=None, *, is_b2c=False, key=None, **settings):
    return document_of(
        record, key or f"mx:{record.id}", envelope or {}, config=config(**settings), is_b2c=is_b2c
    )


def part(record, envelope=None, **settings):
    return prepare(record, envelope, **{"conversations": "transcript", **settings})


def joined(*records, **settings):
    documents = [part(record, **settings) for record in records]
    found = join_parts(sorted(documents, key=lambda one: one.rank))
    return found, json.loads(found.document.body)


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


# -- parts ------------------------------------------------------------------------------------


def test_the_turns_of_a_user_s_session_are_one_group_in_a_lane_of_its_own():
    first, second = part(turn(1)), part(turn(2))
    assert first.group == second.group == first.lane == "transcript:acme/ann/thread%207"
    assert first.rank < second.rank
    assert (first.scope, first.owner) == ("user", Scope(user="ann", tenant="acme"))
    assert first.size == len(first.body)
    assert part(turn(), is_b2c=True, customer_id=None).group == "transcript:ann/thread%207"


@pytest.mark.parametrize(
    "other",
    [
        Scope(user="bob", session="thread 7"),
        Scope(user="ann", session="8"),
        Scope(user="ann", tenant="corp", session="thread 7"),
        Scope(user="ann/thread 7", session="x"),
    ],
)
def test_another_user_customer_or_session_is_another_group(other):
    assert part(turn()).group != part(turn(scope=other)).group


@pytest.mark.parametrize(
    "record",
    [
        turn(scope=Scope(user="ann")),
        MemoryRecord(id="m", content="Ann likes tea.", scope=ANN, created_at=NOON),
        MemoryRecord(id="m", content="Hm.", kind="message", scope=ANN, created_at=NOON),
        MemoryRecord(
            id="m",
            content="They spoke of tea.",
            kind="conversation",
            messages=(Message(role="user", content="Hi."),),
            scope=ANN,
            created_at=NOON,
        ),
    ],
    ids=["no session", "no turn", "no speaker", "says more than its turns"],
)
def test_what_is_no_turn_of_a_conversation_stays_a_document(record):
    found = part(record)
    assert (found.group, found.lane, found.rank) == (None, "", "")
    assert "document" in json.loads(found.body)
    assert found.changes == (("turns_as_text",) if record.messages else ())


def test_documents_mode_groups_nothing():
    found = prepare(turn())
    assert (found.group, found.lane, found.changes) == (None, "", ())


NOBODY = Scope(agent="bot", session="s")


def test_a_turn_of_nobody_goes_where_the_decision_says_and_is_a_document_where_that_is_no_user():
    assert part(turn(scope=NOBODY)).error.code == "unscoped"
    assert part(turn(scope=NOBODY), unscoped="skip") == Skipped("unscoped")
    assigned = part(turn(scope=NOBODY), unscoped="assign:bob")
    assert assigned.group == "transcript:acme/bob/s"
    for decision in ("customer", "client"):
        shared = part(turn(scope=NOBODY), unscoped=decision)
        assert (shared.group, shared.scope, shared.changes) == (None, decision, ("turns_as_text",))
        assert json.loads(shared.body)["user_id"] is None


def test_an_undated_turn_waits_for_a_decision_and_is_never_stamped():
    undated = MemoryRecord(id="m", content="x", messages=(Message(role="user", content="x"),), scope=ANN)
    assert part(undated).error.code == "undated"
    found = json.loads(part(undated, undated="send").body)
    assert found["transcript"][0]["timestamp"] is None
    assert "started_at" not in found


def test_a_session_with_nul_is_refused_because_another_id_would_be_another_conversation():
    assert part(turn(scope=Scope(user="ann", session="a\x00b"))).error.code == "nul_in_id"


def test_a_lone_surrogate_in_a_turn_is_an_error_without_the_text():
    with pytest.raises(RecordError) as caught:
        part(turn(1, "secret \ud800"))
    assert caught.value.code == "unencodable"
    assert "secret" not in str(caught.value)


def test_nul_in_a_turn_becomes_visible_and_is_declared():
    found = part(turn(1, "a\x00b", name="A\x00", metadata={"k": "\x00"}))
    [sent] = json.loads(found.body)["transcript"]
    assert (sent["content"], sent["speaker"], sent["metadata"]["k"]) == ("a\u2400b", "A\u2400", "\u2400")
    assert found.changes == ("nul_replaced",)


@pytest.mark.parametrize(
    ("role", "sent", "is_changed"),
    [
        ("user", "user", False),
        ("assistant", "assistant", False),
        ("human", "user", True),
        ("User", "user", True),
        ("system", "assistant", True),
        ("tool", "assistant", True),
        ("", "assistant", True),
    ],
)
def test_another_role_is_taken_for_one_of_two_kept_beside_the_turn_and_declared(role, sent, is_changed):
    found = part(turn(role=role, name="Ann"))
    [one] = json.loads(found.body)["transcript"]
    assert (one["role"], one["speaker"]) == (sent, "Ann")
    assert one["metadata"].get("original_role") == (role if is_changed else None)
    assert found.changes == (("role_replaced",) if is_changed else ())


def test_a_turn_carries_the_key_the_user_s_metadata_and_the_envelope():
    found = part(turn(metadata={"topic": "tea"}), {"v": 1, "agent": "bot"})
    assert json.loads(found.body)["transcript"][0]["metadata"] == {
        "source": "migration",
        "document_id": "mx:m1",
        "original_created_at": "2025-03-01T12:01:00Z",
        "topic": "tea",
        "memxfer": {"v": 1, "agent": "bot"},
    }


def test_an_envelope_that_does_not_fit_beside_a_turn_is_dropped_and_declared():
    found = part(turn(metadata={"topic": "tea"}), {"v": 1, "x": "y" * 500}, metadata_bytes=300)
    assert found.changes == ("envelope_dropped",)
    assert json.loads(found.body)["transcript"][0]["metadata"]["topic"] == "tea"
    assert b"memxfer" not in found.body
    assert part(turn(metadata={"x": "y" * 500}), metadata_bytes=300).error.code == "metadata_too_large"


def test_several_turns_of_one_record_keep_their_own_times_names_and_metadata():
    record = MemoryRecord(
        id="c",
        content="",
        kind="conversation",
        scope=ANN,
        created_at=NOON,
        messages=(
            Message(role="user", content="Tea?", name="Ann", at=NOON, metadata={"mood": "dry"}),
            Message(role="tool", content=" ", at=NOON),
            Message(role="assistant", content="Yes.", at=NOON + timedelta(seconds=5), metadata={"n": 1}),
            Message(role="user", content="Thanks."),
        ),
    )
    found = part(record)
    body = json.loads(found.body)
    assert [(one["content"], one["timestamp"], one["speaker"]) for one in body["transcript"]] == [
        ("Tea?", "2025-03-01T12:00:00Z", "Ann"),
        ("Yes.", "2025-03-01T12:00:05Z", None),
        ("Thanks.", None, None),
    ]
    assert [one["metadata"].get("turn_metadata") for one in body["transcript"]] == [
        {"mood": "dry"},
        {"n": 1},
        None,
    ]
    assert all(one["metadata"]["document_id"] == "mx:c" for one in body["transcript"])
    assert (body["started_at"], body["ended_at"]) == ("2025-03-01T12:00:00Z", "2025-03-01T12:00:05Z")
    assert found.changes == ("empty_turns_left_out",)


# -- join -------------------------------------------------------------------------------------


def test_the_provider_joins_a_conversation_into_one_call():
    provider = SynapProvider(config(conversations="transcript"))
    assert isinstance(provider, SupportsGroups)
    parts = [part(turn(1)), part(turn(2, role="assistant"))]
    [whole] = provider.join(parts)
    document = whole.document
    assert (whole.count, whole.is_idempotent) == (2, True)
    assert (document.key, document.record_id, document.lane) == ("mx:m1", "m1", parts[0].lane)
    assert (document.group, document.size) == (None, len(document.body))
    assert json.loads(document.body) == {
        "conversation_id": THREAD["conversation_id"],
        "user_id": "ann",
        "customer_id": "acme",
        "transcript": [json.loads(one.body)["transcript"][0] for one in parts],
        "metadata": {"source": "migration", "original_conversation_id": "thread 7"},
        "started_at": "2025-03-01T12:01:00Z",
        "ended_at": "2025-03-01T12:02:00Z",
    }


def test_turns_stand_in_the_order_of_their_times_then_positions_then_as_they_were_listed():
    same = NOON + timedelta(microseconds=1)
    records = [
        turn(1, "early", at=NOON),
        turn(2, "second", at=same, provenance={"index": 9}),
        turn(3, "third", at=same, provenance={"index": "10"}),
        turn(4, "fourth", at=same),
        turn(5, "fifth", at=same),
        turn(6, "late", at=NOON + timedelta(seconds=1)),
    ]
    _, body = joined(*records[3:], *reversed(records[:3]))
    assert [one["content"] for one in body["transcript"]] == [
        "early",
        "second",
        "third",
        "fourth",
        "fifth",
        "late",
    ]


def test_records_of_several_turns_interleave_by_the_time_of_each_turn():
    long = MemoryRecord(
        id="a",
        content="",
        scope=ANN,
        created_at=NOON,
        messages=(
            Message(role="user", content="one", at=NOON),
            Message(role="user", content="three", at=NOON + timedelta(minutes=5)),
            Message(role="user", content="still three"),
        ),
    )
    _, body = joined(long, turn(2, "two"))
    assert [one["content"] for one in body["transcript"]] == ["one", "two", "three", "still three"]


def test_turns_without_time_come_last_in_their_own_order():
    undated = [
        MemoryRecord(
            id=f"u{n}",
            content=f"undated {n}",
            messages=(Message(role="user", content=f"undated {n}"),),
            scope=ANN,
            provenance={"index": n},
        )
        for n in (2, 11)
    ]
    _, body = joined(*undated, turn(1), undated="send")
    assert [one["content"] for one in body["transcript"]] == ["Turn number 1.", "undated 2", "undated 11"]
    assert (body["started_at"], body["ended_at"]) == ("2025-03-01T12:01:00Z", "2025-03-01T12:01:00Z")
    _, body = joined(*undated, undated="send")
    assert "started_at" not in body


def test_what_all_records_say_alike_is_the_conversation_s_metadata_too():
    alike = {"channel": "web", "n": 1}
    _, body = joined(turn(1, metadata=alike), turn(2, metadata={**alike, "n": 2}))
    assert body["metadata"] == {**OURS, "channel": "web"}
    assert [one["metadata"]["n"] for one in body["transcript"]] == [1, 2]


def test_conversation_metadata_stays_within_the_documented_limit():
    big = {f"k{n}": "x" * 30_000 for n in range(2)} | {"small": "é" * 3_000}
    found, body = joined(turn(1, metadata=big), turn(2, metadata=big), metadata_bytes=70_000)
    assert body["metadata"] == OURS
    assert found.document.changes == ()
    assert all(one["metadata"]["small"] for one in body["transcript"])


def test_a_whole_declares_what_its_parts_declare():
    found, _ = joined(turn(1, role="tool"), turn(2, "a\x00"), turn(3, role="tool"))
    assert found.document.changes == ("role_replaced", "nul_replaced")


texts = st.text(st.characters(codec="utf-8"), max_size=20)
messages = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant", "tool", "\x00"]),
    content=texts,
    name=st.none() | texts,
    at=st.none() | st.datetimes(timezones=st.just(UTC)),
)


@given(st.lists(st.lists(messages, min_size=1, max_size=3), min_size=1, max_size=6), st.randoms())
def test_a_join_keeps_every_turn_in_time_order_however_its_parts_were_listed(turns, rng):
    records = [
        MemoryRecord(
            id=f"r{n}",
            content="",
            messages=tuple(said),
            scope=ANN,
            created_at=NOON,
            provenance={"index": n},
        )
        for n, said in enumerate(turns)
    ]
    parts = [found for found in map(part, records) if isinstance(found, Document)]
    if not parts:
        return
    whole = join_parts(sorted(parts, key=lambda one: one.rank))
    rng.shuffle(parts)
    again = join_parts(sorted(parts, key=lambda one: one.rank))
    assert whole == again
    body = json.loads(whole.document.body)
    said = [one.content.replace("\0", "\u2400") for some in turns for one in some if one.content.strip()]
    assert sorted(one["content"] for one in body["transcript"]) == sorted(said)
    dated = [one["timestamp"].removesuffix("Z") for one in body["transcript"] if one["timestamp"]]
    assert dated == sorted(dated)


# -- capabilities -----------------------------------------------------------------------------


def test_the_report_says_what_each_way_keeps():
    documents = capabilities_of(config(), is_b2c=False)
    transcript = capabilities_of(config(conversations="transcript"), is_b2c=False)
    assert documents.channel(Dimension.MESSAGES).write is Level.LOSSY
    assert transcript.channel(Dimension.MESSAGES).write is Level.NATIVE
    assert documents.channel(Dimension.SESSION).write is Level.ENVELOPE
    assert transcript.channel(Dimension.SESSION).write is Level.LOSSY
    for dimension in (Dimension.SESSION, Dimension.MESSAGES, Dimension.OCCURRED_AT, Dimension.CREATED_AT):
        notes = {one.channel(dimension).note for one in (documents, transcript)}
        assert len(notes) == 2
        assert all(notes)


def test_every_change_of_a_turn_is_explained_where_it_can_occur():
    transcript = capabilities_of(config(conversations="transcript"), is_b2c=False).changes
    words = {"role_replaced", "empty_turns_left_out", "turns_as_text"}
    assert words <= transcript.keys()
    assert words.isdisjoint(capabilities_of(config(), is_b2c=False).changes)
    assert {transcript[word].dimension for word in words} == {Dimension.MESSAGES}
