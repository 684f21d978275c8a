"""Objects by their ids, as routes ask for them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from memxfer.emulation import Call, RefusedError

if TYPE_CHECKING:
    from .emulator import ZepEmulator

__all__ = ["Finder", "missing"]


class Finder:
    """Finds objects.

    Args:
        emulator: Gives the store.
    """

    def __init__(self, emulator: ZepEmulator) -> None:
        self._emulator = emulator

    def found(self, call: Call, kind: str, identifier: str) -> dict[str, Any]:
        """Return an object.

        Raises:
            RefusedError: 400 for an id that is no uuid, 404 for one that is not there.
        """
        found = self._emulator.store.get(call.identity, kind, _uuid(identifier))
        if found is None:
            raise missing(kind)
        return found

    def graph_uuid(self, call: Call) -> str:
        """Return the uuid of the graph in a path; a user's stands for that of the user's graph."""
        asked = _uuid(call.params["uuid"])
        store = self._emulator.store
        user = store.get(call.identity, "user", asked) or store.find(
            call.identity, "user", "graph_uuid", asked
        )
        if user is not None:
            return str(user["graph_uuid"])
        return str(self.found(call, "graph", asked)["uuid"])

    def user_of(self, call: Call, graph: str) -> dict[str, str]:
        """Return the field that names the user of a graph, as rows of the graph have it; none for others."""
        user = self._emulator.store.find(call.identity, "user", "graph_uuid", graph)
        return {} if user is None else {"user_uuid": str(user["uuid"])}

    def in_graph(self, call: Call, kind: str, name: str) -> dict[str, Any]:
        """Return an object of the graph in a path, by the parameter `name`.

        Raises:
            RefusedError: As for `found`, also where it is in another graph.
        """
        graph = self.graph_uuid(call)
        found = self.found(call, kind, call.params[name])
        if found.get("graph_uuid") != graph:
            raise missing(kind)
        return found

    def user_node(self, project: str, user: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entity that stands for a user; it is there as long as the user is."""
        identifier = str(uuid.uuid5(uuid.UUID(str(user["uuid"])), "node"))
        store = self._emulator.store
        if store.get(project, "node", identifier) is None:
            node = {
                "uuid": identifier,
                "graph_uuid": user["graph_uuid"],
                "user_uuid": user["uuid"],
                "name": user.get("user_id") or "user",
                "labels": ["User"],
                "created_at": user["created_at"],
            }
            store.add(project, "node", [node], now=self._emulator.clock())
        return store.get(project, "node", identifier) or {}


def missing(kind: str) -> RefusedError:
    """Return the refusal for what is not there."""
    return RefusedError(404, {"code": "not_found", "message": f"{kind} not found"})


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        detail = {"code": "invalid_identifier", "message": "the identifier is not a uuid"}
        raise RefusedError(400, detail) from error
