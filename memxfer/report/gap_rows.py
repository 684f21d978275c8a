"""The gap report as people read it: which lines matter, in which order, in which words.

Table, Markdown and HTML all render this one model, so they cannot tell different stories. Every
text in it is on one line and holds nothing that steers a terminal; markup is left to the renderer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from memxfer.capabilities import DimensionGroup
from memxfer.gaps.ignored import ignored_words
from memxfer.gaps.report import SEVERITY, Concern, GapLine, GapReport, Verdict
from memxfer.report.gap_words import KINDS, LEVELS, PARTS, TITLES, Kind, dimension_name
from memxfer.report.text import amount, plain, plural

__all__ = ["Group", "Page", "Part", "Piece", "Remedy", "Row", "Side", "gap_page", "gap_row", "matters"]

_OPERATIONS = frozenset({Concern.LISTING, Concern.REPEATS})
_CODE = re.compile(r"--[a-z]|memxfer [a-z]|[a-z_][\w.]* = ")
_ORDER = list(TITLES)
_OPENING = next(iter(PARTS))
_CONTRADICTION = "The source's adapter says it never gives this: please report it."


class Side(NamedTuple):
    """How well one side holds a dimension.

    Attributes:
        level: `native`, `lossy`, `envelope`, `none`; empty where there is nothing to say.
        word: What people read for it.
    """

    level: str
    word: str


class Piece(NamedTuple):
    """Part of a remedy; code is meant to be copied."""

    text: str
    is_code: bool


Remedy = tuple[Piece, ...]
"""One way out, in pieces."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report.

    Attributes:
        name: The dimension.
        source: How well the source gives it.
        target: How well the target takes it.
        kind: What becomes of it, for colours.
        becomes: The same as a word.
        records: Records of those read that have it, or rows; a dash where records have nothing to do with it.
        estimate: The same for the whole source, if only part of it was read; else empty.
        share: Those among all that were read, 0 to 1; `None` where that says nothing.
        meaning: What it means.
        note: What is wrong with the report itself; mostly empty.
        remedies: Ways out, one of which is enough.
        ask: How the remedies are introduced, `Decide with one of`; empty if there are none.
        to_decide: Nothing is moved before somebody decides or agrees.
        samples: Ids of such records, at most three.
    """

    name: str
    source: Side
    target: Side
    kind: Kind
    becomes: str
    records: str
    estimate: str
    share: float | None
    meaning: str
    note: str
    remedies: tuple[Remedy, ...]
    ask: str
    to_decide: bool
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one group, worst first; never empty."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Groups under one heading; never empty."""

    title: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole report.

    Attributes:
        source: Name of the source connection.
        target: Name of the target connection.
        read: How much of the source was read.
        counting: What rows were listed, where not all of them are records that were read; and what the
            counts are of, where only part was read.
        headline: What the report comes to.
        kind: The worst of its rows, for colours.
        tally: Number of lines of each kind, worst first, without kinds that have none.
        decisions: What has to be decided, then what has to be agreed to.
        parts: Every row that matters.
        absent: How to say that no record has something, as far as it was read.
        idle: Dimensions that no record has, where `parts` does not tell.
        matrix: Every line of the report, by group; those that no record has are `absent`.
    """

    source: str
    target: str
    read: str
    counting: str
    headline: str
    kind: Kind
    tally: tuple[tuple[Kind, int], ...]
    decisions: tuple[Row, ...]
    parts: tuple[Part, ...]
    absent: str
    idle: tuple[str, ...]
    matrix: tuple[Group, ...]


def matters(line: GapLine) -> bool:
    """Tell whether a line is worth a row: nothing is lost of what no record has."""
    is_wrong = line.blocking or line.contradiction or line.verdict is Verdict.AT_RISK
    return line.records > 0 or is_wrong or _is_operation(line)


def gap_page(report: GapReport) -> Page:
    """Return the report as people read it."""
    lines = sorted(report.dimensions, key=_rank)
    tally = Counter(map(_kind, lines))
    decisions = [line for line in lines if line.blocking or _asks_for_consent(line, lines)]
    return Page(
        source=plain(report.source),
        target=plain(report.target),
        read=_read(report),
        counting=_counting(report),
        headline=_headline(report, len(decisions) - tally["blocked"], tally),
        kind="blocked" if report.blocking else next((kind for kind in KINDS if tally[kind]), "absent"),
        tally=tuple((kind, tally[kind]) for kind in KINDS if tally[kind]),
        decisions=_rows(sorted(decisions, key=lambda line: not line.blocking), report),
        parts=tuple(_parts(lines, report)),
        absent=_in_none(report),
        idle=tuple(dimension_name(line.dimension) for line in lines if not _is_told(line, lines)),
        matrix=_grouped(lines, TITLES, report),
    )


def gap_row(line: GapLine, *, scanned: int) -> Row:
    """Return one line as people read it.

    Args:
        line: The line.
        scanned: Records, or rows, read for its count; 0 if that is not known.
    """
    kind = _kind(line)
    remedies = tuple(_remedies(line.remedy))
    return Row(
        name=dimension_name(line.dimension),
        source=_side(line.source),
        target=_side(line.target),
        kind=kind,
        becomes=KINDS[kind][0],
        records=amount(line.records if line.records or not _is_operation(line) else None),
        estimate=f"about {line.estimate:,} (estimated)" if line.estimate else "",
        share=min(line.records / scanned, 1.0) if line.records and scanned else None,
        meaning=plain(line.consequence),
        note=_CONTRADICTION if line.contradiction else "",
        remedies=remedies,
        ask=_ask(line, remedies),
        to_decide=line.blocking or line.needs_consent,
        samples=tuple(map(plain, line.samples)),
    )


def _rank(line: GapLine) -> tuple[int, bool, bool, int, int]:
    """Sort by group, then worst first; equal ones stay as the report has them."""
    severity = SEVERITY.index(line.verdict)
    return _ORDER.index(line.group), not line.blocking, not matters(line), -severity, -line.records


def _kind(line: GapLine) -> Kind:
    if line.blocking:
        return "blocked"
    is_nowhere = line.verdict is Verdict.KEPT and line.source == "none" and not line.records
    return line.verdict.value if matters(line) and not is_nowhere else "absent"


def _is_operation(line: GapLine) -> bool:
    """Tell whether a line is about what a backend does, which no record carries."""
    is_about_reading = line.group is DimensionGroup.PACKAGING or line.verdict is Verdict.READ_TIME_ONLY
    return is_about_reading or line.dimension in _OPERATIONS


def _asks_for_consent(line: GapLine, lines: Iterable[GapLine]) -> bool:
    """Tell whether to ask for consent here: one line of a group may stand for its others."""
    if not line.needs_consent or line.remedy:
        return line.needs_consent
    return not any(one.needs_consent and one.remedy for one in lines if one.group is line.group)


def _side(level: str) -> Side:
    return Side(level, LEVELS[level][0]) if level in LEVELS else Side("", plain(level))


def _remedies(text: str) -> Iterator[Remedy]:
    for choice in text.split(" | ") if text else ():
        if _CODE.match(choice):
            yield (Piece(plain(choice), is_code=True),)
        else:
            pieces = (Piece(plain(part), is_code=n % 2 == 1) for n, part in enumerate(choice.split("`")))
            yield tuple(piece for piece in pieces if piece.text)


def _ask(line: GapLine, remedies: Sequence[Remedy]) -> str:
    if not remedies:
        return ""
    if line.blocking:
        return "Decide with one of" if len(remedies) > 1 else "Decide with"
    return "Agree with" if line.needs_consent else "What to do"


# -- groups ---------------------------------------------------------------------------------------


def _parts(lines: Sequence[GapLine], report: GapReport) -> Iterator[Part]:
    shown = [line for line in lines if matters(line)]
    for title, groups in PARTS.items():
        found = {group.title: group for group in _grouped(shown, groups, report)}
        if title == _OPENING:
            found = {TITLES[one]: found.get(TITLES[one]) or _empty(one, lines, report) for one in groups}
        if found:
            yield Part(title, tuple(found.values()))


def _grouped(
    lines: Iterable[GapLine], groups: Iterable[DimensionGroup], report: GapReport
) -> tuple[Group, ...]:
    """Return the groups that have lines."""
    members = {group: [line for line in lines if line.group is group] for group in groups}
    return tuple(Group(TITLES[group], _rows(found, report)) for group, found in members.items() if found)


def _rows(lines: Iterable[GapLine], report: GapReport) -> tuple[Row, ...]:
    return tuple(
        gap_row(line, scanned=report.rows if line.dimension == Concern.IGNORED else report.scanned)
        for line in lines
    )


def _empty(group: DimensionGroup, lines: Iterable[GapLine], report: GapReport) -> Group:
    """Return a group of which no record has anything, with one row that says so."""
    members = [line for line in lines if line.group is group]
    if len(members) == 1:
        return Group(TITLES[group], _rows(members, report))
    names = ", ".join(dimension_name(line.dimension) for line in members)
    text = f"{_in_none(report)}: {names}." if names else f"{_in_none(report)}."
    line = GapLine(dimension="-", group=group, source="-", target="-", verdict=Verdict.KEPT, consequence=text)
    return Group(TITLES[group], (replace(gap_row(line, scanned=0), kind="absent", becomes="-"),))


def _is_told(line: GapLine, lines: Iterable[GapLine]) -> bool:
    """Tell whether a row speaks of `line`: its own, or the one of a group that always appears."""
    if matters(line):
        return True
    return line.group in PARTS[_OPENING] and not any(matters(one) for one in lines if one.group is line.group)


# -- what it comes to -----------------------------------------------------------------------------


def _in_none(report: GapReport) -> str:
    return "In none of the records read" if report.sample else "In no record"


def _read(report: GapReport) -> str:
    read = f"{plural(report.scanned, 'record')} read"
    if report.total is None:
        return f"{read}, of an unknown number"
    if max(report.scanned, report.rows) < report.total:
        return f"{read}, of {amount(report.total)}"
    return f"{read}, which is all"


def _counting(report: GapReport) -> str:
    sentences = [_sum(report)] if report.rows > report.scanned else []
    if report.sample:
        whole = "all" if report.total is None else f"all {amount(report.total)}"
        counted = f"the {amount(report.scanned)} read"
        sentences.append(f"Counts are of {counted}; those marked (estimated) are for {whole}.")
    return " ".join(sentences)


def _sum(report: GapReport) -> str:
    """Return what the rows that were listed are, in numbers that add up."""
    parts = [plural(report.scanned, "record")]
    if report.ignored:
        parts.append(f"ignored {ignored_words(report.ignored)}")
    if report.unreadable:
        parts.append(f"unreadable {amount(report.unreadable)}")
    if report.filtered:
        parts.append(f"outside the selection {amount(report.filtered)}")
    return f"{plural(report.rows, 'row')} listed = {' + '.join(parts)}."


def _headline(report: GapReport, losses: int, tally: Counter[Kind]) -> str:
    consent = "1 loss needs your consent" if losses == 1 else f"{losses:,} losses need your consent"
    if report.blocking:
        also = f", and {consent}" if losses else ""
        return f"Nothing moves yet: {_missing(tally['blocked'])} missing{also}."
    if not report.scanned:
        rows = f": the {plural(report.rows, 'row')} listed are none" if report.rows else ""
        also = f" {consent[0].upper()}{consent[1:]}." if losses else ""
        return f"No record was read{rows}, so nothing could be counted.{also}"
    text = f"{consent} before anything moves." if losses else _harmless(tally)
    if left := sum(line.records for line in report.dimensions if line.dimension == Concern.DECIDED):
        are = "is" if left == 1 else "are"
        rest = text.replace("everything is", "everything else is")
        text = f"{plural(left, 'record')} {are} left out by decision; {rest}"
    return f"In the part that was read, {text}" if report.sample else text[0].upper() + text[1:]


def _missing(decisions: int) -> str:
    return "a decision is" if decisions < 2 else f"{decisions:,} decisions are"


def _harmless(tally: Counter[Kind]) -> str:
    """Say what a report comes to in which nobody has to decide anything."""
    open_ends = tally["at_risk"] + tally["unknown"] + tally["lost"]
    if open_ends:
        things = "1 thing is" if open_ends == 1 else f"{open_ends:,} things are"
        return f"nothing has to be decided, but {things} not certain."
    if tally["approximated"] or tally["enveloped"]:
        return "nothing is lost; some of it arrives in another form."
    return "everything is kept."
