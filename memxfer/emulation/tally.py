"""Counts of what was asked and answered, and the tail of the call log."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

_TAIL = 1000


class RequestTally:
    """Request counters by route and status, and the last thousand calls."""

    def __init__(self) -> None:
        self.by_route: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()
        self._tail: deque[dict[str, Any]] = deque(maxlen=_TAIL)

    def note(self, *, at: float, method: str, path: str, route: str, outcome: int | str, rule: str) -> None:
        """Count one request.

        Args:
            at: Epoch seconds of arrival.
            method: HTTP method.
            path: Path as asked.
            route: Path template, or `unknown`.
            outcome: The status sent, or `closed`, `reset`, `cut`.
            rule: Name of the fault rule that fired, or empty.
        """
        self.by_route[f"{method} {route}"] += 1
        self.by_status[str(outcome)] += 1
        self._tail.append({"at": at, "method": method, "path": path, "outcome": outcome, "fault": rule})

    def clear(self) -> None:
        """Forget all counts and the log."""
        self.by_route.clear()
        self.by_status.clear()
        self._tail.clear()

    def report(self, tail: int) -> dict[str, Any]:
        """Return the counters and the last `tail` calls, oldest first."""
        calls = list(self._tail)
        return {
            "total": sum(self.by_route.values()),
            "by_route": dict(self.by_route),
            "by_status": dict(self.by_status),
            "calls": calls[-tail:] if tail > 0 else [],
        }
