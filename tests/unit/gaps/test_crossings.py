import sqlite3

import pytest

from memxfer.errors import MemxferError
from memxfer.gaps.crossings import Crossings
from memxfer.models import MemoryRecord, Scope
from tests.unit.gaps.conftest import document


def record(number, **scope):
    return MemoryRecord(id=f"r{number}", content=f"text {number}", scope=Scope(**scope))


@pytest.fixture
def crossings():
    made = Crossings()
    yield made
    made.close()


def test_a_hundred_thousand_owners_with_one_record_each_are_told_apart(crossings):
    for number in range(100_000):
        one = record(number, user=f"u{number}")
        crossings.add(one, document(owner=one.scope))

    assert [(one.scope, one.records, one.owners) for one in crossings.landings()] == [
        ("user", 100_000, 100_000)
    ]
    assert crossings.collisions().records == crossings.merged_owners().records == 0
    assert len(crossings._rows) < 5_000


def test_agents_of_nobody_are_places_of_their_own(crossings):
    for number in range(6):
        crossings.add(record(number, agent=f"a{number % 3}"), document(scope="agent"))

    assert [(one.scope, one.records, one.owners) for one in crossings.landings()] == [("agent", 6, 3)]


def test_a_user_of_two_sessions_is_one_owner(crossings):
    for session in ("s1", "s2"):
        crossings.add(record(1, user="ann", session=session), document(owner=Scope(user="ann")))

    assert crossings.merged_owners().records == 0
    assert crossings.landings()[0].owners == 1


def test_questions_may_be_asked_again_and_after_more_records(crossings):
    crossings.add(record(1), document(key="k"))
    assert crossings.collisions().groups == 0

    crossings.add(record(2), document(key="k"))

    assert (crossings.collisions().groups, crossings.collisions().records) == (1, 2)


def test_a_very_long_id_is_cut_in_samples(crossings):
    for _ in range(2):
        crossings.add(MemoryRecord(id="x" * 5_000, content=""), document(key="k"))

    assert crossings.collisions().samples == ("x" * 200,)


def test_no_room_for_the_temporary_file_is_said_with_a_remedy(crossings, monkeypatch):
    class Full:
        def executemany(self, *_):
            raise sqlite3.OperationalError("database or disk is full")

        def close(self):
            pass

    monkeypatch.setattr(crossings, "_database", Full())
    crossings.add(record(1), document())

    with pytest.raises(MemxferError, match=r"disk is full.*SQLITE_TMPDIR"):
        crossings.collisions()


@pytest.mark.parametrize("apart", [1, 6_000])
def test_a_record_listed_twice_shares_its_key_with_nobody_and_two_of_one_id_do(crossings, apart):
    one = record(1, user="ann")
    crossings.add(one, document(key="k"), digest=b"a")
    for number in range(2, apart):
        crossings.add(record(number), document(), digest=b"x")
    crossings.add(one, document(key="k"), digest=b"a")
    assert (crossings.collisions().records, crossings.are_ids_shared()) == (0, False)

    crossings.add(one, document(key="k"), digest=b"b")

    assert (crossings.collisions().groups, crossings.collisions().records) == (1, 2)
    assert crossings.are_ids_shared()


def test_two_ids_under_one_key_are_told_apart_by_a_template_with_the_id(crossings):
    crossings.add(record(1), document(key="k"), digest=b"a")
    crossings.add(record(2), document(key="k"), digest=b"b")

    assert crossings.collisions().records == 2
    assert not crossings.are_ids_shared()
