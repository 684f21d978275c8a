"""What Zep's rows become: every field has its place, and nothing is dropped."""

from datetime import UTC, datetime

import pytest

from memxfer.spi import Ignored, Message, RecordState, Relation, Scope, Validity
from memxfer_zep.mapping import CUSTOM, Owner, Row, record_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Owner(user="ann@example.org/1", user_uuid="u-1")
FACT = {"uuid": "e-1", "fact": "Ann likes tea", "created_at": "2025-03-01T10:00:00.123456Z"}


def read(body, listing="facts", owner=ANN, *, episodes=(), **options):
    return record_of(Row(body, episodes), listing, owner, now=NOW, **options)


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


def test_a_fact_keeps_its_four_times_to_the_microsecond():
    record = read(
        {
            **FACT,
            "valid_at": "2024-01-01T00:00:00.000001Z",
            "invalid_at": "2024-06-01T02:00:00.999999+02:00",
            "expired_at": "2025-04-01T00:00:00.5Z",
        }
    )
    assert record.validity == Validity(
        valid_from=at(2024, 1, 1, 0, 0, 0, 1),
        valid_to=at(2024, 6, 1, 0, 0, 0, 999999),
        recorded_at=at(2025, 3, 1, 10, 0, 0, 123456),
        invalidated_at=at(2025, 4, 1, 0, 0, 0, 500000),
    )
    assert record.created_at == record.validity.recorded_at
    assert record.updated_at == record.validity.invalidated_at


@pytest.mark.parametrize(
    ("times", "state"),
    [
        ({}, RecordState.ACTIVE),
        ({"invalid_at": "2025-12-31T23:59:59Z"}, RecordState.SUPERSEDED),
        ({"invalid_at": "2026-01-01T00:00:00Z"}, RecordState.SUPERSEDED),
        ({"invalid_at": "2026-01-01T00:00:01Z"}, RecordState.ACTIVE),
        ({"expired_at": "2025-06-01T00:00:00Z"}, RecordState.SUPERSEDED),
        ({"expired_at": "0001-01-01T00:00:00Z"}, RecordState.ACTIVE),  # Go's way of saying none
        ({"expired_at": "some day"}, RecordState.SUPERSEDED),
    ],
    ids=str,
)
def test_a_fact_that_has_ended_is_superseded_and_left_out_on_request(times, state):
    assert read({**FACT, **times}).state is state
    is_left_out = read({**FACT, **times}, current_only=True) == Ignored("ended", harmless=True)
    assert is_left_out == (state is RecordState.SUPERSEDED)


def test_a_fact_s_triple_is_a_relation_with_ids_and_labels():
    record = read(
        {
            **FACT,
            "name": "LIKES",
            "source_node_uuid": "n-1",
            "source_node_name": "Ann",
            "source_node_labels": ["Person"],
            "target_node_uuid": "n-2",
            "target_node_name": "tea",
        }
    )
    [relation] = record.relations
    assert relation == Relation(
        subject="Ann",
        predicate="LIKES",
        object="tea",
        subject_id="n-1",
        object_id="n-2",
        attributes={"subject_labels": ["Person"]},
    )
    assert record.extensions == {"zep": {"user_uuid": "u-1"}}


def test_ends_without_a_name_are_told_by_their_uuid():
    [relation] = read({**FACT, "name": "X", "source_node_uuid": "n-1", "target_node_uuid": "n-2"}).relations
    assert (relation.subject, relation.object) == ("n-1", "n-2")


@pytest.mark.parametrize(
    "left",
    [{"name": "LIKES"}, {"name": "LIKES", "source_node_name": "Ann"}, {"target_node_uuid": "n-2"}],
    ids=str,
)
def test_a_fact_without_nodes_has_no_relation_and_loses_nothing(left):
    record = read({**FACT, **left})
    assert record.relations == ()
    assert record.extensions["zep"] == {"user_uuid": "u-1", **left}


def test_metadata_of_every_json_type_and_unknown_fields_come_along():
    metadata = {
        "text": "é",
        "whole": 2**60,
        "real": 0.1,
        "yes": True,
        "nothing": None,
        "list": [1, "a", None, {"b": []}],
        "nested": {"a": {"b": {}}},
    }
    body = {**FACT, "attributes": metadata, "weight": 3, "tags_of_tomorrow": ["x"], "graph_uuid": "g-1"}
    record = read(body)
    assert record.metadata == metadata
    assert record.extensions["zep"] == {
        "user_uuid": "u-1",
        "graph_uuid": "g-1",
        "weight": 3,
        "tags_of_tomorrow": ["x"],
    }


def test_fields_of_another_type_than_expected_are_kept_as_they_are():
    odd = {"attributes": ["a"], "episode_uuids": "e", "valid_at": 17, "created_at": "yesterday", "name": 5}
    record = read({"uuid": "e-1", "fact": "x", **odd})
    assert record.metadata == record.provenance == {}
    assert (record.created_at, record.validity.valid_from) == (None, None)
    assert record.extensions["zep"] == {
        "user_uuid": "u-1",
        "attributes": ["a"],
        "episode_uuids": "e",
        "name": 5,
        "unreadable_times": {"valid_at": 17, "created_at": "yesterday"},
    }


@pytest.mark.parametrize(
    "body", [{}, {"uuid": "e"}, {"fact": "x"}, {"uuid": 1, "fact": "x"}, [], "row", None]
)
def test_a_row_that_is_no_fact_is_an_error(body):
    with pytest.raises((ValueError, AttributeError)):
        read(body)


def test_an_edge_that_only_mentions_is_no_memory():
    assert read({"uuid": "e-1", "scope": "episodic"}) == Ignored("mention", harmless=True)
    assert read({**FACT, "scope": "episodic"}).extensions["zep"]["scope"] == "episodic"


def test_a_fact_s_episodes_add_metadata_and_origin_but_hide_nothing():
    episodes = [
        {"metadata": {"topic": "tea", "from": "mail"}, "thread_uuid": "t-1"},
        {"metadata": {"topic": "tea", "page": 2}, "thread_uuid": "t-1"},
        {"metadata": None, "thread_uuid": None},
    ]
    body = {**FACT, "attributes": {"from": "app"}, "episode_uuids": ["p-1", "p-2", "p-3"]}
    record = read(body, episodes=episodes)
    assert record.metadata == {"from": "app", "topic": "tea", "page": 2}
    assert record.extensions["zep"]["shadowed_metadata"] == {"from": "mail"}
    assert record.provenance == {"episode_uuids": ["p-1", "p-2", "p-3"], "thread_uuids": ["t-1"]}
    assert record.scope == Scope(user="ann@example.org/1")  # the fact is the user's, not the thread's


MESSAGE = {
    "uuid": "m-1",
    "thread_uuid": "t-1",
    "role": "assistant",
    "name": "Bo",
    "content": "Hello",
    "created_at": "2025-03-02T00:00:00Z",
    "reference_time": "2024-02-29T12:00:00.000001Z",
    "metadata": {"k": [1]},
    "processed": True,
}


@pytest.mark.parametrize("role", ["system", "assistant", "user", "function", "tool", "of tomorrow"])
def test_a_message_is_a_turn_with_role_name_and_its_own_time(role):
    owner = Owner(user="ann", user_uuid="u-1", thread="chat-7")
    record = read({**MESSAGE, "role": role}, "messages", owner)
    said = at(2024, 2, 29, 12, 0, 0, 1)
    assert record.messages == (Message(role=role, content="Hello", name="Bo", at=said),)
    assert (record.kind, record.content, record.metadata) == ("message", "Hello", {"k": [1]})
    assert (record.occurred_at, record.created_at) == (said, at(2025, 3, 2))
    assert record.scope == Scope(user="ann", session="chat-7")
    assert record.extensions["zep"] == {"user_uuid": "u-1", "thread_uuid": "t-1", "processed": True}


def test_a_thread_without_an_id_of_the_app_s_is_told_by_its_uuid():
    record = read(MESSAGE, "messages", Owner(user="ann", thread="t-1"))
    assert record.scope.session == "t-1"
    assert record.extensions["zep"] == {"processed": True}


def test_a_message_without_a_time_of_its_own_is_dated_by_its_arrival():
    record = read({**MESSAGE, "reference_time": None, "role": None}, "messages")
    assert (record.occurred_at, record.messages) == (None, ())
    [turn] = read({**MESSAGE, "reference_time": None}, "messages").messages
    assert turn.at == at(2025, 3, 2)


def test_episodes_keep_where_they_come_from():
    body = {
        "uuid": "p-1",
        "content": '{"order": 7}',
        "source": "json",
        "source_description": "shop",
        "document_id": "a/b",
        "reference_time": "2024-01-01T00:00:00Z",
        "content_policy": {"violated": False},
    }
    record = read(body, "episodes", Owner(group="kb", graph_name="Docs"))
    assert (record.kind, record.messages, record.scope) == ("episode", (), Scope(group="kb"))
    assert record.provenance == {"source": "json", "source_description": "shop", "document_id": "a/b"}
    assert record.extensions["zep"] == {"graph_name": "Docs", "content_policy": {"violated": False}}


def test_an_episode_of_a_message_is_a_turn_and_one_of_a_fact_is_left_out():
    body = {"uuid": "p-1", "content": "Hi", "source": "message", "role": "user", "role_name": "Ann"}
    record = read({**body, "thread_uuid": "t-1"}, "episodes")
    assert record.messages == (Message(role="user", content="Hi", name="Ann"),)
    assert (record.kind, record.scope.session) == ("message", "t-1")
    trace = read({**body, "source": "fact_triple"}, "episodes")
    assert trace == Ignored("fact_source", harmless=True)


def test_summaries_are_of_entities_threads_and_documents():
    node = {
        "uuid": "n-1",
        "name": "Ann",
        "summary": "Likes tea",
        "labels": ["Person"],
        "attributes": {"age": 7},
        "episode_uuids": ["p-1"],
        "episode_uuids_truncated": True,
    }
    record = read(node, "nodes")
    assert (record.content, record.kind, record.tags) == ("Ann: Likes tea", "entity", ("Person",))
    assert record.provenance == {"episode_uuids": ["p-1"], "episode_uuids_truncated": True}
    assert (record.metadata, record.extensions["zep"]["name"]) == ({"age": 7}, "Ann")
    assert read({**node, "summary": ""}, "nodes") == Ignored("no_summary")
    bare = {**node, "summary": "", "attributes": {}}
    assert read(bare, "nodes") == Ignored("no_summary", harmless=True)
    thread = {
        "uuid": "s-1",
        "summary": "They spoke",
        "thread_uuid": "t-1",
        "last_summarized_at": "2025-01-01T00:00:00Z",
    }
    record = read(thread, "thread_summaries")
    assert (record.kind, record.scope.session, record.updated_at) == ("summary", "t-1", at(2025, 1, 1))
    record = read({"uuid": "s-2", "summary": "A text", "document_id": "a/b"}, "document_summaries")
    assert record.provenance == {"document_id": "a/b"}
    assert read({"uuid": "s-3"}, "thread_summaries") == Ignored("no_summary", harmless=True)


def test_every_extension_that_zep_is_known_to_have_is_declared():
    bodies = [
        ({**FACT, "scope": "entity", "hyperedge_uuid": "h", "graph_uuid": "g", "name": "X"}, "facts", ANN),
        (MESSAGE, "messages", Owner(user="ann", user_uuid="u", thread="chat")),
        ({"uuid": "n", "name": "A", "summary": "s", "degree": 3}, "nodes", Owner(group="g", graph_name="G")),
        ({"uuid": "s", "summary": "s", "last_summarized_episode_valid_at": "x"}, "thread_summaries", ANN),
    ]
    found = {name for body in bodies for name in read(*body).extensions["zep"]}
    assert found - CUSTOM.keys() == set()
