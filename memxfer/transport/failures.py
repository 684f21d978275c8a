"""From a failed exchange to an error that says whether anything can have happened.

The types of the HTTP libraries do not say it by themselves: `httpx-aiohttp` reports a lost answer as
`httpx.ConnectTimeout`, the same as a connection that was never made (0.2.0, seen on a socket). What
`aiohttp` raised stands in `__cause__`, and that decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx

from memxfer.errors import AmbiguousError, FatalError, ProviderError, UnavailableError
from memxfer.transport.bounds import MOST_BYTES, AnswerTooLargeError

__all__ = ["FAILURES", "classify", "was_sent"]

FAILURES: tuple[type[Exception], ...] = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    aiohttp.ClientError,
    asyncio.IncompleteReadError,
    OSError,
)
"""What an exchange can raise; `TimeoutError` is an `OSError`. Cancellation is none of them."""

_UNSENT_AIOHTTP = (
    aiohttp.ClientConnectorError,  # refused, unreachable, DNS, TLS, the proxy
    aiohttp.ConnectionTimeoutError,  # connecting, or waiting for a free connection
    aiohttp.ClientHttpProxyError,  # the proxy would not open the tunnel
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
_UNSENT_HTTPX = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
_MAX_CHAIN = 20


def was_sent(error: BaseException) -> bool:
    """Tell whether the request, or a part of it, may have reached the backend.

    `False` only where the error proves that no byte of it left: refused, no such host, TLS failed,
    no free connection in time. Everything else is `True`.
    """
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, aiohttp.ClientError):
            return not isinstance(link, _UNSENT_AIOHTTP)
    return not any(isinstance(link, _UNSENT_HTTPX) for link in chain)


def classify(
    error: BaseException,
    *,
    is_write: bool,
    provider: str = "",
    operation: str = "",
    where: str = "",
    correlation_id: str | None = None,
) -> ProviderError:
    """Return the memxfer error for an exchange that failed without a complete answer.

    Args:
        error: What the HTTP library raised.
        is_write: Whether doing it twice would do it twice. A delete by id is none.
        provider: Name of the provider.
        operation: What was being done.
        where: Address of the backend, without a key.
        correlation_id: The id sent with the request.

    Returns:
        `UnavailableError` where nothing was sent, and for every read whose answer may come next time;
        `FatalError` for one that is too large, as it will be again; else `AmbiguousError`. Raise it
        `from error`. Its text names the kind of failure only, never what was sent.
    """
    sent = was_sent(error)
    place = f" at {where}" if where else ""
    name = provider or "the backend"
    details: dict[str, Any] = {"provider": provider, "operation": operation, "correlation_id": correlation_id}
    if not sent:
        message = f"{name} cannot be reached{place}: {_kind(error)}; check base_url and the network"
        return UnavailableError(message, code="unreachable", **details)
    if is_write:
        message = f"{name} may or may not have done it: {_kind(error)}"
        return AmbiguousError(message, code="no_answer", **details)
    if any(isinstance(link, AnswerTooLargeError) for link in _chain(error)):
        message = (
            f"{name}{place} answered with over {MOST_BYTES // 1024**2} MiB, more than memxfer takes; set a "
            "smaller page_size, or check base_url"
        )
        return FatalError(message, code="answer_too_large", **details)
    return UnavailableError(f"{name}{place} did not answer: {_kind(error)}", code="no_answer", **details)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(_MAX_CHAIN):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (AnswerTooLargeError, "its answer was too large to be read"),
    (aiohttp.ClientConnectorDNSError, "its name does not resolve"),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not trusted"),
    (aiohttp.ClientConnectorSSLError, "TLS failed"),
    (aiohttp.ClientProxyConnectionError, "the proxy cannot be reached"),
    (aiohttp.ClientHttpProxyError, "the proxy refused"),
    (ConnectionRefusedError, "connection refused"),
    (aiohttp.ConnectionTimeoutError, "no connection in time"),
    (httpx.PoolTimeout, "no connection in time"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.SocketTimeoutError, "no answer in time"),
    (httpx.ReadTimeout, "no answer in time"),
    (httpx.WriteTimeout, "it did not take the request and begin to answer in time"),
    (aiohttp.ClientPayloadError, "the answer was cut off"),
    (ConnectionResetError, "the connection was reset"),
    (aiohttp.ServerDisconnectedError, "the connection was closed without an answer"),
    (aiohttp.ClientResponseError, "the answer was not HTTP"),
    (httpx.DecodingError, "the answer could not be decompressed"),
    (httpx.RemoteProtocolError, "the answer was not HTTP"),
    (httpx.ConnectError, "no connection"),
    (httpx.TimeoutException, "no answer in time"),
    (OSError, "the connection failed"),
)


def _kind(error: BaseException) -> str:
    chain = list(_chain(error))
    for kind, words in _KINDS:
        if any(isinstance(link, kind) for link in chain):
            return words
    return "the connection failed"
