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
