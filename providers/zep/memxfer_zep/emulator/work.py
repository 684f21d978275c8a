"""What Zep does after it has answered: tasks, and what shows when they end."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .store import iso

if TYPE_CHECKING:
    from .emulator import ZepEmulator

__all__ = ["SCHEMA", "Effect", "Work"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
  uuid TEXT PRIMARY KEY, project TEXT NOT NULL, type TEXT NOT NULL, created REAL NOT NULL, due REAL NOT NULL,
  status TEXT NOT NULL, done INTEGER NOT NULL, effects BLOB NOT NULL, result BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS tasks_by_due ON tasks (done, due);
"""
_EDGES = ("source_node_uuid", "target_node_uuid")
_CASCADES: Mapping[str, Sequence[tuple[str, str]]] = {
    "user": (("thread", "user_uuid"), ("graph", "user_uuid")),
    "thread": (("message", "thread_uuid"), ("episode", "thread_uuid")),
    "graph": tuple(
        (kind, "graph_uuid") for kind in ("episode", "edge", "node", "thread_summary", "document_summary")
    ),
    "node": tuple(("edge", field) for field in _EDGES),
    "episode": (("edge", "episode_uuids[0]"),),
}
"""What goes with an object: kinds, and the field that names it."""


class Effect(msgspec.Struct):
    """One thing that a task does at its end.

    Attributes:
        do: `add` an object, `remove` one with all that belongs to it, or mark it as `processed`.
        kind: Its kind.
        uuid: Which one.
        body: What is added.
    """

    do: str
    kind: str
    uuid: str = ""
    body: dict[str, Any] = {}


_EFFECTS = msgspec.json.Decoder(list[Effect])


class Work:
    """Starts tasks, and does what is due.

    Args:
        emulator: Gives settings, store and time.
    """

    def __init__(self, emulator: ZepEmulator) -> None:
        self._emulator = emulator

    def start(
        self,
        project: str,
        kind: str,
        effects: Sequence[Effect],
        *,
        result: Mapping[str, Any] | None = None,
        is_partial: bool = False,
    ) -> dict[str, Any]:
        """Start a task; return it as its first answer shows it.

        Args:
            project: Whose.
            kind: Its type, `graph.add_edges`.
            effects: What it does at its end, unless the settings let it fail.
            result: What it tells then.
            is_partial: It could not do all of what was asked.
        """
        settings, now = self._emulator.settings, self._emulator.clock()
        has_failed = kind in settings.failing_tasks
        status = "failed" if has_failed else "partial" if is_partial else "succeeded"
        task = str(uuid.uuid4())
        row = (
            task,
            project,
            kind,
            now,
            now + settings.task_seconds,
            status,
            0,
            msgspec.json.encode([] if has_failed else list(effects)),
            msgspec.json.encode({} if has_failed else dict(result or {})),
        )
        with self._emulator.store.state.transaction() as db:
            db.execute("INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        return {"uuid": task, "type": kind, "status": "pending", "created_at": iso(now)}

    def advance(self) -> None:
        """Do what is due by now."""
        db, now = self._emulator.store.state.db, self._emulator.clock()
        due = db.execute(
            "SELECT uuid, project, due, effects FROM tasks WHERE done = 0 AND due <= ? ORDER BY due, rowid",
            (now,),
        ).fetchall()
        for task, project, at, effects in due:
            decoded = _EFFECTS.decode(effects)
            for kind in dict.fromkeys(effect.kind for effect in decoded if effect.do == "add"):
                added = [effect.body for effect in decoded if effect.do == "add" and effect.kind == kind]
                self._emulator.store.add(project, kind, added, now=at)
            for effect in decoded:
                self._do(project, effect, at)
            with self._emulator.store.state.transaction() as changed:
                changed.execute("UPDATE tasks SET done = 1 WHERE uuid = ?", (task,))

    def get(self, project: str, task: str) -> dict[str, Any] | None:
        """Return a task as Zep shows it now."""
        row = self._emulator.store.state.db.execute(
            "SELECT uuid, type, created, due, status, result FROM tasks WHERE project = ? AND uuid = ?",
            (project, task),
        ).fetchone()
        return self._shown(row) if row else None

    def listed(self, project: str, kind: str | None, status: str | None) -> list[dict[str, Any]]:
        """Return the tasks of a type and in a state, oldest first."""
        rows = self._emulator.store.state.db.execute(
            "SELECT uuid, type, created, due, status, result FROM tasks WHERE project = ? ORDER BY rowid",
            (project,),
        ).fetchall()
        shown = [self._shown(row) for row in rows]
        return [one for one in shown if kind in (None, one["type"]) and status in (None, one["status"])]

    def _shown(self, row: Sequence[Any]) -> dict[str, Any]:
        task, kind, created, due, status, result = row
        now = self._emulator.clock()
        shown = {"uuid": task, "type": kind, "created_at": iso(created), "updated_at": iso(min(now, due))}
        if now < due:
            is_begun = now >= created + (due - created) / 2
            return {**shown, "status": "processing" if is_begun else "pending"}
        shown |= {"status": status, "completed_at": iso(due)}
        if status != "succeeded":
            shown["error"] = {"code": "task_failed", "message": "could not be stored"}
        return shown if status == "failed" else {**shown, "result": msgspec.json.decode(result)}

    # -- effects ------------------------------------------------------------------------------

    def _do(self, project: str, effect: Effect, at: float) -> None:
        store = self._emulator.store
        if effect.do == "remove":
            self._remove(project, effect.kind, effect.uuid)
        elif effect.do == "processed":
            row = store.get(project, effect.kind, effect.uuid)
            if row is not None:
                store.add(project, effect.kind, [{**row, "processed": True}], now=at)

    def _remove(self, project: str, kind: str, identifier: str) -> None:
        store = self._emulator.store
        row = store.get(project, kind, identifier)
        if row is None:
            return
        for inner, field in _CASCADES.get(kind, ()):
            for found in store.having(project, inner, field, identifier):
                self._remove(project, inner, found)
        if kind == "user":
            # The user's graph is no object of its own where it is not listed.
            for inner, field in _CASCADES["graph"]:
                for found in store.having(project, inner, field, str(row["graph_uuid"])):
                    self._remove(project, inner, found)
        store.remove(project, kind, identifier)
