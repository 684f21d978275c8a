"""Every way a write can go wrong: right receipts, nothing lost, nothing sent twice, nothing told."""

import logging

import pytest

from memxfer.spi import (
    AmbiguousError,
    AuthError,
    Document,
    FatalError,
    Outcome,
    QuotaExceededError,
    RateLimitedError,
    Timeouts,
    UnavailableError,
)

pytestmark = pytest.mark.anyio

PRIVATE = "the locker code is forty-one seventy"


def prepared(target, record, key="mx:1", envelope=None):
    document = target.prepare(record, key, envelope or {})
    assert isinstance(document, Document), document
    return document


IN_DOUBT = {
    "500 before": ({"status": 500}, 0),
    "500 after": ({"status": 500, "when": "after"}, 1),
    "503 before": ({"status": 503}, 0),
    "504 after": ({"status": 504, "when": "after"}, 1),
    "408 after": ({"status": 408, "when": "after"}, 1),
    "302": ({"status": 302, "headers": {"location": "/elsewhere"}}, 0),
    "closed before": ({"close": "eof"}, 0),
    "closed after": ({"close": "eof", "when": "after"}, 1),
    "reset after": ({"close": "reset", "when": "after"}, 1),
    "cut at once": ({"cut": 0, "when": "after"}, 1),
    "cut in the middle": ({"cut": 30, "when": "after"}, 1),
    "malformed": ({"malformed": True, "when": "after"}, 1),
    "204": ({"status": 204, "when": "after"}, 1),
    "text": ({"body": "done", "when": "after"}, 1),
    "no results": ({"body": {"status": "SUCCEEDED"}, "when": "after"}, 1),
    "results without ids": ({"body": {"results": [{"event": "ADD"}]}, "when": "after"}, 1),
}


@pytest.mark.parametrize(("action", "times"), IN_DOUBT.values(), ids=IN_DOUBT.keys())
async def test_what_may_have_happened_is_unknown_and_sent_once(platform, record, action, times):
    target = await platform.target()
    platform.break_with(**action)
    [receipt] = await target.write([prepared(target, record())])
    assert receipt.outcome is Outcome.UNKNOWN
    assert isinstance(receipt.error, AmbiguousError)
    assert (receipt.error.provider, receipt.error.operation) == ("mem0", "write")
    assert platform.emulator.faults.report()[0]["seen"] == 1
    assert len(platform.truth()) == times
    platform.mend()
    assert len(await target.lookup(["mx:1"])) == times


async def test_an_answer_that_takes_too_long_is_unknown(platform, record):
    target = await platform.target(timeouts=Timeouts(connect=2, read=0.2, write=2))
    platform.break_with(delay_seconds=0.6, when="after")
    [receipt] = await target.write([prepared(target, record())])
    assert receipt.outcome is Outcome.UNKNOWN
    assert len(platform.truth()) == 1


async def test_a_backend_that_has_gone_was_sent_nothing(platform, record, free_port):
    target = await platform.target()
    document = prepared(target, record())
    target._client._http.base_url = f"http://127.0.0.1:{free_port}"
    with pytest.raises(UnavailableError, match="connection refused"):
        await target.write([document])


REFUSED = {
    "401": ({"status": 401}, AuthError),
    "403": ({"status": 403}, AuthError),
    "revoked": ({"preset": "key_revoked"}, AuthError),
    "402": ({"status": 402}, QuotaExceededError),
    "413": ({"preset": "quota"}, QuotaExceededError),
    "404": ({"status": 404}, FatalError),
    "405": ({"status": 405}, FatalError),
    "429": ({"preset": "rate_limited"}, RateLimitedError),
}


@pytest.mark.parametrize(("action", "kind"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_clear_refusal_is_an_error_of_its_kind(platform, record, action, kind):
    target = await platform.target()
    platform.break_with(**action)
    with pytest.raises(kind) as caught:
        await target.write([prepared(target, record())])
    assert type(caught.value) is kind
    assert (caught.value.provider, caught.value.operation) == ("mem0", "write")
    assert platform.truth() == []


@pytest.mark.parametrize("status", [400, 409, 422])
async def test_a_refused_record_is_its_own_affair(platform, record, status):
    target = await platform.target()
    platform.break_with(status=status, body={"detail": f"invalid value: {PRIVATE}"})
    [receipt] = await target.write([prepared(target, record())])
    assert (receipt.outcome, receipt.error.status) == (Outcome.REJECTED, status)
    assert "locker" not in str(receipt.error)


@pytest.mark.parametrize(
    ("style", "seconds", "low", "high"),
    [("integer", 7, 7, 7), ("decimal", 1.5, 1.5, 1.5), ("date", 40, 30, 42), ("absent", 5, None, None)],
)
async def test_the_wait_of_a_429_is_read_however_it_is_written(platform, record, style, seconds, low, high):
    target = await platform.target()
    platform.break_with(status=429, retry_after=style, retry_after_seconds=seconds)
    with pytest.raises(RateLimitedError) as caught:
        await target.write([prepared(target, record())])
    wait = caught.value.retry_after
    assert wait is None if low is None else low <= wait <= high


async def test_neither_key_nor_memory_is_logged_or_shown(platform, record, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="mem0")
    target = await platform.target()
    for action in ({"status": 400, "body": {"detail": PRIVATE}}, {"status": 500}, {"close": "reset"}):
        platform.break_with(**action)
        [receipt] = await target.write([prepared(target, record(content=PRIVATE))])
        assert "locker" not in str(receipt)
    key = target.config.api_key.get_secret_value()
    shown = caplog.text + repr(target.config) + repr(target._client)
    assert key not in shown
    assert "locker" not in caplog.text
