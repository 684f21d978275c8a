"""Records that exercise dimensions, and what to look at when they come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from memxfer.capabilities import Dimension
from memxfer.models import (
    Attachment,
    Embedding,
    MemoryRecord,
    Message,
    RecordState,
    Relation,
    Validity,
    Version,
)

__all__ = ["MOMENT", "NESTED_METADATA", "TRIALS", "Trial", "truncate"]

MOMENT = datetime(2024, 3, 9, 14, 25, 36, 123456, tzinfo=UTC)
"""Long past and with microseconds: shows whether a date is taken, and how finely."""

_FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Trial:
    """How one dimension is tried.

    Attributes:
        changes: Fields of the record that carry it.
        look: Takes what carries it out of a record.
        axis: The axis of the scope that it is about, if it is about one.
    """

    changes: dict[str, Any]
    look: Callable[[MemoryRecord], Any]
    axis: str | None = None

    def put(self, record: MemoryRecord, *, owner: str | None = None) -> MemoryRecord:
        """Return `record` with the dimension in it.

        Args:
            record: The record.
            owner: Value of an axis of the scope; default: one that is made from the axis' name.
        """
        changes = dict(self.changes)
        if self.axis is not None:
            named = {self.axis: owner or f"{self.axis}-7"}
            changes["scope"] = msgspec.structs.replace(record.scope, **named)
        return msgspec.structs.replace(record, **changes)


def _field(name: str, value: Any) -> Trial:
    return Trial({name: value}, lambda record: getattr(record, name))


def _axis(name: str) -> Trial:
    return Trial({}, lambda record: getattr(record.scope, name), axis=name)


TRIALS: dict[Dimension, Trial] = {
    Dimension.VERSIONS: _field(
        "versions", (Version(content="an earlier text", at=MOMENT - timedelta(days=1), event="ADD"),)
    ),
    Dimension.CREATED_AT: _field("created_at", MOMENT),
    Dimension.UPDATED_AT: _field("updated_at", MOMENT + timedelta(hours=1)),
    Dimension.OCCURRED_AT: _field("occurred_at", MOMENT - timedelta(days=30)),
    Dimension.VALIDITY: _field(
        "validity", Validity(valid_from=MOMENT, valid_to=MOMENT + timedelta(days=9), recorded_at=MOMENT)
    ),
    Dimension.EXPIRY: _field("expires_at", _FUTURE),
    Dimension.INACTIVE: _field("state", RecordState.ARCHIVED),
    Dimension.EXTENSIONS: _field("extensions", {"memxfer_probe": {"shape": {"sides": 3}}}),
    Dimension.IDS: Trial({}, lambda record: record.id),
    Dimension.USER: _axis("user"),
    Dimension.AGENT: _axis("agent"),
    Dimension.APP: _axis("app"),
    Dimension.SESSION: _axis("session"),
    Dimension.TENANT: _axis("tenant"),
    Dimension.GROUP: _axis("group"),
    Dimension.CONTENT: Trial({}, lambda record: record.content),
    Dimension.KIND: _field("kind", "preference"),
    Dimension.METADATA: _field("metadata", {"topic": "memxfer probe", "count": 3, "seen": True}),
    Dimension.TAGS: _field("tags", ("memxfer-probe", "safe-to-delete")),
    Dimension.MESSAGES: _field(
        "messages", (Message(role="user", content="Hello?"), Message(role="assistant", content="Hello."))
    ),
    Dimension.PINNING: _field("pinned", True),
    Dimension.SCORES: Trial(
        {"importance": 0.5, "confidence": 0.25}, lambda record: (record.importance, record.confidence)
    ),
    Dimension.PROVENANCE: _field("provenance", {"channel": "chat", "index": 4}),
    Dimension.RELATIONS: _field(
        "relations", (Relation(subject="memxfer", predicate="probes", object="memory"),)
    ),
    Dimension.EMBEDDINGS: _field("embedding", Embedding(vector=(0.5, -0.25, 0.125), model="m", dims=3)),
    Dimension.ATTACHMENTS: _field(
        "attachments", (Attachment(name="probe.png", media_type="image/png", size=7),)
    ),
    Dimension.VISIBILITY: _field("visibility", "private"),
    Dimension.DERIVED: _field("derived_from", ("memxfer-probe-1", "memxfer-probe-2")),
}
"""Every dimension that a record can carry."""

NESTED_METADATA: dict[str, Any] = {
    "levels": {"a": {"b": {"c": [1, [2, {"d": None}], "x"]}}},
    "numbers": [0, -1, 2**53, 1.5, 1e-9],
    "flags": {"yes": True, "no": False, "none": None},
    "ключ": "unicode key",
    "with space": "and/slash",
    "empty": {"list": [], "text": "", "map": {}},
}
"""Metadata as deep as people really have it."""


def truncate(value: Any, precision: str) -> Any:
    """Return `value` with its times cut to a precision of `Writing.backdates`."""
    if not isinstance(value, datetime):
        return value
    if precision == "day":
        return value.replace(hour=0, minute=0, second=0, microsecond=0)
    if precision == "second":
        return value.replace(microsecond=0)
    if precision == "millisecond":
        return value.replace(microsecond=value.microsecond // 1000 * 1000)
    return value
