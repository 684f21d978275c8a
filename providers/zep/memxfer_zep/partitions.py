"""Which lists make up a project: those of each user's graph, of each standalone graph, of each thread."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from memxfer.spi import ConfigError, Partition, ProviderError, RawPage, TransientError
from memxfer_zep.config import NAME, ZepConfig
from memxfer_zep.mapping import Owner

if TYPE_CHECKING:
    from memxfer_zep.client import ZepClient

__all__ = ["MAX_PAGE", "Partitions", "owner_of"]

MAX_PAGE: Final = 100
"""Largest page that Zep documents; what a larger one does it does not say."""

_USER_FIELDS = ("uuid", "user_id", "graph_uuid")
_GRAPH_FIELDS = ("uuid", "graph_id", "name", "type", "user_uuid")
_THREAD_FIELDS = ("uuid", "thread_id", "user_uuid")
_SUMMARIES = ("nodes", "document_summaries")

_Rows = list[dict[str, Any]]
_Fetch = Callable[[str | None, int], Awaitable[RawPage]]


class Partitions:
    """Lists the partitions of a project, page by page.

    A listing that was refused for now is begun again by the caller, from its start: what was read so far
    is kept until it is through, so that an account of 5 requests a minute gets to the end as well.

    Args:
        client: Makes the calls.
        config: Which unit, and whose.
    """

    def __init__(self, client: ZepClient, config: ZepConfig) -> None:
        self._client = client
        self._config = config
        self._kept: dict[tuple[str, str | None], tuple[_Rows, str | None]] = {}

    async def walk(self) -> AsyncIterator[Partition]:
        """Give the partitions of the unit, each once.

        Raises:
            ConfigError: A user or graph of the settings is not there.
            TransientError: Begin again; it goes on from where it was.
        """
        is_refused = False
        found = self._of_threads() if self._config.unit == "messages" else self._of_graphs()
        try:
            async for partition in found:
                yield partition
        except TransientError:
            is_refused = True
            raise
        finally:
            if not is_refused:
                self._kept.clear()

    # -- graphs -------------------------------------------------------------------------------

    async def _of_graphs(self) -> AsyncIterator[Partition]:
        config = self._config
        if config.users is not None or config.graphs is None:
            async for user in self._users():
                graph = user.get("graph_uuid") or user["uuid"]
                for partition in self._slices(f"user:{user['uuid']}", graph, _owner_of_user(user)):
                    yield partition
        if config.graphs is not None or config.users is None:
            async for graph_row in self._graphs():
                owner = Owner(
                    group=graph_row.get("graph_id") or graph_row["uuid"], graph_name=graph_row.get("name")
                )
                for partition in self._slices(f"graph:{graph_row['uuid']}", graph_row["uuid"], owner):
                    yield partition

    def _slices(self, name: str, graph: str, owner: Owner) -> Iterator[Partition]:
        unit = self._config.unit
        if unit != "summaries":
            yield _partition(name, unit, graph, owner)
            return
        # standalone graphs have no threads
        for listing in (*_SUMMARIES, "thread_summaries") if owner.user else _SUMMARIES:
            yield _partition(f"{name}:{listing}", listing, graph, owner)

    # -- threads ------------------------------------------------------------------------------

    async def _of_threads(self) -> AsyncIterator[Partition]:
        if self._config.users is not None:
            async for user in self._users():
                owner = user["uuid"]
                async for thread in self._pages(f"threads:{owner}", _THREAD_FIELDS, self._threads_of(owner)):
                    yield _partition_of_thread(thread, user)
            return
        # A thread names its user's uuid only; asking for each user's threads would cost a request each.
        users = {user["uuid"]: user async for user in self._users()}
        async for thread in self._pages("threads", _THREAD_FIELDS, self._client.threads):
            owner = thread.get("user_uuid") or ""
            yield _partition_of_thread(thread, users.get(owner, {"uuid": owner}))

    def _threads_of(self, user_uuid: str) -> _Fetch:
        return lambda cursor, limit: self._client.threads(cursor, limit, user_uuid=user_uuid)

    # -- containers ---------------------------------------------------------------------------

    async def _users(self) -> AsyncIterator[dict[str, Any]]:
        names = self._config.users
        if names is None:
            async for user in self._pages("users", _USER_FIELDS, self._client.users):
                yield user
            return
        find = self._finder("user", self._client.user, self._client.user_by_id)
        async for user in self._named("users", "user", sorted(names), find):
            yield user

    async def _graphs(self) -> AsyncIterator[dict[str, Any]]:
        names = self._config.graphs
        if names is not None:
            find = self._finder("graph", self._client.graph, self._client.graph_by_id)
            async for graph in self._named("graphs", "graph", sorted(names), find):
                yield graph
            return
        async for graph in self._pages("graphs", _GRAPH_FIELDS, self._client.graphs):
            # Zep does not say whether the graphs of users are listed too; they come with the users.
            if graph.get("type") != "user" and not graph.get("user_uuid"):
                yield graph

    def _finder(
        self,
        kind: str,
        by_uuid: Callable[[str], Awaitable[dict[str, Any] | None]],
        by_id: Callable[[str], Awaitable[dict[str, Any] | None]],
    ) -> Callable[[str], Awaitable[dict[str, Any] | None]]:
        async def find(name: str) -> dict[str, Any] | None:
            kept = self._kept.get((kind, name))
            if kept is not None:
                return kept[0][0]
            found = await by_uuid(name) if _is_uuid(name) else None
            found = found or await by_id(name)
            if found is not None:
                self._kept[kind, name] = ([found], None)
            return found

        return find

    async def _named(
        self,
        setting: str,
        kind: str,
        names: list[str],
        find: Callable[[str], Awaitable[dict[str, Any] | None]],
    ) -> AsyncIterator[dict[str, Any]]:
        seen: set[str] = set()
        for name in names:
            found = await find(name)
            if found is None:
                raise ConfigError(f"{setting} names {name!r}, and the project has no such {kind}; correct it")
            if found["uuid"] not in seen:
                seen.add(found["uuid"])
                yield found

    async def _pages(
        self, name: str, fields: tuple[str, ...], fetch: _Fetch
    ) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        cursors: set[str] = set()
        while True:
            rows, following = self._kept.get((name, cursor)) or await self._fetched(
                name, cursor, fields, fetch
            )
            for row in rows:
                yield row
            if following is None:
                return
            if following in cursors:
                raise ProviderError(
                    f"zep gives the same cursor of {name.partition(':')[0]} again and again",
                    provider=NAME,
                    operation="read",
                )
            cursors.add(following)
            cursor = following

    async def _fetched(
        self, name: str, cursor: str | None, fields: tuple[str, ...], fetch: _Fetch
    ) -> tuple[_Rows, str | None]:
        page = await fetch(cursor, MAX_PAGE)
        rows = [{field: row.get(field) for field in fields} for row in page.rows if row.get("uuid")]
        self._kept[name, cursor] = (rows, page.next_cursor)
        return self._kept[name, cursor]


def owner_of(partition: Partition) -> Owner:
    """Return whose the rows of a partition are."""
    return msgspec.convert(partition.spec["owner"], Owner)


def _partition(name: str, listing: str, parent: str, owner: Owner) -> Partition:
    spec = {"listing": listing, "parent": parent, "owner": msgspec.to_builtins(owner)}
    return Partition(name, spec)


def _partition_of_thread(thread: dict[str, Any], user: dict[str, Any]) -> Partition:
    owner = msgspec.structs.replace(_owner_of_user(user), thread=thread.get("thread_id") or thread["uuid"])
    return _partition(f"thread:{thread['uuid']}", "messages", thread["uuid"], owner)


def _owner_of_user(user: dict[str, Any]) -> Owner:
    identifier = user["uuid"] or None
    return Owner(user=user.get("user_id") or identifier, user_uuid=identifier)


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
