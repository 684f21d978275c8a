"""Which webhooks are taken for Synap's, and the file of those that were dealt with."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from datetime import timedelta

import pytest

from memxfer_synap.event_store import Claim, EventStore
from memxfer_synap.webhooks import WebhookApp, WebhookError, sign, verify
from tests.providers.synap.test_webhooks import NOW, SECRET, body_of


def check(body, signature=None, **options):
    return verify(
        body,
        sign(body, secret=SECRET) if signature is None else signature,
        **{"secret": SECRET, "now": NOW, **options},
    )


def refusal(*args, **options):
    with pytest.raises(WebhookError) as caught:
        check(*args, **options)
    assert caught.value.__cause__ is None
    return caught.value.code


# -- verifying ----------------------------------------------------------------------------------


def test_a_signed_event_is_read_and_what_is_not_known_of_it_is_kept():
    body = json.dumps(
        {
            "event_type": "something.new",
            "event_id": "evt_1",
            "timestamp": "2026-03-04T05:06:07Z",
            "payload_version": 2,
            "data": {"ingestion_id": "i1", "x": [1]},
        }
    ).encode()
    event = check(body)
    assert (event.type, event.event_id, event.timestamp) == ("something.new", "evt_1", NOW)
    assert (event.data["x"], event.model_extra, event.ingestion_id) == ([1], {"payload_version": 2}, "i1")


def test_the_signature_is_the_documented_one():
    body = body_of()
    expected = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert check(body, expected).event_id == "evt_1"


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        "sha256=" + "0" * 64,
        sign(body_of(), secret=SECRET).removeprefix("sha256="),
        sign(body_of(), secret="another"),
        sign(body_of(), secret=SECRET) + " ",
        "sha1=" + sign(body_of(), secret=SECRET).removeprefix("sha256="),
        "sha256=ü",
    ],
)
def test_what_synap_did_not_sign_is_refused(signature):
    assert refusal(body_of(), signature) == "bad_signature"


def test_no_header_is_no_signature():
    with pytest.raises(WebhookError, match="signature"):
        verify(body_of(), None, secret=SECRET, now=NOW)


def test_a_body_that_was_parsed_and_written_again_has_another_signature():
    body = body_of()
    again = json.dumps(json.loads(body), separators=(",", ":")).encode()
    assert again != body
    assert refusal(again, sign(body, secret=SECRET)) == "bad_signature"


def test_an_empty_secret_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="empty"):
        verify(body_of(), sign(body_of(), secret=""), secret="", now=NOW)
    with pytest.raises(ValueError, match="empty"):
        WebhookApp(secret="", store="unused")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        b'{"type": "t", "event_id": "", "timestamp": 1}',
        b'{"type": "t", "event_id": 7, "timestamp": 1}',
        b'{"type": "t", "event_id": "e"}',
        b'{"type": "t", "event_id": "e", "timestamp": true}',
        b'{"type": "t", "event_id": "e", "timestamp": "soon"}',
        b'{"type": "t", "event_id": "e", "timestamp": 1e30}',
        b'{"event_id": "e", "timestamp": 1}',
    ],
)
def test_a_signed_body_that_is_no_event_is_malformed(body):
    assert refusal(body) == "malformed"


def test_times_may_be_off_by_the_tolerance_and_no_more():
    for seconds, code in ((301, "too_old"), (-301, "too_new")):
        body = body_of(at=NOW - timedelta(seconds=seconds))
        assert refusal(body) == code
        assert check(body, tolerance=302).event_id == "evt_1"
    assert check(body_of(at=NOW - timedelta(seconds=299))).event_id == "evt_1"


@pytest.mark.parametrize(
    "written", [NOW.timestamp(), NOW.timestamp() * 1000, "2026-03-04T05:06:07", "2026-03-04T06:06:07+01:00"]
)
def test_times_come_in_several_shapes(written):
    body = json.dumps({"type": "t", "event_id": "e", "timestamp": written}).encode()
    assert check(body).timestamp == NOW


def test_an_event_that_was_dealt_with_is_told():
    assert refusal(body_of(), seen={"evt_1"}.__contains__) == "repeated"
    assert check(body_of(), seen={"evt_2"}.__contains__).event_id == "evt_1"


def test_what_a_document_failed_of_quotes_no_memory():
    event = check(body_of(ingestion_id="i1", error_message="invalid document: Ann drinks absinthe"))
    assert "invalid document" in event.problem
    assert "absinthe" not in event.problem
    assert check(body_of()).problem.endswith("it does not say why")


@pytest.mark.parametrize(("data", "read"), [(None, {}), (5, {"value": 5}), ([1], {"value": [1]})])
def test_data_of_another_shape_is_kept(data, read):
    body = json.dumps({"type": "t", "event_id": "e", "timestamp": NOW.timestamp(), "data": data}).encode()
    assert check(body).data == read


# -- the store ----------------------------------------------------------------------------------


@pytest.fixture
def stores(tmp_path):
    made = []

    def make(**options):
        made.append(EventStore(tmp_path / "events.sqlite", **{"remember": 100.0, **options}))
        return made[-1]

    yield make
    for store in made:
        store.close()


def test_two_processes_do_not_deal_with_one_event(stores):
    one, other = stores(), stores()
    assert one.claim("e", 0.0) is Claim.MINE
    assert other.claim("e", 1.0) is Claim.BUSY
    one.release("e")
    assert other.claim("e", 2.0) is Claim.MINE
    other.settle("e", 3.0)
    assert one.claim("e", 4.0) is Claim.DONE
    one.release("e")
    assert one.claim("e", 5.0) is Claim.DONE


def test_a_process_that_died_over_an_event_does_not_keep_it(stores):
    stores().claim("e", 0.0)
    assert stores().claim("e", 59.0) is Claim.BUSY
    assert stores().claim("e", 61.0) is Claim.MINE


def test_the_file_stays_small(stores, tmp_path):
    store = stores(most_seen=3, most_kept=2)
    for n in range(6):
        store.settle(f"e{n}", float(n), keep=b"%d" % n)
    assert store.kept() == [b"4", b"5"]
    assert [store.claim(f"e{n}", 6.0) for n in (2, 3)] == [Claim.MINE, Claim.DONE]
    store.settle("late", 200.0)
    with sqlite3.connect(tmp_path / "events.sqlite") as db:
        assert db.execute("SELECT event_id FROM seen").fetchall() == [("late",)]
    db.close()
    assert (tmp_path / "events.sqlite").stat().st_mode & 0o777 == 0o600
