"""Turns of conversations as transcripts: what one record says, and all of them put together.

A part of a conversation has the form of the whole: it is the transcript of its own record's turns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from memxfer.spi import Document, Joined, MemoryRecord, Message, format_time
from memxfer_synap.client.port import SynapTranscript, SynapTurn
from memxfer_synap.metadata import PLAIN_KEYS, conversation_keys, encode

__all__ = [
    "LANE",
    "TURN_KEYS",
    "join_parts",
    "lane_of",
    "part_of",
    "rank_of",
    "sent_transcript",
    "turn_changes",
    "turn_keys",
]

LANE = "transcript:"
"""How the lane of a conversation begins: each goes alone, and none with documents."""
_MOST_METADATA = 64 * 1024
"""Largest metadata of a transcript in bytes of JSON, as the vendor documents."""
TURN_KEYS = frozenset({"original_role", "turn_metadata"})
"""Metadata keys of what a turn says of itself and a transcript has no field for."""

_USERS = ("user", "human")
_UNDATED = "~"  # sorts behind every time
_POSITION_DIGITS = 20
_decoder = msgspec.json.Decoder(SynapTranscript)


class _Sent(msgspec.Struct):
    conversation_id: str
    transcript: list[msgspec.Raw]


_sent = msgspec.json.Decoder(_Sent)


# -- one record -----------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def lane_of(session: str, user_id: str, customer_id: str | None) -> str:
    """Return the name of one user's conversation: `transcript:acme/ann/42`."""
    parts = (customer_id, user_id, session) if customer_id else (user_id, session)
    return LANE + "/".join(quote(part, safe="", errors="surrogatepass") for part in parts)


def rank_of(record: MemoryRecord, at: datetime | None) -> str:
    """Return where a record stands in its conversation: by time, then position, then as it was listed.

    Without a time it comes after all that have one.
    """
    time = at.isoformat(timespec="microseconds") if at else _UNDATED
    return f"{time} {_position(record)}"


def _position(record: MemoryRecord) -> str:
    found = record.provenance.get("index")
    text = str(found) if isinstance(found, int | str) and not isinstance(found, bool) else ""
    is_number = text.isascii() and text.isdigit() and len(text) <= _POSITION_DIGITS
    return text.zfill(_POSITION_DIGITS) if is_number else _UNDATED


def turn_keys(message: Message) -> dict[str, Any]:
    """Return the metadata of what a transcript has no field for in a turn."""
    keys: dict[str, Any] = {}
    if message.role != _role_of(message):
        keys["original_role"] = message.role
    if message.metadata:
        keys["turn_metadata"] = message.metadata
    return keys


def turn_changes(record: MemoryRecord) -> tuple[str, ...]:
    """Return what becomes of a record's turns beyond the rule."""
    said = [message for message in record.messages if message.content.strip()]
    replaced = any(message.role != _role_of(message) for message in said)
    words = (("role_replaced", replaced), ("empty_turns_left_out", len(said) < len(record.messages)))
    return tuple(word for word, holds in words if holds)


def part_of(
    record: MemoryRecord, metadata: dict[str, Any], *, user_id: str, customer_id: str | None, at: str | None
) -> SynapTranscript:
    """Return the transcript of one record of a session that has turns.

    Args:
        record: The record; one of its turns at least says something.
        metadata: What goes beside its first turn.
        user_id: Whose conversation it is.
        customer_id: Of which customer.
        at: When the record was, ISO 8601.
    """
    said = [message for message in record.messages if message.content.strip()]
    own_time = at if len(record.messages) == 1 else None
    rest = {"document_id": metadata["document_id"]} if "document_id" in metadata else {}
    beside = [metadata, *({**rest, **turn_keys(message)} for message in said[1:])]
    times = [format_time(one.at) for one in said if one.at and not own_time]
    names = conversation_keys(record.scope.session or "", customer_id, user_id)
    return SynapTranscript(
        conversation_id=names.pop("conversation_id"),
        user_id=user_id,
        customer_id=customer_id,
        transcript=[_turn(one, own_time, keys) for one, keys in zip(said, beside, strict=True)],
        metadata={"source": "migration", **names},
        started_at=min(times, key=_moment, default=at),
        ended_at=max(times, key=_moment, default=at),
    )


def _turn(message: Message, at: str | None, metadata: dict[str, Any]) -> SynapTurn:
    said_at = format_time(message.at) if message.at else None
    return SynapTurn(
        role=_role_of(message),
        content=message.content,
        timestamp=at or said_at,
        speaker=message.name,
        metadata=metadata,
    )


def _role_of(message: Message) -> str:
    """Return one of the two roles there are; Synap itself takes whoever is no user for the assistant."""
    return "user" if message.role.lower() in _USERS else "assistant"


# -- all of them ----------------------------------------------------------------------------------


def join_parts(parts: Sequence[Document]) -> Joined:
    """Put a conversation together, in the order of its times; equal and missing times keep theirs.

    One call whatever its length: a transcript is written once and cannot be added to. The same one sent
    again is answered as a duplicate, with its first ingestion id (SDK 0.6.9, `ingest_transcript`).
    """
    pieces = [_decoder.decode(part.body) for part in parts]
    timed = sorted(_timed(pieces), key=lambda one: one[0])
    started = [piece.started_at for piece in pieces if piece.started_at]
    ended = [piece.ended_at for piece in pieces if piece.ended_at]
    whole = msgspec.structs.replace(
        pieces[0],
        transcript=[turn for _, turn in timed],
        metadata=_shared(pieces),
        started_at=min(started, key=_moment, default=None),
        ended_at=max(ended, key=_moment, default=None),
    )
    body = encode(whole)
    changes = tuple(dict.fromkeys(word for part in parts for word in part.changes))
    document = msgspec.structs.replace(
        parts[0], body=body, size=len(body), changes=changes, group=None, rank=""
    )
    return Joined(document, len(parts), is_idempotent=True)


def sent_transcript(document: Document) -> tuple[int, tuple[str, ...]]:
    """Return how many turns a transcript has, and the ids that its conversation is sent under."""
    found = _sent.decode(document.body)
    return len(found.transcript), (found.conversation_id,)


def _timed(pieces: Sequence[SynapTranscript]) -> Iterator[tuple[str, SynapTurn]]:
    """Give each turn with the moment it is sorted by: its own, or that of what stands before it."""
    clock = ""
    for piece in pieces:
        clock = _moment(piece.started_at) if piece.started_at else clock
        for turn in piece.transcript:
            clock = _moment(turn.timestamp) if turn.timestamp else clock
            yield clock, turn


def _moment(time: str) -> str:
    """Return a time of `format_time` as text that sorts by time, with or without a fraction."""
    return time.removesuffix("Z")


def _shared(pieces: Sequence[SynapTranscript]) -> dict[str, Any]:
    """Return the conversation's metadata: what the turns of all its records have alike.

    It is the metadata that Synap shows with a memory; every turn keeps its own as well.
    """
    first, *others = [(piece.transcript[0].metadata or {}) for piece in pieces]
    own = {name: value for name, value in first.items() if name not in _NOT_SHARED}
    alike = {name: value for name, value in own.items() if all(_has(one, name, value) for one in others)}
    metadata = {**pieces[0].metadata, **alike}
    return metadata if len(encode(metadata)) <= _MOST_METADATA else dict(pieces[0].metadata)


_NOT_SHARED = PLAIN_KEYS | TURN_KEYS


def _has(metadata: Mapping[str, Any], name: str, value: Any) -> bool:
    return name in metadata and bool(metadata[name] == value)
