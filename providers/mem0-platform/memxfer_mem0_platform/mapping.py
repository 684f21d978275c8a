"""Rows of the Mem0 Platform as records, whatever version of the service they come from.

Fields that no field of a record covers, and values that do not read as what their field means, are kept
in `extensions["mem0"]` under their own names. Left out is what Mem0 derives: the calendar in
`structured_attributes`, a `hash` that is the text's, a `lifecycle_state` that the record says by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from memxfer.spi import MemoryRecord, RecordState, Scope
from memxfer_mem0_platform.fields import (
    ENVELOPE,
    KEY,
    METADATA,
    OWN,
    RESERVED,
    SCOPE,
    expiry_of,
    identifier_of,
    is_calendar,
    time_of,
)
from memxfer_mem0_platform.versions import versions_of

__all__ = ["decode", "scope_of"]

_BOOKS = "memxfer"
_TIMES = ("created_at", "updated_at")
_COVERED = frozenset(
    (
        "id",
        "memory",
        "user_id",
        "agent_id",
        "app_id",
        "run_id",
        "session_id",
        "metadata",
        "categories",
        "structured_attributes",
        "replaced_by",
        "synthesized",
        "expiration_date",
        "hash",
        "lifecycle_state",
        *_TIMES,
    )
)
_STATES = {"active": RecordState.ACTIVE, "superseded": RecordState.SUPERSEDED, "expired": RecordState.EXPIRED}


def decode(row: Any, events: Sequence[Any] | None, *, now: datetime) -> MemoryRecord:
    """Turn a row into a record.

    Args:
        row: As the service gave it.
        events: What happened to it, in any order; `None` when nobody asked.
        now: What tells expired rows from others.

    Raises:
        TypeError, KeyError: The row has no id or no text, as text.
    """
    text, record_id = row["memory"], row["id"]
    if not isinstance(text, str) or not isinstance(record_id, str):
        raise TypeError("id or memory is not text")
    metadata = row.get("metadata") if isinstance(row.get("metadata"), dict) else {}
    is_ours = isinstance(metadata.get(KEY), str)
    created_at, updated_at = time_of(row.get("created_at")), time_of(row.get("updated_at"))
    expires_at = expiry_of(row.get("expiration_date"))
    successor = row.get("replaced_by")
    versions, notes, provenance = versions_of(events, text=text, changed_at=updated_at or created_at, row=row)
    record = MemoryRecord(
        id=record_id,
        content=text,
        kind="insight" if row.get("synthesized") is True else "fact",
        scope=scope_of(row),
        metadata=_own_metadata(metadata) if is_ours else metadata,
        tags=tuple(row["categories"]) if _is_texts(row.get("categories")) else (),
        created_at=created_at,
        updated_at=updated_at,
        expires_at=expires_at,
        state=_state(successor, expires_at, now),
        superseded_by=successor if isinstance(successor, str) and successor else None,
        versions=versions,
        provenance=provenance,
    )
    own = {**_left_over(row, record), **notes}
    extensions = {OWN: own} if own else {}
    if is_ours:
        extensions[_BOOKS] = _books(metadata)
    return msgspec.structs.replace(record, extensions=extensions) if extensions else record


def scope_of(row: Mapping[str, Any]) -> Scope:
    """Return whose a row is; a run is `run_id` in some answers and `session_id` in others."""
    return Scope(
        user=identifier_of(row.get("user_id")),
        agent=identifier_of(row.get("agent_id")),
        app=identifier_of(row.get("app_id")),
        session=identifier_of(row.get("run_id")) or identifier_of(row.get("session_id")),
    )


def _own_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record's own part of metadata that memxfer wrote."""
    plain = {name: value for name, value in metadata.items() if name not in RESERVED}
    displaced = metadata.get(METADATA)
    return {**plain, **displaced} if isinstance(displaced, dict) else plain


def _books(metadata: Mapping[str, Any]) -> dict[str, Any]:
    books: dict[str, Any] = {"key": metadata[KEY]}
    if isinstance(metadata.get(ENVELOPE), dict):
        books["envelope"] = metadata[ENVELOPE]
    return books


def _state(successor: Any, expires_at: datetime | None, now: datetime) -> RecordState:
    if successor:
        return RecordState.SUPERSEDED
    return RecordState.EXPIRED if expires_at and expires_at <= now else RecordState.ACTIVE


def _left_over(row: Mapping[str, Any], record: MemoryRecord) -> dict[str, Any]:
    """Return what of a row is not in the record."""
    unknown = {name: value for name, value in row.items() if name not in _COVERED and value is not None}
    odd = {name: row[name] for name in _COVERED if row.get(name) is not None and _is_odd(name, row, record)}
    zoneless = [name for name in _TIMES if name not in odd and _is_zoneless(row.get(name))]
    return {**unknown, **odd, **({"zoneless": zoneless} if zoneless else {})}


def _is_odd(name: str, row: Mapping[str, Any], record: MemoryRecord) -> bool:
    """Tell whether a covered field has a value that the record does not carry."""
    value = row[name]
    if name in _TIMES:
        return getattr(record, name) is None
    if name in _AXES:
        return bool(value != getattr(record.scope, _AXES[name]))
    return name in _ODDITIES and _ODDITIES[name](value, record)


_AXES = {**{name: axis for axis, name in SCOPE.items()}, "session_id": "session"}
_ODDITIES: dict[str, Any] = {
    "metadata": lambda value, _: not isinstance(value, dict),
    "categories": lambda value, _: not _is_texts(value),
    "structured_attributes": lambda value, _: not is_calendar(value),
    "replaced_by": lambda value, record: value != record.superseded_by,
    "synthesized": lambda value, _: not isinstance(value, bool),
    "expiration_date": lambda _, record: record.expires_at is None,
    "hash": lambda value, record: value != _digest(record.content),
    "lifecycle_state": lambda value, record: (
        not isinstance(value, str) or _STATES.get(value.lower()) is not record.state
    ),
}


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_zoneless(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value) and datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return False


def _digest(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "backslashreplace"), usedforsecurity=False).hexdigest()
