"""How much may be in memory at once, in bytes."""

from __future__ import annotations

import asyncio

__all__ = ["ByteBudget"]


class ByteBudget:
    """A bound on bytes listed and not yet settled.

    Attributes:
        limit: The bound.

    A holder may take more than is left when nothing else is held, so one oversized record passes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._waiting = 0
        self._is_closed = False
        self._changed = asyncio.Condition()

    @property
    def is_tight(self) -> bool:
        """Whether somebody waits for room."""
        return self._waiting > 0

    @property
    def used(self) -> int:
        """Bytes held now."""
        return self._used

    async def acquire(self, size: int) -> None:
        """Hold `size` bytes; waits until they fit."""
        async with self._changed:
            self._waiting += 1
            try:
                await self._changed.wait_for(lambda: self._fits(size))
            finally:
                self._waiting -= 1
            self._used += size

    async def acquire_now(self, size: int) -> None:
        """Hold `size` bytes that are in memory already."""
        async with self._changed:
            self._used += size

    async def release(self, size: int) -> None:
        """Give `size` bytes back."""
        async with self._changed:
            self._used -= size
            self._changed.notify_all()

    async def close(self) -> None:
        """Let everybody pass from now on: the run is over, and nobody will give anything back."""
        self._is_closed = True
        await self.release(0)

    def _fits(self, size: int) -> bool:
        return self._is_closed or self._used == 0 or self._used + size <= self.limit
