import json

import msgspec
import pytest

from memxfer.capabilities import Capabilities, Dimension, Level
from memxfer.gaps import RULES, EnvelopeBuilder
from memxfer.models import MemoryRecord, Scope, canonical_json
from memxfer.spi import StoreIdentity
from tests.unit.gaps.conftest import BARE, ENVELOPED, FULL, able

STORE = StoreIdentity("mem0-oss", "main")
HEAD = {"v": 1, "source": "mem0-oss", "namespace": "main", "source_id": "r1"}


def envelope(record, capabilities):
    return json.loads(canonical_json(EnvelopeBuilder(capabilities, STORE)(record)))


@pytest.mark.parametrize("dimension", ENVELOPED)
def test_an_envelope_holds_the_one_dimension_that_needs_it_and_nothing_else(dimension):
    name, value = ENVELOPED[dimension]

    assert envelope(FULL, able(**{dimension.value: Level.ENVELOPE})) == {**HEAD, name: value}


@pytest.mark.parametrize("level", [Level.NONE, Level.LOSSY, Level.NATIVE])
def test_other_levels_put_nothing_into_it(level):
    assert envelope(FULL, able(write=level)) == {}


def test_all_dimensions_travel_together():
    packed = envelope(FULL, able(write=Level.ENVELOPE))

    assert packed == {**HEAD, **dict(ENVELOPED.values())}


def test_a_record_that_carries_nothing_of_them_gets_no_envelope():
    assert envelope(BARE, able(tags=Level.ENVELOPE, versions=Level.ENVELOPE, inactive=Level.ENVELOPE)) == {}


def test_only_what_a_record_carries_is_in_it():
    record = MemoryRecord(id="r1", content="t", importance=0.0, tags=("x",))

    packed = envelope(record, able(write=Level.ENVELOPE))

    assert packed == {**HEAD, "scores": {"importance": 0.0}, "tags": ["x"]}


def test_content_and_vectors_are_never_in_it():
    assert envelope(FULL, able(content=Level.ENVELOPE, embeddings=Level.ENVELOPE)) == {}
    assert {rule.dimension for rule in RULES if not rule.name} == {Dimension.CONTENT, Dimension.EMBEDDINGS}


def test_a_target_that_declares_nothing_gets_none():
    assert envelope(FULL, Capabilities()) == {}


def test_two_envelopes_do_not_share_what_can_be_changed():
    build = EnvelopeBuilder(able(tags=Level.ENVELOPE), STORE)

    first = build(FULL)
    first["v"] = first["added"] = 99

    assert build(msgspec.structs.replace(FULL, id="r2")) == {**HEAD, "source_id": "r2", "tags": ["x"]}


def test_what_supersedes_a_memory_and_a_scopes_own_axes_travel_too() -> None:
    rules = {rule.dimension: rule for rule in RULES}
    record = MemoryRecord(id="a", content="x", superseded_by="b", scope=Scope(extra={"project": "p"}))

    assert rules[Dimension.INACTIVE].carried(record) == {"state": "active", "superseded_by": "b"}
    assert rules[Dimension.EXTENSIONS].carried(record) == {"scope": {"project": "p"}}
