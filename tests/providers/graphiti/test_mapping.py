"""Records as rows and back: equal in every field; rows of an app's; rows that somebody changed."""

import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from memxfer.models import (
    Attachment,
    Embedding,
    MemoryRecord,
    Message,
    RecordState,
    Relation,
    Scope,
    Validity,
    Version,
)
from memxfer.spi import Document, Ignored, stable_uuid
from memxfer_graphiti import GraphitiConfig
from memxfer_graphiti.documents import UNDATED, document_of
from memxfer_graphiti.mapping import HAS_MEMORY, record_of
from memxfer_graphiti.rows import Episode, Fact, episode_of, fact_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "mx:zep:p:1"
AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
UUIDS = ("7f3c0d2e-0000-4000-8000-000000000001", "7f3c0d2e-0000-4000-8000-000000000002")


def config(**more):
    return GraphitiConfig(**{"provider": "graphiti", "path": "g.kuzu", **more})


def document(record, envelope=None, **more):
    found = document_of(record, KEY, envelope or {}, config=config(**more))
    assert isinstance(found, Document), found
    return found


def read(row, *, now=NOW, plain="user"):
    return record_of(row, now=now, plain=plain)


def as_written(record):
    """Return what a record comes back as: under the uuid of its key, without a vector."""
    return msgspec.structs.replace(record, id=stable_uuid(KEY), embedding=None)


def full(**changes):
    """Return a record with every field."""
    fields = {
        "id": "zep/1?x",
        "content": "Ann likes tea",
        "messages": (Message(role="user", content="I like tea", name="Ann", at=AT, metadata={"n": None}),),
        "kind": "preference",
        "scope": Scope(
            user="ann@example.org",
            agent="bot/1",
            app="shop",
            session="s:1",
            tenant="t",
            group="g",
            extra={"x": "1"},
        ),
        "metadata": {
            "deep": {"list": [1, {"null": None}], "empty": {}},
            "flag": True,
            "n": 1.5,
            "t": "x",
            "z": None,
        },
        "tags": ("tea", "drink"),
        "created_at": AT,
        "updated_at": AT + timedelta(days=1),
        "occurred_at": AT - timedelta(days=1),
        "expires_at": AT + timedelta(days=9999),
        "validity": Validity(
            valid_from=AT - timedelta(days=3, microseconds=1),
            valid_to=AT + timedelta(days=3, microseconds=1),
            recorded_at=AT + timedelta(microseconds=2),
            invalidated_at=AT + timedelta(microseconds=3),
        ),
        "state": RecordState.SUPERSEDED,
        "superseded_by": "zep/2",
        "pinned": True,
        "versions": (Version(content="Ann liked tea", at=AT, event="ADD", metadata={"by": "x"}),),
        "relations": (
            Relation(
                subject="Ann",
                predicate="LIKES",
                object="Tea",
                subject_id=UUIDS[0],
                object_id=UUIDS[1],
                attributes={"subject_labels": ["Person", "Entity"], "weight": 2},
            ),
            Relation(subject="Ann", predicate="KNOWS", object="Bob"),
        ),
        "embedding": Embedding(vector=(0.5, 0.25), model="m", dims=2),
        "importance": 0.25,
        "confidence": 0.5,
        "provenance": {"episode_uuids": ["e1", "e2"], "channel": "chat"},
        "attachments": (Attachment(name="a.png", url="https://example.org/a.png", size=3),),
        "visibility": "private",
        "derived_from": ("zep/0",),
        "extensions": {"zep": {"hyperedge_uuid": "h"}, "graphiti": {"name": "x"}},
        "sanitised": ("metadata.n",),
    }
    return MemoryRecord(**{**fields, **changes})


@pytest.mark.parametrize("write", ["fact", "episode", "auto"])
def test_a_record_with_every_field_comes_back_equal(write):
    record = full()
    assert read(document(record, write=write).body) == as_written(record)


@pytest.mark.parametrize("write", ["fact", "episode"])
def test_a_record_with_no_field_comes_back_equal(write):
    record = MemoryRecord(id="1", content="", scope=Scope(user="u"))
    assert read(document(record, write=write).body) == as_written(record)


def test_the_fields_are_all_tried():
    tried = msgspec.to_builtins(full())
    assert set(tried) == {field.name for field in msgspec.structs.fields(MemoryRecord)}


def test_the_four_times_are_columns_and_the_record_keeps_its_own_date_beside_them():
    record = full()
    row = document(record).body
    times = (row.valid_at, row.invalid_at, row.created_at, row.expired_at)
    assert times == tuple(getattr(record.validity, name) for name in msgspec.structs.asdict(Validity()))
    assert row.reference_time == record.occurred_at
    assert read(row).created_at == AT != row.created_at


def test_times_of_other_zones_are_the_same_moments_in_utc():
    india = timezone(timedelta(hours=5, minutes=30))
    record = full(created_at=AT.astimezone(india), validity=Validity(valid_from=AT.astimezone(india)))
    row = document(record).body
    assert (row.valid_at, row.valid_at.tzinfo) == (AT, UTC)


def test_plain_metadata_are_attributes_that_an_app_can_read():
    row = document(full(metadata={"topic": "tea", "deep": {"a": [1]}})).body
    assert {name for name in row.attributes if name != "memxfer"} == {"topic", "deep"}
    assert row.attributes["deep"] == {"a": [1]}


def test_on_a_server_only_scalars_are_attributes_and_nothing_is_lost():
    metadata = {"topic": "tea", "deep": {"a": [1]}, "none": None, "uuid": "mine", "nul": "a\0b", "": 1}
    made = document(full(metadata=metadata), engine="neo4j", path=None, uri="bolt://h:1")
    assert {name for name in made.body.attributes if name != "memxfer"} == {"topic"}
    assert read(made.body).metadata == metadata


@pytest.mark.parametrize("engine", ["neo4j", "falkordb"])
def test_rows_for_servers_come_back_equal(engine):
    record = full(content="a\0b")
    made = document(record, engine=engine, path=None, uri="x://h:1")
    assert read(made.body) == as_written(record)
    assert ("\0" in made.body.fact) is (engine == "neo4j")
    assert ("nul_removed" in made.changes) is (engine == "falkordb")


@pytest.mark.parametrize(
    ("mine", "ours"),
    [
        (("memxfer",), "memxfer_record"),
        (("memxfer", "memxfer_record"), "memxfer_record_"),
        (("memxfer_record",), "memxfer"),
    ],
)
def test_an_attribute_of_the_same_name_stays_and_is_declared(mine, ours):
    metadata = dict.fromkeys(mine, '{"memxfer":1,"key":"other","id":"1","seen":"x"}')
    made = document(full(metadata=metadata))
    assert {name: made.body.attributes[name] for name in mine} == metadata
    assert ours in made.body.attributes
    assert read(made.body).metadata == metadata
    assert ("attribute_taken" in made.changes) is ("memxfer" in mine)


def test_what_is_told_once_is_not_put_into_the_envelope_again():
    record = full()
    envelope = {"v": 1, "source": "zep", "tags": ["tea", "drink"], "agent_id": "bot/1"}
    row = document(record, envelope).body
    extras = json.loads(row.attributes["memxfer"])
    assert extras["envelope"] == {"v": 1, "source": "zep", "agent_id": "bot/1"}
    assert read(row) == as_written(record)


# -- what somebody changed, or copied ---------------------------------------------------------


def test_a_fact_that_the_app_has_ended_is_superseded_and_keeps_the_rest():
    record = full(state=RecordState.ACTIVE, superseded_by=None, validity=Validity(valid_from=AT))
    ended = msgspec.structs.replace(document(record).body, expired_at=NOW, invalid_at=NOW)
    found = read(ended)
    assert (found.state, found.validity.invalidated_at) == (RecordState.SUPERSEDED, NOW)
    assert (found.tags, found.scope, found.pinned) == (record.tags, record.scope, True)
    assert found.metadata == record.metadata


def test_an_app_that_rewords_a_fact_is_believed():
    row = msgspec.structs.replace(document(full()).body, fact="Ann loves tea")
    assert read(row).content == "Ann loves tea"


def test_a_row_that_was_given_to_another_group_is_not_its_first_owners():
    row = msgspec.structs.replace(document(full()).body, group_id="bob")
    assert read(row).scope == Scope(user="bob")


def test_extras_that_were_copied_to_another_row_are_its_attributes():
    row = msgspec.structs.replace(document(full()).body, uuid=UUIDS[0])
    found = read(row)
    assert found.tags == ()
    assert "memxfer" in found.metadata


def test_a_row_of_a_later_memxfer_is_an_error_and_not_a_guess():
    row = document(full()).body
    later = row.attributes["memxfer"].replace('{"memxfer":1', '{"memxfer":2')
    with pytest.raises(ValueError, match="later memxfer"):
        read(msgspec.structs.replace(row, attributes={"memxfer": later}))


def test_a_fact_reads_the_same_today_and_after_its_validity():
    record = full(state=RecordState.ACTIVE, validity=Validity(valid_to=NOW), superseded_by=None)
    row = document(record).body
    assert (
        read(row, now=NOW - timedelta(days=1)) == read(row, now=NOW + timedelta(days=1)) == as_written(record)
    )


# -- rows of an app's -------------------------------------------------------------------------


def foreign(**changes):
    ends = {
        f"{end}_{name}": value
        for end, uuid, called in (("source", "n1", "Ann"), ("target", "n2", "Tea"))
        for name, value in (("uuid", uuid), ("name", called), ("labels", ["Entity", "Person"]))
    }
    return {
        "uuid": "e1",
        "group_id": "ann",
        "name": "LIKES",
        "fact": "Ann likes tea",
        "created_at": datetime(2024, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001 - as Kuzu gives them
        "valid_at": "2024-01-01T00:00:00+02:00",
        "episodes": ["ep1"],
        "attributes": '{"strength": 3}',
        **ends,
        **changes,
    }


def test_a_fact_of_an_app_has_the_shape_of_one_of_zep():
    created = datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert read(fact_of(foreign())) == MemoryRecord(
        id="e1",
        content="Ann likes tea",
        kind="fact",
        scope=Scope(user="ann"),
        metadata={"strength": 3},
        created_at=created,
        validity=Validity(valid_from=datetime(2023, 12, 31, 22, tzinfo=UTC), recorded_at=created),
        relations=(
            Relation(
                subject="Ann",
                predicate="LIKES",
                object="Tea",
                subject_id="n1",
                object_id="n2",
                attributes={"subject_labels": ["Person"], "object_labels": ["Person"]},
            ),
        ),
        provenance={"episode_uuids": ["ep1"]},
    )


@pytest.mark.parametrize("ends", [{"invalid_at": NOW}, {"expired_at": NOW + timedelta(days=1)}])
def test_a_fact_that_has_ended_is_superseded(ends):
    assert read(fact_of(foreign(**ends))).state is RecordState.SUPERSEDED


def test_a_fact_that_ends_in_the_future_is_current():
    assert read(fact_of(foreign(invalid_at=NOW + timedelta(seconds=1)))).state is RecordState.ACTIVE


def test_falkordb_s_leaked_columns_are_no_metadata():
    leaked = {"source_uuid": "n1", "target_uuid": "n2", "fact": "x", "uuid": "e1", "strength": 3}
    assert read(fact_of(foreign(attributes=leaked))).metadata == {"strength": 3}


def test_a_time_that_is_none_is_kept_as_it_is():
    found = read(fact_of(foreign(valid_at="soon")))
    assert found.validity.valid_from is None
    assert found.extensions == {"graphiti": {"unreadable_times": {"valid_at": "soon"}}}


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "NaN"])
def test_attributes_that_are_no_mapping_are_kept(text):
    assert "attributes" in read(fact_of(foreign(attributes=text))).metadata


@pytest.mark.parametrize("column", ["uuid", "fact"])
def test_a_row_without_uuid_or_text_is_a_defect(column):
    with pytest.raises(ValueError, match=column):
        fact_of(foreign(**{column: None}))


def test_an_episode_of_an_app():
    row = {"uuid": "p1", "group_id": "_", "name": "chat", "source": "message", "source_description": "web"}
    found = read(episode_of({**row, "content": "user: hi", "created_at": AT, "valid_at": AT - timedelta(1)}))
    assert (found.kind, found.content, found.scope) == ("message", "user: hi", Scope())
    assert (found.created_at, found.occurred_at) == (AT, AT - timedelta(1))
    assert found.provenance == {"source": "message", "source_description": "web"}
    assert found.extensions == {"graphiti": {"name": "chat"}}
    trace = read(episode_of({**row, "content": "x", "source": "fact_triple"}))
    assert trace == Ignored("fact_source", "p1", harmless=True)


# -- what a record becomes --------------------------------------------------------------------


def test_a_plain_memory_ties_its_owner_to_its_kind():
    row = document(MemoryRecord(id="1", content="x", kind="preference", scope=Scope(user="ann"))).body
    assert (row.source.name, row.name, row.target.name) == ("ann", HAS_MEMORY, "preference")


def test_a_name_is_one_node_in_a_group_and_another_in_another():
    def ends(user, subject, **ids):
        relation = Relation(subject=subject, predicate="P", object="o", **ids)
        row = document(MemoryRecord(id="1", content="x", scope=Scope(user=user), relations=(relation,))).body
        return row.source.uuid

    assert ends("ann", "Tea") == ends("ann", "Tea") != ends("bob", "Tea")
    assert ends("ann", "Tea", subject_id="no uuid") == ends("ann", "Tea")
    assert ends("ann", "Tea", subject_id=UUIDS[0]) == ends("bob", "Coffee", subject_id=UUIDS[0]) == UUIDS[0]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"kind": "fact"}, Fact),
        ({"kind": "preference"}, Fact),
        ({"kind": "message"}, Episode),
        ({"kind": "message", "validity": Validity(valid_from=AT)}, Fact),
        ({"kind": "event", "relations": (Relation(subject="a", predicate="b", object="c"),)}, Fact),
    ],
)
def test_auto_makes_facts_of_what_relates_or_holds_for_a_time(fields, kind):
    assert isinstance(document(MemoryRecord(id="1", content="x", scope=Scope(user="u"), **fields)).body, kind)


def test_turns_without_a_text_become_one_and_come_back_as_turns():
    record = MemoryRecord(
        id="1",
        content="",
        kind="conversation",
        scope=Scope(user="u"),
        messages=(Message(role="user", content="Hi"), Message(role="assistant", content="Hello")),
    )
    row = document(record).body
    assert (row.content, row.source) == ("User: Hi\nAssistant: Hello", "message")
    assert read(row) == as_written(record)


def test_a_record_without_a_date_is_never_stamped_with_today():
    made = document(MemoryRecord(id="1", content="x", scope=Scope(user="u")))
    assert (made.body.created_at, made.changes) == (UNDATED, ("undated",))
    assert read(made.body).created_at is None
    assert document(full()).changes == ()
