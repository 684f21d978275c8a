"""Rows that are no memories, in a gap report: by reason, with numbers that add up."""

import pytest

from memxfer.capabilities import Dimension
from memxfer.errors import DecisionRequiredError
from memxfer.gaps import Verdict, check_consent, ignored_line, ignored_words, reason_words
from memxfer.spi import Ignored
from tests.unit.gaps.conftest import BARE, document


@pytest.fixture
def lines(census, report):
    """The lines about rows that were ignored, by what they say of the reason."""

    def found(*rows, **options):
        for row in rows:
            census.add_ignored(row)
        return [line for line in report(**options).dimensions if line.dimension == "ignored"]

    return found


def test_there_is_a_line_for_each_reason_with_three_ids_at_most(lines):
    rows = [Ignored("no_text", f"r{n}") for n in range(5)]
    marker = Ignored("marker", "m", harmless=True)

    lost, left = lines(*rows, Ignored("no_text"), marker)

    assert (lost.records, lost.samples, lost.verdict) == (6, ("r0", "r1", "r2"), Verdict.LOST)
    assert (
        lost.consequence == "6 rows of old are ignored: no text (no_text). Nothing of that is moved or kept."
    )
    assert lost.remedy == "--accept-loss ignored"
    assert (left.records, left.samples, left.verdict, left.remedy) == (1, ("m",), Verdict.LEFT_OUT, "")
    assert left.consequence == "1 row of old is ignored: markers of the backend (marker). Nothing is lost."


def test_one_row_that_may_be_a_loss_makes_its_reason_one(lines):
    [line] = lines(Ignored("marker", harmless=True), Ignored("marker"))

    assert (line.verdict, line.records) == (Verdict.LOST, 2)


def test_the_rows_of_a_report_add_up(census, report):
    census.add(BARE, document())
    census.filtered += 3
    census.add_unreadable("u")
    for row in (*[Ignored("marker")] * 2, *[Ignored("ended")] * 4):
        census.add_ignored(row)

    found = report()

    assert found.ignored == {"ended": 4, "marker": 2}
    assert list(found.ignored) == ["ended", "marker"]
    assert found.rows == found.scanned + found.filtered + found.unreadable + sum(found.ignored.values()) == 11


def test_what_a_sample_says_of_all_rows_counts_those_that_are_ignored(census, report, lines):
    for _ in range(10):
        census.add(BARE, document())

    [line] = lines(*[Ignored("no_text")] * 30, total=400, is_sample=True)

    assert line.estimate == 300
    ids = next(
        line for line in report(total=400, is_sample=True).dimensions if line.dimension == Dimension.IDS
    )
    assert ids.estimate == 100


@pytest.mark.parametrize(("words", "is_agreed"), [((), False), (("content",), False), (("ignored",), True)])
def test_a_move_that_ignores_rows_begins_after_consent_to_that_alone(census, report, words, is_agreed):
    census.add_ignored(Ignored("no_text"))
    census.add_ignored(Ignored("marker", harmless=True))

    if is_agreed:
        check_consent(report(), frozenset(words))
        return
    with pytest.raises(DecisionRequiredError, match="1 row of old is ignored: no text") as caught:
        check_consent(report(), frozenset(words))
    assert caught.value.remedies == ("--accept-loss ignored",)


def test_harmless_rows_need_no_consent(census, report):
    census.add_ignored(Ignored("marker", harmless=True))

    check_consent(report(), frozenset())


def test_a_reason_of_a_providers_own_is_shown_as_its_words():
    assert reason_words("sealed_by_vault") == "sealed by vault"
    assert (
        ignored_words({"no_text": 1_234, "sealed_by_vault": 2}) == "1,236 (no text 1,234; sealed by vault 2)"
    )
    assert "sealed by vault" in ignored_line("sealed_by_vault", 2, source="old", harmless=True).consequence
