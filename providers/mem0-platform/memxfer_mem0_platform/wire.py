"""What passed over the wire during one call of the vendor's client, and what a failure means by it.

The client's exceptions do not tell a lost answer from a request that never left, and lose a decimal
`Retry-After` (mem0ai 2.2.1). It sends through an `httpx.Client` of ours over the shared transport, so the
exchange itself decides; its exceptions are read only where nothing was sent.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import msgspec

from memxfer.spi import (
    AmbiguousError,
    BatchRefusedError,
    ProviderError,
    QuotaExceededError,
    RecordError,
    Timeouts,
    UnavailableError,
)
from memxfer.transport import BlockingTransport, classify, error_for_status, redact

__all__ = ["NAME", "Exchange", "WatchedClient", "meaning_of"]

NAME = "mem0"

_TOO_LARGE = 413
_STATUS = re.compile(r"HTTP_(\d{3})")
_UNREACHABLE = "NET_CONNECT"


@dataclass(slots=True)
class Exchange:
    """The last request of a call: its answer, or how it failed; neither when nothing was sent."""

    response: httpx.Response | None = None
    error: Exception | None = None


class WatchedClient(httpx.Client):
    """A client that notes each exchange for the thread that asked; sends once, follows no redirect."""

    def __init__(self, base_url: str, *, timeouts: Timeouts, connections: int) -> None:
        super().__init__(
            transport=BlockingTransport(base_url, timeouts=timeouts, connections=connections),
            base_url=base_url,
            timeout=httpx.Timeout(
                connect=timeouts.connect, read=timeouts.read, write=timeouts.write, pool=timeouts.connect
            ),
            trust_env=False,
            headers={"User-Agent": "memxfer"},
        )
        self._threads = threading.local()

    def watch(self) -> Exchange:
        """Return what this thread's next exchange is noted in."""
        self._threads.exchange = Exchange()
        return self._threads.exchange  # type: ignore[no-any-return]  # a thread-local holds anything

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request, and note what came of it."""
        exchange: Exchange | None = getattr(self._threads, "exchange", None)
        try:
            response = super().send(request, **options)
        except Exception as error:
            if exchange is not None:
                exchange.response, exchange.error = None, error
            raise
        if exchange is not None:
            exchange.response, exchange.error = response, None
        return response


def meaning_of(
    failure: Exception, exchange: Exchange, *, operation: str, is_write: bool, now: Callable[[], datetime]
) -> ProviderError:
    """Return the error for a call of the vendor's client that raised.

    Args:
        failure: What it raised.
        exchange: What was seen of its last request.
        operation: What was being done.
        is_write: Whether doing it twice would do it twice.
        now: Gives the time of day, aware; for `Retry-After`.
    """
    if exchange.error is not None:
        return classify(exchange.error, is_write=is_write, provider=NAME, operation=operation)
    if exchange.response is None:
        return _unseen(failure, operation=operation, is_write=is_write, now=now)
    if exchange.response.is_success:
        return unreadable(operation, is_write=is_write, correlation_id=_correlation(exchange.response))
    response = exchange.response
    return _refusal(
        response.status_code,
        _said(response),
        operation=operation,
        is_write=is_write,
        now=now,
        headers=dict(response.headers),
        correlation_id=_correlation(response),
    )


def unreadable(operation: str, *, is_write: bool, correlation_id: str | None = None) -> ProviderError:
    """Return the error for a success whose answer makes no sense."""
    kind = AmbiguousError if is_write else UnavailableError
    return kind(
        "mem0's answer cannot be read",
        provider=NAME,
        operation=operation,
        code="unreadable_answer",
        correlation_id=correlation_id,
    )


def _refusal(
    status: int,
    said: str,
    *,
    operation: str,
    is_write: bool,
    now: Callable[[], datetime],
    headers: dict[str, str],
    correlation_id: str | None,
) -> ProviderError:
    details: dict[str, Any] = {
        "provider": NAME,
        "operation": operation,
        "correlation_id": correlation_id,
    }
    if status == _TOO_LARGE:  # the vendor's client calls it a used-up quota, not a large request
        text = f"mem0's account has run out (413): {redact(said)}; raise its quota, then resume"
        return QuotaExceededError(text, status=status, code="quota", **details)
    return error_for_status(
        status, is_write=is_write, now=now(), headers=headers, text=redact(said), **details
    )


def _unseen(
    failure: Exception, *, operation: str, is_write: bool, now: Callable[[], datetime]
) -> ProviderError:
    """Judge by the exception alone: a client that did not send through ours, or refused by itself."""
    code = str(getattr(failure, "error_code", ""))
    found = _STATUS.fullmatch(code)
    if found:
        return _refusal(
            int(found.group(1)),
            str(failure),
            operation=operation,
            is_write=is_write,
            now=now,
            headers=_wait_header(failure),
            correlation_id=None,
        )
    details: dict[str, Any] = {"provider": NAME, "operation": operation}
    if code == _UNREACHABLE:
        return UnavailableError(
            "mem0 cannot be reached; check base_url and the network", code="unreachable", **details
        )
    if code.startswith("NET_"):
        kind = AmbiguousError if is_write else UnavailableError
        return kind("mem0 did not answer", code="no_answer", **details)
    message = f"the Mem0 client would not send this ({type(failure).__name__})"
    return (BatchRefusedError if is_write else RecordError)(message, code="invalid", **details)


def _wait_header(failure: Exception) -> dict[str, str]:
    wait = (getattr(failure, "debug_info", None) or {}).get("retry_after")
    return {} if wait is None else {"retry-after": str(wait)}


def _said(response: httpx.Response) -> str:
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return body if isinstance(body, str) else ""
    return next(
        (body[name] for name in ("detail", "error", "message") if isinstance(body.get(name), str)), ""
    )


def _correlation(response: httpx.Response) -> str | None:
    headers: Mapping[str, str] = response.headers
    return headers.get("x-request-id") or headers.get("cf-ray")
