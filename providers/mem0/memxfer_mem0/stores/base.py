"""What the provider asks of a vector store. All calls block and run on the store's one thread."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final

from memxfer.spi import ConfigError, CursorExpiredError, ProviderError, UnsupportedOperationError

__all__ = [
    "PROVIDER",
    "AbsentStore",
    "Access",
    "MissingStoreError",
    "Place",
    "Row",
    "VectorStore",
    "make_cursor",
    "may_pass",
    "parse_cursor",
    "slice_ids",
]

PROVIDER = "mem0-oss"
KEY = "memxfer_key"
"""Payload field that carries the document key of a row that memxfer wrote."""


class Access(StrEnum):
    """What a store is opened for."""

    READ = "read"
    """A source: it has to be there, and nothing in it changes."""
    LOOK = "look"
    """A target before its first write: it may be missing, and nothing in it changes."""
    WRITE = "write"
    """A target: what is missing is made."""


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


class MissingStoreError(ConfigError):
    """There is no such store or collection.

    Attributes:
        place: Where it would be.
        upgrade: What making it there would do to the app's other collections; see `VectorStore.upgrade`.
        entities: See `VectorStore.entities`.
    """

    def __init__(
        self,
        message: str,
        place: Place,
        *,
        upgrade: str | None = None,
        entities: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.place, self.upgrade, self.entities = place, upgrade, entities


class VectorStore(ABC):
    """A collection of rows.

    Attributes:
        is_experimental: Whether the listing goes through Mem0's own capped `list`.
        max_batch: Most rows of one `upsert`.
        place: Where it is.
        dims: Length of its vectors, where known.
        warnings: What the user should know.
        copied: Bytes of the private copy that is read instead of the store, where there is one.
        upgrade: What the first write does to a store that an older package made, for an app that still
            has that package; `None` when it can open the store afterwards.
        entities: Name and length of vectors of the collection of entities that Mem0 2.x keeps beside the
            memories, by the same embedder; where a target has one.
        others: Names of the other collections in the folder of an embedded store; Mem0's own are among them.
    """

    is_experimental: ClassVar[bool] = False
    max_batch: int = 256

    place: Place
    dims: int | None = None
    warnings: tuple[str, ...] = ()
    copied: int | None = None
    upgrade: str | None = None
    entities: tuple[str, int] | None = None
    others: tuple[str, ...] = ()

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


class AbsentStore(VectorStore):
    """A target that the first write will make: nothing is in it.

    Args:
        missing: How its absence was found.
        max_batch: Most rows of one `upsert` of the store that is made.
    """

    def __init__(self, missing: MissingStoreError, *, max_batch: int) -> None:
        self.place, self.upgrade, self.entities = missing.place, missing.upgrade, missing.entities
        self.max_batch = max_batch
        self.warnings = ("there is no such collection yet: the first write makes it",)

    def page(self, cursor: str | None, limit: int, *, with_vectors: bool) -> tuple[list[Row], str | None]:
        """Return no rows."""
        return [], None

    def get(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return no rows."""
        return {}

    def count(self) -> int:
        """Return 0."""
        return 0

    def find(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return no ids."""
        return {}

    def classify(self, error: Exception, operation: str) -> ProviderError | None:
        """Return `None`: no vendor is asked."""
        return None

    def close(self) -> None:
        """Let go of nothing."""


_PASSING: Final = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL}
)


def may_pass(error: sqlite3.Error) -> bool:
    """Tell whether the same call may succeed later: the file is locked, or the disk fails or is full.

    A missing table or column, a damaged file and one that may not be written stay as they are.
    """
    return getattr(error, "sqlite_errorcode", -1) & 0xFF in _PASSING


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
