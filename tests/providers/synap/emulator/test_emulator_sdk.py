"""The vendor's own SDK, unmodified, on the emulator; pins what memxfer relies on in 0.6.9."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import time
import uuid

import pytest

from memxfer_synap.emulator import EMULATOR_API_KEY
from tests.providers.synap.emulator.conftest import OWNER

pytest.importorskip("maximem_synap")

BATCH_RULE = {"method": "POST", "path": "/api/v1/memories/batch"}


@pytest.fixture(scope="module")
def clock():
    """Real time: the SDK waits by its own clock."""
    return time.time


@pytest.fixture
def sdk(server, tmp_path, monkeypatch):
    """Open a client the way its own documentation does, less cache, local model and waiting."""
    import maximem_synap
    from maximem_synap.transport.http_client import HTTPTransport

    monkeypatch.setattr(HTTPTransport, "HEARTBEAT_INTERVAL_SECONDS", 0)
    for name in ("SYNAP_API_KEY", "SYNAP_BASE_URL", "SYNAP_INSTANCE_ID", "SYNAP_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)

    @contextlib.asynccontextmanager
    async def opened(retry_policy=None, api_key=EMULATOR_API_KEY):
        config = maximem_synap.SDKConfig(
            api_base_url=server.base_url,
            cache_backend=None,
            retry_policy=retry_policy,
            history_search_model=None,
            storage_path=str(tmp_path),
        )
        client = maximem_synap.MaximemSynapSDK(api_key=api_key, config=config, _force_new=True)
        await client.initialize()
        try:
            yield client
        finally:
            await client.shutdown()

    return opened


def requests(count, start=0, **fields):
    from maximem_synap.memories.models import CreateMemoryRequest

    return [
        CreateMemoryRequest(**{"document": f"Fact number {n}.", "document_id": f"d{n}", **OWNER, **fields})
        for n in range(start, start + count)
    ]


def on(sdk, work, **options):
    """Run one coroutine function with an open SDK."""

    async def main():
        async with sdk(**options) as client:
            return await work(client)

    return asyncio.run(main())


def test_the_sdk_is_the_version_whose_facts_are_pinned_here():
    assert importlib.metadata.version("maximem-synap").startswith("0.6.")


def test_a_thousand_documents_go_in_are_polled_read_and_deleted(server, sdk):
    from maximem_synap import ContextNotFoundError

    async def work(client):
        rows = []
        for start in range(0, 1000, 100):
            batch = await client.memories.batch_create(requests(100, start))
            assert (batch.succeeded, batch.failed) == (100, 0)
            rows += batch.results
        job = await client.memories.status(rows[77].ingestion_id)
        memory = await client.memories.get(uuid.UUID(job.memory_ids[0]))
        await client.memories.delete(memory.memory_id)
        with pytest.raises(ContextNotFoundError):
            await client.memories.delete(memory.memory_id)
        return job, memory

    job, memory = on(sdk, work)
    assert (job.status, job.document_id, job.memories_created) == ("completed", "d77", 1)
    assert (memory.content, memory.source_document_id) == ("Fact number 77.", "d77")
    summary = server.admin.summary()
    assert (summary["documents"], summary["distinct_ids"], summary["memories"]) == (1000, 1000, 999)
    assert summary["requests"]["POST /api/v1/memories/batch"] == 10
    assert summary["telemetry_events"] > 0


def test_polling_sees_the_pipeline_move(server, sdk):
    server.admin.configure(processing_delay_seconds=0.2)

    async def work(client):
        row = (await client.memories.batch_create(requests(1))).results[0]
        seen = []
        end = time.monotonic() + 5
        while not seen or seen[-1] != "completed":
            assert time.monotonic() < end
            seen.append((await client.memories.status(row.ingestion_id)).status.value)
        return seen

    assert list(dict.fromkeys(on(sdk, work))) == ["queued", "processing", "completed"]


def test_whoami_tells_the_sdk_its_instance_and_its_mode(server, sdk):
    from maximem_synap.scoping import CustomerIdNotAcceptedError

    server.admin.configure(isolation="equals_customer")

    async def work(client):
        with pytest.raises(CustomerIdNotAcceptedError):
            await client.memories.create("A fact.", **OWNER)
        # the batch does not check: the server must
        batch = await client.memories.batch_create(requests(1))
        return client.instance_id, batch

    instance_id, batch = on(sdk, work)
    assert instance_id.startswith("inst_")
    assert (batch.failed, server.admin.summary()["documents"]) == (1, 0)
    assert "B2C" in batch.results[0].error_message


def test_initialize_succeeds_with_a_wrong_key(sdk):
    from maximem_synap import AuthenticationError

    async def work(client):
        with pytest.raises(AuthenticationError):
            await client.memories.batch_create(requests(1))

    on(sdk, work, api_key="wrong")


def test_the_wire_document_has_nine_keys(server, sdk):
    on(sdk, lambda client: client.memories.batch_create(requests(1)))
    [entry] = server.admin.documents()
    assert sorted(entry["document"]) == [
        "customer_id",
        "document",
        "document_created_at",
        "document_id",
        "document_type",
        "metadata",
        "mode",
        "scope",
        "user_id",
    ]


def test_null_ids_in_failed_rows_raise_after_the_batch_was_stored(server, sdk):
    server.admin.configure(null_ids_in_failed_rows=True)

    async def work(client):
        with pytest.raises((TypeError, AttributeError)):
            await client.memories.batch_create([*requests(1), *requests(1, 1, customer_id=None)])

    on(sdk, work)
    assert server.admin.summary()["documents"] == 1


@pytest.mark.parametrize(
    "action",
    [
        {"when": "after", "status": 502},
        {"when": "after", "status": 202},
        {"when": "after", "close": "eof"},
    ],
)
def test_the_sdks_own_retries_submit_a_stored_batch_again(server, sdk, action):
    from maximem_synap import RetryPolicy

    server.admin.configure(duplicate_policy="store_twice")
    server.admin.inject({"match": {**BATCH_RULE, "times": 2}, "action": action})
    policy = RetryPolicy(max_attempts=3, backoff_base=0.01, backoff_max=0.01, backoff_jitter=False)
    on(sdk, lambda client: client.memories.batch_create(requests(2)), retry_policy=policy)
    summary = server.admin.summary()
    assert (summary["documents"], summary["distinct_ids"]) == (6, 2)


def test_a_reset_connection_is_not_retried_by_the_sdk(server, sdk):
    from maximem_synap import RetryPolicy, SynapTransientError

    server.admin.configure(duplicate_policy="store_twice")
    server.admin.inject({"match": BATCH_RULE, "action": {"when": "after", "close": "reset"}})

    async def work(client):
        with pytest.raises(SynapTransientError):
            await client.memories.batch_create(requests(2))

    on(sdk, work, retry_policy=RetryPolicy(max_attempts=3, backoff_base=0.01, backoff_max=0.01))
    assert server.admin.summary()["documents"] == 2


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ({"status": 400}, "InvalidInputError"),
        ({"preset": "key_revoked"}, "AuthenticationError"),
        ({"preset": "insufficient_credits"}, "InsufficientCreditsError"),
        ({"status": 409}, "ConflictError"),
        ({"preset": "instance_not_ready"}, "InstanceNotReadyError"),
        ({"status": 413}, "SynapPermanentError"),
        ({"status": 429, "retry_after": "integer"}, "RateLimitError"),
        ({"status": 429, "retry_after": "absent"}, "RateLimitError"),
        ({"status": 429, "retry_after": "decimal"}, "SynapTransientError"),
        ({"status": 429, "retry_after": "date"}, "SynapTransientError"),
        ({"preset": "trial_limit_reached"}, "RateLimitError"),
        ({"status": 503}, "ServiceUnavailableError"),
        ({"when": "after", "status": 201}, "SynapTransientError"),
        ({"when": "after", "close": "eof"}, "NetworkTimeoutError"),
        ({"when": "after", "close": "reset"}, "SynapTransientError"),
        ({"when": "after", "cut": 30}, "NetworkTimeoutError"),
    ],
)
def test_without_retries_each_fault_is_one_error_and_one_request(server, sdk, action, error):
    import maximem_synap

    server.admin.inject({"match": BATCH_RULE, "action": action})

    async def work(client):
        with pytest.raises(maximem_synap.SynapError) as caught:
            await client.memories.batch_create(requests(1))
        return type(caught.value).__name__

    assert on(sdk, work) == error
    assert server.admin.faults()[0]["fired"] == 1
    assert server.admin.summary()["documents"] == (action.get("when") == "after")


def test_a_full_stay_through_the_sdks_other_calls(server, sdk):
    async def work(client):
        await client.memories.batch_create(requests(3, document="The user likes tea. Oslo is cold."))
        found = await client.user.context.fetch(**OWNER, search_query=["oslo"], response_shape="ranked")
        assert [item.content for item in found.items] == ["Oslo is cold."] * 3
        changed = await client.memories.update(uuid.UUID(found.items[0].id), "Oslo is warm.", "replace")
        assert changed.content == "Oslo is warm."
        profile = await client.user.get_profile(**OWNER)
        assert "Oslo" in profile.overview
        talk = [{"role": "user", "content": "Hello there."}]
        first = await client.conversation.ingest_transcript("thread 7", "u1", talk, customer_id="c1")
        again = await client.conversation.ingest_transcript("thread 7", "u1", talk, customer_id="c1")
        assert (first.status, again.status, first.ingestion_id) == ("queued", "duplicate", again.ingestion_id)
        preview = await client.memories.forget("oslo is warm", **OWNER)
        assert preview.status == "preview"
        counts = await client.data.delete("user", **OWNER, dry_run=True)
        assert counts.counts["documents"] == 4
        gone = await client.data.delete("user", **OWNER, confirm="u1")
        assert gone.fully_removed
        assert (await client.data.status(gone.deletion_id)).status == "complete"

    on(sdk, work)
    assert server.admin.summary()["documents"] == 0


def test_a_degraded_retrieval_reaches_the_caller(server, sdk):
    server.admin.configure(retrieval={"level": "failed"})
    fetched = on(sdk, lambda client: client.user.context.fetch(**OWNER, search_query=["oslo"]))
    assert (fetched.retrieval.level, fetched.facts) == ("failed", [])
