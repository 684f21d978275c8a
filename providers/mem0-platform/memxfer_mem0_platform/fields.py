"""The fields of a memory of the Mem0 Platform, and what their values mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from memxfer.spi import RecordError, parse_time

__all__ = [
    "ENVELOPE",
    "KEY",
    "METADATA",
    "OWN",
    "RESERVED",
    "SCOPE",
    "epoch_seconds",
    "expiration_date",
    "expiry_of",
    "identifier_of",
    "is_calendar",
    "time_of",
]

KEY = "memxfer_key"
"""Metadata key of the document key: plain text, so that a filter finds it."""
ENVELOPE = "memxfer"
METADATA = "memxfer_metadata"
"""Metadata key of the record's own metadata whose names are taken."""
RESERVED = frozenset((KEY, ENVELOPE, METADATA))

OWN = "mem0"
"""Name of the extensions that are Mem0's."""

SCOPE = {"user": "user_id", "agent": "agent_id", "app": "app_id", "session": "run_id"}
"""Axes of a scope, in the order in which a memory of several belongs to the first; and Mem0's names."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CALENDAR = frozenset(
    (
        "year",
        "quarter",
        "month",
        "week_of_year",
        "day",
        "day_of_week",
        "day_of_year",
        "hour",
        "minute",
        "is_weekend",
    )
)


def time_of(value: Any) -> datetime | None:
    """Read a time in any offset (clients before 1.0.7 gave US/Pacific); without one it is UTC.

    Returns:
        The time in UTC, or `None` for what is not ISO 8601; nothing is guessed.
    """
    if not isinstance(value, str) or not value:
        return None
    try:
        return parse_time(value, assume_utc=True)
    except ValueError:
        return None


def expiry_of(value: Any) -> datetime | None:
    """Return when an `expiration_date` is over: the midnight in UTC after that day, which still counts."""
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
        return datetime.combine(day + timedelta(days=1), time(), UTC) if day else None
    except (ValueError, OverflowError):
        return None


def expiration_date(expires_at: datetime) -> str:
    """Return the last day before `expires_at`; a moment within a day keeps that whole day.

    Raises:
        RecordError: The record expires before the calendar begins.
    """
    try:
        return (expires_at - timedelta(microseconds=1)).date().isoformat()
    except OverflowError as error:
        raise RecordError("the record expires before the calendar begins", code="expires_at") from error


def epoch_seconds(at: datetime) -> int:
    """Return a time as Mem0's `timestamp`: whole seconds, the rest cut off."""
    return (at - _EPOCH) // timedelta(seconds=1)


def identifier_of(value: Any) -> str | None:
    """Return the id of a user, agent, app or run as text; what is no id names nobody."""
    return str(value) if isinstance(value, str | int) and value != "" else None


def is_calendar(value: Any) -> bool:
    """Tell whether `structured_attributes` are no more than the parts of a date: derived by Mem0."""
    return isinstance(value, Mapping) and value.keys() <= _CALENDAR
