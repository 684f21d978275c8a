"""An app's memory, over the same providers as a migration: one interface, whichever backend is behind it."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from memxfer.capabilities import Capabilities
from memxfer.client.entries import ClientClosedError
from memxfer.client.guard import Breaker, Guard
from memxfer.client.inputs import Said, digest_of, record_of
from memxfer.client.live import Live, build, receipt_progress
from memxfer.client.notes import Notes
from memxfer.client.operations import Operation, has_operation, require
from memxfer.client.outbox import Outbox
from memxfer.client.queue import Queue
from memxfer.client.results import Handle, IngestProgress, MemoryPage
from memxfer.client.turns import Turn, Turns, new_mark, turn_id
from memxfer.errors import (
    AmbiguousError,
    ConfigError,
    FatalError,
    MemxferError,
    ProviderError,
    QuotaExceededError,
    RecordError,
    TransientError,
)
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import Clock, ContextPackage, Hit, MemoryProvider, SystemClock

__all__ = ["ClientSettings", "MemoryClient", "ProviderLike"]

_log = logging.getLogger("memxfer.client")

ProviderLike = MemoryProvider[Any] | Mapping[str, Any] | Callable[[], MemoryProvider[Any]]
"""Settings, secrets as references: `{"api_key": "env:MEM0_API_KEY"}`; a provider, to be made again like it;
or a function that makes one. None is connected: a client makes as many as it needs."""


_MOST_SAID = 10_000
"""Ids given by the app whose content is remembered, where no outbox does."""


@dataclass(slots=True)
class _Said:
    """What the app has said under an id of its own, without an outbox."""

    digest: bytes
    sends: int


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How a client treats its backends.

    Attributes:
        timeout: Seconds a call may take; so may waiting for a connection to open, and closing it.
        breaker_failures: So many calls in a row without an answer, and the backend is left alone.
            A refusal with 429 is an answer.
        breaker_pause: For so many seconds; also the longest that a refusal with 429 holds an operation,
            and that a connection which did not open is not tried again.
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
            called. An `identity` file counts for what is written and asked alike.
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
        self._notes = Notes(self._clock)
        self._outbox_at = outbox
        self._process = os.getpid()
        self._is_open = False
        self._is_closed = False
        self._live: dict[str, Live] = {}
        self._queue: Queue | None = None
        self._turns = Turns(new_mark())
        self._said: OrderedDict[tuple[str, str], _Said] = OrderedDict()

    # -- life ---------------------------------------------------------------------------------

    async def __aenter__(self) -> MemoryClient:
        await self.initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def initialize(self) -> None:
        """Open the outbox and the default provider; others are opened when they are first asked for.

        Idempotent. A backend that does not answer within the time-out does not keep the app from
        starting: that is logged, calls to it fail and `recall` gives `None` until it can be opened,
        which is tried again with later calls. What is put into the outbox meanwhile is delivered then.

        Raises:
            ConfigError, AuthError: The default provider cannot be used until somebody acts.
            LedgerError: The outbox cannot be used.
        """
        if self._is_open:
            return
        await self._open_default()
        try:
            self._queue = self._make_queue()
        except BaseException:
            await self._close_live()
            raise
        self._is_open, self._is_closed = True, False
        if self._queue is not None:
            self._queue.start()

    def _make_queue(self) -> Queue | None:
        place = self._outbox_at
        if place is None:
            return None
        outbox = place if isinstance(place, Outbox) else Outbox(place)
        return Queue(outbox, self._build, notes=self._notes, timeout=self._settings.timeout)

    async def _open_default(self) -> None:
        live = self._make(self.default_provider)
        await self._try_to_open(live)
        self._live = {live.name: live}

    async def _try_to_open(self, live: Live) -> None:
        """Open a connection, or go on without it where the backend may answer later."""
        try:
            await live.ready()
        except (TransientError, AmbiguousError, QuotaExceededError):
            _log.error("the app starts without %s, which is tried again with each call", live.name)
        except BaseException:
            await live.aclose()
            raise

    def _make(self, name: str) -> Live:
        """Return a connection, not open yet; the caller closes it.

        Raises:
            ConfigError: There is none of that name, or its settings are wrong.
        """
        self._name_known(name)
        breaker = Breaker(self._clock, self._settings.breaker_failures, self._settings.breaker_pause)
        guard = Guard(name, breaker, self._settings.timeout, self._notes)
        return Live(name, functools.partial(self._build, name), guard)

    def _build(self, name: str) -> MemoryProvider[Any]:
        self._name_known(name)
        return build(name, self._configured[name], clock=self._clock)

    def _name_known(self, name: str) -> None:
        if name not in self._configured:
            raise ConfigError(f"no provider {name!r} here; configured: {', '.join(self._configured)}")

    async def aclose(self) -> None:
        """Let the outbox empty for a while, then close everything; what is left stays on disk. Idempotent.

        Ends within the settings' `drain` and a few time-outs, whatever the backends do. In a process
        that was forked from the client's own it closes nothing.
        """
        self._is_closed = self._is_closed or self._is_open
        self._is_open = False
        queue, self._queue = self._queue, None
        if os.getpid() != self._process:
            return
        if queue is not None:
            await queue.aclose(drain=self._settings.drain)
        await self._close_live()

    async def _close_live(self) -> None:
        live, self._live = self._live, {}
        await asyncio.gather(*(one.aclose() for one in live.values()))

    def _check_open(self) -> None:
        if os.getpid() != self._process:
            raise ClientClosedError(
                f"the client was made by process {self._process}, before a fork; "
                "make one in each process, after the fork, with an outbox file of its own"
            )
        if self._is_closed:
            raise ClientClosedError("the client is closed; make a new one")
        if not self._is_open:
            raise ProviderError("the client is not open; call initialize() first")

    # -- what there is ------------------------------------------------------------------------

    def live(self, name: str | None = None) -> Live:
        """Return the connection that calls go to, or the one of a name; it may not be open yet.

        Raises:
            ConfigError: There is none of that name, or its settings are wrong.
            ClientClosedError, ProviderError: The client is closed, or not initialized.
        """
        self._check_open()
        name = name or self.default_provider
        if name not in self._live:
            self._live[name] = self._make(name)
        return self._live[name]

    def capabilities(self, provider: str | None = None) -> Capabilities:
        """Return what a backend keeps."""
        return self.live(provider).provider.capabilities()

    def supports(self, operation: Operation, provider: str | None = None) -> bool:
        """Tell whether a backend has an operation."""
        return has_operation(self.live(provider).provider, operation)

    @asynccontextmanager
    async def lease(
        self, provider: str | None = None, *, seconds: float | None = None
    ) -> AsyncIterator[Live]:
        """Give the connection that calls go to, open, for as long as the block needs it.

        Args:
            provider: Another connection than the default.
            seconds: Wait no longer for it to open; default: the time-out of a call.

        Raises:
            ConfigError, FatalError, UnavailableError: It cannot be opened.
            ClientClosedError, ProviderError: The client is closed, or not initialized.
        """
        live = self.live(provider)
        await live.ready(seconds)
        yield live

    @asynccontextmanager
    async def _on(
        self, operation: Operation, provider: str | None, *, seconds: float | None = None
    ) -> AsyncIterator[Live]:
        """Give the connection of one call, with all that goes around it."""
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        async with self.lease(provider, seconds=seconds) as live:
            require(live, operation, self._able)
            left = None if end is None else max(end - loop.time(), 0.001)
            async with live.guard.around(operation, seconds=left):
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

        The same id with the same content again is a repeat, whenever it is said. With another content
        or owner it is an error: `is_kept` is false, or `RecordError` is raised (`code="conflict"`).

        Args:
            scope: Whose it is; the `session` is the conversation.
            text: Something to remember; the backend may put it in its own words.
            messages: A turn of a conversation.
            verbatim: Something to remember word for word, where the backend can.
            turn: The turn's number, where the app counts: the id is `turn_{conversation}_{n}`.
            document_id: Its id; default: for turns `turn_{conversation}_{mark}_{n}`, counted, where the
                mark is of the owner and the outbox (without one: of this client); else a random one.
            occurred_at: When it was; default: now. Sent however late it is delivered.
            metadata: What the app notes beside it.
            kind: What it is, in the vocabulary of records.
            options: A provider's own options: `{"synap": {"mode": "long-range"}}`.
            provider: Another connection than the default.

        Raises:
            ValueError: The arguments do not fit together.
            RecordError, ProviderError: Without an outbox: the backend refused it, or did not answer.
        """
        self._check_open()
        queue = self._queue
        counted: Turn | None = None
        is_given = document_id is not None or turn is not None
        if document_id is None and scope.session and messages is not None:
            if turn is not None:
                document_id = turn_id(scope.session, turn)
            else:
                counted = queue.next_turn(scope) if queue is not None else self._turns.next(scope)
                document_id = None if counted is None else counted.id
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
        digest = digest_of(record, is_timed=occurred_at is not None)
        if queue is None:
            return await self._ingest_now(record, provider, digest if is_given else None)
        require(self.live(provider), "ingest", self._able)
        return await queue.put(provider or self.default_provider, record, turn=counted, digest=digest)

    async def _ingest_now(self, record: MemoryRecord, provider: str | None, digest: bytes | None) -> Handle:
        async with self._on("ingest", provider) as live:
            said = self._say_again(live.name, record.id, digest)
            try:
                receipt = await live.write(record, sends=said.sends)
            except (TransientError, FatalError, RecordError):
                said.sends -= 1  # it was certainly not stored
                if not said.sends:
                    self._said.pop((live.name, record.id), None)
                raise

        async def progress() -> IngestProgress:
            return await receipt_progress(live, receipt)

        return Handle(record.id, live.name, True, progress)

    def _say_again(self, provider: str, document_id: str, digest: bytes | None) -> _Said:
        """Count a call under an id that the app has given.

        Raises:
            RecordError: The id was given to something else before.
        """
        if digest is None:
            return _Said(b"", 1)
        said = self._said.setdefault((provider, document_id), _Said(digest, 0))
        self._said.move_to_end((provider, document_id))
        if said.digest != digest:
            raise RecordError(
                f"document id {document_id} was given to another content or owner before; "
                "give each its own id, or let the client count the turns",
                provider=provider,
                operation="ingest",
                code="conflict",
            )
        said.sends += 1
        if len(self._said) > _MOST_SAID:
            self._said.popitem(last=False)
        return said

    async def flush(self, seconds: float | None = None) -> bool:
        """Wait until the outbox is empty; `False` when that took longer than `seconds`."""
        self._check_open()
        return True if self._queue is None else await self._queue.flush(seconds)

    async def note_failed(self, ingestion_id: str, problem: str) -> bool:
        """Note that a backend could not process what it had taken; `False` when it is not known here."""
        self._check_open()
        return False if self._queue is None else await self._queue.note_failed(ingestion_id, problem)

    # -- out ----------------------------------------------------------------------------------

    async def search(
        self, query: str, *, scope: Scope, limit: int = 10, provider: str | None = None
    ) -> list[Hit]:
        """Return the memories of a scope that fit best, best first."""
        async with self._on("search", provider) as live:
            return await live.search(query, scope=scope, limit=limit)

    async def get(self, memory_id: str, *, provider: str | None = None) -> MemoryRecord | None:
        """Return a memory by the backend's id; `None` if there is none."""
        async with self._on("get", provider) as live:
            return await live.getting().get(memory_id)

    async def list_memories(
        self, scope: Scope, *, limit: int = 100, cursor: str | None = None, provider: str | None = None
    ) -> MemoryPage:
        """Return one page of a scope's memories."""
        async with self._on("list_memories", provider) as live:
            page = await live.page(scope, limit=limit, cursor=cursor)
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
                    page = await live.page(scope, limit=limit, cursor=cursor)
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
        the agent answers without memory. A package without text is falsy, like `None`.

        Args:
            query: As for `package`.
            scope: As for `package`.
            budget: As for `package`.
            limit: As for `package`.
            seconds: All that it may take; default: the client's time-outs. Calls that take longer count
                as unanswered.
            provider: As for `package`.
        """
        name = provider or self.default_provider
        try:
            async with self._on("package", provider, seconds=seconds) as live:
                return await live.package(query, scope=scope, limit=limit, budget=budget)
        except Exception as error:  # noqa: BLE001 - nothing about memory takes the agent down
            self._notes.failed(name, "recall", error)
            return None
