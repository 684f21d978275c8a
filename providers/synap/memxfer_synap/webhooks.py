"""Synap's webhooks: proof that they are Synap's, and an ASGI application that takes them.

What is known of them is the vendor's documentation: the header `X-Synap-Signature: sha256=<hex>`, an
HMAC-SHA256 over the body as it came; `timestamp` and `event_id` in the body; an answer of 2xx within 30 s,
else the event comes again after 1 and 5 minutes, half an hour, 2 and 12 hours. Events are unordered and may
repeat. The documentation's lists of their types differ, so unknown ones are kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import inspect
import logging
import math
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from memxfer.spi import Clock, ProviderError, SystemClock, parse_time
from memxfer.transport import redact
from memxfer_synap.event_store import Claim, EventStore

__all__ = ["INGESTION_FAILED", "WARNINGS", "Event", "WebhookApp", "WebhookError", "sign", "verify"]

INGESTION_FAILED = "ingestion.failed"
WARNINGS = frozenset({"credential.expiring", "retention.cleanup"})

_log = logging.getLogger(__name__)

_SIGNATURE = b"x-synap-signature"
_MILLISECONDS_FROM = 100_000_000_000
_DAY = 24 * 3600.0
"""The last delivery comes 14.6 hours after the first, with the timestamp of who knows which."""

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class WebhookError(ProviderError):
    """A webhook that is not to be acted upon.

    `code`: `bad_signature`, `malformed`, `too_old`, `too_new`, `repeated`.
    """


class Event(BaseModel):
    """What Synap tells. Fields that are not known are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    event_id: str = Field(min_length=1, max_length=512, validation_alias=AliasChoices("event_id", "id"))
    type: str = Field(validation_alias=AliasChoices("type", "event_type", "event"))
    timestamp: datetime
    data: dict[str, Any] = Field(default_factory=dict)

    @field_validator("timestamp", mode="before")
    @classmethod
    def _read_time(cls, value: Any) -> datetime:
        """Read ISO 8601, UTC where it names no zone, or epoch seconds or milliseconds."""
        if isinstance(value, str):
            return parse_time(value, assume_utc=True)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise ValueError("not a time")
        seconds = value / 1000 if value >= _MILLISECONDS_FROM else value
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, OSError) as error:
            raise ValueError("not a time") from error

    @field_validator("data", mode="before")
    @classmethod
    def _as_object(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {} if value is None else {"value": value}

    @property
    def ingestion_id(self) -> str | None:
        """The document's handle, as its receipt had it, where the event is about one."""
        found = self.data.get("ingestion_id") or (self.model_extra or {}).get("ingestion_id")
        return found if isinstance(found, str) and found else None

    @property
    def problem(self) -> str:
        """What went wrong, without anything that may quote a memory."""
        said = next((self.data[name] for name in _REASONS if isinstance(self.data.get(name), str)), "")
        return f"synap could not process the document: {redact(said) or 'it does not say why'}"


_REASONS = ("error_message", "error", "message", "reason", "error_code")


def sign(body: bytes, *, secret: str) -> str:
    """Return the header that Synap sends with a body; for trying out what takes webhooks."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verify(
    body: bytes,
    signature: str | None,
    *,
    secret: str,
    now: datetime,
    tolerance: float = 300.0,
    seen: Callable[[str], bool] | None = None,
) -> Event:
    """Make sure that a webhook is Synap's, of now, and new; return what it says.

    Args:
        body: The request's body as it came: one that was parsed and written again has another signature.
        signature: The header `X-Synap-Signature`; `None` when there was none.
        secret: The webhook's secret.
        now: The time, aware.
        tolerance: Seconds by which the event's time may be off, either way. An event that comes again may
            have its first time, so what lives on redeliveries needs a day here, and `seen`.
        seen: Tells whether an event of this id has been dealt with.

    Raises:
        WebhookError: It is not to be acted upon; see `code`.
        ValueError: The secret is empty: anybody could sign.
    """
    if not secret:
        raise ValueError("the webhook's secret is empty")
    given = (signature or "").encode("utf-8", "replace")
    if not hmac.compare_digest(sign(body, secret=secret).encode(), given):
        raise _refused("the signature is not Synap's", "bad_signature")
    event = _parsed(body)
    age = (now - event.timestamp).total_seconds()
    if age > tolerance:
        raise _refused("the event is too old", "too_old")
    if -age > tolerance:
        raise _refused("the event is of a time to come: is a clock wrong?", "too_new")
    if seen is not None and seen(event.event_id):
        raise _refused("the event has been dealt with", "repeated")
    return event


def _parsed(body: bytes) -> Event:
    try:
        found = msgspec.json.decode(body)
        return Event.model_validate(found)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValidationError):
        # not chained: both quote what they could not read
        raise _refused("the body is no event", "malformed") from None


def _refused(message: str, code: str) -> WebhookError:
    return WebhookError(message, provider="synap", operation="webhook", code=code)


class WebhookApp:
    """An ASGI application for `POST /`: run it by itself, or mount it where Synap is told to post.

    An event is dealt with once, however often and side by side it comes: its id is on disk before Synap gets
    its 2xx. When a callback raises, or takes too long, Synap gets a 500 and delivers again, and the event
    counts as new. Events of other types, those that nobody is called for, and failures of documents that are
    not known here are kept; see `kept`.

    | answer | when |
    |---|---|
    | 200 | dealt with, now or before |
    | 400 | no event, or of another time |
    | 401 | not signed by Synap |
    | 404, 405 | another path or method |
    | 413 | larger than `largest` |
    | 500, 503 | to be delivered again |

    Args:
        secret: The webhook's secret.
        store: A file for event ids and kept events; several processes may share it.
        on_failed: Called with the ingestion id and the problem of a document that Synap could not process;
            `MemoryClient.note_failed` fits. May be async; returning `False` means "not mine".
        on_warning: Called with events of the types in `WARNINGS`. May be async.
        tolerance: Seconds by which an event's time may be off, either way.
        largest: Most bytes of a body.
        seconds: How long a callback may take; Synap waits 30.
        clock: Time.

    Raises:
        ValueError: The secret is empty.
    """

    def __init__(
        self,
        *,
        secret: str,
        store: str | Path,
        on_failed: Callable[[str, str], object] | None = None,
        on_warning: Callable[[Event], object] | None = None,
        tolerance: float = _DAY,
        largest: int = 256 * 1024,
        seconds: float = 20.0,
        clock: Clock | None = None,
    ) -> None:
        if not secret:
            raise ValueError("the webhook's secret is empty")
        self._secret = secret
        self._path = Path(store)
        self._on_failed, self._on_warning = on_failed, on_warning
        self._tolerance, self._largest, self._seconds = tolerance, largest, seconds
        self._clock = clock or SystemClock()
        self._store: EventStore | None = None
        self._busy: dict[str, asyncio.Task[int]] = {}

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Serve one request, or the life of a server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise RuntimeError(f"webhooks come over http, not {scope['type']}")

    def kept(self) -> list[Event]:
        """Return the events that nobody was called for, oldest first; at most the newest thousand.

        Raises:
            OSError, sqlite3.Error: The file cannot be used.
        """
        return [_parsed(body) for body in self._events().kept()]

    def close(self) -> None:
        """Close the file. Idempotent; a server that speaks lifespan does it by itself."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    async def _live(self, receive: _Receive, send: _Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _serve(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if _path_of(scope).strip("/"):
            await _answer(send, 404)
        elif scope["method"] != "POST":
            await _answer(send, 405, {"allow": "POST"})
        else:
            body = await self._read(scope, receive)
            if body is None:
                return  # whoever asked has gone
            await _answer(send, 413 if len(body) > self._largest else await self._take(scope, body))

    async def _read(self, scope: _Scope, receive: _Receive) -> bytes | None:
        """Return the body; of one that is too large so much that it shows."""
        body = bytearray()
        while len(body) <= self._largest:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return bytes(body[: self._largest + 1])

    async def _take(self, scope: _Scope, body: bytes) -> int:
        given = [value for name, value in scope["headers"] if name.lower() == _SIGNATURE]
        signature = given[0].decode("latin-1") if len(given) == 1 else None
        try:
            event = verify(
                body, signature, secret=self._secret, now=self._clock.now(), tolerance=self._tolerance
            )
        except WebhookError as error:
            _log.warning("a webhook was refused: %s", error.code)
            return 401 if error.code == "bad_signature" else 400
        task = self._busy.get(event.event_id)
        if task is None:
            task = asyncio.create_task(self._deal_with(event, body), name="memxfer-synap-webhook")
            self._busy[event.event_id] = task
            task.add_done_callback(lambda _: self._busy.pop(event.event_id, None))
        return await asyncio.shield(task)  # another delivery of it may be waiting too

    async def _deal_with(self, event: Event, body: bytes) -> int:
        """Deal with an event once; return the status to answer with."""
        try:
            store = self._events()
            claim = await asyncio.to_thread(store.claim, event.event_id, self._now())
            if claim is not Claim.MINE:
                return 200 if claim is Claim.DONE else 503
            is_dealt_with = await self._call_back(event)
            if is_dealt_with is None:
                await asyncio.to_thread(store.release, event.event_id)
                return 500
            keep = None if is_dealt_with else body
            await asyncio.to_thread(store.settle, event.event_id, self._now(), keep=keep)
        except (OSError, sqlite3.Error) as error:
            _log.error("event ids cannot be kept (%s); the event has to come again", type(error).__name__)
            return 503
        return 200

    async def _call_back(self, event: Event) -> bool | None:
        """Tell the app; return whether it was for it, `None` where telling failed."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._told(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, Synap has to deliver again
            _log.error("a callback for %s failed with %s", _known(event.type), type(error).__name__)
            return None

    async def _told(self, event: Event) -> bool:
        if event.type == INGESTION_FAILED and self._on_failed is not None and event.ingestion_id:
            return await _result(self._on_failed(event.ingestion_id, event.problem)) is not False
        if event.type in WARNINGS and self._on_warning is not None:
            await _result(self._on_warning(event))
            return True
        return False

    def _events(self) -> EventStore:
        if self._store is None:
            self._store = EventStore(self._path, remember=2 * self._tolerance)
        return self._store

    def _now(self) -> float:
        return self._clock.now().timestamp()


async def _result(returned: object) -> object:
    return await returned if inspect.isawaitable(returned) else returned


def _known(kind: str) -> str:
    return kind if kind == INGESTION_FAILED or kind in WARNINGS else "an event"


def _path_of(scope: Mapping[str, Any]) -> str:
    """Return the path below where the application is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(root) else path


async def _answer(send: _Send, status: int, headers: Mapping[str, str] | None = None) -> None:
    fields = [(b"content-length", b"0")]
    fields += [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b""})
