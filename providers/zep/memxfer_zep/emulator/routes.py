"""The routes of API v4 that memxfer makes use of; those that read are here."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from memxfer.emulation import Answer, Call, Endpoint, RefusedError

from .adding import AddingRoutes
from .asking import AskingRoutes
from .deleting import DeletingRoutes
from .finding import Finder, missing
from .listing import Lister
from .store import KINDS

if TYPE_CHECKING:
    from .emulator import ZepEmulator

__all__ = ["Routes"]

_BASE = "/api/v4"
_PROJECT_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:memxfer:zep-emulator")
_OF_GRAPHS = {
    "episodes": ("episode", ("created_at", "uuid")),
    "edges": ("edge", ("uuid", "created_at", "valid_at")),
    "nodes": ("node", ("uuid", "created_at")),
    "thread-summaries": ("thread_summary", ("uuid", "created_at")),
    "document-summaries": ("document_summary", ("uuid", "created_at")),
}


class _Seed(msgspec.Struct):
    kind: str
    rows: list[dict[str, Any]]


class _Lookup(msgspec.Struct):
    user_id: str | None = None
    thread_id: str | None = None
    graph_id: str | None = None


_SEED = msgspec.json.Decoder(_Seed)
_LOOKUP = msgspec.json.Decoder(_Lookup)


class Routes:
    """All routes; lists and gets by itself.

    Args:
        emulator: Gives settings, store and time.
    """

    def __init__(self, emulator: ZepEmulator) -> None:
        self._emulator = emulator
        self._lister = Lister(emulator)
        self._finder = Finder(emulator)

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes; fixed names come before `{uuid}`."""
        lists = [
            Endpoint("POST", f"{_BASE}/graphs/{{uuid}}/{name}/list", self._of_graph(name))
            for name in _OF_GRAPHS
        ]
        return [
            Endpoint("GET", f"{_BASE}/project", self._project),
            Endpoint("POST", f"{_BASE}/users/list", self._users),
            Endpoint("POST", f"{_BASE}/users/lookup", self._lookup("user", "user_id")),
            Endpoint("GET", f"{_BASE}/users/{{uuid}}/node", self._user_node),
            Endpoint("GET", f"{_BASE}/users/{{uuid}}", self._one("user")),
            Endpoint("GET", f"{_BASE}/threads", self._threads),
            Endpoint("GET", f"{_BASE}/threads/{{uuid}}/messages", self._messages),
            Endpoint("GET", f"{_BASE}/threads/{{uuid}}", self._one("thread")),
            Endpoint("POST", f"{_BASE}/graphs/list", self._graphs),
            Endpoint("POST", f"{_BASE}/graphs/lookup", self._lookup("graph", "graph_id")),
            *lists,
            Endpoint("GET", f"{_BASE}/graphs/{{uuid}}/episodes/{{part}}", self._part("episode")),
            Endpoint("GET", f"{_BASE}/graphs/{{uuid}}/edges/{{part}}", self._part("edge")),
            Endpoint("GET", f"{_BASE}/graphs/{{uuid}}", self._one("graph")),
            *AddingRoutes(self._emulator).endpoints(_BASE),
            *AskingRoutes(self._emulator).endpoints(_BASE),
            *DeletingRoutes(self._emulator).endpoints(_BASE),
            Endpoint("POST", "/_seed", self._seed_call),
        ]

    # -- the project, users, threads, graphs --------------------------------------------------

    def _project(self, call: Call) -> Answer:
        body: dict[str, Any] = {"name": "emulated", "created_at": "2025-01-01T00:00:00Z"}
        if self._emulator.settings.project_uuids:
            body["uuid"] = str(uuid.uuid5(_PROJECT_NAMESPACE, call.identity))
        return Answer(200, body)

    def _users(self, call: Call) -> Answer:
        sorts = ("created_at", "user_id", "email", "uuid")
        return self._lister.answer(call, "user", None, sorts=sorts, counts=True)

    def _threads(self, call: Call) -> Answer:
        owner = call.query.get("user_uuid")
        if owner is not None:
            self._finder.found(call, "user", owner)
        sorts = ("created_at", "updated_at", "uuid")
        return self._lister.answer(call, "thread", owner, sorts=sorts, counts=True)

    def _messages(self, call: Call) -> Answer:
        thread = self._finder.found(call, "thread", call.params["uuid"])
        return self._lister.answer(
            call, "message", thread["uuid"], sorts=("created_at",), order="asc", counts=True
        )

    def _graphs(self, call: Call) -> Answer:
        sorts = ("created_at", "name", "uuid")
        return self._lister.answer(call, "graph", None, sorts=sorts, counts=True)

    def _lookup(self, kind: str, field: str) -> Callable[[Call], Answer]:
        def handle(call: Call) -> Answer:
            wanted = getattr(call.decode(_LOOKUP), field)
            if not wanted:
                raise RefusedError(400, {"code": "invalid_request", "message": f"{field} is required"})
            found = self._emulator.store.find(call.identity, kind, field, wanted)
            if found is None:
                raise missing(kind)
            return Answer(200, found)

        return handle

    def _one(self, kind: str) -> Callable[[Call], Answer]:
        return lambda call: Answer(200, self._finder.found(call, kind, call.params["uuid"]))

    # -- what graphs hold ---------------------------------------------------------------------

    def _of_graph(self, name: str) -> Callable[[Call], Answer]:
        kind, sorts = _OF_GRAPHS[name]
        return lambda call: self._lister.answer(call, kind, self._finder.graph_uuid(call), sorts=sorts)

    def _part(self, kind: str) -> Callable[[Call], Answer]:
        return lambda call: Answer(200, self._finder.in_graph(call, kind, "part"))

    def _user_node(self, call: Call) -> Answer:
        user = self._finder.found(call, "user", call.params["uuid"])
        return Answer(200, self._finder.user_node(call.identity, user))

    # -- seeding ------------------------------------------------------------------------------

    def _seed_call(self, call: Call) -> Answer:
        asked = call.decode(_SEED)
        try:
            return Answer(201, {"uuids": self.seed(call.identity, asked.kind, asked.rows)})
        except ValueError as error:
            raise RefusedError(422, {"code": "invalid_request", "message": str(error)}) from error

    def seed(self, key: str, kind: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Store objects of one kind in a key's project; see `ZepEmulator.seed`.

        Raises:
            ValueError: No such kind.
        """
        if kind not in KINDS:
            raise ValueError(f"no kind {kind!r}; there are {', '.join(KINDS)}")
        store, now = self._emulator.store, self._emulator.clock()
        added = store.add(key, kind, rows, now=now)
        if kind == "message":
            store.add(key, "episode", self._mirrored(key, rows), now=now)
        elif kind == "user" and self._emulator.settings.lists_user_graphs:
            users = [store.get(key, "user", one) or {} for one in added]
            graphs = [{"uuid": one["graph_uuid"], "type": "user", "user_uuid": one["uuid"]} for one in users]
            store.add(key, "graph", graphs, now=now)
        return added

    def _mirrored(self, key: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return messages as the episodes that they are as well, each with a uuid of its own."""
        store = self._emulator.store
        graphs: dict[str, dict[str, Any]] = {}
        for thread in {str(row.get("thread_uuid")) for row in rows}:
            owner = (store.get(key, "thread", thread) or {}).get("user_uuid", "")
            user = store.get(key, "user", owner) or {}
            graphs[thread] = {"graph_uuid": user.get("graph_uuid"), "user_uuid": user.get("uuid")}
        return [
            {
                **{name: value for name, value in row.items() if name not in ("uuid", "name")},
                **graphs[str(row.get("thread_uuid"))],
                "source": "message",
                "role_name": row.get("name"),
            }
            for row in rows
        ]
