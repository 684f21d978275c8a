"""Time: aware, in UTC, and never guessed."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

__all__ = ["ensure_utc", "format_time", "parse_time"]


def ensure_utc(value: datetime) -> datetime:
    """Return `value` in UTC.

    Raises:
        ValueError: `value` has no zone, or leaves the years 1 to 9999 when moved to UTC.
    """
    zone = value.tzinfo
    if zone is UTC:
        return value
    if zone is None or value.utcoffset() is None:
        raise ValueError("a time without a zone: attach the zone its source uses before it gets here")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time outside the years 1 to 9999 in UTC") from error


def parse_time(text: str, *, assume_utc: bool = False) -> datetime:
    """Read an ISO 8601 time (`T` or blank between date and time, `Z` or an offset) and return it in UTC.

    Args:
        text: The time as the backend wrote it.
        assume_utc: Read a time without a zone as UTC; only where the backend is known to write UTC so.

    Raises:
        ValueError: Not a time, no zone, or out of range in UTC.
    """
    value = datetime.fromisoformat(text)
    if value.tzinfo is None and assume_utc:
        value = value.replace(tzinfo=UTC)
    return ensure_utc(value)


def format_time(value: datetime) -> str:
    """Write an aware time as ISO 8601 in UTC with a `Z`, to the microsecond where it has them."""
    return str(msgspec.to_builtins(ensure_utc(value)))  # a tenth of isoformat's time
