"""Owners as group ids and back; and that whatever a record holds comes back."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memxfer.models import MemoryRecord, Relation, Scope, canonical_json, sanitise_record
from memxfer.spi import Document, Refused, Skipped, stable_uuid
from memxfer_graphiti import GraphitiConfig
from memxfer_graphiti.documents import document_of
from memxfer_graphiti.mapping import record_of
from memxfer_graphiti.rows import Node
from memxfer_graphiti.scopes import group_of, owner_of, scope_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "mx:zep:p:1"


def config(**more):
    return GraphitiConfig(**{"provider": "graphiti", "path": "g.kuzu", **more})


def document(record, **more):
    found = document_of(record, KEY, {}, config=config(**more))
    assert isinstance(found, Document), found
    return found


def read(row):
    return record_of(row, now=NOW, plain="user")


def as_written(record):
    return msgspec.structs.replace(record, id=stable_uuid(KEY))


def test_a_record_of_nobody_needs_a_decision():
    record = MemoryRecord(id="1", content="private", scope=Scope())
    refused = document_of(record, KEY, {}, config=config())
    assert isinstance(refused, Refused)
    assert refused.remedies == ('unscoped = "skip"', 'unscoped = "assign:USER"', 'unscoped = "shared"')
    assert document_of(record, KEY, {}, config=config(unscoped="skip")) == Skipped("unscoped")
    assert document(record, unscoped="shared").body.group_id == ""
    assigned = document(record, unscoped="assign:ann b")
    assert read(assigned.body).scope == Scope(user="ann b") == assigned.owner


def test_an_owner_whose_id_is_a_group_id_is_found_by_it():
    assert group_of(Scope(user="user_1-A"), plain="user") == "user_1-A"
    assert group_of(Scope(group="team"), plain="group") == "team"


@pytest.mark.parametrize("group", ["mx_", "mx_x-1", "mx_u-a__", "mx_u-alice", "mx_u-_FF", "ann", "mx_g-_61"])
def test_a_group_that_only_looks_like_ours_is_an_owner_of_that_name(group):
    assert scope_of(group, plain="user") == Scope(user=group)


NAMES = st.one_of(
    st.none(), st.text(max_size=8), st.sampled_from(["a", "A", "_", "mx_u-a", "a__u-b", "x@y.z"])
)
SCOPES = st.builds(Scope, user=NAMES, agent=NAMES, app=NAMES, session=NAMES, tenant=NAMES, group=NAMES)


@given(one=SCOPES, other=SCOPES, plain=st.sampled_from(["user", "group", "app", "tenant"]))
def test_two_owners_never_have_one_group(one, other, plain):
    owners = [owner_of(one), owner_of(other)]
    if Scope() in owners:
        return
    groups = [group_of(owner, plain=plain) for owner in owners]
    assert (groups[0] == groups[1]) is (owners[0] == owners[1])
    for owner, group in zip(owners, groups, strict=True):
        assert group.isascii()
        assert group.replace("-", "").replace("_", "a").isalnum()
        assert scope_of(group, plain=plain) == owner


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    metadata=st.dictionaries(st.text(max_size=5) | st.sampled_from(["memxfer", "uuid"]), JSON, max_size=4),
    content=st.text(max_size=20),
    scope=SCOPES,
    write=st.sampled_from(["fact", "episode"]),
    engine=st.sampled_from([{}, {"engine": "falkordb", "uri": "redis://h:1", "path": None}]),
)
def test_whatever_a_record_holds_comes_back(metadata, content, scope, write, engine):
    record = sanitise_record(MemoryRecord(id="1", content=content, metadata=metadata, scope=scope))
    made = document(record, write=write, unscoped="shared", **engine)
    # the way through a database: JSON text
    row = msgspec.convert(json.loads(msgspec.json.encode(made.body)), type(made.body))
    assert canonical_json(read(row)) == canonical_json(as_written(record))


def test_lone_surrogates_and_numbers_that_are_none_are_tagged_and_never_lost():
    record = MemoryRecord(
        id="1", content="a\ud800b", metadata={"n": float("nan")}, scope=Scope(user="u\udc00")
    )
    found = read(document(record).body)
    assert found == as_written(sanitise_record(record))
    assert found.sanitised != ()


def test_node_names_and_labels_that_are_no_words_do_not_get_into_cypher():
    relation = Relation(
        subject="a'}) DETACH DELETE n //",
        predicate="x y",
        object="",
        attributes={"subject_labels": ["Person", "no label", 7], "object_labels": "none"},
    )
    row = document(MemoryRecord(id="1", content="x", scope=Scope(user="u"), relations=(relation,))).body
    assert row.source == Node(uuid=row.source.uuid, name=relation.subject, labels=("Person",))
    assert read(row).relations == (relation,)
