"""What Mem0 does not keep of a single record as it is, by the words that the capabilities explain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time

from memxfer.spi import MemoryRecord
from memxfer_mem0.history import Event
from memxfer_mem0.mapping import Body, versions_of
from memxfer_mem0.stores.chroma import is_flat

__all__ = ["changes_of"]


def changes_of(record: MemoryRecord, body: Body, *, has_history: bool, flat: bool) -> tuple[str, ...]:
    """Return how `body` differs from `record`.

    Args:
        record: What was to be stored.
        body: What will be.
        has_history: Whether there is a history database.
        flat: Whether the store holds no nested metadata.
    """
    return tuple(_changes(record, body, has_history=has_history, flat=flat))


def _changes(record: MemoryRecord, body: Body, *, has_history: bool, flat: bool) -> Iterator[str]:
    if body.row.id != record.id:
        yield "id_replaced"
    if record.expires_at is not None and record.expires_at.time() != time():
        yield "expiry_rounded"
    if has_history and record.versions and not _tells_all(record, body):
        yield "history_simplified"
    if flat and not all(is_flat(key, value) for key, value in record.metadata.items()):
        yield "metadata_as_text"


def _tells_all(record: MemoryRecord, body: Body) -> bool:
    """Tell whether the rows of the history read back as the record's versions."""
    events = [
        Event(old, new, event, created_at, updated_at, actor_id, role)
        for _, _, old, new, event, created_at, updated_at, _, actor_id, role in body.history
    ]
    changed_at = record.updated_at or record.created_at
    versions, _ = versions_of(events, text=record.content, changed_at=changed_at, payload=body.row.payload)
    return versions == record.versions
