"""Rows to records and back, field by field."""

import json
import re
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.models.canonical import decode_record, encode_record
from memxfer.spi import Message, RecordState, sanitise_record
from memxfer_mem0.mapping import decode, encode
from memxfer_mem0.payload import KEY, expiry_of, kind_of, text_digest, time_of
from memxfer_mem0.stores.base import Row

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROW_ID = "7f3c1e9a-5d7b-4f7e-9a53-2f0f6a1b2c3d"


def read(payload, events=None, now=NOW):
    return decode(Row(ROW_ID, payload), events, now=now)


def written(record):
    payload = encode(record, key="mx:k", target_id=ROW_ID, envelope={}).row.payload
    return {name: value for name, value in payload.items() if name != KEY}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T10:00:00.5+00:00", datetime(2024, 5, 1, 10, 0, 0, 500000, tzinfo=UTC)),
        ("2024-05-01T10:00:00-07:00", datetime(2024, 5, 1, 17, tzinfo=UTC)),
        ("2024-05-01T10:00:00Z", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("2024-05-01 10:00:00", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        ("", None),
        (1714557600, datetime(2024, 5, 1, 10, tzinfo=UTC)),
        (1714557600123, None),
        (17, None),
        (True, None),
        (None, None),
    ],
)
def test_times_are_read_in_any_offset_and_never_guessed(text, expected):
    assert time_of(text) == expected


def test_a_time_that_cannot_be_read_is_kept_as_it_is_and_written_back():
    payload = {"data": "x", "user_id": "u", "created_at": "yesterday", "updated_at": 17}

    record = read(payload)

    assert (record.created_at, record.updated_at) == (None, None)
    assert record.extensions["mem0"]["payload"] == {"created_at": "yesterday", "updated_at": 17}
    assert written(record).items() >= payload.items()


def test_a_memory_without_dates_has_none():
    record = read({"data": "x", "user_id": "u"})

    assert (record.created_at, record.updated_at, record.expires_at) == (None, None, None)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({}, "fact"),
        ({"role": "user"}, "message"),
        ({"role": "user", "attributed_to": "user"}, "fact"),
        ({"memory_type": "procedural_memory"}, "procedure"),
        ({"memory_type": "episodic_memory", "role": "user"}, "episode"),
        ({"memory_type": "core"}, "fact"),
        ({"memory_type": ["x"], "role": "user"}, "message"),
    ],
)
def test_kinds_follow_type_role_and_attribution(payload, kind):
    assert kind_of(payload) == kind


SAID = {"data": "Tea?", "user_id": "u", "run_id": "r", "role": "user", "created_at": NOW.isoformat()}


def test_a_memory_of_a_run_with_a_role_is_a_turn_of_its_actor():
    record = read({**SAID, "actor_id": "Ann"})

    assert record.messages == (Message(role="user", content="Tea?", name="Ann", at=NOW),)
    assert (record.kind, record.scope.session) == ("message", "r")
    assert record.provenance == {"role": "user", "actor_id": "Ann"}


@pytest.mark.parametrize(
    "changes",
    [
        {"role": None},
        {"role": ""},
        {"role": 7},
        {"run_id": None},
        {"attributed_to": "user"},
        {"memory_type": "fact"},
    ],
    ids=str,
)
def test_no_speaker_is_invented_where_none_is_stored_and_nobody_is_quoted_with_an_extract(changes):
    assert read({**SAID, **changes}).messages == ()


def test_a_turn_is_written_back_as_the_row_it_was():
    payload = {**SAID, "actor_id": "Ann", "hash": text_digest("Tea?"), "text_lemmatized": "Tea?"}

    assert written(read(payload)) == payload


def test_turns_that_are_more_than_a_row_and_its_speaker_are_kept_beside_it():
    turns = (
        Message(role="user", content="Tea?", at=NOW),
        Message(role="tool", content="x", metadata={"n": 1}),
    )
    record = msgspec.structs.replace(read({"data": "A talk", "user_id": "u"}), messages=turns)

    again = read({**written(record), KEY: "mx:k"})

    assert again.messages == turns
    assert again.metadata == {}
    assert again.provenance == {}


def test_a_row_of_the_apps_own_keeps_its_field_even_if_it_is_named_like_our_turns():
    record = read({"data": "x", "user_id": "u", "memxfer_messages": "mine"})

    assert (record.metadata, record.messages) == ({"memxfer_messages": "mine"}, ())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-12-31", datetime(2026, 1, 1, tzinfo=UTC)),
        ("9999-12-31", None),
        ("2025-12-31T10:00:00", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_an_expiration_day_is_inclusive_and_only_a_date_counts(value, expected):
    assert expiry_of(value) == expected


def test_a_memory_expires_with_the_end_of_its_day():
    payload = {"data": "x", "expiration_date": "2025-12-31"}

    assert read(payload, now=NOW).state is RecordState.EXPIRED
    assert read(payload, now=datetime(2025, 12, 31, 23, 59, tzinfo=UTC)).state is RecordState.ACTIVE


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "no_payload"),
        ([], "no_payload"),
        ({}, "no_text"),
        ({"data": None, "topic": "tea"}, "no_text"),
        ({"user_id": "u", "type": "user_identity"}, "marker"),
        ({"memory": "likes tea", "user_id": "u"}, "text_under_memory"),
        ({"text": "likes tea"}, "text_under_text"),
        ({"page_content": "likes tea", "metadata": {}}, "text_under_page_content"),
        ({"text": "", "content": "likes tea"}, "text_under_content"),
    ],
)
def test_rows_without_data_are_no_memories_and_why(payload, reason):
    ignored = read(payload)
    assert (ignored.reason, ignored.id) == (reason, ROW_ID)


TYPESCRIPT_ROW = {
    "data": "Works remotely",
    "hash": "h2",
    "userId": "bob",
    "agentId": "planner",
    "runId": "s-9",
    "createdAt": "2025-04-01T00:00:00.000Z",
    "updatedAt": "2025-05-02T10:00:00.000Z",
    "attributedTo": "user",
    "topic": "work",
}


def test_a_row_of_the_typescript_sdk_is_read_as_one_of_the_python_sdk():
    record = read(TYPESCRIPT_ROW)

    assert (record.scope.user, record.scope.agent, record.scope.session) == ("bob", "planner", "s-9")
    assert record.created_at == datetime(2025, 4, 1, tzinfo=UTC)
    assert record.updated_at == datetime(2025, 5, 2, 10, tzinfo=UTC)
    assert record.metadata == {"topic": "work"}
    assert record.provenance == {"attributed_to": "user"}
    assert written(record)["user_id"] == "bob"


def test_names_of_the_typescript_sdk_are_metadata_in_a_row_of_the_python_sdk():
    """An app may well call a field of its own `userId`."""
    row = {"data": "x", "user_id": "ann", "created_at": "2025-01-01T00:00:00Z", "userId": "crm-7"}
    record = read({**row, "createdAt": "noon"})
    assert (record.scope.user, record.metadata) == ("ann", {"userId": "crm-7", "createdAt": "noon"})


def test_a_row_with_both_names_of_a_field_keeps_the_other_as_metadata():
    """Later versions of the TypeScript SDK name owners as the Python SDK does."""
    record = read({"data": "x", "user_id": "ann", "userId": "crm-7", "createdAt": "2026-04-20T00:00:00Z"})
    assert (record.scope.user, record.metadata) == ("ann", {"userId": "crm-7"})
    assert record.created_at == datetime(2026, 4, 20, tzinfo=UTC)


def test_the_later_of_two_sdks_says_when_a_row_was_updated():
    """Either SDK leaves the other's fields as they are when it updates a row."""
    row = {
        "data": "new",
        "user_id": "ann",
        "created_at": "2025-01-01T00:00:00Z",
        "updated_at": "2025-02-01T00:00:00Z",
        "text_lemmatized": "old",
        "textLemmatized": "newer",
    }

    theirs = read({**row, "updatedAt": "2025-03-01T00:00:00.000Z"})
    assert (theirs.updated_at, theirs.metadata) == (datetime(2025, 3, 1, tzinfo=UTC), {})
    assert written(theirs)["text_lemmatized"] == "newer"

    python = read({**row, "updatedAt": "2025-01-15T00:00:00.000Z"})
    assert python.updated_at == datetime(2025, 2, 1, tzinfo=UTC)
    assert python.metadata == {"updatedAt": "2025-01-15T00:00:00.000Z", "textLemmatized": "newer"}

    apps = read({**row, "textLemmatized": None, "updatedAt": "noon"})
    assert apps.metadata == {"updatedAt": "noon", "textLemmatized": None}


def test_an_owner_that_is_a_number_is_one_owner_however_it_was_stored():
    assert {read({"data": "x", "user_id": value}).scope.user for value in (42, "42", 42.0)} == {"42"}
    assert read({"data": "x", "user_id": 42.5}).scope.user is None


def test_an_ordinary_row_leaves_nothing_in_the_extensions():
    payload = {
        "data": "x", "hash": "9dd4e461268c8034f5c8564e155c67a6", "text_lemmatized": "x", "user_id": "u",
        "created_at": "2025-01-01T00:00:00+00:00", "updated_at": "2025-01-01T00:00:00+00:00", "topic": "t",
    }  # fmt: skip

    record = read(payload)

    assert record.extensions == {}
    assert record.metadata == {"topic": "t"}
    assert written(record) == payload


def test_a_lemmatised_text_is_kept_with_its_text_and_dropped_with_another():
    record = read({"data": "cats sat", "user_id": "u", "text_lemmatized": "cat sit", "hash": "h"})
    redacted = msgspec.structs.replace(record, content="***")

    assert written(record)["text_lemmatized"] == "cat sit"
    assert written(redacted)["text_lemmatized"] == "***"
    assert "cat" not in json.dumps(written(redacted))


def test_a_changed_record_does_not_get_its_old_raw_fields_back():
    record = read(
        {"data": "x", "user_id": 5, "created_at": "2024-01-01 00:00:00", "expiration_date": "20250101"}
    )
    changed = msgspec.structs.replace(
        record,
        scope=msgspec.structs.replace(record.scope, user="6"),
        created_at=NOW,
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    )

    assert written(record).items() >= {"user_id": 5, "created_at": "2024-01-01 00:00:00"}.items()
    assert written(changed).items() >= {"user_id": "6", "created_at": NOW.isoformat()}.items()
    assert written(changed)["expiration_date"] == "2026-12-31"


def test_a_row_of_the_apps_own_keeps_fields_that_look_like_ours():
    record = read({"data": "x", "user_id": "u", "memxfer": {"v": 1}, "memxfer_metadata": {"data": "y"}})

    assert record.metadata == {"memxfer": {"v": 1}, "memxfer_metadata": {"data": "y"}}


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
_times = st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_odd = (
    _json
    | _times
    | st.sampled_from(["2024-01-01", "2024-01-01T00:00:00-08:00", "procedural_memory", "episode"])
)


_FIELDS = (
    "hash created_at updated_at text_lemmatized user_id agent_id run_id actor_id role attributed_to "
    "expiration_date memory_type topic memxfer nested"
)


@given(
    payload=st.fixed_dictionaries({"data": _texts}, optional=dict.fromkeys(re.findall(r"\w+", _FIELDS), _odd))
)
def test_whatever_a_payload_holds_it_holds_again_after_archive_and_back(payload):
    record = sanitise_record(read(payload))
    archived = decode_record(encode_record(record))

    assert archived == record
    again = encode(archived, key="mx:k", target_id=ROW_ID, envelope={}).row.payload
    kept = {**again, **again.pop("memxfer_metadata", {})}
    assert {name: value for name, value in kept.items() if name in payload} == payload
    assert decode(Row(ROW_ID, again), None, now=NOW).extensions.get("mem0") == record.extensions.get("mem0")
