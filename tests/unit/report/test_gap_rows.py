import pytest

from memxfer.capabilities import DimensionGroup, Level
from memxfer.gaps.report import SEVERITY, Concern, Verdict
from memxfer.report.gap_rows import gap_page, gap_row, matters
from memxfer.report.gap_words import (
    KINDS,
    LEVELS,
    PARTS,
    TITLES,
    dimension_name,
    share_words,
)


def groups(page):
    return [group for part in page.parts for group in part.groups]


def names(page):
    return [row.name for group in groups(page) for row in group.rows]


def test_the_four_groups_everybody_asks_for_come_first_and_always(line, report):
    titles = ["Versioning", "Temporal", "Packaging", "Custom extensions"]
    assert [group.title for group in groups(gap_page(report()))] == titles
    page = gap_page(
        report(line("user", "identity", "kept", records=1), line("pinning", "context", records=1))
    )
    assert [group.title for group in groups(page)] == [*titles, "Identity", "Context"]
    assert [part.title for part in page.parts] == [
        "What everybody asks first",
        "Identity and content",
        "The rest",
    ]


def test_blocking_comes_first_in_a_group_then_the_worst_then_the_most(line, report):
    lines = (
        line("created_at", "temporal", "kept", records=9),
        line("inactive", "temporal", "approximated", records=1),
        line("expiry", "temporal", "lost", records=1),
        line("validity", "temporal", "kept", blocking=True, records=1),
        line("occurred_at", "temporal", "lost", records=2),
    )
    page = gap_page(report(*lines))
    assert names(page)[1:6] == ["validity", "occurred at", "expiry", "inactive", "created at"]


def test_nothing_is_lost_of_what_no_record_has(line, report):
    page = gap_page(report(line("tags", "content"), line("pinning", "context", records=1)))
    assert page.idle == ("tags",)
    assert "tags" not in names(page)
    assert page.tally == (("lost", 1), ("absent", 1))
    assert [row.becomes for group in page.matrix for row in group.rows] == ["-", "lost"]


def ignored(line, **values):
    return line("ignored", "content", source="none", **values)


def test_ignored_rows_have_a_line_with_their_share_of_all_rows_and_the_sum_above(line, report):
    page = gap_page(
        report(
            ignored(line, records=40, remedy="--accept-loss ignored"),
            ignored(line, verdict="left_out", records=5),
            scanned=2,
            rows=50,
            total=50,
            filtered=2,
            unreadable=1,
            ignored={"no_text": 40, "marker": 5},
        )
    )
    (lost, left) = next(group.rows for group in groups(page) if group.title == "Content")
    assert (lost.name, lost.becomes, lost.records, lost.share, lost.to_decide) == (
        "ignored rows",
        "lost",
        "40",
        0.8,
        True,
    )
    assert (left.kind, left.becomes, left.share, left.to_decide) == ("left_out", "left out", 0.1, False)
    assert page.read == "2 records read, which is all"
    assert page.counting == (
        "50 rows listed = 2 records + ignored 45 (no text 40; markers of the backend 5) + unreadable 1 + "
        "outside the selection 2."
    )
    assert page.headline == "1 loss needs your consent before anything moves."
    assert [row.name for row in page.decisions] == ["ignored rows"]


def test_where_every_row_is_ignored_the_headline_says_so(line, report):
    lost = ignored(line, records=40, remedy="--accept-loss ignored")
    page = gap_page(report(lost, scanned=0, total=40, rows=40, ignored={"no_text": 40}))
    assert page.headline == (
        "No record was read: the 40 rows listed are none, so nothing could be counted. "
        "1 loss needs your consent."
    )


def test_a_sample_with_ignored_rows_tells_both(line, report):
    page = gap_page(report(scanned=10, total=400, rows=40, ignored={"marker": 30}, sample=True))
    assert page.read == "10 records read, of 400"
    assert page.counting == (
        "40 rows listed = 10 records + ignored 30 (markers of the backend 30). Counts are of the 10 read; "
        "those marked (estimated) are for all 400."
    )


def test_a_group_without_records_says_so_in_the_words_of_its_only_line(line, report):
    page = gap_page(report(line(consequence="No memory read has earlier versions.", verdict="kept")))
    (row,) = groups(page)[0].rows
    assert (row.name, row.source.word, row.target.word) == ("versions", "yes", "no")
    assert (row.becomes, row.records, row.meaning) == ("-", "0", "No memory read has earlier versions.")
    assert page.idle == ()


@pytest.mark.parametrize(
    ("sample", "where"), [(False, "In no record"), (True, "In none of the records read")]
)
def test_a_group_without_records_names_its_lines(line, report, sample, where):
    lines = (line("created_at", "temporal", "kept"), line("expiry", "temporal", "kept"))
    page = gap_page(report(*lines, sample=sample))
    (row,) = groups(page)[1].rows
    assert (row.name, row.source.word, row.records, row.meaning) == (
        "-",
        "-",
        "0",
        f"{where}: created at, expiry.",
    )
    assert page.idle == ()


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        (("packaging", "packaging", "kept"), True),
        (("search", "packaging", "at_risk"), True),
        (("mem0.reset", "extensions", "read_time_only"), True),
        (("listing", "context", "kept"), True),
        (("repeats", "context", "unknown"), True),
        (("tags", "context", "at_risk"), True),
        (("tags", "context", "unknown"), False),
        (("tags", "context", "lost"), False),
        (("duplicates", "context", "kept"), False),
    ],
)
def test_what_backends_do_matters_whatever_the_records_are(line, facts, wanted):
    assert matters(line(*facts)) is wanted


def test_what_needs_somebody_matters_whatever_the_records_are(line):
    assert matters(line(blocking=True))
    assert matters(line(verdict="kept", contradiction=True))
    assert not matters(line(verdict="kept"))


def test_what_backends_do_is_not_counted_in_records(line):
    assert gap_row(line("search", "packaging", "kept"), scanned=10).records == "-"
    assert gap_row(line("repeats", "context", "unknown"), scanned=10).records == "-"
    assert gap_row(line("tags", "context", "kept"), scanned=10).records == "0"


def test_what_neither_end_offers_is_not_called_kept(line):
    neither = line("search", "packaging", "kept", source="none", target="none")
    assert gap_row(neither, scanned=10).kind == "absent"


def test_a_contradiction_asks_for_a_report(line):
    assert gap_row(line(records=1, contradiction=True), scanned=1).note.endswith("please report it.")
    assert gap_row(line(records=1), scanned=1).note == ""


def test_levels_are_words_and_those_nobody_knows_stay_as_they_are(line):
    row = gap_row(line(source="lossy", target="sideways\n"), scanned=1)
    assert (row.source, row.target) == (("lossy", "partly"), ("", "sideways\\n"))


def test_an_estimate_is_marked_as_one(line):
    row = gap_row(line(records=41, estimate=4_100), scanned=100)
    assert (row.records, row.estimate, row.share) == ("41", "about 4,100 (estimated)", 0.41)
    assert gap_row(line(records=41), scanned=100).estimate == ""


def test_a_share_is_never_more_than_all_and_unknown_without_a_count(line):
    assert gap_row(line(records=12), scanned=10).share == 1.0
    assert gap_row(line(records=0), scanned=10).share is None
    assert gap_row(line(records=1), scanned=0).share is None


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0%"), (1e-9, "under 1%"), (0.01, "1%"), (0.5, "50%"), (0.9999999, "over 99%"), (1.0, "100%")],
)
def test_a_share_is_not_rounded_to_none_or_all(share, words):
    assert share_words(share) == words


def test_ways_out_are_told_apart_and_code_in_them_is_marked(line):
    remedy = 'unscoped = "skip" | --accept-loss user | memxfer failures JOB | see `memxfer jobs`, then wait'
    row = gap_row(line(blocking=True, remedy=remedy), scanned=1)
    assert row.remedies == (
        (('unscoped = "skip"', True),),
        (("--accept-loss user", True),),
        (("memxfer failures JOB", True),),
        (("see ", False), ("memxfer jobs", True), (", then wait", False)),
    )
    assert gap_row(line(), scanned=1).remedies == ()


@pytest.mark.parametrize(
    ("facts", "ask"),
    [
        ({"blocking": True, "remedy": "a | b"}, "Decide with one of"),
        ({"blocking": True, "remedy": "a"}, "Decide with"),
        ({"records": 1, "remedy": "--accept-loss versions"}, "Agree with"),
        ({"records": 1, "remedy": "wait", "verdict": "at_risk"}, "What to do"),
        ({"blocking": True}, ""),
    ],
)
def test_how_ways_out_are_introduced(line, facts, ask):
    assert gap_row(line(**facts), scanned=1).ask == ask


def test_decisions_come_before_consents(line, report):
    lines = (line(records=1, remedy="--accept-loss versions"), line("user", "identity", blocking=True))
    assert [row.name for row in gap_page(report(*lines)).decisions] == ["user", "versions"]


def test_one_consent_stands_for_the_lines_of_its_group_that_name_none(line, report):
    named = line("extensions", "extensions", records=3, remedy="--accept-loss extensions")
    field = line("mem0.last_change", "extensions", records=3)
    assert [row.name for row in gap_page(report(named, field)).decisions] == ["extensions"]
    assert [row.name for row in gap_page(report(field)).decisions] == ["mem0.last_change"]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ([{"blocking": True}], "Nothing moves yet: a decision is missing."),
        ([{"blocking": True}] * 2, "Nothing moves yet: 2 decisions are missing."),
        (
            [{"blocking": True}, {"records": 1, "remedy": "x"}],
            "Nothing moves yet: a decision is missing, and 1 loss needs your consent.",
        ),
        ([{"records": 1}], "1 loss needs your consent before anything moves."),
        ([{"records": 1}] * 2, "2 losses need your consent before anything moves."),
        ([{"verdict": "at_risk"}], "Nothing has to be decided, but 1 thing is not certain."),
        ([{"verdict": "at_risk"}] * 2, "Nothing has to be decided, but 2 things are not certain."),
        ([{"verdict": "enveloped", "records": 1}], "Nothing is lost; some of it arrives in another form."),
        ([{"verdict": "kept", "records": 1}], "Everything is kept."),
    ],
)
def test_the_headline_says_what_it_comes_to(line, report, facts, words):
    assert gap_page(report(*(line(**one) for one in facts))).headline == words


def test_the_headline_claims_no_more_than_was_read(line, report):
    kept = line(verdict="kept", records=1)
    assert gap_page(report(kept, sample=True)).headline == "In the part that was read, everything is kept."
    assert gap_page(report(scanned=0, total=0)).headline == "No record was read, so nothing could be counted."


def test_a_block_without_a_line_is_a_block(report):
    page = gap_page(report(blocking=True))
    assert (page.kind, page.headline) == ("blocked", "Nothing moves yet: a decision is missing.")


@pytest.mark.parametrize(
    ("facts", "read", "counting"),
    [
        ({}, "10 records read, which is all", ""),
        ({"scanned": 1}, "1 record read, of 10", ""),
        ({"total": None}, "10 records read, of an unknown number", ""),
        ({"total": 9}, "10 records read, which is all", ""),
        (
            {"total": 9_000, "sample": True},
            "10 records read, of 9,000",
            "Counts are of the 10 read; those marked (estimated) are for all 9,000.",
        ),
        (
            {"total": None, "sample": True},
            "10 records read, of an unknown number",
            "Counts are of the 10 read; those marked (estimated) are for all.",
        ),
    ],
)
def test_how_much_was_read_is_said_once(report, facts, read, counting):
    page = gap_page(report(**facts))
    assert (page.read, page.counting) == (read, counting)


def test_every_text_is_harmless_on_a_terminal(hostile_report):
    page = gap_page(hostile_report)
    rows = [row for group in (*groups(page), *page.matrix) for row in group.rows]
    texts = [page.source, page.target, *page.idle]
    for row in rows:
        remedies = [piece.text for remedy in row.remedies for piece in remedy]
        texts += [row.name, row.source.word, row.meaning, *row.samples, *remedies]
    assert len(rows) > 80
    for text in texts:
        assert text.isprintable()
        text.encode("utf-8")


def test_dimensions_have_names_that_people_read():
    assert dimension_name("created_at") == "created at"
    assert dimension_name("mem0.last_change") == "mem0.last_change"
    assert dimension_name(Concern.REPEATS) == dimension_name("repeats") == "sending twice"


def test_every_verdict_group_and_level_has_words_and_a_place():
    assert set(SEVERITY) == set(Verdict)
    assert set(KINDS) == {"blocked", "absent", *(verdict.value for verdict in Verdict)}
    assert set(TITLES) == {group for part in PARTS.values() for group in part} == set(DimensionGroup)
    assert {level.name.lower() for level in Level} < set(LEVELS)
    assert [kind for kind in KINDS if kind in set(Verdict)] == [verdict.value for verdict in SEVERITY[::-1]]
