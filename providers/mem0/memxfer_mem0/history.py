"""Mem0's history database: earlier texts of every memory, in SQLite.

The table has no index on `memory_id`, so asking it memory by memory scans it each time (mem0ai 2.2.1:
about 200 memories a second on 23,000 rows). It is read once, in bulk, into a sorted list of
(memory, rowid) in a temporary file; a page then costs one join. New rows are picked up as they come.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memxfer.spi import ConfigError

__all__ = ["Event", "HistoryReader", "HistoryWriter"]

_COLUMNS = ("old_memory", "new_memory", "event", "created_at", "updated_at", "actor_id", "role")

# The table of mem0.memory.storage (2.2.1), so that Mem0 has nothing to migrate.
_TABLE = """
CREATE TABLE IF NOT EXISTS history (
    id           TEXT PRIMARY KEY,
    memory_id    TEXT,
    old_memory   TEXT,
    new_memory   TEXT,
    event        TEXT,
    created_at   DATETIME,
    updated_at   DATETIME,
    is_deleted   INTEGER,
    actor_id     TEXT,
    role         TEXT
)
"""
_INSERT = (
    "INSERT OR IGNORE INTO history (id, memory_id, old_memory, new_memory, event, created_at, updated_at, "
    "is_deleted, actor_id, role) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_DELETED = (
    "SELECT count(*) FROM (SELECT event, max(rowid) FROM history WHERE memory_id IS NOT NULL "
    "GROUP BY memory_id) WHERE event = 'DELETE'"
)


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the history, the id of its memory aside.

    Attributes:
        old: The text before.
        new: The text after; `None` after a deletion.
        event: `ADD`, `UPDATE` or `DELETE`.
        created_at: When the memory was created, as Mem0 wrote it: the same in all its rows.
        updated_at: When this happened; empty in rows of batched adds.
        actor_id: Name of the speaker.
        role: Role of the speaker.
    """

    old: str | None
    new: str | None
    event: str | None
    created_at: str | None = None
    updated_at: str | None = None
    actor_id: str | None = None
    role: str | None = None


class HistoryReader:
    """Reads a history database and never changes it.

    Args:
        path: The SQLite file; it must exist.

    Raises:
        ConfigError: It is not a history database.
    """

    def __init__(self, path: Path) -> None:
        self._index = sqlite3.connect("", uri=True)
        self._index.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
        self._last = 0
        try:
            self._index.execute("ATTACH ? AS app", [f"{path.absolute().as_uri()}?mode=ro"])
            known = {row[1] for row in self._index.execute("PRAGMA app.table_info(history)")}
        except sqlite3.DatabaseError as error:
            self._index.close()
            raise ConfigError(
                f"history_db_path: {path} is not a history database that can be read ({type(error).__name__})"
            ) from error
        self.is_empty = not {"memory_id", "event"} <= known
        # Older tables lack columns; Mem0 itself takes over the ones both have.
        self._select = ", ".join(f"h.{name}" if name in known else "NULL" for name in _COLUMNS)
        self._index.execute(
            "CREATE TABLE chain (memory_id TEXT, row INTEGER, PRIMARY KEY (memory_id, row)) WITHOUT ROWID"
        )

    def events(self, memory_ids: Sequence[str]) -> dict[str, list[Event]]:
        """Return what happened to these memories, oldest first; memories without rows are absent."""
        if self.is_empty or not memory_ids:
            return {}
        self._catch_up()
        marks = ", ".join("?" * len(memory_ids))
        rows = self._index.execute(
            f"SELECT c.memory_id, {self._select} FROM chain c JOIN app.history h ON h.rowid = c.row "  # noqa: S608 - fixed names and marks
            f"WHERE c.memory_id IN ({marks}) ORDER BY c.memory_id, c.row",
            list(memory_ids),
        )
        found: dict[str, list[Event]] = {}
        for memory_id, *values in rows:
            found.setdefault(memory_id, []).append(Event(*values))
        return found

    def _catch_up(self) -> None:
        newest = self._index.execute("SELECT max(rowid) FROM app.history").fetchone()[0] or 0
        if newest > self._last:
            # Sorted by SQLite, on disk where it has to: memory stays flat whatever the table's size.
            self._index.execute(
                "INSERT OR IGNORE INTO chain SELECT memory_id, rowid FROM app.history "
                "WHERE rowid > ? AND memory_id IS NOT NULL ORDER BY 1, 2",
                [self._last],
            )
            self._index.commit()
            self._last = newest

    def count(self) -> int:
        """Return the number of rows."""
        return (
            0 if self.is_empty else int(self._index.execute("SELECT count(*) FROM app.history").fetchone()[0])
        )

    def deleted(self) -> int:
        """Return how many memories exist in the history only, because they were deleted."""
        if self.is_empty:
            return 0
        return int(self._index.execute(_DELETED.replace("FROM history", "FROM app.history")).fetchone()[0])

    def close(self) -> None:
        """Close the database and drop the temporary list."""
        self._index.close()


class HistoryWriter:
    """Adds rows of its own, by ids that make a replay add nothing, and removes no others.

    Args:
        path: The SQLite file; made, with Mem0's table, when it is missing.

    Raises:
        ConfigError: It cannot be opened or is not a database.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path)
            self._db.execute(_TABLE)
            self._db.commit()
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(
                f"history_db_path: {path} cannot be opened for writing ({type(error).__name__})"
            ) from error

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows in the order of `history`'s columns; those whose id is there already are left alone.

        Raises:
            sqlite3.Error: Nothing was inserted.
        """
        with self._db:
            self._db.executemany(_INSERT, rows)

    def remove(self, memory_ids: Sequence[str]) -> None:
        """Remove the rows that memxfer added for these memories.

        Raises:
            sqlite3.Error: Nothing was removed.
        """
        bounds = [(f"{row_prefix(memory_id)}:", f"{row_prefix(memory_id)};") for memory_id in memory_ids]
        with self._db:
            self._db.executemany("DELETE FROM history WHERE id >= ? AND id < ?", bounds)

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def row_prefix(memory_id: str) -> str:
    """Return how the ids of memxfer's own rows of one memory begin; a colon follows."""
    return f"memxfer:{memory_id}"
