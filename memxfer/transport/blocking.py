"""The shared transport for vendors' clients that block: the same bounds, the same failures."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import httpx

from memxfer.spi.settings import Timeouts
from memxfer.transport.client import open_transport

__all__ = ["BlockingTransport"]


class BlockingTransport(httpx.BaseTransport):
    """Sends a request and reads its whole answer, for an `httpx.Client`; safe to use from many threads.

    Requests run on an event loop in a thread of its own, which the first request starts and `close`
    ends: `httpx`'s own transport bounds neither the time of an answer nor what it unpacks to.

    Args:
        base_url: Address of the service.
        timeouts: As for `open_client`.
        connections: Most connections at a time.

    Raises:
        ConfigError: The environment names a proxy of an unsupported kind.
    """

    def __init__(self, base_url: str, *, timeouts: Timeouts, connections: int) -> None:
        self._wire = open_transport(base_url, timeouts=timeouts, connections=connections)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; raises `httpx.TransportError` as the shared client does."""
        request.read()
        asked = self._exchange(request)
        try:
            with self._lock:
                future = asyncio.run_coroutine_threadsafe(asked, self._running())
        except BaseException:
            asked.close()
            raise
        try:
            return future.result()
        except CancelledError as error:
            raise httpx.ReadError("the client was closed within the exchange", request=request) from error

    def close(self) -> None:
        """Close the connections; exchanges under way fail. Idempotent."""
        with self._lock:
            self._is_closed = True
            loop, self._loop = self._loop, None
        if loop and self._thread:
            asyncio.run_coroutine_threadsafe(self._finish(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._is_closed:
            raise RuntimeError("the client is closed")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="memxfer-transport", daemon=True
            )
            self._thread.start()
        return self._loop

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        response = await self._wire.handle_async_request(request)
        try:
            body = await response.aread()
        finally:
            await response.aclose()
        headers = response.headers.copy()
        headers.pop("content-length", None)  # of the packed body
        headers.pop("transfer-encoding", None)
        return httpx.Response(
            response.status_code,
            headers=headers,
            content=body,
            request=request,
            extensions=response.extensions,
        )

    async def _finish(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._wire.aclose()
