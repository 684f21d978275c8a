"""Zep Cloud as a source and as a target."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from memxfer.spi import (
    BackendInfo,
    Capabilities,
    Clock,
    ConfigError,
    ContextPackage,
    Document,
    Ensured,
    Hit,
    Ignored,
    IngestStatus,
    Joined,
    KeptAnswers,
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
    UnsupportedOperationError,
    Wanted,
    WriteReceipt,
)
from memxfer.spi.places import address_place
from memxfer_zep.capabilities import capabilities_of
from memxfer_zep.config import NAME, ZepConfig
from memxfer_zep.containers import CONTAINER_BATCH, Containers
from memxfer_zep.documents import document_of
from memxfer_zep.looking import Lookup, Owners
from memxfer_zep.mapping import Row, record_of
from memxfer_zep.partitions import MAX_PAGE, Partitions, owner_of
from memxfer_zep.runtime import Memories, fitted, is_memory
from memxfer_zep.sending import Sender
from memxfer_zep.targets import TargetId
from memxfer_zep.tasks import Tasks
from memxfer_zep.turns import join

if TYPE_CHECKING:
    from memxfer_zep.client import ZepClient

__all__ = ["ZepProvider"]

_log = logging.getLogger(__name__)

_EPISODES_KEPT: Final = 10_000
_ENDED_TOO: Final = (
    "facts that have ended are moved too, marked as superseded; a target without validity takes them for "
    "current: current_only = true leaves them out"
)


class ZepProvider(MemoryProvider[ZepConfig]):
    """Reads one unit of a Zep project: its facts, episodes, messages or summaries; writes all but the last.

    A partition is a user's graph, a standalone graph or a thread, under the uuid that Zep gave it. As a
    target, users, graphs, threads and entities are containers that stand before what goes into them;
    target ids are `TargetId`, since Zep's uuids alone address nothing.
    """

    name: ClassVar[str] = NAME
    summary: ClassVar[str] = "Zep Cloud (API v4): facts, episodes, messages, and summaries to read"
    config_model = ZepConfig

    container_batch: Mapping[str, int] = CONTAINER_BATCH

    _client: ZepClient | None = None
    _partitions: Partitions | None = None
    _namespace: str | None = None
    _title: str = ""
    _lists_tasks: bool = True

    def __init__(self, config: ZepConfig, *, clock: Clock | None = None) -> None:
        super().__init__(config, clock=clock)
        self._deleting: KeptAnswers[bool] = KeptAnswers()

    # -- life ---------------------------------------------------------------------------------

    async def _connect(self, role: Role) -> BackendInfo:
        """Ask which project the key belongs to. Nothing is written."""
        if role is Role.APP and self.config.container != "owner":
            raise ConfigError(
                'container = "graph-per-job" puts the memories of all users into one graph, where an app '
                "would see those of others; it is for moves, remove it"
            )
        if self._client is None:
            from memxfer_zep.client import open_zep_client

            client = open_zep_client(self.config, now=self.clock.now)
            try:
                await self._identify(client)
            except BaseException:
                await client.aclose()
                raise
            self._open(client)
        self.__class__ = fitted(type(self), role)
        return self._info(role)

    def _open(self, client: ZepClient) -> None:
        self._client = client
        self._partitions = Partitions(client, self.config)
        self._episodes: OrderedDict[str, Mapping[str, Any] | None] = OrderedDict()
        self._owners = Owners()
        self._containers = Containers(client)
        self._sender = Sender(client, now=self.clock.now)
        self._memories = Memories(client, self.config, now=self.clock.now)
        self._tasks = Tasks(client)
        self._lookup = Lookup(client, self.config, self._owners)

    async def _identify(self, client: ZepClient) -> None:
        if self.config.project is not None:
            await client.try_listing()
            self._namespace, self._title = self.config.project, self.config.project
            return
        found = await client.project()
        identifier = found.get("uuid")
        if not isinstance(identifier, str) or not identifier:
            raise ConfigError(
                "zep does not tell this project's uuid, which document keys are made of; "
                'set project = "NAME" on the connection, and keep it'
            )
        self._namespace, self._title = identifier, str(found.get("name") or identifier)

    async def _aclose(self) -> None:
        client, self._client, self._partitions, self._namespace = self._client, None, None, None
        if client is not None:
            await client.aclose()

    def store(self) -> StoreIdentity:
        """Return the project; one API key is one project."""
        if self._namespace is None:
            raise ProviderError("zep is not connected; call connect first", provider=self.name)
        return StoreIdentity(self.name, self._namespace)

    def place(self) -> str | None:
        """Return the address and the project's uuid; not known where `project` names it."""
        if self.config.project is not None or self._namespace is None:
            return None
        return f"{address_place(self.config.url)} {self._namespace}"

    def _capabilities(self) -> Capabilities:
        return capabilities_of(self.config, self.role)

    def sdk_package(self) -> str | None:
        """Return the vendor's distribution, which does the sending."""
        return "zep-cloud"

    def _info(self, role: Role) -> BackendInfo:
        config = self.config
        what = config.unit if role is Role.SOURCE else f"written as {config.write}"
        details = {"project": self._namespace or "", "unit": config.unit, "address": config.url}
        warnings = self._warnings() if role is Role.SOURCE else ()
        return BackendInfo(f"Zep project {self._title}, {what}", warnings, details)

    def _warnings(self) -> tuple[str, ...]:
        if self.config.unit != "facts" or self.config.current_only:
            return ()
        return (_ENDED_TOO,)

    # -- reading ------------------------------------------------------------------------------

    async def partitions(self) -> AsyncIterator[Partition]:
        """Give each user's graph and each standalone graph; each thread for messages.

        Raises:
            ConfigError: A user or graph of the settings is not there.
            TransientError: List them again; it goes on from where it was.
        """
        if self._partitions is None:
            raise ProviderError("zep is not connected; call connect first", provider=self.name)
        async for partition in self._partitions.walk():
            yield partition

    async def _read_page(self, partition: Partition, cursor: str | None, limit: int) -> RawPage:
        client, spec = self._connected(), partition.spec
        try:
            page = await client.rows(spec["listing"], spec["parent"], cursor, min(limit, MAX_PAGE))
        except RecordError as error:
            if error.code != "not_found" or await self._is_there(partition):
                raise
            _log.warning("zep: %s was deleted while it was read; its list ends here", partition.name)
            return RawPage((), None)
        rows = [Row(body, await self._episodes_of(body, spec["parent"])) for body in page.rows]
        return RawPage(rows, page.next_cursor, page.total)

    async def _is_there(self, partition: Partition) -> bool:
        """Tell whether the user, graph or thread whose rows were not found is there itself."""
        client, parent, owner = self._connected(), partition.spec["parent"], owner_of(partition)
        if partition.spec["listing"] == "messages":
            return await client.thread(parent) is not None
        if owner.user_uuid is not None:
            return await client.user(owner.user_uuid) is not None
        return await client.graph(parent) is not None

    async def _episodes_of(self, body: Any, graph: str) -> list[Mapping[str, Any]]:
        """Return the first episodes of a fact, as many as the settings ask for.

        What was found is kept for a while: many facts share an episode, and a page that is refused in the
        middle, and read again, must not begin from nothing.
        """
        wanted = self.config.fact_episodes
        uuids = body.get("episode_uuids") if wanted and isinstance(body, dict) else None
        found = [await self._episode(graph, one) for one in (uuids or ())[:wanted] if isinstance(one, str)]
        return [episode for episode in found if episode is not None]

    async def _episode(self, graph: str, identifier: str) -> Mapping[str, Any] | None:
        if identifier not in self._episodes:
            found = await self._connected().episode(graph, identifier)
            kept = {name: found.get(name) for name in ("metadata", "thread_uuid")} if found else None
            self._episodes[identifier] = kept
            if len(self._episodes) > _EPISODES_KEPT:
                self._episodes.popitem(last=False)
        return self._episodes.get(identifier)

    def _decode(self, row: Any, partition: Partition) -> MemoryRecord | Ignored:
        return record_of(
            row,
            partition.spec["listing"],
            owner_of(partition),
            now=self.clock.now(),
            current_only=self.config.current_only,
        )

    def _row_id(self, row: Any) -> str | None:
        found = row.body.get("uuid")
        return found if isinstance(found, str) else None

    # -- writing ------------------------------------------------------------------------------

    def _prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        prepared = document_of(record, key, envelope, config=self.config)
        if isinstance(prepared, Document):
            self._owners.note(prepared)
        return prepared

    def join(self, parts: Sequence[Document]) -> Sequence[Joined]:
        """Put the messages of one thread together, at most 30 a request, in their order."""
        return join(parts)

    async def ensure(self, wanted: Sequence[Wanted]) -> Sequence[Ensured]:
        """Find or make users, graphs, threads or entities; see `SupportsContainers`.

        Raises:
            NotReadyError: Zep still makes what the answer depends on; ask again.
            TransientError, FatalError, AmbiguousError, RecordError: As classified.
        """
        self._check_ready(Role.TARGET)
        self._connected()
        return await self._containers.ensure(wanted)

    async def _write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        return await self._sender.send(batch)

    async def ingest_status(self, ingestion_id: str) -> IngestStatus:
        """Return how far one document, or an entity, is.

        Raises:
            TransientError: The question could not be asked now.
        """
        self._check_ready(Role.TARGET)
        return await self._tasks.status(ingestion_id)

    async def lookup(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the target ids of what was written under these document keys.

        One list of the owner's graph for keys that this process has prepared; for others, of every graph.

        Raises:
            NotReadyError: Zep had accepted something that is not done; ask again with the same keys.
            TransientError, FatalError: As classified; ask again.
        """
        self._check_ready(Role.TARGET)
        self._connected()
        if self.config.write != "episode":  # episodes can be read at once
            self._lists_tasks = await self._tasks.wait_for_earlier("\n".join(keys))
        return await self._lookup.find(keys)

    @property
    def lookup_visibility(self) -> LookupVisibility:
        """At once: a look-up waits for the tasks that were open. Where Zep lists none, after the task."""
        return "immediate" if self._lists_tasks else "after_task"

    async def delete(self, target_ids: Sequence[str]) -> int:
        """Ask Zep to remove things by their target ids; return how many were there. It happens later.

        An app removes memories alone: facts and episodes. Any other id is not there, for it.

        Raises:
            UnsupportedOperationError: A single message, or an id that is none of zep's; the rest is removed.
            TransientError: Some are left; call again with the same ids.
        """
        self._check_ready(Role.TARGET)
        return sum((await self._deleting.ask(target_ids, self._delete)).values())

    async def _delete(self, target_id: str) -> bool:
        if self.role is Role.APP and not is_memory(target_id):
            return False
        target = TargetId.parse(target_id)
        if target is None or target.kind == "message":
            what = "single messages; delete their thread" if target else "what has no id of its kind"
            raise UnsupportedOperationError(
                f"zep cannot delete {what}", provider=self.name, operation="delete"
            )
        return await self._connected().writes.delete(target.kind, target.place, target.uuid)

    # -- for apps -----------------------------------------------------------------------------

    async def search(self, query: str, *, scope: Scope, limit: int) -> list[Hit]:
        """Return the facts of a user or group that fit a question, best first, at most `limit` and 50.

        Facts belong to the user, so a session does not narrow them. Ended ones are among them unless
        `current_only` is set. Through `graph.search_edges` (zep-cloud 4.0.1); what was written is found
        once its task has ended.

        Raises:
            ValueError: The scope names neither user nor group; `limit` is below 1.
            UnsupportedOperationError: The scope has axes by which Zep cannot tell memories apart.
            RecordError, TransientError, FatalError: As classified.
        """
        self._check_ready(Role.SOURCE)
        self._connected()
        return await self._memories.search(query, scope, limit)

    async def list_scoped(self, scope: Scope, *, limit: int, cursor: str | None) -> Page:
        """Return one page of the facts of a user or group, at most 100, in order of uuid.

        Raises:
            CursorExpiredError: Zep does not know the cursor any more; begin the list again.
            ValueError, UnsupportedOperationError, RecordError, TransientError, FatalError: As `search`.
        """
        self._check_ready(Role.SOURCE)
        self._connected()
        return await self._memories.page(scope, limit, cursor)

    async def package(self, query: str, *, scope: Scope, limit: int) -> ContextPackage:
        """Return Zep's own text for a question: facts, entities, observations, summaries of threads.

        Zep decides how much that is; `limit` bounds the facts that are named beside it. Without a question
        it is the text for the session as it stands (`thread.get_context` takes none), empty without either.
        Through `graph.get_context` (zep-cloud 4.0.1).

        Raises:
            ValueError, UnsupportedOperationError, RecordError, TransientError, FatalError: As `search`.
        """
        self._check_ready(Role.SOURCE)
        self._connected()
        return await self._memories.package(query, scope, limit)

    async def get(self, record_id: str) -> MemoryRecord | None:
        """Return a fact or an episode by the id that an app was given, `None` if there is none; in no move.

        Raises:
            TransientError, FatalError: As classified.
        """
        self._check_ready(Role.SOURCE)
        self._connected()
        return await self._memories.get(record_id)

    async def update(self, record_id: str, content: str) -> MemoryRecord | None:
        """Replace the text of a fact; return it, `None` if there is none of that id.

        A fact that is part of a hyperedge shares its text with the others, which change too. Through
        `graph.edge.update` (zep-cloud 4.0.1).

        Raises:
            UnsupportedOperationError: It is an episode, which Zep does not change.
            RecordError: There is no text, too much of it, or Zep refuses it.
            AmbiguousError: It may have happened; again does no harm.
            TransientError, FatalError: It has not happened.
        """
        self._check_ready(Role.TARGET)
        self._connected()
        return await self._memories.update(record_id, content)

    def _connected(self) -> ZepClient:
        if self._client is None:
            raise ProviderError("zep is not connected; call connect first", provider=self.name)
        return self._client
