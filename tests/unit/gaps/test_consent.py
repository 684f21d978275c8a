import pytest

from memxfer.capabilities import Dimension, DimensionGroup, Level
from memxfer.errors import ConfigError, DecisionRequiredError
from memxfer.gaps import check_consent, parse_accepted
from tests.unit.gaps.conftest import BARE, FULL, able, document, refused

LOSSES = {"versions": Level.NONE, "tags": Level.NONE, "validity": Level.NONE, "kind": Level.LOSSY}


def check(found, *words):
    check_consent(found, parse_accepted(words))


@pytest.fixture
def losing(census, report):
    census.add(FULL, document())
    return report(target=able(**LOSSES))


def test_every_dimension_every_group_and_all_are_words_of_consent():
    words = [*Dimension, *DimensionGroup, "ignored", "all"]

    assert parse_accepted([str(word) for word in words]) == {str(word) for word in words}
    assert parse_accepted([]) == frozenset()


@pytest.mark.parametrize("word", ["", "ALL", "colour", "tags,kind", " tags", "*"])
def test_another_word_is_refused_with_the_known_ones(word):
    with pytest.raises(
        ConfigError, match=f"--accept-loss: no dimension or group {word!r}; known: all, ".replace("*", r"\*")
    ) as caught:
        parse_accepted(["tags", word])

    for known in (*Dimension, *DimensionGroup):
        assert str(known) in str(caught.value)


def test_losses_nobody_agreed_to_stop_a_move_with_the_words_that_would_do(losing):
    with pytest.raises(DecisionRequiredError) as caught:
        check(losing)

    text = str(caught.value)
    assert caught.value.remedies == ("--accept-loss versions,validity,tags",)
    assert text.splitlines()[0] == "this move would lose something that nobody has agreed to lose:"
    assert [line.split(":")[0] for line in text.splitlines()[1:]] == ["  versions", "  validity", "  tags"]
    check(losing, *caught.value.remedies[0].removeprefix("--accept-loss ").split(","))


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["versions"], "validity,tags"),
        (["versioning"], "validity,tags"),
        (["temporal"], "versions,tags"),
        (["validity", "versions"], "tags"),
        (["context", "identity", "kind"], "versions,validity,tags"),
    ],
)
def test_consent_covers_its_dimension_or_group_and_no_more(losing, words, left):
    with pytest.raises(DecisionRequiredError) as caught:
        check(losing, *words)

    assert caught.value.remedies == (f"--accept-loss {left}",)


@pytest.mark.parametrize("words", [["all"], ["versioning", "temporal", "tags"]])
def test_full_consent_lets_a_move_begin(losing, words):
    check(losing, *words)


def test_approximations_need_no_consent(census, report):
    census.add(FULL, document("nul_replaced"))
    census.add(BARE, refused("odd"))
    census.add_unreadable(None)

    check(report(target=able(write=Level.LOSSY)))
    check(report(target=able(write=Level.NATIVE)))


def test_what_no_record_has_needs_no_consent(census, report):
    census.add(BARE, document())

    check(report(target=able(**LOSSES)))


def test_a_missing_decision_is_never_covered_by_consent(census, report):
    census.add(FULL, document())
    census.add(BARE, refused("unscoped", 'unscoped = "skip"', 'unscoped = "customer"'))
    found = report(target=able(**LOSSES))

    for words in ([], ["all"], ["user"], ["identity"], ["all", *map(str, Dimension)]):
        with pytest.raises(
            DecisionRequiredError, match="a decision is needed before anything is written"
        ) as caught:
            check(found, *words)
        decision, *consent = caught.value.remedies
        assert decision == 'in [connections.new]: unscoped = "skip" | unscoped = "customer"'
        assert not consent or "all" not in words


def test_everything_that_is_missing_is_told_at_once_each_with_its_remedy(census, report):
    census.add(FULL, document())
    census.add(BARE, refused("unscoped", 'unscoped = "skip"'))
    census.add(BARE, refused("too_large", 'oversize = "split"'))

    with pytest.raises(DecisionRequiredError) as caught:
        check(report(target=able(**LOSSES)))

    *decisions, consent = caught.value.remedies
    assert decisions == [
        'in [connections.new]: unscoped = "skip"',
        'in [connections.new]: oversize = "split"',
    ]
    assert consent == "--accept-loss versions,validity,tags"
    for name in ("versions", "validity", "tags"):
        assert f"  {name}: " in str(caught.value)


def test_all_unknown_words_of_a_consent_are_told_at_once():
    with pytest.raises(ConfigError, match="no dimension or group 'verions', 'tagz'; known: all, "):
        parse_accepted(["verions", "tags", "tagz"])


def test_a_dimension_that_is_lost_twice_is_asked_for_once(census, report):
    census.add(FULL, document("envelope_dropped"))

    with pytest.raises(DecisionRequiredError) as caught:
        check(report(target=able(extensions=Level.NONE)))

    assert caught.value.remedies == ("--accept-loss extensions",)


def test_without_a_residue_what_is_only_approximated_needs_consent_too(losing):
    words = parse_accepted(["versions", "tags", "validity"])

    check_consent(losing, words)
    with pytest.raises(DecisionRequiredError) as caught:
        check_consent(losing, words, keeps_originals=False)

    assert caught.value.remedies == ("--accept-loss kind",)
    check_consent(losing, parse_accepted(["all"]), keeps_originals=False)
