"""Single memories, batches of them, and deletion by scope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from memxfer.emulation import Answer, Call, Endpoint, RefusedError

from .listing import ListingRoutes
from .rows import AXES, Memory, moment, shown

if TYPE_CHECKING:
    from .emulator import Mem0PlatformEmulator

__all__ = ["MemoryRoutes"]

_BODY = msgspec.json.Decoder(dict[str, Any])
_MAX_BATCH = 1000


class MemoryRoutes:
    """Everything that names a memory by its id, or all of a scope's."""

    def __init__(self, emulator: Mem0PlatformEmulator, listing: ListingRoutes) -> None:
        self._emulator = emulator
        self._listing = listing

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        return [
            Endpoint("GET", "/v1/memories/{memory_id}/", self._get),
            Endpoint("PUT", "/v1/memories/{memory_id}/", self._update),
            Endpoint("DELETE", "/v1/memories/{memory_id}/", self._delete),
            Endpoint("GET", "/v1/memories/{memory_id}/history/", self._history),
            Endpoint("GET", "/v1/memories/{entity_type}/{entity_id:path}/", self._listing.by_entity),
            Endpoint("DELETE", "/v1/memories/", self._delete_all),
            Endpoint("DELETE", "/v2/entities/{entity_type}/{entity_id:path}/", self._delete_entity),
            Endpoint("PUT", "/v1/batch/", self._batch_update),
            Endpoint("DELETE", "/v1/batch/", self._batch_delete),
        ]

    def _found(self, memory_id: Any) -> Memory:
        memory = self._emulator.store.get(memory_id) if isinstance(memory_id, str) else None
        if memory is None:
            raise RefusedError(404, {"error": "Memory not found!"})
        return memory

    def _get(self, call: Call) -> Answer:
        memory = self._found(call.params["memory_id"])
        state = "merged" if memory.merged else "superseded" if memory.replaced_by else "active"
        if state == "active" and memory.is_expired(self._emulator.now()):
            state = "expired"
        return Answer(200, {**shown(memory, self._emulator.settings), "lifecycle_state": state})

    def _history(self, call: Call) -> Answer:
        rows = self._emulator.store.history_of(call.params["memory_id"])
        if not rows:
            raise RefusedError(404, {"error": "Memory not found!"})
        return Answer(200, [self._listing.shown_event(row) for row in rows])

    def _update(self, call: Call) -> Answer:
        memory = self._found(call.params["memory_id"])
        self._apply(memory, call.decode(_BODY))
        return Answer(200, shown(memory, self._emulator.settings))

    def _apply(self, memory: Memory, changes: dict[str, Any]) -> None:
        """Change what is named: metadata is replaced, a null expiration_date clears it."""
        if changes.get("metadata") is not None:
            memory.metadata = changes["metadata"]
        if "expiration_date" in changes:
            memory.expiration_date = changes["expiration_date"]
        if changes.get("timestamp") is not None:
            memory.created_at = moment(int(changes["timestamp"]))
        self._emulator.store.change(memory, text=changes.get("text"), at=self._emulator.now())

    def _delete(self, call: Call) -> Answer:
        self._emulator.store.delete(self._found(call.params["memory_id"]), at=self._emulator.now())
        return Answer(200, {"message": "Memory deleted successfully!"})

    def _batch(self, call: Call) -> list[tuple[Memory, dict[str, Any]]]:
        items = call.decode(_BODY).get("memories")
        if not isinstance(items, list) or not 0 < len(items) <= _MAX_BATCH:
            raise RefusedError(400, {"error": f"memories must be a list of 1 to {_MAX_BATCH}"})
        return [(self._found(item.get("memory_id")), item) for item in items]

    def _batch_update(self, call: Call) -> Answer:
        batch = self._batch(call)
        for memory, changes in batch:
            self._apply(memory, changes)
        return Answer(200, {"message": f"Successfully updated {len(batch)} memories"})

    def _batch_delete(self, call: Call) -> Answer:
        batch = self._batch(call)
        for memory in {memory.id: memory for memory, _ in batch}.values():
            self._emulator.store.delete(memory, at=self._emulator.now())
        return Answer(200, {"message": f"Successfully deleted {len(batch)} memories"})

    def _delete_all(self, call: Call) -> Answer:
        """Refuse what names no scope, and what nobody understands: it would delete more than meant."""
        named = {axis: value for axis, value in call.query.items() if axis in AXES}
        if not named or call.query.keys() - named.keys():
            raise RefusedError(400, {"error": "one of user_id, agent_id, app_id, run_id is required"})
        return self._delete_scope(named)

    def _delete_entity(self, call: Call) -> Answer:
        return self._delete_scope({f"{call.params['entity_type']}_id": call.params["entity_id"]})

    def _delete_scope(self, scope: dict[str, str]) -> Answer:
        gone = [one for one in self._emulator.store if scope.items() <= one.scope.items()]
        for memory in gone:
            self._emulator.store.delete(memory, at=self._emulator.now())
        return Answer(200, {"message": "queued", "event_id": str(self._emulator.new_id())})
