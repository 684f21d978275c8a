"""`/v1/conversations/*`: transcripts and messages; what registers a conversation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from memxfer.emulation import Answer, Call, Endpoint, RefusedError

from .conversations import Conversation, conversation_uuid
from .documents import Accepted, has_nul, is_iso_date
from .extraction import outcome_of
from .ingest import charge, require_credits
from .memories_routes import uuid_of
from .scoping import Owner, ScopeError, owner_of

if TYPE_CHECKING:
    from .emulator import SynapEmulator

_EXTRA_BYTES = 64 * 1024
_TYPE_LENGTH = 64
_PAGE = 500
_ROLES = {"user", "assistant"}


class _Transcript(msgspec.Struct):
    conversation_id: str
    user_id: str
    transcript: str | list[dict[str, Any]]
    customer_id: str | None = None
    conversation_type: str | None = None
    analysis: Any = None
    metadata: dict[str, Any] | None = None
    started_at: str | None = None
    ended_at: str | None = None
    scope: dict[str, str] | None = None


class _Message(msgspec.Struct):
    conversation_id: str
    role: str
    content: str
    user_id: str | None = None
    customer_id: str | None = None
    session_id: str | None = None
    metadata: dict[str, Any] | None = None
    scope: dict[str, str] | None = None


class _Messages(msgspec.Struct):
    messages: list[_Message]


_TRANSCRIPT = msgspec.json.Decoder(_Transcript)
_MESSAGE = msgspec.json.Decoder(_Message)
_MESSAGES = msgspec.json.Decoder(_Messages)


class ConversationRoutes:
    """Transcript ingest (the one operation with a documented duplicate rule) and single messages."""

    def __init__(self, emulator: SynapEmulator) -> None:
        self._emulator = emulator

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        return [
            Endpoint("POST", "/v1/conversations/ingest", self._ingest),
            Endpoint("POST", "/v1/conversations/messages", self._record),
            Endpoint("POST", "/v1/conversations/messages/batch", self._record_batch),
            Endpoint("GET", "/v1/conversations/{conversation_id}/messages", self._turns),
        ]

    def _ingest(self, call: Call) -> Answer:
        self._emulator.require_ready()
        asked = call.decode(_TRANSCRIPT)
        _check_transcript(asked)
        owner = _owner(call, asked.user_id, asked.customer_id, asked.scope)
        digest = hashlib.sha256(msgspec.json.encode(asked.transcript, order="sorted")).hexdigest()
        conversation_id = conversation_uuid(asked.conversation_id)
        known = self._emulator.conversations.find(call.identity.instance_id, conversation_id)
        if known and known.seq is not None:
            return self._again(call, asked, known, digest)
        return self._first(call, asked, owner, digest)

    def _again(self, call: Call, asked: _Transcript, known: Conversation, digest: str) -> Answer:
        if known.digest != digest:
            message = "This conversation was ingested with another transcript"
            raise RefusedError(409, {"code": "transcript_conflict", "message": message})
        with self._emulator.store.state.transaction():
            self._emulator.store.note_repeats(call.identity.instance_id, [known.external_id])
        return self._ingested(asked, known.seq or 0, "duplicate")

    def _first(self, call: Call, asked: _Transcript, owner: Owner, digest: str) -> Answer:
        emulator = self._emulator
        instance = call.identity.instance_id
        require_credits(emulator.store, emulator.settings, 1)
        turns = self._recorded(asked)
        document = _document_of(asked, owner, turns)
        store = emulator.store
        seq = store.last_seq + 1
        conversation_id = conversation_uuid(asked.conversation_id)
        known_as = Conversation(conversation_id, asked.conversation_id, owner.key, seq, digest)
        with store.state.transaction():
            store.add(instance, emulator.clock(), [(seq, asked.conversation_id, document)], ())
            charge(store, emulator.settings, 1)
            emulator.conversations.register(instance, known_as, emulator.clock())
            emulator.conversations.append(instance, conversation_id, turns)
        store.last_seq = seq
        return self._ingested(asked, seq, "queued")

    def _ingested(self, asked: _Transcript, seq: int, status: str) -> Answer:
        dated = asked.started_at or (
            isinstance(asked.transcript, list) and any(turn.get("timestamp") for turn in asked.transcript)
        )
        return Answer(
            200,
            {
                "conversation_id": conversation_uuid(asked.conversation_id),
                "external_conversation_id": asked.conversation_id,
                "ingestion_id": self._emulator.store.ids.ingestion(seq),
                "status": status,
                "turns_recorded": len(self._recorded(asked)) if status == "queued" else 0,
                "summary_status": "in_progress" if status == "queued" else "already_compacted",
                "queued_at": self._emulator.now_iso(),
                "warnings": [] if dated else ["No event time was supplied"],
            },
        )

    def _recorded(self, asked: _Transcript) -> list[dict[str, Any]]:
        return _turns_of(asked.transcript)[: self._emulator.settings.turns_recorded]

    def _record(self, call: Call) -> Answer:
        self._emulator.require_ready()
        return Answer(200, self._record_one(call, call.decode(_MESSAGE)))

    def _record_batch(self, call: Call) -> Answer:
        self._emulator.require_ready()
        messages = call.decode(_MESSAGES).messages
        limit = self._emulator.settings.batch_documents
        if not 1 <= len(messages) <= limit:
            raise RefusedError(422, f"messages must have 1 to {limit} items, not {len(messages)}")
        results = [self._record_row(call, index, message) for index, message in enumerate(messages)]
        failed = sum(row["status"] == "failed" for row in results)
        counts = {"total": len(results), "succeeded": len(results) - failed, "failed": failed}
        return Answer(200, {**counts, "results": results})

    def _record_row(self, call: Call, index: int, message: _Message) -> dict[str, Any]:
        try:
            return {"index": index, "status": "recorded", **self._record_one(call, message)}
        except RefusedError as error:
            return {"index": index, "status": "failed", "error_message": str(error.detail)}

    def _record_one(self, call: Call, message: _Message) -> dict[str, Any]:
        conversation_id = uuid_of({"conversation_id": message.conversation_id}, "conversation_id")
        if message.role not in _ROLES or not message.content or "\x00" in message.content:
            raise RefusedError(422, "role must be user or assistant, content non-empty text without NUL")
        owner = _owner(call, message.user_id, message.customer_id, message.scope)
        emulator = self._emulator
        turn = {
            "message_id": str(emulator.new_id()),
            "role": message.role,
            "content": message.content,
            "timestamp": emulator.now_iso(),
            "metadata": message.metadata or {},
        }
        known_as = Conversation(conversation_id, message.conversation_id, owner.key, None, None)
        instance = call.identity.instance_id
        with emulator.store.state.transaction():
            emulator.conversations.register(instance, known_as, emulator.clock())
            emulator.conversations.append(instance, conversation_id, [turn])
        return {
            "message_id": turn["message_id"],
            "conversation_id": conversation_id,
            "session_id": message.session_id,
            "recorded_at": turn["timestamp"],
        }

    def _turns(self, call: Call) -> Answer:
        conversation_id = uuid_of(call.params, "conversation_id")
        instance = call.identity.instance_id
        if self._emulator.conversations.find(instance, conversation_id) is None:
            raise RefusedError(404, "Conversation not found")
        start = _number(call.query, "start", 1)
        limit = min(_number(call.query, "limit", _PAGE), _PAGE)
        turns = self._emulator.conversations.turns(instance, conversation_id, start=start, limit=limit)
        return Answer(200, {"conversation_id": conversation_id, "turns": turns})


def _owner(
    call: Call, user_id: str | None, customer_id: str | None, scope: Mapping[str, str] | None
) -> Owner:
    try:
        return owner_of(call.identity, user_id, customer_id, scope)
    except ScopeError as error:
        raise RefusedError(400, str(error)) from error


def _check_transcript(asked: _Transcript) -> None:
    if not asked.conversation_id or not asked.user_id or not asked.transcript:
        raise RefusedError(422, "conversation_id, user_id and transcript must not be empty")
    if any(map(has_nul, (asked.conversation_id, asked.transcript, asked.metadata))):
        raise RefusedError(422, "text must not contain NUL characters")
    if len(asked.conversation_type or "") > _TYPE_LENGTH:
        raise RefusedError(422, f"conversation_type is longer than {_TYPE_LENGTH}")
    for extra in (asked.analysis, asked.metadata):
        if len(msgspec.json.encode(extra)) > _EXTRA_BYTES:
            raise RefusedError(422, f"analysis and metadata are limited to {_EXTRA_BYTES} bytes")
    turns = asked.transcript if isinstance(asked.transcript, list) else []
    dates = [asked.started_at, asked.ended_at, *(turn.get("timestamp") for turn in turns)]
    if any(date is not None and not (isinstance(date, str) and is_iso_date(date)) for date in dates):
        raise RefusedError(422, "dates must be ISO 8601")
    if not all(_is_turn(turn) for turn in turns):
        raise RefusedError(422, "turns need a role (user or assistant) and non-empty text content")


def _is_turn(turn: Mapping[str, Any]) -> bool:
    content = turn.get("content")
    return turn.get("role") in _ROLES and isinstance(content, str) and bool(content.strip())


def _turns_of(transcript: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(transcript, list):
        return transcript
    return [_turn_of(line) for line in transcript.splitlines() if line.strip()]


def _document_of(asked: _Transcript, owner: Owner, turns: Sequence[Mapping[str, Any]]) -> Accepted:
    """Return the document that a transcript is stored as."""
    text = "\n".join(f"{turn['role'].title()}: {turn['content']}" for turn in turns)
    outcome, memories = outcome_of(text, asked.metadata)
    body = {
        "document": text,
        "document_id": asked.conversation_id,
        "document_created_at": asked.started_at,
        "user_id": asked.user_id,
        "customer_id": asked.customer_id,
        "metadata": asked.metadata,
    }
    return Accepted(asked.conversation_id, owner, msgspec.json.encode(body), outcome, memories, "transcript")


def _turn_of(line: str) -> dict[str, Any]:
    """Split a line of a text transcript; any speaker but the user is the assistant, as on Synap."""
    speaker, colon, content = line.partition(":")
    is_user = speaker.strip().lower() in {"user", "human"} or not colon
    return {"role": "user" if is_user else "assistant", "content": (content if colon else line).strip()}


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    try:
        return max(int(query.get(name, default)), 1)
    except ValueError as error:
        raise RefusedError(422, f"{name} must be a whole number") from error
