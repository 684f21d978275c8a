"""What the provider promises, on both transports, against the emulator."""

import asyncio
import json
import time

import pytest

from memxfer.spi import (
    AuthError,
    BatchRefusedError,
    ConfigError,
    FatalError,
    IngestState,
    MemoryProvider,
    NotReadyError,
    Outcome,
    ProviderError,
    Role,
    SupportsDelete,
    SupportsIngestStatus,
    UnavailableError,
    UnsupportedOperationError,
)
from memxfer_synap.emulator import SynapKey

pytestmark = pytest.mark.anyio

# -- connecting ---------------------------------------------------------------------------------


async def test_connecting_tells_the_instance_and_its_kind_and_writes_nothing(synap):
    provider = synap.provider()
    info = await provider.connect(Role.TARGET)
    assert info.summary.startswith("Synap instance inst_")
    assert info.summary.endswith(", B2B")
    assert info.details["transport"] == synap.transport
    assert provider.store().namespace == info.details["instance"]
    assert synap.batches_sent() == 0
    assert synap.truth() == []


async def test_a_b2c_instance_is_recognised(synap):
    synap.configure(isolation="equals_customer")
    provider = await synap.connected(customer_id=None)
    assert (await provider.connect(Role.TARGET)).details["mode"] == "B2C"


async def test_a_wrong_key_is_found_out_and_the_message_names_the_setting(synap):
    provider = synap.provider(api_key="wrong")
    with pytest.raises(AuthError, match="api_key") as caught:
        await provider.connect(Role.TARGET)
    assert (caught.value.provider, caught.value.operation, caught.value.status) == ("synap", "connect", 401)
    assert caught.value.correlation_id
    assert "wrong" not in str(caught.value)


async def test_a_server_that_is_not_there_is_found_out_at_once(synap, free_port):
    provider = synap.provider(base_url=f"http://127.0.0.1:{free_port}")
    start = time.monotonic()
    with pytest.raises(UnavailableError, match="connection refused"):
        await provider.connect(Role.TARGET)
    assert time.monotonic() - start < 2


async def test_an_instance_still_being_built_says_for_how_long(synap):
    synap.configure(not_ready_seconds=120)
    with pytest.raises(NotReadyError) as caught:
        await synap.provider().connect(Role.TARGET)
    assert 100 < caught.value.retry_after <= 120


async def test_something_else_than_synap_is_found_out(synap):
    synap.break_with("/api/v1/auth/whoami", status=200, body={"hello": "world"})
    with pytest.raises(FatalError, match="base_url"):
        await synap.provider().connect(Role.TARGET)


async def test_a_failing_search_does_not_keep_a_target_from_connecting(synap):
    synap.break_with("/v1/context", status=503)
    await synap.connected()


async def test_a_key_of_another_instance_is_refused_before_anything_is_written(synap):
    with pytest.raises(ConfigError, match="instance_id"):
        await synap.provider(instance_id="inst_0123456789abcdef").connect(Role.TARGET)


@pytest.mark.parametrize(
    ("settings", "field"), [({"customer_id": "acme"}, "customer_id"), ({"unscoped": "customer"}, "unscoped")]
)
async def test_settings_that_a_b2c_instance_cannot_follow_are_refused_by_name(synap, settings, field):
    synap.configure(isolation="equals_customer")
    with pytest.raises(ConfigError, match=field):
        await synap.provider(**{"customer_id": None, **settings}).connect(Role.TARGET)


async def test_a_b2b_instance_without_a_customer_warns(synap):
    provider = synap.provider(customer_id=None)
    info = await provider.connect(Role.TARGET)
    assert any("customer_id" in warning for warning in info.warnings)


async def test_connecting_twice_and_closing_twice_is_fine(synap):
    provider = await synap.connected()
    first = provider.store()
    await provider.connect(Role.TARGET)
    assert provider.store() == first
    await provider.aclose()
    await provider.aclose()
    await synap.provider().aclose()


async def test_after_closing_nothing_is_sent(synap, documents):
    provider = await synap.connected()
    batch = documents(provider)
    await provider.aclose()
    with pytest.raises(ProviderError, match="connect"):
        await provider.write(batch)
    assert synap.batches_sent() == 0


async def test_it_is_no_source(synap):
    with pytest.raises(UnsupportedOperationError):
        await synap.provider().connect(Role.SOURCE)


async def test_its_optional_operations_are_detected(synap):
    provider = synap.provider()
    assert isinstance(provider, MemoryProvider)
    assert isinstance(provider, SupportsIngestStatus)
    assert isinstance(provider, SupportsDelete)


# -- writing ------------------------------------------------------------------------------------


async def test_documents_arrive_once_under_their_keys_and_wait_for_processing(synap, documents):
    provider = await synap.connected()
    receipts = await provider.write(documents(provider))
    assert [receipt.outcome for receipt in receipts] == [Outcome.PENDING] * 3
    assert len({receipt.ingestion_id for receipt in receipts}) == 3
    assert all(receipt.correlation_id for receipt in receipts)
    assert synap.stored() == {"mx:1": 1, "mx:2": 1, "mx:3": 1}
    assert synap.batches_sent() == 1


async def test_a_document_has_the_nine_keys_of_the_sdk_and_its_own_date(synap, documents):
    provider = await synap.connected()
    await provider.write(documents(provider, 1))
    [stored] = synap.truth()
    assert stored["document"] == {
        "document": "Ann likes tea number 1.",
        "document_type": "document",
        "document_id": "mx:1",
        "document_created_at": "2025-01-02T12:30:00Z",
        "user_id": "ann",
        "customer_id": "acme",
        "scope": None,
        "mode": "long-range",
        "metadata": {
            "source": "migration",
            "document_id": "mx:1",
            "original_created_at": "2025-01-02T12:30:00Z",
        },
    }


async def test_any_text_arrives_as_it_was(synap, record):
    text = (
        'Tab\there, "quotes", back\\slash \\u0000, emoji \U0001f600, e\u0301, \u202e, \x7f and a line\nbreak.'
    )
    provider = await synap.connected()
    metadata = {"nested": {"list": [1, 2.5, None, True, {"ключ": "値"}]}, "big": 2**53}
    await provider.write([provider.prepare(record(content=text, metadata=metadata), "mx:1", {})])
    [stored] = synap.truth()
    assert stored["document"]["document"] == text
    assert stored["document"]["metadata"].items() >= metadata.items()


async def test_a_full_batch_goes_in_one_request(synap, documents):
    provider = await synap.connected()
    receipts = await provider.write(documents(provider, 100))
    assert len({receipt.ingestion_id for receipt in receipts}) == 100
    assert synap.batches_sent() == 1


async def test_a_batch_over_the_limit_is_refused_whole_and_nothing_is_stored(synap, documents):
    provider = await synap.connected()
    with pytest.raises(BatchRefusedError) as caught:
        await provider.write(documents(provider, 101))
    assert caught.value.status == 422
    assert synap.truth() == []


async def test_many_batches_at_once_lose_nothing(synap, documents, record):
    provider = await synap.connected()
    batches = [[provider.prepare(record(n), f"mx:{n}", {})] for n in range(1, 41)]
    receipts = await asyncio.gather(*map(provider.write, batches))
    assert all(one.outcome is Outcome.PENDING for [one] in receipts)
    assert len(synap.stored()) == 40


async def test_two_documents_of_one_key_are_not_both_sent(synap, record):
    provider = await synap.connected()
    batch = [provider.prepare(record(n), "mx:same", {}) for n in (1, 2)]
    first, second = await provider.write(batch)
    assert first.outcome is Outcome.PENDING
    assert (second.outcome, second.error.code) == (Outcome.REJECTED, "key_collision")
    [stored] = synap.truth()
    assert stored["times_received"] == 1
    assert stored["document"]["document"] == "Ann likes tea number 1."


async def test_a_refused_document_does_not_cost_its_neighbours(synap, documents):
    synap.configure(document_bytes=40)
    provider = await synap.connected()
    [good] = documents(provider, 1)
    bad = documents(provider, 2, content="x" * 50)[1]
    receipts = await provider.write([good, bad])
    assert [receipt.outcome for receipt in receipts] == [Outcome.PENDING, Outcome.REJECTED]
    assert receipts[1].error.code == "rejected"
    assert "larger" in str(receipts[1].error)
    assert synap.stored() == {"mx:1": 1}


@pytest.mark.parametrize(
    ("policy", "outcome", "times"),
    [
        ("update", Outcome.PENDING, 1),
        ("echo", Outcome.PENDING, 1),
        ("store_twice", Outcome.PENDING, 2),
        ("row_error", Outcome.REJECTED, 1),
        ("conflict", Outcome.REJECTED, 1),
    ],
)
async def test_every_meaning_of_a_known_document_id_is_understood(synap, documents, policy, outcome, times):
    synap.configure(duplicate_policy=policy)
    provider = await synap.connected()
    [first] = await provider.write(documents(provider, 1))
    [second] = await provider.write(documents(provider, 1))
    assert second.outcome is outcome
    if outcome is Outcome.REJECTED:
        assert second.error.code == "duplicate"
        assert second.error.correlation_id
    assert (second.ingestion_id == first.ingestion_id) == (policy == "echo")
    assert synap.stored() == {"mx:1": times}


async def test_a_conflict_refuses_the_whole_batch_as_a_duplicate(synap, documents):
    synap.configure(duplicate_policy="conflict")
    provider = await synap.connected()
    await provider.write(documents(provider, 1))
    with pytest.raises(BatchRefusedError) as caught:
        await provider.write(documents(provider, 3))
    assert (caught.value.status, caught.value.code) == (409, "duplicate")
    assert synap.stored() == {"mx:1": 1}


# -- afterwards ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "state", "memories", "partial"),
    [
        ("One fact. Another fact.", IngestState.STORED, 2, False),
        ("Nothing here [[no_memories]].", IngestState.STORED, 0, False),
        ("One. Two. Three. [[partial]].", IngestState.STORED, 2, True),
        ("Broken [[fail]].", IngestState.FAILED, 0, False),
    ],
)
async def test_the_end_of_processing_is_told_as_it_is(synap, record, text, state, memories, partial):
    provider = await synap.connected()
    [receipt] = await provider.write([provider.prepare(record(content=text), "mx:1", {})])
    status = await provider.ingest_status(receipt.ingestion_id)
    assert (status.state, status.partial) == (state, partial)
    assert len(status.target_ids) == memories
    assert (status.error is not None) == (partial or state is IngestState.FAILED)


async def test_a_document_in_processing_is_not_stored_yet(synap, documents):
    synap.configure(processing_delay_seconds=3600)
    provider = await synap.connected()
    [receipt] = await provider.write(documents(provider, 1))
    status = await provider.ingest_status(receipt.ingestion_id)
    assert (status.state, status.target_ids) == (IngestState.PROCESSING, ())


async def test_an_unknown_ingestion_is_gone(synap):
    provider = await synap.connected()
    status = await provider.ingest_status("00000000-0000-4000-8000-000000000000")
    assert status.state is IngestState.GONE


async def test_deleting_counts_what_was_there_and_may_be_repeated(synap, documents):
    provider = await synap.connected()
    receipts = await provider.write(documents(provider, 2))
    ids = [
        one for receipt in receipts for one in (await provider.ingest_status(receipt.ingestion_id)).target_ids
    ]
    assert len(ids) == 2
    assert await provider.delete(ids[:1]) == 1
    assert await provider.delete(ids) == 1
    assert await provider.delete(ids) == 0
    assert all(not one["memories"] for one in synap.truth())


@pytest.mark.parametrize("operation", ["ingest_status", "delete"])
async def test_reads_and_deletes_that_fail_can_be_asked_again(synap, documents, operation):
    provider = await synap.connected()
    [receipt] = await provider.write(documents(provider, 1))
    [memory] = (await provider.ingest_status(receipt.ingestion_id)).target_ids
    call = {
        "ingest_status": lambda: provider.ingest_status(receipt.ingestion_id),
        "delete": lambda: provider.delete([memory]),
    }[operation]
    for action in ({"status": 503}, {"close": "reset"}, {"when": "after", "cut": 5}):
        synap.break_with("/api/v1/memories/", match={"times": 1}, **action)
        with pytest.raises(UnavailableError) as caught:
            await call()
        assert caught.value.operation == operation
    await call()


# -- what must not leak -------------------------------------------------------------------------


async def test_nothing_said_about_a_failure_quotes_a_memory_or_the_key(synap, record, caplog):
    caplog.set_level("DEBUG")
    secret = "Zanzibar Quagmire"
    provider = await synap.connected()
    batch = [provider.prepare(record(n, content=f"{secret} {n}."), f"mx:{n}", {}) for n in (1, 2)]
    said = []
    quoting = {"detail": [{"loc": ["body"], "msg": f"Value error, {secret}", "input": secret}]}
    for action in ({"status": 422, "body": quoting}, {"status": 500, "body": {"detail": f"no {secret}"}}):
        synap.break_with(**action)
        try:
            said += [str(receipt) for receipt in await provider.write(batch)]
        except ProviderError as error:
            said.append(f"{error!r} {error} {vars(error)}")
    text = json.dumps(said) + repr(provider.config) + repr(provider)
    text += "".join(entry.getMessage() for entry in caplog.records)
    assert len(said) == 3
    for word in (*secret.split(), "synap_emulator_key"):
        assert word not in text


async def test_a_revoked_key_in_mid_job_is_an_auth_error(synap, documents):
    provider = await synap.connected()
    synap.configure(keys=(SynapKey(key="another"),))
    with pytest.raises(AuthError) as caught:
        await provider.write(documents(provider))
    assert caught.value.operation == "write"
