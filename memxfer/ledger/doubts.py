"""What an earlier run left of a partition's records, found again by what the source lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from memxfer.ids import is_same_form, is_same_record
from memxfer.ledger.states import State

__all__ = ["Doubts", "InDoubt"]


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A record after its partition's watermark, as an earlier run left it."""

    seq: int
    partition: int
    id: str
    key: str | None
    hash: bytes | None
    state: State
    sends: int


class Doubts:
    """Rows of one partition that were not met again yet. Several may have one id: they are other records.

    Args:
        rows: The rows, in the order they were listed.
    """

    def __init__(self, rows: Iterable[InDoubt] = ()) -> None:
        self._first: dict[str, InDoubt] = {}
        self._others: dict[str, list[InDoubt]] = {}
        for row in rows:
            self.add(row)

    def __iter__(self) -> Iterator[InDoubt]:
        """Give the rows."""
        yield from self._first.values()
        for rows in self._others.values():
            yield from rows

    def add(self, row: InDoubt) -> None:
        """Add a row."""
        if self._first.setdefault(row.id, row) is not row:
            self._others.setdefault(row.id, []).append(row)

    def take(self, record_id: str, digest: bytes | None) -> InDoubt | None:
        """Take out the row of exactly this record, or one that says nothing but the id.

        Args:
            record_id: The source's id.
            digest: Of the record; `None` where it cannot be read: then a row is its own only where no
                other has its id.
        """
        rows = self._of(record_id)
        if digest is None and len(rows) == 1:
            return self._taken(rows[0])
        exact = next((row for row in rows if is_same_form(row.hash, digest)), None)
        return self._taken(exact or next((row for row in rows if row.hash is None), None))

    def has_older_form(self, record_id: str, digest: bytes) -> bool:
        """Tell whether a row may be of this record before it was edited."""
        return any(is_same_record(row.hash, digest) for row in self._of(record_id))

    def take_older_form(self, record_id: str, digest: bytes) -> InDoubt | None:
        """Take out a row that may be of this record before it was edited."""
        rows = self._of(record_id)
        return self._taken(next((row for row in rows if is_same_record(row.hash, digest)), None))

    def _of(self, record_id: str) -> list[InDoubt]:
        first = self._first.get(record_id)
        if first is None:
            return []
        others = self._others.get(record_id) if self._others else None
        return [first, *others] if others else [first]

    def _taken(self, row: InDoubt | None) -> InDoubt | None:
        if row is None:
            return None
        others = self._others.get(row.id)
        if self._first[row.id] is not row:
            self._others[row.id].remove(row)
        elif others:
            self._first[row.id] = others.pop(0)
        else:
            del self._first[row.id]
        return row
