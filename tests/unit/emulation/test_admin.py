"""The admin API, rate limits, forms and the state file."""

from __future__ import annotations

import sqlite3

import httpx
import pytest

import memxfer.emulation
from memxfer.emulation import Call, RateLimit, RefusedError, StateFile, TokenBucket

KEY = {"authorization": "Bearer secret"}


def test_settings_change_partly(server):
    server.admin.configure(greeting="hi")
    changed = server.admin.configure(rate_limit={"per_minute": 60})
    assert changed["greeting"] == "hi"
    assert changed["rate_limit"] == {"per_minute": 60, "burst": 10, "retry_after_style": "integer"}
    assert server.admin.configure(rate_limit={"burst": 3})["rate_limit"]["per_minute"] == 60
    assert httpx.get(f"{server.base_url}/open").json() == {"say": "hi"}


@pytest.mark.parametrize("body", ['{"nope": 1}', '{"latency_seconds": -1}', "[]", "not json"])
def test_bad_settings_are_refused(server, body):
    assert httpx.post(f"{server.base_url}/_emulator/config", content=body).status_code == 422


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"host": "127.0.0.1.evil.example"}],
)
def test_the_admin_api_answers_this_machine_only(server, headers):
    assert httpx.post(f"{server.base_url}/_emulator/reset", headers=headers).status_code == 403


def test_truth_comes_in_pages(server):
    for number in range(5):
        httpx.post(f"{server.base_url}/notes", content=f"n{number}", headers=KEY)
    truth = httpx.get(f"{server.base_url}/_emulator/truth?offset=3&limit=1").json()
    assert truth == {"documents": ["n3"]}
    assert list(server.admin.documents()) == ["n0", "n1", "n2", "n3", "n4"]
    assert httpx.get(f"{server.base_url}/_emulator/truth?offset=-1").status_code == 422


def test_requests_are_counted_by_route_and_status(server):
    httpx.get(f"{server.base_url}/notes/1", headers=KEY)
    httpx.get(f"{server.base_url}/notes/2")
    httpx.get(f"{server.base_url}/else")
    report = server.admin.requests(tail=2)
    assert report["by_route"] == {"GET /notes/{number}": 2, "GET unknown": 1}
    assert report["by_status"] == {"200": 1, "401": 1, "404": 1}
    assert [(call["path"], call["outcome"]) for call in report["calls"]] == [
        ("/notes/2", 401),
        ("/else", 404),
    ]
    assert server.admin.summary()["requests"] == report["by_route"]


def test_reset_forgets_everything_but_settings(server):
    server.admin.configure(greeting="hi")
    server.admin.inject({"action": {"delay_seconds": 1}})
    httpx.post(f"{server.base_url}/notes", headers=KEY)
    server.admin.reset()
    assert server.admin.summary() == {"documents": 0, "requests": {}}
    assert server.admin.faults() == []
    assert httpx.get(f"{server.base_url}/open").json() == {"say": "hi"}


def test_latency_is_added_to_every_answer(server, hands):
    server.admin.configure(latency_seconds=0.25)
    httpx.get(f"{server.base_url}/open")
    assert hands.waits == [0.25]


def test_a_rate_limit_refuses_with_the_seconds_left(server, hands):
    server.admin.configure(rate_limit={"per_minute": 30, "burst": 2})
    statuses = [httpx.get(f"{server.base_url}/notes/1", headers=KEY) for _ in range(3)]
    assert [answer.status_code for answer in statuses] == [200, 200, 429]
    assert statuses[2].headers["retry-after"] == "2"
    assert statuses[2].headers["x-ratelimit-reset"] == str(int(hands.now) + 2)
    hands.now += 2
    assert httpx.get(f"{server.base_url}/notes/1", headers=KEY).status_code == 200
    assert httpx.get(f"{server.base_url}/open").status_code == 200


def test_a_bucket_gives_its_rate_in_the_long_run_and_its_burst_at_once():
    bucket = TokenBucket(RateLimit(per_minute=60, burst=5), now=0.0)
    passed = [second for second in range(100) for _ in range(10) if not bucket.take(float(second))]
    assert passed.count(0) == 5
    assert len(passed) == 5 + 99


def test_a_refused_request_costs_no_token():
    bucket = TokenBucket(RateLimit(per_minute=60, burst=1), now=0.0)
    assert bucket.take(0.0) == 0
    assert [bucket.take(0.5) for _ in range(3)] == [0.5, 0.5, 0.5]
    assert bucket.take(1.0) == 0


def test_forms_decode_from_both_encodings():
    url = Call(
        method="POST",
        path="/",
        headers={"content-type": "application/x-www-form-urlencoded"},
        body=b"a=x+y&b=",
    )
    assert url.form() == {"a": b"x y", "b": b""}
    sent = httpx.Request("POST", "http://x", data={"a": "1"}, files={"f": ("n.bin", b"\x00\r\n\xff")})
    parts = Call(
        method="POST", path="/", headers={"content-type": sent.headers["content-type"]}, body=sent.read()
    )
    assert parts.form() == {"a": b"1", "f": b"\x00\r\n\xff"}


def test_a_form_without_boundary_is_refused():
    with pytest.raises(RefusedError):
        Call(method="POST", path="/", headers={"content-type": "multipart/form-data"}, body=b"x").form()


SCHEMA = "CREATE TABLE IF NOT EXISTS notes (text TEXT)"


def test_a_failed_transaction_leaves_nothing(tmp_path):
    state = StateFile(tmp_path / "deep" / "state.sqlite", schema=SCHEMA)

    def fail_halfway():
        with state.transaction() as db:
            db.execute("INSERT INTO notes VALUES ('lost')")
            db.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(sqlite3.OperationalError):
        fail_halfway()
    with state.transaction() as db:
        db.execute("INSERT INTO notes VALUES ('kept')")
    state.close()
    again = StateFile(tmp_path / "deep" / "state.sqlite", schema=SCHEMA)
    assert again.db.execute("SELECT text FROM notes").fetchall() == [("kept",)]
    again.clear()
    assert again.db.execute("SELECT COUNT(*) FROM notes").fetchone() == (0,)
    again.close()


def test_a_temporary_state_file_goes_away():
    state = StateFile(None, schema=SCHEMA)
    assert state.path.exists()
    state.close()
    assert not state.path.parent.exists()


def test_exported_names_are_pinned():
    assert sorted(memxfer.emulation.__all__) == [
        "AdminClient",
        "Answer",
        "Call",
        "Emulator",
        "EmulatorSettings",
        "Endpoint",
        "FaultAction",
        "FaultMatch",
        "FaultPlan",
        "FaultRule",
        "RateLimit",
        "RateLimiter",
        "RefusedError",
        "RequestTally",
        "RetryAfterStyle",
        "RunningServer",
        "StateFile",
        "TokenBucket",
        "retry_after_headers",
        "run",
        "serve_in_thread",
    ]
    assert all(hasattr(memxfer.emulation, name) for name in memxfer.emulation.__all__)
