import socket
import uuid
from datetime import UTC, datetime

import httpx
import pytest

from memxfer.emulation import FaultPlan, FaultRule, serve_in_thread
from memxfer.spi import Document, MemoryRecord, Outcome, Role, Scope, Timeouts
from memxfer_synap import SynapConfig, SynapProvider
from memxfer_synap.emulator import EMULATOR_API_KEY, SynapEmulator, SynapSettings


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=["http", "sdk"])
def transport(request):
    """Both clients behind the provider's port; every test that asks for it runs twice."""
    return request.param


class Synap:
    """An emulator on a socket, and providers connected to it."""

    def __init__(self, emulator, url, transport):
        self.emulator = emulator
        self.url = url
        self.transport = transport
        self.providers = []
        self.break_with()  # changes nothing, counts batches

    def configure(self, **settings):
        self.emulator.apply(SynapSettings(**settings))

    def break_with(self, path="/api/v1/memories/batch", /, *, match=None, **action):
        rule = FaultRule.model_validate({"match": {"path": path, **(match or {})}, "action": action})
        self.emulator.faults = FaultPlan([rule])

    def provider(self, **settings):
        defaults = {
            "provider": "synap",
            "api_key": EMULATOR_API_KEY,
            "base_url": self.url,
            "transport": self.transport,
            "customer_id": "acme",
            "timeouts": Timeouts(connect=2, read=5, write=5),
        }
        self.providers.append(SynapProvider(SynapConfig(**{**defaults, **settings})))
        return self.providers[-1]

    async def connected(self, **settings):
        provider = self.provider(**settings)
        await provider.connect(Role.TARGET)
        return provider

    def stored(self):
        """Return document id -> times stored, the emulator's own truth."""
        return {one["document_id"]: one["times_stored"] for one in self.truth()}

    def truth(self):
        return httpx.get(f"{self.url}/_emulator/truth", trust_env=False).json()["documents"]

    def calls(self):
        return httpx.get(f"{self.url}/_emulator/requests?tail=1000", trust_env=False).json()["calls"]

    def batches_sent(self):
        """Count the batches that arrived: by a rule, which counts before anything else happens."""
        [rule] = self.emulator.faults.report()
        return rule["seen"]


@pytest.fixture(scope="module")
def running_emulator():
    emulator = SynapEmulator()
    with serve_in_thread(emulator) as server:
        yield server
    emulator.close()


@pytest.fixture
async def synap(running_emulator, transport):
    """Give an emulator that knows nothing yet; what is connected to it is closed afterwards."""
    emulator = running_emulator.emulator
    emulator.reset()
    emulator.apply(SynapSettings())
    fresh = Synap(emulator, running_emulator.base_url, transport)
    yield fresh
    for provider in fresh.providers:
        await provider.aclose()


@pytest.fixture
def record():
    """Make records; every one has a user and a date unless told otherwise."""

    def make(number=1, **fields):
        defaults = {
            "id": f"m{number}",
            "content": f"Ann likes tea number {number}.",
            "scope": Scope(user="ann"),
            "created_at": datetime(2025, 1, number % 27 + 1, 12, 30, tzinfo=UTC),
        }
        return MemoryRecord(**{**defaults, **fields})

    return make


@pytest.fixture
def documents(record):
    """Prepare documents `mx:1` to `mx:n`."""

    def prepare(provider, count=3, **fields):
        return [provider.prepare(record(n, **fields), f"mx:{n}", {}) for n in range(1, count + 1)]

    return prepare


@pytest.fixture
async def app(synap):
    """Connect as an app does."""

    async def connected(**settings):
        provider = synap.provider(**settings)
        await provider.connect(Role.APP)
        return provider

    return connected


async def say(provider, text, *, scope=None, number=None, **fields):
    """Hand in one record, as a client does it."""
    key = f"d{number or uuid.uuid4()}"
    at = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
    defaults = {"scope": scope or Scope(user="ann"), "created_at": at, "occurred_at": at}
    record = MemoryRecord(id=key, content=text, **{**defaults, **fields})
    prepared = provider.prepare(record, key, {})
    assert isinstance(prepared, Document), prepared
    [receipt] = await provider.write([prepared])
    assert receipt.outcome is Outcome.PENDING
    return receipt


@pytest.fixture
def free_port():
    """Give a loopback port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
