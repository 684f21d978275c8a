"""The memories of the emulated project, in memory for speed and in SQLite to outlive the process."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from memxfer.emulation import StateFile

from .filters import matches
from .rows import HistoryRow, Memory

__all__ = ["Mem0PlatformStore"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS memories (id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS history (id TEXT PRIMARY KEY, body BLOB NOT NULL);
"""
_MEMORY = msgspec.json.Decoder(Memory)
_HISTORY = msgspec.json.Decoder(HistoryRow)
_Views = dict[bytes, list[Memory]]


class Mem0PlatformStore:
    """Memories and history.

    Args:
        path: The state file; temporary when `None`.
        new_id: Makes random UUIDs.
    """

    def __init__(self, path: Path | None, *, new_id: Callable[[], uuid.UUID] = uuid.uuid4) -> None:
        self._new_id = new_id
        self._state = StateFile(path, schema=_SCHEMA)
        self._load()

    def _load(self) -> None:
        rows = self._state.db.execute("SELECT body FROM memories ORDER BY rowid")
        self._memories = {one.id: one for one in (_MEMORY.decode(body) for (body,) in rows)}
        rows = self._state.db.execute("SELECT body FROM history ORDER BY rowid")
        self.history: list[HistoryRow] = [_HISTORY.decode(body) for (body,) in rows]
        self._by_text: dict[Any, str] = {_twin(one): one.id for one in self._memories.values()}
        self._views: _Views = {}

    def clear(self) -> None:
        """Delete everything."""
        self._state.clear()
        self._load()

    def close(self) -> None:
        """Close the state file."""
        self._state.close()

    def __len__(self) -> int:
        return len(self._memories)

    def __iter__(self) -> Iterator[Memory]:
        return iter(self._memories.values())

    def get(self, memory_id: str) -> Memory | None:
        """Return a memory, hidden ones too."""
        return self._memories.get(memory_id)

    def twin(self, text: str, scope: Mapping[str, str]) -> Memory | None:
        """Return the memory of the same text and scope."""
        return self._memories.get(self._by_text.get((text, *sorted(scope.items())), ""))

    def add(self, memory: Memory, *, at: datetime, messages: list[Any] | None = None) -> Memory:
        """Store a new memory, and that it was added; it gets an id unless it has one."""
        memory.id = memory.id or str(self._new_id())
        self._save(memory)
        self._note(memory, "ADD", None, memory.text, at, messages)
        return memory

    def change(self, memory: Memory, *, text: str | None, at: datetime) -> None:
        """Store a memory whose fields were changed; a `text` becomes an UPDATE of its history."""
        old = memory.text
        if text is not None:
            self._by_text.pop(_twin(memory), None)
            memory.text = text
        memory.updated_at = at
        self._save(memory)
        self._note(memory, "UPDATE", old, memory.text, at, None)

    def touch(self, memory: Memory) -> None:
        """Store changes that are no event."""
        self._save(memory)

    def delete(self, memory: Memory, *, at: datetime) -> None:
        """Remove a memory; its history stays, and says so."""
        del self._memories[memory.id]
        self._by_text.pop(_twin(memory), None)
        self._views.clear()
        self._state.db.execute("DELETE FROM memories WHERE id = ?", (memory.id,))
        self._note(memory, "DELETE", memory.text, None, at, None)

    def listed(
        self,
        filters: Mapping[str, Any],
        *,
        now: datetime,
        expired: bool,
        merged: bool,
        latest_only: bool = False,
    ) -> list[Memory]:
        """Return the memories that match, newest first; kept until something changes."""
        name = msgspec.json.encode([filters, now.date(), expired, merged, latest_only])
        found = self._views.get(name)
        if found is None:
            found = self._views[name] = sorted(
                (
                    one
                    for one in self
                    if (expired or not one.is_expired(now))
                    and (merged or not one.merged)
                    and not (latest_only and one.replaced_by)
                    and matches(one, filters)
                ),
                key=lambda one: (one.created_at, one.id),
                reverse=True,
            )
        return found

    def history_of(self, memory_id: str) -> list[HistoryRow]:
        """Return what happened to a memory, oldest first; of a deleted one too."""
        return [one for one in self.history if one.memory_id == memory_id]

    def entities(self) -> list[tuple[str, str, list[Memory]]]:
        """Return type, name and memories of every user, agent, app and run."""
        found: dict[tuple[str, str], list[Memory]] = {}
        for memory in self:
            for axis, name in memory.scope.items():
                found.setdefault((axis.removesuffix("_id"), name), []).append(memory)
        return [(*key, memories) for key, memories in sorted(found.items())]

    def page(self, offset: int, limit: int) -> Iterable[Memory]:
        """Return memories in the order of arrival."""
        return list(self)[offset : offset + limit]

    def _save(self, memory: Memory) -> None:
        self._memories[memory.id] = memory
        if not memory.merged:
            self._by_text[_twin(memory)] = memory.id
        self._views.clear()
        self._state.db.execute(
            "INSERT INTO memories VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET body = ?2",
            (memory.id, msgspec.json.encode(memory)),
        )

    def _note(
        self,
        memory: Memory,
        event: str,
        old: str | None,
        new: str | None,
        at: datetime,
        messages: list[Any] | None,
    ) -> None:
        row = HistoryRow(
            id=str(self._new_id()),
            memory_id=memory.id,
            event=event,
            old_memory=old,
            new_memory=new,
            at=at,
            scope=dict(memory.scope),
            input=messages or [],
            metadata=memory.metadata,
            categories=memory.categories,
        )
        self.history.append(row)
        self._state.db.execute("INSERT INTO history VALUES (?, ?)", (row.id, msgspec.json.encode(row)))


def _twin(memory: Memory) -> tuple[Any, ...]:
    return (memory.text, *sorted(memory.scope.items()))
