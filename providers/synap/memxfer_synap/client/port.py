"""What the provider asks of a client, in Synap's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

__all__ = [
    "BatchAnswer",
    "ContextAnswer",
    "ContextQuery",
    "FoundMemory",
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
        recorded: How many turns it took; `None` where it does not say, or says it in no whole number.
        names: The ids by which it names the conversation, where it does.
    """

    ingestion_id: str | None
    status: str
    correlation_id: str | None
    recorded: int | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """How far an accepted document is: queued, processing, completed, failed, partial_success.

    Attributes:
        status: The word, in lower case.
        memory_ids: Memories made of it so far.
        error_message: What went wrong; may be empty.
        correlation_id: Synap's id of the request.
        ingestion_id: Which document the answer is about; `None` where it does not say.
        created: How many memories it says were made; `None` where it does not say.
    """

    status: str
    memory_ids: tuple[str, ...]
    error_message: str
    correlation_id: str | None
    ingestion_id: str | None = None
    created: int | None = None


@dataclass(frozen=True, slots=True)
class ContextQuery:
    """What is asked of a context fetch.

    Attributes:
        level: Which of the four fetches: `user`, `customer`, `client`, `conversation`.
        text: What to look for; not blank.
        limit: Most items.
        mode: `fast` or `accurate`.
        user_id: Whose, where the level has a user.
        customer_id: Of which customer; on B2B instances.
        conversation_id: A UUID: the conversation, or the one that the question belongs to.
    """

    level: str
    text: str
    limit: int
    mode: str
    user_id: str | None = None
    customer_id: str | None = None
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True)
class FoundMemory:
    """A memory, as a fetch, a get or an update tells of it; most fields may be missing.

    Attributes:
        memory_id: Its UUID; of an excerpt the id of a chunk, which no other call knows.
        category: `facts`, `preferences`, `episodes`, `emotions`, `temporal_events`, `excerpts`; of a
            get the singular.
        content: Its text.
        score: How well it fits, higher is better.
        confidence: 0 to 1.
        metadata: The document's; a get has none.
        times: `said_at`, `extracted_at`, `created_at`, `updated_at`, `valid_until`, as they were written.
        others: Every other field.
        level: The widest level whose fetch gave it; empty before levels are put together.
    """

    memory_id: str
    category: str
    content: str
    score: float | None = None
    confidence: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    times: dict[str, str] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    level: str = ""


@dataclass(frozen=True, slots=True)
class ContextAnswer:
    """What a context fetch was answered with.

    Attributes:
        found: Memories, best first.
        summary: What the conversation was about so far, where one was named and Synap has a summary.
        degraded: Why there may be less than there should be (`timeout`, `overloaded`, ...); `None` when
            the retrieval was whole.
        correlation_id: Synap's id of the request; `None` from the cache.
    """

    found: tuple[FoundMemory, ...]
    summary: str | None = None
    degraded: str | None = None
    correlation_id: str | None = None


class SynapClient(Protocol):
    """Sends each call once; raises nothing but the errors of `memxfer.errors`."""

    async def create_batch(self, documents: Sequence[bytes]) -> BatchAnswer:
        """Hand in 1 to 100 documents, each a `SynapDocument` in JSON.

        Raises:
            AmbiguousError: It may have happened.
            BatchRefusedError, TransientError, FatalError: It has not.
        """
        ...

    async def create(self, document: bytes) -> BatchAnswer:
        """Hand in one document, a `SynapDocument` in JSON, by the call for what is said just now.

        Returns:
            The same as a batch of one.

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

    async def fetch(self, asked: ContextQuery) -> ContextAnswer:
        """Return the memories of one level that fit a question; empty for a conversation nobody knows."""
        ...

    async def get(self, memory_id: str) -> FoundMemory | None:
        """Return one memory, `None` when there is none of that id."""
        ...

    async def update(self, memory_id: str, text: str) -> FoundMemory | None:
        """Put another text in the place of a memory's; `None` when there is none of that id.

        Raises:
            AmbiguousError: It may have happened. Doing it again does no harm.
        """
        ...

    async def delete(self, memory_id: str) -> bool:
        """Delete one memory; `False` when it was gone already."""
        ...

    async def aclose(self) -> None:
        """Release connections. Idempotent."""
        ...
