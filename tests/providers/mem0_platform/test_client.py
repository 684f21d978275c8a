"""The vendor's client: how it is opened, what it is kept from, what its failures mean unseen."""

import asyncio
import importlib.metadata
import subprocess
import sys
from datetime import UTC, datetime

import httpx
import pytest

from memxfer.spi import (
    AmbiguousError,
    AuthError,
    BatchRefusedError,
    ConfigError,
    FatalError,
    ProviderNotInstalledError,
    QuotaExceededError,
    RateLimitedError,
    RecordError,
    Role,
    UnavailableError,
)
from memxfer_mem0_platform import Mem0PlatformConfig
from memxfer_mem0_platform.sdk import import_mem0
from memxfer_mem0_platform.wire import Exchange, meaning_of

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def meaning(failure, *, is_write=True):
    return meaning_of(failure, Exchange(), operation="write", is_write=is_write, now=lambda: NOW)


def vendor_error(status, **details):
    import_mem0()
    from mem0.exceptions import create_exception_from_response

    return create_exception_from_response(status_code=status, response_text="said", **details)


def test_the_client_is_a_version_that_was_read():
    assert importlib.metadata.version("mem0ai").startswith("2.")


async def test_connecting_proves_the_key_and_names_the_project(platform):
    provider = platform.provider()
    info = await provider.connect(Role.TARGET)
    assert info.summary == "Mem0 Platform project proj_emulator"
    assert info.details["organisation"] == "org_emulator"
    assert (provider.store().provider, provider.store().namespace) == ("mem0", "proj_emulator")
    assert platform.calls() == {"GET /v1/ping/": 1}
    assert provider.sdk_package() == "mem0ai"


async def test_a_rotated_key_is_the_same_store(platform):
    platform.configure(api_keys=["old", "new"])
    stores = set()
    for key in ("old", "new"):
        provider = platform.provider(api_key=key)
        await provider.connect(Role.SOURCE)
        stores.add(provider.store())
    assert len(stores) == 1


async def test_a_ping_without_a_project_is_no_platforms(platform):
    platform.configure(project_id=None)
    with pytest.raises(FatalError, match="self-hosted"):
        await platform.target()


async def test_a_project_can_have_another_name_in_keys(platform):
    assert (await platform.target(namespace="mine")).store().namespace == "mine"


PINGS = {
    "401": ({"status": 401}, AuthError),
    "403": ({"status": 403}, AuthError),
    "429": ({"preset": "rate_limited"}, RateLimitedError),
    "503": ({"status": 503}, UnavailableError),
    "404": ({"status": 404}, FatalError),
    "no JSON": ({"malformed": True, "when": "after"}, FatalError),
    "list": ({"status": 200, "body": [1]}, FatalError),
    "reset": ({"close": "reset"}, UnavailableError),
    "cut": ({"cut": 5, "when": "after"}, UnavailableError),
    "elsewhere": ({"status": 301, "headers": {"location": "/x"}}, FatalError),
}


@pytest.mark.parametrize(("action", "kind"), PINGS.values(), ids=PINGS.keys())
async def test_a_ping_that_fails_is_an_error_of_its_kind(platform, action, kind):
    provider = platform.provider()
    platform.break_with("/v1/ping/", **action)
    with pytest.raises(kind) as caught:
        await provider.connect(Role.TARGET)
    assert type(caught.value) is kind
    platform.mend()
    await provider.connect(Role.TARGET)


@pytest.mark.parametrize("key", [" ", "split\nkey", "clé"])
async def test_a_key_that_is_none_is_neither_quoted_nor_replaced_by_the_environments(
    platform, monkeypatch, key
):
    monkeypatch.setenv("MEM0_API_KEY", "m0-local-only-key")
    with pytest.raises(ConfigError, match="api_key is empty") as caught:
        await platform.target(api_key=key)
    assert caught.value.__cause__ is None
    assert key not in str(caught.value) or not key.strip()


async def test_a_key_with_a_line_break_at_its_end_is_the_key(platform):
    await platform.target(api_key="m0-local-only-key\n")


async def test_nothing_is_asked_of_proxies_for_this_machine(platform, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    await platform.target()


async def test_calls_run_side_by_side_and_off_the_loop(platform, record):
    target = await platform.target()
    platform.configure(latency_seconds=0.2)
    documents = [target.prepare(record(number), f"mx:{number}", {}) for number in range(16)]
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.ensure_future(tick())
    await asyncio.gather(*(target.write([document]) for document in documents))
    ticking.cancel()
    assert len(platform.truth()) == 16
    assert ticks > 5, "the loop stood still"


async def test_a_missing_client_names_the_extra(platform, monkeypatch):
    import_mem0()
    monkeypatch.setitem(sys.modules, "mem0", None)
    with pytest.raises(ProviderNotInstalledError, match=r"memxfer\[mem0-platform\]"):
        await platform.target()


def test_importing_the_provider_imports_no_client():
    program = (
        "import sys, memxfer_mem0_platform as m; m.Mem0PlatformProvider.config_model.model_fields;"
        "bad = {'mem0', 'openai', 'qdrant_client'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_client_neither_phones_home_nor_writes_to_the_home_folder(tmp_path):
    program = (
        "import os, warnings; warnings.simplefilter('ignore');"
        "from memxfer_mem0_platform.sdk import import_mem0; import_mem0();"
        "from mem0.memory import telemetry;"
        "assert telemetry.client_telemetry.posthog is None;"
        "print(os.environ['MEM0_DIR'])"
    )
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*")) == []
    assert not done.stdout.startswith(str(tmp_path))


# -- exceptions whose exchange was not seen -----------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BatchRefusedError),
        (401, AuthError),
        (404, FatalError),
        (413, QuotaExceededError),
        (429, RateLimitedError),
        (500, AmbiguousError),
        (503, AmbiguousError),
    ],
)
def test_the_vendors_exceptions_are_judged_by_their_status(status, kind):
    assert type(meaning(vendor_error(status))) is kind


def test_the_vendors_wait_is_taken_over():
    found = meaning(vendor_error(429, debug_info={"retry_after": 9}))
    assert found.retry_after == 9


@pytest.mark.parametrize(
    ("code", "is_write", "kind"),
    [
        ("NET_CONNECT", True, UnavailableError),
        ("NET_TIMEOUT", True, AmbiguousError),
        ("NET_GENERIC", True, AmbiguousError),
        ("NET_TIMEOUT", False, UnavailableError),
    ],
)
def test_the_vendors_network_errors_are_judged_by_their_code(code, is_write, kind):
    import_mem0()
    from mem0.exceptions import NetworkError

    assert type(meaning(NetworkError(message="secret words", error_code=code), is_write=is_write)) is kind


def test_what_the_client_refuses_by_itself_was_not_sent():
    assert type(meaning(ValueError("secret words"))) is BatchRefusedError
    found = meaning(ValueError("secret words"), is_write=False)
    assert type(found) is RecordError
    assert "secret" not in str(found)


def test_a_lost_answer_is_told_from_a_refused_connection():
    lost = Exchange(error=httpx.ReadError("gone"))
    refused = Exchange(error=httpx.ConnectError("no"))
    details = {"operation": "write", "is_write": True, "now": lambda: NOW}
    assert type(meaning_of(ValueError(), lost, **details)) is AmbiguousError
    assert type(meaning_of(ValueError(), refused, **details)) is UnavailableError


# -- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("unscoped", ["assign:", "assign: x", "assign:*", "everybody"])
def test_a_decision_that_is_none_is_refused(unscoped):
    with pytest.raises(ValueError, match="unscoped"):
        Mem0PlatformConfig(provider="mem0", api_key="k", unscoped=unscoped)


def test_what_decides_is_noted_in_a_plan():
    config = Mem0PlatformConfig(provider="mem0", api_key="k", unscoped="skip", undated="send", history=False)
    assert config.decisions() == {"unscoped": "skip", "undated": "send", "history": "False"}
    assert config.url == "https://api.mem0.ai"
