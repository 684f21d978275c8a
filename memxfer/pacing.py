"""Spacing of requests to one connection."""

from __future__ import annotations

from memxfer.spi import Clock

__all__ = ["Pacer"]


class Pacer:
    """Lets requests pass at most `rate` times a second, evenly; `None` lets all pass.

    Each request reserves the next free slot, so waiting requests keep their order and never bunch.
    """

    def __init__(self, rate: float | None, *, clock: Clock) -> None:
        self._gap = 1.0 / rate if rate else 0.0
        self._clock = clock
        self._next = clock.monotonic()

    async def wait(self) -> None:
        """Return when the next request may go."""
        if not self._gap:
            return
        now = self._clock.monotonic()
        slot = max(now, self._next)
        self._next = slot + self._gap
        if slot > now:
            await self._clock.sleep(slot - now)
