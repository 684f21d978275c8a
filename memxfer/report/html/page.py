"""The gap report as a page: what it comes to, what to decide, every line, every dimension at a glance."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import resources

from memxfer.gaps.report import GapReport
from memxfer.report.gap_rows import Page, Row, gap_page
from memxfer.report.gap_words import KINDS, LEVELS
from memxfer.report.html.elements import Child, Html, element, fragment
from memxfer.report.html.rows import badge, choices, glyph, glyphs, matrix_table, part_table

__all__ = ["html_report"]

_ALWAYS = ("lost", "approximated", "kept")
"""What the head counts even if there is none."""


def html_report(report: GapReport, *, generated_at: datetime | None = None) -> str:
    """Return the report as one HTML document.

    It loads nothing and runs nothing, and its policy forbids both. The same report gives the same
    text, but for the line that `generated_at` puts at the end.

    Args:
        report: The report.
        generated_at: When it was made, with a time zone; `None`: the page does not tell.
    """
    page = gap_page(report)
    body = element("body", glyphs(), element("main", *_body(page), _footer(generated_at)))
    return f"<!DOCTYPE html>\n{element('html', _head(page), body, lang='en')}\n"


@functools.cache
def _style() -> str:
    return resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")


def _head(page: Page) -> Html:
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name_="color-scheme", content="light dark"),
        element("meta", name_="referrer", content="no-referrer"),
        element("title", f"Gap report: {page.source} to {page.target}"),
        element("style", Html(_style())),
    )


def _body(page: Page) -> Iterator[Html]:
    yield _summary(page)
    if page.decisions:
        yield _section(
            "Decide before you migrate", element("ol", *map(_decision, page.decisions), class_="decisions")
        )
    for part in page.parts:
        yield _section(part.title, part_table(part))
    if page.matrix:
        yield _section("Every dimension at a glance", _matrix(page))
    yield _section("How to read this", _legend())


def _section(title: str, *children: Child) -> Html:
    return element("section", element("h2", title), *children)


# -- the head of the page -------------------------------------------------------------------------


def _summary(page: Page) -> Html:
    arrow = element("span", "→", class_="arrow", aria_label="to", role="img")
    return element(
        "header",
        element("p", "Gap report", class_="eyebrow"),
        element("h1", element("bdi", page.source), Html(" "), arrow, Html(" "), element("bdi", page.target)),
        element("p", page.headline, class_=f"headline {page.kind}"),
        element("p", f"{page.read[:1].upper()}{page.read[1:]}. {page.counting}".strip(), class_="read"),
        _tally(page),
    )


def _tally(page: Page) -> Html:
    """Return how many lines there are of each kind; what may be lost is counted even if there is none."""
    counts = dict(page.tally)
    words = {kind: word for kind, (word, _) in KINDS.items()} | {"absent": page.absent.lower()}
    figures = (
        element(
            "div",
            element("dt", words[kind]),
            element("dd", f"{counts.get(kind, 0):,}"),
            class_=kind if kind in counts else "absent",
        )
        for kind in KINDS
        if kind in counts or kind in _ALWAYS
    )
    return element("dl", *figures, class_="tally")


def _decision(row: Row) -> Html:
    return element(
        "li",
        element("h3", element("bdi", row.name), Html(" "), badge(row)),
        element("p", row.meaning, dir="auto"),
        element("p", f"{row.ask}:", class_="ask") if row.ask else None,
        choices(row) if row.remedies else None,
        class_=row.kind,
    )


# -- the end of the page --------------------------------------------------------------------------


def _matrix(page: Page) -> Html:
    key = (element("li", glyph(level), word) for level, (word, _) in LEVELS.items())
    return fragment(
        (
            element("ul", *key, class_="key", aria_hidden="true"),
            element("div", *(matrix_table(group) for group in page.matrix), class_="matrix"),
        )
    )


def _legend() -> Html:
    levels = [(fragment((glyph(level), word)), meaning) for level, (word, meaning) in LEVELS.items()]
    kinds = [
        (element("span", word, class_=f"badge {kind}"), meaning) for kind, (word, meaning) in KINDS.items()
    ]
    return element(
        "div",
        element("div", element("h3", "Source and target: how well each side holds it"), _definitions(levels)),
        element("div", element("h3", "Becomes: what happens to it in this move"), _definitions(kinds)),
        element("p", "Bars show the share of the records read. Ids are those of up to three such records."),
        class_="legend",
    )


def _definitions(entries: Sequence[tuple[Html, str]]) -> Html:
    pairs = (element("div", element("dt", word), element("dd", meaning)) for word, meaning in entries)
    return element("dl", *pairs)


def _footer(generated_at: datetime | None) -> Html | None:
    if generated_at is None:
        return None
    moment = generated_at.astimezone(UTC)
    when = element("time", f"{moment:%Y-%m-%d %H:%M} UTC", datetime=moment.isoformat(timespec="seconds"))
    return element("footer", element("p", "Made by memxfer on ", when, "."))
