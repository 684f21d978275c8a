"""Where each key's line lies: derived from the parts, on disk, so that ten million keys fit in no memory.

SQLite with a write-ahead log: a killed process loses the last keys at most, and `mark` says from
which line on the parts must be read again. Deleting the file is harmless.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from memxfer.archive.layout import open_private

__all__ = ["KeyIndex", "Spot"]

_FLUSH = 25_000
"""Keys held in memory: sorted before they are written, so that a page of the tree is met once for many."""

_ASK = 500
_CONTENT_BYTES = 16
_SHIFT = 40
_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    key BLOB PRIMARY KEY, spot INTEGER NOT NULL, hash BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Spot(NamedTuple):
    """The line that counts for a key. A tuple: one is made for every record that is written.

    Attributes:
        part: Number of its part.
        line: Number of the line in it.
        hash: Hash of the line's bytes, then the mark of its record where that is known; empty once
            deleted.
    """

    part: int
    line: int
    hash: bytes

    @property
    def content(self) -> bytes:
        """Hash of the line's bytes; empty once deleted."""
        return self.hash[:_CONTENT_BYTES]

    @property
    def mark(self) -> bytes:
        """Mark of the line's record; empty where it is not known."""
        return self.hash[_CONTENT_BYTES:]

    @property
    def is_deleted(self) -> bool:
        """Tell whether the key was taken out."""
        return not self.hash


class KeyIndex:
    """Spots by key digest, and a few facts about the parts by name.

    Args:
        path: The database file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        open_private(path, "r+b").close()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._pending: dict[bytes, Spot] = {}
        try:
            for setting in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -16384"):
                self._database.execute(f"PRAGMA {setting}")
            self._database.executescript(_SCHEMA)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file; keys that were not flushed are found again from the parts."""
        self._database.close()

    def find(self, keys: Iterable[bytes]) -> dict[bytes, Spot]:
        """Return the spots of those keys that were ever put in."""
        wanted = list(keys)
        found = {key: self._pending[key] for key in wanted if key in self._pending}
        rest = iter([key for key in wanted if key not in found])
        while chunk := list(islice(rest, _ASK)):
            marks = ",".join("?" * len(chunk))
            rows = self._database.execute(
                f"SELECT key, spot, hash FROM keys WHERE key IN ({marks})",  # noqa: S608 - only marks
                chunk,
            )
            found.update((key, _unpack(spot, digest)) for key, spot, digest in rows)
        return found

    def put(self, key: bytes, spot: Spot) -> None:
        """Set the spot of a key."""
        self._pending[key] = spot

    @property
    def is_full(self) -> bool:
        """Tell whether it is time to flush."""
        return len(self._pending) >= _FLUSH

    def flush(self, *, part: int, line: int, durable: bool = False) -> None:
        """Write what is pending.

        Args:
            part: Every line before line `line` of this part is in the index then.
            line: See `part`.
            durable: Survive a power loss too, not only a killed process.
        """
        self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        rows = [(key, number << _SHIFT | at, digest) for key, (number, at, digest) in self._pending.items()]
        rows.sort()
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", rows)
        self._set_fact("mark", f"{part}.{line}")
        self._database.execute("COMMIT")
        self._pending.clear()

    @property
    def mark(self) -> tuple[int, int]:
        """Part and line from which on the parts hold more than the index."""
        part, _, line = (self.fact("mark") or "1.0").partition(".")
        return int(part), int(line)

    def fact(self, name: str) -> str | None:
        """Return what was noted under a name."""
        query = "SELECT value FROM facts WHERE name = ?"
        with closing(self._database.execute(query, (name,))) as rows:
            row = rows.fetchone()
        return row[0] if row else None

    def facts(self, prefix: str) -> Iterator[str]:
        """Give the values noted under names that begin with `prefix`, by name."""
        query = "SELECT value FROM facts WHERE name GLOB ? ORDER BY name"
        with closing(self._database.execute(query, (f"{prefix}*",))) as rows:
            yield from (value for (value,) in rows.fetchall())

    def note(self, name: str, value: str) -> None:
        """Keep a fact."""
        self._set_fact(name, value)

    def clear(self) -> None:
        """Forget everything."""
        self._pending.clear()
        self._database.executescript("DELETE FROM keys; DELETE FROM facts;")

    def _set_fact(self, name: str, value: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def _unpack(spot: int, digest: bytes) -> Spot:
    return Spot(spot >> _SHIFT, spot & ((1 << _SHIFT) - 1), digest)
