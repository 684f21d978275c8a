"""Listings: memories by filter or entity, entities, history of all memories; by page number, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from memxfer.emulation import Answer, Call, Endpoint, RefusedError

from .filters import check
from .rows import HistoryRow, Memory, shown, written

if TYPE_CHECKING:
    from .emulator import Mem0PlatformEmulator

__all__ = ["ListingRoutes"]

_BODY = msgspec.json.Decoder(dict[str, Any])
_PAGE = 100
_TYPES = ("user", "agent", "app", "run")


class ListingRoutes:
    """Everything that comes in pages."""

    def __init__(self, emulator: Mem0PlatformEmulator) -> None:
        self._emulator = emulator

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        return [
            Endpoint("POST", "/v3/memories/", self._list),
            Endpoint("POST", "/v3/memories/search/", self._search),
            Endpoint("GET", "/v1/memories/events/", self._events),
            Endpoint("GET", "/v1/entities/", self._entities),
        ]

    def by_entity(self, call: Call) -> Answer:
        """Answer `GET /v1/memories/{type}/{name}/`: a hundred to a page, hidden rows left out."""
        kind, name = call.params["entity_type"], call.params["entity_id"]
        if kind not in _TYPES:
            raise RefusedError(404, {"error": "No such entity type"})
        found = self._emulator.store.listed(
            {f"{kind}_id": {"eq": name}}, now=self._emulator.now(), expired=False, merged=False
        )
        return self._page(call, found, size=_PAGE, show=self._shown)

    def _list(self, call: Call) -> Answer:
        body = call.decode(_BODY)
        settings = self._emulator.settings
        found = self._matching(body)
        size = min(_number(call, "page_size", _PAGE), settings.max_page_size)
        fields = body.get("fields")
        answer = self._page(call, found, size=size, show=lambda one: _only(self._shown(one), fields))
        if answer.body["next"]:
            self._drift(found)
        return answer

    def _search(self, call: Call) -> Answer:
        """Rank by words in common; a toy, to have something to ask at run time."""
        body = call.decode(_BODY)
        words = set(str(body.get("query", "")).lower().split())
        scored = [(len(words & set(one.text.lower().split())), one) for one in self._matching(body)]
        best = sorted((pair for pair in scored if pair[0]), key=lambda pair: -pair[0])
        rows = [
            {**shown(one, self._emulator.settings, run_name="run_id"), "score": score / max(len(words), 1)}
            for score, one in best[: body.get("top_k", 10)]
        ]
        return Answer(200, {"results": rows})

    def _matching(self, body: dict[str, Any]) -> list[Memory]:
        filters = check(body.get("filters"), wildcard_or=self._emulator.settings.wildcard_or)
        return self._emulator.store.listed(
            filters,
            now=self._emulator.now(),
            expired=bool(body.get("show_expired")),
            merged=bool(body.get("include_merged")),
            latest_only=bool(body.get("latest_only")),
        )

    def _drift(self, found: list[Memory]) -> None:
        """Let the store move on between two pages, as a live one does."""
        emulator = self._emulator
        settings, now = emulator.settings, emulator.now()
        victims = [one for one in found if not one.drift][: settings.deletes_between_pages]
        for victim in victims:
            emulator.store.delete(victim, at=now)
        for _ in range(settings.inserts_between_pages):
            text = f"drift {emulator.new_id()}"
            new = Memory("", text, {"user_id": "drift"}, created_at=now, updated_at=now, drift=True)
            emulator.store.add(new, at=now)
        emulator.drifted["deleted"] += len(victims)
        emulator.drifted["inserted"] += settings.inserts_between_pages

    def _events(self, call: Call) -> Answer:
        if not self._emulator.settings.has_events:
            raise RefusedError(404, "Not Found")
        newest_first = self._emulator.store.history[::-1]
        size = min(_number(call, "limit", _PAGE), _PAGE)
        return self._page(call, newest_first, size=size, show=self.shown_event)

    def shown_event(self, row: HistoryRow) -> dict[str, Any]:
        """Return a row of history as it is given; a run is a `run_id` here."""
        at = written(row.at, self._emulator.settings)
        return {
            "id": row.id,
            "memory_id": row.memory_id,
            "input": row.input,
            "old_memory": row.old_memory,
            "new_memory": row.new_memory,
            "event": row.event,
            "user_id": row.scope.get("user_id"),
            "agent_id": row.scope.get("agent_id"),
            "app_id": row.scope.get("app_id"),
            "run_id": row.scope.get("run_id"),
            "categories": row.categories,
            "metadata": row.metadata,
            "created_at": at,
            "updated_at": at,
            "old_memory_embedding": None,
            "new_memory_embedding": None,
        }

    def _entities(self, call: Call) -> Answer:
        found = self._emulator.store.entities()
        size = min(_number(call, "page_size", _PAGE), self._emulator.settings.max_page_size)
        return self._page(call, found, size=size, show=self._entity)

    def _entity(self, entity: tuple[str, str, list[Memory]]) -> dict[str, Any]:
        kind, name, memories = entity
        settings = self._emulator.settings
        return {
            "id": f"{kind}:{name}",
            "name": name,
            "type": kind,
            "total_memories": len(memories),
            "created_at": written(min(one.created_at for one in memories), settings),
            "updated_at": written(max(one.updated_at for one in memories), settings),
            "owner": None,
            "metadata": None,
        }

    def _shown(self, memory: Memory) -> dict[str, Any]:
        return shown(memory, self._emulator.settings)

    def _page(self, call: Call, rows: Sequence[Any], *, size: int, show: Any) -> Answer:
        page = _number(call, "page", 1)
        start = (page - 1) * size
        if page > 1 and start >= len(rows):
            raise RefusedError(404, "Invalid page.")
        following = start + size < len(rows)
        return Answer(
            200,
            {
                "count": len(rows),
                "next": _address(call, page + 1) if following else None,
                "previous": _address(call, page - 1) if page > 1 else None,
                "results": [show(row) for row in rows[start : start + size]],
            },
        )


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise RefusedError(404 if name == "page" else 400, "Invalid page.")
    return int(text)


def _address(call: Call, page: int) -> str:
    query = urlencode({**call.query, "page": page})
    return f"http://{call.headers.get('host', 'localhost')}{call.path}?{query}"


def _only(row: dict[str, Any], fields: Any) -> dict[str, Any]:
    return {name: row[name] for name in row if name in fields} if isinstance(fields, list) else row
