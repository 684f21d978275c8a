"""The provider `mem0`: the hosted Mem0 Platform."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from memxfer.spi import (
    AmbiguousError,
    BackendInfo,
    BatchRefusedError,
    Capabilities,
    Clock,
    Document,
    FatalError,
    Hit,
    Ignored,
    IngestState,
    IngestStatus,
    LookupVisibility,
    MemoryProvider,
    MemoryRecord,
    Page,
    Partition,
    Prepared,
    ProviderError,
    RawPage,
    RecordError,
    Role,
    Scope,
    StoreIdentity,
    Version,
    WriteReceipt,
    format_time,
    sanitise_record,
)
from memxfer.spi.answers import KeptAnswers
from memxfer.spi.places import address_place
from memxfer_mem0_platform.answers import event_state, read_listed
from memxfer_mem0_platform.capabilities import capabilities_of
from memxfer_mem0_platform.client import MAX_PAGE, Mem0PlatformClient, Project
from memxfer_mem0_platform.config import Mem0PlatformConfig
from memxfer_mem0_platform.documents import body_of, document_of, receipt_of, rejected, unknown
from memxfer_mem0_platform.fields import KEY, time_of
from memxfer_mem0_platform.history import HistoryReader
from memxfer_mem0_platform.listing import (
    ANYBODY,
    EVERYTHING,
    Place,
    by_key,
    entity_partition,
    filters_of,
    is_listed_here,
)
from memxfer_mem0_platform.mapping import decode, scope_of
from memxfer_mem0_platform.runtime import Memories, infers
from memxfer_mem0_platform.versions import versions_of

__all__ = ["Mem0PlatformProvider"]

_EXTRACTION_SECONDS = 10.0
"""After which what Mem0 extracted is looked for; a guess, since nobody says how long it takes."""


class Mem0PlatformProvider(MemoryProvider[Mem0PlatformConfig]):
    """Reads and writes a project of the Mem0 Platform through the vendor's `MemoryClient`.

    Reading takes everything, expired and merged memories too, with earlier versions. Writing stores texts
    as they are (`infer=False`), one request for each, under a key in the metadata that a look-up finds. An
    app may let Mem0 extract instead (`infer`).
    """

    name: ClassVar[str] = "mem0"
    summary: ClassVar[str] = "Mem0 Platform, the hosted service"
    config_model: ClassVar[type[Mem0PlatformConfig]] = Mem0PlatformConfig

    _extracts = False
    _client: Mem0PlatformClient | None = None
    _project: Project | None = None
    _histories: HistoryReader | None = None

    def __init__(self, config: Mem0PlatformConfig, *, clock: Clock | None = None) -> None:
        super().__init__(config, clock=clock)
        self._looking: KeptAnswers[tuple[str, ...]] = KeptAnswers()
        self._deleting: KeptAnswers[bool] = KeptAnswers()

    @property
    def lookup_visibility(self) -> LookupVisibility:
        """At once; for an app that lets Mem0 extract, which is queued, after some seconds."""
        is_queued = self.role is Role.APP and (self.config.infer or self._extracts)
        return _EXTRACTION_SECONDS if is_queued else "immediate"

    # -- life ---------------------------------------------------------------------------------

    async def _connect(self, role: Role) -> BackendInfo:
        """Ask whose key it is: the vendor's client does so when it is built. Nothing is written."""
        if self._client is None or self._project is None:
            client = Mem0PlatformClient(self.config, now=self.clock.now)
            try:
                project = await client.open()
            except BaseException:
                await client.aclose()
                raise
            self._client, self._project = client, project
        return self._info(self._project)

    def _info(self, project: Project) -> BackendInfo:
        details = {
            "organisation": project.org_id,
            "project": project.project_id,
            "address": self.config.url,
        }
        return BackendInfo(f"Mem0 Platform project {self.store().namespace}", details=details)

    async def _aclose(self) -> None:
        client, self._client, self._project = self._client, None, None
        histories, self._histories = self._histories, None
        if histories is not None:
            histories.close()
        if client is not None:
            await client.aclose()

    def store(self) -> StoreIdentity:
        """Return the project, or the connection's `namespace`.

        Raises:
            ProviderError: Not connected.
        """
        if self._project is None:
            raise self._not_open()
        return StoreIdentity(self.name, self.config.namespace or self._project.project_id)

    def place(self) -> str | None:
        """Return the address and the project, whatever `namespace` says."""
        project = self._project
        return None if project is None else f"{address_place(self.config.url)} {project.project_id}"

    def _capabilities(self) -> Capabilities:
        return capabilities_of(self.config, self.role)

    def sdk_package(self) -> str | None:
        """Return the distribution of the vendor's client."""
        return "mem0ai"

    def _connected(self) -> Mem0PlatformClient:
        if self._client is None:
            raise self._not_open()
        return self._client

    def _not_open(self) -> ProviderError:
        return ProviderError(f"{self.name} is not connected; call connect(role) first", provider=self.name)

    # -- reading ------------------------------------------------------------------------------

    async def partitions(self) -> AsyncIterator[Partition]:
        """Give one slice with everything, or one for each user, agent, app and run."""
        self._check_ready(Role.SOURCE)
        if self.config.scopes == "filter":
            yield Partition(name=EVERYTHING)
            return
        seen: set[str] = set()
        number = 1
        while True:
            page = await self._connected().entities(number, MAX_PAGE)
            for partition in filter(None, map(entity_partition, page.rows)):
                if partition.name not in seen:
                    seen.add(partition.name)
                    yield partition
            if not page.rows or not page.may_go_on(MAX_PAGE):
                return
            number += 1

    async def _read_page(self, partition: Partition, cursor: str | None, limit: int) -> RawPage:
        size = min(limit, MAX_PAGE)
        if cursor is None and partition.name != EVERYTHING:
            whole = await self._small(partition, size)
            if whole is not None:
                return whole
        started = format_time(self.clock.now())
        place = Place.parse(cursor) if cursor is not None else Place(is_later=False, offset=0, before=started)
        page = await self._connected().page(filters_of(partition, place), place.page(size), size)
        has_next = page.may_go_on(size)
        following = place.after(size) if has_next else place.then()
        total = None if place.is_later else page.total
        return RawPage(
            await self._with_history(page.rows, partition), str(following) if following else None, total
        )

    async def _small(self, partition: Partition, size: int) -> RawPage | None:
        """Return an entity whose memories fit into one page: one request for it, not two."""
        page = await self._connected().page(filters_of(partition, None), 1, size)
        if page.may_go_on(size):
            return None
        return RawPage(await self._with_history(page.rows, partition), None, page.total)

    async def _with_history(self, rows: Sequence[Any], partition: Partition) -> list[Any]:
        """Pair rows with their history, those of this partition at least."""
        if not self.config.history:
            return [(row, None) for row in rows]
        if self._histories is None:
            self._histories = HistoryReader(self._connected())
        wanted = [row if _is_here(row, partition) else None for row in rows]
        return list(zip(rows, await self._histories.of(wanted), strict=True))

    def _decode(self, row: Any, partition: Partition) -> MemoryRecord | Ignored:
        memory, events = row
        if not _is_here(memory, partition):
            return Ignored("listed_elsewhere", harmless=True)
        return decode(memory, events, now=self.clock.now())

    def _row_id(self, row: Any) -> str | None:
        found = row[0]["id"]
        return found if isinstance(found, str) else None

    async def count(self) -> int:
        """Return the number of memories, expired and merged ones included.

        By the listing's own count; where that names none, or the filter is not used, the project's.
        """
        client = self._connected()
        if self.config.scopes == "filter":
            page = await client.page(ANYBODY, 1, 1)
            if page.total is not None:
                return page.total
        return await client.total()

    async def get(self, record_id: str) -> MemoryRecord | None:
        """Return a memory by its id; `None` when there is none. An app gets it without earlier versions."""
        client = self._connected()
        row = await client.get(record_id)
        if row is None:
            return None
        has_history = self.config.history and self.role is not Role.APP
        events = await client.history(record_id) if has_history else None
        return sanitise_record(decode(row, events, now=self.clock.now()))

    async def history(self, record_id: str) -> tuple[Version, ...]:
        """Return the earlier versions of a memory, oldest first; of a deleted one, all that are known."""
        client = self._connected()
        row, events = await client.get(record_id) or {}, await client.history(record_id)
        changed_at = time_of(row.get("updated_at")) or time_of(row.get("created_at"))
        text = row.get("memory")
        return versions_of(events or None, text=text, changed_at=changed_at, row=row)[0]

    # -- writing ------------------------------------------------------------------------------

    def _prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        infer = self.role is Role.APP and infers(record, self.config)
        self._extracts = self._extracts or infer
        return document_of(record, key, envelope, config=self.config, infer=infer)

    async def _write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        return [await self._add(document) for document in batch]

    async def _add(self, document: Document) -> WriteReceipt:
        body = body_of(document)
        try:
            return receipt_of(await self._connected().add(body), infer=body["infer"])
        except AmbiguousError as error:
            return unknown(error)
        except BatchRefusedError as error:
            return rejected(error)

    async def ingest_status(self, ingestion_id: str) -> IngestStatus:
        """Return what became of an add that Mem0 queued: to extract from it, or though it was asked not to.

        Raises:
            TransientError: The question could not be asked now.
        """
        self._check_ready(Role.TARGET)
        event = await self._connected().event(ingestion_id)
        if event is None:
            return IngestStatus(IngestState.GONE)
        state = event_state(event)
        listed = read_listed(event)
        rows = listed.rows if listed else []
        ids = tuple(one["id"] for one in rows if isinstance(one, dict) and isinstance(one.get("id"), str))
        error = _failed() if state is IngestState.FAILED else None
        return IngestStatus(state, ids, error=error)

    async def lookup(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the ids of the memories that were written under these document keys.

        Raises:
            FatalError: The service does not filter by metadata, so it cannot tell.
        """
        found = await self._looking.ask(keys, self._ids_of)
        return {key: ids for key, ids in found.items() if ids}

    async def _ids_of(self, key: str) -> tuple[str, ...]:
        page = await self._connected().page(by_key(key), 1, MAX_PAGE)
        rows = [row for row in page.rows if isinstance(row, dict)]
        if any((row.get("metadata") or {}).get(KEY) != key for row in rows):
            raise FatalError(
                "mem0 does not filter by metadata here: whether a memory is there cannot be looked up",
                provider=self.name,
                operation="lookup",
                code="filter_ignored",
            )
        return tuple(str(row["id"]) for row in rows)

    async def delete(self, target_ids: Sequence[str]) -> int:
        """Remove memories by id, each by a request of its own; return how many were there.

        Raises:
            TransientError: Some are left; call again with the same ids.
            FatalError: The key or the account is refused.
        """
        self._check_ready(Role.TARGET)
        return sum((await self._deleting.ask(target_ids, self._connected().delete)).values())

    # -- for apps -----------------------------------------------------------------------------

    async def search(self, query: str, *, scope: Scope, limit: int) -> list[Hit]:
        """Return the memories of a scope that fit a question, best first, at most `limit`.

        Those that agree with every axis of the scope, and are neither expired nor merged. Through
        `MemoryClient.search` (mem0ai 2.2.1), with Mem0's own defaults for threshold and ranking.

        Raises:
            ValueError: The scope names nobody, or everybody (`*`); `limit` is below 1.
            UnsupportedOperationError: The scope has a tenant or a group.
            RecordError, TransientError, FatalError: As classified.
        """
        self._check_ready(Role.SOURCE)
        return await self._memories().search(query, scope, limit)

    async def list_scoped(self, scope: Scope, *, limit: int, cursor: str | None) -> Page:
        """Return one page of a scope's memories, at most 200; the same as a search would look at.

        Through `MemoryClient.get_all` (mem0ai 2.2.1), by page number; in an order that Mem0 does not
        document. A memory that is removed between two pages can hide another from the second.

        Raises:
            CursorExpiredError: The cursor is none of these; begin the list again.
            ValueError, UnsupportedOperationError, RecordError, TransientError, FatalError: As `search`.
        """
        self._check_ready(Role.SOURCE)
        return await self._memories().page(scope, limit, cursor)

    async def update(self, record_id: str, content: str) -> MemoryRecord | None:
        """Replace a memory's text, and nothing else of it; return it, `None` if there is none of that id.

        Raises:
            AmbiguousError: It may have happened; again does no harm.
            RecordError: There is no text, or Mem0 refuses it.
            TransientError, FatalError: It has not happened.
        """
        self._check_ready(Role.TARGET)
        return await self._memories().update(record_id, content)

    def _memories(self) -> Memories:
        return Memories(self._connected(), now=self.clock.now)


def _is_here(row: Any, partition: Partition) -> bool:
    """Tell whether a row belongs to this partition; one without fields is kept, to be seen as a defect."""
    return not isinstance(row, dict) or is_listed_here(scope_of(row), partition)


def _failed() -> RecordError:
    return RecordError(
        "mem0 could not store the memory, and does not say why",
        provider="mem0",
        operation="ingest_status",
        code="not_stored",
    )
