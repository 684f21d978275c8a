"""Rows of the server as records, whatever version of mem0ai it runs.

Fields that no field of a record covers, and values that do not read as what their field means, are kept
in `extensions["mem0"]` under their own names. Left out is what Mem0 derives: the lemmatised text, and a
`hash` that is the text's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from memxfer.spi import MemoryRecord, Message, RecordState, Scope
from memxfer_mem0_server.client import AXES
from memxfer_mem0_server.fields import expiry_of, identifier_of, is_zoneless, time_of
from memxfer_mem0_server.versions import versions_of

__all__ = ["decode", "scope_of"]

_OWN = "mem0"
_BOOKS = "memxfer"
_KEY, _ENVELOPE, _METADATA = "memxfer_key", "memxfer", "memxfer_metadata"
"""Metadata keys of memxfer's own, as other providers of Mem0 write them."""
_RESERVED = (_KEY, _ENVELOPE, _METADATA)

_TIMES = ("created_at", "updated_at")
_SPEAKER = ("actor_id", "role", "attributed_to")
_PROMOTED = ("memory_type", "text_lemmatized", *_SPEAKER)
"""Fields of Mem0's own that some versions leave among the metadata."""
_AXIS_OF = {name: axis for axis, name in AXES.items()}
_COVERED = frozenset(
    ("id", "memory", "metadata", "hash", "expiration_date", "score", *_TIMES, *_PROMOTED, *_AXIS_OF)
)


def decode(row: Any, events: Sequence[Any] | None, *, now: datetime) -> MemoryRecord:
    """Turn a row into a record.

    Args:
        row: As the server gave it.
        events: What happened to it, in any order; `None` when nobody asked.
        now: What tells expired rows from others.

    Raises:
        TypeError, KeyError: The row has no id or no text, as text (rows of nulls have neither).
    """
    text, record_id = row["memory"], row["id"]
    if not isinstance(text, str) or not isinstance(record_id, str):
        raise TypeError("id or memory is not text")
    given = row.get("metadata") if isinstance(row.get("metadata"), dict) else {}
    own = {name: row[name] if row.get(name) is not None else given.get(name) for name in _PROMOTED}
    metadata = {name: value for name, value in given.items() if name not in _PROMOTED}
    is_ours = isinstance(metadata.get(_KEY), str)
    created_at, updated_at = time_of(row.get("created_at")), time_of(row.get("updated_at"))
    expires_at = expiry_of(row.get("expiration_date"))
    versions, notes = versions_of(events, text=text, changed_at=updated_at or created_at, row={**own, **row})
    record = MemoryRecord(
        id=record_id,
        content=text,
        kind=_kind(own),
        scope=scope_of(row),
        metadata=_own_metadata(metadata) if is_ours else metadata,
        created_at=created_at,
        updated_at=updated_at,
        expires_at=expires_at,
        state=RecordState.EXPIRED if expires_at and expires_at <= now else RecordState.ACTIVE,
        versions=versions,
        provenance={name: own[name] for name in _SPEAKER if own[name] is not None},
    )
    kept = {**_left_over(row, own, record), **notes}
    extensions = {_OWN: kept} if kept else {}
    if is_ours:
        extensions[_BOOKS] = _books(metadata)
    turns = _turns(record)
    if not extensions and not turns:
        return record
    return msgspec.structs.replace(record, messages=turns, extensions=extensions)


def scope_of(row: Mapping[str, Any]) -> Scope:
    """Return whose a row is."""
    return Scope(
        user=identifier_of(row.get("user_id")),
        agent=identifier_of(row.get("agent_id")),
        session=identifier_of(row.get("run_id")),
    )


def _kind(own: Mapping[str, Any]) -> str:
    if own["memory_type"] == "procedural_memory":
        return "procedure"
    return "message" if own["role"] and not own["attributed_to"] else "fact"


def _turns(record: MemoryRecord) -> tuple[Message, ...]:
    """Return the turn that a memory of a run is: the message itself, stored with the role of who said it."""
    role, name = record.provenance.get("role"), record.provenance.get("actor_id")
    if record.scope.session is None or record.kind != "message" or not isinstance(role, str):
        return ()
    speaker = name if isinstance(name, str) and name else None
    return (Message(role=role, content=record.content, name=speaker, at=record.created_at),)


def _own_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record's own part of metadata that memxfer wrote."""
    plain = {name: value for name, value in metadata.items() if name not in _RESERVED}
    displaced = metadata.get(_METADATA)
    return {**plain, **displaced} if isinstance(displaced, dict) else plain


def _books(metadata: Mapping[str, Any]) -> dict[str, Any]:
    books: dict[str, Any] = {"key": metadata[_KEY]}
    if isinstance(metadata.get(_ENVELOPE), dict):
        books["envelope"] = metadata[_ENVELOPE]
    return books


def _left_over(row: Mapping[str, Any], own: Mapping[str, Any], record: MemoryRecord) -> dict[str, Any]:
    """Return what of a row is not in the record."""
    kept = {name: value for name, value in row.items() if name not in _COVERED and value is not None}
    kept |= {name: row[name] for name in _COVERED if row.get(name) is not None and _is_odd(name, row, record)}
    if own["memory_type"] not in (None, "procedural_memory"):
        kept["memory_type"] = own["memory_type"]
    zoneless = [name for name in _TIMES if name not in kept and is_zoneless(row.get(name))]
    return {**kept, "zoneless": zoneless} if zoneless else kept


def _is_odd(name: str, row: Mapping[str, Any], record: MemoryRecord) -> bool:
    """Tell whether a covered field has a value that the record does not carry."""
    value = row[name]
    if name in _TIMES:
        return getattr(record, name) is None
    if name in _AXIS_OF:
        return bool(value != getattr(record.scope, _AXIS_OF[name]))
    if name == "metadata":
        return not isinstance(value, dict)
    if name == "expiration_date":
        return record.expires_at is None
    return name == "hash" and bool(value != _digest(record.content))


def _digest(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "backslashreplace"), usedforsecurity=False).hexdigest()
