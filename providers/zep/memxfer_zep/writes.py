"""The calls of the vendor's SDK that change something: one request each, with a key against doubles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from memxfer.spi import RecordError
from memxfer_zep.answers import GONE, Answered, plain
from memxfer_zep.calls import Caller

__all__ = ["ZepWrites"]

_WRITE = "write"
_ENSURE = "ensure"


class ZepWrites:
    """Calls that change something.

    Every method takes the key that tells a repeated request from a new one, and raises the errors of
    `memxfer.errors`: `AmbiguousError` where it may have happened, `RecordError` (a `BatchRefusedError`)
    where Zep refused it.

    Args:
        sdk: An `AsyncZep` without retries.
        caller: Classifies what goes wrong.
    """

    def __init__(self, sdk: Any, caller: Caller) -> None:
        self._sdk = sdk
        self._caller = caller

    # -- containers ---------------------------------------------------------------------------

    async def create_user(self, user_id: str, metadata: Mapping[str, Any], *, key: str) -> Answered:
        """Make a user; refused with status 409 if the id is taken."""
        create = self._sdk.user.with_raw_response.create
        return await self._send(
            _ENSURE, lambda: create(user_id=user_id, metadata=dict(metadata), idempotency_key=key)
        )

    async def create_graph(self, name: str, description: str, *, key: str) -> Answered:
        """Make a standalone graph."""
        create = self._sdk.graph.with_raw_response.create
        return await self._send(
            _ENSURE, lambda: create(name=name, description=description, idempotency_key=key)
        )

    async def create_thread(self, user_uuid: str, *, key: str) -> Answered:
        """Make a thread of a user."""
        create = self._sdk.thread.with_raw_response.create
        return await self._send(_ENSURE, lambda: create(user_uuid=user_uuid, idempotency_key=key))

    async def add_nodes(self, graph_uuid: str, nodes: Sequence[Mapping[str, Any]], *, key: str) -> Answered:
        """Add up to 100 entities to a graph; their uuids are in the answer, in order."""
        from zep_cloud.types import NodeInput

        inputs = [NodeInput.model_validate(node) for node in nodes]
        add = self._sdk.graph.node.with_raw_response.add
        return await self._send(_ENSURE, lambda: add(graph_uuid, nodes=inputs, idempotency_key=key))

    # -- documents ----------------------------------------------------------------------------

    async def add_facts(self, graph_uuid: str, edges: Sequence[Mapping[str, Any]], *, key: str) -> Answered:
        """Add up to 100 facts to a graph, as they are; their uuids are in the answer, in order."""
        from zep_cloud.types import EdgeInput

        inputs = [EdgeInput.model_validate(edge) for edge in edges]
        add = self._sdk.graph.edge.with_raw_response.add
        return await self._send(
            _WRITE, lambda: add(graph_uuid, edges=inputs, deduplicate=False, idempotency_key=key)
        )

    async def add_episode(self, graph_uuid: str, episode: Mapping[str, Any], *, key: str) -> Answered:
        """Add one episode to a graph."""
        add = self._sdk.graph.episode.with_raw_response.add
        return await self._send(_WRITE, lambda: add(graph_uuid, **episode, idempotency_key=key))

    async def add_messages(
        self, thread_uuid: str, messages: Sequence[Mapping[str, Any]], *, key: str
    ) -> Answered:
        """Add up to 30 messages to a thread; their uuids are in the answer, in order."""
        from zep_cloud.types import AddMessage

        inputs = [AddMessage.model_validate(message) for message in messages]
        add = self._sdk.thread.with_raw_response.add_messages
        return await self._send(_WRITE, lambda: add(thread_uuid, messages=inputs, idempotency_key=key))

    # -- changing -----------------------------------------------------------------------------

    async def update_fact(self, graph_uuid: str, uuid: str, fact: str) -> dict[str, Any] | None:
        """Replace the text of a fact; return the fact, `None` if it is not there.

        Under a key of its own each time: the same text may be wanted again later.
        """
        update = self._sdk.graph.edge.update
        try:
            found = await self._caller("update", lambda: update(graph_uuid, uuid, fact=fact), is_write=True)
        except RecordError as error:
            if error.code == GONE:
                return None
            raise
        return plain(found)

    # -- removing -----------------------------------------------------------------------------

    async def delete(self, kind: str, place: str, uuid: str) -> bool:
        """Ask for something to be removed; `False` if it is gone already.

        Args:
            kind: `user`, `graph`, `thread`, `node`, `fact` or `episode`.
            place: The graph of the last three.
            uuid: Zep's id of it.

        Raises:
            KeyError: Nothing of that kind can be deleted.
        """
        graph = self._sdk.graph
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "user": lambda: self._sdk.user.delete(uuid),
            "graph": lambda: graph.delete(uuid),
            "thread": lambda: self._sdk.thread.delete(uuid),
            "node": lambda: graph.node.delete(place, uuid),
            "fact": lambda: graph.edge.delete(place, uuid),
            "episode": lambda: graph.episode.delete(place, uuid),
        }
        try:
            await self._caller("delete", calls[kind])
        except RecordError as error:
            if error.code == GONE:
                return False
            raise
        return True

    async def _send(self, operation: str, call: Callable[[], Awaitable[Any]]) -> Answered:
        found = await self._caller(operation, call, is_write=True)
        if isinstance(found, dict):
            return Answered(found)
        headers = found.headers
        return Answered(plain(found.data), _moment(headers.get("date")), headers.get("x-request-id"))


def _moment(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo else None
