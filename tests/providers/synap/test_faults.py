"""Every way a write can go wrong, on both transports: right receipts, nothing lost, nothing sent twice."""

import pytest

from memxfer.spi import (
    AmbiguousError,
    AuthError,
    BatchRefusedError,
    FatalError,
    NotReadyError,
    Outcome,
    QuotaExceededError,
    RateLimitedError,
    Timeouts,
    UnavailableError,
)

pytestmark = pytest.mark.anyio

IN_DOUBT = {
    "500 before": ({"status": 500}, 0),
    "500 after": ({"status": 500, "when": "after"}, 1),
    "502 after": ({"status": 502, "when": "after"}, 1),
    "503 before": ({"status": 503}, 0),
    "503 after": ({"status": 503, "when": "after"}, 1),
    "504 after": ({"status": 504, "when": "after"}, 1),
    "201 after": ({"status": 201, "when": "after"}, 1),
    "202 after": ({"status": 202, "when": "after"}, 1),
    "202 before": ({"status": 202}, 0),
    "302": ({"status": 302, "headers": {"location": "/elsewhere"}}, 0),
    "closed before": ({"close": "eof"}, 0),
    "closed after": ({"close": "eof", "when": "after"}, 1),
    "reset before": ({"close": "reset"}, 0),
    "reset after": ({"close": "reset", "when": "after"}, 1),
    "cut at once": ({"cut": 0, "when": "after"}, 1),
    "cut in the middle": ({"cut": 60, "when": "after"}, 1),
    "malformed": ({"malformed": True, "when": "after"}, 1),
    "empty object": ({"body": {}, "when": "after"}, 1),
    "null": ({"body": "gone", "when": "after"}, 1),
    "rows of another kind": ({"body": {"results": "many"}, "when": "after"}, 1),
    "no rows": (
        {
            "body": {"batch_id": "9f0f5c3e-0000-4000-8000-000000000000", "results": [], "total": 0},
            "when": "after",
        },
        1,
    ),
    "204": ({"status": 204, "when": "after"}, 1),
}


@pytest.mark.parametrize(("action", "times"), IN_DOUBT.values(), ids=IN_DOUBT.keys())
async def test_what_may_have_happened_is_unknown_and_sent_once(synap, documents, action, times):
    provider = await synap.connected()
    synap.break_with(**action)
    receipts = await provider.write(documents(provider))
    assert [receipt.outcome for receipt in receipts] == [Outcome.UNKNOWN] * 3
    assert all(isinstance(receipt.error, AmbiguousError) for receipt in receipts)
    assert all(receipt.error.provider == "synap" and receipt.error.code for receipt in receipts)
    assert synap.batches_sent() == 1
    assert synap.stored() == ({f"mx:{n}": times for n in (1, 2, 3)} if times else {})


async def test_an_answer_that_takes_too_long_is_unknown(synap, documents):
    provider = await synap.connected(timeouts=Timeouts(connect=2, read=0.3, write=2))
    synap.break_with(delay_seconds=1.0, when="after")
    receipts = await provider.write(documents(provider))
    assert [receipt.outcome for receipt in receipts] == [Outcome.UNKNOWN] * 3
    assert synap.stored().keys() == {"mx:1", "mx:2", "mx:3"}


async def test_a_backend_that_has_gone_was_sent_nothing(synap, documents, free_port):
    provider = await synap.connected()
    batch = documents(provider)
    client = provider._client
    target = client._client if synap.transport == "http" else client._sdk._http_transport._client
    target.base_url = f"http://127.0.0.1:{free_port}"
    with pytest.raises(UnavailableError, match="connection refused"):
        await provider.write(batch)
    assert synap.truth() == []


REFUSED = {
    "400": ({"status": 400}, BatchRefusedError, "invalid"),
    "422": ({"status": 422}, BatchRefusedError, "invalid"),
    "413": ({"status": 413}, BatchRefusedError, "too_large"),
    "409": ({"status": 409}, BatchRefusedError, "conflict"),
    "409 duplicate": ({"status": 409, "body": {"detail": "already exists"}}, BatchRefusedError, "duplicate"),
    "409 code": (
        {"status": 409, "body": {"detail": {"code": "duplicate_id"}}},
        BatchRefusedError,
        "duplicate",
    ),
    "418": ({"status": 418}, BatchRefusedError, "invalid"),
    "401": ({"status": 401}, AuthError, "auth"),
    "403": ({"status": 403}, AuthError, "auth"),
    "revoked": ({"preset": "key_revoked"}, AuthError, "auth"),
    "402": ({"preset": "insufficient_credits"}, QuotaExceededError, None),
    "trial": ({"preset": "trial_limit_reached"}, QuotaExceededError, "trial_limit_reached"),
    "lapsed": ({"preset": "subscription_inactive"}, QuotaExceededError, "subscription_inactive"),
    "429": ({"status": 429}, RateLimitedError, "rate_limited"),
    "building": ({"preset": "instance_not_ready"}, NotReadyError, "instance_not_ready"),
    "build failed": (
        {"status": 409, "body": {"detail": {"code": "instance_build_failed"}}},
        FatalError,
        "instance_build_failed",
    ),
    "404": ({"status": 404}, FatalError, "http_404"),
    "405": ({"status": 405}, FatalError, "http_405"),
}


@pytest.mark.parametrize(("action", "kind", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_clear_refusal_is_an_error_of_its_kind_and_nothing_is_stored(
    synap, documents, action, kind, code
):
    provider = await synap.connected()
    synap.break_with(**action)
    with pytest.raises(kind) as caught:
        await provider.write(documents(provider))
    assert type(caught.value) is kind
    assert code in (None, caught.value.code)
    assert caught.value.correlation_id
    assert (caught.value.provider, caught.value.operation) == ("synap", "write")
    assert synap.batches_sent() == 1
    assert synap.truth() == []


@pytest.mark.parametrize("status", [400, 409, 413, 422])
async def test_a_refused_batch_of_one_is_a_rejected_document(synap, documents, status):
    provider = await synap.connected()
    synap.break_with(status=status)
    [receipt] = await provider.write(documents(provider, 1))
    assert receipt.outcome is Outcome.REJECTED
    assert receipt.error.status == status
    assert receipt.correlation_id


@pytest.mark.parametrize(
    ("style", "seconds", "low", "high"),
    [("integer", 7, 7, 7), ("decimal", 1.5, 1.5, 1.5), ("date", 40, 30, 42), ("absent", 5, None, None)],
)
async def test_the_wait_of_a_429_is_read_however_it_is_written(synap, documents, style, seconds, low, high):
    provider = await synap.connected()
    synap.break_with(status=429, retry_after=style, retry_after_seconds=seconds)
    with pytest.raises(RateLimitedError) as caught:
        await provider.write(documents(provider))
    wait = caught.value.retry_after
    assert wait is None if low is None else low <= wait <= high
    assert synap.truth() == []


async def test_a_real_rate_limit_refuses_and_recovers(synap, documents):
    provider = await synap.connected()
    synap.configure(rate_limit={"per_minute": 60, "burst": 1, "retry_after_style": "decimal"})
    await provider.write(documents(provider, 1))
    with pytest.raises(RateLimitedError) as caught:
        await provider.write(documents(provider, 1))
    assert 0 < caught.value.retry_after <= 1


async def test_not_ready_says_how_long_and_is_asked_again_over_the_wire_or_not_at_all(synap, documents):
    provider = await synap.connected()
    synap.configure(not_ready_seconds=90)
    for _ in range(2):
        with pytest.raises(NotReadyError) as caught:
            await provider.write(documents(provider))
        assert 60 < caught.value.retry_after <= 90
    assert synap.truth() == []


# -- answers that do not line up ----------------------------------------------------------------


async def test_rows_in_another_order_find_their_documents(synap, documents, record):
    provider = await synap.connected()
    synap.break_with(when="after", rows=["reordered"])
    batch = documents(provider, 20)
    receipts = await provider.write(batch)
    by_key = {one["document_id"]: one["ingestion_id"] for one in synap.truth()}
    assert [receipt.ingestion_id for receipt in receipts] == [by_key[document.key] for document in batch]


async def test_rows_that_come_twice_count_once(synap, documents):
    provider = await synap.connected()
    synap.break_with(when="after", rows=["duplicated", "reordered"])
    receipts = await provider.write(documents(provider, 5))
    assert [receipt.outcome for receipt in receipts] == [Outcome.PENDING] * 5
    assert len({receipt.ingestion_id for receipt in receipts}) == 5


async def test_null_ids_in_failed_rows_cost_nobody(synap, documents):
    """SDK 0.6.9 raises TypeError here, after the batch was accepted; the answer itself says it all."""
    synap.configure(null_ids_in_failed_rows=True, document_bytes=40)
    provider = await synap.connected()
    good, bad = documents(provider, 1)[0], documents(provider, 2, content="x" * 50)[1]
    receipts = await provider.write([bad, good])
    assert [receipt.outcome for receipt in receipts] == [Outcome.REJECTED, Outcome.PENDING]
    assert synap.stored() == {"mx:1": 1}


async def test_null_ids_everywhere_in_a_failed_row_still_name_the_document_left_over(synap, documents):
    row = {"ingestion_id": None, "document_id": None, "status": "failed", "error_message": "already exists"}
    accepted = {
        "ingestion_id": "9f0f5c3e-0000-4000-8000-000000000001",
        "document_id": "mx:2",
        "status": "queued",
        "queued_at": "2026-01-01T00:00:00+00:00",
    }
    provider = await synap.connected()
    synap.break_with(status=200, body={"results": [row, accepted]})
    first, second = await provider.write(documents(provider, 2))
    assert (first.outcome, first.error.code) == (Outcome.REJECTED, "duplicate")
    assert (second.outcome, second.ingestion_id) == (Outcome.PENDING, accepted["ingestion_id"])


async def test_a_document_without_a_row_is_unknown_and_the_others_are_not(synap, documents):
    row = {
        "ingestion_id": "9f0f5c3e-0000-4000-8000-000000000001",
        "document_id": "mx:1",
        "status": "queued",
        "queued_at": "2026-01-01T00:00:00+00:00",
    }
    provider = await synap.connected()
    synap.break_with(status=200, body={"results": [row]})
    first, second = await provider.write(documents(provider, 2))
    assert (first.outcome, second.outcome) == (Outcome.PENDING, Outcome.UNKNOWN)
    assert second.error.code == "no_row"


async def test_a_document_accepted_without_a_handle_is_unknown(synap, documents):
    provider = await synap.connected()
    synap.break_with(
        status=200, body={"results": [{"document_id": "mx:1", "ingestion_id": None, "status": "queued"}]}
    )
    [receipt] = await provider.write(documents(provider, 1))
    assert (receipt.outcome, receipt.error.code) == (Outcome.UNKNOWN, "no_handle")


async def test_what_was_in_doubt_can_be_sent_again_under_the_same_keys(synap, documents):
    synap.configure(duplicate_policy="row_error")
    provider = await synap.connected()
    synap.break_with(match={"times": 1}, close="reset", when="after")
    first = await provider.write(documents(provider))
    again = await provider.write(documents(provider))
    assert [receipt.outcome for receipt in first] == [Outcome.UNKNOWN] * 3
    assert [receipt.error.code for receipt in again] == ["duplicate"] * 3
    assert synap.stored() == {"mx:1": 1, "mx:2": 1, "mx:3": 1}
