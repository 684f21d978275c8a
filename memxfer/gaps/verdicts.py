"""From levels and counts to verdicts and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from memxfer.capabilities import ClientKey, Dimension, DimensionGroup, DocumentChange, Level
from memxfer.gaps.checks import Check
from memxfer.gaps.crossings import Crossing, Meetings
from memxfer.gaps.dimensions import RULES, Rule
from memxfer.gaps.ignored import ignored_line
from memxfer.gaps.operations import End, operation_lines
from memxfer.gaps.report import SEVERITY, Concern, GapLine, GapReport, Verdict
from memxfer.gaps.scan import Census, Tally
from memxfer.ids import DEFAULT_TEMPLATE
from memxfer.spi.writing import IDENTITY_MAPPED

__all__ = ["build_report"]

_BY_LEVEL = {
    Level.NATIVE: Verdict.KEPT,
    Level.LOSSY: Verdict.APPROXIMATED,
    Level.ENVELOPE: Verdict.ENVELOPED,
    Level.NONE: Verdict.LOST,
}
_KEEPING_EACH = (ClientKey.NONE, ClientKey.APPEND)
_GROUPS = list(DimensionGroup)
_GROUP_OF = {rule.dimension: rule.group for rule in RULES}
_ALTERING = (Verdict.APPROXIMATED, Verdict.ENVELOPED, Verdict.LOST)
_OUR_CHANGES = {
    IDENTITY_MAPPED: DocumentChange(
        dimension=Dimension.USER, text="get another owner in {target}, as the identity file says"
    )
}
_UNFORESEEN = DocumentChange(dimension=Dimension.CONTENT, text="are altered to fit {target}")
"""For a word of a provider that its capabilities do not explain: counted all the same."""


_NEVER = "the rest arrives; `memxfer failures JOB` lists them"
_MISSING = {
    "unscoped": "have no owner that {target} accepts, and nobody has decided what becomes of them",
    "widening": "belong to a user whom {target} could not tell from others: more people would see them",
    "no_customer": "need a customer that the connection does not name",
    "undated": "have no date at all, and nobody has decided what becomes of them",
    "upgrade": "would bring {target}'s store into a newer form that the app which made it may not open",
    "metadata_too_large": "have more metadata than {target} takes, and nobody has decided about them",
}
_MISSING_OTHER = "are larger than {target} takes, and nobody has decided what becomes of them"
"""What is undecided about records, by the code of the refusal."""


@dataclass(frozen=True, slots=True)
class _Words:
    """How a finding between records is told: when there is none, and when there are some."""

    group: DimensionGroup
    none: str
    some: str
    remedy: str


_CROSSINGS = {
    Concern.KEYS: _Words(
        DimensionGroup.IDENTITY,
        "Every memory gets a key of its own",
        "share {groups} document keys; {target} would keep one memory of each",
        f'document_id = "{DEFAULT_TEMPLATE}"',
    ),
    Concern.OWNERS: _Words(
        DimensionGroup.IDENTITY,
        "Whoever is told apart in the source is told apart in {target}",
        "belong to {members} owners that become {groups} in {target}: people would see others' memories",
        'widening = "allow"',
    ),
    Concern.DUPLICATES: _Words(
        DimensionGroup.CONTENT,
        "No owner has a text twice",
        "repeat a text that their owner has already; {target} reads each, and may merge what it finds",
        "clean them up in the source first, if it matters",
    ),
}


def build_report(
    census: Census,
    *,
    source: End,
    target: End,
    total: int | None,
    is_sample: bool = False,
    hidden: int = 0,
    keeps_originals: bool = True,
) -> GapReport:
    """Return the gap report of one move.

    Args:
        census: What the records carry.
        source: Where they are.
        target: Where they would go.
        total: Records in the source, where known.
        is_sample: Only part of the source was read.
        hidden: Rows that the source counts and did not give.
        keeps_originals: Whether a residue keeps what the target cannot hold.
    """
    builder = _Builder(
        census,
        source=source,
        target=target,
        total=total if is_sample else None,
        is_sample=is_sample,
        keeps_originals=keeps_originals,
    )
    lines = sorted([*builder.lines(), *operation_lines(source, target, hidden=hidden)], key=_rank)
    return GapReport(
        source=source.name,
        target=target.name,
        scanned=census.scanned,
        total=total,
        sample=is_sample,
        rows=census.rows,
        filtered=census.filtered,
        unreadable=census.unreadable.records,
        ignored=census.ignored_rows(),
        blocking=any(line.blocking for line in lines),
        dimensions=tuple(lines),
    )


def _rank(line: GapLine) -> tuple[int, bool, int, int]:
    return (_GROUPS.index(line.group), not line.blocking, -SEVERITY.index(line.verdict), -line.records)


class _Builder:
    """Makes the lines that records are counted for."""

    def __init__(
        self,
        census: Census,
        *,
        source: End,
        target: End,
        total: int | None,
        is_sample: bool,
        keeps_originals: bool,
    ) -> None:
        self._census = census
        self._source = source
        self._target = target
        self._total = total
        self._is_sample = is_sample
        self._keeps_originals = keeps_originals

    def lines(self) -> Iterator[GapLine]:
        """Give them, in no order."""
        carried = self._census.carried()
        changes = list(self._changes())
        checks = list(self._checks())
        altered = {line.dimension for line in (*changes, *checks) if line.verdict in _ALTERING}
        for rule in RULES:
            line = self._dimension(rule, self._tally(rule, carried.get(rule.dimension, Tally())))
            # What is kept but for some records is told by the line about those.
            if line.verdict is not Verdict.KEPT or line.dimension not in altered:
                yield line
        yield from changes
        yield from self._fields()
        yield from checks
        yield from self._undecided()
        yield from self._refused()
        yield from self._ignored()
        yield from self._decided()
        yield from self._crossings()

    # -- dimensions ---------------------------------------------------------------------------

    def _dimension(self, rule: Rule, tally: Tally) -> GapLine:
        read = self._source.capabilities.channel(rule.dimension).read
        write = self._target.capabilities.channel(rule.dimension).write
        verdict = self._verdict(rule, write, tally)
        return GapLine(
            dimension=rule.dimension,
            group=rule.group,
            source=read.name.lower(),
            target=write.name.lower(),
            verdict=verdict,
            records=tally.records,
            estimate=self._estimate(tally.records),
            samples=tuple(tally.samples),
            contradiction=bool(tally.records) and read is Level.NONE,
            consequence=self._consequence(rule, verdict, tally.records),
            remedy=_acceptance(rule.dimension, verdict),
        )

    def _tally(self, rule: Rule, tally: Tally) -> Tally:
        """Leave out extensions that the target has a place for, unless that is all there are."""
        foreign = self._census.foreign
        return foreign if rule.dimension is Dimension.EXTENSIONS and foreign.records else tally

    def _verdict(self, rule: Rule, write: Level, tally: Tally) -> Verdict:
        verdict = _BY_LEVEL[write]
        if rule.dimension is Dimension.EXTENSIONS and tally.records and not self._census.foreign.records:
            verdict = Verdict.KEPT
        if write is Level.ENVELOPE and not rule.name:
            verdict = Verdict.LOST  # whatever the target says: no envelope carries it
        if tally.records or verdict is Verdict.KEPT:
            return verdict
        return Verdict.UNKNOWN if self._is_sample else Verdict.KEPT

    def _consequence(self, rule: Rule, verdict: Verdict, records: int) -> str:
        target = self._target.name
        if not records:
            unread = "; the others were not read" if self._is_sample else ""
            return f"No memory read has {rule.noun}{unread}."
        share = f"{self._share(records)} have {rule.noun}"
        if verdict is Verdict.LOST:
            return f"{share}; {target} {rule.lost}{self._originals()}."
        if verdict is Verdict.APPROXIMATED:
            return f"{share}; {target} {rule.approximated}."
        if verdict is Verdict.ENVELOPED:
            use = (
                f"; {target} {rule.unused}" if rule.unused else f", where {target} keeps it without using it"
            )
            return f"{share}; it travels in metadata under memxfer{use}."
        return f"{share}; {target} keeps it."

    def _originals(self) -> str:
        return "; the originals stay in this job's residue" if self._keeps_originals else "; nothing keeps it"

    # -- single records -----------------------------------------------------------------------

    def _changes(self) -> Iterator[GapLine]:
        """Say what single documents lose beyond what the target's levels tell of all of them."""
        known = {**_OUR_CHANGES, **self._target.capabilities.changes}
        for word, tally in self._census.changed.items():
            change = known.get(word, _UNFORESEEN)
            verdict = _BY_LEVEL[change.level]
            tail = self._originals() if verdict is Verdict.LOST else ""
            yield self._counted(
                change.dimension,
                verdict,
                tally,
                change.text + tail,
                level=change.level,
                remedy=_acceptance(change.dimension, verdict),
            )

    def _fields(self) -> Iterator[GapLine]:
        """Name the fields of the source's own extensions one by one; consent is given to all together."""
        known = {**self._target.capabilities.custom, **self._source.capabilities.custom}
        taken = self._target.capabilities.own_fields()
        level = self._target.capabilities.channel(Dimension.EXTENSIONS).write
        for name, tally in self._census.fields.items():
            description = known[name].description if name in known else "a field that no adapter describes"
            mine = Level.NATIVE if name in taken else level
            fate = {
                Verdict.KEPT: "keeps it",
                Verdict.LOST: f"drops it{self._originals()}",
                Verdict.ENVELOPED: "keeps it in metadata under memxfer without using it",
                Verdict.APPROXIMATED: "keeps part of it",
            }[_BY_LEVEL[mine]]
            text = f"have {name} ({description}); {{target}} {fate}"
            yield self._counted(
                name, _BY_LEVEL[mine], tally, text, level=mine, group=DimensionGroup.EXTENSIONS
            )

    def _checks(self) -> Iterator[GapLine]:
        checks: dict[str, Check] = {
            check.name: check for found in self._census.checks.values() for check in found
        }
        for name, tally in self._census.found.items():
            check = checks[name]
            level = self._target.capabilities.channel(check.dimension).write
            yield self._counted(
                check.dimension, check.verdict, tally, check.text, level=level, remedy=check.remedy
            )

    def _undecided(self) -> Iterator[GapLine]:
        for place, tally in self._census.undecided.items():
            dimension, code = place
            yield self._counted(
                dimension,
                Verdict.LOST,
                tally,
                _MISSING.get(code, _MISSING_OTHER),
                level=Level.NONE,
                blocking=True,
                remedy=" | ".join(self._census.remedies[place]),
            )

    def _refused(self) -> Iterator[GapLine]:
        """Say what will not arrive whatever is decided."""
        for code, tally in self._census.refused.items():
            text = f"will not arrive: {{target}} can never store them ({code})"
            yield self._counted(
                Dimension.CONTENT, Verdict.AT_RISK, tally, text, level=Level.NONE, remedy=_NEVER
            )
        rows = self._census.unreadable
        if rows.records:
            yield GapLine(
                dimension=Dimension.CONTENT,
                group=DimensionGroup.CONTENT,
                source="none",
                target="none",
                verdict=Verdict.AT_RISK,
                records=rows.records,
                estimate=self._estimate(rows.records),
                samples=tuple(rows.samples),
                consequence=f"{rows.records:,} rows will not arrive: they cannot be read as memories.",
                remedy=_NEVER,
            )

    def _ignored(self) -> Iterator[GapLine]:
        for reason, tally in self._census.ignored.items():
            yield ignored_line(
                reason,
                tally.records,
                source=self._source.name,
                harmless=tally.harmless,
                samples=tally.samples,
                estimate=self._estimate(tally.records),
            )

    def _decided(self) -> Iterator[GapLine]:
        for reason, records in self._census.skipped.items():
            are = "memory is" if records == 1 else "memories are"
            yield GapLine(
                dimension=Concern.DECIDED,
                group=DimensionGroup.CONTENT,
                source="none",
                target="none",
                verdict=Verdict.LEFT_OUT,
                records=records,
                estimate=self._estimate(records),
                consequence=f"{records:,} of {self._census.scanned:,} {are} left out, as the connection "
                f"{self._target.name} decides ({reason}).",
            )

    def _crossings(self) -> Iterator[GapLine]:
        crossings = self._census.crossings
        merging_blocks = not self._target.allows_widening
        yield self._keys(crossings)
        yield self._crossing(Concern.OWNERS, crossings.merged_owners(), blocking=merging_blocks)
        yield self._duplicates(crossings.repeats())

    def _keys(self, crossings: Meetings) -> GapLine:
        """Tell which records share a key; they lose nothing where the target keeps a document of each."""
        found = crossings.collisions()
        writing = self._target.capabilities.writing
        if found.records and writing is not None and writing.client_key in _KEEPING_EACH:
            text = f"share {found.groups:,} document keys; {{target}} stores each"
            tally = Tally(found.records, list(found.samples))
            return self._counted(
                Concern.KEYS, Verdict.KEPT, tally, text, group=_CROSSINGS[Concern.KEYS].group
            )
        line = self._crossing(Concern.KEYS, found, blocking=True)
        if found.records and crossings.are_ids_shared():
            return line.model_copy(update={"remedy": f'document_id = "{DEFAULT_TEMPLATE}:{{hash}}"'})
        return line

    def _duplicates(self, repeats: Crossing) -> GapLine:
        writing = self._target.capabilities.writing
        if not repeats.records or writing is None or not writing.verbatim:
            return self._crossing(Concern.DUPLICATES, repeats)
        verdict, fate = Verdict.KEPT, "stores each"
        if writing.merges_repeats:
            verdict, fate = Verdict.APPROXIMATED, "keeps one of them, under the metadata of the first"
        text = f"repeat a text that their owner has already; {{target}} {fate}"
        tally = Tally(repeats.records, list(repeats.samples))
        return self._counted(Concern.DUPLICATES, verdict, tally, text, group=DimensionGroup.CONTENT)

    def _crossing(self, finding: Concern, crossing: Crossing, *, blocking: bool = False) -> GapLine:
        words = _CROSSINGS[finding]
        tally = Tally(crossing.records, list(crossing.samples))
        if not crossing.records:
            return self._counted(finding, Verdict.KEPT, tally, words.none, group=words.group)
        return self._counted(
            finding,
            Verdict.LOST if blocking else Verdict.AT_RISK,
            tally,
            words.some.replace("{groups}", f"{crossing.groups:,}").replace(
                "{members}", f"{crossing.members:,}"
            ),
            level=Level.NONE if blocking else Level.LOSSY,
            group=words.group,
            blocking=blocking,
            remedy=words.remedy,
        )

    # -- sentences ----------------------------------------------------------------------------

    def _counted(
        self,
        dimension: str,
        verdict: Verdict,
        tally: Tally,
        text: str,
        *,
        level: Level = Level.NATIVE,
        group: DimensionGroup | None = None,
        blocking: bool = False,
        remedy: str = "",
    ) -> GapLine:
        """Return a line that begins with how many of all memories it is about."""
        said = text.replace("{target}", self._target.name)
        return GapLine(
            dimension=dimension,
            group=group or _GROUP_OF[Dimension(dimension)],
            source="native",
            target=level.name.lower(),
            verdict=verdict,
            records=tally.records,
            estimate=self._estimate(tally.records),
            samples=tuple(tally.samples),
            blocking=blocking,
            consequence=f"{self._share(tally.records)} {said}." if tally.records else f"{said}.",
            remedy=remedy,
        )

    def _share(self, records: int) -> str:
        return f"{records:,} of {self._census.scanned:,} memories"

    def _estimate(self, records: int) -> int | None:
        rows = self._census.rows
        return None if self._total is None or not rows else round(records * self._total / rows)


def _acceptance(dimension: Dimension, verdict: Verdict) -> str:
    return f"--accept-loss {dimension.value}" if verdict is Verdict.LOST else ""
