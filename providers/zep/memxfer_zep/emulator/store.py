"""What the emulated Zep holds, in SQLite: one row per object, whatever its kind."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from memxfer.emulation import StateFile

__all__ = ["KINDS", "Place", "Query", "ZepStore", "iso"]

Kind = Literal[
    "user", "graph", "thread", "message", "episode", "edge", "node", "thread_summary", "document_summary"
]
KINDS: Mapping[str, str | None] = {
    "user": None,
    "graph": None,
    "thread": "user_uuid",
    "message": "thread_uuid",
    "episode": "graph_uuid",
    "edge": "graph_uuid",
    "node": "graph_uuid",
    "thread_summary": "graph_uuid",
    "document_summary": "graph_uuid",
}
"""Every kind of object, and the field that names what it belongs to."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  project TEXT NOT NULL, kind TEXT NOT NULL, parent TEXT NOT NULL, uuid TEXT NOT NULL,
  created REAL NOT NULL, body BLOB NOT NULL, PRIMARY KEY (project, kind, uuid)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_uuid ON objects (project, kind, parent, uuid);
CREATE INDEX IF NOT EXISTS objects_by_age ON objects (project, kind, parent, created, uuid);
"""
_PLAIN_SORTS = {"uuid": "uuid", "created_at": "created"}


def iso(epoch: float) -> str:
    """Return a moment as Zep writes it."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Place:
    """Where a page begins: after this row."""

    sort: Any
    uuid: str


@dataclass(frozen=True)
class Query:
    """One listing.

    Attributes:
        project: Whose.
        kind: Of which objects.
        parent: What they belong to; `None`: whatever it is.
        order_by: Field to sort by; ties go by uuid.
        is_descending: From the last one.
        marks: Only what has one of some values in its metadata; of a fact, in that of its episode.
    """

    project: str
    kind: str
    parent: str | None
    order_by: str
    is_descending: bool
    marks: tuple[str, tuple[str, ...]] | None = None

    @property
    def sort(self) -> str:
        """SQL of the sort key; what has no date sorts as 1970, as Zep documents."""
        plain = _PLAIN_SORTS.get(self.order_by)
        return plain or f"COALESCE(json_extract(body, '$.{self.order_by}'), '1970-01-01T00:00:00Z')"


class ZepStore:
    """Objects of all projects.

    Args:
        path: The state file; temporary when `None`.
        new_id: Makes random UUIDs.
        more_schema: Tables of others in the same file.
    """

    def __init__(
        self, path: Path | None, *, new_id: Callable[[], uuid.UUID] = uuid.uuid4, more_schema: str = ""
    ) -> None:
        self._new_id = new_id
        self.state = StateFile(path, schema=_SCHEMA + more_schema)

    def add(self, project: str, kind: str, rows: Sequence[Mapping[str, Any]], *, now: float) -> list[str]:
        """Store objects in one transaction; return their uuids. What Zep fills in is filled in."""
        bodies = [self._filled(kind, row, now) for row in rows]
        parent = KINDS[kind]
        with self.state.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        project,
                        kind,
                        str(body.get(parent) or "") if parent else "",
                        body["uuid"],
                        _epoch(body.get("created_at")),
                        msgspec.json.encode(body),
                    )
                    for body in bodies
                ],
            )
        return [body["uuid"] for body in bodies]

    def _filled(self, kind: str, row: Mapping[str, Any], now: float) -> dict[str, Any]:
        body: dict[str, Any] = {"uuid": str(self._new_id()), "created_at": iso(now), **row}
        if kind == "user":
            body.setdefault("graph_uuid", str(self._new_id()))
        elif kind == "graph":
            body.setdefault("type", "standard")
        elif kind == "node":
            body = {"episode_uuids": [], "episode_uuids_truncated": False, **body}
        return body

    def get(self, project: str, kind: str, identifier: str) -> dict[str, Any] | None:
        """Return one object."""
        row = self.state.db.execute(
            "SELECT body FROM objects WHERE project = ? AND kind = ? AND uuid = ?",
            (project, kind, identifier),
        ).fetchone()
        return msgspec.json.decode(row[0]) if row else None

    def find(self, project: str, kind: str, field: str, value: str) -> dict[str, Any] | None:
        """Return the object whose `field` has this value."""
        row = self.state.db.execute(
            "SELECT body FROM objects WHERE project = ? AND kind = ? AND json_extract(body, ?) = ?",
            (project, kind, f"$.{field}", value),
        ).fetchone()
        return msgspec.json.decode(row[0]) if row else None

    def having(self, project: str, kind: str, field: str, value: str) -> list[str]:
        """Return the uuids of the objects whose `field` has this value."""
        rows = self.state.db.execute(
            "SELECT uuid FROM objects WHERE project = ? AND kind = ? AND json_extract(body, ?) = ?",
            (project, kind, f"$.{field}", value),
        ).fetchall()
        return [uuid for (uuid,) in rows]

    def doubled(self, field: str) -> dict[str, int]:
        """Return, by kind, how many objects more there are than values of a key of their metadata."""
        rows = self.state.db.execute(
            "SELECT kind, COUNT(*) - COUNT(DISTINCT COALESCE(json_extract(body, ?), json_extract(body, ?))) "
            "FROM objects WHERE COALESCE(json_extract(body, ?), json_extract(body, ?)) IS NOT NULL "
            "AND COALESCE(json_extract(body, '$.source'), '') NOT IN ('fact_triple', 'message') "
            "GROUP BY kind",
            (f"$.metadata.{field}", f"$.attributes.{field}") * 2,
        ).fetchall()
        return {kind: count for kind, count in rows if count}

    def remove(self, project: str, kind: str, identifier: str) -> None:
        """Delete one object."""
        with self.state.transaction() as db:
            db.execute(
                "DELETE FROM objects WHERE project = ? AND kind = ? AND uuid = ?", (project, kind, identifier)
            )

    def page(self, query: Query, after: Place | None, size: int) -> list[tuple[Place, bytes]]:
        """Return up to `size` objects after a place, in order."""
        sign, order = ("<", "DESC") if query.is_descending else (">", "ASC")
        clauses, values = self._where(query)
        if after is not None:
            clauses += f" AND ({query.sort}, uuid) {sign} (?, ?)"
            values += [after.sort, after.uuid]
        rows = self.state.db.execute(
            f"SELECT {query.sort}, uuid, body FROM objects WHERE {clauses} "  # noqa: S608 - names are checked
            f"ORDER BY {query.sort} {order}, uuid {order} LIMIT ?",
            (*values, size),
        ).fetchall()
        return [(Place(sort, identifier), body) for sort, identifier, body in rows]

    def count(self, query: Query) -> int:
        """Return how many objects a listing has."""
        clauses, values = self._where(query)
        (found,) = self.state.db.execute(f"SELECT COUNT(*) FROM objects WHERE {clauses}", values).fetchone()  # noqa: S608
        return int(found)

    @staticmethod
    def _where(query: Query) -> tuple[str, list[Any]]:
        clauses, values = "project = ? AND kind = ?", [query.project, query.kind]
        if query.parent is not None:
            clauses, values = f"{clauses} AND parent = ?", [*values, query.parent]
        if query.marks is None:
            return clauses, values
        name, wanted = query.marks
        metadata = f"""json_extract(body, '$.metadata."{name}"') IN ({", ".join("?" * len(wanted))})"""
        if query.kind == "edge":
            metadata = (
                "json_extract(body, '$.episode_uuids[0]') IN (SELECT uuid FROM objects "  # noqa: S608 - checked
                f"WHERE project = ? AND kind = 'episode' AND {metadata})"
            )
            values = [*values, query.project]
        return f"{clauses} AND {metadata}", [*values, *wanted]

    def everything(self, offset: int, limit: int) -> Iterator[dict[str, Any]]:
        """Give all objects of all projects, in order of project, kind and uuid."""
        for project, kind, identifier, body in self.state.db.execute(
            "SELECT project, kind, uuid, body FROM objects ORDER BY project, kind, uuid LIMIT ? OFFSET ?",
            (limit, offset),
        ):
            yield {"project": project, "kind": kind, "uuid": identifier, "document": msgspec.Raw(body)}

    def counts(self) -> dict[str, int]:
        """Return how many objects there are of each kind."""
        found = dict(self.state.db.execute("SELECT kind, COUNT(*) FROM objects GROUP BY kind").fetchall())
        return {kind: found.get(kind, 0) for kind in KINDS}


def _epoch(text: Any) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0
