"""A local stand-in for the Mem0 Platform."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from memxfer.emulation import Answer, Call, Emulator, EmulatorSettings, Endpoint, RefusedError

from .adding import Adding
from .listing import ListingRoutes
from .memory_routes import MemoryRoutes
from .rows import Memory, moment, shown
from .settings import EMULATOR_API_KEY, Mem0PlatformSettings
from .store import Mem0PlatformStore

__all__ = ["Mem0PlatformEmulator"]


class Mem0PlatformEmulator(Emulator[Mem0PlatformSettings]):
    """An emulator of the Mem0 Platform's HTTP API, built from public documentation.

    It keeps what a migration must survive: pages by number that drift, newest first; expired and merged
    rows that are hidden by default; texts collapsed within a scope; dates cut to seconds; run ids under
    another name. What the documentation leaves open is a setting, or said where it is done. Nothing that
    holds here is known to hold for the service.

    Args:
        settings: How to behave.
        state_path: SQLite file that survives restarts; temporary when left out.
        clock: Epoch seconds.
        sleep: Awaits latency and delays.
        new_id: Makes random UUIDs.
    """

    name: ClassVar[str] = "mem0"
    settings_model: ClassVar[type[EmulatorSettings]] = Mem0PlatformSettings
    EMULATOR_API_KEY: ClassVar[str] = EMULATOR_API_KEY

    def __init__(
        self,
        settings: Mem0PlatformSettings | None = None,
        *,
        state_path: Path | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self.new_id = new_id
        self.store = Mem0PlatformStore(state_path, new_id=new_id)
        self.drifted: Counter[str] = Counter()
        self._adding = Adding(self)
        super().__init__(settings, clock=clock, sleep=sleep)

    @property
    def api_key(self) -> str:
        """The first key of the settings."""
        return self.settings.api_keys[0] if self.settings.api_keys else ""

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the platform's routes."""
        listing = ListingRoutes(self)
        return [
            Endpoint("GET", "/v1/ping/", self._ping),
            Endpoint("GET", "/v1/stats/", self._stats),
            Endpoint("POST", "/v3/memories/add/", self._adding.add),
            Endpoint("GET", "/v1/event/{event_id}/", self._adding.event),
            *listing.endpoints(),
            *MemoryRoutes(self, listing).endpoints(),
        ]

    def authenticate(self, call: Call) -> tuple[str, str]:
        """Check the key; 401 without a known one. What was queued long enough ago is stored by then."""
        scheme, _, key = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "token" or key.strip() not in self.settings.api_keys:
            raise RefusedError(401, "Invalid API key.")
        self._adding.settle()
        return key, key

    def error(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Return an error: `{"detail": ...}`, or an object as it is."""
        return Answer(status, detail if isinstance(detail, dict) else {"detail": detail}, headers or {})

    def presets(self) -> Mapping[str, Answer]:
        """Return the platform's own refusals by name."""
        limits = {"x-ratelimit-limit": "1000", "x-ratelimit-remaining": "0"}
        return {
            "rate_limited": self.error(429, "Request was throttled.", limits),
            "quota": self.error(413, "Memory quota exceeded."),
            "key_revoked": self.error(401, "Invalid API key."),
        }

    def now(self) -> datetime:
        """Return this moment."""
        return moment(self.clock())

    def put(self, memory: Memory) -> Memory:
        """Store a memory as it is, for tests: superseded, merged, synthesized, with odd fields."""
        return self.store.add(memory, at=memory.updated_at)

    def truth(self, offset: int, limit: int, *, brief: bool) -> Mapping[str, Any]:
        """Return memories in order of arrival, hidden ones too; `brief` leaves out their history.

        `times_received` counts the adds that ended in this memory.
        """
        documents = [self._truth_of(one, brief=brief) for one in self.store.page(offset, limit)]
        return {"total": len(self.store), "offset": offset, "limit": limit, "documents": documents}

    def summary(self) -> Mapping[str, Any]:
        """Return counts."""
        return {
            "documents": len(self.store),
            "received": sum(one.received for one in self.store),
            "events": len(self.store.history),
            "drift_inserted": self.drifted["inserted"],
            "drift_deleted": self.drifted["deleted"],
        }

    def clear(self) -> None:
        """Delete everything stored and queued."""
        self.store.clear()
        self._adding.jobs.clear()
        self.drifted.clear()

    def banner(self) -> str:
        """Return the keys that work."""
        return f"API key: {', '.join(self.settings.api_keys) or 'none'}"

    def close(self) -> None:
        """Close the state file."""
        self.store.close()

    def _ping(self, call: Call) -> Answer:
        # A null e-mail keeps the client from linking anonymous ids to an account.
        return Answer(
            200,
            {
                "status": "ok",
                "org_id": self.settings.org_id,
                "project_id": self.settings.project_id,
                "user_email": None,
            },
        )

    def _stats(self, call: Call) -> Answer:
        return Answer(200, {"total_memories": len(self.store), "total_events": len(self.store.history)})

    def _truth_of(self, memory: Memory, *, brief: bool) -> dict[str, Any]:
        row = {
            **shown(memory, self.settings),
            "merged": memory.merged,
            "times_received": memory.received,
        }
        return row if brief else {**row, "history": [one.event for one in self.store.history_of(memory.id)]}
