"""From levels and counts to verdicts and sentences."""

from __future__ import annotations

from memxfer.capabilities import Capabilities, Dimension, DimensionGroup, Level
from memxfer.gaps.changes import CHANGES, UNFORESEEN
from memxfer.gaps.dimensions import RULES, Rule
from memxfer.gaps.report import GapLine, GapReport, Verdict
from memxfer.gaps.scan import Census, Tally

__all__ = ["build_report"]

_BY_LEVEL = {
    Level.NATIVE: Verdict.KEPT,
    Level.LOSSY: Verdict.APPROXIMATED,
    Level.ENVELOPE: Verdict.ENVELOPED,
    Level.NONE: Verdict.LOST,
}
_GROUPS = list(DimensionGroup)
_WORST_FIRST = [
    Verdict.LOST,
    Verdict.AT_RISK,
    Verdict.UNKNOWN,
    Verdict.APPROXIMATED,
    Verdict.ENVELOPED,
    Verdict.READ_TIME_ONLY,
    Verdict.KEPT,
]


def build_report(
    census: Census,
    *,
    source: tuple[str, Capabilities],
    target: tuple[str, Capabilities],
    total: int | None,
) -> GapReport:
    """Return the gap report of one move.

    Args:
        census: What the records carry.
        source: Name and capabilities of the source connection.
        target: Name and capabilities of the target connection.
        total: Records in the source, where known.
    """
    lines = [_line(rule, census, source[1], target) for rule in RULES]
    lines.extend(_blocking_lines(census, target[0]))
    lines.extend(_refusal_lines(census, target[0]))
    lines.extend(_change_lines(census, target[0]))
    lines.append(_read_time_line(Dimension.PACKAGING, source, target))
    lines.append(_read_time_line(Dimension.SEARCH, source, target))
    lines.sort(key=_rank)
    return GapReport(
        source=source[0],
        target=target[0],
        scanned=census.scanned,
        total=total,
        blocking=any(line.blocking for line in lines),
        dimensions=tuple(lines),
    )


def _rank(line: GapLine) -> tuple[int, bool, int, int]:
    return (_GROUPS.index(line.group), not line.blocking, _WORST_FIRST.index(line.verdict), -line.records)


def _line(rule: Rule, census: Census, source: Capabilities, target: tuple[str, Capabilities]) -> GapLine:
    name, capabilities = target
    tally = census.carried.get(rule.dimension)
    records = tally.records if tally else 0
    read, write = source.channel(rule.dimension).read, capabilities.channel(rule.dimension).write
    verdict = _verdict(rule, write) if records else Verdict.KEPT
    return GapLine(
        dimension=rule.dimension,
        group=rule.group,
        source=read.name.lower(),
        target=write.name.lower(),
        verdict=verdict,
        records=records,
        samples=tuple(tally.samples) if tally else (),
        contradiction=bool(records) and read is Level.NONE,
        consequence=_consequence(rule, verdict, records, census.scanned, name),
        remedy=_remedy(rule, verdict),
    )


def _verdict(rule: Rule, write: Level) -> Verdict:
    if write is Level.ENVELOPE and not rule.name:
        return Verdict.LOST  # whatever the target says: no envelope carries it
    return _BY_LEVEL[write]


def _consequence(rule: Rule, verdict: Verdict, records: int, scanned: int, target: str) -> str:
    if not records:
        return f"No memory read has {rule.noun}."
    share = f"{records:,} of {scanned:,} memories have {rule.noun}"
    if verdict is Verdict.LOST:
        return f"{share}; {target} {rule.lost}."
    if verdict is Verdict.APPROXIMATED:
        return f"{share}; {target} {rule.approximated}."
    if verdict is Verdict.ENVELOPED:
        return f"{share}; it travels in metadata under memxfer, where {target} keeps it without using it."
    return f"{share}; {target} keeps it."


def _remedy(rule: Rule, verdict: Verdict) -> str:
    return f"--accept-loss {rule.dimension.value}" if verdict is Verdict.LOST else ""


def _blocking_lines(census: Census, target: str) -> list[GapLine]:
    groups = {rule.dimension: rule.group for rule in RULES}
    return [
        GapLine(
            dimension=dimension,
            group=groups[dimension],
            source="native",
            target="none",
            verdict=Verdict.LOST,
            records=tally.records,
            samples=tuple(tally.samples),
            blocking=True,
            consequence=_undecided(dimension, tally.records, census.scanned, target),
            remedy=" | ".join(census.remedies[dimension]),
        )
        for dimension, tally in census.undecided.items()
    ]


_MISSING = {
    Dimension.USER: "have no owner that {target} accepts, and nobody has decided what becomes of them",
    Dimension.TENANT: "need a customer that the connection does not name",
    Dimension.METADATA: "have more metadata than {target} takes, and nobody has decided what becomes of them",
    Dimension.CREATED_AT: "have no date at all, and nobody has decided what becomes of them",
    Dimension.CONTENT: "are larger than {target} takes, and nobody has decided what becomes of them",
}


def _refusal_lines(census: Census, target: str) -> list[GapLine]:
    """Say what will not arrive whatever is decided: it is counted as rejected, and listed by `failures`."""
    found = {code: f"{target} can never store them ({code})" for code in census.refused}
    lines = [_at_risk(census.refused[code], text, census.scanned) for code, text in found.items()]
    if census.unreadable.records:
        lines.append(_at_risk(census.unreadable, "the source's rows cannot be read as memories", None))
    return lines


def _change_lines(census: Census, target: str) -> list[GapLine]:
    """Say what single documents lose beyond what the target's capabilities tell of all of them."""
    return [
        GapLine(
            dimension=change.dimension,
            group=change.group,
            source="native",
            target="none" if change.verdict is Verdict.LOST else "lossy",
            verdict=change.verdict,
            records=tally.records,
            samples=tuple(tally.samples),
            consequence=_counted(tally.records, census.scanned, change.text, target),
            remedy=f"--accept-loss {change.dimension.value}" if change.verdict is Verdict.LOST else "",
        )
        for name, tally in census.changed.items()
        for change in [CHANGES.get(name, UNFORESEEN)]
    ]


def _at_risk(tally: Tally, reason: str, scanned: int | None) -> GapLine:
    share = f"{tally.records:,} of {scanned:,} memories" if scanned is not None else f"{tally.records:,} rows"
    return GapLine(
        dimension=Dimension.CONTENT,
        group=DimensionGroup.CONTENT,
        source="native",
        target="none",
        verdict=Verdict.AT_RISK,
        records=tally.records,
        samples=tuple(tally.samples),
        consequence=f"{share} will not arrive: {reason}.",
        remedy="the rest arrives; `memxfer failures JOB` lists them",
    )


def _undecided(dimension: Dimension, records: int, scanned: int, target: str) -> str:
    return _counted(records, scanned, _MISSING[dimension], target)


def _counted(records: int, scanned: int, text: str, target: str) -> str:
    return f"{records:,} of {scanned:,} memories {text.format(target=target)}."


def _read_time_line(
    dimension: Dimension, source: tuple[str, Capabilities], target: tuple[str, Capabilities]
) -> GapLine:
    """Compare what apps can ask for at run time: nothing of it is in the records."""
    field = "package" if dimension is Dimension.PACKAGING else "search"
    has, gets = getattr(source[1].read_time, field), getattr(target[1].read_time, field)
    what = "prompt-ready context" if dimension is Dimension.PACKAGING else "search"
    if has and not gets:
        verdict, text = Verdict.AT_RISK, f"Apps that ask {source[0]} for {what} cannot ask {target[0]}."
    elif gets and not has:
        verdict, text = (
            Verdict.READ_TIME_ONLY,
            f"{target[0]} offers {what} when it is read; nothing of it is moved.",
        )
    else:
        verdict, text = Verdict.KEPT, f"Both offer {what}." if has else f"Neither offers {what}."
    return GapLine(
        dimension=dimension,
        group=DimensionGroup.PACKAGING,
        source="native" if has else "none",
        target="native" if gets else "none",
        verdict=verdict,
        consequence=text,
    )
