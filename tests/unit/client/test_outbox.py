"""What is put in arrives: after crashes, outages and full disks, once, in order, with its own time."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from memxfer.client import ClientSettings, IngestState, MemoryClient, Outbox, OutboxFullError
from memxfer.client.entries import EntryState
from memxfer.errors import LedgerError
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import ClientKey
from memxfer.testing import Fault, FaultKind
from tests.unit.client.conftest import ANN

pytestmark = pytest.mark.anyio
THEN = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def turn(number, conversation="c1"):
    return {
        "messages": [{"role": "user", "content": f"turn {number} of {conversation}"}],
        "scope": Scope(user="ann", session=conversation),
        "occurred_at": THEN + timedelta(seconds=number),
    }


async def test_what_is_put_in_arrives_with_its_own_time_and_a_number_of_its_own(backends):
    async with backends.client() as memory:
        handles = [await memory.ingest(**turn(number)) for number in range(5)]
        assert await memory.flush(5)
        rows = list(backends.store("one").rows())

    assert [handle.document_id.rsplit("_", 1)[1] for handle in handles] == list("12345")
    assert len({handle.document_id.rsplit("_", 1)[0] for handle in handles}) == 1
    assert handles[0].document_id.startswith("turn_c1_")
    assert [row.key for row in rows] == [handle.document_id for handle in handles]
    assert [row.record.occurred_at for row in rows] == [THEN + timedelta(seconds=n) for n in range(5)]


async def test_numbers_of_turns_go_on_after_a_restart(backends):
    async with backends.client() as memory:
        first = await memory.ingest(**turn(1))
    async with backends.client() as memory:
        handle = await memory.ingest(**turn(2))
        other = await memory.ingest(**turn(1, "c2"))
    assert first.document_id.endswith("_1")
    assert handle.document_id == first.document_id[:-1] + "2"
    assert (other.document_id[:8], other.document_id[-2:]) == ("turn_c2_", "_1")


async def test_a_handle_tells_how_far_it_is(backends):
    backends.settings["one"] = {"acknowledges": "async", "polls_until_stored": 2}
    async with backends.client() as memory:
        handle = await memory.ingest(**turn(1))
        first = await handle.progress()
        assert await memory.flush(5)
        states = [(await handle.progress()).state for _ in range(2)]
        assert (await handle.progress()).ingestion_id
    assert first.state in {IngestState.QUEUED, IngestState.SENDING}
    assert states == [IngestState.PROCESSING, IngestState.STORED]


async def test_putting_in_does_not_wait_for_a_backend_that_is_down(backends):
    backends.faults["one"] = [Fault(FaultKind.UNAVAILABLE, calls=(1, 2))]
    backends.settings["one"] = {"max_batch": 1}
    async with backends.client() as memory:
        async with asyncio.timeout(1):
            handle = await memory.ingest(**turn(1))
        assert handle.is_kept
        assert await memory.flush(8)
    assert backends.texts() == ["User: turn 1 of c1"]


async def test_a_backend_that_does_not_even_open_gets_it_later(backends, caplog):
    refusing = [Fault(FaultKind.UNAVAILABLE, on="connect", calls=(1,))]
    async with backends.client() as memory:
        backends.faults["one"] = refusing
        await memory.ingest(**turn(1))
        await asyncio.sleep(0.1)
        backends.faults["one"] = []
        assert await memory.flush(5)
    assert "opening failed (UnavailableError): provider=one" in caplog.text
    assert len(backends.texts()) == 1


@pytest.mark.parametrize("kind", [FaultKind.AMBIGUOUS_AFTER, FaultKind.AMBIGUOUS_BEFORE])
@pytest.mark.parametrize("client_key", list(ClientKey))
async def test_a_lost_answer_stores_nothing_twice_and_loses_nothing(backends, kind, client_key):
    backends.settings["one"] = {"client_key": client_key, "max_batch": 3}
    backends.faults["one"] = [Fault(kind, calls=(1, 3))]
    async with backends.client() as memory:
        for number in range(6):
            await memory.ingest(**turn(number, f"c{number % 2}"))
        assert await memory.flush(10)
    assert sorted(backends.texts()) == sorted(f"User: turn {n} of c{n % 2}" for n in range(6))


async def test_a_conversation_stays_in_order_and_others_do_not_wait_for_it(backends):
    backends.settings["one"] = {"max_batch": 1}
    backends.faults["one"] = [Fault(FaultKind.RATE_LIMITED, calls=(1,), retry_after=0.3)]
    async with backends.client() as memory:
        for number in range(4):
            await memory.ingest(**turn(number, "slow"))
            await memory.ingest(**turn(number, "quick"))
        assert await memory.flush(10)
    texts = backends.texts()
    for name in ("slow", "quick"):
        mine = [text for text in texts if text.endswith(name)]
        assert mine == [f"User: turn {n} of {name}" for n in range(4)]
    assert texts[-1].endswith("slow") or texts[-1].endswith("quick")


async def test_a_poison_message_is_set_aside_and_holds_up_nobody(backends, caplog):
    backends.settings["one"] = {"refuses": ["turn_c1_2"], "max_batch": 1}
    async with backends.client() as memory:
        handles = [await memory.ingest(**turn(number), turn=number + 1) for number in range(3)]
        assert await memory.flush(5)
        progress = await handles[1].progress()
    assert backends.texts() == ["User: turn 0 of c1", "User: turn 2 of c1"]
    assert progress.state is IngestState.SET_ASIDE
    assert "refuses this record" in progress.problem
    assert "turn_c1_2 for one is set aside" in caplog.text
    assert "turn 1 of" not in caplog.text


async def test_what_was_set_aside_can_be_put_back(backends, tmp_path):
    backends.settings["one"] = {"refuses": ["turn_c1_1"], "max_batch": 1}
    async with backends.client() as memory:
        await memory.ingest(**turn(1), turn=1)
        assert await memory.flush(5)
    backends.settings["one"] = {}
    outbox = Outbox(tmp_path / "outbox.sqlite")
    assert await outbox.put_back() == 1
    outbox.close()
    async with backends.client() as memory:
        assert await memory.flush(5)
    assert len(backends.texts()) == 1


async def test_a_refused_key_keeps_everything(backends):
    backends.faults["one"] = [Fault(FaultKind.AUTH)]
    async with backends.client() as memory:
        await memory.ingest(**turn(1))
        assert not await memory.flush(0.3)
    backends.faults["one"] = []
    async with backends.client() as memory:
        assert await memory.flush(5)
    assert len(backends.texts()) == 1


async def test_what_a_dead_process_left_is_delivered_by_the_next(backends, tmp_path):
    outbox = Outbox(tmp_path / "outbox.sqlite")
    for number in range(3):
        record = MemoryRecord(id=f"turn_c_{number}", content=f"text {number}", scope=ANN, occurred_at=THEN)
        await outbox.put("one", record, lane="c")
    [first] = outbox.heads("one", 10)
    await outbox.sending([first])
    outbox.close()

    async with backends.client() as memory:
        assert await memory.flush(5)
    assert backends.texts() == [f"text {number}" for number in range(3)]


async def test_the_same_document_twice_is_one(backends):
    async with backends.client() as memory:
        for _ in range(2):
            await memory.ingest(text="once", scope=ANN, document_id="mine")
        assert await memory.flush(5)
    assert backends.texts() == ["once"]


async def test_a_full_outbox_refuses_and_says_so_without_raising(backends, tmp_path, caplog):
    backends.faults["one"] = [Fault(FaultKind.UNAVAILABLE)]
    outbox = Outbox(tmp_path / "small.sqlite", most=2)
    async with backends.client(outbox=outbox) as memory:
        handles = [await memory.ingest(**turn(number)) for number in range(3)]
        assert [handle.is_kept for handle in handles] == [True, True, False]
        assert (await handles[2].progress()).state is IngestState.NOT_KEPT
    assert "is not kept" in caplog.text


async def test_or_it_drops_the_oldest_by_policy(tmp_path):
    outbox = Outbox(tmp_path / "small.sqlite", most=2, when_full="drop_oldest")
    for number in range(3):
        await outbox.put("one", MemoryRecord(id=f"r{number}", content="x"), lane=f"r{number}")
    assert [entry.document_id for entry in outbox.heads("one", 10)] == ["r1", "r2"]
    assert (outbox.waiting, outbox.count(EntryState.SET_ASIDE)) == (2, 1)
    outbox.close()
    with pytest.raises(OutboxFullError):
        raise OutboxFullError("kept for those who ask for it")


async def test_a_disk_that_was_full_takes_more_once_it_is_not(backends, monkeypatch):
    from memxfer.ledger.committer import Committer

    apply = Committer._apply
    async with backends.client() as memory:
        monkeypatch.setattr(Committer, "_apply", _full)
        lost = await memory.ingest(**turn(1))
        monkeypatch.setattr(Committer, "_apply", apply)
        kept = await memory.ingest(**turn(2))
        assert await memory.flush(5)
    assert (lost.is_kept, kept.is_kept) == (False, True)
    assert backends.texts() == ["User: turn 2 of c1"]


def _full(self, changes):
    raise sqlite3.OperationalError("database or disk is full")


async def test_two_processes_do_not_share_an_outbox(tmp_path):
    first = Outbox(tmp_path / "outbox.sqlite")
    with pytest.raises(LedgerError, match="give each process a file of its own"):
        Outbox(tmp_path / "outbox.sqlite")
    first.close()
    Outbox(tmp_path / "outbox.sqlite").close()


async def test_nothing_that_was_said_stays_in_the_file_once_it_is_delivered(backends, tmp_path):
    async with backends.client() as memory:
        await memory.ingest(text="a very private word", scope=ANN)
        assert await memory.flush(5)
    with closing(sqlite3.connect(tmp_path / "outbox.sqlite")) as file:
        assert file.execute("SELECT state, record FROM entry").fetchall() == [("delivered", None)]
    assert b"very private" not in (tmp_path / "outbox.sqlite").read_bytes()
    assert (tmp_path / "outbox.sqlite").stat().st_mode & 0o077 == 0


async def test_late_news_of_a_failure_are_noted(backends):
    backends.settings["one"] = {"acknowledges": "async"}
    async with backends.client() as memory:
        handle = await memory.ingest(**turn(1))
        assert await memory.flush(5)
        name = (await handle.progress()).ingestion_id
        assert await memory.note_failed(name, "extraction failed")
        assert not await memory.note_failed("somebody else's", "x")
        assert (await handle.progress()).state is IngestState.FAILED


async def test_a_clock_that_is_set_back_does_not_hold_anything_up(tmp_path):
    now = [1_000_000.0]
    outbox = Outbox(tmp_path / "outbox.sqlite", now=lambda: now[0])
    await outbox.put("one", MemoryRecord(id="r", content="x"), lane="r")
    [entry] = outbox.heads("one", 10)
    await outbox.unsent([entry], wait=30)
    assert (outbox.heads("one", 10), outbox.next_due("one")) == ([], 30)
    now[0] -= 86_400
    assert [one.document_id for one in outbox.heads("one", 10)] == ["r"]
    assert outbox.next_due("one") == 0
    [entry] = outbox.heads("one", 10)
    await outbox.unsent([entry], wait=30)  # refused again: now the wait is known by this clock
    assert (outbox.heads("one", 10), outbox.next_due("one")) == ([], 30)
    outbox.close()


async def test_the_same_document_at_once_is_one(backends):
    async with backends.client() as memory:
        await asyncio.gather(*(memory.ingest(text="once", scope=ANN, document_id="mine") for _ in range(5)))
        assert await memory.flush(5)
    assert backends.texts() == ["once"]


async def test_closing_lets_the_outbox_empty_for_a_while(backends):
    backends.settings["one"] = {"max_batch": 1}
    client = backends.client(settings=ClientSettings(drain=5))
    async with client as memory:
        for number in range(20):
            await memory.ingest(**turn(number))
    assert len(backends.texts()) == 20
    assert isinstance(client, MemoryClient)


async def test_a_long_line_of_one_conversation_does_not_hide_the_others(tmp_path):
    outbox = Outbox(tmp_path / "outbox.sqlite")
    await asyncio.gather(
        *(outbox.put("one", MemoryRecord(id=f"a{n}", content="x"), lane="a") for n in range(1_200))
    )
    await outbox.put("one", MemoryRecord(id="b0", content="x"), lane="b")
    await outbox.put("two", MemoryRecord(id="c0", content="x"), lane="c")

    assert [one.document_id for one in outbox.heads("one", 10)] == ["a0", "b0"]
    assert [one.document_id for one in outbox.heads("one", 10, busy=["a"])] == ["b0"]
    assert [one.document_id for one in outbox.heads("one", 1)] == ["a0"]
    outbox.close()


async def test_what_was_delivered_long_ago_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr("memxfer.client.outbox._PURGE_EVERY", 2)
    now = [1_000_000.0]
    outbox = Outbox(tmp_path / "outbox.sqlite", keep=60, now=lambda: now[0])
    for name in ("old", "new"):
        await outbox.put("one", MemoryRecord(id=name, content="x"), lane=name)
        now[0] += 100
        [entry] = outbox.heads("one", 1)
        await outbox.delivered(entry)
    await outbox.put("one", MemoryRecord(id="last", content="x"), lane="last")

    assert (outbox.find(1), outbox.find(2)) == (None, None)
    assert outbox.find(3).document_id == "last"
    outbox.close()
