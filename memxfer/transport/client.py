"""The shared client: the `httpx` API over `aiohttp`'s connection pool.

Plain `httpx` collapses beyond some eight connections per client (653 us of CPU a request at 8, 15 ms
at 128; `aiohttp` 69 and 91). Three habits of the pair are undone here, each pinned by a test on a
socket: `aiohttp` re-sends idempotent requests by itself, it has no time-out for writing, and a lost
answer is reported as a connection that was never made. Answers are bounded, see `bounds`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from memxfer.errors import ProviderError
from memxfer.spi.settings import Timeouts
from memxfer.transport.bounds import ACCEPTED, bounded
from memxfer.transport.failures import FAILURES, classify
from memxfer.transport.proxies import proxy_from_environment

__all__ = ["AnswerLostError", "Observer", "exchange", "open_client", "open_transport"]

Observer = Callable[[httpx.Response | Exception], None]
"""Told of every answer, before its body is read, and of every failure, in the task that asked."""

_SLOWEST_UPLOAD = 16 * 1024
"""Bytes per second below which sending counts as stalled."""
_IDLE_SECONDS = 15.0
_WHOLE = 1024 * 1024
"""Largest body that `aiohttp` takes in one piece without a warning that it blocks the event loop."""
_PIECE = 64 * 1024
_MOST_ADDRESSES = 256
"""Paths whose address is kept; those with an id in them come once."""


class AnswerLostError(aiohttp.ClientConnectionError):
    """The connection ended after the request had begun and before an answer.

    `aiohttp` sends an idempotent request again on `ClientOSError` and `ServerDisconnectedError`; this
    is neither, so the caller learns of every loss.
    """


def open_client(
    base_url: str,
    *,
    timeouts: Timeouts,
    connections: int = 64,
    headers: Mapping[str, str] | None = None,
    proxy: str | Literal["environment"] | None = "environment",
    observe: Observer | None = None,
) -> httpx.AsyncClient:
    """Return a client for one backend. Opens nothing yet; close it with `aclose`.

    It sends every request once, follows no redirect, keeps no cookie and reads no `.netrc`. An answer
    has at most `MOST_BYTES`, on the wire and unpacked, and must come at a reasonable pace. Failures are
    `httpx` errors; `classify` tells what they mean.

    Args:
        base_url: Address of the service; a login in it becomes a header, and is nowhere else.
        timeouts: Seconds for connecting (waiting for a free connection included), for reading
            between two pieces of an answer, and for sending.
        connections: Most connections at a time; further requests wait for one.
        headers: Sent with every request.
        proxy: Address of a proxy; `"environment"` asks the environment variables.
        observe: Told of every answer and every failure.

    Raises:
        ConfigError: The environment names a proxy of an unsupported kind.
    """
    transport = open_transport(base_url, timeouts=timeouts, connections=connections, proxy=proxy)
    transport.observe = observe
    address = httpx.URL(base_url)
    return _Client(
        transport,
        base_url=address.copy_with(userinfo=b""),
        headers={"User-Agent": "memxfer", **_login(address), **(headers or {})},
        timeout=httpx.Timeout(
            connect=timeouts.connect, read=timeouts.read, write=timeouts.write, pool=timeouts.connect
        ),
        follow_redirects=False,
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )


def open_transport(
    base_url: str,
    *,
    timeouts: Timeouts,
    connections: int,
    proxy: str | Literal["environment"] | None = "environment",
) -> _Transport:
    """Return what `open_client` sends through; see there."""
    address = proxy_from_environment(base_url) if proxy == "environment" else proxy
    return _Transport(
        is_tls=base_url.startswith("https:"), proxy=address, connections=connections, timeouts=timeouts
    )


async def exchange(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    is_write: bool,
    provider: str,
    operation: str,
    correlation_id: str | None = None,
    **request: Any,
) -> httpx.Response:
    """Send one request and read its whole answer, whatever its status.

    Args:
        client: From `open_client`.
        method: HTTP method.
        path: Path below the client's `base_url`.
        is_write: Whether doing it twice would do it twice.
        provider: Name of the provider, for errors.
        operation: What is being done, for errors.
        correlation_id: Id sent with the request, for errors.
        **request: As for `httpx.AsyncClient.build_request`: `content`, `params`, `headers`, ...

    Raises:
        UnavailableError: Nothing was sent; or a read got no complete answer.
        AmbiguousError: A write got no complete answer.
    """
    try:
        if isinstance(client, _Client):
            return await client.send_plainly(method, path, **request)
        return await client.request(method, path, **request)
    except FAILURES as error:
        raise _classified(client, error, is_write, provider, operation, correlation_id) from error


def _classified(
    client: httpx.AsyncClient,
    error: Exception,
    is_write: bool,
    provider: str,
    operation: str,
    correlation_id: str | None,
) -> ProviderError:
    where = str(client.base_url).rstrip("/")
    return classify(
        error,
        is_write=is_write,
        provider=provider,
        operation=operation,
        where=where,
        correlation_id=correlation_id,
    )


class _Client(httpx.AsyncClient):
    """`httpx.AsyncClient` with a short way for requests that need no login, redirect or cookie."""

    def __init__(self, transport: _Transport, **settings: Any) -> None:
        super().__init__(transport=transport, **settings)
        self._wire = transport
        self._addresses: dict[str, httpx.URL] = {}

    async def send_plainly(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request and read its answer: what `request` does, for a third less CPU."""
        response = await self._wire.handle_async_request(
            self.build_request(method, self._address(path), **request)
        )
        try:
            await response.aread()
        except BaseException:
            await response.aclose()
            raise
        return response

    def _address(self, path: str) -> httpx.URL:
        """Return `path` below the base; putting that together is a tenth of a request's CPU."""
        found = self._addresses.get(path)
        if found is None:
            if len(self._addresses) >= _MOST_ADDRESSES:
                self._addresses.clear()
            found = self._addresses[path] = self.build_request("GET", path).url
        return found


class _Transport(AiohttpTransport):
    """`httpx-aiohttp`, made to say what happened."""

    observe: Observer | None = None

    def __init__(self, *, is_tls: bool, proxy: str | None, connections: int, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        super().__init__(
            verify=_trusted() if is_tls or (proxy or "").startswith("https:") else _untrusting(),
            trust_env=False,
            limits=httpx.Limits(max_connections=connections, keepalive_expiry=_IDLE_SECONDS),
            proxy=_proxy(proxy) if proxy else None,
            client=self._open_session,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send once; raise `httpx.TransportError` and nothing else of the network's."""
        request.headers["Accept-Encoding"] = ACCEPTED  # whatever a vendor's client would take
        try:
            response = await self._send(request)
        except FAILURES as error:
            if self.observe:
                self.observe(error)
            raise
        if self.observe:
            self.observe(response)
        return response

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            async with asyncio.timeout(self._patience(request)):
                response = await super().handle_async_request(_in_pieces(request))
        except httpx.ConnectTimeout as error:
            if isinstance(error.__cause__, AnswerLostError):
                raise httpx.ReadError(str(error), request=request) from error.__cause__
            raise
        except TimeoutError as error:
            raise httpx.WriteTimeout("no answer began in time", request=request) from error
        except aiohttp.ClientResponseError as error:  # httpx-aiohttp lets it through as it is
            raise httpx.RemoteProtocolError("the answer is not HTTP", request=request) from error
        return bounded(response, seconds=self._timeouts.read)

    def _patience(self, request: httpx.Request) -> float:
        """Return the seconds until the head of an answer: the one bound on a peer that does not read."""
        limits = self._timeouts
        size = int(request.headers.get("content-length", 0))
        return limits.connect + limits.write + size / _SLOWEST_UPLOAD + limits.read

    def _open_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self.limits.max_connections or 0,
            keepalive_timeout=self.limits.keepalive_expiry or 0,
            ssl=self.ssl_context,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_send_once,),
            trust_env=False,
        )


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _PIECE):
            yield self._body[start : start + _PIECE]


def _in_pieces(request: httpx.Request) -> httpx.Request:
    """Return `request` with a large body as a stream of known length."""
    if int(request.headers.get("content-length", 0)) <= _WHOLE:
        return request
    stream = _Pieces(request.content)
    return httpx.Request(
        request.method, request.url, headers=request.headers, stream=stream, extensions=request.extensions
    )


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise AnswerLostError("the connection ended without an answer") from error


def _proxy(address: str) -> httpx.Proxy:
    """Return the proxy with its login as a header: `aiohttp` turns `Authorization` into the proxy's own."""
    url = httpx.URL(address)
    return httpx.Proxy(url.copy_with(userinfo=b""), headers=_login(url))


def _login(url: httpx.URL) -> dict[str, str]:
    if not url.userinfo:
        return {}
    return {"Authorization": aiohttp.encode_basic_auth(url.username, url.password)}


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """Return the usual trust, `SSL_CERT_FILE` and `SSL_CERT_DIR` honoured; slow to build (30 ms)."""
    return httpx.create_ssl_context(trust_env=True)


def _untrusting() -> ssl.SSLContext:
    """Return a context that trusts nobody, for clients that speak no TLS."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
