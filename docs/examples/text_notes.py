"""A provider in an afternoon: a folder of notes, one JSON file each, to read from and to write to."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from memxfer.spi import (
    BackendInfo,
    Capabilities,
    Channel,
    ClientKey,
    ConfigError,
    ConnectionConfig,
    CursorExpiredError,
    Dimension,
    Document,
    Level,
    MemoryProvider,
    MemoryRecord,
    Outcome,
    Paging,
    Partition,
    Prepared,
    RawPage,
    Role,
    Scope,
    StoreIdentity,
    WriteReceipt,
    Writing,
    canonical_json,
)

BOTH = Channel(read=Level.NATIVE, write=Level.NATIVE)


class NotesConfig(ConnectionConfig):
    """A folder of notes."""

    path: Path = Field(description="folder with one JSON file per note")


class NotesProvider(MemoryProvider[NotesConfig]):
    """Notes as `{"id": ..., "user": ..., "text": ..., "metadata": ...}`, named by their keys."""

    name: ClassVar[str] = "notes"
    summary: ClassVar[str] = "a folder of notes, one JSON file each"
    config_model = NotesConfig

    async def _connect(self, role: Role) -> BackendInfo:
        if role is Role.TARGET:
            await asyncio.to_thread(self.config.path.mkdir, parents=True, exist_ok=True)
        elif not await asyncio.to_thread(self.config.path.is_dir):
            raise ConfigError(f"there is no folder {self.config.path}")
        return BackendInfo(f"notes in {self.config.path}")

    async def _aclose(self) -> None:
        """Nothing is held open."""

    def store(self) -> StoreIdentity:
        """Return the folder's name: it is part of every key, so renaming the folder starts anew."""
        return StoreIdentity(self.name, self.config.path.name)

    def _capabilities(self) -> Capabilities:
        """Return what a note keeps; what is not named here is lost, and `memxfer diff` says so."""
        kept = (Dimension.CONTENT, Dimension.IDS, Dimension.USER, Dimension.METADATA)
        return Capabilities(
            dimensions=dict.fromkeys(kept, BOTH),
            paging=Paging(style="keyset", insert_safe=True, delete_safe=True, max_page=500),
            writing=Writing(max_batch=50, client_key=ClientKey.UPSERT),
        )

    # -- as a source: fetch a page of rows, then turn one row into a record --------------------

    async def _read_page(self, partition: Partition, cursor: str | None, limit: int) -> RawPage:
        return await asyncio.to_thread(self._page, cursor, limit)

    def _page(self, cursor: str | None, limit: int) -> RawPage:
        if cursor is not None and not cursor.endswith(".json"):
            raise CursorExpiredError("that is no cursor of a notes folder", provider=self.name)
        names = sorted(file.name for file in self.config.path.glob("*.json"))
        rest = [name for name in names if cursor is None or name > cursor]
        rows = [(self.config.path / name).read_bytes() for name in rest[:limit]]
        return RawPage(rows, rest[limit - 1] if len(rest) > limit else None, len(names))

    def _decode(self, row: bytes, partition: Partition) -> MemoryRecord:
        note = json.loads(row)
        scope = Scope(user=note["user"])
        return MemoryRecord(id=note["id"], content=note["text"], scope=scope, metadata=note["metadata"])

    # -- as a target: turn one record into a document, then send a batch -----------------------

    def _prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        note = {"id": record.id, "user": record.scope.user, "text": record.content}
        body = canonical_json({**note, "metadata": record.metadata})
        return Document(key=key, record_id=record.id, body=body, size=len(body), scope="user")

    async def _write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        return await asyncio.to_thread(lambda: [self._store(document) for document in batch])

    def _store(self, document: Document) -> WriteReceipt:
        file = self.config.path / f"{document.key.replace('/', '_')}.json"
        outcome = Outcome.UPDATED if file.exists() else Outcome.CREATED
        unfinished = file.with_suffix(".part")
        unfinished.write_bytes(document.body)
        unfinished.replace(file)  # a crash leaves the old note or the new one, never half a note
        return WriteReceipt(outcome, target_ids=(file.name,))
