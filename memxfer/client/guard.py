"""Around every call of an app: a time-out, a breaker, and a log line that names the request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from memxfer.errors import AmbiguousError, MemxferError, ProviderError, TransientError, UnavailableError
from memxfer.spi import Clock

__all__ = ["Breaker", "Guard"]

_log = logging.getLogger("memxfer.client")


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

    def enter(self) -> bool:
        """Tell whether a call may be made; the one that tries an open breaker is let through alone."""
        if self._opened is None:
            return True
        if self._is_trying or self.clock.monotonic() - self._opened < self.pause:
            return False
        self._is_trying = True
        return True

    def leave(self, *, is_failure: bool | None) -> None:
        """Note how a call ended; `None`: it was cancelled, and says nothing about the backend."""
        was_trying, self._is_trying = self._is_trying, False
        if is_failure is None:
            return
        if not is_failure:
            self._count, self._opened = 0, None
            return
        self._count += 1
        if was_trying or self._count >= self.failures:
            self._opened = self.clock.monotonic()


@dataclass(frozen=True, slots=True)
class Guard:
    """Makes calls to one backend.

    Attributes:
        provider: Its name, for errors and the log.
        breaker: Shared by all calls to it.
        timeout: Seconds a call may take.
    """

    provider: str
    breaker: Breaker
    timeout: float

    @asynccontextmanager
    async def around(self, operation: str, *, seconds: float | None = None) -> AsyncIterator[None]:
        """Make the call in the block.

        Raises:
            UnavailableError: It took too long (`code="timeout"`), or the backend is not asked for a
                while because it did not answer (`code="breaker_open"`). Whatever the call raises
                passes.
        """
        if not self.breaker.enter():
            raise UnavailableError(
                f"{self.provider} did not answer {self.breaker.failures} calls in a row and is not asked "
                f"for up to {self.breaker.pause:.0f} s",
                provider=self.provider,
                operation=operation,
                code="breaker_open",
            )
        is_failure: bool | None = None
        try:
            async with asyncio.timeout(seconds or self.timeout) as limit:
                yield
            is_failure = False
        except TimeoutError as error:
            is_failure = True
            if not limit.expired():
                raise
            late = UnavailableError(
                f"{self.provider} did not answer {operation} within {seconds or self.timeout:g} s",
                provider=self.provider,
                operation=operation,
                code="timeout",
            )
            _note(late, operation)
            raise late from error
        except MemxferError as error:
            is_failure = isinstance(error, TransientError | AmbiguousError)
            _note(error, operation)
            raise
        finally:  # anything else is the caller's mistake or a bug, and says nothing of the backend
            self.breaker.leave(is_failure=is_failure)


def _note(error: MemxferError, operation: str) -> None:
    """Log what failed, never what was asked for."""
    known = error if isinstance(error, ProviderError) else None
    _log.warning(
        "%s failed (%s): provider=%s code=%s correlation_id=%s",
        operation,
        type(error).__name__,
        known.provider if known else "-",
        (known.code if known else None) or "-",
        (known.correlation_id if known else None) or "-",
    )
