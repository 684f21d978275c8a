"""What was agreed to, asked for single records: the same rules as the report of a scan."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.capabilities import Dimension, Level
from memxfer.gaps import Agreement, Census, End, build_report, missing_consent, parse_accepted
from memxfer.gaps.agreement import recounted
from memxfer.spi import Ignored
from tests.unit.gaps.conftest import BARE, FULL, NOW, able, document, refused, skipped


def agreement(target, *accepted, keeps_originals=True, widening=False):
    return Agreement(
        End("old", able()),
        End("new", target, allows_widening=widening),
        accepted=parse_accepted(accepted),
        keeps_originals=keeps_originals,
        now=NOW,
    )


@pytest.mark.parametrize(
    ("accepted", "is_agreed"),
    [
        ((), False),
        (("tags",), True),
        (("content",), True),
        (("all",), True),
        (("versions", "identity"), False),
    ],
)
def test_a_loss_is_covered_by_its_dimension_its_group_or_all(accepted, is_agreed):
    held = agreement(able(tags=Level.NONE), *accepted)

    losses = held.judge(FULL, document())

    assert (losses is not None) is is_agreed
    assert held.is_exceeded is not is_agreed
    assert [line.dimension for line in held.beyond()] == ([] if is_agreed else ["tags"])


def test_a_record_that_loses_nothing_passes_whatever_was_agreed_to():
    held = agreement(able(write=Level.NONE, ids=Level.NATIVE, content=Level.NATIVE))

    assert held.judge(BARE, document()) == ()


@pytest.mark.parametrize(
    ("changes", "is_agreed"), [(("cut",), False), (("blurred",), True), (("new",), True)]
)
def test_what_the_provider_alters_of_one_document_needs_consent_where_it_is_lost(changes, is_agreed):
    held = agreement(able())
    assert held.judge(BARE, document()) == ()

    assert (held.judge(BARE, document(*changes)) is not None) is is_agreed


def test_fields_of_the_source_are_covered_by_their_group_however_they_are_named():
    held = agreement(able(extensions=Level.NONE), "extensions")
    refusing = agreement(able(extensions=Level.NONE))

    for name in ("x", "y"):
        record = msgspec.structs.replace(BARE, extensions={"mem0": {name: 1}})
        assert held.judge(record, document()) is not None
        assert refusing.judge(record, document()) is None


def test_without_originals_an_approximation_needs_consent_too_also_one_that_a_check_finds():
    coarse = able()
    coarse = coarse.model_copy(update={"writing": coarse.writing.model_copy(update={"backdates": "day"})})
    dated = msgspec.structs.replace(BARE, created_at=NOW)
    fine = msgspec.structs.replace(BARE, created_at=NOW.replace(hour=3))

    assert agreement(coarse).judge(fine, document()) is not None
    strict = agreement(coarse, keeps_originals=False)
    assert strict.judge(dated, document()) is not None
    assert strict.judge(fine, document()) is None
    assert agreement(coarse, "created_at", keeps_originals=False).judge(fine, document()) is not None


@pytest.mark.parametrize("accepted", [(), ("all",)])
def test_a_missing_decision_is_never_agreed_to(accepted):
    held = agreement(able(), *accepted)

    assert held.judge(BARE, refused("unscoped", 'unscoped = "skip"')) is None
    [line] = held.beyond()
    assert (line.dimension, line.blocking, line.remedy) == ("user", True, 'unscoped = "skip"')


def test_what_never_arrives_needs_no_consent():
    held = agreement(able(write=Level.NONE))

    assert held.judge(FULL, refused("empty")) == ()
    assert held.judge(FULL, skipped()) == ()


@pytest.mark.parametrize(
    ("accepted", "is_agreed"),
    [((), False), (("content",), False), (("versions",), False), (("ignored",), True), (("all",), True)],
)
def test_rows_are_left_out_after_consent_to_that_alone_and_harmless_ones_without(accepted, is_agreed):
    held = agreement(able(), *accepted)

    assert held.lets_out([Ignored("marker", harmless=True)])
    assert not held.is_exceeded
    assert held.lets_out([Ignored("no_text", "a"), Ignored("marker", "b", harmless=True)]) is is_agreed
    assert held.is_exceeded is not is_agreed
    assert [(line.dimension, line.records, line.samples) for line in held.beyond()] == (
        [] if is_agreed else [("ignored", 1, ("a",))]
    )


def test_a_line_is_told_with_the_count_of_the_move():
    held = agreement(able(tags=Level.NONE), "tags")
    [name] = held.judge(FULL, document())

    line = recounted(held.lines[name], 1_234)

    assert (line.records, line.consequence.split(";")[0]) == (1_234, "1,234 memories have tags")


levels = st.dictionaries(
    st.sampled_from([d.value for d in Dimension if d.value not in ("packaging", "search")]),
    st.sampled_from(Level),
    max_size=6,
)
accepting = st.lists(st.sampled_from([*map(str, Dimension), "content", "identity", "temporal"]), max_size=3)


@given(
    levels,
    accepting,
    st.booleans(),
    st.sampled_from([FULL, BARE]),
    st.sampled_from([(), ("cut",), ("blurred",)]),
)
def test_a_record_is_judged_as_a_scan_of_it_alone_would_be(made, accepted, keeps, record, changes):
    target = able(**made)
    census = Census(target, now=NOW)
    census.add(record, document(*changes))
    report = build_report(
        census, source=End("old", able()), target=End("new", target), total=1, keeps_originals=keeps
    )
    missing = missing_consent(report, frozenset(accepted), keeps_originals=keeps)
    census.crossings.close()

    judged = agreement(target, *accepted, keeps_originals=keeps).judge(record, document(*changes))

    assert (judged is None) is bool(missing)
