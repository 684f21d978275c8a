"""The fields of a Mem0 payload, and how each follows from a record.

A payload is flat: Mem0's own fields and the app's metadata side by side (mem0ai 2.2.1). A row that
memxfer wrote also has fields that begin with `memxfer`, beside `memxfer_key`.

Mem0's TypeScript SDK (`mem0ai/oss`) names the same fields in camel case. A collection may hold rows of both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from memxfer.spi import MemoryRecord, Message, RecordError, format_time, parse_time

__all__ = [
    "ENVELOPE",
    "KEY",
    "MESSAGES",
    "METADATA",
    "NATIVE",
    "PROVENANCE",
    "RESERVED",
    "SPEAKER",
    "TYPESCRIPT",
    "expiry_of",
    "identifier_of",
    "in_one_dialect",
    "is_typescript",
    "is_zoneless",
    "kind_of",
    "native_fields",
    "reason_for_no_memory",
    "text_digest",
    "time_of",
    "turns_of",
]

NATIVE = (
    "data",
    "hash",
    "created_at",
    "updated_at",
    "text_lemmatized",
    "user_id",
    "agent_id",
    "run_id",
    "actor_id",
    "role",
    "attributed_to",
    "expiration_date",
    "memory_type",
)
"""What Mem0 itself files in a payload; everything else is the app's metadata."""

KEY = "memxfer_key"
ENVELOPE = "memxfer"
METADATA = "memxfer_metadata"
PROVENANCE = "memxfer_provenance"
MESSAGES = "memxfer_messages"
RESERVED = (KEY, ENVELOPE, METADATA, PROVENANCE, MESSAGES)
"""What memxfer adds to the rows it writes: the document key, the envelope, metadata whose names are
taken, provenance that Mem0 has no field for, and turns that are more than a row and its speaker."""

TYPESCRIPT = {
    "userId": "user_id",
    "agentId": "agent_id",
    "runId": "run_id",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "textLemmatized": "text_lemmatized",
    "attributedTo": "attributed_to",
}
"""Names that the TypeScript SDK files Mem0's own fields under (the reserved keys of its `memory/index.ts`),
and those of the Python SDK."""
_OF_AN_UPDATE = ("updatedAt", "textLemmatized")
"""What the TypeScript SDK writes in every update, whoever wrote the row."""

SPEAKER = ("actor_id", "role", "attributed_to")

_ELSEWHERE = ("memory", "text", "page_content", "content", "document")
"""Where other tools, and Mem0's API, put the text of a row."""
_MARKER = frozenset({"user_id", "userId", "type"})
"""Fields of the rows that Mem0 files to know an installation again."""

_KINDS = frozenset(
    [
        "fact",
        "preference",
        "episode",
        "event",
        "message",
        "conversation",
        "document",
        "summary",
        "block",
        "entity",
        "relation",
        "procedure",
    ]
)
_SECONDS = (10**9, 10**10)
"""Numbers that can be taken for seconds since 1970: the years 2001 to 2286."""
_OTHER = "memxfer:"
"""Marks a kind in `memory_type` that is in no list, so that an app's own types are not taken for kinds."""
_MEM0_KINDS = {"semantic_memory": "fact", "episodic_memory": "episode", "procedural_memory": "procedure"}


def is_typescript(payload: Mapping[str, Any]) -> bool:
    """Tell whether Mem0's TypeScript SDK wrote a row: each SDK dates its rows, by its own name for that.

    The Python SDK keeps the fields of such a row when it updates it, and adds `created_at` as null
    (mem0ai 2.2.1).
    """
    return "createdAt" in payload and payload.get("created_at") is None


def in_one_dialect(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload with Mem0's own fields under the names of its Python SDK.

    Where such a name has a value already, the other one stays as it is, and is the app's metadata. But the
    later update counts: the TypeScript SDK adds its `updatedAt` and `textLemmatized` to a row of the Python
    SDK when it updates it (mem0ai 3.3.1 on npm).
    """
    is_updated = _is_updated_by_typescript(payload)
    if not is_updated and not is_typescript(payload):
        return payload
    names = TYPESCRIPT if is_typescript(payload) else _OF_AN_UPDATE
    moved = {
        name: TYPESCRIPT[name]
        for name in names
        if name in payload
        and (payload.get(TYPESCRIPT[name]) is None or (is_updated and name in _OF_AN_UPDATE))
    }
    kept = {name: value for name, value in payload.items() if name not in moved}
    return {**kept, **{known: payload[name] for name, known in moved.items()}}


def _is_updated_by_typescript(payload: Mapping[str, Any]) -> bool:
    """Tell whether the TypeScript SDK was the last to update a row that the Python SDK dated."""
    if any(name not in payload for name in _OF_AN_UPDATE):
        return False
    theirs, ours = time_of(payload["updatedAt"]), time_of(payload.get("updated_at"))
    return theirs is not None and (ours is None or theirs > ours)


def reason_for_no_memory(payload: Any) -> str:
    """Return why a row without `data` is no memory: `text_under_text`, `marker`, `no_text`, `no_payload`."""
    if not isinstance(payload, dict):
        return "no_payload"
    for name in _ELSEWHERE:
        if isinstance(payload.get(name), str) and payload[name]:
            return f"text_under_{name}"
    return "marker" if payload and payload.keys() <= _MARKER else "no_text"


def time_of(value: Any) -> datetime | None:
    """Read a time of Mem0's: any offset (versions before 1.0.7 wrote US/Pacific); without one it is UTC.

    Versions before 0.1 wrote whole seconds since 1970.

    Returns:
        The time in UTC, or `None` for what is neither that nor ISO 8601; nothing is guessed.
    """
    if type(value) is int and _SECONDS[0] <= value < _SECONDS[1]:
        return datetime.fromtimestamp(value, UTC)
    if not isinstance(value, str) or not value:
        return None
    try:
        return parse_time(value, assume_utc=True)
    except ValueError:
        return None


def is_zoneless(value: Any) -> bool:
    """Tell whether `time_of` had to take a time for UTC because it names no zone."""
    try:
        return isinstance(value, str) and bool(value) and datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return False


def expiry_of(value: Any) -> datetime | None:
    """Return when an `expiration_date` is over: the midnight in UTC after that day, which still counts.

    Returns:
        The moment, or `None` for what Mem0 does not take for a date: such rows never expire there.
    """
    try:
        day = date.fromisoformat(str(value)) if value else None
        return datetime.combine(day + timedelta(days=1), time(), UTC) if day else None
    except (ValueError, OverflowError):
        return None


def _expiration_date(expires_at: datetime) -> str:
    """Return the last day before `expires_at`; a moment within a day keeps that whole day."""
    return (expires_at - timedelta(microseconds=1)).date().isoformat()


def identifier_of(value: Any) -> str | None:
    """Return a user, agent or run id as text: old apps stored numbers. What is neither names nobody.

    42, 42.0 and "42" are one owner: JSON and some stores make one of the other.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int) else None


def kind_of(payload: dict[str, Any]) -> str:
    """Return the kind of a memory.

    `memory_type` decides where there is one that says something; a row with a speaker's role that was
    not extracted from a conversation (`attributed_to`) is the message itself; the rest are facts.
    """
    named = payload.get("memory_type")
    if isinstance(named, str) and named:
        if named in _MEM0_KINDS:
            return _MEM0_KINDS[named]
        if named in _KINDS:
            return named
        if named.startswith(_OTHER):
            return named.removeprefix(_OTHER)
    return "message" if payload.get("role") and not payload.get("attributed_to") else "fact"


def turns_of(record: MemoryRecord) -> tuple[Message, ...]:
    """Return the turn that a row of a run is: the message itself, stored with the role of who said it.

    A row without a role is nobody's turn, and one that was extracted (`attributed_to`) is no quotation.
    """
    role, name = record.provenance.get("role"), record.provenance.get("actor_id")
    if record.scope.session is None or record.kind != "message" or not isinstance(role, str) or not role:
        return ()
    speaker = name if isinstance(name, str) and name else None
    return (Message(role=role, content=record.content, name=speaker, at=record.created_at),)


def text_digest(text: str) -> str:
    """Return Mem0's `hash` of a text: its md5."""
    return hashlib.md5(text.encode("utf-8", "backslashreplace"), usedforsecurity=False).hexdigest()


def native_fields(record: MemoryRecord) -> dict[str, Any]:
    """Return Mem0's own fields as they follow from a record.

    Raises:
        RecordError: The record expires before the calendar begins.
    """
    fields: dict[str, Any] = {
        "data": record.content,
        "hash": text_digest(record.content),
        # Mem0 lemmatises where spaCy is installed; its fallback is the text itself.
        "text_lemmatized": record.content,
        "created_at": _as_written(record.created_at),
        "updated_at": _as_written(record.updated_at),
        "user_id": record.scope.user,
        "agent_id": record.scope.agent,
        "run_id": record.scope.session,
        "expiration_date": _expiry_field(record),
        **{name: record.provenance.get(name) for name in SPEAKER},
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    if kind_of(fields) != record.kind:
        fields["memory_type"] = _memory_type(record.kind)
    return fields


def _as_written(at: datetime | None) -> str | None:
    """Return a time in UTC as Mem0 writes it: as `isoformat` does, for a fifth of its time."""
    return format_time(at).removesuffix("Z") + "+00:00" if at else None


def _memory_type(kind: str) -> str:
    if kind == "procedure":
        return "procedural_memory"
    return kind if kind in _KINDS else _OTHER + kind


def _expiry_field(record: MemoryRecord) -> str | None:
    try:
        return _expiration_date(record.expires_at) if record.expires_at else None
    except OverflowError as error:
        raise RecordError("the record expires before the calendar begins", code="expires_at") from error
