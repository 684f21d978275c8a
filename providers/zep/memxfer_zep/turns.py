"""Conversations as turns of Zep's threads, and turns as requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from memxfer.spi import Document, Joined, MemoryRecord, Message, Refused, Scope, Skipped, format_time
from memxfer_zep.bodies import (
    Made,
    body_of,
    date_of,
    encode,
    fixed_marks,
    oversize,
    refused,
    rendered,
    without_date,
)
from memxfer_zep.config import ZepConfig
from memxfer_zep.marks import SESSION, packed
from memxfer_zep.owners import Place, place_of, session_thread

__all__ = ["MAX_MESSAGES", "is_conversation", "join", "message"]

MAX_MESSAGES: Final = 30
"""Most messages of one request (vendor's documentation)."""

_ROLES: Final[Mapping[str, str]] = {
    **{role: role for role in ("system", "assistant", "user", "function", "tool")},
    "human": "user",
    "ai": "assistant",
}
_TOLD = frozenset({"messages", "session", "occurred_at"})
_ORIGIN = frozenset({"v", "source", "namespace", "source_id"})
_UNDATED = "9999"
"""Sorts after every date."""


def is_conversation(record: MemoryRecord, text: str, config: ZepConfig) -> bool:
    """Tell whether a record is nothing but turns that fit into a thread.

    Args:
        record: The record.
        text: What would be stored of it otherwise.
        config: The connection's limits.
    """
    turns = record.messages
    if not turns or len(turns) > MAX_MESSAGES or not (record.scope.user and record.scope.session):
        return False
    if record.relations or record.validity:
        return False
    says_the_same = text == rendered(turns) or (len(turns) == 1 and text == turns[0].content)
    return says_the_same and all(
        turn.role.lower() in _ROLES and 0 < len(turn.content) <= config.message_chars for turn in turns
    )


def message(
    record: MemoryRecord, key: str, envelope: Mapping[str, Any], config: ZepConfig
) -> Made | Skipped | Refused:
    """Return a record as turns of its thread, a part of the thread's group; or say why not."""
    place = place_of(record.scope, config, with_owner=True)
    if not isinstance(place, Place):
        return place
    user, session = place.scope.user, record.scope.session
    if not record.messages or user is None or session is None:
        return refused("no_turns", "Zep's messages need turns with a role, a user and a session")
    problem = _unfit(record, config)
    if problem is not None:
        return problem
    fixed = fixed_marks(record, key, None, {SESSION: session})
    metadata, changes = packed(record.metadata, fixed, _unkept(envelope), takes_lists=True)
    turns = [_turn(turn, record) for turn in record.messages]
    if any("reference_time" not in turn for turn in turns):
        if config.undated != "send":
            return without_date(config)
        changes = (*changes, "dated_today")
    if any(turn.metadata for turn in record.messages):
        changes = (*changes, "turn_metadata_dropped")
    for number, turn in enumerate(turns):
        turn["metadata"] = metadata if number == 0 else fixed
    containers = session_thread(user, session)
    scope = Scope(user=user, session=session)
    return Made(
        body={"form": "message", "messages": turns},
        containers=containers,
        owner=scope,
        changes=changes,
        lane=f"messages:{key}",
        group=containers[1].name,
        rank=_rank(record),
    )


def _unkept(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an envelope a thread of turns does not tell by itself."""
    left = {name: value for name, value in envelope.items() if name not in _TOLD}
    return left if left.keys() - _ORIGIN else {}


def _unfit(record: MemoryRecord, config: ZepConfig) -> Refused | Skipped | None:
    if len(record.messages) > MAX_MESSAGES:
        return oversize("one record's turns", MAX_MESSAGES, config, unit="messages")
    for turn in record.messages:
        if turn.role.lower() not in _ROLES:
            return refused("role", "a turn has a role that Zep does not know")
        if not turn.content:
            return refused("empty", "a turn has no text")
        if len(turn.content) > config.message_chars:
            return oversize("a message", config.message_chars, config)
    return None


def _turn(turn: Message, record: MemoryRecord) -> dict[str, Any]:
    at = turn.at or date_of(record)
    found: dict[str, Any] = {"role": _ROLES[turn.role.lower()], "content": turn.content}
    if turn.name:
        found["name"] = turn.name
    if at is not None:
        found["reference_time"] = format_time(at)
    return found


def _rank(record: MemoryRecord) -> str:
    at = record.messages[0].at or date_of(record)
    moment = at.isoformat(timespec="microseconds") if at is not None else _UNDATED
    index = record.provenance.get("index")
    position = index if isinstance(index, int) and index >= 0 else 0
    return f"{moment}|{position:012d}|{record.id}"


def join(parts: Sequence[Document]) -> list[Joined]:
    """Put the parts of one thread together, at most 30 messages a request, in their order."""
    joined: list[Joined] = []
    chunk: list[Document] = []
    messages: list[Any] = []
    for part in parts:
        turns = body_of(part)["messages"]
        if chunk and len(messages) + len(turns) > MAX_MESSAGES:
            joined.append(_joined(chunk, messages))
            chunk, messages = [], []
        chunk.append(part)
        messages = [*messages, *turns]
    return [*joined, _joined(chunk, messages)] if chunk else joined


def _joined(parts: Sequence[Document], messages: Sequence[Any]) -> Joined:
    first = parts[0]
    if len(parts) == 1:
        return Joined(first, 1)
    body = encode({"form": "message", "messages": messages})
    changes = tuple(dict.fromkeys(word for part in parts for word in part.changes))
    whole = msgspec.structs.replace(first, body=body, size=len(body), changes=changes)
    return Joined(whole, len(parts))
