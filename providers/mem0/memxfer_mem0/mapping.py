"""Rows to records and records to rows; they mirror each other: Mem0 gets back what it held.

Mem0's own fields become fields of the record; the rest of the payload is metadata. A field that does
not follow from the record exactly as Mem0 wrote it (a time in another offset, a lemmatised text, a
numeric user id) is kept in `extensions["mem0"]`, and written back as long as the record still says the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from memxfer.spi import Embedding, Ignored, MemoryRecord, Message, RecordState, Scope, Version, format_time
from memxfer_mem0.history import Event, row_prefix
from memxfer_mem0.payload import (
    ENVELOPE,
    KEY,
    MESSAGES,
    METADATA,
    NATIVE,
    PROVENANCE,
    RESERVED,
    SPEAKER,
    expiry_of,
    identifier_of,
    in_one_dialect,
    is_zoneless,
    kind_of,
    native_fields,
    reason_for_no_memory,
    text_digest,
    time_of,
    turns_of,
)
from memxfer_mem0.stores.base import Row

__all__ = ["Body", "decode", "encode", "history_rows", "versions_of"]

_OWN = "mem0"
_BOOKS = "memxfer"
_TIMES = ("created_at", "updated_at")
_OF_TEXT = ("hash", "text_lemmatized")
_MEM0S = frozenset(NATIVE)
_NOT_THE_APPS = _MEM0S.union(RESERVED)


@dataclass(frozen=True, slots=True)
class Body:
    """What is stored for one record.

    Attributes:
        row: The point, its vector only where the record's own is kept.
        history: Rows of the history table, in its column order.
    """

    row: Row
    history: tuple[tuple[Any, ...], ...]


# -- reading ------------------------------------------------------------------------------------------


def decode(
    row: Row, events: Sequence[Event] | None, *, now: datetime, model: str | None = None
) -> MemoryRecord | Ignored:
    """Turn a row into a record.

    Args:
        row: The point.
        events: What the history says about it, oldest first; `None` when there is no history to ask.
        now: What tells expired rows from others.
        model: Name of the embedder, for the record's embedding.

    Returns:
        The record; or, for a row without `data`, why it is no memory of Mem0's.

    Raises:
        TypeError: `data` is not text.
        msgspec.ValidationError: Turns that memxfer wrote are none any more.
    """
    if not isinstance(row.payload, dict) or row.payload.get("data") is None:
        reason = reason_for_no_memory(row.payload)
        return Ignored(reason, row.id, harmless=reason == "marker")
    payload = in_one_dialect(row.payload)
    text = payload["data"]
    if not isinstance(text, str):
        raise TypeError("data is not text")
    ours = isinstance(payload.get(KEY), str)
    expires_at = expiry_of(payload.get("expiration_date"))
    updated_at = time_of(payload.get("updated_at"))
    created_at = time_of(payload.get("created_at"))
    versions, notes = versions_of(events, text=text, changed_at=updated_at or created_at, payload=payload)
    record = MemoryRecord(
        id=row.id,
        content=text,
        kind=kind_of(payload),
        scope=Scope(
            user=identifier_of(payload.get("user_id")),
            agent=identifier_of(payload.get("agent_id")),
            session=identifier_of(payload.get("run_id")),
        ),
        metadata=_metadata(payload, ours=ours),
        created_at=created_at,
        updated_at=updated_at,
        expires_at=expires_at,
        state=RecordState.EXPIRED if expires_at and expires_at <= now else RecordState.ACTIVE,
        versions=versions,
        embedding=Embedding(vector=row.vector, model=model, dims=len(row.vector)) if row.vector else None,
        provenance=_provenance(payload, ours=ours),
    )
    record = _with_turns(record, payload, ours=ours)
    return _with_extensions(record, payload, notes, ours=ours)


def _metadata(payload: dict[str, Any], *, ours: bool) -> dict[str, Any]:
    hidden = _NOT_THE_APPS if ours else _MEM0S
    metadata = {name: value for name, value in payload.items() if name not in hidden}
    displaced = payload.get(METADATA) if ours else None
    return {**metadata, **displaced} if isinstance(displaced, dict) else metadata


def _provenance(payload: dict[str, Any], *, ours: bool) -> dict[str, Any]:
    found = {name: payload[name] for name in SPEAKER if payload.get(name) is not None}
    more = payload.get(PROVENANCE) if ours else None
    return {**found, **more} if isinstance(more, dict) else found


def _with_turns(record: MemoryRecord, payload: dict[str, Any], *, ours: bool) -> MemoryRecord:
    if ours and MESSAGES in payload:
        turns = msgspec.convert(payload[MESSAGES], tuple[Message, ...])
    else:
        turns = turns_of(record)
    return msgspec.structs.replace(record, messages=turns) if turns else record


def _with_extensions(
    record: MemoryRecord, payload: dict[str, Any], notes: dict[str, Any], *, ours: bool
) -> MemoryRecord:
    own = {**_differences(native_fields(record), payload), **notes}
    extensions = {_OWN: own} if own else {}
    if ours:
        books = {"key": payload[KEY]}
        if isinstance(payload.get(ENVELOPE), dict):
            books["envelope"] = payload[ENVELOPE]
        extensions[_BOOKS] = books
    return msgspec.structs.replace(record, extensions=extensions) if extensions else record


def _differences(derived: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
    """Return how Mem0's own fields differ from what the record alone would give."""
    given = {name: payload[name] for name in NATIVE if name in payload}
    if given == derived:
        return {}
    kept = {name: value for name, value in given.items() if name not in derived or value != derived[name]}
    absent = [name for name in NATIVE if name in derived and name not in given]
    found: dict[str, Any] = {}
    if kept:
        found["payload"] = kept
    if absent:
        found["absent"] = absent
    zoneless = [name for name in _TIMES if name in kept and is_zoneless(kept[name])]
    if zoneless:
        found["zoneless"] = zoneless
    if any(name in kept for name in _OF_TEXT):
        # Ties them to this text: a mapping that redacts the text must not leave it in here to be written.
        found["of"] = derived["hash"]
    return found


def versions_of(
    events: Sequence[Event] | None, *, text: str, changed_at: datetime | None, payload: Mapping[str, Any]
) -> tuple[tuple[Version, ...], dict[str, Any]]:
    """Return the earlier states of a memory, oldest first, and what is odd about its history.

    The last state of the history is the record itself, unless its text is another one: then the store
    was edited past Mem0, all states are earlier ones, and `history_mismatch` says so.
    """
    if events is None:
        return (), {}
    if not events:
        return (), {"history_missing": True}
    states = [_version(event, payload) for event in events]
    if events[0].old is not None:
        states.insert(0, Version(content=events[0].old))
    last = states[-1]
    if last.content != text:
        return tuple(states), {"history_mismatch": True}
    usual = "UPDATE" if len(states) > 1 else "ADD"
    if last.event == usual and last.at == changed_at and not last.metadata:
        return tuple(states[:-1]), {}
    change = {"event": last.event, "at": format_time(last.at) if last.at else None, **last.metadata}
    return tuple(states[:-1]), {"last_change": change}


def _version(event: Event, payload: Mapping[str, Any]) -> Version:
    speaker = {"actor_id": event.actor_id, "role": event.role}
    return Version(
        content=event.new,
        at=time_of(event.updated_at) or time_of(event.created_at),
        event=event.event,
        metadata={name: value for name, value in speaker.items() if value != payload.get(name)},
    )


# -- writing ------------------------------------------------------------------------------------------


def encode(record: MemoryRecord, *, key: str, target_id: str, envelope: Mapping[str, Any]) -> Body:
    """Turn a record into a point and its history.

    Args:
        record: The record.
        key: Its document key, filed in the payload for look-ups.
        target_id: Id of the point: a UUID.
        envelope: What Mem0 has no field for.
    """
    own = record.extensions.get(_OWN, {})
    payload = _restored(native_fields(record), own, record)
    taken = {name: value for name, value in record.metadata.items() if name in NATIVE or name in RESERVED}
    payload |= {name: value for name, value in record.metadata.items() if name not in taken}
    more = {name: value for name, value in record.provenance.items() if name not in SPEAKER}
    payload |= {name: value for name, value in ((METADATA, taken), (PROVENANCE, more)) if value}
    if envelope:
        payload[ENVELOPE] = dict(envelope)
    if record.messages and record.messages != turns_of(record):
        payload[MESSAGES] = msgspec.to_builtins(record.messages)
    payload[KEY] = key
    vector = record.embedding.vector if record.embedding else None
    return Body(Row(target_id, payload, vector), tuple(history_rows(record, target_id)))


def _restored(fields: dict[str, Any], own: Mapping[str, Any], record: MemoryRecord) -> dict[str, Any]:
    """Put back what Mem0 had written differently, where the record still says the same."""
    kept = own.get("payload")
    same_text = own.get("of") == text_digest(record.content)
    if isinstance(kept, dict):
        still = {
            name: value
            for name, value in kept.items()
            if _still_says(name, value, record, same_text=same_text)
        }
        fields = {**fields, **still}
    absent = own.get("absent")
    return {name: value for name, value in fields.items() if name not in absent} if absent else fields


def _still_says(name: str, value: Any, record: MemoryRecord, *, same_text: bool) -> bool:
    if name in _OF_TEXT:
        return same_text
    if name in ("created_at", "updated_at"):
        return bool(time_of(value) == getattr(record, name))
    if name == "expiration_date":
        return expiry_of(value) == record.expires_at
    if name in _SCOPES:
        return bool(identifier_of(value) == getattr(record.scope, _SCOPES[name]))
    if name in SPEAKER:
        return name not in record.provenance
    return name == "memory_type" and kind_of({**record.provenance, name: value}) == record.kind


_SCOPES = {"user_id": "user", "agent_id": "agent", "run_id": "session"}


def history_rows(record: MemoryRecord, target_id: str) -> list[tuple[Any, ...]]:
    """Return the rows that make Mem0's history tell the record's versions and its present text.

    Their ids come from memory, position and content, so a second write adds nothing.
    """
    own = record.extensions.get(_OWN, {})
    if own.get("history_missing"):
        return []
    states = [*record.versions] if own.get("history_mismatch") else [*record.versions, _present(record, own)]
    rows: list[tuple[Any, ...]] = []
    before: str | None = None
    for place, state in enumerate(states):
        if not (place == 0 and len(states) > 1 and state.event is None and state.at is None):
            rows.append(_history_row(record, target_id, state, before=before, place=place))
        before = state.content
    return rows


def _present(record: MemoryRecord, own: Mapping[str, Any]) -> Version:
    change = own.get("last_change")
    if not isinstance(change, dict):
        return Version(content=record.content, at=record.updated_at or record.created_at)
    at = time_of(change.get("at"))
    speaker = {name: value for name, value in change.items() if name in SPEAKER}
    return Version(content=record.content, at=at, event=change.get("event"), metadata=speaker)


def _history_row(
    record: MemoryRecord, target_id: str, state: Version, *, before: str | None, place: int
) -> tuple[Any, ...]:
    event = state.event or ("ADD" if before is None else "UPDATE")
    told = f"{event}\0{state.content}\0{state.at}".encode("utf-8", "backslashreplace")
    digest = hashlib.sha256(told).hexdigest()[:16]
    speaker = {**record.provenance, **state.metadata}
    return (
        f"{row_prefix(target_id)}:{place:04d}:{digest}",
        target_id,
        before,
        state.content,
        event,
        record.created_at.isoformat() if record.created_at else None,
        state.at.isoformat() if state.at else None,
        int(event == "DELETE"),
        _text(speaker.get("actor_id")),
        _text(speaker.get("role")),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
