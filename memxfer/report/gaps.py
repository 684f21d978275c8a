"""The gap report as a table of at most 100 columns, in plain words."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from memxfer.gaps.report import GapLine, GapReport, Verdict
from memxfer.report.console import WIDTH
from memxfer.report.gap_rows import Group as Rows
from memxfer.report.gap_rows import Page, Piece, Row, gap_page, gap_row
from memxfer.report.gap_words import KINDS, LEVELS, TITLES, Kind

__all__ = ["gap_text", "gap_view", "losses_view"]

_STYLES: dict[Kind, str] = {
    "blocked": "bold red",
    "lost": "red",
    "unknown": "yellow",
    "at_risk": "yellow",
    "kept": "green",
    "absent": "dim",
}
_TITLES = ("", "source", "target", "becomes", "records")
_MEANING = "what it means"
_GAP = 2
_NAME = 22
"""Columns for a name; longer ones are folded."""

_COMFORTABLE = 34
"""Columns that a sentence needs beside the facts; where there are fewer, it goes below them."""


def gap_view(report: GapReport, *, with_samples: bool = False) -> RenderableType:
    """Return the report: what it comes to, every line that matters, what to decide.

    Args:
        report: The report.
        with_samples: Name up to three records under each line that touches any.
    """
    page = gap_page(report)
    groups = [group for part in page.parts for group in part.groups]
    parts: list[RenderableType] = [*_head(page), Text(), _Lines(groups, with_samples=with_samples), Text()]
    if page.idle:
        parts.append(Text(f"{page.absent}: {', '.join(page.idle)}.", style="dim"))
    return Group(*parts, Text(_legend(page), style="dim"), *_decisions(page.decisions))


def gap_text(report: GapReport, *, with_samples: bool = False) -> str:
    """Return what `gap_view` shows as text without colours that ends with a newline, for a file."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, color_system=None, markup=False, highlight=False, emoji=False)
    console.print(gap_view(report, with_samples=with_samples))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().split("\n")[:-1])


def losses_view(losses: Sequence[GapLine]) -> RenderableType:
    """Return the lines of a finished job that did not simply keep what they touched."""
    rows = [gap_row(line, scanned=0) for line in losses if line.verdict is not Verdict.KEPT]
    if not rows:
        return Text()
    table = _table(("", "becomes", "records"), ())
    for row in rows:
        table.add_row(Text(row.name), _becomes(row), Text(row.records), _meaning(row))
    return table


def _head(page: Page) -> Iterator[Text]:
    yield Text(f"{page.source} -> {page.target}: {page.read}", style="bold")
    if page.counting:
        yield Text(page.counting)
    yield Text(page.headline, style=_STYLES.get(page.kind, ""))
    words = {kind: word for kind, (word, _) in KINDS.items()} | {"absent": page.absent.lower()}
    yield Text(", ".join(f"{number} {words[kind]}" for kind, number in page.tally), style="dim")


def _legend(page: Page) -> str:
    rows = [row for group in page.matrix for row in group.rows]
    used = {side.level for row in rows for side in (row.source, row.target)}
    words = (f"{word} = {meaning}" for level, (word, meaning) in LEVELS.items() if level in used)
    return f"source, target: {'; '.join(words)}."


def _decisions(rows: Sequence[Row]) -> Iterator[RenderableType]:
    if not rows:
        return
    yield Text()
    yield Text("Before memxfer migrates, decide:", style="bold")
    for row in rows:
        yield Text.assemble("  ", (row.name, "bold"), f" ({row.becomes}): {row.ask.lower() or 'see above'}")
        yield from (Padding(Text(choice), (0, 0, 0, 6)) for choice in _choices(row))


def _choices(row: Row) -> list[str]:
    return ["".join(map(_piece, remedy)) if len(remedy) > 1 else remedy[0].text for remedy in row.remedies]


def _piece(piece: Piece) -> str:
    return f"`{piece.text}`" if piece.is_code else piece.text


# -- rows -----------------------------------------------------------------------------------------


class _Lines:
    """Rows of groups: each sentence beside its facts where there is room, else below them."""

    def __init__(self, groups: Sequence[Rows], *, with_samples: bool) -> None:
        self._groups = groups
        self._with_samples = with_samples

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        widths = _widths([row for group in self._groups for row in group.rows])
        has_room = options.max_width - sum(widths) - _GAP * len(widths) >= _COMFORTABLE
        yield self._beside(widths) if has_room else Group(*self._below(widths))

    def _beside(self, widths: Sequence[int]) -> Table:
        table = _table(_TITLES, widths)
        for number, group in enumerate(self._groups):
            if number:
                table.add_row()
            table.add_row(Text(group.title, style="bold"))
            for row in group.rows:
                records = Text("\n".join((row.records, *_estimate(row))))
                table.add_row(*_facts(row), records, Text("\n").join(self._sentences(row)))
        return table

    def _below(self, widths: Sequence[int]) -> Iterator[RenderableType]:
        yield _table(_TITLES, widths, has_meaning=False)
        for number, group in enumerate(self._groups):
            yield Text(f"\n{group.title}" if number else group.title, style="bold")
            for row in group.rows:
                facts = _table(_TITLES, widths, has_meaning=False)
                facts.show_header = False
                facts.add_row(*_facts(row), Text(row.records))
                yield facts
                meaning, *more = self._sentences(row)
                sentences = (meaning, Text(row.estimate), *more)
                yield from (Padding(one, (0, 0, 0, 4)) for one in sentences if one)

    def _sentences(self, row: Row) -> list[Text]:
        sentences = [_meaning(row)]
        if row.remedies and not row.to_decide:
            sentences.append(Text(f"{row.ask}: {' or '.join(_choices(row))}"))
        if self._with_samples and row.samples:
            sentences.append(Text(f"e.g. {', '.join(row.samples)}", style="dim"))
        return sentences


def _widths(rows: Sequence[Row]) -> tuple[int, ...]:
    """Return the columns that the facts of all rows take, so that every group is aligned."""
    words = ((f"  {row.name}", row.source.word, row.target.word, row.becomes, row.records) for row in rows)
    cells = [_TITLES, *words]
    names, *facts, records = (max(map(cell_len, column)) for column in zip(*cells, strict=True))
    estimates = (cell_len(line) for row in rows for line in _estimate(row))
    return (min(max(names, *map(len, TITLES.values())), _NAME), *facts, max(records, *estimates, 0))


def _table(titles: Sequence[str], widths: Sequence[int], *, has_meaning: bool = True) -> Table:
    """Return an empty table, with the last of `titles` for numbers; no widths: as the cells need."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for number, title in enumerate(titles):
        table.add_column(title, overflow="fold", width=widths[number] if widths else None)
    table.columns[-1].justify = "right"
    if has_meaning:
        table.add_column(_MEANING, overflow="fold", ratio=1)
    return table


def _facts(row: Row) -> tuple[RenderableType, ...]:
    return Padding(Text(row.name), (0, 0, 0, 2)), Text(row.source.word), Text(row.target.word), _becomes(row)


def _becomes(row: Row) -> Text:
    return Text(row.becomes, style=_STYLES.get(row.kind, ""))


def _estimate(row: Row) -> tuple[str, ...]:
    """Return `about 4,100` and `(estimated)`, to stand below the count."""
    number, _, mark = row.estimate.rpartition(" ")
    return (number, mark) if number else ()


def _meaning(row: Row) -> Text:
    return Text(f"{row.meaning} {row.note}" if row.note else row.meaning)
