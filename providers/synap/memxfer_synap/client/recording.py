"""What really went over the wire while the vendor's SDK thought its own thoughts about it.

SDK 0.6.9 loses the truth in many places: `int()` on a decimal `Retry-After`, a `TypeError` on a null
id after the batch was accepted, one exception for a refused connection and for a lost answer. It
takes an `httpx` client from outside, though, and ours notes every exchange.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import httpx

from memxfer_synap.client.answers import Answer

__all__ = ["Recording", "observe", "recording"]


@dataclass
class Recording:
    """The last exchange of one call to the SDK; empty when nothing was sent.

    Attributes:
        response: The answer, whole or not.
        error: What the network did instead.
    """

    response: httpx.Response | None = None
    error: Exception | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no request was made."""
        return self.response is None and self.error is None

    def answer(self, operation: str, correlation_id: str | None = None) -> Answer | None:
        """Return the answer if it came whole."""
        response = self.response
        if response is None:
            return None
        try:
            body = response.content
        except httpx.StreamError:  # cut off, or never read
            return None
        found = response.headers.get("x-correlation-id") or correlation_id or _sent_id(response)
        return Answer(response.status_code, response.headers, body, found, operation)


_current: ContextVar[Recording | None] = ContextVar("memxfer_synap_recording", default=None)


@contextmanager
def recording() -> Iterator[Recording]:
    """Note what the calls inside send and get, in this task."""
    noted = Recording()
    token = _current.set(noted)
    try:
        yield noted
    finally:
        _current.reset(token)


def observe(outcome: httpx.Response | Exception) -> None:
    """Take note of an outcome; for `open_client(observe=...)`."""
    noted = _current.get()
    if noted is None:
        return
    noted.response = outcome if isinstance(outcome, httpx.Response) else None
    noted.error = outcome if isinstance(outcome, Exception) else None


def _sent_id(response: httpx.Response) -> str | None:
    try:
        sent: str | None = response.request.headers.get("x-correlation-id")
    except RuntimeError:  # httpx: the response has no request
        return None
    return sent
