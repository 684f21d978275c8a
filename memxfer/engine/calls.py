"""Calling a backend: pace, wait as it asks, try again what may work later, stop at what cannot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from memxfer.engine.control import RunControl, StopCause, Stopped
from memxfer.errors import (
    AmbiguousError,
    AuthError,
    ConfigError,
    FatalError,
    LedgerError,
    MemxferError,
    NotReadyError,
    QuotaExceededError,
    RateLimitedError,
    TransientError,
)
from memxfer.pacing import Pacer
from memxfer.retry import Backoff
from memxfer.spi import Clock, ConnectionConfig

__all__ = ["Caller"]

T = TypeVar("T")

_CAUSES: tuple[tuple[type[MemxferError], StopCause], ...] = (
    (AuthError, StopCause.AUTH),
    (QuotaExceededError, StopCause.QUOTA),
    (TransientError, StopCause.UNAVAILABLE),
    (AmbiguousError, StopCause.UNAVAILABLE),
    (LedgerError, StopCause.LEDGER),
    (ConfigError, StopCause.CONFIG),
)


@dataclass(slots=True)
class Caller:
    """Makes the calls to one connection.

    Attributes:
        settings: The connection's common settings.
        control: Stopped when no call can work any more.
        clock: Tells the time that refused calls wait until.
        refusals: Calls refused with 429 so far.
        waiting_until: When the last refusal lets the refused call go, by the monotonic clock.
    """

    settings: ConnectionConfig
    control: RunControl
    clock: Clock
    refusals: int = 0
    waiting_until: float = 0.0
    _pacer: Pacer = field(init=False)

    def __post_init__(self) -> None:
        self._pacer = Pacer(self.settings.max_rate, clock=self.clock, sleep=self.control.sleep)

    async def read(self, call: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
        """Make a call that may be repeated at will: a question, not a write.

        Args:
            call: Makes it, each time anew.
            is_paced: It costs a request; not so for a step of a longer listing.

        Raises:
            Stopped: The run is stopping, for this call's failure or another reason.
        """
        return await self._call(call, retried=(TransientError, AmbiguousError), is_paced=is_paced)

    async def write(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call that is repeated only where certainly nothing was stored.

        Raises:
            Stopped: The run is stopping; nothing of this call was stored.
            AmbiguousError, RecordError: As raised by the call.
        """
        return await self._call(call, retried=(TransientError,))

    async def _call(
        self,
        call: Callable[[], Awaitable[T]],
        *,
        retried: tuple[type[Exception], ...],
        is_paced: bool = True,
    ) -> T:
        backoff = Backoff(self.settings.retry)
        refusals = 0
        while True:
            self.control.check()
            if is_paced:
                await self._pacer.wait()
            try:
                return await call()
            except (RateLimitedError, NotReadyError) as error:
                refusals += 1
                await self._wait(backoff.refusal_wait(error.retry_after, refusals))
            except FatalError as error:
                self.give_up(error)
                raise Stopped from error
            except retried as error:
                wait = backoff.next_wait()
                if wait is None:
                    self.control.stop(StopCause.UNAVAILABLE, self._give_up(error, backoff.tries), error=error)
                    raise Stopped from error
                await self.control.sleep(wait)

    async def _wait(self, seconds: float) -> None:
        self.refusals += 1
        self.waiting_until = max(self.waiting_until, self.clock.monotonic() + seconds)
        await self.control.sleep(seconds)

    def give_up(self, error: MemxferError) -> None:
        """Stop the run for an error that no further try will mend, or that came where none is possible."""
        cause = next((cause for kind, cause in _CAUSES if isinstance(error, kind)), StopCause.FATAL)
        self.control.stop(cause, str(error), error=error)

    @staticmethod
    def _give_up(error: Exception, tries: int) -> str:
        return f"{error} (tried {tries} times); resume the job when the backend answers again"
