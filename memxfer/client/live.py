"""One open connection of a client, and the steps that an operation takes on it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from memxfer import registry
from memxfer.capabilities import Writing
from memxfer.client.bounded import close, ingest_status, within
from memxfer.client.entries import ClientClosedError
from memxfer.client.guard import Guard
from memxfer.client.notes import OPENING
from memxfer.client.results import BACKEND_STATES, IngestProgress, IngestState
from memxfer.client.sending import Mapper, conflict, is_taken, read_identity, send
from memxfer.client.waits import asked_seconds
from memxfer.config import Connection
from memxfer.engine.writing import judge
from memxfer.errors import (
    AmbiguousError,
    ConfigError,
    FatalError,
    MemxferError,
    ProviderError,
    RecordError,
    UnavailableError,
)
from memxfer.ledger import State
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import (
    Clock,
    ContextPackage,
    Hit,
    MemoryProvider,
    Outcome,
    Page,
    Role,
    SupportsDelete,
    SupportsGet,
    SupportsIngestStatus,
    SupportsPackage,
    SupportsScopedList,
    SupportsSearch,
    SupportsUpdate,
    WriteReceipt,
)

__all__ = ["Live", "build", "receipt_progress"]

_FIRST_PAUSE = 1.0
"""Seconds before a connection that did not open is tried again; doubles, up to the breaker's pause."""
_LONGEST_OPENING = 60.0
"""Seconds that an attempt to open may take, also where nobody waits for it any more."""


def build(
    name: str,
    given: MemoryProvider[Any] | Mapping[str, Any] | Callable[[], MemoryProvider[Any]],
    *,
    clock: Clock,
) -> MemoryProvider[Any]:
    """Return a new provider of a connection, not connected.

    Raises:
        ConfigError: Its settings are wrong; the message names the field.
    """
    if isinstance(given, MemoryProvider):
        return type(given)(given.config, clock=given.clock)
    if not isinstance(given, Mapping):
        return given()
    settings = dict(given)
    kind = settings.pop("provider", name)
    connection = Connection(name, kind, settings, "the client's providers")
    return connection.open(clock=clock, kind=_kind_of(kind))


@functools.cache  # a swap must not hold the app's loop up
def _kind_of(provider: str) -> type[MemoryProvider[Any]]:
    return registry.provider_class(provider)


class Live:
    """One connection of a client: opened when it is first asked for, and again after that failed.

    Args:
        name: What the app calls it.
        make: Makes its provider, not connected.
        guard: Goes around every call.

    Attributes:
        name: What the app calls it.
        provider: Connected once `ready` has returned; until then only good for what needs no backend.
        guard: Goes around every call.

    Raises:
        ConfigError: Its settings are wrong.
    """

    def __init__(self, name: str, make: Callable[[], MemoryProvider[Any]], guard: Guard) -> None:
        self.name = name
        self.provider = make()
        self.guard = guard
        self._make = make
        self._mapper = Mapper(name, self.provider)
        self._is_open = False
        self._is_closed = False
        self._opening: asyncio.Task[None] | None = None
        self._is_late = False
        self._failures = 0
        self._not_before = 0.0
        self._lasting: MemxferError | None = None

    # -- life ---------------------------------------------------------------------------------

    async def ready(self, seconds: float | None = None) -> None:
        """Open the connection, unless it is open. Cheap while a backend is known not to answer.

        Args:
            seconds: Wait no longer; default: the time-out of a call. The attempt goes on after that.

        Raises:
            ConfigError, FatalError: It cannot be used until somebody acts.
            UnavailableError: It could not be opened; `code="not_open"` where that was not tried now.
            ClientClosedError: It was closed.
        """
        if self._is_open:
            return
        if self._is_closed:
            raise ClientClosedError(f"the connection {self.name} is closed", provider=self.name)
        if self._opening is None:
            self._check_pause()
            self._is_late = False
            self._opening = asyncio.create_task(self._open(), name=f"memxfer-open-{self.name}")
            self._opening.add_done_callback(self._opened)
        elif self._is_late:
            raise self._not_open("is being opened, which takes long")
        opening = self._opening
        done, _ = await asyncio.wait({opening}, timeout=self.guard.timeout if seconds is None else seconds)
        if not done:
            self._is_late = True
            late = self._not_open("could not be opened in time", code="timeout")
            self.guard.notes.failed(self.name, OPENING, late)
            raise late
        if opening.cancelled():
            raise ClientClosedError(f"the connection {self.name} is closed", provider=self.name)
        opening.result()

    def _check_pause(self) -> None:
        left = self._not_before - self.guard.breaker.clock.monotonic()
        if left <= 0:
            return
        if self._lasting is not None:
            raise self._lasting
        raise self._not_open(f"could not be opened and is tried again in {left:.1f} s")

    def _not_open(self, why: str, code: str = "not_open") -> UnavailableError:
        return UnavailableError(f"{self.name} {why}", provider=self.name, operation="connect", code=code)

    def _opened(self, opening: asyncio.Task[None]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # also where nobody waited for it

    async def _open(self) -> None:
        try:
            await self._connect()
        except Exception as error:
            known = self._classified(error)
            self._failures += 1
            pause = self.guard.breaker.pause
            wait = asked_seconds(error) or _FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10)
            self._not_before = self.guard.breaker.clock.monotonic() + min(wait, pause)
            self._lasting = known if isinstance(known, FatalError | ConfigError) else None
            self.guard.notes.failed(self.name, OPENING, known)
            await close(self.name, self.provider, self.guard.timeout)
            raise known from error
        self._failures = 0
        self._lasting = None
        self._is_open = True

    async def _connect(self) -> None:
        if self._failures:
            self.provider = self._make()
        self._mapper = Mapper(self.name, self.provider, read_identity(self.provider))
        try:
            await within(max(self.guard.timeout, _LONGEST_OPENING), self.provider.connect(Role.APP))
        except asyncio.CancelledError:
            await close(self.name, self.provider, self.guard.timeout)
            raise

    def _classified(self, error: Exception) -> MemxferError:
        if isinstance(error, MemxferError):
            return error
        if isinstance(error, TimeoutError):
            return self._not_open("did not answer while it was being opened", code="timeout")
        return self._not_open(f"could not be opened: unexpected {type(error).__name__}", code="unexpected")

    async def aclose(self) -> None:
        """Close it, within the time-out of a call. Idempotent."""
        self._is_closed = True
        opening = self._opening
        if opening is not None:
            opening.cancel()
            await asyncio.wait({opening}, timeout=self.guard.timeout)
        if self._is_open:
            self._is_open = False
            await close(self.name, self.provider, self.guard.timeout)

    # -- calls --------------------------------------------------------------------------------

    def scope(self, scope: Scope) -> Scope:
        """Return the owner by which the backend knows a scope."""
        return self._mapper.scope(scope)

    async def write(self, record: MemoryRecord, *, sends: int = 1) -> WriteReceipt:
        """Hand in one record now.

        Args:
            record: The record; its id is the document's.
            sends: Calls so far, this one included, that may have stored this content under the id.

        Raises:
            RecordError: The backend can never take it, or refused it.
            AmbiguousError: It may have arrived.
            TransientError, FatalError: It has not.
        """
        document = self._mapper.document(record, record.id)
        if document.containers:
            raise ProviderError(
                f"{self.name} has to make something before it can take this; give the client an outbox",
                provider=self.name,
                operation="ingest",
                code="needs_outbox",
            )
        [receipt] = await send(self.provider, [document])
        writing = self.provider.capabilities().writing or Writing()
        if is_taken(receipt, writing.client_key, sends=sends):
            raise conflict(self.name)
        verdict = judge(receipt, sends=sends)
        if verdict.state is None:
            raise receipt.error or AmbiguousError("it may have arrived", provider=self.name)
        if verdict.state is State.FAILED:
            if verdict.problem is not None and verdict.problem.code == "conflict":
                raise conflict(self.name)
            raise receipt.error or RecordError("refused without a reason", provider=self.name)
        return receipt

    async def package(self, query: str, *, scope: Scope, limit: int, budget: int | None) -> ContextPackage:
        """Return text for a prompt: the backend's own, or the memories it finds, one a line."""
        provider = self.provider
        scope = self.scope(scope)
        if isinstance(provider, SupportsPackage):
            made = await provider.package(query, scope=scope, limit=limit)
            if budget is None or len(made.text) <= budget:
                return made
            if not made.memories:
                return ContextPackage(made.text[:budget], (), True, made.correlation_id)
            return _packed(made.memories, budget, made.correlation_id)
        searching = cast("SupportsSearch", provider)
        hits = await searching.search(query, scope=scope, limit=limit)
        return _packed([hit.memory for hit in hits], budget, None)

    async def search(self, query: str, *, scope: Scope, limit: int) -> list[Hit]:
        """Return the memories of a scope that fit best, best first."""
        searching = cast("SupportsSearch", self.provider)
        return list(await searching.search(query, scope=self.scope(scope), limit=limit))

    async def page(self, scope: Scope, *, limit: int, cursor: str | None) -> Page:
        """Return one page of a scope's memories."""
        listing = cast("SupportsScopedList", self.provider)
        return await listing.list_scoped(self.scope(scope), limit=limit, cursor=cursor)

    # The client has made sure that the operation is there.

    def getting(self) -> SupportsGet:
        """Return the provider as one that gets."""
        return cast("SupportsGet", self.provider)

    def updating(self) -> SupportsUpdate:
        """Return the provider as one that updates."""
        return cast("SupportsUpdate", self.provider)

    def deleting(self) -> SupportsDelete:
        """Return the provider as one that deletes."""
        return cast("SupportsDelete", self.provider)


def _packed(
    memories: Sequence[MemoryRecord], budget: int | None, correlation_id: str | None
) -> ContextPackage:
    """Write memories one a line, leaving whole ones out beyond the budget."""
    lines: list[str] = []
    kept: list[MemoryRecord] = []
    left = budget
    for memory in memories:
        line = f"- {memory.content}"
        if left is not None:
            if len(line) + 1 > left:
                continue
            left -= len(line) + 1
        lines.append(line)
        kept.append(memory)
    return ContextPackage("\n".join(lines), tuple(kept), len(kept) < len(memories), correlation_id)


async def receipt_progress(live: Live, receipt: WriteReceipt) -> IngestProgress:
    """Return how far the backend is with what it acknowledged."""
    state = IngestState.STORED
    ids, problem = receipt.target_ids, None
    provider = live.provider
    if receipt.outcome is Outcome.PENDING:
        state = IngestState.PROCESSING
        if receipt.ingestion_id is not None and isinstance(provider, SupportsIngestStatus):
            status = await ingest_status(live.name, provider, receipt.ingestion_id, live.guard.timeout)
            state = BACKEND_STATES[status.state]
            ids, problem = status.target_ids, str(status.error) if status.error else None
    return IngestProgress(state, receipt.ingestion_id, ids, problem)
