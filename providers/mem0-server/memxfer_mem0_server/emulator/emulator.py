"""A local stand-in for the self-hosted Mem0 server."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from memxfer.emulation import Answer, Call, Emulator, EmulatorSettings, Endpoint, RefusedError

from .settings import EMULATOR_API_KEY, Mem0ServerSettings
from .store import Mem0ServerStore

__all__ = ["Mem0ServerEmulator"]

_MOST = 1000
_DEFAULT = 20
_AXES = {"user": "user_id", "agent": "agent_id", "run": "run_id"}
_NULLS = dict.fromkeys(("id", "memory", "hash", "metadata", "created_at", "updated_at"))
_BODY = msgspec.json.Decoder(dict[str, Any])


class Mem0ServerEmulator(Emulator[Mem0ServerSettings]):
    """An emulator of the Mem0 server's REST API, from its documentation and its public source.

    It has no model: what is added is stored as it is. Paths have no trailing slash and redirect nowhere.

    Args:
        settings: How to behave; one admin's key and one user's by default.
        state_path: SQLite file that survives restarts; temporary when left out.
        clock: Epoch seconds.
        sleep: Awaits latency and delays.
    """

    name: ClassVar[str] = "mem0-server"
    settings_model: ClassVar[type[EmulatorSettings]] = Mem0ServerSettings
    EMULATOR_API_KEY: ClassVar[str] = EMULATOR_API_KEY

    def __init__(
        self,
        settings: Mem0ServerSettings | None = None,
        *,
        state_path: Path | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.store = Mem0ServerStore(state_path)
        super().__init__(settings, clock=clock, sleep=sleep)

    @property
    def api_key(self) -> str:
        """The first admin's key of the settings."""
        return self.settings.admin_keys[0] if self.settings.admin_keys else ""

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes that a migration may ask, and those that make and change memories."""
        return [
            Endpoint("GET", "/memories", self._list),
            Endpoint("POST", "/memories", self._add),
            Endpoint("GET", "/entities", self._entities),
            Endpoint("GET", "/memories/{memory_id}", self._get),
            Endpoint("PUT", "/memories/{memory_id}", self._update),
            Endpoint("DELETE", "/memories/{memory_id}", self._delete),
            Endpoint("GET", "/memories/{memory_id}/history", self._history),
        ]

    def authenticate(self, call: Call) -> tuple[str, bool]:
        """Find the key in `X-API-Key`; the identity is whether it is an admin's. Nothing else counts."""
        key = call.headers.get("x-api-key", "")
        if key in self.settings.admin_keys:
            return key, True
        if key in self.settings.user_keys:
            return key, False
        raise RefusedError(401, "Invalid or missing API key.")

    # -- routes -------------------------------------------------------------------------------

    def _list(self, call: Call) -> Answer:
        text = call.query.get("top_k", str(_DEFAULT))
        if not text.isdecimal() or int(text) > _MOST:
            problem = {"type": "less_than_equal", "loc": ["query", "top_k"], "msg": "Input should be <= 1000"}
            raise RefusedError(422, [problem])
        scope = {name: call.query[name] for name in _AXES.values() if call.query.get(name)}
        if not scope and not call.identity:
            raise RefusedError(403, "Admin role required.")
        if not scope and self.settings.store == "qdrant":
            return Answer(200, {"results": [_NULLS, _NULLS]})
        shows_all = call.query.get("show_expired", "false").lower() in ("1", "true")
        today = None if shows_all else self._now()[:10]
        return Answer(200, {"results": self.store.rows(scope, int(text), today=today)})

    def _entities(self, call: Call) -> Answer:
        del call
        if self.settings.store == "qdrant":
            return Answer(200, [])
        counts: Counter[tuple[str, str]] = Counter()
        for row in self.store.everything(0, self.settings.scanned):
            counts.update((kind, str(row[field])) for kind, field in _AXES.items() if row.get(field))
        return Answer(
            200,
            [
                {"id": name, "type": kind, "total_memories": total, "created_at": None, "updated_at": None}
                for (kind, name), total in sorted(counts.items())
            ],
        )

    def _get(self, call: Call) -> Answer:
        return Answer(200, self.store.get(_checked(call)))

    def _history(self, call: Call) -> Answer:
        return Answer(200, self.store.history(_checked(call)))

    def _add(self, call: Call) -> Answer:
        body = call.decode(_BODY)
        scope = {name: body[name] for name in _AXES.values() if body.get(name)}
        if not scope:
            raise RefusedError(400, "At least one identifier (user_id, agent_id, run_id) is required.")
        metadata = dict(body.get("metadata") or {})
        at = metadata.pop("created_at", self._now())
        results = []
        for message in body.get("messages") or ():
            row = {
                **scope,
                "id": str(uuid.uuid4()),
                "memory": message["content"],
                "role": message.get("role"),
                "actor_id": message.get("name"),
                "metadata": metadata,
                "created_at": at,
                "updated_at": at,
            }
            self.store.put(row)
            self._note(row, "ADD", None, row["memory"])
            results.append({"id": row["id"], "memory": row["memory"], "event": "ADD"})
        return Answer(200, {"results": results})

    def _update(self, call: Call) -> Answer:
        row = self._found(call)
        before, text = row["memory"], str(call.decode(_BODY).get("text", ""))
        changed = {**row, "memory": text, "updated_at": self._now()}
        changed.pop("hash", None)
        self.store.put(changed)
        self._note(changed, "UPDATE", before, text)
        return Answer(200, {"message": "Memory updated successfully!"})

    def _delete(self, call: Call) -> Answer:
        row = self._found(call)
        self.store.remove(row["id"])
        self._note(row, "DELETE", row["memory"], None)
        return Answer(200, {"message": "Memory deleted successfully"})

    def _found(self, call: Call) -> dict[str, Any]:
        row = self.store.get(_checked(call))
        if row is None:
            raise RefusedError(404, "Memory not found.")
        return row

    def _note(self, row: Mapping[str, Any], event: str, old: str | None, new: str | None) -> None:
        self.store.add_history(
            {
                "id": str(uuid.uuid4()),
                "memory_id": row["id"],
                "old_memory": old,
                "new_memory": new,
                "event": event,
                "created_at": row.get("created_at"),
                "updated_at": row.get("created_at") if event == "ADD" else self._now(),
                "is_deleted": event == "DELETE",
                "actor_id": row.get("actor_id"),
                "role": row.get("role"),
            }
        )

    def _now(self) -> str:
        return datetime.fromtimestamp(self.clock(), UTC).isoformat()

    # -- admin --------------------------------------------------------------------------------

    def truth(self, offset: int, limit: int, *, brief: bool) -> Mapping[str, Any]:
        """Return a page of all memories in the order of the heap; the same when `brief`."""
        del brief
        page = list(self.store.everything(offset, limit))
        return {"total": self.store.count(), "offset": offset, "limit": limit, "documents": page}

    def summary(self) -> Mapping[str, Any]:
        """Return how many memories there are."""
        return {"memories": self.store.count()}

    def clear(self) -> None:
        """Delete everything stored."""
        self.store.state.clear()

    def banner(self) -> str:
        """Return the keys that work."""
        return f"X-API-Key: {', '.join(self.settings.admin_keys) or 'none'}"

    def close(self) -> None:
        """Close the state file."""
        self.store.state.close()


def _checked(call: Call) -> str:
    memory_id = call.params["memory_id"]
    try:
        return str(uuid.UUID(memory_id))
    except ValueError as error:
        raise RefusedError(502, "The upstream store could not answer.") from error
