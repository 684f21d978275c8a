"""The gap report as Markdown for a pull request, an issue or a wiki: tables of GitHub's dialect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from memxfer.gaps.report import GapReport
from memxfer.report.gap_rows import Page, Part, Remedy, Row, gap_page
from memxfer.report.gap_words import KINDS, LEVELS, share_words
from memxfer.report.text import plain

__all__ = ["markdown_report"]

_TITLES = ("", "source", "target", "becomes", "records", "what it means")
_MARKS = re.compile(r"[\\`*_\[\]#!]")
"""What Markdown gives a meaning to within a line; a backslash takes it away."""

_ENTITIES = re.compile(r"[&<>|~$@]|(?<=:)/(?=/)|(?<=www)\.", re.IGNORECASE)
"""What a backslash does not make harmless in every dialect: markup, bars of a table, bare links."""

_SIMPLE = re.compile(r"[^`|\\\s](?:[^`|\\]*[^`|\\\s])?")
"""What can stand between two backticks as it is, in a table as well."""

_NOT_WORDS = re.compile(r"[^\w:-]|_")


def markdown_report(report: GapReport) -> str:
    """Return the report as Markdown that ends with a newline; the same report gives the same text.

    Ids, names and sentences of other people are escaped: they are shown, and never become markup.
    """
    page = gap_page(report)
    blocks = [*_head(page), *_decisions(page.decisions)]
    for part in page.parts:
        blocks += [f"## {part.title}", _table(part)]
    if page.idle:
        blocks.append(f"{page.absent}: {_text(', '.join(page.idle))}.")
    return "\n\n".join((*blocks, *_samples(page), *_legend())) + "\n"


def _head(page: Page) -> Iterator[str]:
    yield f"# Gap report: {_text(page.source)} → {_text(page.target)}"
    yield f"**{_text(page.headline)}**"
    yield f"{page.read[:1].upper()}{page.read[1:]}. {page.counting}".strip()
    words = {kind: word for kind, (word, _) in KINDS.items()} | {"absent": page.absent.lower()}
    yield "Lines: " + ", ".join(f"{number} {words[kind]}" for kind, number in page.tally) + "."


def _decisions(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        return
    yield "## Decide before you migrate"
    yield "\n".join(line for row in rows for line in _decision(row))


def _decision(row: Row) -> Iterator[str]:
    ask = f" {row.ask}:" if row.ask else ""
    yield f"- **{_text(row.name)}** ({row.becomes}): {_text(row.meaning)}{ask}"
    yield from (f"  - {_remedy(remedy)}" for remedy in row.remedies)


def _remedy(remedy: Remedy) -> str:
    return "".join(_code(piece.text) if piece.is_code else _text(piece.text) for piece in remedy)


# -- tables ---------------------------------------------------------------------------------------


def _table(part: Part) -> str:
    lines = [_line(_TITLES), "| --- | --- | --- | --- | ---: | --- |"]
    for group in part.groups:
        lines.append(_line((f"**{group.title}**", "", "", "", "", "")))
        lines += [_line(_cells(row)) for row in group.rows]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row) -> tuple[str, ...]:
    becomes = f"**{row.becomes}**" if row.kind in ("blocked", "lost") else row.becomes
    return (
        _text(row.name),
        _text(row.source.word),
        _text(row.target.word),
        becomes,
        _records(row),
        " ".join(_sentences(row)),
    )


def _records(row: Row) -> str:
    share = f" ({share_words(row.share)})" if row.share is not None else ""
    return f"{row.records}{share}" + (f"<br>{row.estimate}" if row.estimate else "")


def _sentences(row: Row) -> Iterator[str]:
    yield _text(row.meaning)
    if row.note:
        yield f"**{_text(row.note)}**"
    if row.remedies and not row.to_decide:
        yield f"{row.ask}: {' or '.join(map(_remedy, row.remedies))}"


# -- what stands below ----------------------------------------------------------------------------


def _samples(page: Page) -> Iterator[str]:
    rows = [row for part in page.parts for group in part.groups for row in group.rows if row.samples]
    if rows:
        yield "<details><summary>Ids of such records</summary>"
        yield "\n".join(f"- {_text(row.name)} ({row.becomes}): {_ids(row)}" for row in rows)
        yield "</details>"


def _ids(row: Row) -> str:
    return ", ".join(map(_code, row.samples))


def _legend() -> Iterator[str]:
    yield "<details><summary>How to read this</summary>"
    yield "\n".join(f"- source and target, {word}: {meaning}" for word, meaning in LEVELS.values())
    yield "\n".join(f"- {word}: {meaning}" for word, meaning in KINDS.values() if word != "-")
    yield "</details>"


# -- escaping -------------------------------------------------------------------------------------


def _text(foreign: str) -> str:
    """Return `foreign` as text that no dialect takes for markup."""
    return _ENTITIES.sub(_entity, _MARKS.sub(r"\\\g<0>", plain(foreign)))


def _code(foreign: str) -> str:
    """Return `foreign` as code, to be copied; bars and backticks in it end nothing."""
    text = plain(foreign)
    return f"`{text}`" if _SIMPLE.fullmatch(text) else f"<code>{_NOT_WORDS.sub(_entity, text)}</code>"


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"
