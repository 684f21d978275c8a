"""The fields of a memory as the server shows it, and what their values mean."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from memxfer.spi import parse_time

__all__ = ["expiry_of", "identifier_of", "is_zoneless", "time_of"]


def time_of(value: Any) -> datetime | None:
    """Read a time in any offset (mem0ai before 1.0.7 wrote US/Pacific); without one it is UTC.

    Returns:
        The time in UTC, or `None` for what is not ISO 8601; nothing is guessed.
    """
    if not isinstance(value, str) or not value:
        return None
    try:
        return parse_time(value, assume_utc=True)
    except ValueError:
        return None


def is_zoneless(value: Any) -> bool:
    """Tell whether a value is a time without a zone."""
    try:
        return isinstance(value, str) and bool(value) and datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return False


def expiry_of(value: Any) -> datetime | None:
    """Return when an `expiration_date` is over: the midnight in UTC after that day, which still counts."""
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
        return datetime.combine(day + timedelta(days=1), time(), UTC) if day else None
    except (ValueError, OverflowError):
        return None


def identifier_of(value: Any) -> str | None:
    """Return the id of a user, agent or run as text; what is no id names nobody."""
    return str(value) if isinstance(value, str | int) and value != "" else None
