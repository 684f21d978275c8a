"""Token-bucket rate limits and the ways a backend words Retry-After."""

from __future__ import annotations

import math
from collections.abc import Callable
from email.utils import formatdate

from .settings import RateLimit, RetryAfterStyle


def retry_after_headers(style: RetryAfterStyle, seconds: float, *, now: float) -> dict[str, str]:
    """Return a 429's headers in one of the styles seen in the wild.

    Args:
        style: `integer` seconds (rounded up), `decimal` seconds, HTTP `date`, or `absent`.
        seconds: How long to wait.
        now: Epoch seconds; only a date and `X-RateLimit-Reset` use it.
    """
    if style == "absent":
        return {}
    wait = max(seconds, 0.0)
    texts = {
        "integer": str(max(1, math.ceil(wait))),
        "decimal": f"{wait:.3f}",
        "date": formatdate(math.ceil(now + wait), usegmt=True),
    }
    return {"retry-after": texts[style], "x-ratelimit-reset": str(math.ceil(now + wait))}


class TokenBucket:
    """Allows `burst` requests at once and `per_minute` in the long run."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._rate = limit.per_minute / 60
        self._burst = float(limit.burst)
        self._tokens = self._burst
        self._at = now

    def take(self, now: float) -> float:
        """Take one token; return 0, or the seconds until there is one (nothing is taken then)."""
        self._tokens = min(self._burst, self._tokens + max(now - self._at, 0.0) * self._rate)
        self._at = now
        if self._tokens >= 1 - 1e-9:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate


class RateLimiter:
    """One bucket per key, all with the same limit."""

    def __init__(self, limit: RateLimit | None, *, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._buckets: dict[str, TokenBucket] = {}

    def refusal_headers(self, key: str) -> dict[str, str] | None:
        """Return `None` when the request may pass, else the headers of its 429."""
        if self._limit is None:
            return None
        now = self._clock()
        bucket = self._buckets.get(key) or self._buckets.setdefault(key, TokenBucket(self._limit, now))
        wait = bucket.take(now)
        if not wait:
            return None
        return retry_after_headers(self._limit.retry_after_style, wait, now=now)
