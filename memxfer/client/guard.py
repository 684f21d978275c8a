"""Around every call of an app: a time-out, a breaker, the backend's own waits, and a log line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from memxfer.client.notes import Notes
from memxfer.client.waits import asked_seconds
from memxfer.errors import AmbiguousError, MemxferError, RateLimitedError, TransientError, UnavailableError
from memxfer.spi import Clock

__all__ = ["Breaker", "Guard", "Ticket"]

_log = logging.getLogger("memxfer.client")


@dataclass(frozen=True, slots=True)
class Ticket:
    """Lets one call pass.

    Attributes:
        is_trial: It is the one call that tries whether the backend answers again.
    """

    is_trial: bool = False


@dataclass(slots=True)
class Breaker:
    """Stops asking a backend that does not answer, and tries again later with one call.

    Attributes:
        clock: Time.
        failures: So many in a row open it.
        pause: Seconds it stays open before one call may try.
    """

    clock: Clock
    failures: int = 5
    pause: float = 30.0
    _count: int = field(default=0, init=False)
    _opened: float | None = field(default=None, init=False)
    _is_trying: bool = field(default=False, init=False)

    @property
    def is_open(self) -> bool:
        """Whether calls are refused without being made."""
        return self._opened is not None

    def enter(self) -> Ticket | None:
        """Return the ticket of a call that may be made; `None`: it may not.

        Once the pause of an open breaker is over, one call gets through at a time.
        """
        if self._opened is None:
            return Ticket()
        if self._is_trying or self.clock.monotonic() - self._opened < self.pause:
            return None
        self._is_trying = True
        return Ticket(is_trial=True)

    def leave(self, ticket: Ticket, *, is_failure: bool | None) -> None:
        """Note how a call ended; `None`: it was cancelled, and says nothing about the backend."""
        if ticket.is_trial:
            self._is_trying = False
        if is_failure is None:
            return
        if not is_failure:
            self._count, self._opened = 0, None
            return
        self._count += 1
        # What an earlier call says late is known already.
        if ticket.is_trial or (self._opened is None and self._count >= self.failures):
            self._opened = self.clock.monotonic()


@dataclass(slots=True)
class Guard:
    """Makes calls to one backend.

    Attributes:
        provider: Its name, for errors and the log.
        breaker: Shared by all calls to it.
        timeout: Seconds a call may take.
        notes: Logs what fails.
    """

    provider: str
    breaker: Breaker
    timeout: float
    notes: Notes
    _held: dict[str, float] = field(default_factory=dict, init=False)

    @asynccontextmanager
    async def around(self, operation: str, *, seconds: float | None = None) -> AsyncIterator[None]:
        """Make the call in the block.

        A refusal with 429 is an answer: it does not open the breaker. The same operation is then not
        asked for again before the time that the backend gave, at most the breaker's pause; others are.

        Raises:
            UnavailableError: It took too long (`code="timeout"`), or the backend is not asked for a
                while because it did not answer (`code="breaker_open"`). Whatever the call raises
                passes.
            RateLimitedError: The backend has asked to wait (`code="rate_limit_hold"`).
        """
        self._check_held(operation)
        ticket = self.breaker.enter()
        if ticket is None:
            raise UnavailableError(
                f"{self.provider} did not answer {self.breaker.failures} calls in a row and is not asked "
                f"for up to {self.breaker.pause:.0f} s",
                provider=self.provider,
                operation=operation,
                code="breaker_open",
            )
        is_failure: bool | None = None
        limit_seconds = self.timeout if seconds is None else min(seconds, self.timeout)
        try:
            async with asyncio.timeout(limit_seconds) as limit:
                yield
            is_failure = False
            self.notes.worked(self.provider)
        except TimeoutError as error:
            is_failure = True
            if not limit.expired():
                raise
            late = UnavailableError(
                f"{self.provider} did not answer {operation} within {limit_seconds:g} s",
                provider=self.provider,
                operation=operation,
                code="timeout",
            )
            self.notes.failed(self.provider, operation, late)
            raise late from error
        except RateLimitedError as error:
            is_failure = False
            self._hold(operation, error)
            self.notes.failed(self.provider, operation, error)
            raise
        except MemxferError as error:
            is_failure = isinstance(error, TransientError | AmbiguousError)
            self.notes.failed(self.provider, operation, error)
            raise
        finally:  # anything else is the caller's mistake or a bug, and says nothing of the backend
            was_open = self.breaker.is_open
            self.breaker.leave(ticket, is_failure=is_failure)
            if self.breaker.is_open and not was_open:
                _log.warning(
                    "%s did not answer %d calls in a row and is not asked for %.0f s",
                    self.provider,
                    self.breaker.failures,
                    self.breaker.pause,
                )

    def _check_held(self, operation: str) -> None:
        left = self._held.get(operation, 0.0) - self.breaker.clock.monotonic()
        if left > 0:
            raise RateLimitedError(
                f"{self.provider} refused {operation} (429) and asked to wait; {left:.1f} s are left",
                retry_after=left,
                provider=self.provider,
                operation=operation,
                code="rate_limit_hold",
            )

    def _hold(self, operation: str, error: RateLimitedError) -> None:
        asked = asked_seconds(error)
        if asked is not None:
            self._held[operation] = self.breaker.clock.monotonic() + min(asked, self.breaker.pause)
