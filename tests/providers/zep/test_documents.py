"""What a record becomes: which form, whose, what goes along, and what is refused or said to be altered."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memxfer.spi import (
    Document,
    MemoryRecord,
    Message,
    Refused,
    Relation,
    Scope,
    Skipped,
    Validity,
    sanitise_record,
)
from memxfer_zep import ZepConfig, ZepProvider
from memxfer_zep.bodies import body_of
from memxfer_zep.documents import document_of
from memxfer_zep.marks import RESERVED, Books

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


# -- form ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({}, "fact"),
        ({"kind": "preference"}, "fact"),
        ({"kind": "event"}, "episode"),
        ({"kind": "event", "validity": Validity(valid_from=AT)}, "fact"),
        ({"kind": "event", "relations": (Relation(subject="a", predicate="b", object="c"),)}, "fact"),
        ({"content": "x" * 250}, "fact"),
        ({"content": "x" * 251}, "episode"),
        ({"content": "hello", "messages": (turn(),), "scope": TALK}, "message"),
        ({"content": "", "messages": (turn(), turn("ai", "hi")), "scope": TALK}, "message"),
        ({"content": "hello", "messages": (turn(),)}, "fact"),
        ({"content": "a summary", "messages": (turn(),), "scope": TALK}, "fact"),
        ({"content": "hello", "messages": (turn("narrator"),), "scope": TALK, "kind": "event"}, "episode"),
        ({"content": "x" * 5_000, "messages": (turn(content="x" * 5_000),), "scope": TALK}, "episode"),
    ],
    ids=str,
)
def test_auto_takes_the_form_that_keeps_most(fields, form):
    assert body(record(**fields))["form"] == form


@pytest.mark.parametrize("write", ["fact", "episode"])
def test_a_form_that_was_chosen_is_kept_to(write):
    assert body(record(kind="event", messages=(turn(),), scope=TALK), write=write)["form"] == write


@pytest.mark.parametrize(
    ("write", "length", "setting"),
    [("fact", 251, "fact_chars"), ("episode", 10_001, "episode_chars"), ("auto", 10_001, "episode_chars")],
)
def test_a_text_over_the_limit_is_a_decision(write, length, setting):
    long = record("é" * length)
    refused = prepared(long, write=write)
    assert (refused.error.code, refused.remedies) == ("too_large", ('oversize = "skip"',))
    assert prepared(long, write=write, oversize="skip") == Skipped("oversize")
    assert isinstance(prepared(long, write=write, **{setting: length}), Document)


# -- facts --------------------------------------------------------------------------------------


def test_a_plain_memory_hangs_between_its_owner_and_its_kind():
    document = prepared(record(kind="preference"))
    edge = body_of(document)["edge"]
    assert edge["fact_name"] == "HAS_MEMORY"
    assert edge["attributes"] == {
        "memxfer_key": "mx:k:1",
        "memxfer_created_at": "2024-03-09T14:25:36.123456Z",
    }
    assert edge["metadata"] == {"memxfer_key": "mx:k:1"}
    user, me, kind = document.containers
    assert (user.name, user.kind, user.spec) == ("user:ann", "user", {"user_id": "ann"})
    assert (me.kind, me.within) == ("user_node", "user:ann")
    assert (kind.kind, kind.within, kind.spec) == ("node", "user:ann", {"name": "preference"})
    assert (document.lane, document.owner) == ("facts:user:ann", ANN)


def test_validity_is_native_but_for_when_it_was_recorded():
    validity = Validity(valid_from=AT, valid_to=AT, recorded_at=AT, invalidated_at=AT)
    edge = body(record(validity=validity))["edge"]
    assert {edge[name] for name in ("valid_at", "invalid_at", "expired_at")} == {
        "2024-03-09T14:25:36.123456Z"
    }


@pytest.mark.parametrize(
    ("predicate", "name", "original"),
    [
        ("WORKS_AT", "WORKS_AT", None),
        ("works at", "WORKS_AT", "works at"),
        ("worksAt", "WORKS_AT", "worksAt"),
        ("любит", "RELATES_TO", "любит"),
        ("", "RELATES_TO", ""),
        ("a" * 60, "A" * 50, "a" * 60),
    ],
)
def test_a_relation_s_name_is_written_as_zep_does_and_kept(predicate, name, original):
    relation = Relation(subject="Ann", predicate=predicate, object="Acme")
    edge = body(record(relations=(relation,)))["edge"]
    assert edge["fact_name"] == name
    assert edge["attributes"].get("memxfer_predicate") == (original or None)


def test_entities_are_told_apart_by_id_and_shared_by_name():
    def ends(**fields):
        relation = Relation(predicate="knows", **{"subject": "Ann", "object": "Bo", **fields})
        return [one.name for one in prepared(record(relations=(relation,))).containers[1:]]

    assert ends() == ends()
    assert ends(subject_id="n1")[0] != ends(subject_id="n2")[0] != ends()[0]
    assert ends(subject="Bo", object="Ann") == ends()[::-1]


def test_further_relations_are_said_to_be_left_out():
    relations = tuple(Relation(subject="a", predicate="b", object=str(n)) for n in range(2))
    assert prepared(record(relations=relations)).changes == ("relations_cut",)


def test_what_a_long_fact_loses_as_an_episode_is_said():
    relation = Relation(subject="a", predicate="b", object="c")
    one = record("x" * 300, validity=Validity(valid_from=AT), relations=(relation,))
    assert prepared(one).changes == ("validity_dropped", "relations_dropped")


# -- whose --------------------------------------------------------------------------------------


def test_a_group_has_a_graph_of_its_own():
    document = prepared(record(scope=Scope(group="team")))
    assert document.containers[0].spec == {"group": "team"}
    assert (document.scope, document.owner) == ("group", Scope(group="team"))
    assert all(one.kind in ("graph", "node") for one in document.containers)


def test_a_record_of_nobody_is_a_decision():
    nobody = record(scope=Scope(agent="bot"))
    assert prepared(nobody).remedies == ('unscoped = "skip"', 'unscoped = "assign:USER"')
    assert prepared(nobody, unscoped="skip") == Skipped("unscoped")
    assert prepared(nobody, unscoped="assign:shared").owner == Scope(user="shared")


@pytest.mark.parametrize("user", ["", "  ", "x" * 501, "a\0b", "\ud800"], ids=ascii)
def test_an_id_that_zep_cannot_have_is_refused(user):
    assert prepared(record(scope=Scope(user=user))).error.code == "scope_id"


@pytest.mark.parametrize("user", ["ann@example.org", "a/b?c#d%20", "анна", "x" * 500])
def test_other_ids_go_as_they_are(user):
    assert prepared(record(scope=Scope(user=user))).containers[0].spec == {"user_id": user}


@pytest.mark.anyio
async def test_a_job_s_graph_is_everybody_s_so_users_need_a_decision(zep):
    shut = await zep.target(container="graph-per-job")
    refused = shut.prepare(record(), "k", {})
    assert isinstance(refused, Refused)
    assert (refused.error.code, refused.remedies) == ("widening", ('widening = "allow"',))
    allowed = await zep.target(container="graph-per-job", widening="allow")
    document = allowed.prepare(record(), "k", {})
    assert document.containers[0].name == "graph:job"
    assert body_of(document)["edge"]["attributes"]["memxfer_user"] == "ann"
    talk = record("hello", messages=(turn(),), scope=TALK)
    assert allowed.prepare(talk, "k", {}).containers[0].name == "user:ann"


# -- what goes along ----------------------------------------------------------------------------

ODD = {"text": "a", "number": 1.5, "yes": True, "none": None, "list": ["a", 1], "deep": {"a": [{"b": None}]}}


@pytest.mark.parametrize(
    ("write", "packed"), [("fact", {"none", "list", "deep"}), ("episode", {"none", "deep"})]
)
def test_metadata_of_every_type_is_kept_plain_where_zep_takes_it(write, packed):
    document = prepared(record(metadata=ODD), write=write)
    made = body_of(document)
    along = made["edge"]["attributes"] if write == "fact" else made["episode"]["metadata"]
    assert json.loads(along["memxfer_meta"]).keys() == packed
    assert Books(along).metadata == ODD
    assert document.changes == ("metadata_packed",)


def test_eleven_keys_are_eight_plain_ones_and_the_rest_as_text():
    eleven = {f"k{n}": n for n in range(11)}
    document = prepared(record(metadata=eleven), {"pinned": True})
    along = body_of(document)["edge"]["attributes"]
    assert len(along) == 10
    assert sum(name in eleven for name in along) == 7
    assert Books(along).metadata == eleven
    assert document.changes == ("metadata_packed", "envelope_dropped")


def test_the_envelope_has_the_last_key_that_is_left():
    seven, eight = ({f"k{n}": n for n in range(count)} for count in (7, 8))
    kept, dropped = (prepared(record(metadata=own), {"pinned": True}) for own in (seven, eight))
    assert json.loads(body_of(kept)["edge"]["attributes"]["memxfer"]) == {"pinned": True}
    assert kept.changes == ()
    assert "memxfer" not in body_of(dropped)["edge"]["attributes"]
    assert dropped.changes == ("envelope_dropped",)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_key_that_is_ours_is_kept_out_of_our_way(name):
    along = body(record(metadata={name: "theirs"}))["edge"]["attributes"]
    assert along["memxfer_key"] == "mx:k:1"
    assert Books(along).metadata == {name: "theirs"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(max_size=8), _JSON, max_size=14), st.sampled_from(["fact", "episode"]))
def test_any_metadata_comes_back_and_breaks_no_rule(metadata, write):
    one = sanitise_record(record(metadata=metadata))
    if one.metadata != metadata:
        return
    document = prepared(one, {"pinned": True}, write=write)
    made = body_of(document)
    along = made["edge"]["attributes"] if write == "fact" else made["episode"]["metadata"]
    assert len(along) <= 10
    flat = (str, int, float, bool)
    for value in along.values():
        items = value if write == "episode" and isinstance(value, list) else [value]
        assert all(isinstance(item, flat) for item in items)
    if "nul_replaced" not in document.changes:
        assert Books(along).metadata == metadata


# -- hostile texts ------------------------------------------------------------------------------


def test_nul_becomes_visible_everywhere():
    relation = Relation(subject="a\0", predicate="p\0", object="c")
    document = prepared(record("a\0b", metadata={"k\0": "v\0"}, relations=(relation,)))
    assert "nul_replaced" in document.changes
    assert b"\\u0000" not in document.body
    assert body_of(document)["edge"]["fact"] == "a\u2400b"
    assert document.containers[1].spec == {"name": "a\u2400"}


def test_a_text_that_only_spells_nul_is_left_alone():
    assert prepared(record("a\\u0000b")).changes == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "\ud800"},
        {"metadata": {"k": "\ud800"}},
        {"metadata": {"k": {1, 2}, "l": object()}},
        {"relations": (Relation(subject="\ud800", predicate="p", object="o"),)},
    ],
    ids=["content", "metadata", "no json", "relation"],
)
@pytest.mark.anyio
async def test_what_json_cannot_carry_is_refused_before_sending(zep, fields):
    refused = (await zep.target()).prepare(record(**fields), "k", {})
    assert refused.error.code == "unencodable"


def test_a_record_without_text_is_refused():
    assert prepared(record("  \n")).error.code == "empty"


# -- episodes -----------------------------------------------------------------------------------


def test_an_episode_happens_when_the_record_says():
    later = datetime(2025, 1, 1, tzinfo=UTC)
    assert body(record(occurred_at=later), write="episode")["episode"]["reference_time"].startswith(
        "2025-01-01"
    )
    assert body(record(), write="episode")["episode"]["reference_time"].startswith("2024-03-09")


def test_an_episode_without_a_date_is_a_decision():
    undated = record(created_at=None)
    assert prepared(undated, write="episode").remedies == ('undated = "skip"', 'undated = "send"')
    assert prepared(undated, write="episode", undated="skip") == Skipped("undated")
    sent = prepared(undated, write="episode", undated="send")
    assert "reference_time" not in body_of(sent)["episode"]
    assert sent.changes == ("dated_today",)
    assert isinstance(prepared(undated, write="fact"), Document)  # a fact is never dated with today


def test_every_word_of_a_change_is_explained():
    known = ZepProvider(config()).capabilities().changes
    words = {"nul_replaced", "metadata_packed", "envelope_dropped", "relations_cut", "turn_metadata_dropped"}
    dropped = {"dated_today", "validity_dropped", "relations_dropped", "recorded_anew"}
    assert known.keys() == words | dropped
