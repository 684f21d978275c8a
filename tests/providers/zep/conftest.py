import socket
from hashlib import sha256

import httpx
import msgspec
import pytest

from memxfer.emulation import FaultPlan, FaultRule, serve_in_thread
from memxfer.spi import IngestState, MemoryProvider, Role, Timeouts, Wanted
from memxfer.testing.conformance.driver import read_partition
from memxfer_zep import ZepConfig, ZepProvider
from memxfer_zep.emulator import EMULATOR_API_KEY, ZepEmulator, ZepSettings


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Time:
    """Epoch seconds that a test sets by hand."""

    now = 1_764_000_000.0
    step = 0.0
    """Seconds that pass with every look at it."""

    def __call__(self):
        self.now += self.step
        return self.now


class Staging:
    """Makes containers for a target, once each, and waits for their tasks."""

    def __init__(self, target, *, job="job"):
        self.target = target
        self.job = job
        self.ids = {}

    def wanted(self, container, *, tries=1, since=None, taken=frozenset()):
        return Wanted(
            container=container,
            within_id=self.ids.get(container.within),
            token=sha256(f"{self.job} {container.name}".encode()).hexdigest()[:32],
            tries=tries,
            since=since or self.target.clock.now(),
            taken=taken,
        )

    async def stage(self, document):
        """Return the document with the ids of its containers."""
        for container in document.containers:
            if container.name not in self.ids:
                [made] = await self.target.ensure([self.wanted(container)])
                if made.task is not None:
                    status = await self.target.ingest_status(made.task)
                    assert status.state is IngestState.STORED
                self.ids[container.name] = made.target_id
        ids = tuple(self.ids[container.name] for container in document.containers)
        return msgspec.structs.replace(document, container_ids=ids)


class StagedZep(ZepProvider):
    """A provider whose `write` takes documents as `prepare` gives them; the suite has no engine."""

    async def _write(self, batch):
        staging = self.__dict__.setdefault("staging", Staging(self))
        lanes, receipts = {}, {}
        for index, document in enumerate(batch):
            [joined] = self.join([document]) if document.group else [None]
            whole = joined.document if joined else document
            lane = whole.lane if not document.group else f"{whole.lane} {index}"
            lanes.setdefault(lane, []).append((index, await staging.stage(whole)))
        for members in lanes.values():
            answers = await super()._write([document for _, document in members])
            receipts |= {index: answer for (index, _), answer in zip(members, answers, strict=True)}
        return [receipts[index] for index in range(len(batch))]


class ReadingZep(ZepProvider):
    """A source alone: what a unit reads need not be what the connection writes."""

    _write = MemoryProvider._write

    def _capabilities(self):
        return super()._capabilities().model_copy(update={"writing": None})


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

    def reading_provider(self, **settings):
        """Return a provider that cannot write."""
        self.providers.append(ReadingZep(self.config(**settings)))
        return self.providers[-1]

    def staged_provider(self, **settings):
        """Return a provider that makes containers and keeps lanes apart by itself."""
        self.providers.append(StagedZep(self.config(**settings)))
        return self.providers[-1]

    def staging(self, target, **options):
        return Staging(target, **options)

    async def target(self, **settings):
        """Return a provider that is open for writing."""
        provider = self.provider(**settings)
        await provider.connect(Role.TARGET)
        return provider

    def truth(self, kind):
        """Return the objects of a kind, as the emulator holds them."""
        every = self.emulator.truth(0, 10**6, brief=False)["documents"]
        return [msgspec.json.decode(one["document"]) for one in every if one["kind"] == kind]

    def counts(self):
        return {kind: count for kind, count in self.emulator.summary().items() if count}

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
    clock.now, clock.step = Time.now, Time.step
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
