"""A local stand-in for Zep Cloud's API v4."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from memxfer.emulation import Answer, Call, Emulator, EmulatorSettings, Endpoint, RateLimit, RefusedError

from . import replays, work
from .routes import Routes
from .settings import EMULATOR_API_KEY, ZepSettings
from .store import ZepStore

__all__ = ["ZepEmulator"]

_MINUTE = 60.0
_FREE = RateLimit(per_minute=5, burst=1)
"""What a free account over its quota gets (vendor's page on rate limits)."""


class ZepEmulator(Emulator[ZepSettings]):
    """An emulator of Zep Cloud's API v4, from its documentation and the SDK's requests.

    It has users, threads, messages, graphs, episodes, edges (facts), nodes, summaries and tasks, and it
    answers every call that a migration makes, in both directions, and those of an app. It has no model and
    extracts nothing: what is there was written, or put in by `seed` and `POST /_seed`.

    Args:
        settings: How to behave; one project with one key by default.
        state_path: SQLite file that survives restarts; temporary when left out.
        clock: Epoch seconds.
        sleep: Awaits latency and delays.
        new_id: Makes random UUIDs.
    """

    name: ClassVar[str] = "zep"
    settings_model: ClassVar[type[EmulatorSettings]] = ZepSettings
    row_field: ClassVar[str] = "items"
    row_id_fields: ClassVar[tuple[str, ...]] = ("uuid",)
    EMULATOR_API_KEY: ClassVar[str] = EMULATOR_API_KEY

    def __init__(
        self,
        settings: ZepSettings | None = None,
        *,
        state_path: Path | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self.store = ZepStore(state_path, new_id=new_id, more_schema=replays.SCHEMA + work.SCHEMA)
        self.replays = replays.Replays(self)
        self.work = work.Work(self)
        self._new_id = new_id
        self._calls: dict[str, deque[float]] = {}
        self._made: dict[str, int] = {}
        super().__init__(settings, clock=clock, sleep=sleep)

    @property
    def api_key(self) -> str:
        """The first key of the settings."""
        return self.settings.keys[0] if self.settings.keys else ""

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes, each with the headers that every answer of Zep's has."""
        return [
            replace(endpoint, handler=self._counted(endpoint.handler))
            for endpoint in Routes(self).endpoints()
        ]

    def authenticate(self, call: Call) -> tuple[str, str]:
        """Find the key's project; 401 without a known key. An account of v3 has no v4 routes at all."""
        scheme, _, key = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "api-key" or key.strip() not in self.settings.keys:
            raise RefusedError(401, {"code": "unauthorized", "message": "unauthorized"})
        if self.settings.api == "v3":
            raise RefusedError(404, {"code": "not_found", "message": "not found"})
        self._spend(key.strip())
        return key.strip(), key.strip()

    def _spend(self, key: str) -> None:
        made = self._made[key] = self._made.get(key, 0) + 1
        quota = self.settings.quota_calls
        if quota is not None and made > quota and self.settings.rate_limit != _FREE:
            self.apply(self.settings.model_copy(update={"rate_limit": _FREE}))

    def error(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Return an error as v4 words it, or as v3 does for an account of that kind."""
        fields = detail if isinstance(detail, dict) else {"code": f"http_{status}", "message": str(detail)}
        if self.settings.api == "v3":
            return Answer(status, {"message": fields.get("message", "")}, headers or {})
        body = {"param": None, "details": None, "request_id": f"req-{uuid.uuid4()}", **fields}
        return Answer(status, {"error": body}, headers or {})

    def presets(self) -> Mapping[str, Answer]:
        """Return Zep's own refusals by name, and a proxy's."""
        limited = self.error(429, {"code": "rate_limited", "message": "rate limit exceeded"})
        return {
            "rate_limited": replace(limited, headers=self._limit_headers("", remaining=0)),
            "not_found": self.error(404, {"code": "not_found", "message": "graph not found"}),
            "invalid_cursor": self.error(
                400, {"code": "invalid_cursor", "message": "the cursor has expired", "param": "cursor"}
            ),
            "invalid_identifier": self.error(
                400, {"code": "invalid_identifier", "message": "not a uuid", "param": "graph_uuid"}
            ),
            "payment_required": self.error(402, {"code": "payment_required", "message": "no credits left"}),
            "html": Answer(502, b"<html><body>Bad gateway</body></html>"),
        }

    def new_uuid(self) -> str:
        """Return a random UUID."""
        return str(self._new_id())

    def seed(self, kind: str, *rows: Mapping[str, Any], key: str | None = None) -> list[str]:
        """Put objects in as Zep would hold them; return their uuids.

        Args:
            kind: `user`, `graph`, `thread`, `message`, `episode`, `edge`, `node`, `thread_summary` or
                `document_summary`.
            rows: Fields as the API answers them; `uuid`, `created_at` and the like are filled in. A
                message appears as an episode of its user's graph too.
            key: Whose project; default: the first key's.

        Raises:
            ValueError: No such kind.
        """
        return self.put(key or self.settings.keys[0], kind, rows)

    def put(self, project: str, kind: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Store objects of one kind in a project, with what comes of them; see `seed`.

        Raises:
            ValueError: No such kind.
        """
        return Routes(self).seed(project, kind, rows)

    def truth(self, offset: int, limit: int, *, brief: bool) -> Mapping[str, Any]:
        """Return a page of all objects, in order of project, kind and uuid; the same when `brief`."""
        del brief
        self.work.advance()
        counts = self.store.counts()
        page = list(self.store.everything(offset, limit))
        return {"total": sum(counts.values()), "offset": offset, "limit": limit, "documents": page}

    def summary(self) -> Mapping[str, Any]:
        """Return how many objects there are of each kind, and how many of them are there a second time.

        `doubled` counts, by kind, what has the `memxfer_key` of another.
        """
        self.work.advance()
        return {**self.store.counts(), "doubled": self.store.doubled("memxfer_key")}

    def clear(self) -> None:
        """Delete everything stored, and forget who called how often."""
        self.store.state.clear()
        self._calls.clear()
        self._made.clear()

    def banner(self) -> str:
        """Return the keys that work."""
        return f"API key: {', '.join(self.settings.keys) or 'none'}"

    def close(self) -> None:
        """Close the state file."""
        self.store.state.close()

    # -- headers ------------------------------------------------------------------------------

    def _counted(self, handler: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        def handle(call: Call) -> Answer:
            self.work.advance()
            try:
                answer = handler(call)
            except RefusedError as refused:
                answer = self.error(refused.status, refused.detail, refused.headers)
            return replace(answer, headers={**answer.headers, **self._limit_headers(str(call.identity))})

        return handle

    def _limit_headers(self, key: str, *, remaining: int | None = None) -> dict[str, str]:
        """Return the four headers, counted over the last minute; `Retry-After` comes with refusals alone."""
        limit = self.settings.rate_limit
        if limit is None:
            return {}
        now = self.clock()
        calls = self._calls.setdefault(key, deque())
        if remaining is None:
            calls.append(now)
        while calls and calls[0] <= now - _MINUTE:
            calls.popleft()
        left = max(int(limit.per_minute) - len(calls), 0) if remaining is None else remaining
        return {
            "x-ratelimit-limit": str(int(limit.per_minute)),
            "x-ratelimit-remaining": str(left),
            "x-ratelimit-reset": str(int(now + _MINUTE / limit.per_minute) + 1),
            "x-ratelimit-increment": "1",
        }
