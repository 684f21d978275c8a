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
        None,
        "user=alice",
        " user = alice ",
        "user!=bob",
        "kind=preference",
        "state=archived",
        "id=m1",
        'agent=""',
        "agent!=x",
        "session=s,,1",
        'session="s,1"',
        'session = "s,1" , user="alice"',
        "user=alice,user=alice",
        "created_at>=2025-01-01,created_at<2026-01-01,created_at!=2025-02-01",
        "created_at>=2025-06-01",
        "created_at>2025-06-01",
        "created_at<2025-06-02",
        "created_at<=2025-06-01T12:00:00Z",
        "created_at=2025-06-01T14:00:00+02:00",
        "created_at!=2025-06-01",
        'created_at!=""',
        'updated_at=""',
        "updated_at!=2025-06-01",
        "metadata.topic=food",
        "metadata.topic = food",
        "metadata.n=3",
        "metadata.done=true",
        'metadata.none=""',
        'metadata.missing=""',
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
        'user=""',
        "user!=alice",
        "agent=x",
        'agent!=""',
        "created_at<2025-06-01",
        'created_at=""',
        "updated_at>=2020-01-01",
        "updated_at=2020-01-01",
        'updated_at!=""',
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
        ("user=alice,,kind=fact", "several conditions"),
        ("=x", "not a condition"),
        ("user:alice", "not a condition"),
        ("User=alice", "no field 'User'; did you mean 'user'"),
        ("user_id=alice", "did you mean 'user'"),
        ("scope.user=alice", "did you mean 'user'"),
        ("createdAt>=2025-01-01", "did you mean 'created_at'"),
        ("meta.topic=x", "did you mean 'metadata.NAME'"),
        ("colour=red", "no field 'colour'"),
        ("colour>red", "no field 'colour'"),
        ("metadata=x", "no field 'metadata'"),
        ("user==alice", "no operator '=='; did you mean user=alice"),
        ("user = =alice", "two operators"),
        ("user=~al", "no operator '=~'"),
        ("user<>alice", "did you mean user!=alice"),
        ("created_at=>2025-01-01", "did you mean created_at>=2025-01-01"),
        ("user>=alice", "takes = and != only"),
        ("metadata.n>3", "takes = and != only"),
        ("user=", "user= has no value"),
        ("user= ,kind=fact", "user= has no value"),
        ("metadata.topic!=", "has no value"),
        ("created_at>=", "has no value"),
        ("created_at>=yesterday", "not a date"),
        ("created_at>=2025-02-30", "not a date"),
        ('created_at>=""', "not a date"),
        ("created_at=0001-01-01T00:00:00+23:00", "not a date"),
        ("state=activ", "no state 'activ'; did you mean 'active'"),
        ('state=""', "no state ''"),
        ('user="alice', "not closed"),
        ("user=alice and kind=fact", "several conditions"),
        ("user=alice OR user=bob", "several conditions"),
        ("user=alice; kind=fact", "several conditions"),
        ("user=alice && metadata.x=1", "several conditions"),
        ("", "--where is empty"),
        (" \t\n", "--where is empty"),
        (",", "not a condition"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, told):
    with pytest.raises(ConfigError, match=told):
        Selection.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "user=alice,user=bob",
        "user=alice,kind=fact,user!=alice",
        'user="",user=bob',
        "created_at>=2025-06-01,created_at<2025-06-01",
        "created_at<2025-01-01,created_at>2025-06-01",
        "created_at=2025-06-01,created_at>2025-06-01T00:00:00Z",
        'updated_at="",updated_at<=2025-01-01',
    ],
)
def test_conditions_that_exclude_each_other_are_refused(text):
    with pytest.raises(ConfigError, match="no record can meet"):
        Selection.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "created_at>=2025-06-01,created_at<=2025-06-01",
        "created_at=2025-06-01,created_at>=2025-06-01T02:00:00+02:00",
        'updated_at="",updated_at!=2025-01-01',
        "user!=alice,user!=bob",
    ],
)
def test_conditions_that_some_record_meets_are_not(text):
    assert len(Selection.parse(text).clauses) == 2


@pytest.mark.parametrize("value", ["=x", "a, b", ' "quoted" ', "alice and kind=fact", "", '"', "~"])
def test_any_value_can_be_said_between_quotes(value):
    quoted = value.replace('"', '""')

    made = Selection.parse(f'metadata.a="{quoted}"')

    assert made.clauses == (Clause("metadata.a", "=", value),)
    assert Selection.parse(str(made)) == made


def test_no_selection_is_false_and_takes_everything():
    assert not Selection.parse(None)
    assert Selection.parse("user=x")
    assert Selection().matches(RECORD)


words = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Z"), exclude_characters="=<>!\x00"), max_size=8
)
values = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
clauses = st.one_of(
    st.builds(Clause, st.sampled_from(["user", "kind", "id"]), st.sampled_from(["=", "!="]), values),
    st.builds(Clause, words.filter(bool).map(lambda w: f"metadata.{w}"), st.just("="), values),
    st.builds(Clause, st.just("created_at"), st.sampled_from([">=", "<", "="]), st.just("2025-01-31")),
)


@given(st.lists(clauses, min_size=1, max_size=4, unique_by=lambda clause: clause.field))
def test_a_selection_reads_back_as_it_was_written(made):
    selection = Selection(tuple(made))
    assert Selection.parse(str(selection)) == selection
