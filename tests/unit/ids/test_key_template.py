import hashlib
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.errors import ConfigError, RecordError
from memxfer.ids import DEFAULT_TEMPLATE, MAX_KEY, KeyTemplate
from memxfer.models import MemoryRecord, Scope

# Surrogates, controls, percent signs and colons included: a backend's id is any text.
TEXT = st.text(
    alphabet=st.one_of(st.characters(exclude_categories=()), st.sampled_from("%:/ \ud800é")), min_size=1
)
SHORT = st.text(
    alphabet=st.one_of(st.characters(exclude_categories=()), st.sampled_from("%:")), min_size=1, max_size=8
)
LONG = st.integers(min_value=150, max_value=5_000).flatmap(
    lambda n: st.sampled_from("aé%\U0001f600").map(lambda c: c * n)
)


def template(text=DEFAULT_TEMPLATE, provider="mem0-oss", namespace="main"):
    return KeyTemplate(text, provider=provider, namespace=namespace)


def record(record_id="r1", **fields):
    return MemoryRecord(id=record_id, content="text", **fields)


def full(literal):
    return record(
        "an id",
        scope=Scope(user="u", agent="a", app="p", session="s", tenant="t"),
        provenance={"index": 7},
    )


# -- shape ------------------------------------------------------------------------------------


@given(st.one_of(TEXT, LONG), SHORT, SHORT)
def test_a_key_is_plain_ascii_within_its_bound_whatever_the_ids_are(record_id, provider, namespace):
    key = template(provider=provider, namespace=namespace).key(record(record_id))

    assert (
        re.fullmatch(
            r"mx:[A-Za-z0-9._~%-]+:[A-Za-z0-9._~%-]+(:[A-Za-z0-9._~%-]*)?(:sha256-[0-9a-f]{32})?", key
        )
        or len(key) == MAX_KEY
    )
    assert key.isascii()
    assert 0 < len(key) <= MAX_KEY


@given(st.one_of(TEXT, LONG))
def test_two_templates_made_alike_give_the_same_key(record_id):
    assert template().key(record(record_id)) == template().key(record(record_id))


@given(st.tuples(SHORT, SHORT, SHORT), st.tuples(SHORT, SHORT, SHORT))
def test_different_components_never_share_a_key(one, other):
    def keys(parts):
        return template(provider=parts[0], namespace=parts[1]).key(record(parts[2]))

    assert (keys(one) == keys(other)) == (one == other)


@given(SHORT, SHORT, SHORT)
def test_a_short_key_splits_at_its_colons_into_what_it_was_made_of(provider, namespace, record_id):
    key = template(provider=provider, namespace=namespace).key(record(record_id))

    if ":sha256-" not in key:
        assert [unquote(part, errors="surrogatepass") for part in key.split(":")] == [
            "mx",
            provider,
            namespace,
            record_id,
        ]


@given(LONG, LONG)
def test_over_long_ids_still_get_keys_of_their_own(one, other):
    keys = [template().key(record(value)) for value in (one, other)]

    assert (keys[0] == keys[1]) == (one == other)


@given(st.integers(min_value=100, max_value=250), st.sampled_from(["é", "%", "\U0001f600", ":"]))
def test_no_percent_sequence_is_ever_cut(length, odd):
    key = template().key(record("a" * length + odd * 60))

    assert re.sub(r"%[0-9A-F]{2}", "", key).count("%") == 0
    assert len(key) <= MAX_KEY


def test_ids_that_differ_only_after_the_bound_differ_in_the_hash():
    first, second = (template().key(record("x" * 500 + end)) for end in "ab")

    assert first != second
    assert first[:150] == second[:150]


@pytest.mark.parametrize(("length", "is_hashed"), [(184, False), (185, True)])
def test_only_a_key_over_the_bound_is_hashed(length, is_hashed):
    whole = "mx:mem0-oss:main:" + "x" * (length - 1)

    key = template().key(record("x" * (length - 1)))

    assert len(whole) == length + 16
    assert (key != whole) is is_hashed
    assert key.endswith(":sha256-" + hashlib.sha256(whole.encode()).hexdigest()[:32]) is is_hashed
    assert len(key) == MAX_KEY


def test_a_key_is_the_one_that_was_agreed():
    assert template().key(record("a b:c%")) == "mx:mem0-oss:main:a%20b%3Ac%25"


# -- fields -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{id}", "an%20id"),
        ("legacy_{provider}_{id}", "legacy_mem0-oss_an%20id"),
        ("backfill:{conversation}:{index}", "backfill:s:7"),
        ("{user}/{agent}/{app}/{session}/{tenant}", "u/a/p/s/t"),
        ("{id}-{id}-end", "an%20id-an%20id-end"),
        ("{{{id}}}", "{an%20id}"),
        ("{id}{namespace}{provider}", "an%20idmainmem0-oss"),
        ("{provider}{id}{namespace}tail", "mem0-ossan%20idmaintail"),
    ],
)
def test_every_field_fills_in_what_it_names(text, key):
    assert template(text).key(full(text)) == key


def test_a_position_of_zero_is_a_position():
    assert (
        template("{session}:{index}").key(record(scope=Scope(session="s"), provenance={"index": 0})) == "s:0"
    )


@pytest.mark.parametrize("field", ["user", "agent", "app", "session", "conversation", "tenant", "index"])
def test_a_record_without_the_field_is_refused_alone_and_told_which(field):
    with pytest.raises(RecordError, match=rf"\{{{field}\}}") as caught:
        template(f"{{{field}}}:{{id}}").key(record("the-secret-id"))

    assert caught.value.code == "no_key"
    assert "the-secret-id" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"provenance": {"index": 7}}, "c:7"),
        ({"provenance": {"index": 0}}, "c:0"),
        ({"provenance": {"index": ""}}, "c:a%20%7C"),
        ({}, "c:a%20%7C"),
    ],
)
def test_of_alternatives_the_first_that_the_record_has_is_taken_and_encoded_as_ever(fields, key):
    made = template("{conversation}:{index|id}").key(record("a |", scope=Scope(session="c"), **fields))
    assert made == key


def test_alternatives_can_be_more_than_two():
    made = template("{tenant|agent|user}/{id}")
    assert made.key(record(scope=Scope(user="u"))) == "u/r1"
    assert made.key(record(scope=Scope(user="u", agent="a"))) == "a/r1"


def test_a_record_without_any_alternative_is_refused_and_told_all_of_them():
    with pytest.raises(RecordError, match=r"needs \{user\|agent\}") as caught:
        template("{user|agent}:{id}").key(record("the-secret-id"))

    assert caught.value.code == "no_key"
    assert "the-secret-id" not in str(caught.value)


def test_an_empty_field_is_as_good_as_none():
    with pytest.raises(RecordError) as caught:
        template("{user}").key(record(scope=Scope(user="")))

    assert caught.value.code == "no_key"


# -- bad templates ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{id}:{colour}", r"unknown field \{colour\}; known: agent, app"),
        ("{}", "unknown field"),
        ("{0}", "unknown field"),
        ("{id.real}", "unknown field"),
        ("{id[0]}", "unknown field"),
        ("mx:{provider}:{namespace}", r"the same key; add \{id\}"),
        ("constant", "the same key"),
        ("", "the same key"),
        ("{id", "malformed"),
        ("id}", "malformed"),
        ("schlüssel:{id}", "outside ASCII"),
        ("{id}:ü", "outside ASCII"),
        ("{index|colour}", r"unknown field \{colour\} in \{index\|colour\}; known: agent, app"),
        ("{index|}", r"unknown field \{\} in \{index\|\}"),
        ("{|id}", r"unknown field \{\} in \{\|id\}"),
        ("{index | id}", r"unknown field \{index \}"),
        ("{user|provider}", r"\{user\|provider\} has no use .* every record has a provider"),
        ("{index|id!r}", r"\{index\|id\} takes no"),
        ("{id!r}", r"\{id\} takes no"),
        ("{id:>10}", r"\{id\} takes no"),
    ],
)
def test_a_bad_template_is_refused_with_its_fault(text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        template(text)

    assert "document_id" in str(caught.value)
