"""Every provider of the repository as source and as target of the same memories."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from memxfer import migration
from memxfer.archive import ArchiveWriter, Origin, encode_line
from memxfer.emulation import serve_in_thread
from memxfer.models import MemoryRecord, sanitise_record
from memxfer.spi import Dimension, MemoryProvider, SystemClock
from memxfer_archive import ArchiveConfig, ArchiveProvider
from memxfer_graphiti import GraphitiConfig, GraphitiProvider
from memxfer_mem0 import Mem0OssConfig, Mem0OssProvider
from memxfer_mem0_platform import Mem0PlatformConfig, Mem0PlatformProvider
from memxfer_mem0_platform.emulator import EMULATOR_API_KEY as MEM0_KEY
from memxfer_mem0_platform.emulator import Mem0PlatformEmulator
from memxfer_mem0_platform.emulator.rows import Memory
from memxfer_mem0_server import Mem0ServerConfig, Mem0ServerProvider
from memxfer_mem0_server.emulator import EMULATOR_API_KEY as SERVER_KEY
from memxfer_mem0_server.emulator import Mem0ServerEmulator
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore
from memxfer_synap import SynapConfig, SynapProvider
from memxfer_synap.emulator import EMULATOR_API_KEY, SynapEmulator, SynapSettings
from memxfer_zep import ZepConfig, ZepProvider
from memxfer_zep.emulator import EMULATOR_API_KEY as ZEP_KEY
from memxfer_zep.emulator import ZepEmulator
from tests.pairs.population import BORN, NOW

SOURCES = ("archive", "graphiti", "mem0", "mem0-oss", "mem0-server", "memory", "zep")
TARGETS = ("archive", "graphiti", "mem0", "mem0-oss", "memory", "synap", "zep")
PAIRS = [(source, target) for source in SOURCES for target in TARGETS]

DECIDED: Mapping[str, Mapping[str, Any]] = {
    "archive": {},
    "graphiti": {"unscoped": "skip", "widening": "allow"},
    "mem0": {"unscoped": "skip", "undated": "skip", "widening": "allow"},
    "mem0-oss": {"unscoped": "skip", "widening": "allow"},
    "memory": {
        "unscoped": "skip",
        "oversize": "skip",
        "widening": "allow",
        "required_axes": ["user"],
        "metadata_depth": 4,
        "metadata_keys": 50,
        "content_bytes": 50_000,
        "drops": [Dimension.VERSIONS, Dimension.TENANT, Dimension.TAGS],
    },
    "synap": {"unscoped": "skip", "undated": "skip", "oversize": "skip", "widening": "allow"},
    "zep": {"unscoped": "skip", "undated": "skip", "oversize": "skip", "widening": "allow"},
}
"""Settings under which nothing is left to decide."""


class StoppedClock(SystemClock):
    """Always the same time of day; waiting takes its time."""

    def now(self) -> datetime:
        """Return the moment of the population."""
        return NOW


@dataclass
class Pairs:
    """Makes stores in a folder.

    Attributes:
        folder: Where their files are.
        emulators: Closes what was started.
    """

    folder: Path
    emulators: contextlib.ExitStack

    servers: dict[str, Any] = field(default_factory=dict)

    def _serve(self, emulator: Any) -> Any:
        self.emulators.enter_context(contextlib.closing(emulator))
        server = self.emulators.enter_context(serve_in_thread(emulator))
        self.servers[emulator.name] = server
        return server

    def server_of(self, name: str) -> Any:
        """Return the emulator of this provider that was started last."""
        return self.servers[name]

    async def source(self, name: str, records: list[MemoryRecord]) -> MemoryProvider[Any]:
        """Return a provider of this name over a store that holds `records`, as far as it can."""
        return await getattr(self, f"_fill_{name.replace('-', '_')}")(records)

    def target(self, name: str, **settings: Any) -> MemoryProvider[Any]:
        """Return a provider of this name over an empty store."""
        return getattr(self, f"_empty_{name.replace('-', '_')}")(**settings)

    # -- archive ------------------------------------------------------------------------------

    async def _fill_archive(self, records: list[MemoryRecord]) -> ArchiveProvider:
        folder = self.folder / "full"
        with ArchiveWriter(folder, now=lambda: NOW) as writer:
            writer.begin(Origin(provider="mem0-oss", namespace="app"))
            lines = [(f"mx:mem0-oss:app:{one.id!r}", sanitise_record(one)) for one in records]
            writer.append([(key, encode_line(key, record)) for key, record in lines])
            writer.finish()
        return ArchiveProvider(ArchiveConfig(provider="archive", path=folder), clock=StoppedClock())

    def _empty_archive(self, **settings: Any) -> ArchiveProvider:
        config = ArchiveConfig(provider="archive", path=self.folder / "empty", **settings)
        return ArchiveProvider(config, clock=StoppedClock())

    # -- memory -------------------------------------------------------------------------------

    async def _fill_memory(self, records: list[MemoryRecord]) -> MemoryReferenceProvider:
        MemoryStore.named("full").seed(sanitise_record(one) for one in records)
        return MemoryReferenceProvider(MemoryConfig(provider="memory", store="full"), clock=StoppedClock())

    def _empty_memory(self, **settings: Any) -> MemoryReferenceProvider:
        config = MemoryConfig.model_validate({"provider": "memory", "store": "empty", **settings})
        return MemoryReferenceProvider(config, clock=StoppedClock())

    # -- mem0-oss -----------------------------------------------------------------------------

    async def _fill_mem0_oss(self, records: list[MemoryRecord]) -> Mem0OssProvider:
        filling = await self._fill_memory(records)
        options = migration.Options(accept_loss=("all",), residue="off")
        await migration.migrate(
            filling,
            self._mem0("full", unscoped="skip", widening="allow"),
            state_dir=self.folder / "filling",
            options=options,
        )
        return self._mem0("full")

    def _empty_mem0_oss(self, **settings: Any) -> Mem0OssProvider:
        return self._mem0("empty", **settings)

    def mem0_oss_app(self, config_file: Path) -> Mem0OssProvider:
        """Return a provider over the store of an app."""
        config = Mem0OssConfig(provider="mem0-oss", config_file=config_file)
        return Mem0OssProvider(config, clock=StoppedClock())

    def _mem0(self, name: str, **settings: Any) -> Mem0OssProvider:
        folder = self.folder / f"mem0-{name}"
        memory = {
            "vector_store": {
                "provider": "qdrant",
                "config": {
                    "path": str(folder / "qdrant"),
                    "collection_name": "app",
                    "embedding_model_dims": 8,
                },
            },
            "history_db_path": str(folder / "history.db"),
        }
        block = {"provider": "mem0-oss", "memory": memory, "embedder": "local", **settings}
        return Mem0OssProvider(Mem0OssConfig.model_validate(block), clock=StoppedClock())

    # -- mem0 ---------------------------------------------------------------------------------

    async def _fill_mem0(self, records: list[MemoryRecord]) -> Mem0PlatformProvider:
        server = self._serve(Mem0PlatformEmulator())
        await migration.migrate(
            await self._fill_memory(records),
            self._platform(server.base_url, **DECIDED["mem0"]),
            state_dir=self.folder / "filling",
            options=migration.Options(accept_loss=("all",), residue="off"),
        )
        return self._platform(server.base_url)

    def mem0_app(self) -> Mem0PlatformProvider:
        """Return a provider over a project that an app filled."""
        server = self._serve(Mem0PlatformEmulator())
        for number in range(40):
            born = BORN + timedelta(hours=number)
            server.emulator.put(
                Memory(
                    id="",
                    text=f"Ann likes tea number {number}.",
                    scope=({"user_id": "ann"}, {"agent_id": "helper"}, {"user_id": "bob", "run_id": "s"})[
                        number % 3
                    ],
                    created_at=born,
                    updated_at=born + timedelta(minutes=number % 2),
                    metadata={"topic": "tea"} if number % 4 else None,
                    categories=["food"] if number % 5 == 0 else None,
                    expiration_date="2026-01-01" if number == 7 else None,
                    replaced_by="another" if number == 8 else None,
                    merged=number == 9,
                    synthesized=number == 10,
                )
            )
        return self._platform(server.base_url)

    def _empty_mem0(self, **settings: Any) -> Mem0PlatformProvider:
        return self._platform(self._serve(Mem0PlatformEmulator()).base_url, **settings)

    def _platform(self, url: str, **settings: Any) -> Mem0PlatformProvider:
        config = {"provider": "mem0", "api_key": MEM0_KEY, "base_url": url, **settings}
        return Mem0PlatformProvider(Mem0PlatformConfig.model_validate(config), clock=StoppedClock())

    # -- mem0-server --------------------------------------------------------------------------

    async def _fill_mem0_server(self, records: list[MemoryRecord]) -> Mem0ServerProvider:
        """Return a server with as many memories as there are records, of two users and an agent."""
        server = self._serve(Mem0ServerEmulator())
        owners = ({"user_id": "ann"}, {"user_id": "bob", "run_id": "s"}, {"agent_id": "helper"})
        for number in range(len(records)):
            born = (BORN + timedelta(hours=number)).isoformat()
            server.emulator.store.put(
                {
                    "id": str(UUID(int=0xB0000000000040008000000000000000 + number)),
                    "memory": f"Ann likes tea number {number}.",
                    "metadata": {"topic": "tea"} if number % 2 else {},
                    "created_at": born,
                    "updated_at": born,
                    **owners[number % 3],
                }
            )
        config = {"provider": "mem0-server", "api_key": SERVER_KEY, "base_url": server.base_url}
        config |= {"namespace": "app", "history": False}
        return Mem0ServerProvider(Mem0ServerConfig.model_validate(config), clock=StoppedClock())

    # -- zep ----------------------------------------------------------------------------------

    async def _fill_zep(self, records: list[MemoryRecord]) -> ZepProvider:
        """Return a project with as many facts as there are records, a tenth of them ended."""
        server = self._serve(ZepEmulator())
        emulator = server.emulator
        graphs = []
        for name in ("ann@example.org", "a/b", None):
            [user] = emulator.seed("user", {"user_id": name} if name else {})
            graphs.append(emulator.store.get(ZEP_KEY, "user", user)["graph_uuid"])
        graphs.extend(emulator.seed("graph", {"graph_id": "kb"}))
        for number in range(len(records)):
            ended = {"invalid_at": "2026-06-01T00:00:00Z", "expired_at": "2026-06-02T00:00:00.000001Z"}
            fact = {
                "fact": f"fact number {number}",
                "graph_uuid": graphs[number % 4],
                "name": "LIKES",
                "source_node_name": "ann",
                "target_node_name": "tea",
                "valid_at": "2026-01-01T00:00:00Z",
                "attributes": {"topic": "tea"} if number % 2 else {},
            }
            emulator.seed("edge", {**fact, **(ended if number % 10 == 0 else {})})
        config = ZepConfig(provider="zep", api_key=ZEP_KEY, base_url=server.base_url)
        return ZepProvider(config, clock=StoppedClock())

    def _empty_zep(self, **settings: Any) -> ZepProvider:
        config = {
            "provider": "zep",
            "api_key": ZEP_KEY,
            "base_url": self._serve(ZepEmulator()).base_url,
            **settings,
        }
        return ZepProvider(ZepConfig.model_validate(config), clock=StoppedClock())

    # -- graphiti -----------------------------------------------------------------------------

    async def _fill_graphiti(self, records: list[MemoryRecord]) -> GraphitiProvider:
        """Return a graph with all the memories that it takes as facts."""
        await migration.migrate(
            await self._fill_memory(records),
            self._graph("full", write="fact", **DECIDED["graphiti"]),
            state_dir=self.folder / "filling",
            options=migration.Options(accept_loss=("all",), residue="off"),
        )
        return self._graph("full")

    def _empty_graphiti(self, **settings: Any) -> GraphitiProvider:
        return self._graph("empty", **settings)

    def _graph(self, name: str, **settings: Any) -> GraphitiProvider:
        block = {"provider": "graphiti", "path": self.folder / f"{name}.kuzu", "buffer_pool_mb": 64}
        return GraphitiProvider(GraphitiConfig.model_validate({**block, **settings}), clock=StoppedClock())

    # -- synap --------------------------------------------------------------------------------

    def _empty_synap(self, **settings: Any) -> SynapProvider:
        config = SynapConfig.model_validate(
            {
                "provider": "synap",
                "api_key": EMULATOR_API_KEY,
                "base_url": self._serve(SynapEmulator(SynapSettings())).base_url,
                "customer_id": "acme",
                "transport": "http",
                **settings,
            }
        )
        return SynapProvider(config, clock=StoppedClock())


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"


@pytest.fixture
def pairs(tmp_path: Path) -> Iterator[Pairs]:
    """Stores of one test, with the emulators that they need."""
    with contextlib.ExitStack() as emulators, warnings.catch_warnings():
        for module in ("importlib", "mem0", "qdrant_client"):
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=rf"{module}(\.|$)")
        yield Pairs(tmp_path, emulators)
    for name in ("full", "empty"):
        MemoryStore.forget(name)
