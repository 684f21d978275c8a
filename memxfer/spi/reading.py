"""What a source gives: partitions, and pages of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memxfer.errors import RecordError
from memxfer.models import MemoryRecord

__all__ = ["NOT_A_MEMORY", "Defect", "Ignored", "Page", "Partition", "RawPage"]

NOT_A_MEMORY = "not_a_memory"
"""The reason of a row for which a provider gives none."""


@dataclass(frozen=True, slots=True)
class Partition:
    """The cheapest slice of a store that can be listed completely on its own.

    Attributes:
        name: Stable and unique within the store; the ledger files the slice's place under it.
        spec: What the provider needs to list it again, as JSON values.
        total: Records in it, where the backend says so without listing.
    """

    name: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    total: int | None = None


@dataclass(frozen=True, slots=True)
class RawPage:
    """One answer of a listing, rows still as the backend wrote them.

    Attributes:
        rows: The rows, in the listing's order.
        next_cursor: Where the next page begins; `None` at the end. Opaque, and stable across processes.
        total: Rows of the whole partition, where the answer says so.
    """

    rows: Sequence[Any]
    next_cursor: str | None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Defect:
    """A row that could not be read as a record.

    Attributes:
        id: The row's id, where it could be told.
        error: What is wrong with it; never quotes its content.
    """

    id: str | None
    error: RecordError


@dataclass(frozen=True, slots=True)
class Ignored:
    """A row that is no memory, and is left out.

    Attributes:
        reason: Why, in a few lower-case words with underscores: `no_text`, `soft_deleted`, `marker`. Never
            made from what the row holds. `memxfer.gaps.ignored` has words for people.
        id: The row's id, where it could be told.
        harmless: Nothing is lost with it, whatever the row holds: a marker, telemetry, a deleted memory.
            Every other row is left out only after consent.
    """

    reason: str
    id: str | None = None
    harmless: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Records of one page.

    Attributes:
        records: The records, in the listing's order.
        next_cursor: Where the next page begins; `None` at the end.
        total: Rows of the whole partition, where known.
        ignored: Rows that are not memories, each with its reason; they are left out.
        defects: Rows that could not be read.
    """

    records: Sequence[MemoryRecord]
    next_cursor: str | None = None
    total: int | None = None
    ignored: Sequence[Ignored] = ()
    defects: Sequence[Defect] = ()
