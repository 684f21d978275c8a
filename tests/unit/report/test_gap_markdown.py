import re

import pytest
from markdown_it import MarkdownIt

from memxfer.report.markdown import markdown_report
from memxfer.report.text import plain

OURS = re.compile(r"</?(details|summary|br|code)>")


@pytest.fixture
def rendered(read_html):
    """Render as GitHub does: CommonMark with tables, and links of their own accord."""

    def render(text):
        return read_html(MarkdownIt("commonmark", {"linkify": False}).enable("table").render(text))

    return render


def rows(text):
    """Return the cells of every table row, as a renderer splits them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    found: list[list[str]] = []
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "tr_open":
            found.append([])
        if token.type in ("td_open", "th_open"):
            found[-1].append(following.content)
    return found


def test_every_row_has_six_cells_whatever_is_in_them(hostile_report):
    found = rows(markdown_report(hostile_report))
    assert len(found) > 40
    assert {len(row) for row in found} == {6}


def test_a_row_says_source_target_what_becomes_of_it_records_and_what_it_means(line, report):
    lost = line(records=2, estimate=20, consequence="Old texts go.")
    found = rows(markdown_report(report(lost, sample=True, total=100)))
    row = ["versions", "yes", "no", "**lost**", "2 (20%)<br>about 20 (estimated)", "Old texts go."]
    assert found[:3] == [
        ["", "source", "target", "becomes", "records", "what it means"],
        ["**Versioning**", "", "", "", "", ""],
        row,
    ]


def test_hostile_text_reads_as_it_is_and_becomes_no_markup(hostile_report, hostile, rendered):
    text = markdown_report(hostile_report)
    page = rendered(text)
    words = " ".join(plain(hostile).split())
    # source, target, meaning of two lines, source level, a name, ids, a remedy as code
    assert page.words.count(words) >= 8
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "a", "img", "del", "s", "em", "style"}
    assert page.comments == []
    assert OURS.sub("", text).count("<") == 0
    for address in ("://", "www."):  # GitHub links them of its own accord
        assert address not in text


@pytest.mark.parametrize(
    "id_", ["5f1e-77", "a b", "a`b", "`", "a|b", "a\\|b", " x ", "\u202ex", "ü/é", "a_b_c"]
)
def test_ids_are_code_that_can_be_copied(line, report, rendered, id_):
    text = markdown_report(report(line(records=1, samples=(id_,))))
    listed = next(row for row in text.splitlines() if row.startswith("- versions (lost): "))
    page = rendered(listed)
    assert ("code", {}) in page.elements
    assert "".join(page.text).strip("\n") == f"versions (lost): {plain(id_)}"


def test_what_has_to_be_decided_stands_before_the_tables(line, report):
    user = line(
        "user", "identity", blocking=True, remedy='unscoped = "skip" | unscoped = "a|b"', consequence="Who?"
    )
    text = markdown_report(report(user))
    decide, tables = text.index("- **user** (BLOCKED): Who? Decide with one of:"), text.index("| --- |")
    assert decide < text.index('  - `unscoped = "skip"`') < tables
    assert "Decide before" not in markdown_report(report(line(verdict="kept", records=1)))


def test_other_things_to_do_stand_with_their_line(line, report):
    found = rows(
        markdown_report(report(line(verdict="at_risk", records=1, remedy="see `memxfer failures JOB`")))
    )
    assert found[2][5].strip() == "What to do: see `memxfer failures JOB`"


def test_samples_and_the_legend_are_folded_away(line, report, rendered):
    text = markdown_report(report(line(records=1, samples=("id-1",))))
    assert [tag for tag, _ in rendered(text).elements].count("details") == 2
    assert text.index("<details>") < text.index("`id-1`") < text.index("</details>")
    assert "Ids of such records" not in markdown_report(report(line(records=1)))


def test_a_contradiction_is_shown(line, report):
    assert "please report it" in markdown_report(report(line(records=1, contradiction=True)))


def test_it_can_be_written_whatever_the_ids_are_and_is_the_same_each_time(hostile_report):
    text = markdown_report(hostile_report)
    assert text.encode("utf-8").decode("utf-8") == text == markdown_report(hostile_report)
    assert text.endswith("\n")
