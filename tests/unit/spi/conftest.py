from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from memxfer.spi import (
    BackendInfo,
    Capabilities,
    ConnectionConfig,
    Document,
    MemoryProvider,
    MemoryRecord,
    Outcome,
    RawPage,
    StoreIdentity,
    WriteReceipt,
)


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Opened(MemoryProvider[ConnectionConfig]):
    """The least a provider can be; neither source nor target."""

    name: ClassVar[str] = "tiny"
    summary: ClassVar[str] = "for tests"
    config_model: ClassVar[type[ConnectionConfig]] = ConnectionConfig

    def _capabilities(self):
        return Capabilities()

    def store(self):
        return StoreIdentity("tiny", "all")

    async def _connect(self, role):
        return BackendInfo(f"open as {role}")

    async def _aclose(self):
        pass


class Source(Opened):
    rows: Sequence[Any] = ()

    async def _read_page(self, partition, cursor, limit):
        return RawPage(self.rows, "next", total=9)

    def _decode(self, row, partition):
        if row == "marker":
            return None
        if isinstance(row, Exception):
            raise row
        return MemoryRecord(id=row["id"], content=row["content"], metadata=row.get("metadata", {}))

    def _row_id(self, row):
        return row["id"]


class Target(Opened):
    begun: tuple = ()
    finished = 0
    missing = 0

    async def _begin(self, source):
        self.begun = (*self.begun, source)

    async def _finish(self):
        self.finished += 1

    def _prepare(self, record, key, envelope):
        return Document(
            key=key, record_id=record.id, body=dict(envelope), size=1, scope="user", changes=("cut",)
        )

    async def _write(self, batch):
        return [WriteReceipt(Outcome.CREATED)] * (len(batch) - self.missing)


@pytest.fixture
def opened():
    return Opened(ConnectionConfig(provider="tiny"))


@pytest.fixture
def source():
    return Source(ConnectionConfig(provider="tiny"))


@pytest.fixture
def target():
    return Target(ConnectionConfig(provider="tiny"))
