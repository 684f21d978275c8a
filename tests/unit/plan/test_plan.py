import json

import pytest

from memxfer.errors import FingerprintMismatchError, LedgerError
from memxfer.plan import JobPlan, PlanEnd
from memxfer.spi import StoreIdentity


def plan(**changes):
    values = {
        "job": "j1",
        "created_at": "2026-01-01T00:00:00Z",
        "source": PlanEnd.of("old", StoreIdentity("mem0-oss", "c1")),
        "target": PlanEnd.of("new", StoreIdentity("synap", "i1")),
        "document_id": "{id}",
    }
    return JobPlan(**{**values, **changes})


def test_a_plan_reads_back_as_it_was_written():
    assert JobPlan.read(plan(sample=3, accepted=("tags",)).model_dump_json(indent=2), "j1") == plan(
        sample=3, accepted=("tags",)
    )


@pytest.mark.parametrize(
    "same",
    [
        {"job": "j2"},
        {"created_at": "2030-01-01T00:00:00Z"},
        {"sample": 5},
        {"accepted": ("all",)},
        {"source": PlanEnd.of("renamed", StoreIdentity("mem0-oss", "c1"))},
    ],
)
def test_names_samples_and_consent_may_change(same):
    plan().check_same(plan(**same))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"source": PlanEnd.of("old", StoreIdentity("mem0-oss", "c2"))}, "source"),
        ({"target": PlanEnd.of("new", StoreIdentity("memory", "i1"))}, "target"),
        ({"where": "user=bob"}, "where"),
        ({"document_id": "x-{id}"}, "document_id"),
    ],
)
def test_another_move_is_refused_and_the_difference_named(other, told):
    with pytest.raises(FingerprintMismatchError, match=told) as caught:
        plan().check_same(plan(**other))
    unchanged = {"source", "target", "where", "document_id"} - {told}
    assert not any(f"{name}: was" in str(caught.value) for name in unchanged)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", b"\xff\xfe", '{"job": 3}', plan().model_dump_json().replace('"where"', '"what"')],
)
def test_a_plan_that_cannot_be_read_is_a_ledger_error(text):
    with pytest.raises(LedgerError, match="plan of job j1 cannot be read"):
        JobPlan.read(text, "j1")


def test_a_plan_of_another_version_is_refused_as_such():
    changed = {**json.loads(plan().model_dump_json()), "format": 2}
    with pytest.raises(LedgerError, match="another version"):
        JobPlan.read(json.dumps(changed), "j1")


# -- stores of one name ---------------------------------------------------------------------------


def at(place, target=""):
    return plan(
        source=PlanEnd.of("old", StoreIdentity("mem0-oss", "c1", place)),
        target=PlanEnd.of("new", StoreIdentity("graphiti", "g.kuzu", target)),
    )


def test_another_store_of_the_same_name_is_refused_with_both_places_and_what_to_do():
    with pytest.raises(FingerprintMismatchError) as caught:
        at("/a/db#c1", "/t").check_same(at("/b/db#c1", "/t"))
    assert "the source was at /a/db#c1 and is at /b/db#c1" in str(caught.value)
    assert "the target was" not in str(caught.value)
    assert "`memxfer resume j1 --moved`" in str(caught.value)
    assert at("/a", "/t").fingerprint() != at("/b", "/t").fingerprint()


@pytest.mark.parametrize(("before", "now"), [("", "/b"), ("/b", ""), ("", ""), ("/b", "/b")])
def test_a_plan_that_knows_no_place_fits_any(before, now):
    at(before, "/t").check_same(at(now, "/t"))
    at("/s", before).check_same(at("/s", now))


def test_another_name_is_another_move_wherever_it_is():
    other = plan(source=PlanEnd.of("old", StoreIdentity("mem0-oss", "c2", "/a")))
    with pytest.raises(FingerprintMismatchError, match="for another move"):
        at("/a").check_same(other)


def test_a_plan_of_before_there_were_places_has_its_fingerprint_still():
    text = json.loads(at("/a", "/t").model_dump_json())
    del text["source"]["place"], text["target"]["place"]
    old = JobPlan.read(json.dumps(text), "j1")
    assert old == at("", "")
    assert old.moved()["source"] == ["mem0-oss", "c1"]
    assert old.fingerprint() == at("/a", "/t").anywhere().fingerprint()
    assert old.placed_as(at("/a", "/t")) == at("/a", "/t")


def test_a_plan_file_says_nothing_of_where_stores_lie():
    text = at("/home/somebody/db", "/t").to_file()
    assert "/home/somebody" not in text
    assert JobPlan.from_file(text, "p.json") == at("", "").model_copy(update={"job": ""})
