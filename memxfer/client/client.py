"""An app's memory, over the same providers as a migration: one interface, whichever backend is behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from memxfer.capabilities import Capabilities
from memxfer.client.guard import Breaker, Guard
from memxfer.client.inputs import Said, record_of, turn_id
from memxfer.client.live import Live, build, receipt_progress
from memxfer.client.operations import Operation, has_operation, require
from memxfer.client.outbox import Outbox
from memxfer.client.queue import Queue
from memxfer.client.results import Handle, IngestProgress, MemoryPage
from memxfer.errors import ConfigError, MemxferError, ProviderError
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import (
    Clock,
    ContextPackage,
    Hit,
    MemoryProvider,
    Role,
    SystemClock,
)

__all__ = ["ClientSettings", "MemoryClient", "ProviderLike"]

_log = logging.getLogger("memxfer.client")

ProviderLike = MemoryProvider[Any] | Mapping[str, Any] | Callable[[], MemoryProvider[Any]]
"""Settings, secrets as references: `{"api_key": "env:MEM0_API_KEY"}`; a provider, to be made again like it;
or a function that makes one. None is connected: a client makes as many as it needs."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How a client treats its backends.

    Attributes:
        timeout: Seconds a call may take.
        breaker_failures: So many calls in a row without an answer, and the backend is left alone.
        breaker_pause: For so many seconds.
        drain: Seconds that closing waits for the outbox to empty.
    """

    timeout: float = 10.0
    breaker_failures: int = 5
    breaker_pause: float = 30.0
    drain: float = 5.0


class MemoryClient:
    """Memory of an app: `initialize` it, call it, `aclose` it; or use it as an async context manager.

    ```python
    async with MemoryClient({"mem0": {"api_key": "env:MEM0_API_KEY"}}) as memory:
        await memory.ingest(text="Ann likes tea", scope=Scope(user="ann"))
        hits = await memory.search("what does Ann drink?", scope=Scope(user="ann"))
    ```

    Args:
        providers: Connections by name. Settings may name another `provider` than the connection is
            called.
        default_provider: The one that calls go to; default: the first.
        outbox: A file in which `ingest` keeps what it is given until the backend has it; without
            one, `ingest` waits for the backend.
        settings: Time-outs and the like.
        clock: Time.
    """

    def __init__(
        self,
        providers: Mapping[str, ProviderLike],
        default_provider: str | None = None,
        *,
        outbox: Outbox | str | Path | None = None,
        settings: ClientSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not providers:
            raise ConfigError("a client needs at least one provider")
        self._configured = dict(providers)
        self.default_provider = default_provider or next(iter(providers))
        self._name_known(self.default_provider)
        self._settings = settings or ClientSettings()
        self._clock = clock or SystemClock()
        self._outbox_at = outbox
        self._live: dict[str, Live] = {}
        self._queue: Queue | None = None

    # -- life ---------------------------------------------------------------------------------

    async def __aenter__(self) -> MemoryClient:
        await self.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def initialize(self) -> None:
        """Connect every provider, or none. Idempotent.

        Raises:
            ConfigError, ProviderError: One cannot be used; what was opened is closed again.
        """
        if self._live:
            return
        opened = await asyncio.gather(*map(self.open, self._configured), return_exceptions=True)
        failed = [one for one in opened if isinstance(one, BaseException)]
        if failed:
            await asyncio.gather(*(one.aclose() for one in opened if isinstance(one, Live)))
            raise failed[0]
        self._live = {one.name: one for one in opened if isinstance(one, Live)}
        if self._outbox_at is not None:
            self._start_outbox(self._outbox_at)

    async def open(self, name: str) -> Live:
        """Connect one of the configured providers anew; the caller closes it.

        Raises:
            ConfigError, ProviderError: It cannot be used.
        """
        provider = self._build(name)
        breaker = Breaker(self._clock, self._settings.breaker_failures, self._settings.breaker_pause)
        live = Live(name, provider, Guard(name, breaker, self._settings.timeout))
        try:
            await provider.connect(Role.APP)
        except BaseException:
            await provider.aclose()
            raise
        return live

    def _build(self, name: str) -> MemoryProvider[Any]:
        self._name_known(name)
        return build(name, self._configured[name], clock=self._clock)

    def _name_known(self, name: str) -> None:
        if name not in self._configured:
            raise ConfigError(f"no provider {name!r} here; configured: {', '.join(self._configured)}")

    def _start_outbox(self, place: Outbox | str | Path) -> None:
        self._queue = Queue(place if isinstance(place, Outbox) else Outbox(place), self._build)
        self._queue.start()

    async def aclose(self) -> None:
        """Let the outbox empty for a while, then close everything; what is left stays on disk. Idempotent."""
        queue, self._queue = self._queue, None
        live, self._live = self._live, {}
        if queue is not None:
            await queue.aclose(drain=self._settings.drain)
        await asyncio.gather(*(one.aclose() for one in live.values()))

    # -- what there is ------------------------------------------------------------------------

    def live(self, name: str | None = None) -> Live:
        """Return the open connection that calls go to, or the one of a name.

        Raises:
            ConfigError: There is none of that name.
            ProviderError: The client is not initialized, or closed.
        """
        name = name or self.default_provider
        self._name_known(name)
        if name not in self._live:
            raise ProviderError("the client is not open; call initialize() first", provider=name)
        return self._live[name]

    def capabilities(self, provider: str | None = None) -> Capabilities:
        """Return what a backend keeps."""
        return self.live(provider).provider.capabilities()

    def supports(self, operation: Operation, provider: str | None = None) -> bool:
        """Tell whether a backend has an operation."""
        return has_operation(self.live(provider).provider, operation)

    @asynccontextmanager
    async def lease(self, provider: str | None = None) -> AsyncIterator[Live]:
        """Give the connection that calls go to, for as long as the block needs it."""
        yield self.live(provider)

    @asynccontextmanager
    async def _on(self, operation: Operation, provider: str | None) -> AsyncIterator[Live]:
        """Give the connection of one call, with all that goes around it."""
        async with self.lease(provider) as live:
            require(live, operation, self._able)
            async with live.guard.around(operation):
                yield live

    def _able(self, operation: Operation) -> list[str]:
        """Return which of the configured providers have an operation."""
        able = []
        for name in self._configured:
            with suppress(MemxferError):
                if has_operation(self._build(name), operation):
                    able.append(name)
        return able

    # -- in -----------------------------------------------------------------------------------

    async def ingest(
        self,
        *,
        scope: Scope,
        text: str | None = None,
        messages: Sequence[Said] | None = None,
        verbatim: str | None = None,
        turn: int | None = None,
        document_id: str | None = None,
        occurred_at: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        kind: str | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        provider: str | None = None,
    ) -> Handle:
        """Remember something: exactly one of `text`, `messages` and `verbatim`.

        With an outbox this returns as soon as it is on disk, and never raises for what the disk or the
        backend does: `Handle.is_kept` tells. Without one it waits for the backend.

        Args:
            scope: Whose it is; the `session` is the conversation.
            text: Something to remember; the backend may put it in its own words.
            messages: A turn of a conversation.
            verbatim: Something to remember word for word, where the backend can.
            turn: The turn's number in its conversation; with an outbox counted by itself.
            document_id: Its id; default: `turn_{conversation}_{n}` for turns, else a random one.
            occurred_at: When it was; default: now. Sent however late it is delivered.
            metadata: What the app notes beside it.
            kind: What it is, in the vocabulary of records.
            options: A provider's own options: `{"synap": {"mode": "long-range"}}`.
            provider: Another connection than the default.

        Raises:
            ValueError: The arguments do not fit together.
            RecordError, ProviderError: Without an outbox: the backend refused it, or did not answer.
        """
        queue = self._queue
        if document_id is None and scope.session and messages is not None:
            if turn is None and queue is not None:
                turn = queue.next_turn(scope.session)
            document_id = None if turn is None else turn_id(scope.session, turn)
        record = record_of(
            text=text,
            messages=messages,
            verbatim=verbatim,
            scope=scope,
            at=occurred_at or self._clock.now(),
            document_id=document_id,
            metadata=metadata,
            kind=kind,
            options=options,
        )
        if queue is None:
            return await self._ingest_now(record, provider)
        require(self.live(provider), "ingest", self._able)
        return await queue.put(provider or self.default_provider, record, turn=turn)

    async def _ingest_now(self, record: MemoryRecord, provider: str | None) -> Handle:
        async with self._on("ingest", provider) as live:
            receipt = await live.write(record)

        async def progress() -> IngestProgress:
            return await receipt_progress(live, receipt)

        return Handle(record.id, live.name, True, progress)

    async def flush(self, seconds: float | None = None) -> bool:
        """Wait until the outbox is empty; `False` when that took longer than `seconds`."""
        return True if self._queue is None else await self._queue.flush(seconds)

    async def note_failed(self, ingestion_id: str, problem: str) -> bool:
        """Note that a backend could not process what it had taken; `False` when it is not known here."""
        return False if self._queue is None else await self._queue.note_failed(ingestion_id, problem)

    # -- out ----------------------------------------------------------------------------------

    async def search(
        self, query: str, *, scope: Scope, limit: int = 10, provider: str | None = None
    ) -> list[Hit]:
        """Return the memories of a scope that fit best, best first."""
        async with self._on("search", provider) as live:
            return list(await live.searching().search(query, scope=scope, limit=limit))

    async def get(self, memory_id: str, *, provider: str | None = None) -> MemoryRecord | None:
        """Return a memory by the backend's id; `None` if there is none."""
        async with self._on("get", provider) as live:
            return await live.getting().get(memory_id)

    async def list_memories(
        self, scope: Scope, *, limit: int = 100, cursor: str | None = None, provider: str | None = None
    ) -> MemoryPage:
        """Return one page of a scope's memories."""
        async with self._on("list_memories", provider) as live:
            page = await live.listing().list_scoped(scope, limit=limit, cursor=cursor)
        return MemoryPage(tuple(page.records), page.next_cursor)

    async def each_memory(
        self, scope: Scope, *, limit: int = 100, provider: str | None = None
    ) -> AsyncIterator[MemoryRecord]:
        """Give all memories of a scope, a page at a time."""
        cursor: str | None = None
        async with self.lease(provider) as live:
            require(live, "list_memories", self._able)
            while True:
                async with live.guard.around("list_memories"):
                    page = await live.listing().list_scoped(scope, limit=limit, cursor=cursor)
                for memory in page.records:
                    yield memory
                cursor = page.next_cursor
                if cursor is None:
                    return

    async def update(
        self, memory_id: str, content: str, *, provider: str | None = None
    ) -> MemoryRecord | None:
        """Replace a memory's text; return it as it is now, `None` if there is none of that id."""
        async with self._on("update", provider) as live:
            return await live.updating().update(memory_id, content)

    async def delete(self, memory_id: str, *, provider: str | None = None) -> bool:
        """Remove a memory; `False` when it was gone already."""
        async with self._on("delete", provider) as live:
            return bool(await live.deleting().delete([memory_id]))

    async def package(
        self,
        query: str,
        *,
        scope: Scope,
        budget: int | None = None,
        limit: int = 10,
        provider: str | None = None,
    ) -> ContextPackage:
        """Return text for a prompt.

        Args:
            query: What the prompt is about.
            scope: Whose memories.
            budget: Most characters of text; whole memories are left out, not cut.
            limit: Most memories.
            provider: Another connection than the default.
        """
        async with self._on("package", provider) as live:
            return await live.package(query, scope=scope, limit=limit, budget=budget)

    async def recall(
        self,
        query: str,
        *,
        scope: Scope,
        budget: int | None = None,
        limit: int = 10,
        seconds: float | None = None,
        provider: str | None = None,
    ) -> ContextPackage | None:
        """Return text for a prompt, or `None` when there is none to be had: it never raises.

        For use in an agent's turn: what goes wrong is logged with the backend's id of the request, and
        the agent answers without memory.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self.package(query, scope=scope, budget=budget, limit=limit, provider=provider)
        except MemxferError:
            return None  # the guard has logged it
        except TimeoutError:
            _log.warning(
                "recall took longer than %s s: provider=%s", seconds, provider or self.default_provider
            )
            return None
        except Exception as error:  # noqa: BLE001 - nothing about memory takes the agent down
            _log.error("recall failed with an unexpected %s", type(error).__name__)
            return None
