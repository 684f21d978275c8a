"""`--where`: what is wanted, read strictly, written so that it reads back."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.errors import ConfigError
from memxfer.models import MemoryRecord, RecordState, Scope
from memxfer.spi import Clause, Selection

RECORD = MemoryRecord(
    id="m1",
    content="x",
    kind="preference",
    scope=Scope(user="alice", session="s,1"),
    metadata={"topic": "food", "done": True, "n": 3, "a,b": "c", "none": None},
    created_at=datetime(2025, 6, 1, 12, tzinfo=UTC),
    state=RecordState.ARCHIVED,
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        None,
        "user=alice",
        " user = alice ",
        "user!=bob",
        "kind=preference",
        "state=archived",
        "id=m1",
        "agent=",
        "agent!=x",
        "session=s,,1",
        "created_at>=2025-06-01",
        "created_at>2025-06-01",
        "created_at<2025-06-02",
        "created_at<=2025-06-01T12:00:00Z",
        "created_at=2025-06-01T14:00:00+02:00",
        "created_at!=2025-06-01",
        "created_at!=",
        "updated_at=",
        "updated_at!=2025-06-01",
        "metadata.topic=food",
        "metadata.topic = food",
        "metadata.n=3",
        "metadata.done=true",
        "metadata.none=",
        "metadata.missing=",
        "metadata.a,,b=c",
        "user=alice,kind=preference,created_at>=2025-01-01",
    ],
)
def test_a_record_that_meets_every_condition_is_wanted(text):
    assert Selection.parse(text).matches(RECORD)


@pytest.mark.parametrize(
    "text",
    [
        "user=Alice",
        "user=",
        "user!=alice",
        "agent=x",
        "agent!=",
        "created_at<2025-06-01",
        "created_at=",
        "updated_at>=2020-01-01",
        "updated_at=2020-01-01",
        "updated_at!=",
        "metadata.topic=drink",
        "metadata.missing=x",
        "user=alice,kind=fact",
    ],
)
def test_one_condition_missed_is_enough_to_be_left_out(text):
    assert not Selection.parse(text).matches(RECORD)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("alice", "not a condition"),
        ("user=alice,", "not a condition"),
        ("User=alice", "not a condition"),
        ("=x", "not a condition"),
        ("colour=red", "no field 'colour'"),
        ("colour>red", "no field 'colour'"),
        ("metadata=x", "no field 'metadata'"),
        ("user>=alice", "takes = and != only"),
        ("metadata.n>3", "takes = and != only"),
        ("created_at>=yesterday", "not a date"),
        ("created_at>=", "not a date"),
        ("created_at=0001-01-01T00:00:00+23:00", "not a date"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, told):
    with pytest.raises(ConfigError, match=told):
        Selection.parse(text)


def test_an_empty_selection_is_false_and_takes_everything():
    assert not Selection.parse("")
    assert Selection.parse("user=x")
    assert Selection().matches(RECORD)


words = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Z"), exclude_characters="=<>!\x00"), max_size=8
)
clauses = st.one_of(
    st.builds(Clause, st.sampled_from(["user", "kind", "id"]), st.sampled_from(["=", "!="]), words),
    st.builds(Clause, words.filter(bool).map(lambda w: f"metadata.{w}"), st.just("="), words),
    st.builds(Clause, st.just("created_at"), st.sampled_from([">=", "<", "="]), st.just("2025-01-31")),
)


@given(st.lists(clauses, max_size=4))
def test_a_selection_reads_back_as_it_was_written(made):
    selection = Selection(tuple(made))
    assert Selection.parse(str(selection)) == selection
