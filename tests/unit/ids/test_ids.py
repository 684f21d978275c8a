"""Keys are the same on every machine, plain ASCII, bounded, and never shared by two records."""

import re
import uuid
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from memxfer.errors import ConfigError, RecordError
from memxfer.ids import DEFAULT_TEMPLATE, MAX_KEY, KeyTemplate, fingerprint, job_id, stable_uuid
from memxfer.models import MemoryRecord, Scope

anything = st.text(st.characters(), min_size=1, max_size=300)  # lone surrogates, NUL, colons, percent signs
nasty = st.text(st.sampled_from("a:%2F/\x00 äß日\ud800\U0001f600{}-._~"), min_size=1, max_size=120)
names = anything | nasty


def key(record_id, *, provider="memory", namespace="store", text=DEFAULT_TEMPLATE, **scope):
    template = KeyTemplate(text, provider=provider, namespace=namespace)
    return template.key(MemoryRecord(id=record_id, content="", scope=Scope(**scope)))


@given(names, names, names)
def test_a_key_is_short_plain_ascii_and_the_same_every_time(record_id, provider, namespace):
    made = key(record_id, provider=provider, namespace=namespace)
    assert made.isascii()
    assert made.isprintable()
    assert " " not in made
    assert 0 < len(made) <= MAX_KEY
    assert made == key(record_id, provider=provider, namespace=namespace)


@given(st.tuples(names, names, names), st.tuples(names, names, names))
def test_different_records_have_different_keys(one, other):
    assume(one != other)
    assert key(one[2], provider=one[0], namespace=one[1]) != key(
        other[2], provider=other[0], namespace=other[1]
    )


@given(nasty, nasty, nasty)
def test_a_short_key_splits_at_its_colons_into_what_it_was_made_of(record_id, provider, namespace):
    made = key(record_id, provider=provider, namespace=namespace)
    assume(":sha256-" not in made)
    prefix, *parts = made.split(":")
    assert prefix == "mx"
    assert [unquote(part, errors="surrogatepass") for part in parts] == [provider, namespace, record_id]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a:b", "a%3Ab"),
        ("%", "%25"),
        ("a", "A"),
        ("a", "a "),
        ("é", "e\u0301"),
        ("\ud800", "\ud801"),
        ("\ud800", "\\ud800"),
        ("x" * 1000, "x" * 1001),
        ("x" * 999 + "a", "x" * 999 + "b"),
        ("日" * 100 + "a", "日" * 100 + "b"),
    ],
)
def test_ids_that_look_alike_have_keys_of_their_own(one, other):
    assert key(one) != key(other)


def test_the_default_key_is_readable():
    assert key("mem-1") == "mx:memory:store:mem-1"
    assert key("a b/ä") == "mx:memory:store:a%20b%2F%C3%A4"


@pytest.mark.parametrize("length", range(MAX_KEY - 20, MAX_KEY + 3))
def test_a_long_key_keeps_its_beginning_and_ends_in_a_hash(length):
    plain = "mx:memory:store:"
    made = key("x" * (length - len(plain)))
    assert (len(made) == length) if length <= MAX_KEY else re.fullmatch(r".+:sha256-[0-9a-f]{32}", made)
    assert made.startswith(plain)


@given(st.text("日a", min_size=30, max_size=60))
def test_a_cut_never_leaves_half_of_an_escape(record_id):
    head = key(record_id).split(":sha256-")[0]
    assert re.fullmatch(r"(?:[^%]|%[0-9A-F]{2})*", head)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{id}", "m1"),
        ("legacy_{provider}_{id}", "legacy_memory_m1"),
        ("backfill:{conversation}:{index}", "backfill:s%2F1:0"),
        ("{tenant}.{user}.{agent}.{app}.{session}.{id}", "t.u.a.p.s%2F1.m1"),
        ("{{literal}}-{id}", "{literal}-m1"),
        ("{namespace}{id}{provider}", "storem1memory"),
    ],
)
def test_a_connection_may_set_another_template(text, expected):
    record = MemoryRecord(
        id="m1",
        content="",
        scope=Scope(user="u", agent="a", app="p", session="s/1", tenant="t"),
        provenance={"index": 0},
    )
    assert KeyTemplate(text, provider="memory", namespace="store").key(record) == expected


@pytest.mark.parametrize(
    "field", ["user", "agent", "app", "session", "conversation", "tenant", "index", "id"]
)
@pytest.mark.parametrize("empty", [None, ""])
def test_a_record_without_a_value_for_a_field_has_no_key(field, empty):
    scopes = {"user", "agent", "app", "session", "tenant"}
    scope = Scope(**({field: empty} if field in scopes else {}))
    record = MemoryRecord(id="" if field == "id" else "m1", content="", scope=scope)
    template = KeyTemplate(f"x-{{{field}}}", provider="p", namespace="n")
    with pytest.raises(RecordError) as caught:
        template.key(record)
    assert caught.value.code == "no_key"
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mx:{provider}:{namespace}", "same key"),
        ("constant", "same key"),
        ("", "same key"),
        ("{nothing}-{id}", "nothing"),
        ("{}", "unknown field"),
        ("{0}{id}", "unknown field"),
        ("{id.x}", "unknown field"),
        ("{id", "malformed"),
        ("id}", "malformed"),
        ("{id!r}", "conversion"),
        ("{id:>10}", "format"),
        ("ä{id}", "ASCII"),
    ],
)
def test_a_template_that_cannot_work_is_refused_by_name(text, told):
    with pytest.raises(ConfigError, match=told) as caught:
        KeyTemplate(text, provider="p", namespace="n")
    assert repr(text) in str(caught.value)


# -- uuids --------------------------------------------------------------------------------------


@given(st.lists(names, min_size=1, max_size=3), st.lists(names, min_size=1, max_size=3))
def test_different_parts_give_different_uuids(one, other):
    assume(one != other)
    assert stable_uuid(*one) != stable_uuid(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a\x00b",), ("a", "b")), (("\ud800",), ("\\ud800",)), (("a\\", "b"), ("a", "\\b")), (("",), ("", ""))],
)
def test_parts_that_look_alike_when_joined_give_different_uuids(one, other):
    assert stable_uuid(*one) != stable_uuid(*other)


def test_a_uuid_is_pinned_so_that_no_version_writes_another():
    assert stable_uuid("mx:memory:store:mem-1") == "78ddda2b-93ad-5c52-b3c3-ea434be3a279"
    assert uuid.UUID(stable_uuid("a", "b")).version == 5


# -- jobs ---------------------------------------------------------------------------------------

MOMENT = datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)


def test_a_job_id_says_what_and_when():
    made = job_id("Old Store", "new", at=MOMENT, token=lambda: "x7k2")
    assert made == "old-store-to-new-20260131-120005-x7k2"


@given(st.text(max_size=80), st.text(max_size=80))
def test_every_job_id_can_be_a_folder(source, target):
    made = job_id(source, target, at=MOMENT, token=lambda: "0000")
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", made)


# -- fingerprints -------------------------------------------------------------------------------


def test_a_fingerprint_depends_on_values_and_not_on_their_order():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert len({fingerprint(parts) for parts in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {})}) == 5
    assert re.fullmatch(r"[0-9a-f]{32}", fingerprint({}))
