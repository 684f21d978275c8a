"""The vendor's SDK: what is switched off, what is told apart without seeing the wire."""

import asyncio
import importlib.metadata
import subprocess
import sys

import httpx
import maximem_synap
import pytest

from memxfer.emulation import serve_in_thread
from memxfer.spi import (
    AmbiguousError,
    AuthError,
    BatchRefusedError,
    FatalError,
    IngestState,
    Message,
    NotReadyError,
    Outcome,
    ProviderNotInstalledError,
    QuotaExceededError,
    RateLimitedError,
    RecordError,
    Role,
    Scope,
    SystemClock,
    UnavailableError,
)
from memxfer_synap.client import sdk as sdk_module
from memxfer_synap.client.sdk_errors import from_sdk, unsent
from memxfer_synap.emulator import SynapEmulator

pytestmark = pytest.mark.anyio

NOW = SystemClock().now()


@pytest.fixture
def transport():
    return "sdk"


@pytest.fixture
def blind(monkeypatch):
    """Make the SDK one that takes no client, as a later version might be."""
    monkeypatch.setattr(sdk_module, "_send_through", lambda sdk, config: False)


def test_the_private_switches_are_those_of_this_version():
    assert importlib.metadata.version("maximem-synap") == "0.6.9"


async def test_nothing_but_the_calls_leaves_the_process_and_nothing_is_written_to_disk(
    synap, documents, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    provider = await synap.connected()
    for _ in range(30):  # 60 events: telemetry would have been sent at 50
        await provider.write(documents(provider))
    [receipt] = await provider.write(documents(provider, 1))
    await provider.ingest_status(receipt.ingestion_id)
    await provider.aclose()
    routes = {call["path"].rsplit("/status/", 1)[0] for call in synap.calls()}
    assert routes == {
        "/api/v1/auth/whoami",
        "/v1/context/client/fetch",
        "/api/v1/memories/batch",
        "/api/v1/memories",
    }
    assert synap.emulator.summary()["telemetry_events"] == 0
    assert list(tmp_path.rglob("*")) == []


async def test_no_task_of_the_sdk_goes_on(synap):
    before = asyncio.all_tasks()
    provider = await synap.connected()
    await asyncio.sleep(0)
    leftovers = {task for task in asyncio.all_tasks() - before if not task.done()}
    assert leftovers == set()
    transport = provider._client._sdk._http_transport
    assert transport._heartbeat_interval == 0
    assert transport.HEARTBEAT_INTERVAL_SECONDS == 240  # other SDKs of the process keep theirs
    assert transport.retry_policy is None


async def test_two_targets_of_one_process_do_not_become_one(synap, documents):
    other = SynapEmulator()
    with serve_in_thread(other) as server:
        first = await synap.connected()
        second = await synap.connected(base_url=server.base_url)
        await first.write(documents(first, 1))
        await second.write(documents(second, 2))
        theirs = httpx.get(f"{server.base_url}/_emulator/truth", trust_env=False).json()["total"]
        assert (len(synap.truth()), theirs) == (1, 2)
        await second.aclose()
    other.close()


async def test_the_environment_of_the_sdk_does_not_lead_it_astray(synap, documents, monkeypatch):
    monkeypatch.setenv("SYNAP_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SYNAP_API_KEY", "another")
    monkeypatch.setenv("SYNAP_INSTANCE_ID", "inst_0123456789abcdef")
    provider = await synap.connected()
    [receipt] = await provider.write(documents(provider, 1))
    assert receipt.outcome is Outcome.PENDING


async def test_a_missing_sdk_names_the_extra_and_the_way_without(synap, monkeypatch):
    monkeypatch.setitem(sys.modules, "maximem_synap", None)
    with pytest.raises(ProviderNotInstalledError, match=r"memxfer\[synap\].*transport = \"http\""):
        await synap.provider().connect(Role.TARGET)


def test_importing_the_provider_imports_no_sdk_and_no_http_client():
    program = (
        "import sys, memxfer_synap; memxfer_synap.SynapProvider.config_model.model_fields;"
        "bad = {'maximem_synap', 'grpc', 'httpx', 'aiohttp'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- without seeing the wire --------------------------------------------------------------------


async def test_without_the_wire_the_sdk_s_own_answers_are_read(synap, documents, blind):
    provider = await synap.connected()
    receipts = await provider.write(documents(provider))
    assert [receipt.outcome for receipt in receipts] == [Outcome.PENDING] * 3
    status = await provider.ingest_status(receipts[0].ingestion_id)
    assert (status.state, len(status.target_ids)) == (IngestState.STORED, 1)
    assert await provider.delete(status.target_ids) == 1
    assert await provider.delete(status.target_ids) == 0
    gone = await provider.ingest_status("00000000-0000-4000-8000-000000000000")
    assert gone.state is IngestState.GONE


async def test_without_the_wire_a_conversation_s_own_answers_are_read(synap, record, blind):
    provider = await synap.connected(conversations="transcript")

    def conversation(text):
        turn = Message(role="user", content=text)
        spoken = record(content=text, messages=(turn,), scope=Scope(user="ann", session="s"))
        [joined] = provider.join([provider.prepare(spoken, "mx:1", {})])
        return joined.document

    [first], [again] = [await provider.write([conversation("I like tea.")]) for _ in range(2)]
    assert (first.outcome, again.ingestion_id) == (Outcome.PENDING, first.ingestion_id)
    [other] = await provider.write([conversation("I like cocoa.")])
    assert (other.outcome, other.error.code) == (Outcome.REJECTED, "conflict")


@pytest.mark.parametrize(
    "action",
    [
        {"status": 500, "when": "after"},
        {"status": 202, "when": "after"},
        {"close": "reset", "when": "after"},
        {"cut": 60, "when": "after"},
        {"malformed": True, "when": "after"},
        {"body": {"results": [{"ingestion_id": None}]}, "when": "after"},
    ],
    ids=str,
)
async def test_without_the_wire_what_may_have_happened_is_still_unknown(synap, documents, blind, action):
    provider = await synap.connected()
    synap.break_with(**action)
    receipts = await provider.write(documents(provider))
    assert [receipt.outcome for receipt in receipts] == [Outcome.UNKNOWN] * 3
    assert synap.batches_sent() == 1


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ({"status": 429, "retry_after": "decimal"}, RateLimitedError),
        ({"status": 429, "retry_after": "date"}, RateLimitedError),
        ({"status": 429, "retry_after": "integer"}, RateLimitedError),
        ({"preset": "trial_limit_reached"}, QuotaExceededError),
        ({"preset": "insufficient_credits"}, QuotaExceededError),
        ({"preset": "instance_not_ready"}, NotReadyError),
        ({"status": 401}, AuthError),
        ({"status": 409, "body": {"detail": "already exists"}}, BatchRefusedError),
        ({"status": 422}, BatchRefusedError),
        ({"status": 413}, BatchRefusedError),
        ({"status": 404}, FatalError),
    ],
    ids=str,
)
async def test_without_the_wire_a_clear_refusal_is_still_clear(synap, documents, blind, action, kind):
    provider = await synap.connected()
    synap.break_with(**action)
    with pytest.raises(kind) as caught:
        await provider.write(documents(provider))
    assert type(caught.value) is kind
    assert caught.value.correlation_id


async def test_without_the_wire_a_refused_connection_is_not_a_lost_answer(synap, documents, blind, free_port):
    provider = await synap.connected()
    batch = documents(provider)
    http = provider._client._sdk._http_transport
    for _, client in http._clients.values():
        await client.aclose()
    http._clients.clear()
    http.base_url = f"http://127.0.0.1:{free_port}"
    with pytest.raises(UnavailableError):
        await provider.write(batch)


@pytest.mark.parametrize(
    ("error", "is_write", "kind"),
    [
        (maximem_synap.NetworkTimeoutError("Request timed out: "), True, AmbiguousError),
        (maximem_synap.NetworkTimeoutError("Request timed out: "), False, UnavailableError),
        (maximem_synap.NetworkTimeoutError("Connection failed: refused"), True, UnavailableError),
        (KeyError("results"), True, AmbiguousError),
        (TypeError("null"), True, AmbiguousError),
        (ValueError("badly formed"), True, AmbiguousError),
        (maximem_synap.SynapTransientError("HTTP 201: created"), True, AmbiguousError),
        (maximem_synap.SynapPermanentError("HTTP 413: too large"), True, BatchRefusedError),
        (maximem_synap.ServiceUnavailableError("down"), True, AmbiguousError),
        (maximem_synap.ContextNotFoundError("gone"), False, RecordError),
        (maximem_synap.InstanceBuildFailedError("failed"), True, FatalError),
    ],
    ids=repr,
)
def test_an_exception_whose_exchange_was_not_seen_is_judged_by_its_class(error, is_write, kind):
    found = from_sdk(error, operation="write", is_write=is_write, now=NOW)
    assert type(found) is kind
    assert found.operation == "write"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("surrogates"), BatchRefusedError),
        (maximem_synap.SynapTransientError("Unexpected error: surrogates not allowed"), BatchRefusedError),
        (maximem_synap.AuthenticationError("not initialized"), FatalError),
        (maximem_synap.InstanceNotReadyError("wait", retry_after_seconds=9), NotReadyError),
    ],
    ids=repr,
)
def test_what_the_sdk_refuses_by_itself_was_not_sent(error, kind):
    assert type(unsent(error, operation="write", is_write=True)) is kind
