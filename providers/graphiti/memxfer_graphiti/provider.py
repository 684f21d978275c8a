"""A Graphiti graph as source and target."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from memxfer.spi import (
    BackendInfo,
    Capabilities,
    ConfigError,
    Document,
    Ignored,
    LookupVisibility,
    MemoryProvider,
    MemoryRecord,
    Partition,
    Prepared,
    ProviderError,
    RawPage,
    Role,
    StoreIdentity,
    WriteReceipt,
    sanitise_record,
    stable_uuid,
)
from memxfer_graphiti.capabilities import MAX_PAGE, capabilities_of
from memxfer_graphiti.client import GraphitiClient
from memxfer_graphiti.config import NAME, GraphitiConfig
from memxfer_graphiti.documents import document_of
from memxfer_graphiti.engines import TABLES
from memxfer_graphiti.mapping import has_ended, record_of
from memxfer_graphiti.rows import row_of

__all__ = ["GraphitiProvider"]

_UNTESTED: Final = (
    "{engine} is reached as Graphiti's documentation says; memxfer's own tests run on Kuzu only"
)
_ENDED_TOO: Final = (
    "facts that have ended are moved too, marked as superseded; a target without validity takes them for "
    "current: current_only = true leaves them out"
)
_NO_VECTORS: Final = (
    "what is written has no vectors: until the app embeds it, Graphiti finds it by words and by graph, "
    "not by meaning"
)


class GraphitiProvider(MemoryProvider[GraphitiConfig]):
    """Reads and writes a graph of Graphiti's through its database: no model, no embedder, no network.

    The uuid of a row is made from the document key, so that a document is stored once however often it is
    sent. A row that memxfer wrote reads back as the record it was made from.
    """

    name: ClassVar[str] = NAME
    summary: ClassVar[str] = "Graphiti's temporal graph: on Kuzu; FalkorDB and Neo4j untested"
    config_model = GraphitiConfig
    lookup_visibility: ClassVar[LookupVisibility] = "immediate"

    _client: GraphitiClient | None = None
    _opened: Role | None = None
    _namespace: str | None = None
    _place: str = ""

    @classmethod
    def from_location(cls, location: str) -> dict[str, Any]:
        """Return the settings of `graphiti:./graph.kuzu`.

        Raises:
            ConfigError: The location is empty.
        """
        if not location:
            raise ConfigError("graphiti: names no file; write graphiti:./graph.kuzu")
        return {"provider": cls.name, "path": Path(location)}

    # -- life ---------------------------------------------------------------------------------

    async def _connect(self, role: Role) -> BackendInfo:
        if self._client is not None and self._opened is not role:
            await self._aclose()
        if self._client is None:
            client = await GraphitiClient.open(self.config, role)
            try:
                if role is Role.SOURCE:
                    await client.check_groups()
            except BaseException:
                await client.aclose()
                raise
            self._client, self._opened = client, role
            self._namespace = self.config.namespace or client.place.namespace
            self._place = client.place.local
        return self._info(self._client, role)

    def _info(self, client: GraphitiClient, role: Role) -> BackendInfo:
        config = self.config
        warnings = [] if config.engine == "kuzu" else [_UNTESTED.format(engine=config.engine)]
        warnings += client.notes
        if role is Role.TARGET:
            return BackendInfo(client.place.summary, (*warnings, _NO_VECTORS), {"write": config.write})
        if config.unit == "facts" and not config.current_only:
            warnings.append(_ENDED_TOO)
        return BackendInfo(f"{client.place.summary}, {config.unit}", tuple(warnings), {"unit": config.unit})

    async def _aclose(self) -> None:
        client, self._client, self._opened = self._client, None, None
        if client is not None:
            await client.aclose()

    async def _begin(self, source: StoreIdentity) -> None:
        await self._ready().make()

    def store(self) -> StoreIdentity:
        """Return the graph: the file's name, or the server's host and database; or `namespace`."""
        if self._namespace is None:
            raise ProviderError("graphiti is not connected; call connect first", provider=self.name)
        return StoreIdentity(self.name, self._namespace, self._place)

    def place(self) -> str | None:
        """Return the file, or the server's address and the database, whatever `namespace` says."""
        return None if self._client is None else self._client.place.where

    def _capabilities(self) -> Capabilities:
        return capabilities_of(self.config)

    def _ready(self) -> GraphitiClient:
        if self._client is None:
            raise ProviderError("graphiti is not connected; call connect first", provider=self.name)
        return self._client

    def sdk_package(self) -> str | None:
        """Return the vendor's distribution, whose tables these are."""
        return "graphiti-core"

    # -- reading ------------------------------------------------------------------------------

    async def partitions(self) -> AsyncIterator[Partition]:
        """Give the tables of the unit: one each, however many groups there are."""
        for table in TABLES[self.config.unit]:
            yield Partition(name=table, total=await self._ready().count(table))

    async def _read_page(self, partition: Partition, cursor: str | None, limit: int) -> RawPage:
        rows, following = await self._ready().page(partition.name, cursor, min(limit, MAX_PAGE))
        return RawPage(rows, following)

    def _decode(self, row: Any, partition: Partition) -> MemoryRecord | Ignored:
        record = self._record(partition.name, row)
        if isinstance(record, Ignored) or not self.config.current_only:
            return record
        return Ignored("ended", record.id, harmless=True) if has_ended(record, self.clock.now()) else record

    def _record(self, table: str, row: Mapping[str, Any]) -> MemoryRecord | Ignored:
        if table == "facts" and not {"source_uuid", "target_uuid"} <= row.keys():
            return Ignored("missing_end", self._row_id(row))
        return record_of(row_of(table, row), now=self.clock.now(), plain=self.config.group_is)

    def _row_id(self, row: Any) -> str | None:
        found = row.get("uuid")
        return found if isinstance(found, str) else None

    async def count(self) -> int:
        """Return the number of rows of the unit, those that are no memories included."""
        client = self._ready()
        return sum([await client.count(table) for table in TABLES[self.config.unit]])

    async def get(self, record_id: str) -> MemoryRecord | None:
        """Return the memory of a uuid; of a target, whether it was stored as a fact or as an episode."""
        tables = TABLES[self.config.unit] if self._opened is Role.SOURCE else ("facts", "episodes")
        found = await self._ready().find(tables, record_id)
        record = self._record(*found) if found else None
        return sanitise_record(record) if isinstance(record, MemoryRecord) else None

    # -- writing ------------------------------------------------------------------------------

    def _prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        has_time = self._ready().has_reference_time
        return document_of(record, key, envelope, config=self.config, has_reference_time=has_time)

    async def _write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        return await self._ready().write(batch)

    async def lookup(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the uuids of the rows that were written under these document keys."""
        uuids = {key: stable_uuid(key) for key in keys}
        present = await self._ready().present(list(dict.fromkeys(uuids.values())))
        return {key: (uuid,) for key, uuid in uuids.items() if uuid in present}

    async def delete(self, target_ids: Sequence[str]) -> int:
        """Remove facts and episodes, and the ends memxfer made for them alone; return how many were there."""
        self._check_ready(Role.TARGET)
        return await self._ready().delete(target_ids)
