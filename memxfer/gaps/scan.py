"""Counting on the records themselves: which dimensions they carry, and which of them need a decision."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from memxfer.capabilities import Dimension
from memxfer.gaps.dimensions import RULES, values_of
from memxfer.models import MemoryRecord
from memxfer.spi import Document, Prepared, Refused, Skipped

__all__ = ["Census", "Tally"]

_SAMPLES = 3
# A census looks at every record of a store: only what is set at all is looked into.
_values = values_of(RULES)
_DECISIONS = {
    "unscoped": Dimension.USER,
    "no_customer": Dimension.TENANT,
    "undated": Dimension.CREATED_AT,
    "too_large": Dimension.CONTENT,
    "metadata_too_large": Dimension.METADATA,
}
"""Which dimension a decision belongs to, by the code of the refusal that asks for it."""


@dataclass
class Tally:
    """How many records, and a few of their ids."""

    records: int = 0
    samples: list[str] = field(default_factory=list)

    def add(self, record_id: str) -> None:
        """Count one record."""
        self.records += 1
        if len(self.samples) < _SAMPLES:
            self.samples.append(record_id)


class Census:
    """Counts over records, in bounded memory.

    Attributes:
        scanned: Records seen.
        carried: Records by dimension.
        undecided: Records by dimension that a missing decision blocks.
        remedies: Config lines or flags that settle a blocked dimension.
        refused: Records the target can never hold, by code.
        skipped: Records left out by decision, by reason.
        changed: Documents the target's provider had to alter, by what it did.
        unreadable: Rows that cannot be read as memories.
        scopes: Documents by the target scope they land in.
    """

    def __init__(self) -> None:
        self.scanned = 0
        self.carried: dict[Dimension, Tally] = {}
        self.undecided: dict[Dimension, Tally] = {}
        self.remedies: dict[Dimension, tuple[str, ...]] = {}
        self.refused: dict[str, Tally] = {}
        self.skipped: Counter[str] = Counter()
        self.changed: dict[str, Tally] = {}
        self.unreadable = Tally()
        self.scopes: Counter[str] = Counter()

    def add(self, record: MemoryRecord, prepared: Prepared) -> None:
        """Count one record, and what would become of it."""
        self.scanned += 1
        for rule, value in zip(RULES, _values(record), strict=True):
            if value and rule.carried(record) is not None:
                self.carried.setdefault(rule.dimension, Tally()).add(record.id)
        if isinstance(prepared, Document):
            self.scopes[prepared.scope] += 1
            for change in prepared.changes:
                self.changed.setdefault(change, Tally()).add(record.id)
        elif isinstance(prepared, Skipped):
            self.skipped[prepared.reason] += 1
        else:
            self._add_refused(record.id, prepared)

    def add_unreadable(self, row_id: str | None) -> None:
        """Count a row that cannot be read as a memory."""
        self.unreadable.add(row_id or "?")

    def _add_refused(self, record_id: str, refused: Refused) -> None:
        code = refused.error.code or "refused"
        if not refused.remedies:
            self.refused.setdefault(code, Tally()).add(record_id)
            return
        dimension = _DECISIONS.get(code, Dimension.CONTENT)
        self.undecided.setdefault(dimension, Tally()).add(record_id)
        self.remedies[dimension] = refused.remedies
