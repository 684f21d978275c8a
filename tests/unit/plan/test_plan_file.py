"""Plan files: readable, without secrets, and of no use once edited."""

import json

import pytest

from memxfer.errors import ConfigError
from memxfer.plan import Forecast, JobPlan, PlanEnd

PLAN = JobPlan(
    created_at="2026-01-01T00:00:00Z",
    source=PlanEnd(connection="old", provider="mem0-oss", namespace="app"),
    target=PlanEnd(connection="new", provider="synap", namespace="inst"),
    document_id="mx:{provider}:{namespace}:{id}",
    decisions={"customer_id": "acme"},
    accepted=("versions",),
    forecast=Forecast(listed=3, documents=2, skipped={"unscoped": 1}),
)


def test_a_plan_file_reads_back_as_the_plan():
    assert JobPlan.from_file(PLAN.to_file(), "p.json") == PLAN


def test_a_plan_file_is_json_that_says_what_it_is():
    data = json.loads(PLAN.to_file())

    assert data["memxfer"] == "plan"
    assert data["fingerprint"] == PLAN.fingerprint()
    assert "job" not in data


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data["accepted"].append("all"),
        lambda data: data["decisions"].update(customer_id="other"),
        lambda data: data["forecast"].update(documents=3),
        lambda data: data["target"].update(namespace="elsewhere"),
        lambda data: data.update(fingerprint="0" * 32),
        lambda data: data.update(seal=None),
        lambda data: data.pop("seal"),
    ],
)
def test_an_edited_plan_is_refused(edit):
    data = json.loads(PLAN.to_file())
    edit(data)

    with pytest.raises(ConfigError, match=r"p\.json was changed after it was made"):
        JobPlan.from_file(json.dumps(data), "p.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"memxfer": "plan"}',
        '{"memxfer": "plan", "format": 9}',
        b"\xff\xfe",
        "[" * 9_999,
    ],
    ids=range(8),
)
def test_what_is_no_plan_is_refused_with_the_remedy(text):
    with pytest.raises(ConfigError, match=r"p\.json is not a plan.*memxfer plan"):
        JobPlan.from_file(text, "p.json")


def test_the_fingerprint_covers_what_moves_and_not_what_was_agreed():
    same = PLAN.model_copy(update={"accepted": (), "forecast": None, "sample": 5, "residue": "off"})
    other = PLAN.model_copy(update={"where": "user=ann"})

    assert same.fingerprint() == PLAN.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_plan_that_an_editor_or_shell_wrote_with_a_byte_order_mark_is_read(encoding):
    text = PLAN.to_file()
    assert JobPlan.from_file(text.encode(encoding), "p.json") == JobPlan.from_file(text, "p.json")
