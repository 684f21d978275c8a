"""Every provider of the repository as source and as target of the same memories."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from memxfer import migration
from memxfer.archive import ArchiveWriter, Origin, encode_line
from memxfer.emulation import serve_in_thread
from memxfer.models import MemoryRecord, sanitise_record
from memxfer.spi import Dimension, MemoryProvider, SystemClock
from memxfer_archive import ArchiveConfig, ArchiveProvider
from memxfer_mem0 import Mem0OssConfig, Mem0OssProvider
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore
from memxfer_synap import SynapConfig, SynapProvider
from memxfer_synap.emulator import EMULATOR_API_KEY, SynapEmulator, SynapSettings
from tests.pairs.population import NOW

SOURCES = ("archive", "mem0-oss", "memory")
TARGETS = ("archive", "mem0-oss", "memory", "synap")
PAIRS = [(source, target) for source in SOURCES for target in TARGETS]

DECIDED: Mapping[str, Mapping[str, Any]] = {
    "archive": {},
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
        synap: Address of the emulator.
    """

    folder: Path
    synap: str

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

    def mem0_app(self, config_file: Path) -> Mem0OssProvider:
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

    # -- synap --------------------------------------------------------------------------------

    def _empty_synap(self, **settings: Any) -> SynapProvider:
        config = SynapConfig.model_validate(
            {
                "provider": "synap",
                "api_key": EMULATOR_API_KEY,
                "base_url": self.synap,
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
    """Stores of one test, and an emulator of Synap."""
    with (
        contextlib.closing(SynapEmulator(SynapSettings())) as emulator,
        serve_in_thread(emulator) as server,
        warnings.catch_warnings(),
    ):
        for module in ("importlib", "mem0", "qdrant_client"):
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=rf"{module}(\.|$)")
        yield Pairs(tmp_path, server.base_url)
    for name in ("full", "empty"):
        MemoryStore.forget(name)
