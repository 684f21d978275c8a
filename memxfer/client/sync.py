"""The same client for code that is not async: a loop of its own on a thread, and calls that wait."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from memxfer.capabilities import Capabilities
from memxfer.client.client import ClientSettings, ProviderLike
from memxfer.client.entries import ClientClosedError
from memxfer.client.operations import CapabilityGap, Operation
from memxfer.client.results import Handle, IngestProgress, MemoryPage
from memxfer.client.swapping import SwappableClient
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import ContextPackage, Hit

__all__ = ["SyncMemoryClient"]

T = TypeVar("T")

_log = logging.getLogger("memxfer.client")

_LONGEST_STOP = 5.0
"""Seconds that the loop's thread may take to end; it holds no process open."""


class SyncMemoryClient:
    """A `SwappableClient` for code without `async`; open as soon as it is made. May be used by many threads.

    It does not work across a fork: make one in each worker process, after the fork, each with an outbox
    file of its own. In a process forked from its own, and after `close`, calls raise
    `ClientClosedError`, and `recall` gives `None`.

    Args:
        providers: As for `SwappableClient`.
        default_provider: As for `SwappableClient`.
        outbox: As for `SwappableClient`.
        settings: As for `SwappableClient`.

    Raises:
        ConfigError, ProviderError: The provider to begin with cannot be used.
    """

    def __init__(
        self,
        providers: Mapping[str, ProviderLike],
        default_provider: str | None = None,
        *,
        outbox: str | Path | None = None,
        settings: ClientSettings | None = None,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="memxfer-client", daemon=True)
        self._process = os.getpid()
        self._is_closed = False
        self._is_told = False
        self._guard = threading.Lock()
        self._waiting: set[Future[Any]] = set()
        self._thread.start()
        try:
            # made on its loop: it holds locks and events of that loop
            self._client = self._run(_made(providers, default_provider, outbox=outbox, settings=settings))
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> SyncMemoryClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let calls and outbox come to their ends, then close everything. Idempotent.

        Calls that other threads make meanwhile raise `ClientClosedError`. In a forked process it does
        nothing.
        """
        if os.getpid() != self._process:
            return
        with self._guard:
            was_closed, self._is_closed = self._is_closed, True
        if was_closed:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        finally:
            self._stop()

    def _stop(self) -> None:
        with self._guard:
            self._is_closed = True
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_cancelled(), self._loop).result(_LONGEST_STOP)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LONGEST_STOP)
        if not self._thread.is_alive():
            self._loop.close()
        for future in list(self._waiting):
            future.cancel()

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            self._check_process()
            with self._guard:
                self._check_open()
                future = asyncio.run_coroutine_threadsafe(call, self._loop)
                self._waiting.add(future)
        except ClientClosedError:
            call.close()
            raise
        try:
            return future.result()
        except CancelledError:
            raise ClientClosedError("the client was closed during the call; make a new one") from None
        finally:
            self._waiting.discard(future)

    def _check_process(self) -> None:
        # Before any lock: a forked process has neither the thread that serves calls nor any that holds one.
        if os.getpid() != self._process:
            raise ClientClosedError(
                f"the client was made by process {self._process}, before a fork; "
                "make one in each process, after the fork, with an outbox file of its own"
            )

    def _check_open(self) -> None:
        self._check_process()
        if self._is_closed:
            raise ClientClosedError("the client is closed; make a new one")

    # -- the calls ----------------------------------------------------------------------------

    @property
    def current(self) -> str:
        """The provider that calls go to."""
        return self._client.current

    def swap(self, name: str) -> list[CapabilityGap]:
        """Go over to another provider; see `SwappableClient.swap`."""
        return self._run(self._client.swap(name))

    def capabilities(self) -> Capabilities:
        """Return what the backend keeps."""
        self._check_open()
        return self._client.capabilities()

    def supports(self, operation: Operation) -> bool:
        """Tell whether the backend has an operation."""
        self._check_open()
        return self._client.supports(operation)

    def ingest(self, *, scope: Scope, **what: Any) -> Handle:
        """Remember something; see `MemoryClient.ingest`. Ask for its progress with `progress`."""
        return self._run(self._client.ingest(scope=scope, **what))

    def progress(self, handle: Handle) -> IngestProgress:
        """Ask how far something is that `ingest` was given."""
        return self._run(_asked(handle))

    def flush(self, seconds: float | None = None) -> bool:
        """Wait until the outbox is empty."""
        return self._run(self._client.flush(seconds))

    def search(self, query: str, *, scope: Scope, limit: int = 10) -> list[Hit]:
        """Return the memories of a scope that fit best, best first."""
        return self._run(self._client.search(query, scope=scope, limit=limit))

    def get(self, memory_id: str) -> MemoryRecord | None:
        """Return a memory by the backend's id."""
        return self._run(self._client.get(memory_id))

    def list_memories(self, scope: Scope, *, limit: int = 100, cursor: str | None = None) -> MemoryPage:
        """Return one page of a scope's memories."""
        return self._run(self._client.list_memories(scope, limit=limit, cursor=cursor))

    def each_memory(self, scope: Scope, *, limit: int = 100) -> Iterator[MemoryRecord]:
        """Give all memories of a scope, on the provider of now to the end."""
        walk = self._client.each_memory(scope, limit=limit)
        try:
            while (memory := self._run(_next_of(walk))) is not None:
                yield memory
        finally:
            with suppress(ClientClosedError):  # closed together with the client
                self._run(_ended(walk))

    def update(self, memory_id: str, content: str) -> MemoryRecord | None:
        """Replace a memory's text."""
        return self._run(self._client.update(memory_id, content))

    def delete(self, memory_id: str) -> bool:
        """Remove a memory; `False` when it was gone already."""
        return self._run(self._client.delete(memory_id))

    def package(
        self, query: str, *, scope: Scope, budget: int | None = None, limit: int = 10
    ) -> ContextPackage:
        """Return text for a prompt."""
        return self._run(self._client.package(query, scope=scope, budget=budget, limit=limit))

    def recall(
        self,
        query: str,
        *,
        scope: Scope,
        budget: int | None = None,
        limit: int = 10,
        seconds: float | None = None,
    ) -> ContextPackage | None:
        """Return text for a prompt, or `None`; never raises for what the backend does."""
        try:
            return self._run(
                self._client.recall(query, scope=scope, budget=budget, limit=limit, seconds=seconds)
            )
        except ClientClosedError as error:
            if not self._is_told:
                self._is_told = True
                _log.critical("recall gives nothing: %s", error)
            return None


async def _made(
    providers: Mapping[str, ProviderLike],
    default_provider: str | None,
    *,
    outbox: str | Path | None,
    settings: ClientSettings | None,
) -> SwappableClient:
    client = SwappableClient(providers, default_provider, outbox=outbox, settings=settings)
    await client.initialize()
    return client


async def _cancelled() -> None:
    """Cancel whatever still runs on this loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=1)


async def _asked(handle: Handle) -> IngestProgress:
    return await handle.progress()


async def _next_of(walk: AsyncIterator[MemoryRecord]) -> MemoryRecord | None:
    return await anext(walk, None)


async def _ended(walk: AsyncIterator[MemoryRecord]) -> None:
    if isinstance(walk, AsyncGenerator):
        await walk.aclose()
