"""An archive folder as a backend: full fidelity both ways, durable, and safe to repeat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from memxfer.archive import (
    MAX_LINE,
    ArchivePart,
    ArchiveReader,
    Origin,
    decode_line,
    encode_line,
    plan_archive,
    record_mark,
)
from memxfer.spi import (
    Axis,
    BackendInfo,
    Capabilities,
    Channel,
    ClientKey,
    Clock,
    ConfigError,
    CursorExpiredError,
    Dimension,
    Document,
    Identity,
    Level,
    LookupVisibility,
    MemoryProvider,
    MemoryRecord,
    Paging,
    Partition,
    Prepared,
    ProviderError,
    RawPage,
    RecordError,
    Role,
    StoreIdentity,
    WriteReceipt,
    Writing,
)
from memxfer.spi.places import path_place
from memxfer_archive.client import GroupWriter, PageReader, Row, tool_name
from memxfer_archive.config import ArchiveConfig
from memxfer_archive.mapping import id_in, origin_from, receipt, scope_name

__all__ = ["ArchiveProvider"]

_READ_TIME = frozenset({Dimension.PACKAGING, Dimension.SEARCH})
_MAX_PAGE = 1000
_MAX_BATCH = 500


class ArchiveProvider(MemoryProvider[ArchiveConfig]):
    """Reads and writes memxfer archives.

    As a source it passes for the store its records came from, so that moving them on gives the keys
    a direct move would have given. As a target it identifies documents by their keys, and by the owner
    and the date of their records: the same id from two stores, or of two owners, is two records.
    """

    name: ClassVar[str] = "archive"
    summary: ClassVar[str] = "memxfer's own archive folder: gzipped JSON lines with checksums"
    config_model = ArchiveConfig
    lookup_visibility: ClassVar[LookupVisibility] = "immediate"

    def __init__(self, config: ArchiveConfig, *, clock: Clock | None = None) -> None:
        super().__init__(config, clock=clock)
        self._path = config.path.expanduser()
        self._identity: StoreIdentity | None = None
        self._parts: list[ArchivePart] = []
        self._archive: ArchiveReader | None = None
        self._pages: PageReader | None = None
        self._writer = GroupWriter(self._path, self.clock.now)

    @classmethod
    def from_location(cls, location: str) -> dict[str, Any]:
        """Return the settings of `archive:./backup`.

        Raises:
            ConfigError: The location is empty.
        """
        if not location:
            raise ConfigError("archive: names no folder; write archive:./backup")
        return {"provider": cls.name, "path": Path(location)}

    # -- life ---------------------------------------------------------------------------------

    async def _connect(self, role: Role) -> BackendInfo:
        if role is Role.SOURCE:
            return await self._connect_source()
        # The folder is made by the first write; a look writes nothing.
        manifest = await asyncio.to_thread(
            lambda: plan_archive(self._path, now=self.clock.now(), tool=tool_name())
        )
        self._identity = StoreIdentity(self.name, manifest.id, self._place)
        return BackendInfo(f"archive {self._path}", details={"records": str(manifest.records)})

    async def _connect_source(self) -> BackendInfo:
        archive = await asyncio.to_thread(ArchiveReader, self._path)
        origin = self._chosen_origin(archive)
        self._identity = (
            StoreIdentity(origin.provider, origin.namespace, self._place)
            if origin
            else StoreIdentity(self.name, archive.archive_id, self._place)
        )
        self._parts = [part for part in archive.parts if part.origin == origin]
        self._close_pages()
        self._archive, self._pages = archive, PageReader(archive, self._parts)
        details = {"parts": str(len(self._parts)), "origin": str(origin or "unknown")}
        return BackendInfo(f"archive {self._path}", tuple(archive.warnings), details)

    def _chosen_origin(self, archive: ArchiveReader) -> Origin | None:
        """Return the one store to read; ids are unique within a store only."""
        names = {str(origin or self.name): origin for origin in archive.origins}
        wanted = self.config.origin
        if wanted is None and len(names) <= 1:
            return next(iter(names.values()), None)
        if wanted in names:
            return names[wanted]
        choices = ", ".join(f'origin = "{name}"' for name in names)
        problem = f"nothing from {wanted!r}" if wanted else "the records of several stores"
        raise ConfigError(f"the archive {self._path} holds {problem}; set one of {choices}")

    @property
    def _place(self) -> str:
        """The folder: a copy has the archive's id as well, and two archives of one store one origin."""
        return str(self._path.resolve())

    async def _aclose(self) -> None:
        self._close_pages()
        await self._writer.close()

    def _close_pages(self) -> None:
        if self._pages:
            self._pages.close()
            self._pages = None

    async def _begin(self, source: StoreIdentity) -> None:
        await self._writer.begin(origin_from(source))

    async def _finish(self) -> None:
        await self._writer.finish()

    def store(self) -> StoreIdentity:
        """Return the store that was archived, where it is known; else, and as a target, the archive."""
        if self._identity is None:
            raise ProviderError("the archive is not open; call connect first", provider=self.name)
        return self._identity

    def place(self) -> str:
        """Return the folder; the archive of a store is another store than that one."""
        return path_place(self._path)

    def _capabilities(self) -> Capabilities:
        """Return what every archive has: all dimensions, whole."""
        native = Channel(read=Level.NATIVE, write=Level.NATIVE)
        return Capabilities(
            dimensions={dimension: native for dimension in Dimension if dimension not in _READ_TIME},
            identity=Identity(axes=frozenset(Axis)),
            paging=Paging(style="snapshot", insert_safe=True, delete_safe=True, max_page=_MAX_PAGE),
            writing=Writing(
                max_batch=_MAX_BATCH,
                client_key=ClientKey.UPSERT,
                keeps_apart=True,
                backdates="microsecond",
                rollback="id",
            ),
        )

    # -- reading ------------------------------------------------------------------------------

    async def partitions(self) -> AsyncIterator[Partition]:
        """Give one slice per part."""
        for part in self._parts:
            yield Partition(name=part.name, total=part.entry.records if part.entry else None)

    async def _read_page(self, partition: Partition, cursor: str | None, limit: int) -> RawPage:
        if self._pages is None:
            raise ProviderError("the archive is not open; call connect first", provider=self.name)
        wanted = min(limit, _MAX_PAGE)
        try:
            rows, following = await asyncio.to_thread(self._pages.page, partition.name, cursor, wanted)
        except ValueError as error:
            raise CursorExpiredError(
                f"the cursor does not fit {partition.name} of {self._path}; list it again from its start",
                provider=self.name,
                operation="read",
            ) from error
        return RawPage(rows, following, partition.total)

    def _decode(self, row: Row, partition: Partition) -> MemoryRecord:
        if row.line is None:
            raise RecordError(
                f"a line of over {MAX_LINE} bytes", provider=self.name, operation="read", code="too_large"
            )
        return decode_line(row.line).record

    def _row_id(self, row: Row) -> str | None:
        return (id_in(row.line) if row.line else None) or f"{row.part}, line {row.number + 1}"

    async def count(self) -> int:
        """Return the number of records; reads the parts that no manifest lists."""
        self._check_ready(Role.SOURCE)
        archive = self._archive
        if archive is None:
            return 0
        return await asyncio.to_thread(lambda: sum(archive.count_part(part) for part in self._parts))

    # -- writing ------------------------------------------------------------------------------

    def _prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        line = encode_line(key, record, envelope)
        if len(line) > MAX_LINE:
            raise RecordError(
                f"the record is {len(line)} bytes; an archive takes {MAX_LINE}",
                provider=self.name,
                operation="write",
                code="too_large",
            )
        return Document(
            key=key,
            record_id=record.id,
            body=(record_mark(record), line),
            size=len(line),
            scope=scope_name(record),
        )

    async def _write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        stored = await self._writer.append([(document.key, *document.body) for document in batch])
        return [receipt(*one) for one in stored]

    async def lookup(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the keys that are there, each as its own target id."""
        self._check_ready(Role.TARGET)
        return {key: (key,) for key in await self._writer.find(keys)}

    async def delete(self, target_ids: Sequence[str]) -> int:
        """Leave documents out from now on; return how many were there.

        Their lines stay in the part files, which never change.
        """
        self._check_ready(Role.TARGET)
        return await self._writer.delete(target_ids)
