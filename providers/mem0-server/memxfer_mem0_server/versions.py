"""From rows of history to versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from memxfer.spi import Version, format_time
from memxfer_mem0_server.fields import time_of

__all__ = ["in_order", "versions_of"]

_ORDER = {"ADD": 0, "UPDATE": 1, "DELETE": 2}
_COVERED = frozenset(
    (
        "id",
        "memory_id",
        "old_memory",
        "new_memory",
        "event",
        "created_at",
        "updated_at",
        "is_deleted",
    )
)
_OF_ROW = ("user_id", "agent_id", "run_id", "actor_id", "role")
_CLOSE = timedelta(seconds=5)
"""A change and the memory's own date of it are written one after the other."""
_BEGINNING = datetime.min.replace(tzinfo=UTC)


def in_order(events: Sequence[Any]) -> list[dict[str, Any]]:
    """Return rows of history, oldest first; nothing is documented about the order they come in."""
    rows = [event for event in events if isinstance(event, dict)]
    return sorted(rows, key=lambda row: (_at(row) or _BEGINNING, _ORDER.get(_event(row) or "", 1)))


def versions_of(
    events: Sequence[Any] | None, *, text: str | None, changed_at: datetime | None, row: Mapping[str, Any]
) -> tuple[tuple[Version, ...], dict[str, Any]]:
    """Return the earlier states of a memory, oldest first, and what is odd about its history.

    The last state of the history is the record itself, unless its text is another one: then all states
    are earlier ones, and `history_mismatch` says so.

    Args:
        events: Rows of history in any order; `None` when nobody asked.
        text: The memory's text; `None` for one that is gone.
        changed_at: When it was changed last.
        row: The memory; what a version has in common with it is not said again.
    """
    if events is None:
        return (), {}
    rows = in_order(events)
    if not rows:
        return (), {"history_missing": True}
    states = [_version(one, row) for one in rows]
    before = _text(rows[0].get("old_memory"))
    if before is not None:
        states.insert(0, Version(content=before))
    last = states[-1]
    if text is None or last.content != text:
        return tuple(states), {} if text is None else {"history_mismatch": True}
    usual = "UPDATE" if len(states) > 1 else "ADD"
    if last.event == usual and not last.metadata and _is_close(last.at, changed_at):
        return tuple(states[:-1]), {}
    change = {"event": last.event, "at": format_time(last.at) if last.at else None, **last.metadata}
    return tuple(states[:-1]), {"last_change": change}


def _version(event: Mapping[str, Any], row: Mapping[str, Any]) -> Version:
    more = {
        name: value
        for name, value in event.items()
        if name not in _COVERED
        and value not in (None, [], {})
        and not (name in _OF_ROW and value == row.get(name))
    }
    return Version(content=_text(event.get("new_memory")), at=_at(event), event=_event(event), metadata=more)


def _is_close(one: datetime | None, other: datetime | None) -> bool:
    return one is None or other is None or abs(one - other) <= _CLOSE


def _at(event: Mapping[str, Any]) -> datetime | None:
    return time_of(event.get("updated_at")) or time_of(event.get("created_at"))


def _event(event: Mapping[str, Any]) -> str | None:
    return _text(event.get("event"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
