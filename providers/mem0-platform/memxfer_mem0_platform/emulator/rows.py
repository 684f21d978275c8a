"""What the emulated project holds: memories and what happened to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec

from .settings import Mem0PlatformSettings

__all__ = ["AXES", "HistoryRow", "Memory", "calendar", "moment", "shown", "written"]

AXES = ("user_id", "agent_id", "app_id", "run_id")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PACIFIC = timezone(timedelta(hours=-8))


class Memory(msgspec.Struct):
    """One memory. `merged` rows are hidden duplicates, `received` counts the adds that it answers for."""

    id: str
    text: str
    scope: dict[str, str]
    created_at: datetime
    updated_at: datetime
    metadata: dict[str, Any] | None = None
    categories: list[str] | None = None
    expiration_date: str | None = None
    replaced_by: str | None = None
    merged: bool = False
    synthesized: bool = False
    received: int = 1
    drift: bool = False
    more: dict[str, Any] = {}

    def is_expired(self, now: datetime) -> bool:
        """Say whether the last day, which counts in full, is over in UTC."""
        return self.expiration_date is not None and self.expiration_date < now.date().isoformat()


class HistoryRow(msgspec.Struct):
    """One thing that happened to a memory."""

    id: str
    memory_id: str
    event: str
    old_memory: str | None
    new_memory: str | None
    at: datetime
    scope: dict[str, str]
    input: list[Any] = []
    metadata: dict[str, Any] | None = None
    categories: list[str] | None = None


def moment(seconds: float) -> datetime:
    """Return epoch seconds as a time; negative ones and year 9999 too."""
    return _EPOCH + timedelta(seconds=seconds)


def written(at: datetime, settings: Mem0PlatformSettings) -> str:
    """Return a time as the service writes it."""
    return (at.astimezone(_PACIFIC) if settings.offset == "pacific" else at).isoformat()


def calendar(at: datetime) -> dict[str, Any]:
    """Return the derived breakdown of a time."""
    return {
        "day": at.day,
        "hour": at.hour,
        "year": at.year,
        "month": at.month,
        "minute": at.minute,
        "quarter": (at.month - 1) // 3 + 1,
        "is_weekend": at.weekday() >= 5,
        "day_of_week": at.strftime("%A").lower(),
        "day_of_year": at.timetuple().tm_yday,
        "week_of_year": at.isocalendar().week,
    }


def shown(memory: Memory, settings: Mem0PlatformSettings, *, run_name: str = "session_id") -> dict[str, Any]:
    """Return a memory as list, get and update give it; only a search calls the run `run_id`."""
    scope = {axis: memory.scope.get(axis) for axis in AXES}
    scope[run_name] = scope.pop("run_id")
    return {
        "id": memory.id,
        "memory": memory.text,
        **scope,
        "metadata": memory.metadata,
        "categories": memory.categories,
        "structured_attributes": calendar(memory.created_at),
        "replaced_by": memory.replaced_by,
        "synthesized": memory.synthesized,
        "expiration_date": memory.expiration_date,
        "created_at": written(memory.created_at, settings),
        "updated_at": written(memory.updated_at, settings),
        **memory.more,
    }
