"""The routes that make things: users, graphs, threads, entities, facts, episodes, messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from memxfer.emulation import Answer, Call, Endpoint, RefusedError

from .checks import check_metadata, check_text, check_times, invalid
from .finding import Finder
from .store import iso
from .work import Effect

if TYPE_CHECKING:
    from .emulator import ZepEmulator

__all__ = ["AddingRoutes"]

_BODY = msgspec.json.Decoder(dict[str, Any])
_ROLES = frozenset({"system", "assistant", "user", "function", "tool"})
_MOST_MESSAGES: Final = 30
_MOST_AT_ONCE: Final = 100
_MOST_OF_ID: Final = 500
_MOMENT: Final = 0.000_01  # told apart in microseconds, as far as a float of today can


class AddingRoutes:
    """Answers what makes things.

    Args:
        emulator: Gives settings, store, tasks and time.
    """

    def __init__(self, emulator: ZepEmulator) -> None:
        self._emulator = emulator
        self._finder = Finder(emulator)

    def endpoints(self, base: str) -> Sequence[Endpoint]:
        """Return the routes; each does a request that it knows by its key only once."""
        once = self._emulator.replays.once
        return [
            Endpoint("POST", f"{base}/users", once(self._user)),
            Endpoint("POST", f"{base}/threads", once(self._thread)),
            Endpoint("POST", f"{base}/threads/{{uuid}}/messages", once(self._messages)),
            Endpoint("POST", f"{base}/graphs", once(self._graph)),
            Endpoint("POST", f"{base}/graphs/{{uuid}}/nodes", once(self._nodes)),
            Endpoint("POST", f"{base}/graphs/{{uuid}}/edges", once(self._edges)),
            Endpoint("POST", f"{base}/graphs/{{uuid}}/episodes", once(self._episode)),
        ]

    # -- containers ---------------------------------------------------------------------------

    def _user(self, call: Call) -> Answer:
        body = call.decode(_BODY)
        user_id = body.get("user_id")
        if user_id is not None:
            check_text(user_id, _MOST_OF_ID, "user_id")
            if self._emulator.store.find(call.identity, "user", "user_id", user_id) is not None:
                raise RefusedError(409, {"code": "conflict", "message": "the user_id is taken"})
        names = ("user_id", "email", "first_name", "last_name", "time_zone")
        row = {name: body[name] for name in names if body.get(name) is not None}
        row["metadata"] = check_metadata(body.get("metadata"), "metadata")
        [uuid] = self._add(call, "user", row)
        user = self._emulator.store.get(call.identity, "user", uuid) or {}
        self._finder.user_node(call.identity, user)
        return Answer(201, user)

    def _graph(self, call: Call) -> Answer:
        body = call.decode(_BODY)
        row = {
            name: body[name] for name in ("name", "description", "time_zone") if body.get(name) is not None
        }
        [uuid] = self._add(call, "graph", row)
        return Answer(201, self._emulator.store.get(call.identity, "graph", uuid))

    def _thread(self, call: Call) -> Answer:
        user = self._finder.found(call, "user", str(call.decode(_BODY).get("user_uuid")))
        row = {"user_uuid": user["uuid"], "graph_uuid": user["graph_uuid"]}
        [uuid] = self._add(call, "thread", row)
        return Answer(201, self._emulator.store.get(call.identity, "thread", uuid))

    # -- what graphs hold ---------------------------------------------------------------------

    def _nodes(self, call: Call) -> Answer:
        graph = self._finder.graph_uuid(call)
        inputs = _rows(call, "nodes")
        made = [self._node(one, graph) for one in inputs]
        task = self._emulator.work.start(
            call.identity, "graph.add_nodes", [Effect("add", "node", body=one) for one in made]
        )
        shown = [{**one, "uuid": row["uuid"]} for one, row in zip(inputs, made, strict=True)]
        return Answer(202, {"nodes": shown, "task": task})

    def _node(self, asked: Mapping[str, Any], graph: str) -> dict[str, Any]:
        settings = self._emulator.settings
        return {
            "uuid": self._emulator.new_uuid(),
            "graph_uuid": graph,
            "name": check_text(asked.get("name"), settings.node_name_chars, "name"),
            "summary": asked.get("summary") or "",
            "labels": [asked["label"]] if asked.get("label") else [],
            "attributes": check_metadata(asked.get("attributes"), "attributes", takes_lists=False),
            "created_at": iso(self._emulator.clock()),
        }

    def _edges(self, call: Call) -> Answer:
        graph = self._finder.graph_uuid(call)
        body = call.decode(_BODY)
        if body.get("deduplicate"):
            raise invalid("the emulator has no model to find duplicates with", "deduplicate")
        effects: list[Effect] = []
        edges = [self._edge(call, one, graph, effects) for one in _rows(call, "edges")]
        settings = self._emulator.settings
        kept = [one for index, one in enumerate(edges) if index not in settings.partial_facts]
        for edge in kept:
            effects += [Effect("add", "episode", body=edge.pop("_episode")), Effect("add", "edge", body=edge)]
        named = [{"edge_uuid": one["uuid"]} for one in kept]
        task = self._emulator.work.start(
            call.identity,
            "graph.add_edges",
            effects,
            result={"edges": named} if settings.tasks_name_facts else {},
            is_partial=len(kept) < len(edges),
        )
        return Answer(202, {"edges": [_added(one) for one in edges], "task": task})

    def _edge(self, call: Call, asked: dict[str, Any], graph: str, effects: list[Effect]) -> dict[str, Any]:
        settings, now = self._emulator.settings, self._emulator.clock()
        fact = check_text(asked.get("fact"), settings.fact_chars, "fact")
        name = check_text(asked.get("fact_name"), settings.fact_name_chars, "fact_name")
        if not name.isascii() or name != name.upper() or not name.replace("_", "").isalnum():
            raise invalid("fact_name must be in UPPER_SNAKE_CASE", "fact_name")
        ends = {
            end: self._end(call, asked.get(f"{end}_node"), graph, effects) for end in ("source", "target")
        }
        metadata = check_metadata(asked.get("metadata"), "metadata")
        episode = {
            "uuid": self._emulator.new_uuid(),
            "graph_uuid": graph,
            "content": fact,
            "source": "fact_triple",
            "metadata": metadata,
            "created_at": iso(now),
            "reference_time": iso(now),
            "processed": True,
        }
        return {
            "uuid": self._emulator.new_uuid(),
            "graph_uuid": graph,
            **self._finder.user_of(call, graph),
            "name": name,
            "fact": fact,
            "scope": "entity",
            "attributes": check_metadata(asked.get("attributes"), "attributes", takes_lists=False),
            **check_times(asked, "valid_at", "invalid_at", "expired_at"),
            **{f"{end}_node_uuid": node["uuid"] for end, node in ends.items()},
            **{f"{end}_node_name": node["name"] for end, node in ends.items()},
            "episode_uuids": [episode["uuid"]],
            "created_at": iso(now),
            "_episode": episode,
        }

    def _end(self, call: Call, asked: Any, graph: str, effects: list[Effect]) -> dict[str, Any]:
        """Return the entity at an end: by its uuid; a name makes a new one each time."""
        ref = asked if isinstance(asked, dict) else {}
        if ref.get("uuid"):
            node = self._finder.found(call, "node", str(ref["uuid"]))
            if node.get("graph_uuid") != graph:
                raise RefusedError(404, {"code": "not_found", "message": "node not found"})
            return node
        made = self._node(ref, graph)
        effects.append(Effect("add", "node", body=made))
        return made

    def _episode(self, call: Call) -> Answer:
        graph = self._finder.graph_uuid(call)
        body, now = call.decode(_BODY), iso(self._emulator.clock())
        settings = self._emulator.settings
        row = {
            "graph_uuid": graph,
            "content": check_text(body.get("data"), settings.episode_chars, "data"),
            "source": body.get("type") or "text",
            "metadata": check_metadata(body.get("metadata"), "metadata"),
            "reference_time": now,
            **check_times(body, "reference_time"),
            **{name: body[name] for name in ("document_id", "source_description") if body.get(name)},
            "processed": False,
        }
        if row["source"] not in ("text", "json", "message"):
            raise invalid("type must be text, json or message", "type")
        [uuid] = self._add(call, "episode", row)
        effects = [Effect("processed", "episode", uuid)]
        task = self._emulator.work.start(call.identity, "graph.add", effects, result={"episode_uuid": uuid})
        return Answer(
            202, {"episode": self._emulator.store.get(call.identity, "episode", uuid), "task": task}
        )

    # -- messages -----------------------------------------------------------------------------

    def _messages(self, call: Call) -> Answer:
        thread = self._finder.found(call, "thread", call.params["uuid"])
        rows = [
            self._message(one, thread, index)
            for index, one in enumerate(_rows(call, "messages", _MOST_MESSAGES))
        ]
        uuids = self._emulator.put(call.identity, "message", rows)
        made = [self._emulator.store.get(call.identity, "message", uuid) for uuid in uuids]
        effects = [Effect("processed", "message", uuid) for uuid in uuids]
        task = self._emulator.work.start(call.identity, "thread.add_messages", effects)
        return Answer(202, {"messages": made, "task": task})

    def _message(self, asked: Mapping[str, Any], thread: Mapping[str, Any], index: int) -> dict[str, Any]:
        # Each a moment after the one before it: that is all that orders them.
        now = iso(self._emulator.clock() + index * _MOMENT)
        if asked.get("uuid"):
            raise invalid("uuid is reserved", "uuid")
        if asked.get("role") not in _ROLES:
            raise invalid("role is not known", "role")
        return {
            "thread_uuid": thread["uuid"],
            "content": check_text(asked.get("content"), self._emulator.settings.message_chars, "content"),
            "role": asked["role"],
            **({"name": asked["name"]} if asked.get("name") else {}),
            "metadata": check_metadata(asked.get("metadata"), "metadata"),
            "created_at": now,
            "reference_time": now,
            **check_times(dict(asked), "reference_time"),
            "processed": False,
        }

    def _add(self, call: Call, kind: str, row: Mapping[str, Any]) -> list[str]:
        return self._emulator.put(call.identity, kind, [row])


def _rows(call: Call, name: str, most: int = _MOST_AT_ONCE) -> list[dict[str, Any]]:
    rows = call.decode(_BODY).get(name)
    if not isinstance(rows, list) or not 1 <= len(rows) <= most:
        raise invalid(f"{name} takes 1 to {most} items", name)
    if not all(isinstance(row, dict) for row in rows):
        raise invalid(f"{name} must be objects", name)
    return rows


def _added(edge: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fact as it is acknowledged."""
    names = ("uuid", "fact", "attributes", "valid_at", "invalid_at", "expired_at")
    shown = {name: edge[name] for name in names if name in edge}
    ends = {f"{end}_node_uuid": edge[f"{end}_node_uuid"] for end in ("source", "target")}
    return {**shown, "fact_name": edge["name"], **ends}
