import socket
import uuid

import pytest

from memxfer.emulation import FaultPlan, FaultRule, serve_in_thread
from memxfer.spi import Role, Timeouts
from memxfer.testing.conformance.driver import read_partition
from memxfer_mem0_server import Mem0ServerConfig, Mem0ServerProvider
from memxfer_mem0_server.emulator import EMULATOR_API_KEY, Mem0ServerEmulator, Mem0ServerSettings

BORN = "2025-03-01T08:30:15.250000+00:00"


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Server:
    """An emulator on a socket, what is put into it, and providers connected to it."""

    def __init__(self, server):
        self.emulator = server.emulator
        self.url = server.base_url
        self.providers = []
        self.number = 0

    def configure(self, **settings):
        self.emulator.apply(self.emulator.settings.updated(settings))

    def break_with(self, path="/memories", /, *, match=None, **action):
        rule = FaultRule.model_validate({"match": {"path": path, **(match or {})}, "action": action})
        self.emulator.faults = FaultPlan([rule])

    def put(self, count=1, **fields):
        """Store rows past the API; return their ids."""
        rows = []
        for _ in range(count):
            self.number += 1
            row = {
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, str(self.number))),
                "memory": f"Ann likes tea number {self.number}.",
                "metadata": {},
                "created_at": BORN,
                "updated_at": BORN,
            }
            rows.append({**row, **fields})
        self.emulator.store.put(*rows)
        return [row["id"] for row in rows]

    def note(self, memory_id, event, old, new, at=BORN, **fields):
        row = {"memory_id": memory_id, "old_memory": old, "new_memory": new, "event": event}
        more = {"id": str(uuid.uuid4()), "created_at": BORN, "updated_at": at, "is_deleted": False}
        self.emulator.store.add_history({**row, **more, **fields})

    def settings(self, **settings):
        defaults = {
            "provider": "mem0-server",
            "api_key": EMULATOR_API_KEY,
            "base_url": self.url,
            "history": False,
            "timeouts": Timeouts(connect=2, read=5, write=5),
        }
        return {**defaults, **settings}

    def provider(self, *, clock=None, **settings):
        config = Mem0ServerConfig(**self.settings(**settings))
        self.providers.append(Mem0ServerProvider(config, clock=clock))
        return self.providers[-1]

    async def connected(self, **settings):
        provider = self.provider(**settings)
        await provider.connect(Role.SOURCE)
        return provider

    async def names(self, **settings):
        provider = await self.connected(**settings)
        return [partition.name async for partition in provider.list_partitions()]

    async def pages(self, *, limit=1000, **settings):
        provider = await self.connected(**settings)
        return [
            page
            async for partition in provider.list_partitions()
            for page in await read_partition(provider, partition, limit=limit)
        ]

    async def records(self, *, limit=1000, **settings):
        pages = await self.pages(limit=limit, **settings)
        assert not [defect for page in pages for defect in page.defects]
        return [record for page in pages for record in page.records]

    def truth(self):
        return list(self.emulator.truth(0, 10**6, brief=True)["documents"])

    def calls(self):
        return [call["path"] for call in self.emulator.tally.report(10_000)["calls"]]


@pytest.fixture(scope="session")
def running_emulator():
    emulator = Mem0ServerEmulator()
    with serve_in_thread(emulator) as server:
        yield server
    emulator.close()


@pytest.fixture
def emulated(running_emulator):
    """Give an emulator that holds nothing yet."""
    running_emulator.emulator.apply(Mem0ServerSettings())
    running_emulator.emulator.reset()
    running_emulator.emulator.faults = FaultPlan()
    return Server(running_emulator)


@pytest.fixture
async def server(emulated):
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
