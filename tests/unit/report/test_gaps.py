import io

import pytest
from rich.console import Console

from memxfer.report.gaps import gap_text, gap_view, losses_view


def shown(view, width=100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, highlight=False, color_system=None).print(view)
    return out.getvalue()


def cells(text, name):
    return next(row for row in text.splitlines() if row.strip().startswith(name)).split()


@pytest.fixture
def moved(line, report):
    """A report with a line of every sort."""
    lines = (
        line(
            records=412,
            consequence="412 of 10,300 memories have earlier versions; new cannot store them; they stay in "
            "this job's residue.",
            samples=("id-1", "id-2"),
            remedy="--accept-loss versions",
        ),
        line(
            "created_at", "temporal", "approximated", target="lossy", records=10_300, consequence="Coarser."
        ),
        line(
            "packaging",
            "packaging",
            "read_time_only",
            source="none",
            target="native",
            consequence="New has it.",
        ),
        line(
            "user", "identity", records=9, blocking=True, remedy='unscoped = "skip" | unscoped = "customer"'
        ),
        line(
            "kind", "content", "at_risk", records=3, consequence="Three.", remedy="see `memxfer failures JOB`"
        ),
        line("pinning", "context", "lost"),
    )
    return report(*lines, scanned=10_300, total=10_300)


def test_a_row_says_source_target_what_becomes_of_it_records_and_what_it_means(moved):
    text = shown(gap_view(moved))
    header = next(row for row in text.splitlines() if "becomes" in row)
    assert header.split() == ["source", "target", "becomes", "records", "what", "it", "means"]
    assert cells(text, "versions")[:7] == ["versions", "yes", "no", "lost", "412", "412", "of"]
    assert cells(text, "created at") == [
        "created",
        "at",
        "yes",
        "partly",
        "approximated",
        "10,300",
        "Coarser.",
    ]
    assert cells(text, "packaging")[:6] == ["packaging", "no", "yes", "when", "reading", "-"]


def test_it_opens_with_what_it_comes_to(moved):
    opening = shown(gap_view(moved)).splitlines()[:3]
    assert opening[0] == "old -> new: 10,300 records read, which is all"
    assert opening[1] == "Nothing moves yet: a decision is missing, and 1 loss needs your consent."
    assert opening[2] == "1 BLOCKED, 1 lost, 1 at risk, 1 approximated, 1 when reading, 1 in no record"


def test_groups_are_headed_by_their_titles_in_order(moved):
    rows = shown(gap_view(moved)).splitlines()
    titles = ["Versioning", "Temporal", "Packaging", "Custom extensions", "Identity", "Content"]
    assert [row.strip() for row in rows if row.strip() in titles] == titles


@pytest.mark.parametrize("width", [100, 92, 80, 60])
def test_no_row_is_wider_than_the_terminal(moved, hostile_report, width):
    for one in (moved, hostile_report):
        rows = shown(gap_view(one, with_samples=True), width).splitlines()
        assert max(map(len, rows)) <= width


@pytest.mark.parametrize("width", [100, 72])
def test_a_long_name_is_folded_and_not_cut(line, report, width):
    name = f"mem0.{'very_' * 12}long"
    text = shown(gap_view(report(line(name, "extensions", records=1, consequence="."))), width)
    rows = [row[:22].strip() for row in text.splitlines()]
    assert name in "".join(rows)


def test_a_sentence_stands_beside_its_facts_where_there_is_room_for_it(moved):
    row = next(row for row in shown(gap_view(moved), 100).splitlines() if row.startswith("  versions"))
    assert "412 of 10,300 memories" in row
    assert len(row) - row.index("412 of") >= 34


def test_a_sentence_stands_below_its_facts_where_there_is_none(moved):
    text = shown(gap_view(moved), 72)
    assert cells(text, "versions") == ["versions", "yes", "no", "lost", "412"]
    assert "    412 of 10,300 memories have earlier versions; new cannot store them;" in text


def test_estimates_are_marked_in_both_layouts(line, report):
    sampled = report(line(records=41, estimate=4_100), total=1_000, sample=True)
    for width in (100, 72):
        text = " ".join(shown(gap_view(sampled), width).split())
        assert "41 about 4,100 (estimated)" in text
        assert text.count("Counts are of the 10 read; those marked (estimated) are for all 1,000.") == 1


def test_what_has_to_be_decided_comes_last_with_the_ways_out(moved):
    end = shown(gap_view(moved)).split("Before memxfer migrates, decide:\n")[1]
    assert [row.strip() for row in end.splitlines()] == [
        "user (BLOCKED): decide with one of",
        'unscoped = "skip"',
        'unscoped = "customer"',
        "versions (lost): agree with",
        "--accept-loss versions",
    ]


def test_nothing_to_decide_leaves_the_heading_out(line, report):
    assert "decide:" not in shown(gap_view(report(line(verdict="kept", records=2))))


def test_other_things_to_do_stand_with_their_line(moved):
    assert "What to do: see `memxfer failures JOB`" in shown(gap_view(moved))


def test_samples_are_shown_only_when_asked_for(moved):
    assert "id-1" not in shown(gap_view(moved))
    assert "e.g. id-1, id-2" in shown(gap_view(moved, with_samples=True))


def test_what_no_record_has_is_named_once(moved):
    assert shown(gap_view(moved)).count("In no record: pinning.") == 1


def test_the_levels_that_occur_are_explained(moved):
    text = " ".join(shown(gap_view(moved)).split())
    assert "yes = as it is; partly = less precisely, or in another form; no = has no place for it." in text


def test_names_of_other_people_are_shown_and_never_obeyed(line, report):
    nasty = line(records=1, samples=("user[/red]x", "\x1b]0;title\x07"), consequence="[bold]not bold[/bold]")
    text = shown(gap_view(report(nasty, source="[link=x]old"), with_samples=True))
    assert "user[/red]x, \\x1b]0;title\\x07" in " ".join(text.split())
    assert "[bold]not bold[/bold]" in text
    assert "[link=x]old" in text
    assert "\x1b" not in text


def test_a_file_gets_the_same_text_without_colours_or_trailing_space(moved):
    text = gap_text(moved, with_samples=True)
    assert [
        row.rstrip() for row in shown(gap_view(moved, with_samples=True)).splitlines()
    ] == text.splitlines()
    assert not any(row.endswith(" ") for row in text.splitlines())
    assert text.endswith("\n")


def test_losses_of_a_finished_job_leave_out_what_was_kept(line):
    text = shown(losses_view([line(records=2), line("tags", "context", "kept", records=5)]))
    assert cells(text, "versions") == ["versions", "lost", "2"]
    assert "tags" not in text
    assert shown(losses_view([line(verdict="kept")])).strip() == ""
