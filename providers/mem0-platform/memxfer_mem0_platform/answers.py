"""The shapes of Mem0's answers, of this version and of earlier ones, as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memxfer.spi import IngestState

__all__ = ["Added", "Listed", "event_state", "read_added", "read_listed"]

_STATES = {
    "SUCCEEDED": IngestState.STORED,
    "FAILED": IngestState.FAILED,
}
_CREATED = ("ADD", "")


@dataclass(frozen=True, slots=True)
class Listed:
    """One page.

    Attributes:
        rows: Its rows; what is none may be among them.
        total: Rows of the whole listing, where the answer says so.
        has_next: Whether there is another page, where the answer says so.
    """

    rows: list[Any]
    total: int | None = None
    has_next: bool | None = None

    def may_go_on(self, size: int) -> bool:
        """Tell whether to ask for another page.

        Where the answer does not say, a page as full as asked for may have a next one; a fuller one
        comes from a service that knows no pages and gave everything.
        """
        return len(self.rows) == size if self.has_next is None else self.has_next


@dataclass(frozen=True, slots=True)
class Added:
    """What an add was answered with.

    Attributes:
        ids: The memories it names.
        is_new: Whether all of them are new; otherwise one was there already.
        event_id: Handle to ask for the progress, when it is queued.
        is_pending: Whether it is queued.
    """

    ids: tuple[str, ...]
    is_new: bool
    event_id: str | None
    is_pending: bool


def read_listed(answer: Any) -> Listed | None:
    """Read a page: a bare list (0.1.x, 1.x), `{"results"}`, `{"memories"}`, or the envelope with `next`.

    Returns:
        The page, or `None` for what is none of them.
    """
    if isinstance(answer, list):
        return Listed(answer)
    if not isinstance(answer, dict):
        return None
    rows = next(
        (answer[name] for name in ("results", "memories") if isinstance(answer.get(name), list)), None
    )
    if rows is None:
        return None
    count = answer.get("count")
    has_next = bool(answer["next"]) if "next" in answer else None
    return Listed(rows, count if isinstance(count, int) and not isinstance(count, bool) else None, has_next)


def read_added(answer: Any) -> Added | None:
    """Read the answer to an add: `{"results", "status", "event_id"}`, or a bare list of results.

    Returns:
        What was added, or `None` where neither results nor a handle can be made out.
    """
    listed = read_listed(answer)
    fields = answer if isinstance(answer, dict) else {}
    event_id = fields.get("event_id")
    handle = event_id if isinstance(event_id, str) and event_id else None
    is_pending = str(fields.get("status", "")).upper() in ("PENDING", "RUNNING")
    if listed is None:
        return Added((), False, handle, True) if handle and is_pending else None
    rows = [row for row in listed.rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
    if len(rows) < len(listed.rows):
        return None
    is_new = all(str(row.get("event") or "").upper() in _CREATED for row in rows)
    return Added(tuple(row["id"] for row in rows), is_new, handle, is_pending and not rows)


def event_state(answer: Any) -> IngestState:
    """Return how far an event is: PENDING, RUNNING, FAILED or SUCCEEDED."""
    status = str(answer.get("status", "")).upper() if isinstance(answer, dict) else ""
    return _STATES.get(status, IngestState.PROCESSING)
