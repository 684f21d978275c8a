"""Rows as records: nothing dropped but what Mem0 derives."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.models import encode_record, sanitise_record
from memxfer.spi import RecordState, Scope
from memxfer_mem0_platform.answers import read_added, read_listed
from memxfer_mem0_platform.emulator.rows import calendar
from memxfer_mem0_platform.fields import epoch_seconds, expiration_date, expiry_of, time_of
from memxfer_mem0_platform.mapping import decode
from memxfer_mem0_platform.versions import versions_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROW = {
    "id": "a",
    "memory": "Ann likes tea",
    "user_id": "ann",
    "agent_id": None,
    "app_id": None,
    "session_id": "r1",
    "metadata": {"k": 1},
    "categories": ["food"],
    "structured_attributes": calendar(NOW),
    "replaced_by": None,
    "synthesized": False,
    "expiration_date": None,
    "created_at": "2025-03-01T08:30:15.123456+00:00",
    "updated_at": "2025-03-02T00:00:00Z",
}


def read(events=None, **fields):
    return decode({**ROW, **fields}, events, now=NOW)


def event(kind, new, *, old=None, at="2025-03-02T00:00:00Z", **more):
    return {
        "id": new,
        "memory_id": "a",
        "event": kind,
        "old_memory": old,
        "new_memory": new,
        "created_at": at,
        "updated_at": at,
        **more,
    }


def test_a_plain_row_leaves_nothing_over():
    record = read()
    assert (record.id, record.content, record.kind) == ("a", "Ann likes tea", "fact")
    assert record.scope == Scope(user="ann", session="r1")
    assert (record.metadata, record.tags, record.extensions) == ({"k": 1}, ("food",), {})
    assert record.created_at == datetime(2025, 3, 1, 8, 30, 15, 123456, tzinfo=UTC)


def test_a_row_of_the_three_fields_that_are_sure_is_enough():
    record = decode({"id": "a", "memory": "tea", "created_at": "2025-01-01T00:00:00Z"}, None, now=NOW)
    assert (record.scope, record.metadata, record.tags, record.extensions) == (Scope(), {}, (), {})


def test_a_run_may_have_either_name():
    assert read(session_id=None, run_id="r2").scope.session == "r2"


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"owner": "bob"}, {"owner": "bob"}),
        ({"unheard_of": {"a": [1]}}, {"unheard_of": {"a": [1]}}),
        ({"unheard_of": None}, {}),
        ({"metadata": "text"}, {"metadata": "text"}),
        ({"categories": "food"}, {"categories": "food"}),
        ({"categories": []}, {}),
        ({"user_id": 7}, {"user_id": 7}),
        ({"user_id": ""}, {"user_id": ""}),
        ({"run_id": "other"}, {"session_id": "r1"}),
        ({"created_at": "soon"}, {"created_at": "soon"}),
        ({"created_at": "2025-01-01T00:00:00"}, {"zoneless": ["created_at"]}),
        ({"expiration_date": "someday"}, {"expiration_date": "someday"}),
        ({"replaced_by": ["b", "c"]}, {"replaced_by": ["b", "c"]}),
        ({"synthesized": "yes"}, {"synthesized": "yes"}),
        ({"structured_attributes": {"mood": "good"}}, {"structured_attributes": {"mood": "good"}}),
        ({"hash": "f00"}, {"hash": "f00"}),
        ({"hash": "1c4e7a8b0b5b8a2f7d8d3ab9c3c1c3a3"}, {"hash": "1c4e7a8b0b5b8a2f7d8d3ab9c3c1c3a3"}),
        ({"lifecycle_state": "active"}, {}),
        ({"lifecycle_state": "merged"}, {"lifecycle_state": "merged"}),
        ({"lifecycle_state": "superseded", "replaced_by": "b"}, {}),
    ],
    ids=str,
)
def test_what_no_field_covers_is_kept_under_its_own_name(fields, kept):
    assert read(**fields).extensions.get("mem0", {}) == kept


@pytest.mark.parametrize(
    ("day", "state", "over"),
    [
        ("2025-12-31", RecordState.EXPIRED, datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01", RecordState.ACTIVE, datetime(2026, 1, 2, tzinfo=UTC)),
        ("9999-12-31", RecordState.ACTIVE, None),
        (None, RecordState.ACTIVE, None),
    ],
)
def test_the_day_of_an_expiry_counts_in_full(day, state, over):
    record = read(expiration_date=day)
    assert (record.state, record.expires_at) == (state, over)


def test_synthesized_memories_are_insights():
    assert read(synthesized=True).kind == "insight"


@pytest.mark.parametrize("text", ["2025-03-01T01:30:15-07:00", "2025-03-01T08:30:15Z", "2025-03-01 08:30:15"])
def test_times_of_every_version_are_moments(text):
    assert time_of(text) == datetime(2025, 3, 1, 8, 30, 15, tzinfo=UTC)


# -- history ------------------------------------------------------------------------------------


def test_the_last_state_is_the_record_itself():
    events = [event("UPDATE", "Ann likes tea", old="Ann?"), event("ADD", "Ann?", at="2025-03-01T00:00:00Z")]
    record = read(events)
    assert [(one.content, one.event) for one in record.versions] == [("Ann?", "ADD")]
    assert record.extensions == {}


def test_a_beginning_before_the_history_is_an_earlier_version():
    record = read([event("UPDATE", "Ann likes tea", old="long ago")])
    assert [(one.content, one.at) for one in record.versions] == [("long ago", None)]


def test_messages_behind_the_present_text_are_its_provenance():
    said = [{"role": "user", "content": "I love tea"}, {"role": "assistant", "content": "Noted"}]
    record = read([event("ADD", "Ann likes tea", input=said)])
    assert record.provenance == {"input": said}
    plain = read([event("ADD", "Ann likes tea", input=[{"role": "user", "content": "Ann likes tea"}])])
    assert plain.provenance == {}


def test_what_a_version_had_beside_its_text_is_kept_and_vectors_are_not():
    events = [
        event("ADD", "Ann?", at="2025-03-01T00:00:00Z", metadata={"old": 1}, user_id="ann", input=[]),
        event("UPDATE", "Ann likes tea", old="Ann?", metadata={"k": 1}, new_memory_embedding=[0.1]),
    ]
    [version] = read(events).versions
    assert version.metadata == {"metadata": {"old": 1}}


@pytest.mark.parametrize(
    ("events", "notes", "count"),
    [
        ([], {"history_missing": True}, 0),
        ([event("ADD", "another text")], {"history_mismatch": True}, 1),
        (
            [event("MERGE", "Ann likes tea")],
            {"last_change": {"event": "MERGE", "at": "2025-03-02T00:00:00Z"}},
            0,
        ),
        (
            [event("ADD", "Ann likes tea", at="2025-01-01T00:00:00Z")],
            {"last_change": {"event": "ADD", "at": "2025-01-01T00:00:00Z"}},
            0,
        ),
        (["no row", None], {"history_missing": True}, 0),
    ],
    ids=str,
)
def test_a_history_that_does_not_fit_is_said_to(events, notes, count):
    record = read(events)
    assert (record.extensions.get("mem0"), len(record.versions)) == (notes, count)


def test_changes_of_one_moment_are_added_changed_deleted():
    at = "2025-03-02T00:00:00Z"
    events = [event("DELETE", None, at=at), event("UPDATE", "b", at=at), event("ADD", "a", at=at)]
    versions, _, _ = versions_of(events, text=None, changed_at=None, row={})
    assert [one.event for one in versions] == ["ADD", "UPDATE", "DELETE"]


# -- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, "x", 5, {}, {"results": {}}, {"data": []}])
def test_an_answer_that_is_no_page_is_none(answer):
    assert read_listed(answer) is None


@pytest.mark.parametrize(
    ("answer", "ids", "is_new", "is_pending"),
    [
        ({"results": [{"id": "1", "event": "ADD"}]}, ("1",), True, False),
        ({"results": [{"id": "1"}]}, ("1",), True, False),
        ([{"id": "1", "event": "ADD"}], ("1",), True, False),
        ({"results": [{"id": "1", "event": "NONE"}]}, ("1",), False, False),
        ({"results": [{"id": "1", "event": "UPDATE"}]}, ("1",), False, False),
        ({"results": []}, (), True, False),
        ({"event_id": "e", "status": "PENDING"}, (), False, True),
        ({"event_id": "e", "status": "PENDING", "results": []}, (), True, True),
    ],
    ids=str,
)
def test_answers_to_an_add(answer, ids, is_new, is_pending):
    found = read_added(answer)
    assert (found.ids, found.is_new, found.is_pending) == (ids, is_new, is_pending)


@pytest.mark.parametrize(
    "answer", [None, [1], {"results": [{"event": "ADD"}]}, {"status": "SUCCEEDED"}, {"event_id": "e"}]
)
def test_an_answer_to_an_add_that_tells_nothing(answer):
    assert read_added(answer) is None


# -- whatever comes -----------------------------------------------------------------------------

loose = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*ROW, "run_id", "hash", "lifecycle_state", "new"]), loose))
def test_any_row_with_id_and_text_is_a_record_and_says_all_it_had(fields):
    row = {**fields, "id": "a", "memory": "tea"}
    record = sanitise_record(decode(row, None, now=NOW))
    assert encode_record(record)
    assert (record.id, record.content) == ("a", "tea")
    if fields.get("new") is not None:
        assert "new" in record.extensions["mem0"]


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_expiry_never_comes_earlier(at):
    if at - datetime.min.replace(tzinfo=UTC) < timedelta(days=1):
        return
    back = expiry_of(expiration_date(at))
    assert back is None or at <= back < at + timedelta(days=1)


@given(st.datetimes(timezones=st.just(UTC)))
def test_seconds_are_cut_off(at):
    back = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=epoch_seconds(at))
    assert back == at.replace(microsecond=0)
