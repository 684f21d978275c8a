"""Hostile values: nothing crashes, everything is reported, what was written reads back."""

import enum
import math
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.models import (
    MAX_DEPTH,
    Embedding,
    MemoryRecord,
    Message,
    Relation,
    Scope,
    Version,
    canonical_json,
    content_hash,
    decode_record,
    encode_record,
    sanitise,
    sanitise_record,
    sanitise_text,
)


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Colour(enum.StrEnum):
    RED = "red"


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")

    __str__ = __repr__


def nested(depth):
    value = "deep"
    for _ in range(depth):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (math.nan, "number"),
        (math.inf, "number"),
        (-math.inf, "number"),
        (1e400, "number"),
        (2**63, "integer"),
        (-(2**63) - 1, "integer"),
        pytest.param(10**5000, "integer", id="huge"),
        (Number(2**70), "integer"),
        (b"\x00\xff", "bytes"),
        (bytearray(b"x"), "bytes"),
        (memoryview(b"x"), "bytes"),
        (Hostile(), "Hostile"),
        (3j, "complex"),
        (nested(MAX_DEPTH + 1), "nesting"),
    ],
)
def test_a_value_without_a_json_form_becomes_tagged_text_and_is_reported(value, kind):
    cleaned, found = sanitise({"a": [value]})
    assert found
    encoded = canonical_json(cleaned)
    assert f'"$memxfer":"{kind}"'.encode() in encoded
    assert msgspec.json.decode(encoded) == cleaned
    assert sanitise(cleaned) == (cleaned, [])


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        2**63 - 1,
        1.5,
        "",
        "\x00",
        "日本",
        [],
        {},
        {"a": [1, {"b": None}]},
        nested(20),
    ],
)
def test_a_plain_value_comes_back_as_itself(value):
    cleaned, found = sanitise(value)
    assert cleaned is value
    assert found == []


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        (Text("x"), "x"),
        (Number(3), 3),
        (Colour.RED, "red"),
        ({Text("k"): Text("v")}, {"k": "v"}),
        ({Colour.RED: 1}, {"red": 1}),
        ((1, (2,)), [1, [2]]),
    ],
)
def test_subclasses_of_plain_types_become_plain(value, cleaned):
    result, _ = sanitise(value)
    assert result == cleaned
    assert msgspec.json.decode(canonical_json(result)) == cleaned
    if isinstance(result, dict):
        assert {type(key) for key in result} == {str}
    else:
        assert type(result) in (str, int, list)


@pytest.mark.parametrize(
    "value",
    [
        {1: "a", "1": "b"},
        {"1": "b", 1: "a"},
        {"\ud800": "a", "\\ud800": "b"},
        {None: "a", "None": "b", "None~": "c"},
        pytest.param({10**5000: "a", "x": "b"}, id="huge"),
        {Hostile(): "a", Hostile.__init__: "b"},
        {("t", 1): "a", "('t', 1)": "b"},
        {1.5: "a", math.nan: "b"},
    ],
)
def test_no_value_is_lost_when_keys_become_text(value):
    cleaned, found = sanitise(value)
    assert sorted(cleaned.values()) == sorted(value.values())
    assert found
    for key, item in value.items():
        if type(key) is str and key.isascii():
            assert cleaned[key] == item
    canonical_json(cleaned)


def test_a_set_becomes_a_list_in_an_order_of_its_own():
    assert sanitise({"tags": {"b", "a"}}) == ({"tags": ["a", "b"]}, ["tags"])
    assert len(sanitise({Hostile(), Hostile()})[0]) == 2


def test_times_become_text_and_are_reported():
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert sanitise({"at": moment}) == ({"at": moment.isoformat()}, ["at"])


def test_a_structure_that_holds_itself_ends():
    loop = {}
    loop["self"] = loop
    cleaned, found = sanitise(loop)
    assert found
    canonical_json(cleaned)


def test_a_lone_surrogate_becomes_its_escape():
    assert sanitise_text("a\ud800b") == ("a\\ud800b", True)
    assert sanitise_text("ä\x00") == ("ä\x00", False)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())  # lone surrogates included
    | st.binary(max_size=5)
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers(), max_size=3)
        | st.dictionaries(st.text(st.characters(), max_size=5) | st.integers() | st.none(), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(anything)
def test_whatever_comes_in_can_be_written_and_read_back(value):
    cleaned, found = sanitise(value)
    assert msgspec.json.decode(canonical_json(cleaned)) == cleaned
    again, more = sanitise(cleaned)
    assert again == cleaned
    assert more == []
    if not found and isinstance(value, dict | list):
        assert canonical_json(value) == canonical_json(cleaned)


loose = st.dictionaries(st.text(st.characters(), max_size=5), anything, max_size=3)
texts = st.text(st.characters(), max_size=10)
records = st.builds(
    MemoryRecord,
    id=texts,
    content=texts,
    metadata=loose,
    provenance=loose,
    extensions=st.dictionaries(st.text("abc", max_size=3), loose, max_size=2),
    scope=st.builds(Scope, user=st.none() | texts),
    messages=st.lists(st.builds(Message, role=texts, content=texts, metadata=loose), max_size=2).map(tuple),
    versions=st.lists(st.builds(Version, content=texts, metadata=loose), max_size=2).map(tuple),
    relations=st.lists(
        st.builds(Relation, subject=texts, predicate=texts, object=texts, attributes=loose), max_size=2
    ).map(tuple),
    embedding=st.none() | st.builds(Embedding, vector=st.lists(st.floats(), max_size=3).map(tuple)),
    importance=st.none() | st.floats(),
    confidence=st.none() | st.floats(),
    created_at=st.none() | st.datetimes(timezones=st.just(UTC)),
)


@given(records)
def test_a_sanitised_record_reads_back_as_it_is(record):
    clean = sanitise_record(record)
    line = encode_record(clean)
    assert decode_record(line) == clean
    assert encode_record(decode_record(line)) == line
    assert sanitise_record(clean) is clean
    if clean is not record and not clean.sanitised:
        assert encode_record(record) == line


@pytest.mark.parametrize(
    ("record", "path"),
    [
        (MemoryRecord(id="a", content="\ud800"), "content"),
        (MemoryRecord(id="\ud800", content="x"), "id"),
        (MemoryRecord(id="a", content="x", metadata={"n": math.nan}), "metadata.n"),
        (MemoryRecord(id="a", content="x", extensions={"p": {"s": {1}}}), "extensions.p.s"),
        (MemoryRecord(id="a", content="x", importance=math.inf), "importance"),
        (MemoryRecord(id="a", content="x", confidence=math.nan), "confidence"),
        (
            MemoryRecord(id="a", content="x", embedding=Embedding(vector=(1.0, math.nan))),
            "embedding.vector[1]",
        ),
        (
            MemoryRecord(
                id="a", content="x", messages=(Message(role="u", content="c", metadata={"b": b"1"}),)
            ),
            "messages[0].metadata.b",
        ),
        (
            MemoryRecord(id="a", content="x", versions=(Version(metadata={"n": math.nan}),)),
            "versions[0].metadata.n",
        ),
        (
            MemoryRecord(
                id="a",
                content="x",
                relations=(Relation(subject="s", predicate="p", object="o", attributes={"n": 2**80}),),
            ),
            "relations[0].attributes.n",
        ),
    ],
)
def test_what_had_to_be_changed_is_named_and_its_raw_text_stays(record, path):
    clean = sanitise_record(record)
    assert clean.sanitised == (path,)
    assert b"null" not in encode_record(clean)
    assert decode_record(encode_record(clean)) == clean
    assert b"$memxfer" in encode_record(clean) or path in ("id", "content") or "{1}" in repr(record)


def test_a_clean_record_is_not_copied():
    record = MemoryRecord(
        id="a",
        content="x",
        metadata={"a": [1, {"b": None}]},
        messages=(Message(role="user", content="hi", metadata={"k": 1}),),
        embedding=Embedding(vector=(0.5, -0.25)),
    )
    assert sanitise_record(record) is record


@pytest.mark.parametrize("wrong", [{"id": 5}, {"content": None}, {"id": Text("x"), "content": 3}])
def test_a_record_with_fields_of_the_wrong_type_does_not_convert(wrong):
    with pytest.raises(msgspec.ValidationError):
        sanitise_record(MemoryRecord(**{"id": "a", "content": "x", **wrong}))


def test_an_id_of_a_vendors_own_text_type_becomes_plain_text():
    clean = sanitise_record(MemoryRecord(id=Text("a"), content="x"))
    assert type(clean.id) is str


def test_the_hash_changes_with_the_record_and_with_nothing_else():
    record = MemoryRecord(id="a", content="x", metadata={"b": 1, "a": 2})
    assert content_hash(record) == content_hash(MemoryRecord(id="a", content="x", metadata={"a": 2, "b": 1}))
    assert content_hash(record) != content_hash(MemoryRecord(id="a", content="y", metadata={"a": 2, "b": 1}))
    assert len(content_hash(record)) == 16


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    assert canonical_json({"b": 1, "a": {"d": 1, "c": 2}}) == b'{"a":{"c":2,"d":1},"b":1}'
