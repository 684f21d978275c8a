"""What the emulated server holds: rows in the order of Postgres' heap, where an update moves a row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from memxfer.emulation import StateFile

__all__ = ["Mem0ServerStore"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS memories (
  place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
  user_id TEXT, agent_id TEXT, run_id TEXT, expires TEXT, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_user ON memories (user_id);
CREATE TABLE IF NOT EXISTS history (place INTEGER PRIMARY KEY, memory_id TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_memory ON history (memory_id);
"""
_AXES = ("user_id", "agent_id", "run_id")


class Mem0ServerStore:
    """Memories and their history.

    Args:
        path: The state file; temporary when `None`.
    """

    def __init__(self, path: Path | None) -> None:
        self.state = StateFile(path, schema=_SCHEMA)

    def put(self, *rows: Mapping[str, Any]) -> None:
        """Store rows as the server answers them; one that is there moves to the end of the heap."""
        filled = [
            {"hash": hashlib.md5(str(row.get("memory")).encode(), usedforsecurity=False).hexdigest(), **row}
            for row in rows
        ]
        with self.state.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO memories (id, user_id, agent_id, run_id, expires, body) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        row["id"],
                        *(None if row.get(axis) is None else str(row[axis]) for axis in _AXES),
                        row.get("expiration_date"),
                        msgspec.json.encode(row),
                    )
                    for row in filled
                ],
            )

    def add_history(self, *events: Mapping[str, Any]) -> None:
        """Add rows of history."""
        with self.state.transaction() as db:
            db.executemany(
                "INSERT INTO history (memory_id, body) VALUES (?, ?)",
                [(event["memory_id"], msgspec.json.encode(event)) for event in events],
            )

    def rows(self, scope: Mapping[str, str], most: int, *, today: str | None = None) -> list[dict[str, Any]]:
        """Return the first rows of the heap in a scope; only those that count `today`, if that is given."""
        clauses = ["1"] + [f"{axis} = ?" for axis in _AXES if axis in scope]
        values: list[Any] = [scope[axis] for axis in _AXES if axis in scope]
        if today is not None:
            clauses.append("(expires IS NULL OR expires >= ?)")
            values.append(today)
        found = self.state.db.execute(
            f"SELECT body FROM memories WHERE {' AND '.join(clauses)} ORDER BY place LIMIT ?",  # noqa: S608 - fixed names
            (*values, most),
        )
        return [msgspec.json.decode(body) for (body,) in found]

    def get(self, memory_id: str) -> dict[str, Any] | None:
        """Return one row."""
        row = self.state.db.execute("SELECT body FROM memories WHERE id = ?", (memory_id,)).fetchone()
        return msgspec.json.decode(row[0]) if row else None

    def remove(self, memory_id: str) -> None:
        """Delete one row; its history stays."""
        with self.state.transaction() as db:
            db.execute("DELETE FROM memories WHERE id = ?", (memory_id,))

    def history(self, memory_id: str) -> list[dict[str, Any]]:
        """Return a memory's history, oldest first."""
        found = self.state.db.execute(
            "SELECT body FROM history WHERE memory_id = ? ORDER BY place", (memory_id,)
        )
        return [msgspec.json.decode(body) for (body,) in found]

    def count(self) -> int:
        """Return how many rows there are."""
        (found,) = self.state.db.execute("SELECT COUNT(*) FROM memories").fetchone()
        return int(found)

    def everything(self, offset: int, limit: int) -> Iterator[dict[str, Any]]:
        """Give rows of the heap in order."""
        for (body,) in self.state.db.execute(
            "SELECT body FROM memories ORDER BY place LIMIT ? OFFSET ?", (limit, offset)
        ):
            yield msgspec.json.decode(body)
