"""From rows of history to versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from memxfer.spi import Version, format_time
from memxfer_mem0_platform.fields import time_of

__all__ = ["in_order", "last_text", "versions_of"]

_ORDER = {"ADD": 0, "UPDATE": 1, "DELETE": 2}
_COVERED = frozenset(("id", "memory_id", "old_memory", "new_memory", "event", "created_at", "updated_at"))
_OF_ROW = ("metadata", "categories", "user_id", "agent_id", "app_id", "run_id", "session_id")
_CLOSE = timedelta(seconds=5)
"""A change and the memory's own date of it are written one after the other."""
_BEGINNING = datetime.min.replace(tzinfo=UTC)


def in_order(events: Sequence[Any]) -> list[dict[str, Any]]:
    """Return rows of history, oldest first; nothing is documented about the order they come in."""
    rows = [event for event in events if isinstance(event, dict)]
    return sorted(rows, key=lambda row: (_at(row) or _BEGINNING, _ORDER.get(_event(row) or "", 1)))


def last_text(events: Sequence[Any]) -> str | None:
    """Return the text that a history ends with."""
    rows = in_order(events)
    return _text(rows[-1].get("new_memory")) if rows else None


def versions_of(
    events: Sequence[Any] | None, *, text: str | None, changed_at: datetime | None, row: Mapping[str, Any]
) -> tuple[tuple[Version, ...], dict[str, Any], dict[str, Any]]:
    """Return the earlier states of a memory, oldest first, what is odd about its history, its provenance.

    The last state of the history is the record itself, unless its text is another one: then all states
    are earlier ones, and `history_mismatch` says so. Ids of rows of history and the vectors that Mem0
    keeps in them are left out.

    Args:
        events: Rows of history in any order; `None` when nobody asked.
        text: The memory's text; `None` for one that is gone.
        changed_at: When it was changed last.
        row: The memory; what a version has in common with it is not said again.
    """
    if events is None:
        return (), {}, {}
    rows = in_order(events)
    if not rows:
        return (), {"history_missing": True}, {}
    states = [_version(one, row) for one in rows]
    before = _text(rows[0].get("old_memory"))
    if before is not None:
        states.insert(0, Version(content=before))
    last = states[-1]
    if text is None or last.content != text:
        notes = {} if text is None else {"history_mismatch": True}
        return tuple(states), notes, {}
    more = dict(last.metadata)
    provenance = {"input": more.pop("input")} if "input" in more else {}
    usual = "UPDATE" if len(states) > 1 else "ADD"
    if last.event == usual and not more and _is_close(last.at, changed_at):
        return tuple(states[:-1]), {}, provenance
    change = {"event": last.event, "at": format_time(last.at) if last.at else None, **more}
    return tuple(states[:-1]), {"last_change": change}, provenance


def _version(event: Mapping[str, Any], row: Mapping[str, Any]) -> Version:
    more = {
        name: value
        for name, value in event.items()
        if name not in _COVERED and value not in (None, [], {}) and "embedding" not in name
    }
    same = [name for name in _OF_ROW if name in more and more[name] == _of_row(row, name)]
    for name in same:
        del more[name]
    if _says_only(more.get("input"), event.get("new_memory")):
        del more["input"]
    return Version(content=_text(event.get("new_memory")), at=_at(event), event=_event(event), metadata=more)


def _of_row(row: Mapping[str, Any], name: str) -> Any:
    if name in ("run_id", "session_id"):
        return row.get("run_id") or row.get("session_id")
    return row.get(name)


def _says_only(messages: Any, text: Any) -> bool:
    """Tell whether the messages behind a change are its text and nothing else."""
    return bool(messages == [{"role": "user", "content": text}])


def _is_close(one: datetime | None, other: datetime | None) -> bool:
    return one is None or other is None or abs(one - other) <= _CLOSE


def _at(event: Mapping[str, Any]) -> datetime | None:
    return time_of(event.get("updated_at")) or time_of(event.get("created_at"))


def _event(event: Mapping[str, Any]) -> str | None:
    return _text(event.get("event"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
