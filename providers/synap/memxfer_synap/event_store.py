"""Which webhook events have been dealt with, and those that wait for somebody to look: one SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from enum import StrEnum
from pathlib import Path

__all__ = ["Claim", "EventStore"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    event_id TEXT PRIMARY KEY, is_done INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_at ON seen (at);
CREATE TABLE IF NOT EXISTS kept (
    number INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
"""


class Claim(StrEnum):
    """What became of the wish to deal with an event."""

    MINE = "mine"
    """Nobody else deals with it until it is settled."""
    DONE = "done"
    """It has been dealt with before."""
    BUSY = "busy"
    """Another process is at it."""


class EventStore:
    """Remembers event ids for as long as their events could come again; may be used by several processes.

    Args:
        path: The file; made with its folder.
        remember: Seconds that an id is remembered.
        claimed: Seconds after which a process that claimed an event and never settled it is taken for dead.
        most_seen: Most ids; beyond it the oldest go.
        most_kept: Most events kept; beyond it the oldest go.

    Raises:
        OSError, sqlite3.Error: The file cannot be used; also from every method.
    """

    def __init__(
        self,
        path: Path,
        *,
        remember: float,
        claimed: float = 60.0,
        most_seen: int = 100_000,
        most_kept: int = 1_000,
    ) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remember, self._claimed = remember, claimed
        self._most_seen, self._most_kept = most_seen, most_kept
        self._lock = threading.Lock()
        # autocommit: each transaction below begins and ends by itself
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
        try:
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._db.close()

    def claim(self, event_id: str, at: float) -> Claim:
        """Try to be the one that deals with an event.

        Args:
            event_id: Its id.
            at: The time, epoch seconds.
        """
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            row = self._db.execute("SELECT is_done, at FROM seen WHERE event_id = ?", (event_id,)).fetchone()
            if row is not None and row[0]:
                return Claim.DONE
            if row is not None and abs(at - row[1]) < self._claimed:
                return Claim.BUSY
            self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, 0, ?)", (event_id, at))
            return Claim.MINE

    def release(self, event_id: str) -> None:
        """Give an event back that could not be dealt with: it counts as new."""
        with self._lock, self._db:
            self._db.execute("DELETE FROM seen WHERE event_id = ? AND is_done = 0", (event_id,))

    def settle(self, event_id: str, at: float, *, keep: bytes | None = None) -> None:
        """Note that an event has been dealt with, and keep its body where somebody should look at it."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, 1, ?)", (event_id, at))
            if keep is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO kept (event_id, body) VALUES (?, ?)", (event_id, keep)
                )
            self._bound(at)

    def _bound(self, at: float) -> None:
        self._db.execute("DELETE FROM seen WHERE at < ?", (at - self._remember,))
        for table, order, most in (("seen", "at", self._most_seen), ("kept", "number", self._most_kept)):
            (count,) = self._db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()  # noqa: S608 - constants
            if count > most:
                self._db.execute(
                    f"DELETE FROM {table} WHERE event_id IN "  # noqa: S608 - constants
                    f"(SELECT event_id FROM {table} ORDER BY {order} LIMIT ?)",
                    (count - most,),
                )

    def kept(self) -> list[bytes]:
        """Return the bodies of the events that are kept, oldest first."""
        with self._lock:
            return [body for (body,) in self._db.execute("SELECT body FROM kept ORDER BY number")]
