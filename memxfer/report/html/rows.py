"""Rows of the page's tables: glyphs, badges, bars, ways out, ids."""

from __future__ import annotations

from collections.abc import Iterator

from memxfer.report.gap_rows import Group, Part, Remedy, Row, Side
from memxfer.report.gap_words import LEVELS, share_words
from memxfer.report.html.elements import Child, Html, element, fragment, hidden
from memxfer.report.text import plural

__all__ = ["badge", "choices", "glyph", "glyphs", "matrix_table", "part_table"]

_COLUMNS = ("dimension", "source", "target", "becomes", "records", "what it means")

# Forms, not colours, tell the levels apart: full, half, a ring with a core, an empty ring, a broken one.
_FORMS = {
    "native": '<circle cx="8" cy="8" r="6" fill="currentColor"/>',
    "lossy": '<circle cx="8" cy="8" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M8 2.75a5.25 5.25 0 0 0 0 10.5z" fill="currentColor"/>',
    "envelope": '<circle cx="8" cy="8" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<circle cx="8" cy="8" r="2" fill="currentColor"/>',
    "none": '<circle cx="8" cy="8" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    "unknown": '<circle cx="8" cy="8" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5" '
    'stroke-dasharray="2.2 1.93"/>',
}


def glyphs() -> Html:
    """Return the forms, drawn once; `glyph` refers to them."""
    symbols = (
        f'<symbol id="level-{level}" viewBox="0 0 16 16">{form}</symbol>' for level, form in _FORMS.items()
    )
    return Html(f'<svg class="unseen" aria-hidden="true">{"".join(symbols)}</svg>')


def glyph(level: str) -> Html | None:
    """Return the form of a level; nothing for one that is not known."""
    if level not in LEVELS:
        return None
    use = element("use", href=f"#level-{level}")
    return element("svg", use, class_=f"glyph {level}", aria_hidden="true")


def badge(row: Row) -> Html:
    """Return what becomes of a row, in its colour."""
    return element("span", row.becomes, class_=f"badge {row.kind}")


def choices(row: Row) -> Html:
    """Return the ways out of a row as a list; code in it is selected by one click."""
    return element("ul", *(element("li", _remedy(remedy)) for remedy in row.remedies), class_="choices")


def _remedy(remedy: Remedy) -> Html:
    return fragment(element("code", piece.text) if piece.is_code else piece.text for piece in remedy)


# -- the tables of the parts ----------------------------------------------------------------------


def part_table(part: Part) -> Html:
    """Return the rows of a part as one table, a body per group."""
    head = element(
        "tr", *(element("th", title, scope="col", role="columnheader") for title in _COLUMNS), role="row"
    )
    return element(
        "table",
        element("caption", hidden(f"{part.title}: what becomes of each dimension")),
        element("thead", head, role="rowgroup"),
        *map(_body, part.groups),
        class_="lines",
        role="table",
    )


def _body(group: Group) -> Html:
    title = element("th", group.title, scope="rowgroup", colspan=str(len(_COLUMNS)), role="rowheader")
    return element(
        "tbody", element("tr", title, class_="group", role="row"), *map(_line, group.rows), role="rowgroup"
    )


def _line(row: Row) -> Html:
    return element(
        "tr",
        element("th", element("bdi", row.name), scope="row", role="rowheader", class_="name"),
        _cell("source", _side(row.source)),
        _cell("target", _side(row.target)),
        _cell("becomes", badge(row)),
        _cell("records", *_records(row)),
        _cell("meaning", *_meaning(row)),
        class_=f"line {row.kind}",
        role="row",
    )


def _cell(name: str, *children: Child) -> Html:
    return element("td", *children, class_=name, role="cell")


def _side(side: Side) -> Html:
    return element("span", glyph(side.level), side.word, class_="side")


def _records(row: Row) -> Iterator[Html]:
    yield element("span", row.records, class_="number")
    if row.share is not None:
        yield element("span", share_words(row.share), class_="share")
        yield _bar(row.share)
    if row.estimate:
        yield element("span", row.estimate, class_="estimate")


def _bar(share: float) -> Html:
    """Return a bar; its length is an attribute, because a strict policy forbids inline styles."""
    length = f"{max(share * 100, 1):.1f}"
    full = element("rect", class_="track", width="100", height="4")
    part = element("rect", class_="fill", width=length, height="4")
    start = '<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
    return Html(f"{start}{full}{part}</svg>")


def _meaning(row: Row) -> Iterator[Html]:
    yield element("p", row.meaning, dir="auto")
    if row.note:
        yield element("p", row.note, class_="note")
    if row.remedies and not row.to_decide:
        yield element("p", f"{row.ask}:", class_="ask")
        yield choices(row)
    if row.samples:
        yield _samples(row)


def _samples(row: Row) -> Html:
    count = len(row.samples)
    summary = element("summary", plural(count, "example id"), hidden(f": {row.name}, {row.becomes}"))
    ids = (element("li", element("code", one)) for one in row.samples)
    return element("details", summary, element("ul", *ids))


# -- the matrix -----------------------------------------------------------------------------------


def matrix_table(group: Group) -> Html:
    """Return every dimension of a group as one narrow table."""
    titles = ("dimension", "source", "target", "becomes")
    head = element("tr", *(element("th", title, scope="col") for title in titles))
    return element(
        "table",
        element("caption", group.title),
        element("thead", head),
        element("tbody", *map(_matrix_line, group.rows)),
    )


def _matrix_line(row: Row) -> Html:
    return element(
        "tr",
        element("th", element("bdi", row.name), scope="row"),
        element("td", _sign(row.source)),
        element("td", _sign(row.target)),
        element("td", element("span", row.becomes, class_=f"word {row.kind}")),
    )


def _sign(side: Side) -> Html:
    form = glyph(side.level)
    return fragment((form, hidden(side.word))) if form else element("bdi", side.word)
