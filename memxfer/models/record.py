"""What is moved: a memory, with everything its source knows about it.

`gc=False`: these hold JSON values, which never lead back to them, and a run holds thousands of them.
Left to the garbage collector to look through, they take as much of the CPU as sending them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from memxfer.models.times import ensure_utc

__all__ = [
    "Attachment",
    "Embedding",
    "MemoryRecord",
    "Message",
    "RecordState",
    "Relation",
    "Scope",
    "Validity",
    "Version",
]


class RecordState(StrEnum):
    """Whether the source still counts the memory as true and present."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    ARCHIVED = "archived"
    EXPIRED = "expired"


class _Timed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Moves every time field to UTC and refuses those without a zone."""

    _times: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in self._times:
            value = getattr(self, name)
            if value is not None and value.tzinfo is not UTC:
                msgspec.structs.force_setattr(self, name, ensure_utc(value))


class Scope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Whom a memory belongs to. Ids are opaque: never trimmed, never case-folded.

    Attributes:
        user: The end user.
        agent: The agent that owns or wrote it.
        app: The application, where a backend has many.
        session: A run, thread or conversation.
        tenant: The customer or organisation above the user.
        group: A group graph or shared space.
        extra: Axes of one backend alone.
    """

    user: str | None = None
    agent: str | None = None
    app: str | None = None
    session: str | None = None
    tenant: str | None = None
    group: str | None = None
    extra: dict[str, str] = {}


class Message(_Timed, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One turn of a conversation."""

    _times: ClassVar[tuple[str, ...]] = ("at",)

    role: str
    content: str
    name: str | None = None
    at: datetime | None = None
    metadata: dict[str, Any] = {}


class Version(_Timed, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What happened to a memory once: the text it got, when, and by which event.

    `content` is the text after the event; `None` where the event left none (a deletion).
    """

    _times: ClassVar[tuple[str, ...]] = ("at",)

    content: str | None = None
    at: datetime | None = None
    event: str | None = None
    metadata: dict[str, Any] = {}


class Validity(_Timed, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """When a fact held in the world (`valid_*`), and when a system knew it (the others)."""

    _times: ClassVar[tuple[str, ...]] = ("valid_from", "valid_to", "recorded_at", "invalidated_at")

    valid_from: datetime | None = None
    valid_to: datetime | None = None
    recorded_at: datetime | None = None
    invalidated_at: datetime | None = None


class Relation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An edge between two entities, by name and by the source's ids."""

    subject: str
    predicate: str
    object: str
    subject_id: str | None = None
    object_id: str | None = None
    attributes: dict[str, Any] = {}


class Embedding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A vector, and the model that made it: vectors of two models do not mix."""

    vector: tuple[float, ...]
    model: str | None = None
    dims: int | None = None


class Attachment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A file that belongs to a memory, by reference."""

    name: str | None = None
    media_type: str | None = None
    url: str | None = None
    size: int | None = None


class MemoryRecord(_Timed, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One memory as its source holds it.

    Times are aware UTC; the constructor moves other zones and raises `ValueError` on a naive time.
    Fields the source returned and no field here covers are in `extensions`, by provider name.

    Attributes:
        id: The source's own id.
        content: The text, as stored.
        kind: Open vocabulary: fact, preference, episode, event, message, conversation, document,
            summary, block, entity, relation, procedure.
        occurred_at: When what the memory tells happened, where the source says so.
        sanitised: Paths of values that are not canonical JSON and are kept as tagged text.
    """

    _times: ClassVar[tuple[str, ...]] = ("created_at", "updated_at", "occurred_at", "expires_at")

    id: str
    content: str
    messages: tuple[Message, ...] = ()
    kind: str = "fact"
    scope: Scope = Scope()
    metadata: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    occurred_at: datetime | None = None
    expires_at: datetime | None = None
    validity: Validity | None = None
    state: RecordState = RecordState.ACTIVE
    superseded_by: str | None = None
    pinned: bool = False
    versions: tuple[Version, ...] = ()
    relations: tuple[Relation, ...] = ()
    embedding: Embedding | None = None
    importance: float | None = None
    confidence: float | None = None
    provenance: dict[str, Any] = {}
    attachments: tuple[Attachment, ...] = ()
    visibility: str | None = None
    derived_from: tuple[str, ...] = ()
    extensions: dict[str, dict[str, Any]] = {}
    sanitised: tuple[str, ...] = ()
