"""A local stand-in for Synap."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from memxfer.emulation import Answer, Call, Emulator, EmulatorSettings, Endpoint, RefusedError

from .account_routes import AccountRoutes
from .context_routes import ContextRoutes
from .conversation_routes import ConversationRoutes
from .conversations import Conversations, conversation_uuid
from .data_routes import DataRoutes
from .ingest import Ingest, insufficient, iso
from .memories_routes import MemoriesRoutes
from .processing import Processing
from .scoping import Owner
from .settings import EMULATOR_API_KEY, Caller, SynapSettings, caller_of
from .store import Memory, StoredDocument, SynapStore

_LONGEST_HINT = 300


class SynapEmulator(Emulator[SynapSettings]):
    """An emulator of Synap's HTTP API, built from public documentation and the SDK's own requests.

    It keeps what a migration must survive: asynchronous processing, documents that yield several
    memories or none, five meanings of a known `document_id`, scope rules, refusals per row. Memories come
    from a toy splitter (see `extraction`), not from a model.

    Args:
        settings: How to behave; a B2B instance with one key by default.
        state_path: SQLite file that survives restarts; temporary when left out.
        clock: Epoch seconds.
        sleep: Awaits latency and delays.
        new_id: Makes random UUIDs.
    """

    name: ClassVar[str] = "synap"
    settings_model: ClassVar[type[EmulatorSettings]] = SynapSettings
    row_id_fields: ClassVar[tuple[str, ...]] = ("ingestion_id",)
    EMULATOR_API_KEY: ClassVar[str] = EMULATOR_API_KEY

    def __init__(
        self,
        settings: SynapSettings | None = None,
        *,
        state_path: Path | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self.new_id = new_id
        self.store = SynapStore(state_path, new_id=new_id)
        self.conversations = Conversations(self.store)
        self._account = AccountRoutes(self)
        self.ingest_calls = Counter[str]()
        super().__init__(settings, clock=clock, sleep=sleep)

    def apply(self, settings: SynapSettings) -> None:
        """Take new settings; the not-ready time starts when it changes."""
        before = getattr(self, "settings", None)
        super().apply(settings)
        self._callers = {key.key: caller_of(key, settings.isolation) for key in settings.keys}
        if before is None or before.not_ready_seconds != settings.not_ready_seconds:
            self._ready_at = self.clock() + settings.not_ready_seconds

    @property
    def api_key(self) -> str:
        """The first key of the settings."""
        return self.settings.keys[0].key if self.settings.keys else ""

    def endpoints(self) -> Sequence[Endpoint]:
        """Return Synap's routes."""
        groups = (
            MemoriesRoutes(self),
            ContextRoutes(self),
            ConversationRoutes(self),
            DataRoutes(self),
            self._account,
        )
        return [endpoint for group in groups for endpoint in group.endpoints()]

    def authenticate(self, call: Call) -> tuple[str, Caller]:
        """Find the key's instance; 401 without a known key, 403 for another instance's headers."""
        scheme, _, key = call.headers.get("authorization", "").partition(" ")
        caller = self._callers.get(key.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise RefusedError(401, "Invalid or missing API key")
        if call.headers.get("x-instance-id", caller.instance_id) not in {"", caller.instance_id}:
            raise RefusedError(403, "This key belongs to another instance")
        return caller.key, caller

    def presets(self) -> Mapping[str, Answer]:
        """Return Synap's own refusals by name."""
        trial = {
            "error": "trial_limit_reached",
            "reason": "trial_limit_reached",
            "message": "The trial is used up",
        }
        lapsed = {"reason": "subscription_inactive", "message": "The subscription has lapsed"}
        return {
            "rate_limited": self.error(429, "Rate limit exceeded"),
            "trial_limit_reached": self.error(429, trial),
            "subscription_inactive": self.error(429, lapsed),
            "insufficient_credits": self.error(402, insufficient(0.0, 1.0)),
            "instance_not_ready": _not_ready(60),
            "key_revoked": self.error(401, "API key has been revoked"),
        }

    def error(self, status: int, detail: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Return an error; a code in the detail is repeated at the top, as Synap does for instances."""
        if status == 409 and isinstance(detail, dict) and detail.get("code") == "instance_not_ready":
            return _not_ready(detail["retry_after_seconds"])
        return super().error(status, detail, headers)

    def require_ready(self) -> None:
        """Refuse writes and fetches while the instance is being built.

        Raises:
            RefusedError: 409 `instance_not_ready` with the seconds left, at most 300.
        """
        left = self._ready_at - self.clock()
        if left > 0:
            hint = min(math.ceil(left), _LONGEST_HINT)
            raise RefusedError(409, {"code": "instance_not_ready", "retry_after_seconds": hint})

    def ingest(self, caller: Caller) -> Ingest:
        """Start taking in one request's documents."""
        return Ingest(self.store, self.settings, caller, self.clock())

    def processing(self) -> Processing:
        """Return the pipeline's state at this moment."""
        return Processing(self.store, self.settings, self.clock())

    def memories_of(self, instance: str, owner: Owner) -> list[Memory]:
        """Return the memories of exactly this owner that have appeared, oldest document first."""
        return self.visible(self.store.owned(instance, owner))

    def readable_at(self, instance: str, owner: Owner) -> list[Memory]:
        """Return the memories that a fetch at an owner's level reads, by the setting `fetch_levels`."""
        wider = owner.wider() if self.settings.fetch_levels == "merged" else ()
        return [one for level in (owner, *wider) for one in self.memories_of(instance, level)]

    def visible(self, documents: Iterable[StoredDocument]) -> list[Memory]:
        """Return the memories of those documents whose processing is done."""
        processing = self.processing()
        return [
            one
            for document in documents
            if processing.is_done(document)
            for one in self.store.memories(document)
        ]

    def now_iso(self) -> str:
        """Return this moment as ISO 8601."""
        return iso(self.clock())

    def truth(self, offset: int, limit: int, *, brief: bool) -> Mapping[str, Any]:
        """Return distinct stored documents in order of instance and id; `brief` leaves out memories.

        `times_stored` counts live copies, `times_received` every valid arrival, stored or not. A document
        that is a transcript has its `conversation_id` and, unless `brief`, its `turns` as they were sent,
        with the time of each; its `document_id` is the conversation's id as it was sent.
        """
        page = [
            {**self._truth_of(*entry), **self._transcript_of(entry[0], brief=brief)}
            | ({} if brief else {"memories": self._memories_json(entry[0])})
            for entry in self.store.page(offset, limit)
        ]
        return {"total": self.store.distinct()[0], "offset": offset, "limit": limit, "documents": page}

    def summary(self) -> Mapping[str, Any]:
        """Return counts; `memories` includes those that have not appeared yet.

        `create_calls` and `batch_calls` are requests since the start or the last reset, refused ones too.
        """
        calls = {name: self.ingest_calls[name] for name in ("create_calls", "batch_calls")}
        return {**self.store.counts(), **calls, "telemetry_events": self._account.telemetry_events}

    def clear(self) -> None:
        """Delete everything stored; all ids given out become unknown."""
        self.store.clear()
        self.ingest_calls.clear()
        self._account.telemetry_events = 0

    def banner(self) -> str:
        """Return the keys that work."""
        return f"API key: {', '.join(self._callers) or 'none'}"

    def close(self) -> None:
        """Close the state file."""
        self.store.close()

    def _truth_of(self, document: StoredDocument, stored: int, received: int) -> dict[str, Any]:
        return {
            "document_id": document.document_id,
            "instance_id": document.instance,
            "times_stored": stored,
            "times_received": received,
            "origin": document.origin,
            "ingestion_id": self.store.ids.ingestion(document.seq),
            "status": self.processing().status(document),
            "scope": document.owner.as_json(),
            "document": msgspec.Raw(document.body),
        }

    def _transcript_of(self, document: StoredDocument, *, brief: bool) -> dict[str, Any]:
        if document.origin != "transcript":
            return {}
        conversation_id = conversation_uuid(document.document_id)
        if brief:
            return {"conversation_id": conversation_id}
        turns = self.conversations.turns(document.instance, conversation_id, start=1, limit=-1)
        return {"conversation_id": conversation_id, "turns": turns}

    def _memories_json(self, document: StoredDocument) -> list[dict[str, str]]:
        return [
            {"memory_id": one.memory_id, "memory_type": one.memory_type, "content": one.content}
            for one in self.store.memories(document)
        ]


def _not_ready(seconds: int) -> Answer:
    fields = {
        "message": "This instance's memory architecture is still being built.",
        "retry_after_seconds": seconds,
        "state": "building",
    }
    body = {"error": "instance_not_ready", **fields, "detail": {"code": "instance_not_ready", **fields}}
    return Answer(409, body, {"retry-after": str(seconds)})
