"""Counting on the records themselves: which dimensions they carry, and which of them need a decision."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from memxfer.capabilities import Capabilities, Dimension
from memxfer.gaps.checks import Check, Outlook, checks_for
from memxfer.gaps.crossings import Crossings, Meetings
from memxfer.gaps.dimensions import foreign_extensions
from memxfer.gaps.traits import MOST_KINDS, Traits, rules_in, traits_of
from memxfer.models import MemoryRecord
from memxfer.spi import Document, Ignored, Prepared, Refused, Skipped

__all__ = ["Census", "IgnoredTally", "Tally"]

K = TypeVar("K")

_SAMPLES = 3
_MOST_FIELDS = 200
_DECISIONS = {
    "unscoped": Dimension.USER,
    "widening": Dimension.USER,
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

    def merge(self, other: Tally) -> None:
        """Add what another tally counted later."""
        self.records += other.records
        self.samples = [*self.samples, *other.samples][:_SAMPLES]


@dataclass
class IgnoredTally(Tally):
    """How many rows were ignored for one reason, and a few of their ids.

    Attributes:
        harmless: Nothing is lost with any of them.
    """

    harmless: bool = True

    def add_row(self, row: Ignored) -> None:
        """Count one row."""
        self.records += 1
        self.harmless &= row.harmless
        if row.id is not None and len(self.samples) < _SAMPLES:
            self.samples.append(row.id)


class Census:
    """Counts over records, in bounded memory.

    Args:
        target: Capabilities of the target, for checks that depend on it.
        now: The moment of the scan, for dates in the future.
        crossings: Where documents are compared with each other; default: a place of its own.

    Attributes:
        scanned: Records seen.
        undecided: Records by dimension and code that a missing decision blocks.
        remedies: Config lines or flags that settle them.
        refused: Records the target can never hold, by code.
        skipped: Records left out by decision, by reason.
        changed: Documents the target's provider had to alter, by what it did.
        found: Records that a check found, by the check's name.
        foreign: Records with an extension that the target has no place for.
        fields: Records by field of the source's own extensions, `"mem0.last_change"`.
        unreadable: Rows that cannot be read as memories.
        ignored: Rows that are no memories, by reason.
        filtered: Records that the selection leaves out; they are not scanned.
        documents: Records that would be sent.
        crossings: Documents that collide, merge or repeat.
    """

    def __init__(
        self,
        target: Capabilities | None = None,
        *,
        now: datetime | None = None,
        crossings: Meetings | None = None,
    ) -> None:
        self._outlook = Outlook(target or Capabilities(), now or datetime.now(UTC))
        self._own_fields = self._outlook.target.own_fields()
        self.checks = checks_for(self._outlook)
        self.scanned = 0
        self.undecided: dict[tuple[Dimension, str], Tally] = {}
        self.remedies: dict[tuple[Dimension, str], tuple[str, ...]] = {}
        self.refused: dict[str, Tally] = {}
        self.skipped: Counter[str] = Counter()
        self.changed: dict[str, Tally] = {}
        self.found: dict[str, Tally] = {}
        self.foreign = Tally()
        self.fields: dict[str, Tally] = {}
        self.unreadable = Tally()
        self.ignored: dict[str, IgnoredTally] = {}
        self.filtered = 0
        self.documents = 0
        writing = self._outlook.target.writing
        self.crossings: Meetings = crossings or Crossings(
            keeps_apart=writing is not None and writing.keeps_apart
        )
        self._carried: dict[Dimension, Tally] = {}
        self._kinds: dict[Traits, tuple[Tally, tuple[Check, ...]]] = {}

    def add(self, record: MemoryRecord, prepared: Prepared, *, digest: bytes | None = None) -> None:
        """Count one record, and what would become of it; its digest tells one that is listed twice."""
        self.scanned += 1
        traits = traits_of(record)
        found = self._kinds.get(traits)
        if found is None:
            found = self._new_kind(traits)
        kind, checks = found
        kind.add(record.id)
        for check in checks:
            if check.finds(record, self._outlook):
                _tally(self.found, check.name).add(record.id)
        if record.extensions or record.scope.extra:
            self._add_fields(record)
        if isinstance(prepared, Document):
            self.documents += 1
            self.crossings.add(record, prepared, digest=digest)
            for change in prepared.changes:
                _tally(self.changed, change).add(record.id)
        elif isinstance(prepared, Skipped):
            self.skipped[prepared.reason] += 1
        else:
            self._add_refused(record.id, prepared)

    def add_unreadable(self, row_id: str | None) -> None:
        """Count a row that cannot be read as a memory."""
        self.unreadable.add(row_id or "?")

    def add_ignored(self, row: Ignored) -> None:
        """Count a row that is no memory."""
        tally = self.ignored.get(row.reason)
        if tally is None:
            tally = self.ignored[row.reason] = IgnoredTally()
        tally.add_row(row)

    def ignored_rows(self) -> dict[str, int]:
        """Return how many rows are no memories, by reason, the most frequent one first."""
        tallies = sorted(self.ignored.items(), key=lambda item: (-item[1].records, item[0]))
        return {reason: tally.records for reason, tally in tallies}

    @property
    def rows(self) -> int:
        """Rows of the source that were counted, whatever they are."""
        ignored = sum(tally.records for tally in self.ignored.values())
        return self.scanned + self.filtered + self.unreadable.records + ignored

    def carried(self) -> dict[Dimension, Tally]:
        """Return how many records carry each dimension."""
        self._fold()
        return self._carried

    def _new_kind(self, traits: Traits) -> tuple[Tally, tuple[Check, ...]]:
        """Begin to count records of traits not seen before; a hostile source may have no end of them."""
        if len(self._kinds) >= MOST_KINDS:
            self._fold()
        checks = tuple(check for rule in rules_in(traits) for check in self.checks.get(rule.dimension, ()))
        kind = self._kinds[traits] = (Tally(), checks)
        return kind

    def _fold(self) -> None:
        """Turn counts by traits into counts by dimension."""
        for traits, (kind, _) in self._kinds.items():
            for rule in rules_in(traits):
                _tally(self._carried, rule.dimension).merge(kind)
        self._kinds.clear()

    def _add_fields(self, record: MemoryRecord) -> None:
        if foreign_extensions(record, self._own_fields):
            self.foreign.add(record.id)
        for space, fields in record.extensions.items():
            for name in fields:
                full = f"{space}.{name}"
                if full in self.fields or len(self.fields) < _MOST_FIELDS:
                    _tally(self.fields, full).add(record.id)

    def _add_refused(self, record_id: str, refused: Refused) -> None:
        code = refused.error.code or "refused"
        if not refused.remedies:
            _tally(self.refused, code).add(record_id)
            return
        place = (_DECISIONS.get(code, Dimension.CONTENT), code)
        _tally(self.undecided, place).add(record_id)
        self.remedies[place] = refused.remedies


def _tally(tallies: dict[K, Tally], key: K) -> Tally:
    tally = tallies.get(key)
    if tally is None:
        tally = tallies[key] = Tally()
    return tally
