"""Where the memories of an owner are, for an app that asks again and again: found once, then known."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from memxfer.spi import RecordError, Scope
from memxfer_zep.answers import GONE
from memxfer_zep.containers import MARK
from memxfer_zep.mapping import Owner
from memxfer_zep.marks import SESSION
from memxfer_zep.paging import rows_of

if TYPE_CHECKING:
    from memxfer_zep.client import ZepClient

__all__ = ["Place", "Places", "is_uuid"]

K = TypeVar("K")
V = TypeVar("V")

_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """A graph, and whose it is."""

    graph: str
    owner: Owner


class Places:
    """Finds graphs and threads; what is found is remembered, what is not is asked for again.

    Args:
        client: Makes the calls.
    """

    def __init__(self, client: ZepClient) -> None:
        self._client = client
        self._known: OrderedDict[tuple[str | None, str | None], Place] = OrderedDict()
        self._by_graph: OrderedDict[str, Place] = OrderedDict()
        self._threads: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def of(self, scope: Scope) -> Place | None:
        """Return where the facts of a user, or else of a group, are; `None` if Zep has neither yet."""
        whose = (scope.user, scope.group)
        if whose in self._known:
            return self._known[whose]
        found = (
            await self._of_user(scope.user)
            if scope.user is not None
            else await self._of_group(scope.group or "")
        )
        if found is not None:
            _keep(self._known, whose, found)
            _keep(self._by_graph, found.graph, found)
        return found

    def forget(self, scope: Scope) -> None:
        """Ask anew the next time: what was there is gone."""
        place = self._known.pop((scope.user, scope.group), None)
        if place is not None:
            self._by_graph.pop(place.graph, None)
            for name in [one for one in self._threads if one[0] == place.graph]:
                del self._threads[name]

    async def of_graph(self, graph: str, user_uuid: Any) -> Place:
        """Return whose a graph is; nobody's, where Zep does not tell.

        Args:
            graph: Its uuid.
            user_uuid: Of its user, where a row of it tells one.
        """
        found = self._by_graph.get(graph)
        if found is None:
            found = Place(graph, await self._owner_of(graph, user_uuid))
            _keep(self._by_graph, graph, found)
        return found

    async def thread(self, graph: str, session: str) -> str | None:
        """Return the uuid of the thread that memxfer writes a session's turns to; `None` if there is none.

        A thread has no name of its own: its turns have the session's, and show as episodes.
        """
        name = (graph, session)
        if name not in self._threads:
            found = await self._thread_of(graph, session)
            if found is None:
                return None
            _keep(self._threads, name, found)
        return self._threads[name]

    # -- users and groups ---------------------------------------------------------------------

    async def _of_user(self, user: str) -> Place | None:
        row = await self._client.user_by_id(user)
        if row is None or row.get("user_id") != user:
            row = await self._client.user(user) if is_uuid(user) else None
            # One that has a user_id goes by that name alone.
            if row is None or row.get("user_id"):
                return None
        return Place(str(row.get("graph_uuid") or row["uuid"]), _user(row))

    async def _of_group(self, group: str) -> Place | None:
        row = await self._client.graph_by_id(group)
        if row is None or row.get("graph_id") != group:
            row = await self._client.graph(group) if is_uuid(group) else None
        if row is None:
            row = await self._named(group)
        if row is None or _is_of_user(row):
            return None
        return Place(str(row["uuid"]), Owner(group=group, graph_name=row.get("name")))

    async def _named(self, group: str) -> dict[str, Any] | None:
        async for row in rows_of(self._client.graphs):
            if row.get("name") == group and row.get("uuid") and _is_ours(row):
                return row
        return None

    async def _owner_of(self, graph: str, user_uuid: Any) -> Owner:
        row = None if isinstance(user_uuid, str) else await self._client.graph(graph)
        if row is not None and not _is_of_user(row):
            name = row.get("name")
            group = name if _is_ours(row) and name else row.get("graph_id") or graph
            return Owner(group=group, graph_name=name)
        # The uuid of a user may stand for that of the user's graph.
        owner = user_uuid or (row or {}).get("user_uuid") or graph
        user = await self._client.user(str(owner))
        return Owner() if user is None else _user(user)

    # -- threads ------------------------------------------------------------------------------

    async def _thread_of(self, graph: str, session: str) -> str | None:
        marks = {
            "type": "and",
            "filters": [{"property_name": SESSION, "operator": "in", "value": [session]}],
        }
        try:
            page = await self._client.marked("episodes", graph, marks, None, 1)
        except RecordError as error:
            if error.code == GONE:
                raise
            return None  # Zep does not filter by metadata: the thread cannot be told from others
        for row in page.rows:
            metadata = row.get("metadata") if isinstance(row, dict) else None
            thread = row.get("thread_uuid") if isinstance(row, dict) else None
            is_it = isinstance(metadata, dict) and metadata.get(SESSION) == session
            if is_it and isinstance(thread, str) and thread:
                return thread
        return None


def is_uuid(text: str) -> bool:
    """Tell whether a text is an uuid."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _user(row: Mapping[str, Any]) -> Owner:
    return Owner(user=row.get("user_id") or row["uuid"], user_uuid=row["uuid"])


def _is_of_user(row: Mapping[str, Any]) -> bool:
    return row.get("type") == "user" or bool(row.get("user_uuid"))


def _is_ours(row: Mapping[str, Any]) -> bool:
    said = row.get("description")
    return isinstance(said, str) and said.startswith(f"{MARK} ")


def _keep(kept: OrderedDict[K, V], name: K, value: V) -> None:
    kept[name] = value
    if len(kept) > _KEPT:
        kept.popitem(last=False)
