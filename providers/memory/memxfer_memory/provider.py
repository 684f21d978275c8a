"""A backend in this process that keeps every dimension, and misbehaves only where told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from memxfer.spi import (
    Axis,
    BackendInfo,
    Capabilities,
    Channel,
    ClientKey,
    CursorExpiredError,
    Dimension,
    Document,
    Hit,
    Identity,
    Ignored,
    IngestState,
    IngestStatus,
    Level,
    Limits,
    LookupVisibility,
    MemoryProvider,
    MemoryRecord,
    Outcome,
    Page,
    Paging,
    Partition,
    Prepared,
    ProviderError,
    RawPage,
    RecordError,
    Refused,
    Role,
    Scope,
    Skipped,
    StoreIdentity,
    Version,
    WriteReceipt,
    Writing,
    canonical_json,
    content_hash,
)
from memxfer_memory.client import EVERYTHING, IngestTask, MemoryStore, StoredRow
from memxfer_memory.config import MemoryConfig
from memxfer_memory.mapping import strip

__all__ = ["MemoryReferenceProvider"]

_AXES = ("user", "agent", "app", "session", "tenant", "group")
_READ_TIME = frozenset({Dimension.PACKAGING, Dimension.SEARCH})


class MemoryReferenceProvider(MemoryProvider[MemoryConfig]):
    """Both roles over a `MemoryStore`; every optional operation; nothing leaves the process.

    Record ids are the source's own. The store's ids, `mem-00000001`, are the target ids of receipts.
    """

    name: ClassVar[str] = "memory"
    summary: ClassVar[str] = "in-process store for tests and trials; gone when the process ends"
    config_model = MemoryConfig

    @classmethod
    def from_location(cls, location: str) -> dict[str, Any]:
        """Return the settings of `memory:NAME`."""
        return {"provider": cls.name, "store": location or "default"}

    @property
    def data(self) -> MemoryStore:
        """The store behind this connection."""
        return MemoryStore.named(self.config.store)

    @property
    def lookup_visibility(self) -> LookupVisibility:
        """At once, or when an accepted document's task ends."""
        return "after_task" if self._is_async else "immediate"

    @property
    def _is_async(self) -> bool:
        return self.config.acknowledges == "async"

    # -- life ---------------------------------------------------------------------------------

    async def _connect(self, role: Role) -> BackendInfo:
        details = {"records": str(len(self.data))}
        return BackendInfo(f"memory store {self.config.store!r} in this process", details=details)

    async def _aclose(self) -> None:
        """Nothing to release: the store belongs to the process."""

    async def _begin(self, source: StoreIdentity) -> None:
        self.data.origins.append((source.provider, source.namespace))

    async def _finish(self) -> None:
        self.data.finished += 1

    def store(self) -> StoreIdentity:
        """Return the store's name as its namespace."""
        return StoreIdentity(self.name, self.config.store)

    def _capabilities(self) -> Capabilities:
        """Return what the settings make of it; everything native unless `drops` says otherwise."""
        config = self.config
        required = (config.required_axes,) if config.required_axes else ()
        return Capabilities(
            dimensions={d: self._channel(d) for d in Dimension if d not in _READ_TIME},
            identity=Identity(axes=frozenset(Axis), required_to_write=required),
            paging=Paging(
                style="keyset" if config.listing == "keyset" else "offset",
                insert_safe=config.listing == "keyset",
                delete_safe=config.listing == "keyset",
                max_page=config.max_page,
            ),
            writing=Writing(
                max_batch=config.max_batch,
                client_key=config.client_key,
                acknowledges=config.acknowledges,
                backdates="none" if Dimension.CREATED_AT in config.drops else "microsecond",
                rollback="id",
            ),
            limits=Limits(
                content_bytes=config.content_bytes,
                metadata_keys=config.metadata_keys,
                metadata_depth=config.metadata_depth,
            ),
        )

    def _channel(self, dimension: Dimension) -> Channel:
        dropped = dimension in self.config.drops
        return Channel(read=Level.NATIVE, write=Level.NONE if dropped else Level.NATIVE)

    # -- reading ------------------------------------------------------------------------------

    async def partitions(self) -> AsyncIterator[Partition]:
        """Give one slice, or one per user and one for records without a user."""
        parts = [EVERYTHING] if self.config.split_by == "none" else self.data.parts()
        for part in parts:
            yield Partition(name=part, total=sum(1 for _ in self.data.rows(part)))

    async def _read_page(self, partition: Partition, cursor: str | None, limit: int) -> RawPage:
        place = self._place(cursor)
        wanted = min(limit, self.config.max_page)
        by_key = self.config.listing == "keyset"
        read = self.data.after if by_key else self.data.newest
        rows = read(partition.name, place, wanted + 1)
        page = rows[:wanted]
        if len(rows) <= wanted:
            return RawPage(page, None)
        return RawPage(page, str(page[-1].sequence if by_key else place + wanted))

    def _place(self, cursor: str | None) -> int:
        try:
            return int(cursor or "0")
        except ValueError as error:
            raise CursorExpiredError(
                "not a cursor of this store; list the partition again from its start",
                provider=self.name,
                operation="read",
            ) from error

    def _decode(self, row: StoredRow, partition: Partition) -> MemoryRecord | Ignored | None:
        return row.record

    async def count(self) -> int:
        """Return the number of records."""
        self._check_connected()
        return len(self.data)

    async def get(self, record_id: str) -> MemoryRecord | None:
        """Return the oldest record of that id, else the one that the store calls by it."""
        self._check_connected()
        found = next((row.record for row in self.data.rows() if row.record.id == record_id), None)
        row = self.data.by_target_id(record_id) if found is None else None
        return row.record if row else found

    async def history(self, record_id: str) -> tuple[Version, ...]:
        """Return the record's earlier versions, oldest first."""
        record = await self.get(record_id)
        return record.versions if record else ()

    # -- writing ------------------------------------------------------------------------------

    def _prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        missing = [axis for axis in sorted(self.config.required_axes) if not getattr(record.scope, axis)]
        if missing:
            return self._unscoped(missing)
        bound = self.config.content_bytes
        if bound is not None and len(record.content.encode()) > bound:
            return Refused(self._refusal(f"content is over {bound} bytes", code="too_large"))
        return Document(
            key=key,
            record_id=record.id,
            body=(record, dict(envelope)),
            size=len(canonical_json(record)),
            scope=next((axis for axis in _AXES if getattr(record.scope, axis)), "shared"),
            owner=strip(record, self.config.drops, "").scope if self.config.drops else None,
        )

    def _unscoped(self, missing: Sequence[str]) -> Prepared:
        if self.config.unscoped == "skip":
            return Skipped("unscoped")
        error = self._refusal(f"the record names no {' and no '.join(missing)}", code="unscoped")
        return Refused(error, remedies=('unscoped = "skip"',))

    def _refusal(self, message: str, *, code: str) -> RecordError:
        return RecordError(message, provider=self.name, operation="write", code=code)

    async def _write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        take = self._accept if self._is_async else self._settle
        return [take(document) for document in batch]

    def _accept(self, document: Document) -> WriteReceipt:
        ingestion_id = self.data.issue("ing")
        self.data.tasks[ingestion_id] = IngestTask(document, self.config.polls_until_stored)
        return WriteReceipt(Outcome.PENDING, ingestion_id=ingestion_id)

    def _settle(self, document: Document) -> WriteReceipt:
        attempts = self.data.attempts
        attempts[document.key] = attempts.get(document.key, 0) + 1
        if document.record_id in self.config.refuses:
            error = self._refusal("the store refuses this record", code="refused")
            return WriteReceipt(Outcome.REJECTED, error=error)
        rows = self.data.by_key(document.key)
        return self._store_again(document, rows[-1]) if rows else self._create(document)

    def _store_again(self, document: Document, row: StoredRow) -> WriteReceipt:
        match self.config.client_key:
            case ClientKey.UPSERT:
                return self._upsert(document, row)
            case ClientKey.DEDUPE | ClientKey.UNKNOWN:
                return WriteReceipt(Outcome.PRESENT, target_ids=(row.target_id,))
            case ClientKey.REJECT:
                error = self._refusal("a document of this key exists already", code="duplicate")
                return WriteReceipt(Outcome.REJECTED, error=error)
            case ClientKey.NONE | ClientKey.APPEND:
                return self._create(document)

    def _create(self, document: Document) -> WriteReceipt:
        target_id = self.data.issue("mem")
        record = strip(document.body[0], self.config.drops, target_id)
        row = self.data.insert(record, key=document.key, target_id=target_id)
        self._note(row, document)
        return WriteReceipt(Outcome.CREATED, target_ids=(target_id,))

    def _upsert(self, document: Document, row: StoredRow) -> WriteReceipt:
        if row.hash == content_hash(document.body[0]):
            return WriteReceipt(Outcome.PRESENT, target_ids=(row.target_id,))
        self.data.replace(row, strip(document.body[0], self.config.drops, row.target_id))
        self._note(row, document)
        return WriteReceipt(Outcome.UPDATED, target_ids=(row.target_id,))

    def _note(self, row: StoredRow, document: Document) -> None:
        row.envelope = document.body[1]
        row.hash = content_hash(document.body[0])
        row.writes += 1

    async def ingest_status(self, ingestion_id: str) -> IngestStatus:
        """Return the progress of an accepted document; asking is what makes it progress."""
        self._check_connected()
        task = self.data.tasks.get(ingestion_id)
        if task is None:
            return self.data.statuses.get(ingestion_id, IngestStatus(IngestState.GONE))
        task.polls_left -= 1
        if task.polls_left > 0:
            return IngestStatus(IngestState.PROCESSING)
        del self.data.tasks[ingestion_id]
        receipt = self._settle(task.document)
        state = IngestState.FAILED if receipt.outcome is Outcome.REJECTED else IngestState.STORED
        status = IngestStatus(state, target_ids=receipt.target_ids, error=receipt.error)
        self.data.statuses[ingestion_id] = status
        return status

    async def lookup(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the target ids stored under each key that is there, oldest first."""
        self._check_connected()
        found = {key: tuple(row.target_id for row in self.data.by_key(key)) for key in keys}
        return {key: ids for key, ids in found.items() if ids}

    # -- for apps -----------------------------------------------------------------------------

    async def search(self, query: str, *, scope: Scope, limit: int) -> list[Hit]:
        """Return the records of a scope that share most words with the query; at most `limit`."""
        self._check_connected()
        words = set(query.lower().split())
        hits = [
            Hit(row.record, len(words & set(row.record.content.lower().split())) / max(len(words), 1))
            for row in self.data.rows()
            if _is_of(row.record.scope, scope)
        ]
        found = sorted((hit for hit in hits if hit.score), key=lambda hit: -(hit.score or 0))
        return found[:limit]

    async def list_scoped(self, scope: Scope, *, limit: int, cursor: str | None) -> Page:
        """Return one page of a scope's records, oldest first."""
        self._check_connected()
        place = self._place(cursor)
        rows = [row for row in self.data.rows() if row.sequence > place and _is_of(row.record.scope, scope)]
        more = str(rows[limit - 1].sequence) if len(rows) > limit else None
        return Page([row.record for row in rows[:limit]], more)

    async def update(self, record_id: str, content: str) -> MemoryRecord | None:
        """Replace the text of the oldest record of that id."""
        self._check_connected()
        row = next((row for row in self.data.rows() if row.record.id == record_id), None)
        if row is None:
            return None
        changed = msgspec.structs.replace(row.record, content=content)
        self.data.replace(row, changed)
        return changed

    async def delete(self, target_ids: Sequence[str]) -> int:
        """Remove records by target id, for apps by record id; return how many were there."""
        self._check_connected()
        if self.role is Role.APP:
            wanted = set(target_ids)
            target_ids = [row.target_id for row in self.data.rows() if row.record.id in wanted]
        return self.data.delete(target_ids)

    def _check_connected(self) -> None:
        if self.role is None:
            raise ProviderError("memory is not connected; call connect first", provider=self.name)


def _is_of(scope: Scope, wanted: Scope) -> bool:
    """Tell whether a scope agrees with every axis that is asked for."""
    return all(getattr(wanted, axis) in (None, getattr(scope, axis)) for axis in _AXES)
