"""What the provider asks of a client, in Synap's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

__all__ = [
    "BatchAnswer",
    "Job",
    "Row",
    "SynapClient",
    "SynapDocument",
    "SynapTranscript",
    "SynapTurn",
    "TranscriptAnswer",
    "WhoAmI",
]


class SynapDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One document on the wire: exactly the nine keys that SDK 0.6.9 sends, absent ones as null."""

    document: str
    document_type: str
    document_id: str
    document_created_at: str | None
    user_id: str | None
    customer_id: str | None
    scope: None = None
    mode: str
    metadata: dict[str, Any]


class SynapTurn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn on the wire: the five keys that SDK 0.6.9 sends, absent ones as null."""

    role: str
    content: str
    timestamp: str | None
    speaker: str | None
    metadata: dict[str, Any] | None


class SynapTranscript(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation on the wire; what is absent is left out, as SDK 0.6.9 does."""

    conversation_id: str
    user_id: str
    transcript: list[SynapTurn]
    customer_id: str | None = None
    metadata: dict[str, Any]
    started_at: str | None = None
    ended_at: str | None = None


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """Whose key it is.

    Attributes:
        client_id: The account.
        instance_id: The instance; part of every document key.
        isolation: `"equals_customer"` on B2C instances; `None` from servers that do not say.
    """

    client_id: str
    instance_id: str
    isolation: str | None

    @property
    def is_b2c(self) -> bool:
        """Whether users are their own customers."""
        return self.isolation == "equals_customer"


class Row(msgspec.Struct, frozen=True):
    """One document's line of a batch answer; anything may be missing."""

    document_id: str | None = None
    ingestion_id: str | None = None
    status: str = ""
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What a batch was answered with; rows in any order, not all of them, some twice."""

    rows: tuple[Row, ...]
    correlation_id: str | None


@dataclass(frozen=True, slots=True)
class TranscriptAnswer:
    """What a transcript was answered with.

    Attributes:
        ingestion_id: Handle to ask for its progress.
        status: `queued`, or `duplicate` where Synap has this very transcript already.
        correlation_id: Synap's id of the request.
        recorded: How many turns it took, where it says so.
    """

    ingestion_id: str | None
    status: str
    correlation_id: str | None
    recorded: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """How far an accepted document is: queued, processing, completed, failed, partial_success."""

    status: str
    memory_ids: tuple[str, ...]
    error_message: str
    correlation_id: str | None


class SynapClient(Protocol):
    """Sends each call once; raises nothing but the errors of `memxfer.errors`."""

    async def create_batch(self, documents: Sequence[bytes]) -> BatchAnswer:
        """Hand in 1 to 100 documents, each a `SynapDocument` in JSON.

        Raises:
            AmbiguousError: It may have happened.
            BatchRefusedError, TransientError, FatalError: It has not.
        """
        ...

    async def ingest_transcript(self, transcript: bytes) -> TranscriptAnswer:
        """Hand in one conversation, a `SynapTranscript` in JSON. Handing in the same one again is safe.

        Raises:
            AmbiguousError: It may have happened.
            BatchRefusedError: It has not; status 409 where Synap has another transcript of that id.
            TransientError, FatalError: It has not.
        """
        ...

    async def job(self, ingestion_id: str) -> Job | None:
        """Return the progress of one document, `None` when Synap does not know it (any more)."""
        ...

    async def delete(self, memory_id: str) -> bool:
        """Delete one memory; `False` when it was gone already."""
        ...

    async def aclose(self) -> None:
        """Release connections. Idempotent."""
        ...
