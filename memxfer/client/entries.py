"""What is in an outbox."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from memxfer.errors import QuotaExceededError
from memxfer.models import MemoryRecord, decode_record

__all__ = ["Entry", "EntryState", "OutboxFullError", "entry_of"]


class OutboxFullError(QuotaExceededError):
    """The outbox holds as much as it may, and its policy is to refuse more."""


class EntryState(StrEnum):
    """Where an entry stands."""

    WAITING = "waiting"
    SENDING = "sending"
    """Durable before the call: it may have arrived."""
    DELIVERED = "delivered"
    """The backend has it; it may still be processing."""
    FAILED = "failed"
    """The backend said later that it could not process it."""
    SET_ASIDE = "set_aside"
    """Refused for good, or tried too often: kept, not tried again by itself."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One document in the outbox."""

    id: int
    provider: str
    lane: str
    document_id: str
    record: MemoryRecord | None
    state: EntryState
    tries: int
    due: float
    ingestion_id: str | None
    target_ids: tuple[str, ...]
    problem: str | None


def entry_of(row: tuple[Any, ...]) -> Entry:
    """Return the entry of a row of the table, columns in the order of `Entry`."""
    number, provider, lane, document_id, record, state, tries, due, ingestion_id, target_ids, problem = row
    return Entry(
        number,
        provider,
        lane,
        document_id,
        None if record is None else decode_record(record),
        EntryState(state),
        tries,
        due,
        ingestion_id,
        tuple(json.loads(target_ids)) if target_ids else (),
        problem,
    )
