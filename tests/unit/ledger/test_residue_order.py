"""The order that is law: an original is on disk before the intent that stands for it, or neither is."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from memxfer.errors import LedgerError
from memxfer.ledger import Change, Ledger
from memxfer.ledger.states import RESIDUE, RESIDUE_LINES

pytestmark = pytest.mark.anyio


class Recorder:
    """Takes residue lines, and looks at what the ledger has on disk at that moment."""

    def __init__(self, path, *, error=None):
        self.path = path
        self.error = error
        self.groups = []
        self.seen = []
        self.threads = set()
        self.lines = 0

    def store(self, lines):
        self.threads.add(threading.current_thread().name)
        self.seen.append(keys_in(self.path))
        self.groups.append(list(lines))
        if self.error:
            raise self.error
        self.lines += len(lines)
        return self.lines - 1, self.lines


def keys_in(path):
    """The keys of durable intents, as another process sees them."""
    with closing(sqlite3.connect(path)) as ledger:
        return [key for (key,) in ledger.execute("SELECT key FROM record ORDER BY seq")]


def intent(ledger, key, *, original=True):
    change = Change()
    ledger.intend(change, ledger.reserve(), partition=1, record_id=key, key=key, digest=b"h" * 16)
    if original:
        change.residue.append((key, b"line of " + key.encode()))
    return change


@pytest.fixture
def recorder(path):
    return Recorder(path)


@pytest.fixture
def kept(path, recorder):
    ledger = Ledger(path, window=0.0, residue=recorder)
    yield ledger
    ledger.close()


async def test_an_original_is_stored_before_its_intent_is_on_disk(kept, recorder, path):
    await kept.commit(intent(kept, "a"))
    await kept.commit(intent(kept, "b"))

    assert recorder.groups == [[("a", b"line of a")], [("b", b"line of b")]]
    assert recorder.seen == [[], ["a"]]
    assert keys_in(path) == ["a", "b"]


async def test_a_group_goes_to_the_residue_in_one_piece_and_in_order(path, recorder):
    ledger = Ledger(path, window=0.2, residue=recorder)
    futures = [ledger.commit(intent(ledger, f"k{number}", original=number % 2 == 0)) for number in range(6)]
    await asyncio.gather(*futures)
    ledger.close()

    assert [[key for key, _ in group] for group in recorder.groups] == [["k0", "k2", "k4"]]
    assert recorder.seen == [[]]
    assert len(keys_in(path)) == 6


async def test_changes_without_originals_do_not_touch_the_residue(kept, recorder):
    await kept.commit(intent(kept, "a", original=False))
    await kept.commit(Change())

    assert recorder.groups == []
    assert RESIDUE not in kept.counts()


async def test_a_change_of_originals_alone_is_not_empty(kept, recorder):
    change = Change(residue=[("a", b"x"), ("b", None)])
    assert not change.is_empty()

    await kept.commit(change)

    assert recorder.groups == [[("a", b"x"), ("b", None)]]


async def test_how_much_there_is_becomes_durable_with_the_intents(kept, path):
    await kept.commit(intent(kept, "a"))
    await kept.commit(intent(kept, "b"))
    kept.close()

    again = Ledger(path)
    assert (again.counts()[RESIDUE], again.counts()[RESIDUE_LINES]) == (1, 2)
    again.close()


async def test_only_the_committers_thread_writes(kept, recorder):
    await asyncio.gather(*(kept.commit(intent(kept, str(number))) for number in range(20)))

    assert recorder.threads == {"memxfer-ledger"}


@pytest.mark.parametrize(
    "error", [LedgerError("the residue is full"), RuntimeError("a bug"), OSError(28, "x")]
)
async def test_where_the_residue_fails_no_intent_of_the_group_is_durable(path, error):
    recorder = Recorder(path)
    ledger = Ledger(path, window=0.2, residue=recorder)
    await ledger.commit(intent(ledger, "before"))
    recorder.error = error
    group = [ledger.commit(intent(ledger, "with", original=False)), ledger.commit(intent(ledger, "lost"))]

    results = await asyncio.gather(*group, return_exceptions=True)
    later = ledger.commit(intent(ledger, "later", original=False))

    assert all(isinstance(result, LedgerError) for result in results)
    assert str(error) in str(results[0])
    with pytest.raises(LedgerError):
        await later
    ledger.close()
    assert keys_in(path) == ["before"]
    assert len(recorder.groups) == 2, "after a failure nothing more is tried"


async def test_a_residue_without_a_place_is_an_error_and_never_a_silent_loss(path):
    ledger = Ledger(path, window=0.0)
    with pytest.raises(LedgerError, match="no residue to put them in"):
        await ledger.commit(intent(ledger, "a"))
    ledger.close()

    assert keys_in(path) == []


async def test_a_ledger_that_fails_after_the_residue_leaves_the_line_for_the_next_run(path, recorder):
    ledger = Ledger(path, window=0.0, residue=recorder)
    broken = intent(ledger, "a")
    broken.add("INSERT INTO no_such_table VALUES (?)", (1,))

    with pytest.raises(LedgerError, match="cannot be written"):
        await ledger.commit(broken)
    ledger.close()

    assert keys_in(path) == []
    again = Ledger(path, window=0.0, residue=recorder)
    await again.commit(intent(again, "a"))
    again.close()
    assert recorder.groups == [[("a", b"line of a")]] * 2
    assert keys_in(path) == ["a"]


async def test_groups_are_bounded_in_bytes_too(path, recorder, monkeypatch):
    monkeypatch.setattr("memxfer.ledger.committer._MOST_BYTES", 1_000)
    ledger = Ledger(path, window=0.2, residue=recorder)
    futures = []
    for number in range(6):
        change = intent(ledger, f"k{number}", original=False)
        change.residue.append((f"k{number}", b"x" * 600))
        futures.append(ledger.commit(change))
    await asyncio.gather(*futures)
    ledger.close()

    assert [len(group) for group in recorder.groups] == [2, 2, 2]
