"""The gap report: verdicts from levels and records, consent, envelopes."""

from datetime import UTC, datetime

import msgspec
import pytest

from memxfer.capabilities import (
    Capabilities,
    Channel,
    Dimension,
    DimensionGroup,
    Level,
    ReadTime,
)
from memxfer.errors import ConfigError, DecisionRequiredError, RecordError
from memxfer.gaps import RULES, Census, EnvelopeBuilder, Verdict, build_report, check_consent, parse_accepted
from memxfer.models import (
    MemoryRecord,
)
from memxfer.spi import Document, Refused, Skipped, StoreIdentity
from tests.unit.gaps.conftest import FULL

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
DOCUMENT = Document(key="k", record_id="a", body=None, size=1, scope="user")
EVERYTHING = msgspec.structs.replace(FULL, id="a")
NOTHING = MemoryRecord(id="b", content="")


def capabilities(**levels):
    """Levels by dimension: `versions=(read, write)`."""
    return Capabilities(
        dimensions={
            Dimension(name): Channel(read=read, write=write) for name, (read, write) in levels.items()
        }
    )


def report(census, source=None, target=None, **options):
    source, target = source or Capabilities(), target or Capabilities()
    return build_report(census, source=("old", source), target=("new", target), total=None, **options)


def census(*records, prepared=DOCUMENT):
    counted = Census()
    for record in records:
        counted.add(record, prepared)
    return counted


def line(made, dimension, *, blocking=False):
    [found] = [
        one
        for one in made.dimensions
        if one.dimension is dimension and one.blocking is blocking and one.verdict is not Verdict.AT_RISK
    ]
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.dimension.value)
def test_every_dimension_is_seen_in_a_record_that_carries_it(rule):
    counted = census(EVERYTHING, NOTHING)
    found = line(report(counted), rule.dimension)
    assert found.records == (2 if rule.dimension is Dimension.IDS else 1)
    assert found.samples[0] == "a"
    assert found.group is rule.group


def test_every_dimension_has_one_line():
    made = report(census(EVERYTHING))
    assert sorted(one.dimension for one in made.dimensions) == sorted(Dimension)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.name], ids=lambda rule: rule.dimension.value)
@pytest.mark.parametrize(
    ("write", "verdict"),
    [
        (Level.NATIVE, Verdict.KEPT),
        (Level.LOSSY, Verdict.APPROXIMATED),
        (Level.ENVELOPE, Verdict.ENVELOPED),
        (Level.NONE, Verdict.LOST),
    ],
)
def test_the_targets_level_is_the_verdict_where_records_carry_it(rule, write, verdict):
    target = capabilities(**{rule.dimension.value: (Level.NONE, write)})
    source = capabilities(**{rule.dimension.value: (Level.NATIVE, Level.NONE)})
    found = line(report(census(EVERYTHING), source, target), rule.dimension)
    assert found.verdict is verdict
    assert found.needs_consent is (verdict is Verdict.LOST)
    assert bool(found.remedy) is (verdict is Verdict.LOST)
    assert (found.source, found.target) == ("native", write.name.lower())
    assert not found.contradiction
    assert found.consequence.startswith("1 of 1 memories have ")


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if not rule.name], ids=lambda rule: rule.dimension.value
)
def test_what_no_envelope_carries_is_lost_whatever_the_target_says(rule):
    target = capabilities(**{rule.dimension.value: (Level.NONE, Level.ENVELOPE)})
    assert line(report(census(EVERYTHING), target=target), rule.dimension).verdict is Verdict.LOST


def test_what_no_record_carries_is_not_lost():
    found = line(report(census(NOTHING)), Dimension.VERSIONS)
    assert (found.verdict, found.records, found.needs_consent) == (Verdict.KEPT, 0, False)


def test_records_that_carry_what_the_adapter_never_gives_are_a_contradiction():
    source = capabilities(tags=(Level.NATIVE, Level.NONE))
    made = report(census(EVERYTHING), source)
    assert not line(made, Dimension.TAGS).contradiction
    assert line(made, Dimension.VERSIONS).contradiction
    assert not line(report(census(NOTHING)), Dimension.VERSIONS).contradiction


def test_the_four_that_everybody_asks_for_come_first_and_the_worst_of_each_group_before_the_rest():
    target = capabilities(created_at=(Level.NONE, Level.NATIVE))
    made = report(census(EVERYTHING), target=target)
    groups = list(dict.fromkeys(one.group for one in made.dimensions))
    assert groups[:4] == ["versioning", "temporal", "packaging", "extensions"]
    temporal = [one.dimension for one in made.dimensions if one.group is DimensionGroup.TEMPORAL]
    assert temporal[-1] is Dimension.CREATED_AT


@pytest.mark.parametrize(
    ("has", "gets", "verdict"),
    [
        (True, True, Verdict.KEPT),
        (False, False, Verdict.KEPT),
        (True, False, Verdict.AT_RISK),
        (False, True, Verdict.READ_TIME_ONLY),
    ],
)
def test_what_apps_ask_for_at_run_time_is_compared_without_records(has, gets, verdict):
    source = Capabilities(read_time=ReadTime(package=has, search=has))
    target = Capabilities(read_time=ReadTime(package=gets, search=gets))
    made = report(Census(), source, target)
    for dimension in (Dimension.PACKAGING, Dimension.SEARCH):
        [found] = [one for one in made.dimensions if one.dimension is dimension]
        assert found.verdict is verdict
        assert not found.needs_consent


def test_samples_are_three_and_counts_are_all():
    records = [MemoryRecord(id=f"m{n}", content="x", tags=("t",)) for n in range(5)]
    found = line(report(census(*records)), Dimension.TAGS)
    assert (found.records, found.samples) == (5, ("m0", "m1", "m2"))


def test_a_record_that_can_never_arrive_is_told_before_it_is_sent():
    counted = census(EVERYTHING, prepared=Refused(RecordError("too large", code="too_large")))
    [found] = [one for one in report(counted).dimensions if one.verdict is Verdict.AT_RISK]
    assert "too_large" in found.consequence
    assert found.records == 1
    counted = Census()
    counted.add_unreadable(None)
    [found] = [one for one in report(counted).dimensions if one.verdict is Verdict.AT_RISK]
    assert "1 rows" in found.consequence


@pytest.mark.parametrize(
    ("word", "verdict"), [("envelope_dropped", Verdict.LOST), ("something_new", Verdict.APPROXIMATED)]
)
def test_what_single_documents_lose_is_counted(word, verdict):
    document = Document(key="k", record_id="a", body=None, size=1, scope="user", changes=(word,))
    counted = census(NOTHING, prepared=document)
    assert any(one.verdict is verdict and one.records == 1 for one in report(counted).dimensions)


# -- consent ------------------------------------------------------------------------------------


def losing(*dimensions):
    kept = {rule.dimension.value: (Level.NATIVE, Level.NATIVE) for rule in RULES}
    kept |= dict.fromkeys(dimensions, (Level.NATIVE, Level.NONE))
    return report(census(EVERYTHING), target=capabilities(**kept))


def test_a_move_that_loses_nothing_needs_no_consent():
    check_consent(losing(), frozenset())


@pytest.mark.parametrize(
    "words", [("versions", "tags"), ("versioning", "tags"), ("versioning", "content"), ("all",)]
)
def test_consent_takes_dimensions_groups_and_all(words):
    check_consent(losing("versions", "tags"), parse_accepted(words))


@pytest.mark.parametrize("words", [(), ("tags",), ("temporal",), ("created_at", "extensions")])
def test_what_nobody_agreed_to_lose_is_named_with_the_flag(words):
    with pytest.raises(DecisionRequiredError, match="versions") as caught:
        check_consent(losing("versions", "tags"), parse_accepted(words))
    missing = {"versions", "tags"} - set(words)
    [remedy] = caught.value.remedies
    flag, _, rest = remedy.partition(" ")
    assert flag == "--accept-loss"
    assert set(rest.split(",")) == missing


def test_all_does_not_stand_for_a_decision():
    refused = Refused(RecordError("no user", code="unscoped"), remedies=('unscoped = "skip"',))
    counted = census(NOTHING, prepared=refused)
    made = report(counted)
    assert made.blocking
    assert line(made, Dimension.USER, blocking=True).records == 1
    with pytest.raises(DecisionRequiredError, match="decision") as caught:
        check_consent(made, parse_accepted(["all"]))
    assert 'unscoped = "skip"' in caught.value.remedies[0]


@pytest.mark.parametrize(
    ("code", "dimension"),
    [
        ("unscoped", Dimension.USER),
        ("undated", Dimension.CREATED_AT),
        ("too_large", Dimension.CONTENT),
        ("something_new", Dimension.CONTENT),
        (None, Dimension.CONTENT),
    ],
)
def test_every_open_decision_blocks_under_its_dimension(code, dimension):
    counted = census(NOTHING, prepared=Refused(RecordError("?", code=code), remedies=("do x",)))
    assert line(report(counted), dimension, blocking=True).remedy == "do x"


def test_records_skipped_by_decision_block_nothing():
    counted = census(NOTHING, prepared=Skipped("unscoped"))
    assert counted.skipped == {"unscoped": 1}
    assert not report(counted).blocking


def test_a_word_that_is_no_dimension_is_refused():
    with pytest.raises(ConfigError, match=r"'verions'.*versions"):
        parse_accepted(["verions"])


# -- envelopes ----------------------------------------------------------------------------------

SOURCE = StoreIdentity("old", "c1")


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.name], ids=lambda rule: rule.dimension.value)
def test_an_envelope_carries_what_the_target_takes_in_an_envelope_and_nothing_else(rule):
    levels = {other.dimension.value: (Level.NONE, Level.LOSSY) for other in RULES}
    levels[rule.dimension.value] = (Level.NONE, Level.ENVELOPE)
    envelope = EnvelopeBuilder(capabilities(**levels), SOURCE)(EVERYTHING)
    base = {"v": 1, "source": "old", "namespace": "c1", "source_id": "a"}
    assert envelope.keys() == base.keys() | {rule.name}
    assert base.items() <= envelope.items()
    assert envelope[rule.name] == rule.carried(EVERYTHING)


@pytest.mark.parametrize("level", [Level.NONE, Level.LOSSY, Level.NATIVE])
def test_a_target_without_envelopes_gets_none(level):
    levels = {rule.dimension.value: (Level.NONE, level) for rule in RULES}
    assert EnvelopeBuilder(capabilities(**levels), SOURCE)(EVERYTHING) == {}


def test_a_record_that_carries_nothing_for_it_gets_no_envelope():
    builder = EnvelopeBuilder(capabilities(tags=(Level.NONE, Level.ENVELOPE)), SOURCE)
    assert builder(NOTHING) == {}
    assert builder(EVERYTHING)["tags"] == ["x"]
