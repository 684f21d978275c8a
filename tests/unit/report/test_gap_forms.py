"""Table, Markdown and HTML tell the same story: every fact of every line is in each of them."""

import io
import re

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from memxfer.report.gap_rows import gap_page
from memxfer.report.gaps import gap_view
from memxfer.report.html import html_report
from memxfer.report.markdown import markdown_report


def printed(report):
    # narrow enough for every sentence to stand in one piece, wide enough not to fold an id
    console = Console(file=io.StringIO(), width=72, markup=False, highlight=False, color_system=None)
    console.print(gap_view(report, with_samples=True))
    return console.file.getvalue()


def table(report, _):
    return " ".join(printed(report).split())


def markdown(report, read_html):
    return read_html(MarkdownIt("commonmark").enable("table").render(markdown_report(report))).words


def html(report, read_html):
    return read_html(html_report(report)).words


@pytest.fixture
def full(line, report):
    """A report with lines of every verdict and group, estimates, ways out, samples and a contradiction."""
    lines = (
        line(
            records=412,
            estimate=4_120,
            consequence="Old texts go.",
            remedy="--accept-loss versions",
            samples=("v1",),
        ),
        line("created_at", "temporal", "approximated", target="lossy", records=1_000, consequence="Coarser."),
        line("updated_at", "temporal", "enveloped", target="envelope", records=999, samples=("u1", "u2")),
        line(
            "packaging",
            "packaging",
            "read_time_only",
            source="none",
            target="native",
            consequence="New has it.",
        ),
        line("search", "packaging", "at_risk", consequence="Apps cannot ask.", remedy="change the apps"),
        line("mem0.last_change", "extensions", "kept", target="native", records=5, contradiction=True),
        line(
            "user", "identity", blocking=True, records=7, remedy='unscoped = "skip" | unscoped = "customer"'
        ),
        line(
            "content", "content", "at_risk", records=3, remedy="see `memxfer failures JOB`", samples=("c1",)
        ),
        line("repeats", "context", "unknown", target="unknown", consequence="Nobody knows."),
        line("tags", "content", "lost", consequence="No memory read has tags."),
    )
    return report(*lines, scanned=1_000, total=10_000, sample=True)


@pytest.mark.parametrize("render", [table, markdown, html])
def test_every_fact_of_every_line_is_there(full, read_html, render):
    text = render(full, read_html)
    page = gap_page(full)
    rows = [row for part in page.parts for group in part.groups for row in group.rows]
    assert len(rows) == 9
    for row in rows:
        for fact in (row.meaning, row.note, row.estimate, row.ask, *row.samples):
            assert fact in text or fact.lower() in text
        for piece in (piece for remedy in row.remedies for piece in remedy):
            assert piece.text.strip() in text
    for fact in (page.source, page.target, page.headline, page.counting, *page.idle):
        assert fact in text


def table_rows(report):
    return [tuple(re.split(r"\s{2,}", line.strip())) for line in printed(report).splitlines()]


def markdown_rows(report):
    lines = (line.strip("| ").split(" | ") for line in markdown_report(report).splitlines())
    cleaned = ([re.sub(r"\*\*|\\| \(.*", "", cell) for cell in cells] for cells in lines)
    return [tuple(cells[:5]) for cells in cleaned]


def html_rows(report):
    lines = re.findall(r'<tr class="line [^>]*>(.*?)</tr>', html_report(report))
    cells = ([re.sub(r"<[^>]*>", "\t", cell) for cell in re.split("</t[hd]>", line)[:5]] for line in lines)
    return [tuple(cell.strip().split("\t")[0] for cell in line) for line in cells]


@pytest.mark.parametrize("rows", [table_rows, markdown_rows, html_rows])
@pytest.mark.parametrize(
    "facts",
    [
        ("versions", "yes", "no", "lost", "412"),
        ("created at", "yes", "partly", "approximated", "1,000"),
        ("updated at", "yes", "metadata", "in metadata", "999"),
        ("packaging", "no", "yes", "when reading", "-"),
        ("mem0.last_change", "yes", "yes", "kept", "5"),
        ("user", "yes", "no", "BLOCKED", "7"),
        ("sending twice", "yes", "unknown", "unknown", "-"),
    ],
)
def test_the_facts_of_a_line_stand_side_by_side(full, rows, facts):
    assert facts in rows(full)


@pytest.mark.parametrize("render", [table, markdown, html])
def test_all_four_opening_groups_are_there_even_in_an_empty_report(report, read_html, render):
    text = render(report(), read_html)
    places = [text.index(title) for title in ("Versioning", "Temporal", "Packaging", "Custom extensions")]
    assert places == sorted(places)
    assert text.count("In no record.") == 4
