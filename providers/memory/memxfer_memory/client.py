"""The store itself: rows in insertion order, an index by key, and a process-wide registry by name."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

from memxfer.spi import Document, IngestStatus, MemoryRecord

__all__ = ["EVERYTHING", "IngestTask", "MemoryStore", "StoredRow"]

EVERYTHING = "all"
"""The slice that holds every row."""


@dataclass(slots=True)
class StoredRow:
    """One record in a store.

    Attributes:
        sequence: Its place in insertion order; never reused.
        target_id: The store's own id.
        record: The record as the store keeps it.
        key: The document key it was written under; `None` for a seeded record.
        envelope: What came beside the record.
        hash: Hash of the record that was stored last.
        writes: How often a write changed it; 0 for a seeded record.
    """

    sequence: int
    target_id: str
    record: MemoryRecord
    key: str | None = None
    envelope: Mapping[str, Any] = field(default_factory=dict)
    hash: bytes = b""
    writes: int = 0


@dataclass(slots=True)
class IngestTask:
    """A document that is accepted and not stored yet."""

    document: Document
    polls_left: int


class MemoryStore:
    """Records of one named store. Tests reach into it; providers only hold a reference.

    Attributes:
        name: The store's name, its namespace in document keys.
        attempts: How often each key reached the store, refused and repeated writes included.
        tasks: Accepted documents by ingestion id.
        statuses: Final answers by ingestion id.
        origins: Stores the documents were announced to come from.
        finished: How often a job declared itself complete.
    """

    _named: ClassVar[dict[str, MemoryStore]] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self.attempts: dict[str, int] = {}
        self.tasks: dict[str, IngestTask] = {}
        self.statuses: dict[str, IngestStatus] = {}
        self.origins: list[tuple[str, str]] = []
        self.finished = 0
        self._rows: dict[int, StoredRow] = {}
        self._order: dict[str, list[int]] = {EVERYTHING: []}
        self._by_key: dict[str, list[int]] = {}
        self._by_target_id: dict[str, int] = {}
        self._issued = 0
        self._inserted = 0

    @classmethod
    def named(cls, name: str) -> MemoryStore:
        """Return the store of that name, made when first asked for."""
        return cls._named.setdefault(name, cls(name))

    @classmethod
    def forget(cls, name: str) -> None:
        """Drop the store of that name; providers that are connected keep theirs."""
        cls._named.pop(name, None)

    # -- for tests ----------------------------------------------------------------------------

    def seed(self, records: Iterable[MemoryRecord]) -> None:
        """Put records in, as an app would have over time."""
        for record in records:
            self.insert(record)

    def remove(self, record_id: str) -> None:
        """Take every record of that source id out, as an app would."""
        gone = [row.target_id for row in self.rows() if row.record.id == record_id]
        self.delete(gone)

    @property
    def records(self) -> list[MemoryRecord]:
        """The records, in insertion order."""
        return [row.record for row in self.rows()]

    @property
    def keys(self) -> list[str]:
        """The keys of written rows, in insertion order; a key stored twice is there twice."""
        return [row.key for row in self.rows() if row.key is not None]

    def rows(self, part: str = EVERYTHING) -> Iterator[StoredRow]:
        """Give the rows of one slice, in insertion order."""
        return self._live(part, self._order.get(part, ()))

    def __len__(self) -> int:
        return len(self._rows)

    # -- reading ------------------------------------------------------------------------------

    def parts(self) -> list[str]:
        """Return the names of the slices by user that hold rows, in order of first appearance."""
        return [part for part in self._order if part != EVERYTHING and self.after(part, 0, 1)]

    def after(self, part: str, sequence: int, limit: int) -> list[StoredRow]:
        """Return up to `limit` rows of a slice that were inserted after `sequence`."""
        order = self._order.get(part, [])
        start = bisect_right(order, sequence)
        return list(islice(self._live(part, islice(order, start, None)), limit))

    def newest(self, part: str, offset: int, limit: int) -> list[StoredRow]:
        """Return `limit` rows of a slice from a position, newest first: unstable while others write."""
        rows = list(self.rows(part))[::-1]
        return rows[offset : offset + limit]

    def by_key(self, key: str) -> list[StoredRow]:
        """Return the rows stored under a key, oldest first."""
        return [self._rows[number] for number in self._by_key.get(key, ())]

    def by_target_id(self, target_id: str) -> StoredRow | None:
        """Return the row that the store calls by an id of its own."""
        number = self._by_target_id.get(target_id)
        return None if number is None else self._rows[number]

    # -- writing ------------------------------------------------------------------------------

    def issue(self, prefix: str) -> str:
        """Return an id that this store never gave before."""
        self._issued += 1
        return f"{prefix}-{self._issued:08d}"

    def insert(
        self, record: MemoryRecord, *, key: str | None = None, target_id: str | None = None
    ) -> StoredRow:
        """Append a row."""
        chosen = target_id or self.issue("mem")
        self._inserted += 1
        row = StoredRow(self._inserted, chosen, record, key)
        self._rows[row.sequence] = row
        self._by_target_id[chosen] = row.sequence
        self._file(row)
        if key is not None:
            self._by_key.setdefault(key, []).append(row.sequence)
        return row

    def replace(self, row: StoredRow, record: MemoryRecord) -> None:
        """Give a row a new record; its place in the listing stays."""
        row.record = record
        order = self._order.setdefault(_slice_of(record), [])
        place = bisect_left(order, row.sequence)
        if order[place : place + 1] != [row.sequence]:
            order.insert(place, row.sequence)

    def delete(self, target_ids: Sequence[str]) -> int:
        """Remove rows by the store's own ids; return how many were there."""
        count = 0
        for target_id in target_ids:
            number = self._by_target_id.pop(target_id, None)
            if number is None:
                continue
            row = self._rows.pop(number)
            if row.key is not None:
                self._by_key[row.key].remove(number)
            count += 1
        return count

    def _live(self, part: str, numbers: Iterable[int]) -> Iterator[StoredRow]:
        # An entry outlives its row's removal, and its move to another slice.
        rows = (self._rows[number] for number in numbers if number in self._rows)
        return (row for row in rows if part in (EVERYTHING, _slice_of(row.record)))

    def _file(self, row: StoredRow) -> None:
        self._order[EVERYTHING].append(row.sequence)
        self._order.setdefault(_slice_of(row.record), []).append(row.sequence)


def _slice_of(record: MemoryRecord) -> str:
    return "shared" if record.scope.user is None else f"user:{record.scope.user}"
