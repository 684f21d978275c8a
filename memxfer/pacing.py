"""Spacing of requests to one connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from memxfer.spi import Clock

__all__ = ["Pacer"]


class Pacer:
    """Lets requests pass at most `rate` times a second, evenly; `None` lets all pass.

    Each request reserves the next free slot, so waiting requests keep their order and never bunch.

    Args:
        rate: Most requests per second.
        clock: Tells the time.
        sleep: Waits; default: the clock's. A caller that may have to stop gives one that can be stopped.
    """

    def __init__(
        self, rate: float | None, *, clock: Clock, sleep: Callable[[float], Awaitable[None]] | None = None
    ) -> None:
        self._gap = 1.0 / rate if rate else 0.0
        self._clock = clock
        self._sleep = sleep or clock.sleep
        self._next = clock.monotonic()

    async def wait(self) -> None:
        """Return when the next request may go."""
        if not self._gap:
            return
        now = self._clock.monotonic()
        slot = max(now, self._next)
        self._next = slot + self._gap
        if slot > now:
            await self._sleep(slot - now)
