"""The same client for code that is not async: a loop of its own on a thread, and calls that wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from memxfer.capabilities import Capabilities
from memxfer.client.client import ClientSettings, ProviderLike
from memxfer.client.operations import CapabilityGap, Operation
from memxfer.client.results import Handle, IngestProgress, MemoryPage
from memxfer.client.swapping import SwappableClient
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import ContextPackage, Hit

__all__ = ["SyncMemoryClient"]

T = TypeVar("T")


class SyncMemoryClient:
    """A `SwappableClient` for code without `async`; open as soon as it is made. May be used by many threads.

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
        self._thread.start()
        self._is_closed = False
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
        """Let calls and outbox come to their ends, then close everything. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            try:
                self._run(self._client.aclose())
            finally:
                self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

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
        return self._client.capabilities()

    def supports(self, operation: Operation) -> bool:
        """Tell whether the backend has an operation."""
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
        return self._run(self._client.recall(query, scope=scope, budget=budget, limit=limit, seconds=seconds))


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


async def _asked(handle: Handle) -> IngestProgress:
    return await handle.progress()


async def _next_of(walk: AsyncIterator[MemoryRecord]) -> MemoryRecord | None:
    return await anext(walk, None)


async def _ended(walk: AsyncIterator[MemoryRecord]) -> None:
    if isinstance(walk, AsyncGenerator):
        await walk.aclose()
