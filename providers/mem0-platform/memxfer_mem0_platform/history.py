"""What happened to all memories, read in bulk: a request for each hundred changes, not for each memory."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from memxfer.spi.answers import KeptAnswers
from memxfer_mem0_platform.client import EVENTS_PAGE, Mem0PlatformClient
from memxfer_mem0_platform.versions import last_text

__all__ = ["HistoryReader"]

_SCHEMA = (
    "CREATE TABLE events (id TEXT PRIMARY KEY, memory_id TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE INDEX by_memory ON events (memory_id)",
)


class HistoryReader:
    """Finds the history of memories.

    The whole of it is read once, before the first page of memories, into a temporary database that
    SQLite keeps on disk when it grows. A call that fails goes on, when it is repeated, from the page that
    failed. What the bulk does not have, or has older than the memory, is asked for by memory.

    Args:
        client: Where to ask.
    """

    def __init__(self, client: Mem0PlatformClient) -> None:
        self._client = client
        # An empty name is a private file of SQLite's own, deleted when it is closed.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in _SCHEMA:
            self._db.execute(statement)
        self._next_page: int | None = 1
        self._lock = asyncio.Lock()
        self._asking: KeptAnswers[list[Any]] = KeptAnswers()

    def close(self) -> None:
        """Forget everything. Idempotent."""
        self._db.close()

    async def of(self, rows: Sequence[Any]) -> list[list[Any]]:
        """Return what happened to each of these memories, in their order."""
        await self._load()
        known = [self._filed(row) for row in rows]
        missing = [name for row, events in zip(rows, known, strict=True) if not events and (name := _id(row))]
        asked = await self._asking.ask(missing, self._client.history)
        return [events or asked.get(_id(row) or "", []) for row, events in zip(rows, known, strict=True)]

    async def _load(self) -> None:
        async with self._lock:
            while self._next_page is not None:
                page = await self._client.events(self._next_page)
                if page is None:  # this service does not list them
                    self._next_page = None
                    return
                self._keep(page.rows)
                goes_on = bool(page.rows) and page.may_go_on(EVENTS_PAGE)
                self._next_page = self._next_page + 1 if goes_on else None

    def _keep(self, rows: Sequence[Any]) -> None:
        """File rows of history; one that comes again, as pages drift, is the same row."""
        found = [row for row in rows if isinstance(row, dict) and isinstance(row.get("memory_id"), str)]
        self._db.executemany(
            "INSERT OR IGNORE INTO events VALUES (?, ?, ?)",
            [(_name(row), row["memory_id"], msgspec.json.encode(row)) for row in found],
        )

    def _filed(self, row: Any) -> list[Any]:
        """Return what the bulk has of a memory; nothing where that does not end with the memory's text."""
        memory_id = _id(row)
        if memory_id is None:
            return []
        # newest first is how they come; the other way round, changes of one moment stay in order
        bodies = self._db.execute(
            "SELECT body FROM events WHERE memory_id = ? ORDER BY rowid DESC", (memory_id,)
        )
        events = [msgspec.json.decode(body) for (body,) in bodies]
        return events if events and last_text(events) == row.get("memory") else []


def _id(row: Any) -> str | None:
    found = row.get("id") if isinstance(row, dict) else None
    return found if isinstance(found, str) and found else None


def _name(row: dict[str, Any]) -> str:
    return _id(row) or msgspec.json.encode(row).decode()
