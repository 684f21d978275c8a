"""What the provider asks of a vector store. All calls block and run on the store's one thread."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from memxfer.spi import CursorExpiredError, ProviderError, UnsupportedOperationError

__all__ = [
    "PROVIDER",
    "Place",
    "Row",
    "VectorStore",
    "make_cursor",
    "parse_cursor",
    "slice_ids",
]

PROVIDER = "mem0-oss"
KEY = "memxfer_key"
"""Payload field that carries the document key of a row that memxfer wrote."""


@dataclass(frozen=True, slots=True)
class Row:
    """One point, as the store holds it.

    Attributes:
        id: Its id as text; Qdrant's integer ids become digits.
        payload: What Mem0 filed under it. Not checked: hand-made collections hold anything.
        vector: Its embedding, where it was asked for.
    """

    id: str
    payload: Any
    vector: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store is.

    Attributes:
        namespace: Its name in document keys, the same on every machine.
        summary: The same for people.
        path: The folder it is in, on this machine.
    """

    namespace: str
    summary: str
    path: str | None = None

    @property
    def local(self) -> str:
        """What tells a store on this machine from another of its name, however its path is written.

        These stores have no id of their own (Qdrant, FAISS), or one that a copy shares (Chroma).
        """
        return f"{Path(self.path).resolve()}#{self.namespace}" if self.path else ""


class VectorStore(ABC):
    """A collection of rows.

    Attributes:
        is_experimental: Whether the listing goes through Mem0's own capped `list`.
        max_batch: Most rows of one `upsert`.
        place: Where it is.
        dims: Length of its vectors, where known.
        warnings: What the user should know.
    """

    is_experimental: ClassVar[bool] = False
    max_batch: ClassVar[int] = 256

    place: Place
    dims: int | None = None
    warnings: tuple[str, ...] = ()

    @abstractmethod
    def page(self, cursor: str | None, limit: int, *, with_vectors: bool) -> tuple[list[Row], str | None]:
        """Return the rows after `cursor` in the order of their ids, and the cursor of the next page.

        Raises:
            CursorExpiredError: The cursor is not one of this store.
        """

    @abstractmethod
    def get(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return those of `ids` that are there, without vectors."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of rows."""

    def find(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return the ids of the rows that carry these document keys, by key."""
        raise self._read_only()

    def upsert(self, rows: Sequence[Row], present: Mapping[str, Row]) -> None:
        """Store rows with payload and vector; a row with the same id is replaced whole.

        Args:
            rows: What to store, every id once.
            present: Those of the ids that are there already, as `get` gave them.
        """
        raise self._read_only()

    def delete(self, ids: Sequence[str]) -> int:
        """Remove rows; return how many were there."""
        raise self._read_only()

    def same(self, stored: Any, wanted: dict[str, Any]) -> bool:
        """Tell whether a stored payload is what `wanted` becomes in this store."""
        return bool(stored == wanted)

    @abstractmethod
    def classify(self, error: Exception, operation: str) -> ProviderError | None:
        """Return what a vendor's error means; `None` for one that is not the vendor's."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the store."""

    def _read_only(self) -> UnsupportedOperationError:
        return UnsupportedOperationError(
            "mem0-oss writes to qdrant, chroma, faiss and pgvector only", provider=PROVIDER
        )


def make_cursor(after: str | int) -> str:
    """Return the cursor of what follows an id; readable in another process."""
    return json.dumps({"after": after})


def parse_cursor(cursor: str) -> str | int:
    """Return the id of a cursor.

    Raises:
        CursorExpiredError: It is not a cursor of `make_cursor`.
    """
    try:
        after = json.loads(cursor)["after"]
    except (ValueError, KeyError, TypeError) as error:
        raise _bad_cursor() from error
    if not isinstance(after, str | int):
        raise _bad_cursor()
    return after


def _bad_cursor() -> CursorExpiredError:
    return CursorExpiredError(
        "this cursor is not one of a mem0-oss listing; list the partition from its start",
        provider=PROVIDER,
        operation="read",
    )


def slice_ids(ids: Sequence[str], cursor: str | None, limit: int) -> tuple[Sequence[str], str | None]:
    """Return the next `limit` of sorted `ids` after `cursor`, and the cursor behind them."""
    start = 0 if cursor is None else bisect_right(ids, str(parse_cursor(cursor)))
    chosen = ids[start : start + limit]
    more = start + limit < len(ids)
    return chosen, make_cursor(chosen[-1]) if more else None
