"""Records that exercise one dimension each, and what to look at when they come back."""

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

__all__ = ["CONTENTS", "NESTED_METADATA", "PROBES", "Probe", "truncate"]

_MOMENT = datetime(2024, 3, 9, 14, 25, 36, 123456, tzinfo=UTC)
_FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Probe:
    """How one dimension is tried.

    Attributes:
        changes: Fields of the record that carry it.
        look: Takes what carries it out of a record.
    """

    changes: dict[str, Any]
    look: Callable[[MemoryRecord], Any]

    def put(self, record: MemoryRecord) -> MemoryRecord:
        """Return `record` with the dimension in it."""
        changes = dict(self.changes)
        axes = changes.pop("axes", None)
        if axes:
            changes["scope"] = msgspec.structs.replace(record.scope, **axes)
        return msgspec.structs.replace(record, **changes)


def _field(name: str, value: Any) -> Probe:
    return Probe({name: value}, lambda record: getattr(record, name))


def _axis(name: str) -> Probe:
    return Probe({"axes": {name: f"{name}-7"}}, lambda record: getattr(record.scope, name))


PROBES: dict[Dimension, Probe] = {
    Dimension.VERSIONS: _field(
        "versions", (Version(content="an earlier text", at=_MOMENT - timedelta(days=1), event="ADD"),)
    ),
    Dimension.CREATED_AT: _field("created_at", _MOMENT),
    Dimension.UPDATED_AT: _field("updated_at", _MOMENT + timedelta(hours=1)),
    Dimension.OCCURRED_AT: _field("occurred_at", _MOMENT - timedelta(days=30)),
    Dimension.VALIDITY: _field(
        "validity", Validity(valid_from=_MOMENT, valid_to=_MOMENT + timedelta(days=9), recorded_at=_MOMENT)
    ),
    Dimension.EXPIRY: _field("expires_at", _FUTURE),
    Dimension.INACTIVE: _field("state", RecordState.ARCHIVED),
    Dimension.EXTENSIONS: _field("extensions", {"conformance": {"shape": {"sides": 3}}}),
    Dimension.IDS: Probe({}, lambda record: record.id),
    Dimension.USER: _axis("user"),
    Dimension.AGENT: _axis("agent"),
    Dimension.APP: _axis("app"),
    Dimension.SESSION: _axis("session"),
    Dimension.TENANT: _axis("tenant"),
    Dimension.GROUP: _axis("group"),
    Dimension.CONTENT: Probe({}, lambda record: record.content),
    Dimension.KIND: _field("kind", "preference"),
    Dimension.METADATA: _field("metadata", {"topic": "travel", "count": 3, "seen": True}),
    Dimension.TAGS: _field("tags", ("food", "travel")),
    Dimension.MESSAGES: _field(
        "messages", (Message(role="user", content="Hello?"), Message(role="assistant", content="Hello."))
    ),
    Dimension.PINNING: _field("pinned", True),
    Dimension.SCORES: Probe(
        {"importance": 0.5, "confidence": 0.25}, lambda record: (record.importance, record.confidence)
    ),
    Dimension.PROVENANCE: _field("provenance", {"channel": "chat", "index": 4}),
    Dimension.RELATIONS: _field("relations", (Relation(subject="Ann", predicate="likes", object="tea"),)),
    Dimension.EMBEDDINGS: _field("embedding", Embedding(vector=(0.5, -0.25, 0.125), model="m", dims=3)),
    Dimension.ATTACHMENTS: _field("attachments", (Attachment(name="a.png", media_type="image/png", size=7),)),
    Dimension.VISIBILITY: _field("visibility", "private"),
    Dimension.DERIVED: _field("derived_from", ("m-1", "m-2")),
}
"""Every dimension that a record can carry."""

CONTENTS: dict[str, str] = {
    "accents": "Zoë naïvely ordered crème brûlée in Łódź",
    "combining": "e\u0301 is not \u00e9, and must not become it",
    "emoji": "family \U0001f468\u200d\U0001f469\u200d\U0001f467 and flag \U0001f1f5\U0001f1f1",
    "right_to_left": "\u200fשלום עולם \u202eevil\u202c مرحبا",  # noqa: RUF001 - Hebrew on purpose
    "cjk": "ユーザーは東京に住んでいる。用户喜欢喝茶",
    "quotes": 'she said "it\'s \\ done" and {"json": [1, null]}',
    "lines": "first\nsecond\r\nthird\ttabbed\n\nlast\n",
    "separators": "a\u2028b\u2029c\u0085d\x0be",
    "blanks": "  leading and trailing  ",
    "nul": "before\x00after",
    "markup": "<script>alert(1)</script> [bold]x[/bold] \x1b[31mred\x1b[0m",
    "empty": "",
    "long": "twenty characters ok " * 5_000,
    "huge": "memory " * 150_000,
}
"""Texts that have broken stores, by what is odd about them; `huge` is a megabyte."""

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
