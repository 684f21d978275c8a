"""The provider `mem0-oss`: the open-source Mem0 library, through the store of an app."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from memxfer.spi import (
    BackendInfo,
    Capabilities,
    Document,
    Ignored,
    LookupVisibility,
    MemoryProvider,
    MemoryRecord,
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
    UnsupportedOperationError,
    Version,
    WriteReceipt,
    canonical_json,
    sanitise_record,
    secrets_of,
    stable_uuid,
)
from memxfer.spi.places import address_place, path_place
from memxfer_mem0.abilities import capabilities_of
from memxfer_mem0.application import Application, ChromaSettings, PgvectorSettings, load_application
from memxfer_mem0.changes import changes_of
from memxfer_mem0.client import Mem0Client
from memxfer_mem0.config import Mem0OssConfig
from memxfer_mem0.history import Event
from memxfer_mem0.mapping import Body, decode, encode, versions_of
from memxfer_mem0.stores import Row
from memxfer_mem0.worker import Worker

__all__ = ["Mem0OssProvider"]

_UNSCOPED = ('unscoped = "skip"', 'unscoped = "assign:USER"')


class Mem0OssProvider(MemoryProvider[Mem0OssConfig]):
    """Reads and writes what `mem0.Memory` stores, natively: no LLM, no key, every row and its history.

    One record is one point of the app's collection. Reading goes by id with a keyset cursor and
    changes nothing. Writing keeps ids that are UUIDs, times to the microsecond, metadata and versions.
    """

    name: ClassVar[str] = "mem0-oss"
    summary: ClassVar[str] = (
        "Mem0's open-source library, on Qdrant, Chroma, FAISS, pgvector (others: read only)"
    )
    config_model: ClassVar[type[Mem0OssConfig]] = Mem0OssConfig

    lookup_visibility: LookupVisibility = "immediate"

    _application: Application | None = None
    _worker: Worker | None = None
    _client: Mem0Client | None = None
    _opened: Role | None = None
    _namespace: str | None = None
    _place: str = ""

    @classmethod
    def from_location(cls, location: str) -> dict[str, Any]:
        """Return the settings for `mem0-oss:FILE`, the file being the app's config."""
        return {"config_file": location}

    def _capabilities(self) -> Capabilities:
        """Return what this store keeps; before `connect`, what a store of its kind does."""
        client = self._client
        return capabilities_of(
            knows_history=client.knows_history if client else None,
            is_experimental=client.vectors.is_experimental if client else False,
            max_batch=client.vectors.max_batch if client else 256,
            with_vectors=self.config.with_vectors,
            reuse_vectors=self.config.reuse_vectors,
        )

    def store(self) -> StoreIdentity:
        """Return the store's identity: the collection, on a server also host and database; or `namespace`.

        Raises:
            ProviderError: Not connected.
        """
        if self._namespace is None:
            raise self._not_open()
        return StoreIdentity(self.name, self._namespace, self._place)

    def place(self) -> str | None:
        """Return the folder and the collection, or the server's address; whatever `namespace` says."""
        if self._client is None:
            return None
        place = self._client.vectors.place
        return f"{path_place(place.path)}/{place.namespace}" if place.path else address_place(place.namespace)

    # -- life ---------------------------------------------------------------------------------

    async def _connect(self, role: Role) -> BackendInfo:
        if self._client is not None and self._opened is not role:
            await self._aclose()
        if self._client is None:
            await self._open(role)
        client, worker = self._ready()
        return await worker.run(client.info, role)

    async def _open(self, role: Role) -> None:
        self._application = application = load_application(self.config)
        worker = Worker.acquire(_place(application))
        try:
            client = await worker.run(self._build, application, role)
        except BaseException:
            worker.release()
            raise
        self._worker, self._client, self._opened = worker, client, role
        self._namespace = self.config.namespace or client.vectors.place.namespace
        self._place = client.vectors.place.local

    def _secrets(self) -> Iterable[str]:
        """Return those of the app's dict too: its store, its embedder."""
        application = self._application
        return [
            *super()._secrets(),
            *(secrets_of([application.store, application.embedder]) if application else ()),
        ]

    def _build(self, application: Application, role: Role) -> Mem0Client:
        return Mem0Client(
            application,
            role,
            local_embedder=self.config.embedder == "local",
            reuse_vectors=self.config.reuse_vectors,
            upgrade=self.config.upgrade,
            trust_listing=self.config.trust_listing,
        )

    async def _aclose(self) -> None:
        client, worker, self._client, self._worker = self._client, self._worker, None, None
        self._opened = None
        if worker is None:
            return
        try:
            if client is not None:
                await worker.run(client.close)
        finally:
            worker.release()

    def _ready(self) -> tuple[Mem0Client, Worker]:
        if self._client is None or self._worker is None:
            raise self._not_open()
        return self._client, self._worker

    def _not_open(self) -> ProviderError:
        return ProviderError(f"{self.name} is not connected; call connect(role) first", provider=self.name)

    # -- reading ------------------------------------------------------------------------------

    async def _read_page(self, partition: Partition, cursor: str | None, limit: int) -> RawPage:
        del partition
        client, worker = self._ready()
        rows, following = await worker.run(self._page, client, cursor, min(limit, 1000))
        return RawPage(rows, following)

    def _page(self, client: Mem0Client, cursor: str | None, limit: int) -> Any:
        return client.page(cursor, limit, with_vectors=self.config.with_vectors)

    def _decode(self, row: Any, partition: Partition) -> MemoryRecord | Ignored:
        point, events = row
        return self._record(point, events)

    def _record(self, point: Row, events: list[Event] | None) -> MemoryRecord | Ignored:
        model = self._application.embedder.model if self._application else None
        return decode(point, events, now=self.clock.now(), model=model)

    def _row_id(self, row: Any) -> str | None:
        return str(row[0].id)

    async def count(self) -> int:
        """Return the number of rows, those that are no memories included."""
        client, worker = self._ready()
        return await worker.run(client.count)

    async def get(self, record_id: str) -> MemoryRecord | None:
        """Return a memory by its id; `None` when there is none, or the row is no memory."""
        client, worker = self._ready()
        found = await worker.run(client.get, record_id)
        record = self._record(*found) if found else None
        return sanitise_record(record) if isinstance(record, MemoryRecord) else None

    async def history(self, record_id: str) -> tuple[Version, ...]:
        """Return the earlier states of a memory, oldest first; of a deleted one, all of them."""
        record = await self.get(record_id)
        if record is not None:
            return record.versions
        client, worker = self._ready()
        events = await worker.run(client.events, record_id)
        # Without a memory there is no present state: a text that no state has makes all of them earlier.
        return versions_of(events or None, text="\0", changed_at=None, payload={})[0]

    # -- writing ------------------------------------------------------------------------------

    def _prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        if not _has_scope(record.scope):
            decided = self._without_scope(record)
            if not isinstance(decided, MemoryRecord):
                return decided
            record = decided
        self._check(record)
        if self._client is not None and self._client.undecided_upgrade is not None:
            return self._undecided_upgrade(self._client.undecided_upgrade)
        body = encode(self._fitting(record), key=key, target_id=_target_id(record, key), envelope=envelope)
        size = len(canonical_json(body.row.payload)) + sum(len(row[3] or "") for row in body.history)
        return Document(
            key=key,
            record_id=record.id,
            body=body,
            size=size,
            scope=_scope_name(record.scope),
            changes=self._changes(record, body),
            owner=_owner(record.scope),
        )

    def _changes(self, record: MemoryRecord, body: Body) -> tuple[str, ...]:
        client, application = self._client, self._application
        return changes_of(
            record,
            body,
            has_history=client is not None and client.knows_history,
            flat=application is not None and isinstance(application.store, ChromaSettings),
        )

    def _undecided_upgrade(self, what: str) -> Refused:
        error = RecordError(what, provider=self.name, operation="prepare", code="upgrade")
        return Refused(error, remedies=("upgrade = true",))

    def _without_scope(self, record: MemoryRecord) -> MemoryRecord | Prepared:
        decision = self.config.unscoped
        if decision is None:
            error = RecordError(
                "Mem0 needs a user, an agent or a session, and this record has none",
                provider=self.name,
                operation="prepare",
                code="unscoped",
            )
            return Refused(error, remedies=_UNSCOPED)
        if decision == "skip":
            return Skipped("unscoped")
        scope = msgspec.structs.replace(record.scope, user=decision.removeprefix("assign:"))
        return msgspec.structs.replace(record, scope=scope)

    def _check(self, record: MemoryRecord) -> None:
        for name in (record.scope.user, record.scope.agent, record.scope.session):
            if name is not None and (name == "" or any(letter.isspace() for letter in name)):
                raise RecordError(
                    "Mem0 takes no user, agent or session id with blanks in it: the app could not read it",
                    provider=self.name,
                    operation="prepare",
                    code="scope_id",
                )
        is_postgres = self._application and isinstance(self._application.store, PgvectorSettings)
        if is_postgres and b"\\u0000" in canonical_json(record):
            raise RecordError(
                "Postgres cannot hold a NUL character in JSON",
                provider=self.name,
                operation="prepare",
                code="nul",
            )

    def _fitting(self, record: MemoryRecord) -> MemoryRecord:
        """Drop an embedding that was made by another model than the target's."""
        embedding, application = record.embedding, self._application
        if embedding is None or application is None:
            return record
        model = "memxfer/local" if self.config.embedder == "local" else application.embedder.model
        if not self.config.reuse_vectors or (embedding.model and model and embedding.model != model):
            return msgspec.structs.replace(record, embedding=None)
        return record

    async def _write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        client, worker = self._ready()
        return await worker.run(client.write, batch)

    async def lookup(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the ids of the memories that were written under these document keys."""
        client, worker = self._ready()
        return await worker.run(client.find, keys)

    async def delete(self, target_ids: Sequence[str]) -> int:
        """Remove memories, their vectors and the history memxfer wrote for them; return how many were there.

        Raises:
            UnsupportedOperationError: Not connected as a target.
        """
        client, worker = self._ready()
        if self._opened is not Role.TARGET:
            raise UnsupportedOperationError(
                f"{self.name} deletes on a target only", provider=self.name, operation="delete"
            )
        return await worker.run(client.delete, target_ids)


def _place(application: Application) -> str:
    """Return what connections must have in common to share a thread: the embedded store's folder."""
    settings = application.store
    path = None if getattr(settings, "is_server", False) else getattr(settings, "path", None)
    return f"{settings.kind}:{path}" if path else f"{settings.kind}:{id(application)}"


def _has_scope(scope: Scope) -> bool:
    return not (scope.user is None and scope.agent is None and scope.session is None)


def _owner(scope: Scope) -> Scope:
    return Scope(user=scope.user, agent=scope.agent, session=scope.session)


def _scope_name(scope: Scope) -> str:
    return "user" if scope.user is not None else "agent" if scope.agent is not None else "session"


def _target_id(record: MemoryRecord, key: str) -> str:
    try:
        return str(UUID(record.id))
    except ValueError:
        return stable_uuid(key)
