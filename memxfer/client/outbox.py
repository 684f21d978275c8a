"""A durable queue between an app and its memory: what was put in is on disk, whatever the backend does."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from memxfer.client.entries import Entry, EntryState, OutboxFullError, entry_of
from memxfer.errors import LedgerError
from memxfer.ledger import Change
from memxfer.ledger.committer import Committer, connect
from memxfer.ledger.schema import CONTAINER
from memxfer.models import MemoryRecord, encode_record, sanitise_text

__all__ = ["Outbox"]

_SCHEMA = f"""
{CONTAINER}
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY,
    provider TEXT NOT NULL,      -- the connection it is for, since it was put in
    lane TEXT NOT NULL,          -- entries of one lane go one after the other
    document_id TEXT NOT NULL,
    record BLOB,                 -- gone once it was delivered
    state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
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
_ENTRY = """
SELECT id, provider, lane, document_id, record, state, tries, due, ingestion_id, target_ids, problem
FROM entry WHERE id = ?
"""
_LONGEST_WAIT = 3600.0
"""Seconds. What is due later than that was due by a clock that has been set back since."""
_LINE = """
SELECT id, lane, due FROM entry
WHERE provider = ? AND state IN ('waiting', 'sending') AND id > ? ORDER BY id LIMIT ?
"""
_WINDOW = 500
_MOST_WINDOWS = 20
"""So much of the line is looked through for lanes that are free: 10,000 entries."""
_PURGE_EVERY = 1_000
_OPEN = "SELECT count(*) FROM entry WHERE state IN ('waiting', 'sending')"
_NEXT = "SELECT min(due) FROM entry WHERE provider = ? AND state IN ('waiting', 'sending')"
_NAMES = "SELECT DISTINCT provider FROM entry WHERE state IN ('waiting', 'sending')"
_DELIVERED = (
    "UPDATE entry SET state = 'delivered', record = NULL, ingestion_id = ?, target_ids = ? WHERE id = ?"
)
_FORMAT = 1


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
        _initialise(self.path)
        self._lock = FileLock(f"{self.path}.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise LedgerError(
                f"the outbox {self.path} is in use by another process; give each process a file of its own"
            ) from error
        self._committer = Committer(self.path, window=0.0)
        self._reader = connect(self.path, read_only=True)
        self._next_id = self._number("SELECT coalesce(max(id), 0) + 1 FROM entry")
        self._waiting = self._number(_OPEN)
        self._delivered = 0
        self._turns: dict[str, int] = {}
        self._arriving: dict[tuple[str, str], asyncio.Future[int]] = {}
        self.emptied = asyncio.Event()
        self._count(0)

    @property
    def waiting(self) -> int:
        """Entries that have not been delivered or set aside."""
        return self._waiting

    def close(self) -> None:
        """Make everything durable and close the file. Idempotent."""
        self._committer.close()
        self._reader.close()
        self._lock.release()

    # -- in -----------------------------------------------------------------------------------

    def next_turn(self, conversation: str) -> int:
        """Return the number of a conversation's next turn, from 1; the same numbers after a restart."""
        number = self._turns.get(conversation)
        if number is None:
            rows = self._rows("SELECT number FROM turn WHERE conversation = ?", _safe(conversation))
            number = rows[0][0] if rows else 0
            if len(self._turns) > 100_000:
                self._turns.clear()
        self._turns[conversation] = number + 1
        return number + 1

    async def put(self, provider: str, record: MemoryRecord, *, lane: str, turn: int | None = None) -> int:
        """Keep a record until it is delivered; return its number once it is on disk.

        The same `record.id` for the same provider again changes nothing.

        Raises:
            OutboxFullError: There is no room.
            LedgerError: The disk is full, or the file is damaged. Nothing was kept.
        """
        known = self._known(provider, record.id)
        if known is not None:
            return await known if isinstance(known, asyncio.Future) else known
        change = Change()
        if self._waiting >= self._most:
            self._make_room(change)
        number = self._next_id
        self._next_id += 1
        change.add(
            "INSERT INTO entry (id, provider, lane, document_id, record, state, at) "
            "VALUES (?, ?, ?, ?, ?, 'waiting', ?)",
            (number, provider, _safe(lane), record.id, encode_record(record), self._now()),
        )
        if turn is not None:
            change.add(
                "INSERT INTO turn VALUES (?, ?) ON CONFLICT (conversation) "
                "DO UPDATE SET number = max(number, excluded.number)",
                (_safe(lane), turn),
            )
        arriving: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._arriving[provider, record.id] = arriving
        committed = self.commit(change)
        committed.add_done_callback(partial(self._arrived, (provider, record.id), number, arriving))
        await asyncio.shield(committed)  # a caller who gives up changes nothing about what is on its way
        return number

    def _arrived(
        self,
        name: tuple[str, str],
        number: int,
        arriving: asyncio.Future[int],
        committed: asyncio.Future[None],
    ) -> None:
        del self._arriving[name]
        error = LedgerError("the outbox was closed") if committed.cancelled() else committed.exception()
        if error is None:
            self._count(1)
            arriving.set_result(number)
        else:
            arriving.set_exception(error)
            arriving.exception()  # whoever waits hears of it; nobody has to

    def _known(self, provider: str, document_id: str) -> int | asyncio.Future[int] | None:
        """Return the number of a document that is there already, or will be in a moment."""
        arriving = self._arriving.get((provider, document_id))
        if arriving is not None:
            return arriving
        rows = self._rows(
            "SELECT id FROM entry WHERE provider = ? AND document_id = ?", provider, document_id
        )
        return int(rows[0][0]) if rows else None

    def _make_room(self, change: Change) -> None:
        if self._when_full == "refuse":
            raise OutboxFullError(
                f"the outbox {self.path} holds {self._waiting} entries, as many as it may; "
                "the backend has not taken them yet",
                code="outbox_full",
            )
        change.add(
            "UPDATE entry SET state = 'set_aside', problem = 'dropped: the outbox was full' WHERE id = "
            "(SELECT min(id) FROM entry WHERE state = 'waiting')",
            (),
        )
        self._count(-1)

    # -- out ----------------------------------------------------------------------------------

    def heads(self, provider: str, limit: int, *, busy: Collection[str] = ()) -> list[Entry]:
        """Return the oldest open entry of each lane that is due, oldest first; none of a `busy` lane."""
        now = self._now()
        seen = set(busy)
        found: list[int] = []
        after = 0
        for _ in range(_MOST_WINDOWS):
            rows = self._rows(_LINE, provider, after, _WINDOW)
            for after, lane, due in rows:
                if lane not in seen:
                    seen.add(lane)
                    if due <= now or due > now + _LONGEST_WAIT:
                        found.append(after)
            if len(rows) < _WINDOW or len(found) >= limit:
                break
        return [entry for number in found[:limit] if (entry := self.find(number)) is not None]

    def next_due(self, provider: str) -> float | None:
        """Return in how many seconds the next entry is due; `None` when nothing waits."""
        [(due,)] = self._rows(_NEXT, provider)
        return None if due is None else min(max(0.0, due - self._now()), _LONGEST_WAIT)

    def providers(self) -> list[str]:
        """Return the connections for which entries wait."""
        return [name for (name,) in self._rows(_NAMES)]

    def find(self, number: int) -> Entry | None:
        """Return an entry, as long as it is known."""
        rows = self._rows(_ENTRY, number)
        return entry_of(rows[0]) if rows else None

    def count(self, state: EntryState) -> int:
        """Return how many entries are in a state."""
        return self._number("SELECT count(*) FROM entry WHERE state = ?", state)

    async def sending(self, entries: Sequence[Entry]) -> None:
        """Note that entries are about to be sent."""
        change = Change()
        change.add(
            "UPDATE entry SET state = 'sending', tries = tries + 1 WHERE id = ?",
            *((entry.id,) for entry in entries),
        )
        await self._commit(change)

    async def unsent(self, entries: Sequence[Entry], *, wait: float) -> None:
        """Note that entries were certainly not delivered, and are due again in `wait` seconds."""
        change = Change()
        due = self._now() + wait
        change.add(
            "UPDATE entry SET state = 'waiting', due = ? WHERE id = ?", *((due, one.id) for one in entries)
        )
        await self._commit(change)

    async def in_doubt(self, entries: Sequence[Entry], *, wait: float) -> None:
        """Note that entries may have been delivered, and are asked about in `wait` seconds."""
        change = Change()
        due = self._now() + wait
        change.add("UPDATE entry SET due = ? WHERE id = ?", *((due, one.id) for one in entries))
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
        self._count(-1)

    async def set_aside(self, entry: Entry, problem: str) -> None:
        """Note that an entry is not tried again by itself."""
        change = Change()
        change.add("UPDATE entry SET state = 'set_aside', problem = ? WHERE id = ?", (problem, entry.id))
        await self._commit(change)
        self._count(-1)

    async def put_back(self) -> int:
        """Try everything that was set aside again; return how much that is."""
        count = self.count(EntryState.SET_ASIDE)
        change = Change()
        change.add(
            "UPDATE entry SET state = 'waiting', tries = 0, due = 0, problem = NULL "
            "WHERE state = 'set_aside' AND record IS NOT NULL",
            (),
        )
        await self._commit(change)
        self._count(count)
        return count

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

    def _count(self, more: int) -> None:
        self._waiting += more
        if self._waiting:
            self.emptied.clear()
        else:
            self.emptied.set()

    async def _commit(self, change: Change) -> None:
        """Make a change durable; a file that could not be written once is tried anew the next time."""
        committer = self._committer
        try:
            await committer.submit(change)
        except LedgerError:
            if self._committer is committer:
                self._committer = Committer(self.path, window=0.0)
                await asyncio.to_thread(committer.close)
            raise

    def _number(self, statement: str, *values: object) -> int:
        return int(self._rows(statement, *values)[0][0])

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"the outbox {self.path} cannot be read ({error})") from error


def _safe(text: str) -> str:
    return sanitise_text(text)[0]


def _initialise(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"the folder of the outbox {path} cannot be made: {error.strerror}") from error
    with closing(connect(path)) as connection:
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _FORMAT):
                raise LedgerError(f"the outbox {path} was written by another version of memxfer")
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_FORMAT}; COMMIT;")
            path.chmod(0o600)
        except sqlite3.Error as error:
            raise LedgerError(f"the outbox {path} cannot be used: {error}") from error
