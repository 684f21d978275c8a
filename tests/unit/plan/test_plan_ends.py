import json

import pytest

from memxfer.errors import FingerprintMismatchError, LedgerError
from memxfer.plan import JobPlan, PlanEnd
from memxfer.spi import StoreIdentity


def plan(**changes):
    fields = {
        "job": "j1",
        "created_at": "2026-01-01T00:00:00Z",
        "source": PlanEnd.of("old", StoreIdentity("mem0-oss", "main")),
        "target": PlanEnd.of("new", StoreIdentity("synap", "inst_1")),
        "document_id": "{id}",
    }
    return JobPlan(**{**fields, **changes})


def test_source_and_target_are_not_interchangeable():
    mine = plan()

    assert plan(source=mine.target, target=mine.source).fingerprint() != mine.fingerprint()


def test_everything_that_differs_is_named_with_before_and_after():
    with pytest.raises(FingerprintMismatchError) as caught:
        plan().check_same(plan(where="user=a", document_id="{user}"))

    assert "(where: was '', is 'user=a'; document_id: was '{id}', is '{user}')" in str(caught.value)


def test_an_extra_field_of_this_version_is_damage_and_of_the_next_a_newer_plan():
    data = {**json.loads(plan().model_dump_json()), "a_new_field": 1}

    with pytest.raises(LedgerError, match=r"cannot be read: plan.json is damaged"):
        JobPlan.read(json.dumps(data), "j1")
    with pytest.raises(LedgerError, match="written by another version of memxfer"):
        JobPlan.read(json.dumps({**data, "format": 2}), "j1")


def test_a_plan_names_connections_and_stores_and_has_no_place_for_more():
    assert set(JobPlan.model_fields) == {
        "format",
        "job",
        "created_at",
        "source",
        "target",
        "where",
        "document_id",
        "identity",
        "decisions",
        "sample",
        "accepted",
        "residue",
        "losses",
        "report",
        "forecast",
    }
    assert set(PlanEnd.model_fields) == {"connection", "provider", "namespace", "place"}
