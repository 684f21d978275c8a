"""What calls of the client return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from memxfer.models import MemoryRecord
from memxfer.spi import IngestState as BackendState

__all__ = ["BACKEND_STATES", "Handle", "IngestProgress", "IngestState", "MemoryPage"]


class IngestState(StrEnum):
    """How far something is that an app wants remembered."""

    QUEUED = "queued"
    """On disk here; the backend does not have it yet."""
    SENDING = "sending"
    """On its way; it may have arrived."""
    PROCESSING = "processing"
    """The backend took it and is not done with it."""
    STORED = "stored"
    FAILED = "failed"
    """The backend took it and could not process it."""
    SET_ASIDE = "set_aside"
    """Refused for good, unreadable, or tried too often; kept in the outbox."""
    NOT_KEPT = "not_kept"
    """It could not even be put into the outbox, or its id was given to something else before."""
    UNKNOWN = "unknown"
    """It may have arrived."""


BACKEND_STATES = {
    BackendState.PROCESSING: IngestState.PROCESSING,
    BackendState.STORED: IngestState.STORED,
    BackendState.FAILED: IngestState.FAILED,
    BackendState.GONE: IngestState.UNKNOWN,
}
"""What a backend says of a document, in the words of a client."""


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far a document is.

    Attributes:
        state: In one word.
        ingestion_id: The backend's handle of it, where it has one.
        target_ids: The memories made of it, as far as they are known.
        problem: Why it did not arrive, or not yet.
    """

    state: IngestState
    ingestion_id: str | None = None
    target_ids: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """What `ingest` gives back at once.

    Attributes:
        document_id: The document's id in the backend, also before it is there.
        provider: The connection it is for.
        is_kept: It is on disk, or in the backend: nothing but a lost disk can lose it. If not,
            `progress` tells why.
    """

    document_id: str
    provider: str
    is_kept: bool
    _ask: Callable[[], Awaitable[IngestProgress]] = field(repr=False)

    async def progress(self) -> IngestProgress:
        """Ask how far it is.

        Raises:
            TransientError, FatalError: The backend could not be asked.
        """
        return await self._ask()


@dataclass(frozen=True, slots=True)
class MemoryPage:
    """Memories of a scope.

    Attributes:
        memories: Some of them.
        cursor: Give it back to get the next; `None` at the end.
    """

    memories: tuple[MemoryRecord, ...]
    cursor: str | None = None
