"""Which requests a rule fires on, and what becomes of the answer."""

from __future__ import annotations

import httpx
import pytest
from pydantic import ValidationError

from memxfer.emulation import FaultAction, FaultPlan, FaultRule

KEY = {"authorization": "Bearer secret"}


def fired(match, calls):
    plan = FaultPlan([FaultRule.model_validate({"match": match, "action": {"status": 503}})])
    return [number for number, call in enumerate(calls, 1) if plan.draw(*call)[1] is not None]


SAME = [("POST", "/a/b")] * 10


@pytest.mark.parametrize(
    ("match", "numbers"),
    [
        ({}, list(range(1, 11))),
        ({"nth": 3}, [3]),
        ({"from_nth": 8}, [8, 9, 10]),
        ({"every": 4}, [4, 8]),
        ({"times": 2}, [1, 2]),
        ({"every": 2, "times": 3}, [2, 4, 6]),
        ({"method": "get"}, []),
        ({"method": "post", "path": "/a"}, list(range(1, 11))),
        ({"path": "/b"}, []),
        ({"path_regex": "/a/."}, list(range(1, 11))),
        ({"path_regex": "/a"}, []),
        ({"probability": 0.0}, []),
    ],
)
def test_a_rule_fires_when_every_condition_holds(match, numbers):
    assert fired(match, SAME) == numbers


def test_only_covered_requests_are_counted():
    assert fired({"method": "POST", "nth": 2}, [("POST", "/a"), ("GET", "/a"), ("POST", "/a")]) == [3]


def test_a_seed_makes_chance_repeatable():
    first = fired({"probability": 0.4, "seed": 7}, SAME * 10)
    assert first == fired({"probability": 0.4, "seed": 7}, SAME * 10)
    assert 20 < len(first) < 60
    assert first != fired({"probability": 0.4, "seed": 8}, SAME * 10)


def test_the_first_rule_that_is_due_decides_and_the_others_keep_their_shots():
    once = {"match": {"times": 1}, "action": {"status": 503}}
    plan = FaultPlan([FaultRule.model_validate({**once, "name": name}) for name in ("first", "second")])
    assert [plan.draw("GET", "/")[0] for _ in range(3)] == ["first", "second", ""]
    assert [one["fired"] for one in plan.report()] == [1, 1]


@pytest.mark.parametrize("action", [{"rows": ["null_ids"]}, {"cut": 1}, {"malformed": True}])
def test_changes_to_an_answer_need_one(action):
    with pytest.raises(ValidationError, match="after"):
        FaultAction.model_validate(action)


@pytest.fixture
def post(server):
    def send(**action):
        server.admin.inject({"action": action, "match": {"path": "/notes", "times": 1}})
        return httpx.post(f"{server.base_url}/notes", headers=KEY)

    return send


def stored(server):
    return server.admin.summary()["documents"]


def test_before_means_not_processed(server, post):
    answer = post(status=503)
    assert (answer.status_code, answer.json(), stored(server)) == (503, {"detail": "Injected fault"}, 0)


def test_after_means_committed(server, post):
    answer = post(when="after", status=502, headers={"X-Id": "7"}, body={"oops": 1})
    assert (answer.status_code, answer.json(), answer.headers["x-id"]) == (502, {"oops": 1}, "7")
    assert stored(server) == 1


@pytest.mark.parametrize("status", [201, 202])
def test_another_success_keeps_the_real_body(server, post, status):
    answer = post(when="after", status=status)
    assert (answer.status_code, len(answer.json()["results"])) == (status, 3)


def test_a_malformed_answer_is_complete_but_no_json(server, post):
    answer = post(when="after", malformed=True)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting"):
        answer.json()
    assert stored(server) == 1


def test_rows_can_be_duplicated(post):
    rows = post(when="after", rows=["duplicated"]).json()["results"]
    assert [row["id"] for row in rows] == [1, 1, 2, 2, 3, 3]


def test_rows_can_come_in_another_order(post):
    rows = post(when="after", rows=["reordered"]).json()["results"]
    ids = [row["id"] for row in rows]
    assert ids != [1, 2, 3]
    assert sorted(ids) == [1, 2, 3]


def test_failed_rows_can_lose_their_ids(post):
    rows = post(when="after", rows=["null_ids"]).json()["results"]
    assert [row["id"] for row in rows] == [1, None, 3]


def test_a_delay_waits_and_then_works(server, post, hands):
    assert post(delay_seconds=5).status_code == 200
    assert post(when="after", delay_seconds=7).status_code == 200
    assert (hands.waits, stored(server)) == ([5, 7], 2)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("integer", "2"),
        ("decimal", "1.500"),
        ("date", "Tue, 14 Nov 2023 22:13:22 GMT"),
        ("absent", None),
    ],
)
def test_retry_after_is_written_in_every_style(post, style, expected):
    answer = post(status=429, retry_after=style, retry_after_seconds=1.5)
    assert (answer.status_code, answer.headers.get("retry-after")) == (429, expected)


def test_a_preset_is_an_answer_by_name(post):
    answer = post(preset="rate_limited")
    assert (answer.status_code, answer.json()) == (429, {"detail": "Rate limit exceeded"})


@pytest.mark.parametrize(
    "rules",
    [
        {"action": {"status": 500}},
        [{"action": {"preset": "no such"}}],
        [{"action": {"status": 500, "typo": 1}}],
        [{"match": {"nth": 0}, "action": {}}],
    ],
)
def test_bad_rules_are_refused_and_the_old_ones_stay(server, rules):
    server.admin.inject({"name": "kept", "action": {"status": 500}})
    assert httpx.post(f"{server.base_url}/_emulator/faults", json=rules).status_code == 422
    assert [rule["name"] for rule in server.admin.faults()] == ["kept"]


def test_rules_do_not_touch_the_admin_api(server):
    server.admin.inject({"action": {"status": 500}})
    assert server.admin.faults()[0]["fired"] == 0
