"""No turn takes the place of another one: not between workers, lost files, owners or copies of a file."""

import asyncio
import shutil

import pytest

from memxfer.client import IngestState, MemoryClient, Outbox, turn_id
from memxfer.client.turns import Turns
from memxfer.errors import LedgerError, RecordError, UnavailableError
from memxfer.models import Scope
from memxfer.spi import ClientKey
from memxfer.testing import Fault, FaultKind
from tests.unit.client.conftest import ANN

pytestmark = pytest.mark.anyio
CHAT = Scope(user="ann", session="chat")


def said(text, scope=CHAT, **more):
    return {"messages": [{"role": "user", "content": text}], "scope": scope, **more}


@pytest.mark.parametrize("client_key", [ClientKey.UPSERT, ClientKey.DEDUPE, ClientKey.REJECT])
@pytest.mark.parametrize("kept", [True, False], ids=["outbox", "no outbox"])
async def test_two_workers_of_one_conversation_lose_nothing(backends, tmp_path, client_key, kept):
    backends.settings["one"] = {"client_key": client_key}
    files = [tmp_path / "a.sqlite", tmp_path / "b.sqlite"] if kept else [None, None]
    workers = [MemoryClient({"one": backends.factory("one")}, outbox=file) for file in files]
    async with workers[0], workers[1]:
        handles = [await workers[number % 2].ingest(**said(f"turn {number}")) for number in range(10)]
        for worker in workers:
            assert await worker.flush(5)
        assert {(await handle.progress()).state for handle in handles} == {IngestState.STORED}
    assert sorted(backends.texts()) == [f"User: turn {number}" for number in range(10)]


async def test_a_lost_file_loses_no_turn_and_a_copied_one_neither(backends, tmp_path):
    path = tmp_path / "outbox.sqlite"
    texts = []
    for name in ("first", "after the loss", "restored from a copy"):
        if name == "after the loss":
            shutil.copy(path, tmp_path / "backup.sqlite")
            path.unlink()
        elif texts[1:]:
            path.unlink()
            shutil.copy(tmp_path / "backup.sqlite", path)
        async with backends.client(outbox=path) as memory:
            for number in range(3):
                assert (await memory.ingest(**said(f"{name} {number}"))).is_kept
                texts.append(f"User: {name} {number}")
            assert await memory.flush(5)
    assert sorted(backends.texts()) == sorted(texts)


OWNERS = [
    Scope(user="ann", session="1"),
    Scope(user="bob", session="1"),
    Scope(agent="ann", session="1"),
    Scope(user="ann", tenant="acme", session="1"),
    Scope(user="ann", session="1", extra={"org": "x"}),
    Scope(session="1"),
    Scope(user="ann|1", session=""),
    Scope(user="\ud800", session="1"),
]


async def test_owners_with_sessions_of_one_name_do_not_share_turns(backends):
    async with backends.client() as memory:
        handles = [await memory.ingest(**said(f"{n}", scope)) for n, scope in enumerate(OWNERS)]
        assert await memory.flush(5)
    assert len({handle.document_id for handle in handles}) == len(OWNERS)
    assert len(backends.texts()) == len(OWNERS)


def test_counted_ids_tell_neither_owner_nor_clock_and_are_plain():
    turn = Turns("mark").next(Scope(user="ann@example.org", session="a b/ü"))
    assert turn.id == f"turn_a%20b%2F%C3%BC_{turn.id.split('_')[2]}_1"
    assert turn.id.isascii()
    assert "example" not in turn.id
    assert turn == Turns("mark").next(Scope(user="ann@example.org", session="a b/ü"))
    assert turn != Turns("other").next(Scope(user="ann@example.org", session="a b/ü"))
    assert turn_id("a b", 3) == "turn_a%20b_3"


@pytest.mark.parametrize("is_stored", [True, False])
def test_more_conversations_than_are_remembered_get_no_id_twice(monkeypatch, is_stored):
    monkeypatch.setattr("memxfer.client.turns._MOST_REMEMBERED", 5)
    file = {}
    turns = Turns("mark", (lambda name: file.get(name, 0)) if is_stored else None)
    ids = []
    for number in range(60):
        turn = turns.next(Scope(session=str(number % 12)))
        file[turn.conversation] = turn.number
        ids.append(turn.id)
    assert len(set(ids)) == 60


# -- ids of the app's own -----------------------------------------------------------------------

OTHERS = {
    "text": {"text": "other"},
    "owner": {"text": "x", "scope": Scope(user="bob")},
    "metadata": {"text": "x", "metadata": {"a": 1}},
    "kind": {"text": "x", "kind": "fact"},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("is_delivered", [True, False])
async def test_the_same_id_with_something_else_is_told(backends, caplog, other, is_delivered):
    backends.faults["one"] = [] if is_delivered else [Fault(FaultKind.UNAVAILABLE)]
    async with backends.client() as memory:
        first = await memory.ingest(text="x", scope=ANN, document_id="d")
        assert not is_delivered or await memory.flush(5)
        handle = await memory.ingest(**{"scope": ANN, "document_id": "d", **other})
        progress = await handle.progress()
    assert (first.is_kept, handle.is_kept, progress.state) == (True, False, IngestState.NOT_KEPT)
    assert "another content or owner" in progress.problem
    assert "is not kept" in caplog.text


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_the_same_id_with_something_else_is_raised_without_an_outbox(backends, other):
    async with backends.client(outbox=False) as memory:
        await memory.ingest(text="x", scope=ANN, document_id="d")
        with pytest.raises(RecordError, match="another content or owner") as caught:
            await memory.ingest(**{"scope": ANN, "document_id": "d", **other})
    assert caught.value.code == "conflict"
    assert backends.texts() == ["x"]


@pytest.mark.parametrize("outbox", [True, False])
@pytest.mark.parametrize("client_key", [ClientKey.UPSERT, ClientKey.DEDUPE, ClientKey.REJECT])
async def test_the_same_said_again_later_is_a_repeat(backends, clock, outbox, client_key):
    backends.settings["one"] = {"client_key": client_key}
    async with backends.client(outbox=outbox, clock=clock) as memory:
        for _ in range(3):
            handle = await memory.ingest(**said("tea", turn=7))
            assert handle.is_kept
            assert handle.document_id == "turn_chat_7"
            clock.advance(3600)
        assert await memory.flush(5)
    assert backends.texts() == ["User: tea"]


async def test_two_at_once_of_one_id_and_not_the_same_are_one_kept_and_one_told(backends):
    async with backends.client() as memory:
        handles = await asyncio.gather(
            *(memory.ingest(text=f"text {number % 2}", scope=ANN, document_id="d") for number in range(6))
        )
        assert await memory.flush(5)
    assert [handle.is_kept for handle in handles] == [True, False] * 3
    assert backends.texts() == ["text 0"]


async def test_what_was_certainly_not_stored_can_be_said_better(backends):
    backends.settings["one"] = {"content_bytes": 5}
    backends.faults["one"] = [Fault(FaultKind.UNAVAILABLE, calls=(1,))]
    async with backends.client(outbox=False) as memory:
        with pytest.raises(RecordError):
            await memory.ingest(text="too long", scope=ANN, document_id="d")
        with pytest.raises(UnavailableError):
            await memory.ingest(text="one", scope=ANN, document_id="d")
        await memory.ingest(text="two", scope=ANN, document_id="d")
    assert backends.texts() == ["two"]


async def test_where_turns_cannot_be_counted_the_app_goes_on(backends, monkeypatch, caplog):
    def broken(self, scope):
        raise LedgerError("unreadable")

    monkeypatch.setattr(Outbox, "next_turn", broken)
    async with backends.client() as memory:
        handle = await memory.ingest(**said("x"))
        assert handle.is_kept
        assert await memory.flush(5)
    assert "turns cannot be counted" in caplog.text
