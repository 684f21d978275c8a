"""A durable queue between an app and its memory: what was put in is on disk, whatever the backend does."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from memxfer.client.entries import (
    COLUMNS,
    ClientClosedError,
    Entry,
    EntryState,
    OutboxFullError,
    entry_of,
    seconds_of,
)
from memxfer.client.turns import Turn, Turns, new_mark
from memxfer.errors import LedgerError, RecordError
from memxfer.ledger import Change
from memxfer.ledger.committer import Committer, connect
from memxfer.ledger.schema import CONTAINER
from memxfer.models import MemoryRecord, Scope, content_hash, encode_record, sanitise_text

__all__ = ["Outbox"]

_log = logging.getLogger("memxfer.client")

_SCHEMA = f"""
{CONTAINER}
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY,
    provider TEXT NOT NULL,      -- the connection it is for, since it was put in
    lane TEXT NOT NULL,          -- entries of one lane go one after the other
    document_id TEXT NOT NULL,
    record BLOB,                 -- gone once it was delivered
    state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,    -- calls that may have stored it
    due REAL NOT NULL DEFAULT 0, -- epoch seconds before which it is not tried again
    ingestion_id TEXT, target_ids TEXT, problem TEXT, at REAL NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS entry_document ON entry (provider, document_id);
CREATE INDEX IF NOT EXISTS entry_open ON entry (provider, id, lane, due)
    WHERE state IN ('waiting', 'sending');
CREATE INDEX IF NOT EXISTS entry_ingestion ON entry (ingestion_id) WHERE ingestion_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS turn (conversation TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS count (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
"""
_SECOND_FORM = """
-- epoch seconds when `due` was set
ALTER TABLE entry ADD COLUMN noted REAL NOT NULL DEFAULT 0;
-- epoch seconds of the last call that may have stored it
ALTER TABLE entry ADD COLUMN sent REAL;
-- tries in a row that told nothing
ALTER TABLE entry ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
-- tells its content from another's
ALTER TABLE entry ADD COLUMN digest BLOB;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_ENTRY = f"SELECT {COLUMNS} FROM entry WHERE id = ?"  # noqa: S608 - a constant
_LINE = """
SELECT id, lane, due, noted FROM entry
WHERE provider = ? AND state IN ('waiting', 'sending') AND id > ? ORDER BY id LIMIT ?
"""
_WINDOW = 500
_MOST_WINDOWS = 20
"""So much of the line is looked through for lanes that are free: 10,000 entries."""
_PURGE_EVERY = 1_000
_OPEN = "SELECT id FROM entry WHERE state IN ('waiting', 'sending') ORDER BY id"
_NAMES = "SELECT DISTINCT provider FROM entry WHERE state IN ('waiting', 'sending')"
_UNREADABLE = """
UPDATE entry SET state = 'set_aside', problem = 'the row is damaged: it names no connection'
WHERE state IN ('waiting', 'sending') AND typeof(provider) <> 'text'
"""
_DELIVERED = (
    "UPDATE entry SET state = 'delivered', record = NULL, problem = NULL, ingestion_id = ?, target_ids = ? "
    "WHERE id = ?"
)
_FORMAT = 2


class Outbox:
    """A queue in one SQLite file, for one process at a time.

    Args:
        path: The file; made with its folder.
        most: Most entries that may wait.
        when_full: `refuse` raises `OutboxFullError`; `drop_oldest` sets the oldest waiting entry aside.
        keep: Seconds that delivered entries stay known, for late news of them.
        now: Epoch seconds.

    Attributes:
        emptied: Set while nothing waits.

    Raises:
        LedgerError: The file cannot be used.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        most: int = 100_000,
        when_full: Literal["refuse", "drop_oldest"] = "refuse",
        keep: float = 7 * 24 * 3600,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self._most, self._when_full, self._keep, self._now = most, when_full, keep, now
        self._process = os.getpid()
        self._is_closed = False
        _make_folder(self.path)
        self._lock = FileLock(f"{self.path}.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise LedgerError(
                f"the outbox {self.path} is in use by another process; give each process a file of its own"
            ) from error
        except OSError as error:
            raise LedgerError(f"the outbox {self.path} cannot be locked: {error.strerror}") from error
        try:
            self._turns = Turns(_initialise(self.path), self._last_turn)
            self._committer = _committer(self.path)
            self._reader = connect(self.path, read_only=True, what="outbox")
        except BaseException:
            self._lock.release()
            raise
        self._reader.text_factory = _text  # a damaged text must not hide the rows around it
        self._next_id = self._number("SELECT coalesce(max(id), 0) + 1 FROM entry")
        self._open = dict.fromkeys(number for (number,) in self._rows(_OPEN))
        self._held: set[int] = set()
        self._dropping: set[int] = set()
        self._delivered = 0
        self._arriving: dict[tuple[str, str], tuple[bytes, asyncio.Future[int]]] = {}
        self._listener: Callable[[str], None] | None = None
        self.emptied = asyncio.Event()
        self._tell_if_empty()

    @property
    def waiting(self) -> int:
        """Entries that have not been delivered or set aside."""
        return len(self._open)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Have `listener` called with the name of a connection whenever something waits anew for it."""
        self._listener = listener

    def close(self) -> None:
        """Make everything durable and close the file. Idempotent; nothing in a forked process."""
        if self._is_closed or os.getpid() != self._process:
            return
        self._is_closed = True
        self._committer.close()
        self._reader.close()
        self._lock.release()

    # -- in -----------------------------------------------------------------------------------

    def next_turn(self, scope: Scope) -> Turn:
        """Return the next turn of a scope's session, from 1; the numbers go on after a restart.

        Raises:
            LedgerError: The file cannot be read.
        """
        return self._turns.next(scope)

    def _last_turn(self, conversation: str) -> int:
        rows = self._rows("SELECT number FROM turn WHERE conversation = ?", conversation)
        return int(seconds_of(rows[0][0])) if rows else 0

    async def put(
        self,
        provider: str,
        record: MemoryRecord,
        *,
        lane: str,
        turn: Turn | None = None,
        digest: bytes | None = None,
    ) -> int:
        """Keep a record until it is delivered; return its number once it is on disk.

        The same `record.id` for the same provider again changes nothing, as long as it says the same.

        Args:
            provider: The connection it is for.
            record: The record; its id is the document's.
            lane: Entries of one lane go one after the other.
            turn: The turn that its id counts.
            digest: Tells its content from another's; default: of all of the record.

        Raises:
            RecordError: The id was given to something else before (`code="conflict"`).
            OutboxFullError: There is no room.
            LedgerError: The disk is full, or the file is damaged. Nothing was kept.
        """
        digest = digest or content_hash(record)
        arriving = self._arriving.get((provider, record.id))
        if arriving is not None:
            self._check_same(record.id, arriving[0], digest)
            return await asyncio.shield(arriving[1])
        known = self._rows(
            "SELECT id, digest FROM entry WHERE provider = ? AND document_id = ?", provider, record.id
        )
        if known:
            self._check_same(record.id, known[0][1], digest)
            return int(known[0][0])
        change = Change()
        dropped = self._make_room(change)
        number = self._next_id
        self._next_id += 1
        change.add(
            "INSERT INTO entry (id, provider, lane, document_id, record, state, at, digest) "
            "VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?)",
            (number, provider, _safe(lane), record.id, encode_record(record), self._now(), digest),
        )
        if turn is not None:
            change.add(
                "INSERT INTO turn VALUES (?, ?) ON CONFLICT (conversation) "
                "DO UPDATE SET number = max(number, excluded.number)",
                (turn.conversation, turn.number),
            )
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._arriving[provider, record.id] = digest, future
        committed = self.commit(change)
        committed.add_done_callback(partial(self._arrived, (provider, record.id), number, dropped))
        # A caller who gives up changes nothing about what is on its way.
        return await asyncio.shield(future)

    @staticmethod
    def _check_same(document_id: str, known: object, digest: bytes) -> None:
        if isinstance(known, bytes) and known != digest:
            raise RecordError(
                f"document id {document_id} was given to another content or owner before; "
                "give each its own id, or let the client count the turns",
                operation="ingest",
                code="conflict",
            )

    def _arrived(
        self, name: tuple[str, str], number: int, dropped: int | None, committed: asyncio.Future[None]
    ) -> None:
        _, future = self._arriving.pop(name)
        if dropped is not None:
            self._dropping.discard(dropped)
        error = ClientClosedError("the outbox was closed") if committed.cancelled() else committed.exception()
        if error is not None:
            future.set_exception(error)
            future.exception()  # whoever waits hears of it; nobody has to
            return
        if dropped is not None:
            self._ended(dropped)
            _log.warning("entry %d is set aside: the outbox %s was full", dropped, self.path)
        self._open[number] = None
        self.emptied.clear()
        future.set_result(number)
        if self._listener is not None:
            self._listener(name[0])

    def _make_room(self, change: Change) -> int | None:
        """Return the entry that has to go for another one; what is under way never does."""
        if len(self._open) + len(self._arriving) - len(self._dropping) < self._most:
            return None
        if self._when_full == "refuse":
            raise OutboxFullError(
                f"the outbox {self.path} holds {self.waiting} entries, as many as it may; "
                "the backend has not taken them yet",
                code="outbox_full",
            )
        oldest = next((one for one in self._open if one not in self._held | self._dropping), None)
        if oldest is not None:
            self._dropping.add(oldest)
            change.add(
                "UPDATE entry SET state = 'set_aside', problem = 'dropped: the outbox was full' WHERE id = ?",
                (oldest,),
            )
        return oldest

    # -- out ----------------------------------------------------------------------------------

    def heads(self, provider: str, limit: int, *, busy: Collection[str] = ()) -> list[Entry]:
        """Return the oldest open entry of each lane that is due, oldest first; none of a `busy` lane."""
        found: list[int] = []
        for number, wait in self._line(provider, busy):
            if wait <= 0:
                found.append(number)
                if len(found) >= limit:
                    break
        return [entry for number in found if (entry := self.find(number)) is not None]

    def next_due(self, provider: str) -> float | None:
        """Return in how many seconds an entry that is not behind another is due; `None`: nothing waits."""
        return min((wait for _, wait in self._line(provider, ())), default=None)

    def _line(self, provider: str, busy: Collection[str]) -> Iterator[tuple[int, float]]:
        """Give the oldest open entry of each lane, and the seconds until it is due."""
        now = self._now()
        seen = set(busy)
        after = 0
        for _ in range(_MOST_WINDOWS):
            rows = self._rows(_LINE, provider, after, _WINDOW)
            for after, lane, due, noted in rows:
                # A row may hold what no entry of ours does: it is set aside once it is its turn.
                if str(lane) not in seen and after not in self._dropping:
                    seen.add(str(lane))
                    # Noted by a clock that has been set back since: nobody knows how much of it is over.
                    is_over = seconds_of(noted) > now
                    yield after, 0.0 if is_over else max(0.0, seconds_of(due) - now)
            if len(rows) < _WINDOW:
                return

    def hold(self, entries: Iterable[Entry]) -> None:
        """Note that entries are under way: none of them is dropped to make room."""
        self._held.update(entry.id for entry in entries)

    def let_go(self, entries: Iterable[Entry]) -> None:
        """Note that entries are not under way any more."""
        self._held.difference_update(entry.id for entry in entries)

    def providers(self) -> list[str]:
        """Return the connections for which entries wait."""
        return [str(name) for (name,) in self._rows(_NAMES)]

    def find(self, number: int) -> Entry | None:
        """Return an entry, as long as it is known."""
        rows = self._rows(_ENTRY, number)
        return entry_of(rows[0]) if rows else None

    def count(self, state: EntryState) -> int:
        """Return how many entries are in a state."""
        return self._number("SELECT count(*) FROM entry WHERE state = ?", state)

    def age(self, entry: Entry) -> float:
        """Return the seconds since the last call that may have stored an entry; 0 where that is not known."""
        return 0.0 if entry.sent is None else max(0.0, self._now() - entry.sent)

    async def sending(self, entries: Sequence[Entry]) -> list[Entry]:
        """Note that entries are about to be sent; return them as they are then."""
        now = self._now()
        change = Change()
        change.add(
            "UPDATE entry SET state = 'sending', tries = tries + 1, sent = ? WHERE id = ?",
            *((now, entry.id) for entry in entries),
        )
        await self._commit(change)
        return [replace(one, state=EntryState.SENDING, tries=one.tries + 1, sent=now) for one in entries]

    async def unsent(self, entries: Sequence[Entry], *, wait: float, problem: str | None = None) -> None:
        """Take a try back: entries were certainly not stored by it, and are due again in `wait` seconds.

        Args:
            entries: As they were before `sending`: what earlier tries left open stays open.
            wait: Seconds.
            problem: What was said.
        """
        now = self._now()
        change = Change()
        change.add(
            "UPDATE entry SET state = ?, tries = ?, sent = ?, due = ?, noted = ?, problem = ? WHERE id = ?",
            *((one.state, one.tries, one.sent, now + wait, now, _said(problem), one.id) for one in entries),
        )
        await self._commit(change)

    async def postpone(
        self, entries: Sequence[Entry], *, wait: float, problem: str | None = None, is_failure: bool = False
    ) -> None:
        """Leave entries as they are, and due again in `wait` seconds.

        Args:
            entries: What is postponed.
            wait: Seconds.
            problem: What was said.
            is_failure: It is a try that told nothing, and counts in `Entry.failures`.
        """
        now = self._now()
        change = Change()
        change.add(
            "UPDATE entry SET due = ?, noted = ?, problem = ?, failures = failures + ?, "
            "sent = CASE WHEN state = 'sending' THEN min(coalesce(sent, ?), ?) END WHERE id = ?",
            *((now + wait, now, _said(problem), int(is_failure), now, now, one.id) for one in entries),
        )
        await self._commit(change)

    async def delivered(
        self, entry: Entry, *, ingestion_id: str | None = None, target_ids: Sequence[str] = ()
    ) -> None:
        """Note that the backend has an entry."""
        change = Change()
        change.add(
            _DELIVERED,
            (ingestion_id, json.dumps(list(target_ids)) if target_ids else None, entry.id),
        )
        self._delivered += 1
        if self._delivered % _PURGE_EVERY == 0:
            old = self._now() - self._keep
            change.add("DELETE FROM entry WHERE state = 'delivered' AND at < ?", (old,))
        await self._commit(change)
        self._ended(entry.id)

    async def set_aside(self, entry: Entry, problem: str) -> None:
        """Note that an entry is not tried again by itself."""
        change = Change()
        change.add(
            "UPDATE entry SET state = 'set_aside', problem = ? WHERE id = ?", (_said(problem), entry.id)
        )
        await self._commit(change)
        self._ended(entry.id)

    async def put_back(self) -> int:
        """Try everything that was set aside again; return how much that is.

        This sends again what may have arrived before: look there first, where the backend takes no ids.
        """
        rows = self._rows(
            "SELECT id, provider FROM entry WHERE state = 'set_aside' AND record IS NOT NULL ORDER BY id"
        )
        change = Change()
        change.add(
            "UPDATE entry SET state = 'waiting', failures = 0, due = 0, problem = NULL WHERE id = ?",
            *((number,) for number, _ in rows),
        )
        await self._commit(change)
        self._open = dict.fromkeys(sorted({*self._open, *(number for number, _ in rows)}))
        self._tell_if_empty()
        if self._listener is not None:
            for name in {str(name) for _, name in rows}:
                self._listener(name)
        return len(rows)

    async def failed(self, ingestion_id: str, problem: str) -> bool:
        """Note that the backend could not process what it had taken; `False` when nobody knows it."""
        if not self._rows("SELECT 1 FROM entry WHERE ingestion_id = ?", ingestion_id):
            return False
        change = Change()
        change.add(
            "UPDATE entry SET state = 'failed', problem = ? WHERE ingestion_id = ?", (problem, ingestion_id)
        )
        await self._commit(change)
        return True

    # -- what has to be there first (`ContainerStore`) --------------------------------------

    def read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._rows(statement, *values)

    def commit(self, change: Change) -> asyncio.Future[None]:
        """Queue a change; the future is done once it is durable."""
        return asyncio.ensure_future(self._commit(change))

    def _ended(self, number: int) -> None:
        self._open.pop(number, None)
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        if self._open:
            self.emptied.clear()
        else:
            self.emptied.set()

    async def _commit(self, change: Change) -> None:
        """Make a change durable; a file that could not be written once is tried anew the next time."""
        self._check_usable()
        committer = self._committer
        try:
            await committer.submit(change)
        except LedgerError:
            if self._committer is committer and not self._is_closed:
                self._committer = _committer(self.path)
                await asyncio.to_thread(committer.close)
            raise

    def _number(self, statement: str, *values: object) -> int:
        return int(self._rows(statement, *values)[0][0])

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        self._check_usable()
        try:
            return self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"the outbox {self.path} cannot be read ({error})") from error

    def _check_usable(self) -> None:
        if self._is_closed:
            raise ClientClosedError(f"the outbox {self.path} is closed; open it again")
        if os.getpid() != self._process:
            raise ClientClosedError(
                f"the outbox {self.path} was opened by process {self._process}, before a fork; "
                "give each process a file of its own, opened after the fork"
            )


def _committer(path: Path) -> Committer:
    return Committer(
        path,
        window=0.0,
        what="outbox",
        remedy="free some space or fix the folder: documents are not kept until then; those in it already "
        "are not lost",
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _said(problem: str | None) -> str | None:
    return None if problem is None else _safe(problem)[:2_000]


def _safe(text: str) -> str:
    return sanitise_text(text)[0]


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"the folder of the outbox {path} cannot be made: {error.strerror}") from error


def _initialise(path: Path) -> str:
    """Make the tables; return the file's mark."""
    with closing(connect(path, what="outbox")) as connection:
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > _FORMAT:
                raise LedgerError(f"the outbox {path} was written by a later version of memxfer")
            more = _SECOND_FORM if version < _FORMAT else ""
            connection.executescript(f"BEGIN; {_SCHEMA} {more} PRAGMA user_version = {_FORMAT}; COMMIT;")
            path.chmod(0o600)
            connection.execute(_UNREADABLE)
            return _mark(connection, path)
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"the outbox {path} cannot be used: {error}") from error


def _mark(connection: sqlite3.Connection, path: Path) -> str:
    """Return what no other outbox has; a copy of a file is another outbox, and gets another one."""
    status = path.stat()
    home = f"{status.st_dev}:{status.st_ino}"
    known = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    if known.get("home") == home and known.get("mark"):
        return str(known["mark"])
    mark = new_mark()
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('home', ?), ('mark', ?)", (home, mark))
    return mark
