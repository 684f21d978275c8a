"""Making what documents go into, each once: users, standalone graphs, threads, entities.

Zep takes no id for any but users, so each kind has its own way of being found again after a doubt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from memxfer.spi import (
    AmbiguousError,
    Ensured,
    NotReadyError,
    ProviderError,
    RecordError,
    Wanted,
)
from memxfer_zep.answers import time_of
from memxfer_zep.config import NAME
from memxfer_zep.paging import rows_of
from memxfer_zep.targets import TargetId, ingestion_of

if TYPE_CHECKING:
    from memxfer_zep.client import ZepClient

__all__ = ["CONTAINER_BATCH", "MARK", "Containers"]

CONTAINER_BATCH: Final[Mapping[str, int]] = {"node": 100}
MARK: Final = "memxfer"
"""What descriptions of our graphs begin with, and the key of the token on users and entities."""

_BEFORE: Final = timedelta(minutes=2)
_AFTER: Final = timedelta(minutes=10)
_CONFLICT: Final = 409


class Containers:
    """Finds or makes containers.

    Args:
        client: Makes the calls.
    """

    def __init__(self, client: ZepClient) -> None:
        self._client = client

    async def ensure(self, wanted: Sequence[Wanted]) -> list[Ensured]:
        """Find or make containers of one kind in one place; see `SupportsContainers`."""
        if not wanted:
            return []
        kind = wanted[0].container.kind
        if kind == "node":
            return await self._nodes(wanted)
        makers: dict[str, Callable[[Wanted], Awaitable[Ensured]]] = {
            "user": self._user,
            "user_node": self._user_node,
            "graph": self._graph,
            "thread": self._thread,
        }
        return [await makers[kind](one) for one in wanted]

    # -- users --------------------------------------------------------------------------------

    async def _user(self, wanted: Wanted) -> Ensured:
        """Make a user, or take the one of that id as it is: ids are unique in a project."""
        user_id = str(wanted.container.spec["user_id"])
        if wanted.tries > 1:
            found = await self._client.user_by_id(user_id)
            if found is not None:
                return _known_user(found, wanted)
        try:
            made = await self._client.writes.create_user(user_id, {MARK: wanted.token}, key=_key(wanted))
        except RecordError as error:
            if error.status != _CONFLICT:
                raise
            found = await self._client.user_by_id(user_id)
            if found is None:  # the conflict was about something else: a request of ours still under way
                raise _in_doubt("user", error) from error
            return _known_user(found, wanted)
        return Ensured(_user_id(made.body))

    async def _user_node(self, wanted: Wanted) -> Ensured:
        """Return the entity that Zep itself made for a user."""
        place = _place(wanted)
        found = await self._client.user_node(place.uuid)
        if found is None:
            raise NotReadyError(
                "zep has not made the entity of this user yet",
                provider=NAME,
                operation="ensure",
                code="no_node",
            )
        return Ensured(str(TargetId("node", place.place, _uuid(found))), is_new=False)

    # -- graphs -------------------------------------------------------------------------------

    async def _graph(self, wanted: Wanted) -> Ensured:
        """Make a standalone graph; a group's is used again, by the app's id or by the name we gave it."""
        group = wanted.container.spec.get("group")
        mark = f"{MARK} {wanted.token}"
        found = await self._graph_of(str(group)) if group is not None else None
        if found is None and (group is not None or wanted.tries > 1):
            found = await self._listed_graph(mark, str(group) if group is not None else None)
        if found is not None:
            return Ensured(f"graph:{_uuid(found)}", is_new=found.get("description") == mark)
        name = str(group) if group is not None else f"memxfer-{wanted.token[:12]}"
        made = await self._client.writes.create_graph(name, mark, key=_key(wanted))
        return Ensured(f"graph:{_uuid(made.body)}")

    async def _graph_of(self, group: str) -> dict[str, Any] | None:
        found = await self._client.graph_by_id(group)
        if found is None and _is_uuid(group):
            found = await self._client.graph(group)
        return found

    async def _listed_graph(self, mark: str, group: str | None) -> dict[str, Any] | None:
        async for row in rows_of(self._client.graphs):
            said = row.get("description")
            is_ours = isinstance(said, str) and said.startswith(f"{MARK} ")
            if said == mark or (group is not None and is_ours and row.get("name") == group):
                return row
        return None

    # -- threads ------------------------------------------------------------------------------

    async def _thread(self, wanted: Wanted) -> Ensured:
        """Make a thread; after a doubt, take the one that the lost try has made."""
        user = _place(wanted)
        if wanted.tries > 1:
            found = await self._lost_thread(wanted, user.uuid)
            if found is not None:
                return Ensured(str(TargetId("thread", user.uuid, found)))
        made = await self._client.writes.create_thread(user.uuid, key=_key(wanted, wanted.tries))
        return Ensured(str(TargetId("thread", user.uuid, _uuid(made.body))))

    async def _lost_thread(self, wanted: Wanted, user: str) -> str | None:
        """Return a thread that is empty, nobody's, and made when the earlier try was.

        A thread has no id of ours, no name and no metadata: its moment is all that tells it.
        """
        first, last = wanted.since - _BEFORE, wanted.since + _AFTER
        async for row in rows_of(partial(self._client.newest_threads, user_uuid=user)):
            made_at = time_of(row.get("created_at"))
            if made_at is None or made_at > last:
                continue
            if made_at < first:
                return None
            uuid = _uuid(row)
            if str(TargetId("thread", user, uuid)) not in wanted.taken and await self._is_empty(uuid):
                return uuid
        return None

    async def _is_empty(self, thread: str) -> bool:
        return not (await self._client.rows("messages", thread, None, 1)).rows

    # -- entities -----------------------------------------------------------------------------

    async def _nodes(self, wanted: Sequence[Wanted]) -> list[Ensured]:
        """Make entities, up to 100 in one request; after a doubt, those that are not there yet."""
        graph = _place(wanted[0]).place
        found = await self._marked_nodes(graph, wanted) if any(one.tries > 1 for one in wanted) else {}
        missing = [one for one in wanted if one.token not in found]
        if any(one.tries > 1 for one in missing):
            await self._wait_for_tasks(missing)
        made = await self._made_nodes(graph, missing) if missing else {}
        return [
            made[one.token] if one.token in made else Ensured(str(TargetId("node", graph, found[one.token])))
            for one in wanted
        ]

    async def _made_nodes(self, graph: str, missing: Sequence[Wanted]) -> dict[str, Ensured]:
        nodes = [_node(one) for one in missing]
        tokens = ",".join(one.token for one in missing)
        key = f"memxfer-{hashlib.sha256(f'{graph} {tokens}'.encode()).hexdigest()}"
        answer = await self._client.writes.add_nodes(graph, nodes, key=key)
        uuids = answer.rows("nodes")
        if len(uuids) != len(missing):
            raise _in_doubt("entities")
        ids = [str(TargetId("node", graph, uuid)) for uuid in uuids]
        return {
            one.token: Ensured(target, ingestion_of(answer.task, [target]) if answer.task else None)
            for one, target in zip(missing, ids, strict=True)
        }

    async def _marked_nodes(self, graph: str, wanted: Sequence[Wanted]) -> dict[str, str]:
        tokens = {one.token for one in wanted}
        found: dict[str, str] = {}
        async for row in rows_of(partial(self._client.rows, "nodes", graph)):
            attributes = row.get("attributes")
            token = attributes.get(MARK) if isinstance(attributes, dict) else None
            if token in tokens:
                found[str(token)] = _uuid(row)
                if len(found) == len(tokens):
                    break
        return found

    async def _wait_for_tasks(self, missing: Sequence[Wanted]) -> None:
        """Entities are not listed before their task ends: while one of that time runs, nothing is known."""
        since = min(one.since for one in missing) - _BEFORE
        until = max(one.since for one in missing) + _AFTER
        for status in ("pending", "processing"):
            async for row in rows_of(partial(self._client.tasks, "graph.add_nodes", status)):
                made_at = time_of(row.get("created_at"))
                if made_at is None or since <= made_at <= until:
                    raise NotReadyError(
                        "zep is still making entities; whether these are among them shows when it is done",
                        provider=NAME,
                        operation="ensure",
                        code="nodes_in_progress",
                    )


def _node(wanted: Wanted) -> dict[str, Any]:
    spec = wanted.container.spec
    full = {"memxfer_name": spec["full_name"]} if "full_name" in spec else {}
    return {"name": spec["name"], "attributes": {MARK: wanted.token, **full}}


def _known_user(row: Mapping[str, Any], wanted: Wanted) -> Ensured:
    metadata = row.get("metadata")
    is_ours = isinstance(metadata, dict) and metadata.get(MARK) == wanted.token
    return Ensured(_user_id(row), is_new=is_ours)


def _user_id(row: Mapping[str, Any]) -> str:
    uuid, graph = _uuid(row), row.get("graph_uuid")
    # Zep takes the uuid of a user for that of the user's graph (zep-cloud 4.0.1, docstrings).
    return str(TargetId("user", graph if isinstance(graph, str) and graph else uuid, uuid))


def _place(wanted: Wanted) -> TargetId:
    found = TargetId.parse(wanted.within_id or "")
    if found is None:
        raise ProviderError(
            f"{wanted.container.kind} without a place to be in", provider=NAME, operation="ensure"
        )
    return found


def _uuid(row: Mapping[str, Any]) -> str:
    found = row.get("uuid")
    if not isinstance(found, str) or not found:
        raise _in_doubt("row")
    return found


def _key(wanted: Wanted, *more: object) -> str:
    return "-".join(("memxfer", wanted.container.kind, wanted.token, *map(str, more)))


def _in_doubt(what: str, cause: ProviderError | None = None) -> AmbiguousError:
    return AmbiguousError(
        f"zep does not say which {what} it made",
        provider=NAME,
        operation="ensure",
        status=cause.status if cause else None,
        code="unreadable",
    )


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
