"""The gap report as a table of at most 100 columns, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memxfer.capabilities import DimensionGroup
from memxfer.gaps.report import GapLine, GapReport, Verdict
from memxfer.report.text import amount, plain, plural

__all__ = ["SEVERITY", "TITLES", "WORDS", "gap_view", "losses_view", "worst"]

SEVERITY = (
    Verdict.KEPT,
    Verdict.READ_TIME_ONLY,
    Verdict.ENVELOPED,
    Verdict.APPROXIMATED,
    Verdict.AT_RISK,
    Verdict.UNKNOWN,
    Verdict.LOST,
)
"""Verdicts, harmless ones first."""

WORDS = {
    Verdict.KEPT: "kept",
    Verdict.READ_TIME_ONLY: "when reading",
    Verdict.ENVELOPED: "in metadata",
    Verdict.APPROXIMATED: "approximated",
    Verdict.AT_RISK: "at risk",
    Verdict.UNKNOWN: "unknown",
    Verdict.LOST: "lost",
}
"""What people read for each verdict."""

TITLES = {
    DimensionGroup.VERSIONING: "Versioning",
    DimensionGroup.TEMPORAL: "Temporal",
    DimensionGroup.PACKAGING: "Packaging",
    DimensionGroup.EXTENSIONS: "Custom extensions",
    DimensionGroup.IDENTITY: "Identity",
    DimensionGroup.CONTENT: "Content",
    DimensionGroup.CONTEXT: "Context",
}
"""Group titles, in the order of the report."""

_OPENING = tuple(TITLES)[:4]
_STYLES = {Verdict.LOST: "red", Verdict.AT_RISK: "yellow", Verdict.UNKNOWN: "yellow", Verdict.KEPT: "green"}


def worst(lines: Iterable[GapLine]) -> GapLine | None:
    """Return the line to show for several: blocking first, then worst verdict, then most records."""
    return max(
        lines,
        key=lambda line: (line.blocking, line.records > 0, SEVERITY.index(line.verdict), line.records),
        default=None,
    )


def gap_view(report: GapReport, *, with_samples: bool = False) -> RenderableType:
    """Return the report: who, the four lines everybody asks for, the other dimensions, what to do.

    Args:
        report: The report.
        with_samples: Name up to three records under each line that touches any.
    """
    parts: list[RenderableType] = [Text(_title(report), style="bold"), Text()]
    parts.append(_opening(report, with_samples=with_samples))
    rest = [line for line in report.dimensions if _matters(line) and line not in _opening_lines(report)]
    if rest:
        parts += [Text(), _details(rest, with_samples=with_samples)]
    idle = [_words(line) for line in report.dimensions if not _matters(line)]
    if idle:
        parts += [Text(), Text(f"In no record: {', '.join(idle)}.", style="dim")]
    parts += _remedies(report.dimensions)
    return Group(*parts)


def losses_view(losses: Sequence[GapLine]) -> RenderableType:
    """Return the lines of a finished job that did not simply keep what they touched."""
    table = _table()
    for line in losses:
        if line.verdict is not Verdict.KEPT:
            table.add_row(*_cells(Text(_words(line)), line))
    return table if table.row_count else Text()


def _title(report: GapReport) -> str:
    read = plural(report.scanned, "record")
    if report.total is None:
        read += " read, of an unknown number"
    elif report.scanned < report.total:
        read += f" read, of {amount(report.total)}"
    else:
        read += " read, which is all"
    return f"{plain(report.source)} -> {plain(report.target)}: {read}"


def _table() -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("becomes", no_wrap=True)
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("what it means", overflow="fold", ratio=1)
    return table


def _opening(report: GapReport, *, with_samples: bool) -> Table:
    table = _table()
    for group, line in zip(_OPENING, _opening_lines(report), strict=True):
        title = Text(TITLES[group], style="bold")
        if line is None:
            table.add_row(title, Text("-"), Text("-"), Text("In no record."))
        else:
            _add(table, title, line, with_samples=with_samples)
    return table


def _opening_lines(report: GapReport) -> list[GapLine | None]:
    return [worst(line for line in report.dimensions if line.group is group) for group in _OPENING]


def _matters(line: GapLine) -> bool:
    """Tell whether a line is worth a row: nothing is lost of what no record has."""
    return line.records > 0 or line.blocking or line.contradiction or line.verdict is Verdict.READ_TIME_ONLY


def _details(lines: Sequence[GapLine], *, with_samples: bool) -> Table:
    table = _table()
    table.show_header = False
    for group, title in TITLES.items():
        members = [line for line in lines if line.group is group]
        if members:
            table.add_row(Text(title, style="bold"))
        for line in members:
            _add(table, Text(f"  {_words(line)}"), line, with_samples=with_samples)
    return table


def _add(table: Table, name: Text, line: GapLine, *, with_samples: bool) -> None:
    table.add_row(*_cells(name, line))
    if with_samples and line.samples:
        shown = ", ".join(map(plain, line.samples))
        table.add_row("", "", "", Text(f"e.g. {shown}", style="dim"))


def _words(line: GapLine) -> str:
    return line.dimension.value.replace("_", " ")


def _cells(name: Text, line: GapLine) -> tuple[Text, ...]:
    word = "BLOCKED" if line.blocking else WORDS[line.verdict]
    style = "bold red" if line.blocking else _STYLES.get(line.verdict, "")
    records = "-" if line.verdict is Verdict.READ_TIME_ONLY else amount(line.records)
    meaning = plain(line.consequence)
    if line.contradiction:
        meaning += " The source's adapter says it never gives this: please report it."
    return name, Text(word, style=style), Text(records), Text(meaning)


def _remedies(lines: Iterable[GapLine]) -> list[RenderableType]:
    open_lines = [line for line in lines if line.remedy and (line.blocking or line.needs_consent)]
    if not open_lines:
        return []
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for line in open_lines:
        table.add_row(Text(_words(line)), Text(plain(line.remedy)))
    return [Text(), Text("Before memxfer migrates, decide:", style="bold"), table]
