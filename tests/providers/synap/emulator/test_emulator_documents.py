"""The Synap emulator's front door: keys, refusals, documents row by row."""

from __future__ import annotations

import uuid

import httpx
import pytest

from memxfer_synap.emulator import EMULATOR_API_KEY
from tests.providers.synap.emulator.conftest import BATCH, CREATE, OWNER, doc, send, status, stored

# --- keys and account ---


def test_whoami_names_client_instance_and_isolation(api, server):
    me = api.get("/api/v1/auth/whoami").json()
    assert me["user_context_isolation"] == "strict"
    assert me["instance_id"].startswith("inst_")
    assert len(me["instance_id"]) == 21
    server.admin.configure(isolation="equals_customer")
    assert api.get("/api/v1/auth/whoami").json() == {**me, "user_context_isolation": "equals_customer"}


@pytest.mark.parametrize("header", ["", "Bearer wrong", EMULATOR_API_KEY, f"Basic {EMULATOR_API_KEY}"])
def test_without_a_known_key_nothing_is_answered(api, header):
    answer = api.get("/api/v1/auth/whoami", headers={"authorization": header})
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid or missing API key"})


def test_another_instances_header_is_forbidden(api):
    headers = {"x-instance-id": "inst_0000000000000000"}
    assert api.get("/api/v1/auth/whoami", headers=headers).status_code == 403


def test_keys_are_instances_that_do_not_see_each_other(api, server):
    keys = [{"key": EMULATOR_API_KEY}, {"key": "second", "isolation": "equals_customer"}]
    server.admin.configure(keys=keys)
    [row] = send(api, doc())["results"]
    second = {"authorization": "Bearer second"}
    assert (
        api.get("/api/v1/auth/whoami", headers=second).json()["user_context_isolation"] == "equals_customer"
    )
    assert api.get(f"/api/v1/memories/status/{row['ingestion_id']}", headers=second).status_code == 404
    mine = doc(customer_id=None)
    assert api.post(BATCH, json={"documents": [mine]}, headers=second).json()["succeeded"] == 1
    assert server.admin.summary()["documents"] == 2


def test_a_key_can_be_revoked_while_running(api, server):
    rule = {"match": {"from_nth": 2}, "action": {"preset": "key_revoked"}}
    server.admin.inject(rule)
    assert [api.get("/api/v1/auth/whoami").status_code for _ in range(3)] == [200, 401, 401]


def test_health_needs_no_key_and_owns_up(server):
    answer = httpx.get(f"{server.base_url}/health")
    assert (answer.status_code, answer.json()["emulator"]) == (
        200,
        "memxfer synap emulator, built from public documentation",
    )


def test_the_unprefixed_memory_routes_do_not_exist(api):
    answer = api.post("/v1/memories/batch", json={"documents": [doc()]})
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_telemetry_is_swallowed_and_counted(api, server):
    assert api.post("/v1/telemetry/batch", json={"events": [{}, {}]}).status_code == 202
    assert server.admin.summary()["telemetry_events"] == 2


def test_credits_run_out_before_anything_is_stored(api, server):
    server.admin.configure(credits=3)
    send(api, doc("a"), doc("b"))
    answer = api.post(BATCH, json={"documents": [doc("c"), doc("d")]})
    assert answer.status_code == 402
    assert answer.json()["detail"]["balance_credits"] == 1
    assert answer.json()["detail"]["minimum_required_credits"] == 2
    assert sorted(stored(server)) == ["a", "b"]
    assert api.get("/v1/credits/balance").json()["balance_credits"] == 1
    assert api.get("/v1/credits/ledger").json()["entries"][0]["delta"] == -2
    estimate = api.post("/v1/credits/estimate", json={"metric_type": "documents", "units": 5})
    assert estimate.json() == {"credits_estimate": 5}


@pytest.mark.parametrize(
    ("preset", "status_code", "reason"),
    [
        ("trial_limit_reached", 429, "trial_limit_reached"),
        ("subscription_inactive", 429, "subscription_inactive"),
        ("insufficient_credits", 402, "insufficient_credits"),
    ],
)
def test_credit_stops_say_why(api, server, preset, status_code, reason):
    server.admin.inject({"action": {"preset": preset}})
    answer = api.post(BATCH, json={"documents": [doc()]})
    assert (answer.status_code, answer.json()["detail"]["reason"]) == (status_code, reason)


def test_a_new_instance_refuses_writes_for_a_while(api, server, clock):
    server.admin.configure(not_ready_seconds=400)
    answer = api.post(BATCH, json={"documents": [doc()]})
    assert (answer.status_code, answer.headers["retry-after"]) == (409, "300")
    assert answer.json()["error"] == answer.json()["detail"]["code"] == "instance_not_ready"
    assert api.get("/api/v1/auth/whoami").status_code == 200
    clock.now += 399.5
    server.admin.configure(latency_seconds=0)
    assert api.post(BATCH, json={"documents": [doc()]}).headers["retry-after"] == "1"
    clock.now += 0.5
    assert send(api, doc())["succeeded"] == 1


# --- documents ---


def test_a_batch_answers_row_by_row_in_order(api, server):
    body = send(api, *(doc(f"d{number}") for number in range(100)))
    assert (body["total"], body["succeeded"], body["failed"]) == (100, 100, 0)
    assert [row["document_id"] for row in body["results"]] == [f"d{number}" for number in range(100)]
    assert len({str(uuid.UUID(row["ingestion_id"])) for row in body["results"]}) == 100
    assert {row["status"] for row in body["results"]} == {"queued"}
    assert body["results"][0]["queued_at"].endswith("+00:00")
    assert server.admin.summary()["documents"] == 100


@pytest.mark.parametrize("count", [0, 101])
def test_a_batch_has_1_to_100_documents(api, server, count):
    answer = api.post(BATCH, json={"documents": [doc(f"d{number}") for number in range(count)]})
    assert (answer.status_code, server.admin.summary()["documents"]) == (422, 0)


BAD = [
    (doc("bad", text=""), 400, "empty"),
    (doc("bad", text=" \n"), 400, "empty"),
    (doc("bad", text={}), 400, "empty"),
    (doc("bad", text="x" * 100_001), 413, "larger"),
    (doc("bad", text="é" * 50_001), 413, "larger"),
    (doc("bad", text="a\x00b"), 422, "NUL"),
    (doc("bad", metadata={"deep": [{"a": "\x00"}]}), 422, "NUL"),
    (doc("bad", document_type="note"), 422, "document_type"),
    (doc("bad", mode="slow"), 422, "mode"),
    (doc("bad", document_created_at="yesterday"), 422, "ISO 8601"),
    (doc("bad", customer_id=None), 400, "customer_id is required"),
    (doc("bad", user_id=""), 400, "non-empty"),
    (doc("bad", scope={"customer": "c1"}), 400, "nested"),
]


@pytest.mark.parametrize(("bad", "code", "message"), BAD)
def test_a_bad_document_costs_its_row_only(api, server, bad, code, message):
    body = send(api, doc("good"), bad, doc("better"))
    assert (body["succeeded"], body["failed"]) == (2, 1)
    row = body["results"][1]
    assert (row["document_id"], row["status"]) == ("bad", "failed")
    assert message in row["error_message"]
    assert sorted(stored(server)) == ["better", "good"]


@pytest.mark.parametrize(("bad", "code", "message"), BAD)
def test_a_bad_document_alone_is_an_error(api, server, bad, code, message):
    answer = api.post(CREATE, json=bad)
    assert answer.status_code == code
    assert message in answer.json()["detail"]
    assert server.admin.summary()["documents"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"document_created_at": "2024-02-29T12:00:00Z"},
        {"document_created_at": "2024-02-29T12:00:00+02:00"},
        {"document_created_at": "2024-02-29T12:00:00"},
        {"text": r"a literal \u0000 is text", "mode": "fast"},
        {"text": "x" * 100_000},
        {"text": {"turns": ["a", "b"]}, "priority": "BOOTSTRAP"},
    ],
)
def test_what_synap_takes_is_taken(api, fields):
    assert send(api, doc(**fields))["succeeded"] == 1


@pytest.mark.parametrize(
    "body",
    ["{", "[]", "{}", '{"documents": [1]}', '{"documents": [{"document": 5}]}', '"\\ud800"', "[" * 100_000],
)
def test_a_body_of_another_shape_refuses_the_whole_request(api, body):
    assert api.post(BATCH, content=body).status_code == 422


def test_fail_fast_stores_all_or_nothing(api, server):
    answer = api.post(BATCH, json={"documents": [doc("good"), doc("bad", text="")], "fail_fast": True})
    assert (answer.status_code, answer.json()["detail"]["index"]) == (400, 1)
    assert server.admin.summary()["documents"] == 0


def test_a_missing_document_id_is_minted(api, server):
    rows = send(api, doc(None), doc(None), doc(None, text=""))["results"]
    assert len({row["document_id"] for row in rows}) == 3
    assert set(stored(server)) == {row["document_id"] for row in rows[:2]}


def test_failed_rows_can_come_without_ingestion_id(api, server):
    assert uuid.UUID(send(api, doc(text=""))["results"][0]["ingestion_id"])
    server.admin.configure(null_ids_in_failed_rows=True)
    assert send(api, doc(text=""))["results"][0]["ingestion_id"] is None


@pytest.mark.parametrize(
    ("isolation", "ids", "level"),
    [
        ("strict", OWNER, "user"),
        ("strict", {"customer_id": "c1"}, "customer"),
        ("strict", {}, "client"),
        ("strict", {"user_id": "u1"}, None),
        ("equals_customer", OWNER, None),
        ("equals_customer", {"customer_id": "c1"}, None),
        ("equals_customer", {"user_id": "u1"}, "user"),
        ("equals_customer", {}, "client"),
    ],
)
def test_the_scope_follows_from_ids_and_isolation(api, server, isolation, ids, level):
    server.admin.configure(isolation=isolation)
    document = {"document": "A fact.", "document_id": "d1", "user_id": None, "customer_id": None, **ids}
    body = send(api, document)
    assert body["succeeded"] == (level is not None)
    if level:
        assert stored(server)["d1"]["scope"]["level"] == level


def test_truth_keeps_the_document_as_it_was_sent(api, server):
    sent = doc(metadata={"größe": [1, None, {"x": 1.5}]}, unknown="kept too")
    send(api, sent)
    assert stored(server)["d1"]["document"] == sent


def test_a_create_answers_like_a_row(api):
    answer = api.post(CREATE, json=doc()).json()
    assert sorted(answer) == ["document_id", "ingestion_id", "queued_at", "status"]
    assert status(api, answer)["memories_created"] == 2
