import itertools
import re

import msgspec
import pytest

from memxfer.capabilities import Axis, Dimension, DimensionGroup, Level
from memxfer.gaps import RULES, Concern, Verdict
from memxfer.models import MemoryRecord
from tests.unit.gaps.conftest import BARE, CHANGES, ENVELOPED, FULL, able, document, refused, skipped

BY_RULE = {rule.dimension: rule for rule in RULES}
READ_TIME = {Dimension.PACKAGING, Dimension.SEARCH}
BETWEEN = {str(finding) for finding in Concern}
"""Lines about ends, and about what lies between records."""
NATIVE_ONLY = {Dimension.CONTENT, Dimension.EMBEDDINGS}
"""No envelope carries them."""


def named(record, number):
    return msgspec.structs.replace(record, id=f"r{number}")


# -- the table of rules -----------------------------------------------------------------------


def test_every_dimension_of_a_record_has_one_rule():
    assert sorted(rule.dimension for rule in RULES) == sorted(set(Dimension) - READ_TIME)


def test_every_axis_of_a_scope_has_a_rule_about_its_own_value():
    carried = {axis.value: BY_RULE[Dimension(axis.value)].carried(FULL) for axis in Axis}

    assert carried == {"user": "u", "agent": "a", "app": "p", "session": "s", "tenant": "t", "group": "g"}


def test_names_in_an_envelope_are_unique():
    names = [rule.name for rule in RULES if rule.name]

    assert len(names) == len(set(names))
    assert {rule.dimension for rule in RULES if not rule.name} == NATIVE_ONLY


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.dimension.value)
def test_a_full_record_carries_each_dimension_and_a_bare_one_next_to_none(rule):
    assert rule.carried(FULL) is not None
    assert (rule.carried(BARE) is None) is (rule.dimension not in {Dimension.IDS, Dimension.CONTENT})


# -- verdicts ---------------------------------------------------------------------------------

LEVELS = {
    Level.NONE: (Verdict.LOST, "; new "),
    Level.ENVELOPE: (Verdict.ENVELOPED, "it travels in metadata under memxfer"),
    Level.LOSSY: (Verdict.APPROXIMATED, "; new "),
    Level.NATIVE: (Verdict.KEPT, "; new keeps it."),
}


@pytest.mark.parametrize(("read", "write"), list(itertools.product(Level, Level)))
def test_the_verdict_follows_from_the_levels_of_both_sides(census, report, read, write):
    census.add(FULL, document())

    lines = report(source=able(read=read), target=able(write=write)).dimensions

    for line in lines:
        if line.dimension in READ_TIME | BETWEEN or "." in line.dimension:
            continue
        wanted, said = LEVELS[write]
        if write is Level.ENVELOPE and line.dimension in NATIVE_ONLY:
            wanted, said = Verdict.LOST, "; new "
        assert line.verdict is wanted, line
        assert said in line.consequence
        assert (line.source, line.target, line.records) == (read.name.lower(), write.name.lower(), 1)
        assert line.contradiction is (read is Level.NONE)
        assert line.needs_consent is (wanted is Verdict.LOST)
        assert line.remedy == (f"--accept-loss {line.dimension}" if wanted is Verdict.LOST else "")
        assert not line.blocking


@pytest.mark.parametrize(("read", "write"), list(itertools.product(Level, Level)))
def test_what_no_record_has_is_never_lost_nor_a_contradiction(census, report, read, write):
    census.add(BARE, document())

    for line in report(source=able(read=read), target=able(write=write)).dimensions:
        if line.records == 0 and line.dimension not in READ_TIME | BETWEEN:
            assert (line.verdict, line.contradiction, line.remedy) == (Verdict.KEPT, False, "")
            assert line.consequence.startswith("No memory read has ")
            assert not line.needs_consent


@pytest.mark.parametrize(
    ("has", "gets", "verdict"),
    [
        (False, False, Verdict.KEPT),
        (True, True, Verdict.KEPT),
        (False, True, Verdict.READ_TIME_ONLY),
        (True, False, Verdict.AT_RISK),
    ],
)
@pytest.mark.parametrize(
    ("dimension", "field"), [(Dimension.PACKAGING, "package"), (Dimension.SEARCH, "search")]
)
def test_what_apps_ask_at_run_time_is_compared_and_never_counted(line, dimension, field, has, gets, verdict):
    found = line(dimension, source=able(**{field: has}), target=able(**{field: gets}))

    assert (found.verdict, found.records, found.group) == (verdict, 0, DimensionGroup.PACKAGING)
    assert (found.source, found.target) == ("native" if has else "none", "native" if gets else "none")
    assert not found.needs_consent


# -- counts -----------------------------------------------------------------------------------


def test_counts_are_of_records_and_samples_are_the_first_three(census, line):
    for number in range(5):
        census.add(named(FULL if number % 2 else BARE, number), document())

    tags, ids = line(Dimension.TAGS), line(Dimension.IDS)

    assert (tags.records, tags.samples) == (2, ("r1", "r3"))
    assert (ids.records, len(set(ids.samples))) == (5, 3)
    assert tags.consequence.startswith("2 of 5 memories have tags")


def test_large_counts_are_written_with_commas(census, line):
    for _ in range(1_234):
        census.add(BARE, document())

    assert line(Dimension.IDS).consequence.startswith("1,234 of 1,234 memories have an id")


def test_the_head_of_a_report_tells_what_was_read(census, report):
    census.add(BARE, document())

    found = report(total=7)

    assert (found.source, found.target, found.scanned, found.total, found.blocking) == (
        "old",
        "new",
        1,
        7,
        False,
    )
    assert report().total is None


def test_zero_scores_and_false_like_values_count(census, line):
    census.add(MemoryRecord(id="r", content="t", importance=0.0), document())
    census.add(MemoryRecord(id="r", content="", tags=()), document())

    assert line(Dimension.SCORES).records == 1
    assert line(Dimension.CONTENT).records == 1
    assert line(Dimension.TAGS).records == 0


def test_a_census_files_every_record_under_what_becomes_of_it(census):
    census.add(BARE, document(scope="user"))
    census.add(BARE, document(scope="user"))
    census.add(BARE, document(scope="customer"))
    census.add(BARE, skipped("unscoped"))
    census.add(BARE, refused("too_large"))
    census.add(BARE, refused(None))
    census.add(BARE, refused("unscoped", 'unscoped = "skip"'))
    census.add_unreadable(None)

    assert census.scanned == 7
    assert [(one.scope, one.records) for one in census.crossings.landings()] == [("user", 2), ("customer", 1)]
    assert census.skipped == {"unscoped": 1}
    assert {code: tally.records for code, tally in census.refused.items()} == {"too_large": 1, "refused": 1}
    assert {place: one.records for place, one in census.undecided.items()} == {
        (Dimension.USER, "unscoped"): 1
    }
    assert census.unreadable.samples == ["?"]


# -- order ------------------------------------------------------------------------------------


def test_the_four_that_everybody_asks_for_come_first(census, report):
    census.add(FULL, document())

    groups = [key for key, _ in itertools.groupby(line.group for line in report().dimensions)]

    assert groups == [
        DimensionGroup.VERSIONING,
        DimensionGroup.TEMPORAL,
        DimensionGroup.PACKAGING,
        DimensionGroup.EXTENSIONS,
        DimensionGroup.IDENTITY,
        DimensionGroup.CONTENT,
        DimensionGroup.CONTEXT,
    ]


def test_within_a_group_decisions_come_first_then_the_worst_then_the_most(census, report):
    census.add(FULL, document())
    census.add(named(FULL, 2), refused("too_large", 'oversize = "skip"'))
    census.add(MemoryRecord(id="r3", content="t", kind="event"), refused("odd"))
    target = able(tags=Level.NONE, kind=Level.NONE, messages=Level.LOSSY, metadata=Level.ENVELOPE)

    content = [line for line in report(target=target).dimensions if line.group is DimensionGroup.CONTENT]

    assert [(line.dimension, line.verdict.value, line.records) for line in content] == [
        ("content", "lost", 1),
        ("kind", "lost", 3),
        ("tags", "lost", 2),
        ("content", "at_risk", 1),
        ("messages", "approximated", 2),
        ("metadata", "enveloped", 2),
        ("content", "kept", 3),
        ("sanitised", "kept", 2),
        ("duplicates", "kept", 0),
    ]
    assert [line.blocking for line in content] == [True] + [False] * 8


# -- what single records bring ----------------------------------------------------------------

UNDECIDED = {
    "unscoped": (Dimension.USER, "have no owner that new accepts"),
    "no_customer": (Dimension.TENANT, "need a customer"),
    "undated": (Dimension.CREATED_AT, "have no date at all"),
    "too_large": (Dimension.CONTENT, "are larger than new takes"),
    "metadata_too_large": (Dimension.METADATA, "have more metadata than new takes"),
    "never_heard_of": (Dimension.CONTENT, "are larger than new takes"),
}


@pytest.mark.parametrize("code", UNDECIDED)
def test_a_missing_decision_blocks_with_its_remedies(census, report, code):
    census.add(BARE, document())
    census.add(named(BARE, 2), refused(code, "a = 1", "a = 2"))

    found = report()
    (blocking,) = [line for line in found.dimensions if line.blocking]

    dimension, said = UNDECIDED[code]
    assert found.blocking
    assert (blocking.dimension, blocking.group) == (dimension, BY_RULE[dimension].group)
    assert (blocking.records, blocking.samples, blocking.remedy) == (1, ("r2",), "a = 1 | a = 2")
    assert blocking.verdict is Verdict.LOST
    assert not blocking.needs_consent
    assert blocking.consequence.startswith("1 of 2 memories ")
    assert said in blocking.consequence


def test_what_can_never_be_stored_is_at_risk_by_its_code(census, report):
    for number in range(4):
        census.add(named(BARE, number), refused("bad_key"))
    census.add(BARE, refused("odd"))
    census.add_unreadable("row 9")

    risks = [line for line in report().dimensions if line.verdict is Verdict.AT_RISK]

    assert [(line.records, line.samples, line.consequence) for line in risks] == [
        (4, ("r0", "r1", "r2"), "4 of 5 memories will not arrive: new can never store them (bad_key)."),
        (1, ("r1",), "1 of 5 memories will not arrive: new can never store them (odd)."),
        (1, ("row 9",), "1 rows will not arrive: they cannot be read as memories."),
    ]
    assert not any(line.needs_consent or line.blocking for line in risks)
    assert all("memxfer failures JOB" in line.remedy for line in risks)


@pytest.mark.parametrize(
    ("word", "dimension", "verdict", "remedy"),
    [
        ("blurred", Dimension.SANITISED, Verdict.APPROXIMATED, ""),
        ("cut", Dimension.EXTENSIONS, Verdict.LOST, "--accept-loss extensions"),
        ("a_word_of_a_stranger", Dimension.CONTENT, Verdict.APPROXIMATED, ""),
    ],
)
def test_what_a_provider_alters_in_a_document_is_counted_by_its_word(
    census, report, word, dimension, verdict, remedy
):
    census.add(BARE, document(word))
    census.add(named(BARE, 2), document())

    lines = [line for line in report().dimensions if line.dimension not in BETWEEN]
    (change,) = [line for line in lines if "1 of 2 memories" in line.consequence]

    assert (change.dimension, change.verdict, change.records, change.remedy) == (
        dimension,
        verdict,
        1,
        remedy,
    )
    assert change.samples == ("r1",)
    assert change.needs_consent is (verdict is Verdict.LOST)


# -- words ------------------------------------------------------------------------------------


def every_report(report, census):
    census.add(FULL, document(*CHANGES, "stranger"))
    census.add(BARE, refused("odd"))
    for code in UNDECIDED:
        census.add(BARE, refused(code, "x = 1"))
    census.add_unreadable("row")
    for write, has in itertools.product(Level, (False, True)):
        yield report(target=able(write=write, package=has, search=has), source=able(package=not has))
        yield report(target=able(write=write, package=has, search=has), source=able(package=has))


def test_every_sentence_is_one_with_a_full_stop_and_without_gaps(census, report):
    texts = [line.consequence for found in every_report(report, census) for line in found.dimensions]

    assert len(texts) > 8 * len(RULES)
    for text in texts:
        assert re.fullmatch(r"[A-Z0-9no][^{}]*[^.\s]\.", text), text
        assert "  " not in text
        assert "None" not in text
        assert text.isascii()


def test_a_name_with_braces_stays_as_it_is(census):
    from memxfer.gaps import End, build_report

    census.add(FULL, document("blurred"))
    ends = {"source": End("{a}", able()), "target": End("{b}", able(tags=Level.NONE))}
    found = build_report(census, **ends, total=None)

    texts = " ".join(line.consequence for line in found.dimensions)
    assert "{b} drops it; the originals stay in this job's residue." in texts
    assert "are blurred by {b}." in texts


# -- the machine's form -----------------------------------------------------------------------


def test_the_json_of_a_report_has_the_keys_of_the_contract(census, report):
    census.add(FULL, document())

    data = report(total=1).model_dump(mode="json")

    counts = ["scanned", "total", "sample", "rows", "filtered", "unreadable", "ignored"]
    assert list(data) == ["source", "target", *counts, "blocking", "dimensions"]
    for one in data["dimensions"]:
        assert list(one) == [
            "dimension",
            "group",
            "source",
            "target",
            "verdict",
            "records",
            "estimate",
            "samples",
            "blocking",
            "contradiction",
            "consequence",
            "remedy",
        ]
        assert isinstance(one["verdict"], str)
    assert {one["dimension"] for one in data["dimensions"]} == {*Dimension, *Concern, "mem0.x"} - {
        Concern.IGNORED,
        Concern.DECIDED,
    }
    assert set(ENVELOPED) | NATIVE_ONLY | READ_TIME == set(Dimension)
