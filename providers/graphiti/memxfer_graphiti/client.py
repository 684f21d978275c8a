"""One open graph: pages of it, and batches into it, whatever database it is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from memxfer.spi import (
    AmbiguousError,
    ConfigError,
    CursorExpiredError,
    Document,
    Outcome,
    ProviderError,
    RecordError,
    Role,
    WriteReceipt,
)
from memxfer_graphiti.config import NAME, GraphitiConfig
from memxfer_graphiti.engines import TABLES, Changes, Engine, Place, open_engine
from memxfer_graphiti.rows import Episode, Fact, row_of
from memxfer_graphiti.scopes import group_of, named_scope

__all__ = ["GraphitiClient"]

_WRITTEN = ("facts", "episodes")
_CURSOR = "below:"


class GraphitiClient:
    """A graph, opened for one role.

    Args:
        engine: Its database.
        config: The connection's settings.
    """

    def __init__(self, engine: Engine, config: GraphitiConfig) -> None:
        self._engine = engine
        self._config = config
        self._groups = _group_ids(config)

    @classmethod
    async def open(cls, config: GraphitiConfig, role: Role) -> GraphitiClient:
        """Open the graph of a connection; see `open_engine`."""
        return cls(await open_engine(config, role), config)

    @property
    def place(self) -> Place:
        """Where it is."""
        return self._engine.place

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of its tables."""
        return self._engine.notes

    @property
    def has_reference_time(self) -> bool:
        """Tell whether a fact can say when it occurred."""
        return self._engine.has_reference_time

    async def aclose(self) -> None:
        """Release it. Idempotent."""
        await self._engine.close()

    # -- reading ------------------------------------------------------------------------------

    async def check_groups(self) -> None:
        """See that each group of the settings has something of the unit.

        Raises:
            ConfigError: One has not.
        """
        for name in sorted(self._config.groups or ()):
            groups = _group_ids(self._config, only=name)
            if not sum([await self._engine.count(table, groups) for table in TABLES[self._config.unit]]):
                raise ConfigError(
                    f"groups: {name!r} has no {self._config.unit} in this graph; write one of its "
                    "group_ids, or the id of an owner"
                )

    async def count(self, table: str) -> int:
        """Return the number of rows of a table, in the groups of the settings."""
        return await self._engine.count(table, self._groups)

    async def page(
        self, table: str, cursor: str | None, limit: int
    ) -> tuple[list[Mapping[str, Any]], str | None]:
        """Return the rows below a cursor, from the highest uuid down, and the next cursor.

        A row that is not below the cursor is left out: FalkorDBLite's index gives some a second time.

        Raises:
            CursorExpiredError: Not a cursor of this listing.
            ProviderError: A full page has no row below the cursor.
        """
        cursor = _place(cursor)
        listing = await self._engine.list_rows(table, cursor, limit, self._groups)
        keys = {key for key in listing.keys if cursor is None or key < cursor}
        is_full = len(listing.keys) >= limit
        if is_full and not keys:
            raise ProviderError(
                "the graph's listing does not move on: every row of a page was there before",
                provider=NAME,
                operation="read",
            )
        rows = {self._key(row): row for row in listing.rows if self._key(row) in keys}
        following = _CURSOR + min(keys) if is_full else None
        return [rows[key] for key in sorted(rows, reverse=True)], following

    def _key(self, row: Mapping[str, Any]) -> str:
        uuid = str(row.get("uuid"))
        return uuid.lower() if self._engine.lowers_keys else uuid

    async def find(self, tables: Sequence[str], uuid: str) -> tuple[str, Mapping[str, Any]] | None:
        """Return the first table that has a row of this uuid, and the row."""
        for table in tables:
            for row in await self._engine.find(table, [uuid]):
                if self._groups is None or row.get("group_id") in self._groups:
                    return table, row
        return None

    # -- writing ------------------------------------------------------------------------------

    async def make(self) -> None:
        """Make the graph where it is missing."""
        await self._engine.make()

    async def present(self, uuids: Sequence[str]) -> set[str]:
        """Return which of these facts and episodes are there."""
        found = [row["uuid"] for table in _WRITTEN for row in await self._engine.find(table, uuids)]
        return set(found)

    async def delete(self, uuids: Sequence[str]) -> int:
        """Remove facts and episodes; return how many were there."""
        return await self._engine.delete(uuids)

    async def write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        """Store documents in one transaction; see `MemoryProvider.write`."""
        bodies = {document.body.uuid: document.body for document in batch}
        plan = _Plan(bodies, await self._there(list(bodies)))
        changes = plan.changes()
        try:
            stored = await self._engine.store(changes) if changes else frozenset[str]()
        except AmbiguousError as error:
            return [plan.unknown(document.body.uuid, error) for document in batch]
        return [plan.receipt(document.body.uuid, stored) for document in batch]

    async def _there(self, uuids: Sequence[str]) -> dict[str, Fact | Episode]:
        found: dict[str, Fact | Episode] = {}
        for table in _WRITTEN:
            for row in await self._engine.find(table, uuids):
                one = _readable(table, row)
                found[one.uuid] = one
        return found


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a batch wants, and what is there already."""

    wanted: Mapping[str, Fact | Episode]
    there: Mapping[str, Fact | Episode]

    def changes(self) -> Changes:
        """Return what has to be stored."""
        new = [body for uuid, body in self.wanted.items() if not self._is_there(uuid)]
        facts = [body for body in new if isinstance(body, Fact)]
        episodes = [body for body in new if isinstance(body, Episode)]
        before = {fact.uuid: old for fact in facts if isinstance(old := self.there.get(fact.uuid), Fact)}
        return Changes(
            facts=facts,
            episodes=episodes,
            in_place=frozenset(fact.uuid for fact in facts if _has_ends_of(fact, before.get(fact.uuid))),
            reworded=frozenset(
                fact.uuid for fact in facts if fact.uuid in before and before[fact.uuid].fact != fact.fact
            ),
            not_facts=frozenset(one.uuid for one in episodes if isinstance(self.there.get(one.uuid), Fact)),
            not_episodes=frozenset(
                one.uuid for one in facts if isinstance(self.there.get(one.uuid), Episode)
            ),
        )

    def receipt(self, uuid: str, stored: frozenset[str]) -> WriteReceipt:
        """Return what became of one document."""
        if self._is_there(uuid):
            return WriteReceipt(Outcome.PRESENT, (uuid,))
        if uuid not in stored:
            return WriteReceipt(Outcome.REJECTED, error=_not_stored())
        return WriteReceipt(Outcome.UPDATED if uuid in self.there else Outcome.CREATED, (uuid,))

    def unknown(self, uuid: str, error: AmbiguousError) -> WriteReceipt:
        """Return that nobody knows what became of one document."""
        if self._is_there(uuid):
            return WriteReceipt(Outcome.PRESENT, (uuid,))
        return WriteReceipt(Outcome.UNKNOWN, error=error)

    def _is_there(self, uuid: str) -> bool:
        old = self.there.get(uuid)
        return old is not None and _bare(old) == _bare(self.wanted[uuid])


def _readable(table: str, row: Mapping[str, Any]) -> Fact | Episode:
    """Return a row, also one that somebody has broken: it is there, and will be replaced."""
    whole = {name: row.get(name) or "" for name in ("fact", "content")}
    found = row_of(table, {**row, **whole})
    assert isinstance(found, Fact | Episode)  # noqa: S101 - these are the tables asked for
    return found


def _bare(row: Fact | Episode) -> Fact | Episode:
    """Return a row without what belongs to its ends, which other facts share."""
    if not isinstance(row, Fact):
        return row
    ends = {
        end: msgspec.structs.replace(getattr(row, end), name="", labels=()) for end in ("source", "target")
    }
    return msgspec.structs.replace(row, **ends)


def _has_ends_of(fact: Fact, other: Fact | None) -> bool:
    if other is None:
        return False
    return (fact.source.uuid, fact.target.uuid) == (other.source.uuid, other.target.uuid)


def _place(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    if not cursor.startswith(_CURSOR):
        raise CursorExpiredError(
            "not a cursor of this graph; list it again from its start", provider=NAME, operation="read"
        )
    return cursor.removeprefix(_CURSOR)


def _group_ids(config: GraphitiConfig, *, only: str | None = None) -> list[str] | None:
    """Return the group ids that the settings name: as they are, and as those of owners."""
    names = config.groups if only is None else {only}
    if names is None:
        return None
    owned = {group_of(named_scope({config.group_is: name}), plain=config.group_is) for name in names}
    return sorted({*names, *owned})


def _not_stored() -> RecordError:
    return RecordError(
        "the graph did not take the fact: one of its ends is missing, or belongs to another group",
        provider=NAME,
        operation="write",
        code="not_stored",
    )
