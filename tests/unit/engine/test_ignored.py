"""Rows that are no memories: left out only as agreed, and counted right by reason whatever happens."""

import json
from collections import Counter
from contextlib import closing

import pytest

from memxfer.engine.control import StopCause
from memxfer.ledger import Change, Ledger, State
from memxfer.ledger.ignored import IgnoredRows, ignored_rows
from memxfer.ledger.schema import fault_in
from memxfer.ledger.states import IGNORED, IGNORED_AS, IGNORED_IN
from memxfer.spi import Ignored
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


class Marked(MemoryReferenceProvider):
    """Records whose kind says why are no memories; `marker` alone is harmless."""

    def _decode(self, row, partition):
        record = row.record
        if record.kind in ("marker", "no_text"):
            return Ignored(record.kind, record.id, harmless=record.kind == "marker")
        return record


@pytest.fixture
def marked(job, record):
    """A job whose source holds 30 records, 6 markers and 4 rows without a text, all mixed."""
    job.source_class = Marked
    kinds = {5: "marker", 7: "no_text"}
    job.source.seed(
        record(f"r{number:02}", kind=kinds.get(number % 10, "fact") if number % 10 in kinds else "fact")
        for number in range(40)
    )
    return job


EXPECTED = {"marker": 4, "no_text": 4}


def by_reason(job):
    counters = job.counters()
    assert counters[IGNORED] == sum(n for name, n in counters.items() if name.startswith(IGNORED_AS))
    return {
        name.removeprefix(IGNORED_AS): n for name, n in counters.items() if name.startswith(IGNORED_AS) and n
    }


def notes(job, prefix):
    rows = job.query("SELECT name, value FROM meta WHERE substr(name, 1, ?) = ?", len(prefix), prefix)
    return {name.removeprefix(prefix): json.loads(value) for name, value in rows}


async def test_they_are_counted_by_reason_with_three_ids(marked):
    await marked.run()

    assert by_reason(marked) == EXPECTED
    assert notes(marked, IGNORED_AS) == {
        "marker": {"harmless": True, "samples": ["r05", "r15", "r25"]},
        "no_text": {"harmless": False, "samples": ["r07", "r17", "r27"]},
    }
    assert marked.states() == {State.STORED: 32}


async def test_a_run_stops_before_it_leaves_out_what_nobody_agreed_to(marked):
    marked.accepted = ()

    run = await marked.run()

    assert run.cause is StopCause.DECISION
    assert by_reason(marked) == {}
    marked.accepted = ("ignored",)
    assert (await marked.run()).cause is None
    assert by_reason(marked) == EXPECTED
    assert marked.states() == {State.STORED: 32}
    assert all(row.writes == 1 for row in marked.target.rows())


async def test_harmless_rows_stop_nobody(job, record):
    job.source_class = Marked
    job.accepted = ()
    job.source.seed(record(f"r{n}", kind="marker" if n % 2 else "fact") for n in range(10))

    assert (await job.run()).cause is None
    assert by_reason(job) == {"marker": 5}


@pytest.mark.parametrize("listing", ["keyset", "offset"])
@pytest.mark.parametrize("durable", [True, False])
async def test_each_is_counted_once_whatever_crashes(marked, listing, durable):
    marked.source_config = {"max_page": 4, "listing": listing}
    for at in range(2, 16, 2):
        await marked.run(crash_at=at, durable=durable)
    await marked.run()

    assert by_reason(marked) == EXPECTED
    [share] = notes(marked, IGNORED_IN).values()
    assert share == EXPECTED


async def test_a_cursor_that_dies_takes_back_what_was_counted_before_it(marked):
    marked.source_config = {"max_page": 4}
    faults = [Fault(FaultKind.CURSOR_EXPIRED, on="read_page", calls=(3, 7))]

    run = await marked.run(source_faults=faults)

    assert run.cause is None
    assert run.source.script.calls("read_page") > 10
    assert by_reason(marked) == EXPECTED


async def test_a_job_that_was_begun_without_reasons_goes_on_and_tells_them_apart(marked):
    await marked.run()
    with closing(Ledger(marked.path, window=0.0)) as ledger:
        change = Change()
        change.add("DELETE FROM meta WHERE name LIKE 'ignored%'", ())
        change.add("DELETE FROM count WHERE name LIKE 'ignored%'", ())
        await ledger.commit(change)
        counters = ledger.counts()
        assert ignored_rows(counters, {}) == {"not_a_memory": IgnoredRows(8)}
        assert all(row.reasons is None for row in ledger.partitions().values())

    await marked.run()

    assert marked.counters()[IGNORED] == 8


async def test_a_ledger_with_reasons_is_taken_in_and_one_with_forged_notes_is_not(marked):
    await marked.run()
    with closing(Ledger(marked.path, window=0.0)) as ledger:
        assert fault_in(ledger._readers.own()) is None
        for name, value in ((f"{IGNORED_AS}marker", '{"samples": 5}'), (f"{IGNORED_IN}1", '{"marker": "x"}')):
            before = ledger.meta(name)
            for text in (value, before):
                change = Change()
                ledger.set_meta(change, name, text)
                await ledger.commit(change)
                assert (fault_in(ledger._readers.own()) is None) is (text == before)


def test_what_is_told_comes_most_frequent_first_with_the_rest_that_has_no_reason():
    counters = Counter({IGNORED: 10, "ignored/a": 2, "ignored/b": 5, "ignored/c": 0})
    told = {"ignored/b": '{"harmless": true, "samples": ["x"]}'}

    assert list(ignored_rows(counters, told).items()) == [
        ("b", IgnoredRows(5, ("x",), True)),
        ("not_a_memory", IgnoredRows(3)),
        ("a", IgnoredRows(2)),
    ]
