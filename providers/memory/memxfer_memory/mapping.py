"""What is left of a record in a store that does not keep some of its dimensions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from memxfer.spi import Dimension, MemoryRecord, RecordState

__all__ = ["DROPPABLE", "strip"]

_EMPTY: dict[Dimension, dict[str, Any]] = {
    Dimension.VERSIONS: {"versions": ()},
    Dimension.CREATED_AT: {"created_at": None},
    Dimension.UPDATED_AT: {"updated_at": None},
    Dimension.OCCURRED_AT: {"occurred_at": None},
    Dimension.VALIDITY: {"validity": None},
    Dimension.EXPIRY: {"expires_at": None},
    Dimension.INACTIVE: {"state": RecordState.ACTIVE, "superseded_by": None},
    Dimension.EXTENSIONS: {"extensions": {}},
    Dimension.KIND: {"kind": "fact"},
    Dimension.METADATA: {"metadata": {}},
    Dimension.TAGS: {"tags": ()},
    Dimension.MESSAGES: {"messages": ()},
    Dimension.PINNING: {"pinned": False},
    Dimension.SCORES: {"importance": None, "confidence": None},
    Dimension.PROVENANCE: {"provenance": {}},
    Dimension.RELATIONS: {"relations": ()},
    Dimension.EMBEDDINGS: {"embedding": None},
    Dimension.ATTACHMENTS: {"attachments": ()},
    Dimension.VISIBILITY: {"visibility": None},
    Dimension.DERIVED: {"derived_from": ()},
}
_AXES: dict[Dimension, str] = {
    Dimension.USER: "user",
    Dimension.AGENT: "agent",
    Dimension.APP: "app",
    Dimension.SESSION: "session",
    Dimension.TENANT: "tenant",
    Dimension.GROUP: "group",
}
DROPPABLE = frozenset(_EMPTY) | frozenset(_AXES) | {Dimension.IDS}
"""Dimensions a store may lose and still hold memories."""


def strip(record: MemoryRecord, drops: Collection[Dimension], target_id: str) -> MemoryRecord:
    """Return `record` without the dimensions in `drops`; `target_id` replaces an id that is dropped."""
    if not drops:
        return record
    changes: dict[str, Any] = {}
    for dimension in drops:
        changes |= _EMPTY.get(dimension, {})
    axes: dict[str, Any] = {_AXES[dimension]: None for dimension in drops if dimension in _AXES}
    if axes:
        changes["scope"] = msgspec.structs.replace(record.scope, **axes)
    if Dimension.IDS in drops:
        changes["id"] = target_id
    return msgspec.structs.replace(record, **changes)
