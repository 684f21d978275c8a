"""A memory of what was listed: exact, and bounded however much it is."""

import sqlite3
import tracemalloc

import pytest

from memxfer.engine import marks
from memxfer.engine.marks import Marks
from memxfer.errors import LedgerError


@pytest.fixture
def few():
    found = Marks(most=100)
    yield found
    found.clear()


def test_each_text_is_new_once_wherever_it_is_kept(few):
    texts = [f"cursor {n}" for n in range(1_000)] + ["", "\x00", "\ud800", "\ud801", "\\ud800", "x" * 10**6]

    assert all(few.add(text) for text in texts)
    assert not any(few.add(text) for text in texts)


def test_what_is_forgotten_is_new_again(few):
    for n in range(300):
        few.add(str(n))

    few.clear()

    assert all(few.add(str(n)) for n in range(300))


def test_memory_stays_the_same_however_much_is_remembered(few):
    def fill(start, count):
        for n in range(start, start + count):
            few.add(f"{n:_>1000}")

    fill(0, 1_000)
    tracemalloc.start()
    try:
        fill(1_000, 20_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 100_000
    assert len(few._first) == 100
    [(kib,)] = few._rest.execute("PRAGMA cache_size").fetchall()
    assert kib == -1_024
    assert few._rest.execute("PRAGMA temp_store").fetchall() == [(0,)], "the file is one, not memory"


def test_a_full_disk_is_told_as_such(few, monkeypatch):
    def full():
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(marks, "_temporary", full)

    for n in range(100):
        few.add(str(n))

    with pytest.raises(LedgerError, match=r"temporary folder \(database or disk is full\); free some space"):
        few.add("one more")
