"""Why a run stops before its end, and who asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

from memxfer.spi import Clock

__all__ = ["RunControl", "StopCause", "Stopped", "side_by_side"]


class StopCause(StrEnum):
    """What makes a run stop early; the first cause is kept."""

    INTERRUPTED = "interrupted"
    AUTH = "auth"
    QUOTA = "quota"
    FATAL = "fatal"
    UNAVAILABLE = "unavailable"
    CONFIG = "config"
    UNCERTAIN = "uncertain"
    DECISION = "decision"
    LEDGER = "ledger"
    BUG = "bug"


class Stopped(Exception):  # noqa: N818 - a signal inside the engine, never an error a caller sees
    """The run is stopping: leave the work where it is."""


class RunControl:
    """Shared by everything that runs: whether to go on, and if not, why.

    Attributes:
        cause: The first reason to stop; `None` while all is well.
        reason: One sentence for people.
        error: What was raised, for the log.
    """

    def __init__(self, clock: Clock) -> None:
        self.cause: StopCause | None = None
        self.reason = ""
        self.error: BaseException | None = None
        self._clock = clock
        self._event = asyncio.Event()

    @property
    def is_stopping(self) -> bool:
        """Whether no new work may begin."""
        return self.cause is not None

    def stop(self, cause: StopCause, reason: str, *, error: BaseException | None = None) -> None:
        """Ask everything to finish what is under way. Only the first call counts."""
        if self.cause is None:
            self.cause, self.reason, self.error = cause, reason, error
            self._event.set()

    def check(self) -> None:
        """Raise `Stopped` if the run is stopping."""
        if self.is_stopping:
            raise Stopped

    async def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until the run stops.

        Raises:
            Stopped: It stopped.
        """
        self.check()
        await self._until_stopped(self._clock.sleep(seconds))

    async def wait(self, event: asyncio.Event) -> None:
        """Wait for an event, but no longer than until the run stops.

        Raises:
            Stopped: It stopped.
        """
        self.check()
        await self._until_stopped(event.wait())

    async def _until_stopped(self, work: Coroutine[Any, Any, object]) -> None:
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()
            stopping.cancel()
        self.check()


@asynccontextmanager
async def side_by_side() -> AsyncIterator[asyncio.TaskGroup]:
    """Give a task group whose first error comes out as itself, so that whoever classifies errors knows it."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
