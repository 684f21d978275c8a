"""Optional operations. A provider has one by having the method: nothing is declared twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol, runtime_checkable

from memxfer.models import MemoryRecord, Version
from memxfer.spi.reading import Partition
from memxfer.spi.writing import IngestStatus

__all__ = [
    "LookupVisibility",
    "SupportsCount",
    "SupportsDelete",
    "SupportsGet",
    "SupportsHistory",
    "SupportsIngestStatus",
    "SupportsLookup",
    "SupportsPartitions",
]

LookupVisibility = Literal["immediate", "after_task"] | float
"""When a look-up finds a finished write: at once, when its task ends, or within so many seconds."""


@runtime_checkable
class SupportsPartitions(Protocol):
    """The store splits into slices that can be listed side by side."""

    def partitions(self) -> AsyncIterator[Partition]:
        """Give the slices; together they hold every record exactly once."""
        ...


@runtime_checkable
class SupportsCount(Protocol):
    """The store can say how many records it holds without listing them."""

    async def count(self) -> int:
        """Return the number of rows a complete listing would give, non-memory rows included."""
        ...


@runtime_checkable
class SupportsGet(Protocol):
    """A record can be read by its native id."""

    async def get(self, record_id: str) -> MemoryRecord | None:
        """Return the record, or `None` if there is none of that id."""
        ...


@runtime_checkable
class SupportsLookup(Protocol):
    """A target can be asked which keys it holds."""

    lookup_visibility: LookupVisibility

    async def lookup(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the target ids of those `keys` that are there; absent keys are absent."""
        ...


@runtime_checkable
class SupportsDelete(Protocol):
    """A target can remove by its own ids."""

    async def delete(self, target_ids: Sequence[str]) -> int:
        """Remove; return how many were there. Ids that are gone already are not an error."""
        ...


@runtime_checkable
class SupportsHistory(Protocol):
    """Earlier versions can be read by the memory's native id."""

    async def history(self, record_id: str) -> tuple[Version, ...]:
        """Return the versions, oldest first."""
        ...


@runtime_checkable
class SupportsIngestStatus(Protocol):
    """The target processes after it accepts, and can be asked how far it is."""

    async def ingest_status(self, ingestion_id: str) -> IngestStatus:
        """Return the progress of one accepted document.

        Raises:
            TransientError: The question could not be asked now.
        """
        ...
