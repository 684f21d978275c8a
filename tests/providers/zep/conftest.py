import socket

import httpx
import pytest

from memxfer.emulation import FaultPlan, FaultRule, serve_in_thread
from memxfer.spi import Role, Timeouts
from memxfer.testing.conformance.driver import read_partition
from memxfer_zep import ZepConfig, ZepProvider
from memxfer_zep.emulator import EMULATOR_API_KEY, ZepEmulator, ZepSettings


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Time:
    """Epoch seconds that a test sets by hand."""

    now = 1_764_000_000.0

    def __call__(self):
        return self.now


class Zep:
    """An emulator on a socket, what is put into it, and providers connected to it."""

    def __init__(self, emulator, url, clock):
        self.emulator = emulator
        self.url = url
        self.clock = clock
        self.providers = []

    def configure(self, **settings):
        self.emulator.apply(ZepSettings(**settings))

    def break_with(self, path="/api/v4/", /, *, match=None, **action):
        rule = FaultRule.model_validate({"match": {"path": path, **(match or {})}, "action": action})
        self.emulator.faults = FaultPlan([rule])

    def put(self, kind, *rows, **fields):
        """Put objects in; return the uuid, or the uuids of several."""
        uuids = self.emulator.seed(kind, *(rows or (fields,)))
        return uuids if rows else uuids[0]

    def user(self, **fields):
        """Put a user in; return the uuids of user and graph."""
        uuid = self.put("user", **fields)
        return uuid, self.emulator.store.get(EMULATOR_API_KEY, "user", uuid)["graph_uuid"]

    def facts(self, graph, count, **fields):
        rows = [{"fact": f"fact number {n}", "graph_uuid": graph, **fields} for n in range(count)]
        return self.emulator.seed("edge", *rows)

    def config(self, **settings):
        defaults = {
            "provider": "zep",
            "api_key": EMULATOR_API_KEY,
            "base_url": self.url,
            "timeouts": Timeouts(connect=2, read=5, write=5),
        }
        return ZepConfig(**{**defaults, **settings})

    def provider(self, *, clock=None, **settings):
        self.providers.append(ZepProvider(self.config(**settings), clock=clock))
        return self.providers[-1]

    async def connected(self, **settings):
        provider = self.provider(**settings)
        await provider.connect(Role.SOURCE)
        return provider

    async def records(self, *, limit=100, **settings):
        """Return all records, as the engine would read them without its guards."""
        pages = await self.pages(limit=limit, **settings)
        assert not [defect for page in pages for defect in page.defects]
        return [record for page in pages for record in page.records]

    async def pages(self, *, limit=100, **settings):
        provider = await self.connected(**settings)
        return [
            page
            async for partition in provider.list_partitions()
            for page in await read_partition(provider, partition, limit=limit)
        ]

    def calls(self):
        return httpx.get(f"{self.url}/_emulator/requests?tail=1000", trust_env=False).json()["calls"]


@pytest.fixture(scope="module")
def running_emulator():
    clock = Time()
    emulator = ZepEmulator(clock=clock)
    with serve_in_thread(emulator) as server:
        yield server, clock
    emulator.close()


@pytest.fixture
def emulated(running_emulator):
    """Give an emulator that holds nothing yet."""
    server, clock = running_emulator
    clock.now = Time.now
    server.emulator.apply(ZepSettings())
    server.emulator.reset()
    return Zep(server.emulator, server.base_url, clock)


@pytest.fixture
async def zep(emulated):
    """Close what is connected to the emulator afterwards."""
    yield emulated
    for provider in emulated.providers:
        await provider.aclose()


@pytest.fixture
def free_port():
    """Give a loopback port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
