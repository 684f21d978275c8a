"""Time that only moves when told to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

__all__ = ["ManualClock"]

_START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """A `Clock` for tests: `advance` moves it, and `sleep` moves it at once instead of waiting.

    Sleepers do not queue: each moves the clock to the end of its own sleep, counted from the time it
    read, so sixteen tasks that sleep a second side by side cost one second.

    Attributes:
        slept: The seconds of every `sleep`, in order.
    """

    def __init__(self, start: datetime = _START) -> None:
        self._start = start
        self._elapsed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Return seconds since the clock was made."""
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        self._elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run, then be `seconds` later."""
        end = self._elapsed + max(seconds, 0.0)
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self._elapsed = max(self._elapsed, end)
