"""What an app wants remembered, as a record: with the moment it was said and an id that stays."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from memxfer.models import MemoryRecord, Message, Scope, content_hash, ensure_utc, sanitise_record

__all__ = ["Said", "digest_of", "record_of"]

Said = Message | Mapping[str, Any]
"""One message: a `Message`, or a mapping with `role`, `content` and perhaps `name` and `at`."""

_FACT, _EPISODE, _MESSAGE = "fact", "episode", "message"


def record_of(
    *,
    text: str | None,
    messages: Sequence[Said] | None,
    verbatim: str | None,
    scope: Scope,
    at: datetime,
    document_id: str | None,
    metadata: Mapping[str, Any] | None,
    kind: str | None,
    options: Mapping[str, Mapping[str, Any]] | None,
) -> MemoryRecord:
    """Return a record of what was said.

    Args:
        text: Something to remember; the backend may put it in its own words.
        messages: A turn: what was said by whom.
        verbatim: Something to remember word for word.
        scope: Whose it is.
        at: When it was.
        document_id: Its id; a new random one where there is none.
        metadata: What the app notes beside it.
        kind: What it is, in the vocabulary of records; default: by what was given.
        options: A provider's own options for this document: `{"synap": {"mode": "long-range"}}`.

    Raises:
        ValueError: Not exactly one of the three was given, or a message lacks role or content.
    """
    if sum(one is not None for one in (text, messages, verbatim)) != 1:
        raise ValueError("give exactly one of text, messages and verbatim")
    turns = tuple(_message(one, at) for one in messages or ())
    if messages is not None and not turns:
        raise ValueError("messages is empty")
    content = text if text is not None else verbatim
    if content is None:
        content = "\n".join(f"{one.role.capitalize()}: {one.content}" for one in turns)
    default = _MESSAGE if turns else _EPISODE if text is not None else _FACT
    return sanitise_record(
        MemoryRecord(
            id=document_id or str(uuid.uuid4()),
            content=content,
            messages=turns,
            kind=kind or default,
            scope=scope,
            metadata=dict(metadata or {}),
            created_at=at,
            occurred_at=at,
            extensions={name: dict(values) for name, values in (options or {}).items()},
        )
    )


def digest_of(record: MemoryRecord, *, is_timed: bool) -> bytes:
    """Return 16 bytes that tell whether two records of one id say the same.

    Args:
        record: Made by `record_of`.
        is_timed: The app gave the time. If not, the same said later is the same: the time that was
            filled in does not count.
    """
    if not is_timed:
        messages = tuple(
            msgspec.structs.replace(one, at=None) if one.at == record.occurred_at else one
            for one in record.messages
        )
        record = msgspec.structs.replace(record, created_at=None, occurred_at=None, messages=messages)
    return content_hash(record)


def _message(said: Said, at: datetime) -> Message:
    if isinstance(said, Message):
        return said
    role, content, moment = said.get("role"), said.get("content"), said.get("at") or at
    if not isinstance(role, str) or not isinstance(content, str) or not isinstance(moment, datetime):
        raise ValueError(  # noqa: TRY004 - whatever is wrong with a message is the caller's value
            "a message needs role and content, both text, and at, if given, as a datetime"
        )
    return Message(role=role, content=content, name=said.get("name"), at=ensure_utc(moment))
