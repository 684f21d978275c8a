"""The provider `mem0-server`: a self-hosted Mem0 server as a source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Final

from memxfer.spi import (
    AuthError,
    BackendInfo,
    Capabilities,
    Clock,
    CursorExpiredError,
    FatalError,
    Ignored,
    MemoryProvider,
    MemoryRecord,
    Partition,
    ProviderError,
    RawPage,
    Role,
    StoreIdentity,
    Version,
    sanitise_record,
)
from memxfer.spi.answers import KeptAnswers
from memxfer.spi.places import address_place
from memxfer_mem0_server.capabilities import capabilities_of
from memxfer_mem0_server.client import MOST_ROWS, Mem0ServerClient
from memxfer_mem0_server.config import NAME, Mem0ServerConfig
from memxfer_mem0_server.fields import time_of
from memxfer_mem0_server.mapping import decode, scope_of
from memxfer_mem0_server.scopes import Survey, is_listed_here, refusal
from memxfer_mem0_server.versions import versions_of

__all__ = ["Mem0ServerProvider"]

_GLANCE: Final = 10
_AFTER: Final = "after:"
_NULLS: Final = (
    "this server lists rows of nulls when asked without a scope, as one does whose store is Qdrant: these "
    "are reported as unreadable, and a list of entities that comes back empty is not believed"
)
_NO_ADMIN: Final = (
    "the key may not list without a scope: memories without user, agent and run would not be seen; "
    "use the admin key"
)


class Mem0ServerProvider(MemoryProvider[Mem0ServerConfig]):
    """Reads a self-hosted Mem0 server over REST; nothing is written.

    A listing ends at 1000 rows without a next page. A server that cannot be listed completely is refused
    before anything is moved; see `memxfer_mem0_server.scopes`.
    """

    name: ClassVar[str] = NAME
    summary: ClassVar[str] = "self-hosted Mem0 server (REST); source only, up to its listing's cap"
    config_model: ClassVar[type[Mem0ServerConfig]] = Mem0ServerConfig

    _client: Mem0ServerClient | None = None
    _survey: Survey | None = None
    _warnings: tuple[str, ...] = ()
    _is_admin: bool = True

    def __init__(self, config: Mem0ServerConfig, *, clock: Clock | None = None) -> None:
        super().__init__(config, clock=clock)
        self._walks: dict[str, list[tuple[str, Any]]] = {}
        self._histories: KeptAnswers[list[Any]] = KeptAnswers()

    # -- life ---------------------------------------------------------------------------------

    async def _connect(self, role: Role) -> BackendInfo:
        """List a few rows, or the entities where the key is no admin's. Nothing is written."""
        if self._client is None:
            client = Mem0ServerClient(self.config, now=self.clock.now)
            try:
                await self._look(client)
            except BaseException:
                await client.aclose()
                raise
            self._client, self._survey = client, Survey(client)
        details = {"address": self.config.place}
        return BackendInfo(f"Mem0 server {self.config.place}", self._warnings, details)

    async def _look(self, client: Mem0ServerClient) -> None:
        try:
            rows = await client.memories({}, most=_GLANCE, operation="connect")
        except (AuthError, FatalError) as error:
            if error.status not in (400, 403, 422):
                raise
            await client.entities(operation="connect")  # a key that is refused here too is no good
            self._is_admin, self._warnings = False, (_NO_ADMIN,)
            return
        self._is_admin = True
        self._warnings = (_NULLS,) if any(_is_null(row) for row in rows) else ()

    async def _aclose(self) -> None:
        client, self._client, self._survey = self._client, None, None
        self._walks.clear()
        if client is not None:
            await client.aclose()

    def store(self) -> StoreIdentity:
        """Return the server: the connection's `namespace`, else its address.

        Raises:
            ProviderError: Not connected.
        """
        self._connected()
        return StoreIdentity(self.name, self.config.place)

    def place(self) -> str:
        """Return the server's address, whatever `namespace` says."""
        return address_place(self.config.url)

    def _capabilities(self) -> Capabilities:
        return capabilities_of(self.config)

    def _connected(self) -> Mem0ServerClient:
        if self._client is None:
            raise ProviderError(f"{self.name} is not connected; call connect(role) first", provider=self.name)
        return self._client

    # -- reading ------------------------------------------------------------------------------

    async def partitions(self) -> AsyncIterator[Partition]:
        """Give users, agents and runs, and intersections of those that are too large.

        Raises:
            FatalError: Not everything can be listed; nothing has been given yet.
            TransientError: List them again; it goes on from where it was.
        """
        self._check_ready(Role.SOURCE)
        client = self._connected()
        anybody = await client.memories({}) if self._is_admin else None
        survey = self._survey or Survey(client)
        for partition in await survey.partitions(anybody):
            yield partition

    async def _read_page(self, partition: Partition, cursor: str | None, limit: int) -> RawPage:
        rows = self._walks.get(partition.name) if cursor is not None else None
        if cursor is not None and not cursor.startswith(_AFTER):
            raise CursorExpiredError(
                f"the cursor is not one of {self.name}'s; the listing begins again",
                provider=self.name,
                operation="read",
            )
        if rows is None:
            rows = self._walks[partition.name] = await self._rows_of(partition)
        last = (cursor or "").removeprefix(_AFTER)
        left = rows if cursor is None else [row for row in rows if row[0] > last]
        page = left[: min(limit, MOST_ROWS)]
        paired = await self._with_history([row for _, row in page], partition)
        if len(page) == len(left):
            self._walks.pop(partition.name, None)
            return RawPage(paired, None, len(rows))
        return RawPage(paired, _AFTER + page[-1][0], len(rows))

    async def _rows_of(self, partition: Partition) -> list[tuple[str, Any]]:
        """Return all rows of a scope by id, so that they keep their place; first those without an id."""
        rows = await self._connected().memories(partition.spec["scope"])
        if len(rows) >= MOST_ROWS:
            raise refusal(
                f"{self.name} cannot list {partition.name} completely: it has grown to {MOST_ROWS} rows",
                "over_cap",
            )
        await self._check_count(partition, len(rows))
        keyed = [(_id(row) or f"\0{number:04}", row) for number, row in enumerate(rows)]
        return sorted(keyed, key=lambda one: one[0])

    async def _check_count(self, partition: Partition, found: int) -> None:
        """Refuse a listing that is shorter than the server itself counts now."""
        expected = partition.spec.get("total", 0)
        if found >= expected:
            return
        [(axis, name)] = partition.spec["scope"].items()
        totals = {(one.axis, one.name): one.total for one in await self._connected().entities()}
        if found < totals.get((axis, name), 0):
            raise refusal(
                f"{self.name} lists {found} memories of {partition.name}, and counts {totals[axis, name]}",
                "short_listing",
            )

    async def _with_history(self, rows: Sequence[Any], partition: Partition) -> list[Any]:
        """Pair rows with their history, those of this partition only."""
        if not self.config.history:
            return [(row, None) for row in rows]
        wanted = [_id(row) for row in rows if _id(row) and _is_here(row, partition)]
        found = await self._histories.ask([one for one in wanted if one], self._connected().history)
        return [(row, found.get(_id(row) or "", [])) for row in rows]

    def _decode(self, row: Any, partition: Partition) -> MemoryRecord | Ignored:
        memory, events = row
        if not _is_here(memory, partition):
            return Ignored("listed_elsewhere", harmless=True)
        return decode(memory, events, now=self.clock.now())

    def _row_id(self, row: Any) -> str | None:
        return _id(row[0])

    async def get(self, record_id: str) -> MemoryRecord | None:
        """Return a memory by its id; `None` when there is none."""
        client = self._connected()
        row = await client.get(record_id)
        if row is None:
            return None
        events = await client.history(record_id) if self.config.history else None
        return sanitise_record(decode(row, events, now=self.clock.now()))

    async def history(self, record_id: str) -> tuple[Version, ...]:
        """Return the earlier versions of a memory, oldest first; of a deleted one, all that are known."""
        client = self._connected()
        row, events = await client.get(record_id) or {}, await client.history(record_id)
        changed_at = time_of(row.get("updated_at")) or time_of(row.get("created_at"))
        return versions_of(events or None, text=row.get("memory"), changed_at=changed_at, row=row)[0]


def _id(row: Any) -> str | None:
    found = row.get("id") if isinstance(row, dict) else None
    return found if isinstance(found, str) and found else None


def _is_null(row: Any) -> bool:
    return not isinstance(row, dict) or all(value is None for value in row.values())


def _is_here(row: Any, partition: Partition) -> bool:
    """Tell whether a row belongs to this partition; one without an id is kept, to be seen as a defect."""
    return _id(row) is None or is_listed_here(scope_of(row), partition)
