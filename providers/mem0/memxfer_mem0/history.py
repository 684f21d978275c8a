"""Mem0's history database: earlier texts of every memory, in SQLite.

The table has no index on `memory_id`, so asking it memory by memory scans it each time (mem0ai 2.2.1:
about 200 memories a second on 23,000 rows). It is read once, in bulk, into a sorted list of
(memory, rowid) in a temporary file; a page then costs one join. New rows are picked up as they come.

SQLite makes files beside a database in WAL mode even to read it, and cannot finish what a killed app left
without writing; such a database is read from a copy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from memxfer.spi import ConfigError, PrivateCopy, UnavailableError
from memxfer_mem0.stores.base import PROVIDER, may_pass

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
_WRITTEN: Final = ("id", "memory_id", *_COLUMNS[:5], "is_deleted", *_COLUMNS[5:])
_REQUIRED: Final = ("id", "memory_id", "old_memory", "new_memory", "event")
_FORMER: Final = {"old_memory": "prev_value", "new_memory": "new_value", "updated_at": "timestamp"}
"""What columns were called before mem0ai 0.1, which also wrote its events small."""
_TYPESCRIPT: Final = {"old_memory": "previous_value", "new_memory": "new_value", "event": "action"}
_READ: Final = {"history": _FORMER, "memory_history": _TYPESCRIPT}
"""The tables of Mem0's Python and TypeScript SDKs, and their other names of columns."""
_NO_HISTORY: Final = frozenset({*_READ, "messages", "sqlite_sequence"})
"""Tables that are read, or that hold no earlier states: the last messages of each scope."""
_WAL: Final = b"\x02\x02"
"""Bytes 18 and 19 of a database in WAL mode."""


_TABLES: Final = "SELECT name FROM app.sqlite_master WHERE type = 'table'"


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


@dataclass(slots=True)
class _Part:
    select: str
    last: int = 0
    """Rows up to here are in the list."""


class HistoryReader:
    """Reads a history database and never changes it.

    Attributes:
        columns: Those of the Python SDK's table; none where it has no such table.
        tables: Those that are read.
        unread: Other tables in the file.
        copied: Bytes of the private copy that is read instead, where there is one.

    Args:
        path: The SQLite file; it must exist.
        is_ours: This process writes to it: it is read where it is.

    Raises:
        ConfigError: It is not a history database, or is damaged.
        UnavailableError: It is locked.
    """

    def __init__(self, path: Path, *, is_ours: bool = False) -> None:
        self._path = path
        self._copy = None if is_ours else _copy(path)
        self.copied = self._copy.size if self._copy else None
        place = self._copy.path / path.name if self._copy else path.absolute()
        self._index = sqlite3.connect("", uri=True)
        self._index.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
        try:
            with _telling(path):
                self._index.execute(
                    "ATTACH ? AS app", [f"{place.as_uri()}?mode={'rw' if self._copy else 'ro'}"]
                )
                names = [name for (name,) in self._index.execute(_TABLES)]
                found = {name: self._columns(name) for name in names if name in _READ}
        except BaseException:
            self.close()
            raise
        self.columns = frozenset(found.get("history", ()))
        self._parts = {
            name: _Part(", ".join(_column(one, known, _READ[name]) for one in _COLUMNS))
            for name, known in found.items()
            if "memory_id" in known and not known.isdisjoint({"event", _READ[name].get("event", "")})
        }
        self.tables = tuple(self._parts)
        self.unread = tuple(sorted(set(names) - _NO_HISTORY))
        self.is_empty = not self._parts
        self._index.execute(
            "CREATE TABLE chain (memory_id TEXT, part TEXT, row INTEGER, "
            "PRIMARY KEY (memory_id, part, row)) WITHOUT ROWID"
        )

    def _columns(self, table: str) -> set[str]:
        return {row[1] for row in self._index.execute(f"PRAGMA app.table_info({table})")}

    def events(self, memory_ids: Sequence[str]) -> dict[str, list[Event]]:
        """Return what happened to these memories, oldest first; memories without rows are absent."""
        if self.is_empty or not memory_ids:
            return {}
        marks = ", ".join("?" * len(memory_ids))
        found: dict[str, list[Event]] = {}
        with _telling(self._path):
            for name, part in self._parts.items():
                self._catch_up(name, part)
                rows = self._index.execute(
                    f"SELECT c.memory_id, {part.select} FROM chain c JOIN app.{name} h ON h.rowid = c.row "  # noqa: S608 - fixed names and marks
                    f"WHERE c.part = '{name}' AND c.memory_id IN ({marks}) ORDER BY c.memory_id, c.row",
                    list(memory_ids),
                )
                for memory_id, *values in rows:
                    found.setdefault(memory_id, []).append(Event(*values))
        return found

    def _catch_up(self, name: str, part: _Part) -> None:
        newest = self._index.execute(f"SELECT max(rowid) FROM app.{name}").fetchone()[0] or 0  # noqa: S608 - ours
        if newest > part.last:
            # Sorted by SQLite, on disk where it has to: memory stays flat whatever the table's size.
            self._index.execute(
                f"INSERT OR IGNORE INTO chain SELECT memory_id, '{name}', rowid FROM app.{name} "  # noqa: S608 - ours
                "WHERE rowid > ? AND memory_id IS NOT NULL ORDER BY 1, 3",
                [part.last],
            )
            self._index.commit()
            part.last = newest

    def count(self) -> int:
        """Return the number of rows."""
        return sum(self._number(f"SELECT count(*) FROM app.{name}") for name in self._parts)  # noqa: S608 - ours

    def deleted(self) -> int:
        """Return how many memories exist in the history only, because they were deleted."""
        return sum(
            self._number(
                f"SELECT count(*) FROM (SELECT {part.select}, max(h.rowid) FROM app.{name} h "  # noqa: S608 - ours
                "WHERE memory_id IS NOT NULL GROUP BY memory_id) WHERE event = 'DELETE'"
            )
            for name, part in self._parts.items()
        )

    def _number(self, statement: str) -> int:
        with _telling(self._path):
            return int(self._index.execute(statement).fetchone()[0])

    def check_writable(self) -> tuple[str, ...]:
        """Return the columns that Mem0's table has and this one lacks: rows are written without them.

        Raises:
            ConfigError: It lacks one without which a row says nothing.
        """
        return _lacking(self._path, self.columns) if self.columns else ()

    def close(self) -> None:
        """Close the database, and drop the temporary list and the copy."""
        self._index.close()
        if self._copy is not None:
            self._copy.close()


class HistoryWriter:
    """Adds rows of its own, by ids that make a replay add nothing, and removes no others.

    Args:
        path: The SQLite file; made, with Mem0's table, when it is missing. The table of an older Mem0 is
            left as it is: rows get the columns that it has.

    Raises:
        ConfigError: It cannot be opened, is not a database, or has another table of that name.
        UnavailableError: It is locked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"history_db_path: the folder of {path} cannot be made ({error.strerror})"
            ) from error
        with _telling(path):
            self._db = sqlite3.connect(path)
        try:
            with _telling(path), self._db:
                self._db.execute(_TABLE)
                known = {row[1] for row in self._db.execute("PRAGMA table_info(history)")}
            _lacking(path, known)
        except BaseException:
            self._db.close()
            raise
        self._at = [at for at, name in enumerate(_WRITTEN) if name in known]
        names = ", ".join(_WRITTEN[at] for at in self._at)
        marks = ", ".join("?" * len(self._at))
        self._insert = f"INSERT OR IGNORE INTO history ({names}) VALUES ({marks})"  # noqa: S608 - fixed names

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows in the order of `history`'s columns; those whose id is there already are left alone.

        Raises:
            UnavailableError, ConfigError: Nothing was inserted.
        """
        with _telling(self._path), self._db:
            self._db.executemany(self._insert, [[row[at] for at in self._at] for row in rows])

    def remove(self, memory_ids: Sequence[str]) -> None:
        """Remove the rows that memxfer added for these memories.

        Raises:
            UnavailableError, ConfigError: Nothing was removed.
        """
        bounds = [(f"{row_prefix(memory_id)}:", f"{row_prefix(memory_id)};") for memory_id in memory_ids]
        with _telling(self._path), self._db:
            self._db.executemany("DELETE FROM history WHERE id >= ? AND id < ?", bounds)

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def _column(name: str, known: set[str], other: Mapping[str, str]) -> str:
    """Return what to select for a column: older tables lack some, or call them otherwise."""
    called = name if name in known else other.get(name, "")
    if called not in known:
        return f"NULL AS {name}"
    return f"upper(h.{called}) AS {name}" if name == "event" else f"h.{called} AS {name}"


def _lacking(path: Path, known: frozenset[str] | set[str]) -> tuple[str, ...]:
    for name in _REQUIRED:
        if name not in known and _FORMER["old_memory"] in known:
            raise ConfigError(
                f"history_db_path: {path} is of Mem0 before 0.1, whose table cannot take what memxfer "
                "writes: open it once with mem0ai 0.1.60, which changes it over, or give another file"
            )
        if name not in known:
            raise ConfigError(
                f"history_db_path: the table history in {path} has no column {name}: it is not Mem0's; "
                "give the file that the app uses"
            )
    return tuple(name for name in _WRITTEN if name not in known)


def _copy(path: Path) -> PrivateCopy | None:
    """Return a copy of a database that cannot be read without changing what is beside it."""
    beside = [f"{path.name}{end}" for end in ("-wal", "-journal")]
    try:
        with path.open("rb") as stream:
            is_wal = stream.read(20)[18:] == _WAL
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"history_db_path: {path} cannot be read ({reason})") from error
    if not is_wal and not any((path.parent / name).exists() for name in beside):
        return None
    return PrivateCopy(
        path.absolute().parent, what=f"the history database {path.name}", names=[path.name, *beside]
    )


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into memxfer's."""
    try:
        yield
    except sqlite3.Error as error:
        # SQLite's texts name tables and columns, and never a value.
        if may_pass(error):
            raise UnavailableError(
                f"the history database {path} is busy or failing ({error})",
                provider=PROVIDER,
                operation="history",
            ) from error
        raise ConfigError(
            f"history_db_path: {path} is not a history database that can be used ({error}); restore it from "
            "a backup, or give the file that the app uses"
        ) from error


def row_prefix(memory_id: str) -> str:
    """Return how the ids of memxfer's own rows of one memory begin; a colon follows."""
    return f"memxfer:{memory_id}"
