"""What is in an outbox."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from memxfer.errors import ProviderError, QuotaExceededError
from memxfer.models import MemoryRecord, decode_record

__all__ = ["COLUMNS", "ClientClosedError", "Entry", "EntryState", "OutboxFullError", "entry_of", "seconds_of"]


class ClientClosedError(ProviderError):
    """The client was closed, or belongs to a process that this one was forked from: make another one."""


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
    """Refused for good, unreadable, or tried too often: kept, not tried again by itself."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One document in the outbox.

    Attributes:
        id: Its number in the outbox.
        provider: The connection it is for.
        lane: Entries of one lane go one after the other.
        document_id: Its key in the backend.
        record: What is to be delivered; `None` once it was, or where the row is damaged.
        state: Where it stands.
        tries: Calls that may have stored it: those that certainly did not are taken back.
        due: Epoch seconds before which it is not tried again.
        ingestion_id: The backend's handle of it.
        target_ids: What the backend made of it.
        problem: What went wrong last.
        sent: Epoch seconds of the last call that may have stored it.
        failures: Tries in a row that told nothing.
        damage: Why its row cannot be delivered: the kind of error, never content.
    """

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
    sent: float | None = None
    failures: int = 0
    damage: str | None = None


COLUMNS = (
    "id, provider, lane, document_id, record, state, tries, due, ingestion_id, target_ids, problem, "
    "sent, failures"
)


def entry_of(row: tuple[Any, ...]) -> Entry:
    """Return the entry of a row of `COLUMNS`, whatever is in it."""
    number, provider, lane, document_id, line, state, tries, due, ingestion_id, target_ids, problem = row[:11]
    record, damage = _record(line)
    if not isinstance(document_id, str):
        damage = f"document_id is {type(document_id).__name__}"
    return Entry(
        number,
        str(provider),
        str(lane),
        str(document_id),
        record,
        EntryState(state) if state in _STATES else EntryState.SET_ASIDE,
        int(seconds_of(tries)),
        seconds_of(due),
        None if ingestion_id is None else str(ingestion_id),
        _texts(target_ids),
        None if problem is None else str(problem),
        None if row[11] is None else seconds_of(row[11]),
        int(seconds_of(row[12])),
        damage,
    )


_STATES = frozenset(EntryState)


def seconds_of(value: Any) -> float:
    """Return a column's number; 0 where it holds none."""
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    return 0.0


def _record(line: Any) -> tuple[MemoryRecord | None, str | None]:
    if line is None:
        return None, "there is no record"
    try:
        return decode_record(line), None
    except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        return None, type(error).__name__


def _texts(column: Any) -> tuple[str, ...]:
    try:
        found = json.loads(column) if column else ()
    except (ValueError, TypeError, RecursionError):
        return ()
    return tuple(str(one) for one in found) if isinstance(found, list) else ()
