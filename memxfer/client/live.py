"""One open connection of a client, and the steps that an operation takes on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from memxfer import registry
from memxfer.client.guard import Guard
from memxfer.client.results import BACKEND_STATES, IngestProgress, IngestState
from memxfer.config import Connection
from memxfer.errors import AmbiguousError, ProviderError, RecordError
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import (
    Clock,
    ContextPackage,
    Document,
    MemoryProvider,
    Outcome,
    Refused,
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


@dataclass(frozen=True, slots=True)
class Live:
    """An open connection.

    Attributes:
        name: What the app calls it.
        provider: Connected.
        guard: Goes around every call.
    """

    name: str
    provider: MemoryProvider[Any]
    guard: Guard

    async def aclose(self) -> None:
        """Close it."""
        await self.provider.aclose()

    async def write(self, record: MemoryRecord) -> WriteReceipt:
        """Hand in one record now.

        Raises:
            RecordError: The backend can never take it, or refused it.
            AmbiguousError: It may have arrived.
            TransientError, FatalError: It has not.
        """
        prepared = self.provider.prepare(record, record.id, {})
        if isinstance(prepared, Refused):
            raise prepared.error
        if not isinstance(prepared, Document):
            raise RecordError(
                f"left out by the settings of {self.name}: {prepared.reason}",
                provider=self.name,
                operation="ingest",
                code=prepared.reason,
            )
        if prepared.containers:
            raise ProviderError(
                f"{self.name} has to make something before it can take this; give the client an outbox",
                provider=self.name,
                operation="ingest",
                code="needs_outbox",
            )
        [receipt] = await self.provider.write([prepared])
        if receipt.outcome is Outcome.UNKNOWN:
            raise receipt.error or AmbiguousError("it may have arrived", provider=self.name)
        if receipt.outcome is Outcome.REJECTED:
            raise receipt.error or RecordError("refused without a reason", provider=self.name)
        return receipt

    async def package(self, query: str, *, scope: Scope, limit: int, budget: int | None) -> ContextPackage:
        """Return text for a prompt: the backend's own, or the memories it finds, one a line."""
        provider = self.provider
        if isinstance(provider, SupportsPackage):
            made = await provider.package(query, scope=scope, limit=limit)
            if budget is None or len(made.text) <= budget:
                return made
            if not made.memories:
                return ContextPackage(made.text[:budget], (), True, made.correlation_id)
            return _packed(made.memories, budget, made.correlation_id)
        hits = await self.searching().search(query, scope=scope, limit=limit)
        return _packed([hit.memory for hit in hits], budget, None)

    # The client has made sure that the operation is there.

    def searching(self) -> SupportsSearch:
        """Return the provider as one that searches."""
        return cast("SupportsSearch", self.provider)

    def getting(self) -> SupportsGet:
        """Return the provider as one that gets."""
        return cast("SupportsGet", self.provider)

    def listing(self) -> SupportsScopedList:
        """Return the provider as one that lists a scope."""
        return cast("SupportsScopedList", self.provider)

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
            status = await provider.ingest_status(receipt.ingestion_id)
            state = BACKEND_STATES[status.state]
            ids, problem = status.target_ids, str(status.error) if status.error else None
    return IngestProgress(state, receipt.ingestion_id, ids, problem)
