import io

import pytest
from rich.console import Console

from memxfer.capabilities import Dimension, DimensionGroup
from memxfer.gaps.report import GapLine, GapReport, Verdict
from memxfer.report.gaps import SEVERITY, TITLES, WORDS, gap_view, losses_view, worst


def line(dimension="versions", group="versioning", verdict="lost", **values):
    return GapLine(
        dimension=Dimension(dimension),
        group=DimensionGroup(group),
        source="native",
        target="none",
        verdict=Verdict(verdict),
        **values,
    )


def report(*lines, **values):
    facts = {"source": "old", "target": "new", "scanned": 10, "total": 10, "blocking": False, **values}
    return GapReport(dimensions=lines, **facts)


def shown(view) -> str:
    out = io.StringIO()
    Console(file=out, width=100, markup=False, highlight=False, color_system=None).print(view)
    return out.getvalue()


def test_the_report_opens_with_the_four_lines_everybody_asks_for():
    text = shown(gap_view(report(line("kind", "content", "kept", records=1))))
    opening = [row.split("  ")[0] for row in text.splitlines()[3:7]]
    assert opening == ["Versioning", "Temporal", "Packaging", "Custom extensions"]


def test_a_group_is_headed_by_its_worst_line():
    lines = (
        line("created_at", "temporal", "kept", records=10),
        line("expiry", "temporal", "lost", records=2, consequence="They never end."),
        line("validity", "temporal", "lost", records=0),
    )
    temporal = next(row for row in shown(gap_view(report(*lines))).splitlines() if row.startswith("Temporal"))
    assert temporal.split() == ["Temporal", "lost", "2", "They", "never", "end."]


def test_blocking_lines_come_first_and_are_called_so():
    lines = [line(verdict="lost", records=9), line("user", "identity", "kept", blocking=True)]
    assert worst(lines) is lines[1]
    assert "BLOCKED" in shown(gap_view(report(*lines)))


def test_a_hundred_columns_are_enough_whatever_the_lines_say():
    long = "word " * 80
    text = shown(gap_view(report(line(records=10**7, consequence=long, remedy=long), source="s" * 40)))
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("word") == 2 * 80


def test_names_of_other_people_are_shown_and_never_obeyed():
    nasty = line(records=1, samples=("user[/red]x", "\x1b]0;title\x07"), consequence="[bold]not bold[/bold]")
    text = shown(gap_view(report(nasty, source="[link=x]old"), with_samples=True))
    assert "user[/red]x, \\x1b]0;title\\x07" in text
    assert "[bold]not bold[/bold]" in text
    assert "[link=x]old" in text
    assert "\x1b" not in text


def test_samples_are_shown_only_when_asked_for():
    assert "id-1" not in shown(gap_view(report(line(records=1, samples=("id-1",)))))


def test_what_has_to_be_decided_is_listed_with_its_remedy():
    lines = (
        line(records=2, remedy="--accept-loss versions"),
        line("tags", "context", "enveloped", records=3, remedy="nothing to do"),
        line("expiry", "temporal", "lost", records=0, remedy="--accept-loss expiry"),
    )
    text = shown(gap_view(report(*lines)))
    assert "Before memxfer migrates, decide:" in text
    assert "--accept-loss versions" in text
    assert "nothing to do" not in text
    assert "--accept-loss expiry" not in text


def test_no_dimension_has_two_rows_and_idle_ones_have_none():
    lines = (
        line(records=2, consequence="Old texts go."),
        line("tags", "context", "enveloped", records=3, consequence="Tags move."),
        line("pinning", "context", "lost", records=0, consequence="No pins."),
    )
    text = shown(gap_view(report(*lines)))
    assert text.count("Old texts go.") == text.count("Tags move.") == 1
    assert "No pins." not in text
    assert "In no record: pinning." in text


def test_nothing_to_decide_leaves_the_heading_out():
    assert "decide" not in shown(gap_view(report(line(verdict="kept", records=2))))


@pytest.mark.parametrize(
    ("scanned", "total", "words"),
    [
        (10, 10, "10 records read, which is all"),
        (1, 10, "1 record read, of 10"),
        (10, None, "10 records read, of an unknown number"),
    ],
)
def test_the_title_says_how_much_was_read(scanned, total, words):
    assert words in shown(gap_view(report(scanned=scanned, total=total)))


def test_a_contradiction_asks_for_a_report():
    assert "please report it" in " ".join(
        shown(gap_view(report(line(records=1, contradiction=True)))).split()
    )


def test_losses_of_a_finished_job_leave_out_what_was_kept():
    text = shown(losses_view([line(records=2), line("tags", "context", "kept", records=5)]))
    assert "versions" in text
    assert "tags" not in text
    assert shown(losses_view([line(verdict="kept")])).strip() == ""


def test_every_verdict_and_group_has_words():
    assert set(SEVERITY) == set(WORDS) == set(Verdict)
    assert set(TITLES) == set(DimensionGroup)
