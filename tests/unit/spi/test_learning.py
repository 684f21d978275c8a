import pytest
from pydantic import ValidationError

from memxfer.capabilities import Capabilities, Channel, ClientKey, Dimension, Evidence, Level, Writing
from memxfer.spi import (
    ConnectionConfig,
    Finding,
    Role,
    SupportsDelete,
    SupportsGet,
    SupportsLookup,
)
from memxfer.spi.learning import applied, declared_word, weaker
from memxfer_memory import MemoryConfig, MemoryReferenceProvider

from .conftest import Target

BOTH = Channel(read=Level.NATIVE, write=Level.NATIVE)


def capabilities(client_key=ClientKey.UPSERT):
    return Capabilities(
        dimensions={Dimension.TAGS: BOTH, Dimension.KIND: Channel(write=Level.LOSSY)},
        writing=Writing(client_key=client_key, backdates="microsecond", rollback="id"),
    )


def finding(path, found, note=""):
    return Finding(path=path, found=found, note=note)


# -- claims -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "declared", "found", "result"),
    [
        ("writing.client_key", "upsert", "append", "append"),
        ("writing.client_key", "upsert", "dedupe", "dedupe"),
        ("writing.client_key", "append", "upsert", "append"),
        ("writing.client_key", "reject", "dedupe", "reject"),
        ("writing.client_key", "none", "append", "none"),
        *(("writing.client_key", "unknown", seen, seen) for seen in ("upsert", "dedupe", "reject", "append")),
        ("writing.acknowledges", "sync", "async", "async"),
        ("writing.acknowledges", "async", "sync", "async"),
        ("writing.backdates", "microsecond", "day", "day"),
        ("writing.rollback", "id", "none", "none"),
        ("dimensions.tags.write", "native", "lossy", "lossy"),
        ("dimensions.tags.write", "lossy", "native", "lossy"),
        ("operations.lookup", "yes", "no", "no"),
    ],
)
def test_the_more_careful_word_wins_and_only_unknown_gives_way(path, declared, found, result):
    assert weaker(path, declared, found) == result


@pytest.mark.parametrize(
    ("path", "found"),
    [("writing.client_key", "unknown"), ("writing.rollback", "yes"), ("dimensions.tags.write", "gone")],
)
def test_a_finding_says_nothing_that_means_nothing(path, found):
    with pytest.raises(ValidationError, match="cannot be"):
        finding(path, found)


def test_claims_are_lowered_to_what_was_found_and_marked():
    found = applied(
        capabilities(),
        [
            finding("writing.client_key", "append"),
            finding("writing.reports_ids", "false"),
            finding("writing.backdates", "second"),
            finding("dimensions.tags.write", "none", "it was gone"),
        ],
    )
    writing = found.writing
    assert (writing.client_key, writing.reports_ids, writing.backdates) == (ClientKey.APPEND, False, "second")
    assert found.channel(Dimension.TAGS) == Channel(read=Level.NATIVE, note="it was gone")
    assert set(found.evidence.values()) == {Evidence.PROBED}
    assert set(found.evidence) == {
        "writing.client_key",
        "writing.reports_ids",
        "writing.backdates",
        "dimensions.tags.write",
    }
    assert found.channel(Dimension.KIND) == capabilities().channel(Dimension.KIND)


def test_a_confirmed_claim_stays_and_is_marked():
    found = applied(capabilities(), [finding("dimensions.kind.write", "native")])
    assert found.channel(Dimension.KIND).write is Level.LOSSY
    assert found.evidence == {"dimensions.kind.write": "probed"}


def test_what_is_not_claimed_or_not_known_is_left_alone():
    strange = [
        finding("dimensions.app.write", "native"),
        finding("later.claim", "whatever"),
        finding("operations.lookup", "no"),
    ]
    assert applied(capabilities(), strange) == capabilities()
    assert applied(Capabilities(), [finding("writing.client_key", "append")]) == Capabilities()


def test_evidence_of_the_provider_itself_is_kept():
    known = capabilities().model_copy(update={"evidence": {"dimensions.versions": Evidence.OBSERVED}})
    found = applied(known, [finding("writing.verbatim", "true")])
    assert found.evidence == {"dimensions.versions": "observed", "writing.verbatim": "probed"}


def test_a_claim_is_told_in_the_words_of_findings():
    known = capabilities()
    paths = ("writing.client_key", "writing.verbatim", "dimensions.kind.write", "dimensions.app.write", "a.b")
    assert [declared_word(known, path) for path in paths] == ["upsert", "true", "lossy", None, None]


# -- providers --------------------------------------------------------------------------------


class Counting(Target):
    """Counts how often it is asked, and declares more once it is connected."""

    asked = 0

    def _capabilities(self):
        self.asked += 1
        return Capabilities(writing=Writing(max_batch=7 if self.role else 1))


@pytest.fixture
def counting():
    return Counting(ConnectionConfig(provider="tiny"))


@pytest.fixture
def memory():
    return MemoryReferenceProvider(MemoryConfig(provider="memory", store="learning"))


def test_capabilities_are_put_together_once(counting):
    assert counting.capabilities() is counting.capabilities()
    assert counting.asked == 1


@pytest.mark.anyio
async def test_capabilities_are_put_together_anew_where_they_may_have_changed(counting):
    before = counting.capabilities()
    await counting.connect(Role.TARGET)
    assert (before.writing.max_batch, counting.capabilities().writing.max_batch) == (1, 7)
    await counting.aclose()
    assert counting.capabilities() == before


@pytest.mark.anyio
async def test_what_was_learned_lasts_through_connect_and_is_replaced_as_a_whole(memory):
    memory.learn([finding("writing.client_key", "append")])
    await memory.connect(Role.TARGET)
    assert memory.capabilities().writing.client_key is ClientKey.APPEND
    memory.learn([finding("writing.acknowledges", "async")])
    assert memory.capabilities().writing.client_key is ClientKey.UPSERT
    assert memory.capabilities().writing.acknowledges == "async"
    memory.learn([])
    assert memory.capabilities().evidence == {}


@pytest.mark.parametrize(
    ("name", "protocol"), [("lookup", SupportsLookup), ("get", SupportsGet), ("delete", SupportsDelete)]
)
@pytest.mark.anyio
async def test_an_operation_that_does_not_work_is_taken_away_from_this_provider_alone(memory, name, protocol):
    other = MemoryReferenceProvider(memory.config)
    memory.learn([finding(f"operations.{name}", "no")])
    assert not isinstance(memory, protocol)
    assert isinstance(memory, MemoryReferenceProvider)
    assert isinstance(other, protocol)
    assert (memory.is_source(), memory.is_target(), memory.name) == (True, True, "memory")
    await memory.connect(Role.TARGET)
    memory.learn([])
    assert isinstance(memory, protocol)
    assert type(memory) is MemoryReferenceProvider
