import asyncio
import logging
import socket
import warnings
from datetime import UTC, datetime

import pytest

from memxfer.emulation import FaultPlan, FaultRule, serve_in_thread
from memxfer.spi import MemoryRecord, Role, Scope, Timeouts
from memxfer_mem0_platform.emulator import EMULATOR_API_KEY, Mem0PlatformEmulator, Mem0PlatformSettings
from memxfer_mem0_platform.emulator.rows import Memory

BORN = datetime(2025, 3, 1, 8, 30, 15, tzinfo=UTC)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def _vendor_noise():
    """Deprecations inside the vendor's packages are theirs; ours stay errors."""
    with warnings.catch_warnings():
        for module in ("importlib", "mem0", "posthog", "qdrant_client"):
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=rf"{module}(\.|$)")
        yield


@pytest.fixture(autouse=True)
def _quiet_mem0(caplog):
    caplog.set_level(logging.CRITICAL, logger="mem0")


class Platform:
    """An emulator on a socket, and providers connected to it."""

    def __init__(self, server):
        self.emulator = server.emulator
        self.admin = server.admin
        self.url = server.base_url
        self.providers = []

    def configure(self, **settings):
        self.emulator.apply(self.emulator.settings.updated(settings))

    def break_with(self, path="/v3/memories/add/", /, *, match=None, **action):
        rule = FaultRule.model_validate({"match": {"path": path, **(match or {})}, "action": action})
        self.emulator.faults = FaultPlan([rule])

    def mend(self):
        self.emulator.faults = FaultPlan()

    def put(self, number=1, **fields):
        """Store a memory past the API."""
        defaults = {
            "id": "",
            "text": f"Ann likes tea number {number}.",
            "scope": {"user_id": "ann"},
            "created_at": BORN,
            "updated_at": BORN,
        }
        return self.emulator.put(Memory(**{**defaults, **fields}))

    def settings(self, **settings):
        return {
            "provider": "mem0",
            "api_key": EMULATOR_API_KEY,
            "base_url": self.url,
            "timeouts": Timeouts(connect=2, read=5, write=5),
            **settings,
        }

    def provider(self, **settings):
        from memxfer_mem0_platform import Mem0PlatformConfig, Mem0PlatformProvider

        self.providers.append(Mem0PlatformProvider(Mem0PlatformConfig(**self.settings(**settings))))
        return self.providers[-1]

    async def target(self, **settings):
        provider = self.provider(**settings)
        await provider.connect(Role.TARGET)
        return provider

    async def source(self, **settings):
        provider = self.provider(**settings)
        await provider.connect(Role.SOURCE)
        return provider

    def truth(self):
        return list(self.emulator.truth(0, 10**6, brief=True)["documents"])

    def texts(self):
        return sorted(one["memory"] for one in self.truth())

    def calls(self):
        return self.emulator.tally.report(1000)["by_route"]


@pytest.fixture(scope="session")
def running_emulator():
    emulator = Mem0PlatformEmulator()
    with serve_in_thread(emulator) as server:
        yield server
    emulator.close()


@pytest.fixture
def platform(running_emulator):
    """Give an emulator that knows nothing yet; what is connected to it is closed afterwards."""
    running_emulator.emulator.reset()
    running_emulator.emulator.apply(Mem0PlatformSettings())
    fresh = Platform(running_emulator)
    yield fresh
    for provider in fresh.providers:
        asyncio.run(provider.aclose())


@pytest.fixture
def record():
    """Make records; every one has a user and a date unless told otherwise."""

    def make(number=1, **fields):
        defaults = {
            "id": f"m{number}",
            "content": f"Ann likes tea number {number}.",
            "scope": Scope(user="ann"),
            "created_at": BORN,
        }
        return MemoryRecord(**{**defaults, **fields})

    return make


@pytest.fixture
def free_port():
    """Give a loopback port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
