"""What apps ask of a backend while they run. A provider has an operation by having its method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from memxfer.models import MemoryRecord, Scope
from memxfer.spi.reading import Page

__all__ = [
    "ContextPackage",
    "Hit",
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
    """Text for a prompt, made of memories.

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


@runtime_checkable
class SupportsSearch(Protocol):
    """Memories can be found by meaning."""

    async def search(self, query: str, *, scope: Scope, limit: int) -> Sequence[Hit]:
        """Return the memories of a scope that fit best, best first; at most `limit`."""
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
