"""What a job agreed to lose, asked again for each record that is about to be sent.

The scan and the move judge by the same rules: a record of a kind not met before is counted by a census
of its own, and the report on it is held against the consent. The answer is remembered for its kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from memxfer.capabilities import Dimension
from memxfer.gaps.checks import Check, Outlook, checks_for
from memxfer.gaps.consent import accepts_ignored, missing_consent, verdicts_to_accept
from memxfer.gaps.crossings import Crossing, KnownCrossings
from memxfer.gaps.dimensions import foreign_extensions
from memxfer.gaps.operations import End
from memxfer.gaps.report import GapLine, GapReport, Verdict
from memxfer.gaps.scan import Census
from memxfer.gaps.traits import MOST_KINDS, Traits, rules_in, traits_of
from memxfer.gaps.verdicts import build_report
from memxfer.ids import fingerprint
from memxfer.models import MemoryRecord
from memxfer.spi import Document, Ignored, Prepared, Refused

__all__ = ["Agreement", "name_of", "recounted", "said_of"]

_SAMPLES = 3
_COUNTED = " memories "
_DIMENSIONS = frozenset(Dimension)
_NOTHING: tuple[str, ...] = ()

_Kind = tuple[Traits, tuple[str, ...], bool, tuple[str, ...]]
"""All that a report on a single document depends on: what its record carries, what the target's provider
altered, whether extensions are left over, and which checks found something that needs consent."""


class Agreement:
    """What one job may lose.

    Args:
        source: Where the records are.
        target: Where they go, as it is now.
        accepted: From `parse_accepted`.
        keeps_originals: Whether a residue keeps what the target alters.
        now: The moment of the run.

    Attributes:
        lines: Each loss that was agreed to and met, as the report on one record has it, by its name.
    """

    def __init__(
        self, source: End, target: End, *, accepted: frozenset[str], keeps_originals: bool, now: datetime
    ) -> None:
        self._source = source
        self._target = target
        self._accepted = accepted
        self._keeps_originals = keeps_originals
        self._now = now
        self._own_fields = target.capabilities.own_fields()
        self._outlook = Outlook(target.capabilities, now)
        self._verdicts = verdicts_to_accept(keeps_originals=keeps_originals)
        self._checks = _only(checks_for(self._outlook), self._verdicts)
        self._kinds: dict[_Kind, tuple[str, ...] | None] = {}
        self._beyond = self._census()
        self._merged: tuple[str, ...] = ()
        self._merging = 0
        self._places: set[int] = set()
        self._owners: set[int] = set()
        self.lines: dict[str, GapLine] = {}

    @property
    def watches_owners(self) -> bool:
        """Whether owners that become one in the target need a decision."""
        return not self._target.allows_widening

    def judge(self, record: MemoryRecord, prepared: Prepared) -> tuple[str, ...] | None:
        """Return the names of what a record loses, all of it agreed to; `None` if something is not.

        A record that must not be sent is counted for `beyond`.

        Args:
            record: As the scan counts it: under its owner in the target.
            prepared: What becomes of it.
        """
        if not isinstance(prepared, Document):
            if isinstance(prepared, Refused) and prepared.remedies:
                self._beyond.add(record, prepared)
                return None
            return _NOTHING
        kind = self._kind(record, prepared)
        try:
            losses = self._kinds[kind]
        except KeyError:
            losses = self._learn(kind, record, prepared)
        if losses is None:
            self._beyond.add(record, prepared)
        return losses

    def add_merged(
        self, record: MemoryRecord, document: Document, *, place: int, owners: Sequence[int]
    ) -> None:
        """Note a record that must not be sent, because owners would become one.

        Args:
            record: As the scan counts it.
            document: What would be sent.
            place: A number for whose memory it would be in the target.
            owners: Numbers for who would share it.
        """
        self._beyond.add(record, document)
        self._merged = (*self._merged, record.id)[:_SAMPLES]
        self._merging += 1
        self._places.add(place)
        self._owners.update(owners)

    def lets_out(self, rows: Sequence[Ignored]) -> bool:
        """Tell whether rows may be left out as no memories; those that may not are counted for `beyond`."""
        harmful = [row for row in rows if not row.harmless]
        if not harmful or accepts_ignored(self._accepted):
            return True
        for row in harmful:
            self._beyond.add_ignored(row)
        return False

    @property
    def is_exceeded(self) -> bool:
        """Whether a record was met that must not be sent, or a row that must not be left out."""
        return self._beyond.rows > 0

    def beyond(self) -> list[GapLine]:
        """Return what nobody agreed to, on what was held back: decisions, then losses."""
        known = KnownCrossings()
        known.merged = Crossing(len(self._places), len(self._owners), self._merging, self._merged)
        self._beyond.crossings = known
        report = self._report(self._beyond)
        return [line for line in report.dimensions if line.blocking] + self._missing(report)

    # -- kinds --------------------------------------------------------------------------------

    def _kind(self, record: MemoryRecord, document: Document) -> _Kind:
        traits = traits_of(record)
        foreign = bool(record.extensions or record.scope.extra) and bool(
            foreign_extensions(record, self._own_fields)
        )
        return traits, document.changes, foreign, self._found(record, traits) if self._checks else _NOTHING

    def _found(self, record: MemoryRecord, traits: Traits) -> tuple[str, ...]:
        return tuple(
            check.name
            for rule in rules_in(traits)
            for check in self._checks.get(rule.dimension, ())
            if check.finds(record, self._outlook)
        )

    def _learn(self, kind: _Kind, record: MemoryRecord, document: Document) -> tuple[str, ...] | None:
        census = self._census()
        census.add(record, document)
        report = self._report(census)
        losses = None if self._missing(report) else self._names(report)
        if len(self._kinds) >= MOST_KINDS:  # a hostile source may have no end of them
            self._kinds.clear()
        self._kinds[kind] = losses
        return losses

    def _names(self, report: GapReport) -> tuple[str, ...]:
        """Note what was agreed to and is lost; fields of an extension are told by the line of all of them."""
        lost = [
            line
            for line in report.dimensions
            if line.verdict in self._verdicts and line.records and line.dimension in _DIMENSIONS
        ]
        self.lines.update((name_of(line), line) for line in lost)
        return tuple(map(name_of, lost))

    def _missing(self, report: GapReport) -> list[GapLine]:
        return missing_consent(report, self._accepted, keeps_originals=self._keeps_originals)

    def _census(self) -> Census:
        return Census(self._target.capabilities, now=self._now, crossings=KnownCrossings())

    def _report(self, census: Census) -> GapReport:
        return build_report(
            census,
            source=self._source,
            target=self._target,
            total=None,
            keeps_originals=self._keeps_originals,
        )


def name_of(line: GapLine) -> str:
    """Return a name for what a line says, whatever its counts are."""
    return f"{line.dimension}:{fingerprint({'said': said_of(line)})[:8]}"


def said_of(line: GapLine) -> str:
    """Return what a line says about the memories it counts."""
    return line.consequence.partition(_COUNTED)[2]


def recounted(line: GapLine, records: int) -> GapLine:
    """Return a line with what was counted while moving in the place of what it counted."""
    return line.model_copy(
        update={"records": records, "estimate": None, "consequence": f"{records:,}{_COUNTED}{said_of(line)}"}
    )


def _only(
    checks: dict[Dimension, tuple[Check, ...]], verdicts: Sequence[Verdict]
) -> dict[Dimension, tuple[Check, ...]]:
    """Return the checks whose findings need consent."""
    found = {
        dimension: tuple(check for check in some if check.verdict in verdicts)
        for dimension, some in checks.items()
    }
    return {dimension: some for dimension, some in found.items() if some}
