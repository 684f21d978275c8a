"""What apps ask of a backend while they run. A provider has an operation by having its method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from memxfer.models import MemoryRecord, Scope
from memxfer.spi.reading import Page
from memxfer.spi.writing import Document, WriteReceipt

__all__ = [
    "ContextPackage",
    "Hit",
    "SupportsCreate",
    "SupportsLevels",
    "SupportsPackage",
    "SupportsScopedList",
    "SupportsSearch",
    "SupportsUpdate",
]


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that answers a question.

    Attributes:
        memory: The memory.
        score: How well, by the backend's own measure; higher is better. `None` where it gives none.
    """

    memory: MemoryRecord
    score: float | None = None


@dataclass(frozen=True, slots=True)
class ContextPackage:
    """Text for a prompt, made of memories. One without text is falsy.

    Attributes:
        text: What to put into the prompt; empty when nothing is remembered.
        memories: What it is made of, as far as the backend says.
        is_cut: Something was left out to keep to the budget.
        correlation_id: The backend's id of the request.
    """

    text: str
    memories: tuple[MemoryRecord, ...] = ()
    is_cut: bool = False
    correlation_id: str | None = None

    def __bool__(self) -> bool:
        return bool(self.text.strip())


@runtime_checkable
class SupportsCreate(Protocol):
    """The backend has a call of its own for a single document said just now, apart from its bulk path.

    An app's documents that go alone are handed to `create`; everything else, and every document of a
    provider without it, goes through `write`.
    """

    async def create(self, document: Document) -> WriteReceipt:
        """Send one document.

        The contract is that of `MemoryProvider.write` for a batch of one: the same keys, the same
        outcomes, and idempotent wherever `write` is.

        Returns:
            Its receipt. Whatever happened after bytes were sent, short of a clear refusal, is a
            receipt: `UNKNOWN` where it cannot be told.

        Raises:
            RateLimitedError, UnavailableError: Certainly nothing was stored; send it again later.
            AuthError, QuotaExceededError: Certainly nothing was stored; somebody has to act.
            RecordError: Certainly nothing was stored, and this document never can be.
        """
        ...


@runtime_checkable
class SupportsSearch(Protocol):
    """Memories can be found by meaning."""

    async def search(self, query: str, *, scope: Scope, limit: int) -> Sequence[Hit]:
        """Return the memories of a scope that fit best, best first; at most `limit`."""
        ...


@runtime_checkable
class SupportsLevels(Protocol):
    """Memories are kept at levels, a user's and wider ones, and a question names one of them."""

    def levels_of(self, owner: str) -> tuple[Scope, Scope] | None:
        """Return two scopes for a probe that are nobody else's: a user, and the level above that user.

        Args:
            owner: What every id in them begins with.

        Returns:
            `None` where the only wider level is everybody's.
        """
        ...

    async def search_level(self, query: str, *, scope: Scope, limit: int) -> Sequence[Hit]:
        """Return what the backend answers to one question at the level of `scope`, and ask no other."""
        ...


@runtime_checkable
class SupportsScopedList(Protocol):
    """The memories of one owner can be listed."""

    async def list_scoped(self, scope: Scope, *, limit: int, cursor: str | None) -> Page:
        """Return one page of a scope's memories.

        Raises:
            CursorExpiredError: Begin the list again.
        """
        ...


@runtime_checkable
class SupportsUpdate(Protocol):
    """A memory's text can be replaced."""

    async def update(self, record_id: str, content: str) -> MemoryRecord | None:
        """Replace the text of a memory; return it as it is now, `None` if there is none of that id."""
        ...


@runtime_checkable
class SupportsPackage(Protocol):
    """The backend makes the text for a prompt by itself."""

    async def package(self, query: str, *, scope: Scope, limit: int) -> ContextPackage:
        """Return what fits a question, of at most `limit` memories; the caller cuts it to its budget."""
        ...
