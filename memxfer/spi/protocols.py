"""Optional operations. A provider has one by having the method: nothing is declared twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from memxfer.models import MemoryRecord, Version
from memxfer.spi.reading import Partition
from memxfer.spi.writing import Document, Ensured, IngestStatus, Joined, Wanted

__all__ = [
    "LookupVisibility",
    "SupportsContainers",
    "SupportsCount",
    "SupportsDelete",
    "SupportsGet",
    "SupportsGroups",
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
class SupportsContainers(Protocol):
    """Documents go into things that must be there first: threads, graphs, entities."""

    container_batch: Mapping[str, int]
    """Most containers of a kind in one `ensure`; a kind that is not named: one."""

    async def ensure(self, wanted: Sequence[Wanted]) -> Sequence[Ensured]:
        """Find or make containers of one kind in one place.

        Calls for the same kind in the same container come one after the other; those at the top come
        side by side, so the target has to know them by an id of their own or by the token.

        Asked again with `tries` above 1 whenever it cannot be told whether an earlier call made them:
        after an `AmbiguousError`, a crash, a time-out. It must neither make a second one then nor leave
        the first behind.

        Returns:
            One answer for each, in order.

        Raises:
            TransientError, FatalError: Certainly nothing was made.
            AmbiguousError: It may have been.
            RecordError: They can never be made; what should go into them is rejected. The engine asks
                for each alone before it believes that of several.
        """
        ...


@runtime_checkable
class SupportsGroups(Protocol):
    """Documents that name a `group` are sent as a whole, once all of its parts are listed."""

    def join(self, parts: Sequence[Document]) -> Sequence[Joined]:
        """Put the parts of one group together, in their order. Pure: no I/O.

        Returns:
            What is sent, one request each and one after the other; together they have every part.

        Raises:
            RecordError: The group can never be sent; all its records are rejected.
        """
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
