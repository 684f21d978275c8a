"""What goes wrong with backends, in the log: never content, and what lasts is said once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from weakref import WeakSet

from memxfer.client.waits import asked_seconds
from memxfer.errors import (
    AmbiguousError,
    ConfigError,
    FatalError,
    MemxferError,
    ProviderError,
    RateLimitedError,
    TransientError,
)
from memxfer.spi import Clock

__all__ = ["OPENING", "Notes"]

_log = logging.getLogger("memxfer.client")

_AGAIN_AFTER = 3600.0
"""Seconds after which something that lasts is said again."""

_Key = tuple[str, str, str, str | None]


@dataclass(slots=True)
class Notes:
    """Logs the failures of a client's calls.

    A failure that passes by itself (nobody answers, a rate limit) is a warning, every time. One that
    lasts until somebody acts is said once, and again after an hour: a refused key, an account that has
    run out, or wrong settings as CRITICAL, input that the backend can never serve as ERROR. Repeats of
    those are DEBUG.

    Attributes:
        clock: Time.
    """

    clock: Clock
    _said: dict[_Key, float] = field(default_factory=dict, init=False)
    _noted: WeakSet[MemxferError] = field(default_factory=WeakSet, init=False)

    def failed(self, provider: str, operation: str, error: Exception) -> None:
        """Log one failure; the same error object only once."""
        if isinstance(error, MemxferError):
            if error in self._noted:
                return
            self._noted.add(error)
        known = error if isinstance(error, ProviderError) else None
        _log.log(
            self._level(provider, operation, error),
            "%s failed (%s): provider=%s code=%s correlation_id=%s%s",
            operation,
            type(error).__name__,
            provider,
            (known.code if known else None) or "-",
            (known.correlation_id if known else None) or "-",
            _remedy(error, operation),
        )

    def worked(self, provider: str) -> None:
        """Note that a backend answered: what it refused everybody for is over, and is said anew."""
        if self._said:
            for key in [key for key in self._said if key[0] == provider and key[1] == "*"]:
                del self._said[key]

    def _level(self, provider: str, operation: str, error: Exception) -> int:
        if isinstance(error, TransientError | AmbiguousError):
            return logging.DEBUG if getattr(error, "code", None) in _NOT_ASKED else logging.WARNING
        lasts_for_all = isinstance(error, FatalError | ConfigError)
        code = error.code if isinstance(error, ProviderError) else None
        key = (provider, "*" if lasts_for_all else operation, type(error).__name__, code)
        now = self.clock.monotonic()
        if now - self._said.get(key, float("-inf")) < _AGAIN_AFTER:
            return logging.DEBUG
        if len(self._said) > 1_000:
            self._said.clear()
        self._said[key] = now
        return logging.CRITICAL if lasts_for_all else logging.ERROR


_NOT_ASKED = frozenset({"breaker_open", "not_open", "rate_limit_hold"})
"""Codes of calls that were not made, for a reason that has been logged."""


OPENING = "opening"
"""The operation that hands nothing over yet: what its errors say quotes no memory."""


def _remedy(error: Exception, operation: str) -> str:
    if isinstance(error, ConfigError) or (operation == OPENING and isinstance(error, MemxferError)):
        return f": {error}"
    if isinstance(error, RateLimitedError):
        asked = asked_seconds(error)
        return "" if asked is None else f"; it asks to wait {asked:g} s"
    if isinstance(error, FatalError):
        return "; no call will work until somebody mends this"
    if isinstance(error, TransientError | AmbiguousError):
        return ""
    return "; the same call will fail again"
