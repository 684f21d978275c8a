"""Nothing that a provider, an entry or a row does ends the delivery of the others, or makes it spin."""

import asyncio
import sqlite3
from contextlib import closing
from fractions import Fraction

import pytest

from memxfer.client import IngestState, Outbox
from memxfer.client.entries import EntryState
from memxfer.errors import AuthError, RateLimitedError
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import ClientKey
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider
from tests.unit.client.conftest import ANN

pytestmark = pytest.mark.anyio


class Odd(MemoryReferenceProvider):
    """Does what the test says, and counts calls."""

    calls = 0
    write_error = None
    poison = None
    poison_error = None
    connects = 0
    connect_errors = ()

    async def _connect(self, role):
        kind = type(self)
        kind.connects += 1
        if kind.connects <= len(kind.connect_errors) and kind.connect_errors[kind.connects - 1]:
            raise kind.connect_errors[kind.connects - 1]
        return await super()._connect(role)

    def _prepare(self, record, key, envelope):
        if self.poison == "mapping" and "poison" in record.content:
            raise self.poison_error
        return super()._prepare(record, key, envelope)

    async def _write(self, batch):
        kind = type(self)
        kind.calls += 1
        if kind.write_error is not None:
            raise kind.write_error
        if self.poison == "writing" and any("poison" in one.body[0].content for one in batch):
            raise self.poison_error
        return await super()._write(batch)


@pytest.fixture
def odd(backends):
    kind = type("OddHere", (Odd,), {})
    backends.kinds["one"] = kind
    return kind


# -- waits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked", [86_400.0, 1e308, float("inf"), 10**400, Fraction(3_600), "7200", 4_000_000_000]
)
async def test_a_long_wait_that_a_backend_asks_for_is_kept_by_everything_for_it(backends, odd, asked):
    odd.write_error = RateLimitedError("slow down", retry_after=asked, provider="memory")
    backends.settings["one"] = {"max_batch": 1}
    async with backends.client() as memory:
        first = await memory.ingest(text="one", scope=Scope(user="u", session="s1"))
        await asyncio.sleep(0.15)
        for number in range(20):  # more of the same conversation, and others
            await memory.ingest(text=f"x{number}", scope=Scope(user="u", session=f"s{number % 3}"))
        await asyncio.sleep(0.25)
        assert odd.calls == 1
        assert (await first.progress()).state is IngestState.QUEUED
        assert "slow down" in (await first.progress()).problem


@pytest.mark.parametrize("asked", [float("nan"), -5, 0, "soon", None, object()])
async def test_a_wait_that_is_none_is_not_taken_at_its_word(backends, odd, asked):
    odd.write_error = RateLimitedError("slow down", retry_after=asked, provider="memory")
    async with backends.client() as memory:
        await memory.ingest(text="one", scope=ANN)
        await asyncio.sleep(0.3)
        assert odd.calls == 1
        odd.write_error = None
        assert await memory.flush(3)


async def test_a_turn_behind_one_that_waits_makes_no_busy_loop(tmp_path):
    outbox = Outbox(tmp_path / "outbox.sqlite", now=lambda: 1_000.0)
    for number in range(3):
        await outbox.put("one", MemoryRecord(id=f"r{number}", content="x"), lane="a")
    [head] = outbox.heads("one", 10)
    await outbox.sending([head])
    await outbox.unsent([head], wait=86_400)
    assert (outbox.heads("one", 10), outbox.next_due("one")) == ([], 86_400)
    outbox.close()


async def test_a_long_wait_lasts_through_a_restart(backends, odd):
    odd.write_error = RateLimitedError("slow down", retry_after=86_400, provider="memory")
    for _ in range(2):
        async with backends.client() as memory:
            if not odd.calls:
                await memory.ingest(text="one", scope=ANN)
            await asyncio.sleep(0.15)
    assert odd.calls == 1


# -- errors of any kind -------------------------------------------------------------------------


class VendorError(Exception):
    """Of some SDK; nobody has classified it."""


@pytest.mark.parametrize(
    "error", [ValueError("x"), VendorError("x"), TimeoutError(), OSError("x"), KeyError("x")]
)
async def test_a_connection_that_fails_oddly_is_tried_again(backends, odd, error):
    odd.connect_errors = (None, error, error)  # the app's own opens, that of the outbox does not
    async with backends.client() as memory:
        await memory.ingest(text="one", scope=ANN)
        assert await memory.flush(5)
    assert backends.texts() == ["one"]


@pytest.mark.parametrize("error", [KeyError("secret"), VendorError("secret"), RecursionError("secret")])
async def test_what_cannot_be_mapped_is_set_aside_at_once_and_named(backends, odd, error, caplog):
    odd.poison, odd.poison_error = "mapping", error
    async with backends.client() as memory:
        bad = await memory.ingest(text="poison", scope=ANN)
        for number in range(5):
            await memory.ingest(text=f"good {number}", scope=ANN)
        assert await memory.flush(5)
        progress = await bad.progress()
    assert len(backends.texts()) == 5
    assert progress.state is IngestState.SET_ASIDE
    assert type(error).__name__ in progress.problem
    assert bad.document_id in caplog.text
    assert "secret" not in caplog.text + progress.problem


@pytest.mark.parametrize("error", [ValueError("secret"), VendorError("secret")])
async def test_what_a_backend_chokes_on_is_set_aside_after_a_few_tries(
    backends, odd, error, caplog, monkeypatch
):
    monkeypatch.setattr("memxfer.client.delivery._FIRST_WAIT", 0.02)
    odd.poison, odd.poison_error = "writing", error
    async with backends.client() as memory:
        bad = await memory.ingest(text="poison", scope=ANN)
        lanes = [Scope(user="u", session=f"s{number}") for number in range(150)]
        for scope in lanes:
            await memory.ingest(text="good", scope=scope)
        assert await memory.flush(8)
        progress = await bad.progress()
    assert len(backends.texts()) == 150
    assert progress.state is IngestState.SET_ASIDE
    assert "tried 5 times" in progress.problem
    assert "secret" not in caplog.text + progress.problem


async def test_why_something_still_waits_can_be_asked(backends, odd):
    odd.write_error = AuthError("the key is refused", provider="memory", code="http_401")
    async with backends.client() as memory:
        handle = await memory.ingest(text="x", scope=ANN)
        await asyncio.sleep(0.1)
        progress = await handle.progress()
    assert progress.state is IngestState.QUEUED
    assert "the key is refused" in progress.problem


async def test_a_request_that_never_ends_is_in_doubt_and_holds_nobody_up(backends, odd, monkeypatch):
    monkeypatch.setattr("memxfer.client.delivery._LONGEST_CALL", 0.05)
    monkeypatch.setattr("memxfer.client.delivery._FIRST_WAIT", 0.02)
    gate = asyncio.Event()

    class Hanging(Odd):
        async def _write(self, batch):
            if any("hang" in one.body[0].content for one in batch) and not gate.is_set():
                await asyncio.sleep(60)
            return await super()._write(batch)

    backends.kinds["one"] = Hanging
    backends.settings["one"] = {"max_batch": 1}
    async with backends.client() as memory:
        hanging = [await memory.ingest(text=f"hang {n}", scope=ANN) for n in range(10)]
        await memory.ingest(text="good", scope=ANN)
        await asyncio.sleep(0.4)
        assert backends.texts() == ["good"]
        assert (await hanging[0].progress()).state is IngestState.SENDING
        gate.set()
        assert await memory.flush(5)
    assert len(backends.texts()) == 11


# -- rows ---------------------------------------------------------------------------------------

DAMAGES = {
    "truncated": "record = x'7b22'",
    "empty": "record = ''",
    "null": "record = NULL",
    "number": "record = 5",
    "not a record": "record = '[1, 2]'",
    "owner": """record = '{"id":"r0","content":"x","scope":{"user":5}}'""",
    "time": """record = '{"id":"r0","content":"x","created_at":"yesterday"}'""",
    "deep": "record = replace(hex(zeroblob(50000)), '00', '[')",
    "not utf-8": "record = x'ff', lane = CAST(x'ff' AS TEXT)",
    "document id": "document_id = x'ff00'",
    "due": "due = 'soon', noted = 'x', tries = 'many', failures = 'x', sent = 'x', record = NULL",
    "lists": "target_ids = '{', ingestion_id = x'00', record = 'x'",
    "connection": "provider = x'00'",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_row_is_set_aside_and_costs_no_other(backends, tmp_path, damage):
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    for number in range(4):
        await outbox.put("one", MemoryRecord(id=f"r{number}", content="x", scope=ANN), lane=f"l{number}")
    outbox.close()
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"UPDATE entry SET {damage} WHERE id = 1")
        file.commit()
    async with backends.client() as memory:
        assert await memory.flush(3)
    assert len(backends.texts()) == 3
    outbox = Outbox(path)
    assert outbox.count(EntryState.SET_ASIDE) == 1
    assert "damaged" in outbox.find(1).problem
    outbox.close()


async def test_odd_numbers_in_a_row_that_can_be_read_do_not_keep_it_from_arriving(backends, tmp_path):
    outbox = Outbox(tmp_path / "outbox.sqlite")
    await outbox.put("one", MemoryRecord(id="r", content="x", scope=ANN), lane="l")
    outbox.close()
    with closing(sqlite3.connect(tmp_path / "outbox.sqlite")) as file:
        file.execute("UPDATE entry SET due = 'soon', noted = 9e999, tries = 'x', sent = 'x'")
        file.commit()
    async with backends.client() as memory:
        assert await memory.flush(3)
    assert backends.texts() == ["x"]


async def test_an_outbox_of_the_first_form_is_taken_over(backends, tmp_path):
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    await outbox.put("one", MemoryRecord(id="r", content="x", scope=ANN), lane="l")
    outbox.close()
    with closing(sqlite3.connect(path)) as file:
        for column in ("noted", "sent", "failures", "digest"):
            file.execute(f"ALTER TABLE entry DROP COLUMN {column}")
        file.executescript("DROP TABLE meta; PRAGMA user_version = 1")
    async with backends.client() as memory:
        assert await memory.flush(3)
    assert backends.texts() == ["x"]


# -- the bound ----------------------------------------------------------------------------------


async def test_what_is_being_sent_is_not_dropped_and_what_waits_is_counted_right(backends, odd, tmp_path):
    gate = asyncio.Event()

    class Slow(Odd):
        async def _write(self, batch):
            await gate.wait()
            return await super()._write(batch)

    backends.kinds["one"] = Slow
    outbox = Outbox(tmp_path / "small.sqlite", most=2, when_full="drop_oldest")
    async with backends.client(outbox=outbox) as memory:
        chat = Scope(user="ann", session="chat")
        handles = [await memory.ingest(text="0", scope=chat)]
        await asyncio.sleep(0.1)  # it is being sent
        handles += [await memory.ingest(text=str(n), scope=chat) for n in range(1, 5)]
        assert outbox.waiting == 2
        assert outbox.count(EntryState.SET_ASIDE) == 3
        states = [(await handle.progress()).state for handle in handles]
        gate.set()
        assert await memory.flush(3)
        assert outbox.waiting == 0
        assert outbox.count(EntryState.DELIVERED) == 2
    assert states[0] is IngestState.SENDING
    assert states[4] is not IngestState.SET_ASIDE


async def test_where_all_of_it_is_being_sent_the_newest_is_kept_beside_it(tmp_path):
    outbox = Outbox(tmp_path / "small.sqlite", most=1, when_full="drop_oldest")
    await outbox.put("one", MemoryRecord(id="r0", content="x"), lane="a")
    entries = outbox.heads("one", 1)
    outbox.hold(entries)
    await outbox.put("one", MemoryRecord(id="r1", content="x"), lane="b")
    assert (outbox.waiting, outbox.count(EntryState.SET_ASIDE)) == (2, 0)
    await outbox.delivered(entries[0])
    outbox.let_go(entries)
    assert (outbox.waiting, outbox.emptied.is_set()) == (1, False)
    outbox.close()


async def test_many_at_once_drop_as_many_as_are_too_many(tmp_path):
    outbox = Outbox(tmp_path / "small.sqlite", most=10, when_full="drop_oldest")
    await asyncio.gather(
        *(outbox.put("one", MemoryRecord(id=f"r{n}", content="x"), lane=f"r{n}") for n in range(50))
    )
    for number in range(50, 60):
        await outbox.put("one", MemoryRecord(id=f"r{number}", content="x"), lane="l")
    assert outbox.waiting == len(outbox.heads("one", 100)) + 9
    assert outbox.waiting + outbox.count(EntryState.SET_ASIDE) == 60
    outbox.close()


# -- whose document -----------------------------------------------------------------------------


@pytest.mark.parametrize("client_key", [ClientKey.REJECT, ClientKey.DEDUPE, ClientKey.UNKNOWN])
@pytest.mark.parametrize("kind", [None, FaultKind.RATE_LIMITED, FaultKind.UNAVAILABLE, FaultKind.AUTH])
async def test_a_stranger_s_document_under_the_key_is_a_conflict_whatever_was_refused_before(
    backends, monkeypatch, client_key, kind
):
    monkeypatch.setattr("memxfer.client.delivery._FIRST_WAIT", 0.01)
    backends.settings["one"] = {"client_key": client_key}
    backends.faults["one"] = [Fault(kind, calls=(1,), retry_after=0.01)] if kind else []
    stranger = MemoryRecord(id="k", content="a stranger's", scope=Scope(user="bob"))
    async with backends.client() as memory:
        backends.store("one").insert(stranger, key="k")
        handle = await memory.ingest(text="mine", scope=ANN, document_id="k")
        assert await memory.flush(3)
        progress = await handle.progress()
    assert progress.state is IngestState.SET_ASIDE
    assert "another document" in progress.problem or "exists already" in progress.problem
    assert backends.texts() == ["a stranger's"]


async def test_a_refusal_after_a_lost_answer_does_not_forget_the_lost_answer(backends, monkeypatch):
    monkeypatch.setattr("memxfer.client.delivery._FIRST_WAIT", 0.01)
    backends.settings["one"] = {"client_key": ClientKey.APPEND}
    backends.faults["one"] = [
        Fault(FaultKind.AMBIGUOUS_AFTER, calls=(1,)),
        Fault(FaultKind.UNAVAILABLE, on="lookup", calls=(1,)),
    ]
    async with backends.client() as memory:
        await memory.ingest(text="once", scope=ANN)
        assert await memory.flush(3)
    assert backends.texts() == ["once"]


class Finishing(MemoryReferenceProvider):
    """Takes no keys; a look-up finds only what has been finished."""

    lookup_visibility = "after_task"
    hidden = True

    async def lookup(self, keys):
        return {} if type(self).hidden else await super().lookup(keys)


@pytest.mark.parametrize("visibility", ["after_task", float("inf"), float("nan"), 3600.0])
@pytest.mark.parametrize("client_key", [ClientKey.APPEND, ClientKey.NONE])
async def test_what_may_have_arrived_is_not_sent_again_for_not_being_found(
    backends, monkeypatch, visibility, client_key
):
    monkeypatch.setattr("memxfer.client.delivery._FIRST_WAIT", 0.01)
    kind = type("FinishingHere", (Finishing,), {"lookup_visibility": visibility})
    backends.kinds["one"] = kind
    backends.settings["one"] = {"client_key": client_key}
    backends.faults["one"] = [Fault(FaultKind.AMBIGUOUS_AFTER, calls=(1,))]
    async with backends.client() as memory:
        handle = await memory.ingest(text="once", scope=ANN)
        await asyncio.sleep(0.2)
        assert (await handle.progress()).state is IngestState.SENDING
        assert "may have arrived" in (await handle.progress()).problem or visibility == 3600.0
        assert backends.texts() == ["once"]
        if visibility == "after_task":
            kind.hidden = False
            assert await memory.flush(3)
            assert (await handle.progress()).state is IngestState.STORED
    assert backends.texts() == ["once"]


async def test_what_is_never_found_is_left_uncertain(backends, monkeypatch):
    monkeypatch.setattr("memxfer.client.delivery._FIRST_WAIT", 0.001)
    monkeypatch.setattr("memxfer.client.delivery._SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr("memxfer.client.delivery._MOST_QUESTIONS", 4)
    backends.kinds["one"] = type("FinishingHere", (Finishing,), {})
    backends.settings["one"] = {"client_key": ClientKey.NONE}
    backends.faults["one"] = [Fault(FaultKind.AMBIGUOUS_BEFORE, calls=(1,))]
    async with backends.client() as memory:
        handle = await memory.ingest(text="never", scope=ANN)
        assert await memory.flush(3)
        progress = await handle.progress()
    assert progress.state is IngestState.SET_ASIDE
    assert progress.problem.startswith("uncertain: it may have arrived")
    assert backends.texts() == []


async def test_after_a_crash_a_look_up_counts_only_once_it_must_have_seen_the_call(backends, tmp_path):
    now = [1_000.0]
    kind = type("FinishingHere", (Finishing,), {"lookup_visibility": 60.0})
    backends.kinds["one"] = kind
    backends.settings["one"] = {"client_key": ClientKey.NONE}
    outbox = Outbox(tmp_path / "outbox.sqlite", now=lambda: now[0])
    await outbox.put("one", MemoryRecord(id="r", content="once", scope=ANN), lane="r")
    await outbox.sending(outbox.heads("one", 1))
    outbox.close()

    now[0] -= 500  # the clock is set back while the process is down
    outbox = Outbox(tmp_path / "outbox.sqlite", now=lambda: now[0])
    async with backends.client(outbox=outbox) as memory:
        await asyncio.sleep(0.1)
        assert backends.texts() == []
        assert outbox.next_due("one") == 60
        now[0] += 61
        outbox._listener("one")
        assert await memory.flush(3)
    assert backends.texts() == ["once"]


# -- one at a time ------------------------------------------------------------------------------


async def test_an_app_s_documents_go_by_the_backend_s_call_for_one(backends):
    class Creating(MemoryReferenceProvider):
        created = 0

        async def create(self, document):
            type(self).created += 1
            [receipt] = await super()._write([document])
            return receipt

        async def _write(self, batch):
            raise AssertionError("the bulk path")

    backends.kinds["one"] = kind = type("CreatingHere", (Creating,), {})
    async with backends.client() as memory:
        for number in range(20):
            await memory.ingest(text=str(number), scope=Scope(user="u", session=f"s{number % 5}"))
        assert await memory.flush(5)
    async with backends.client(outbox=False) as memory:
        await memory.ingest(text="now", scope=ANN)
    assert (kind.created, len(backends.texts())) == (21, 21)


async def test_giving_up_an_ingest_loses_and_doubles_nothing(backends):
    async with backends.client() as memory:
        for ticks in range(8):
            calls = [
                asyncio.create_task(memory.ingest(text="x", scope=ANN, document_id=f"d{ticks}"))
                for _ in range(3)
            ]
            for _ in range(ticks):
                await asyncio.sleep(0)
            calls[0].cancel()
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert all(one.is_kept for one in done[1:])
        alone = asyncio.create_task(memory.ingest(text="y", scope=ANN, document_id="alone"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        alone.cancel()
        assert await memory.flush(3)
    assert sorted(backends.texts()) in (["x"] * 8, ["x"] * 8 + ["y"])


async def test_news_of_more_tries_are_limited(backends, odd, caplog):
    odd.write_error = AuthError("refused", provider="memory", code="http_401")
    async with backends.client() as memory:
        await memory.ingest(text="x", scope=ANN)
        await asyncio.sleep(0.1)
        memory._queue._deliveries._open["one"][1]._not_before = 0
        await memory._queue._outbox.put_back()
        await memory.ingest(text="y", scope=ANN)
        await asyncio.sleep(0.1)
    assert [one.levelname for one in caplog.records if "delivery failed" in one.message] == ["CRITICAL"]
