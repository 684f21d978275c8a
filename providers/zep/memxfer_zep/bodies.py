"""What all documents for Zep have in common: text, dates, refusals, and the body on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from memxfer.spi import (
    Container,
    Document,
    MemoryRecord,
    Message,
    RecordError,
    Refused,
    Scope,
    Skipped,
    format_time,
    without_nul,
)
from memxfer_zep.config import NAME, ZepConfig
from memxfer_zep.marks import CREATED, KEY, USER

__all__ = [
    "Made",
    "body_of",
    "date_of",
    "encode",
    "finished",
    "fixed_marks",
    "oversize",
    "refused",
    "rendered",
    "text_of",
    "without_date",
]

encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A document before it is written down; the fields are those of `Document`.

    Attributes:
        body: `form`, and what that takes.
    """

    body: dict[str, Any]
    containers: tuple[Container, ...]
    owner: Scope
    changes: tuple[str, ...]
    lane: str
    group: str | None = None
    rank: str = ""


def finished(record: MemoryRecord, key: str, made: Made) -> Document:
    """Return the document of what was made of a record; NUL becomes a visible sign.

    Raises:
        TypeError, ValueError: It cannot be written in JSON.
    """
    encoded, changes = encode(made.body), made.changes
    if b"\\u0000" in encoded:
        without = without_nul(made.body)
        if without != made.body:
            encoded, changes = encode(without), (*changes, "nul_replaced")
    return Document(
        key=key,
        record_id=record.id,
        body=encoded,
        size=len(encoded),
        scope="user" if made.owner.user is not None else "group",
        changes=changes,
        owner=made.owner,
        containers=made.containers,
        lane=made.lane,
        group=made.group,
        rank=made.rank,
    )


def body_of(document: Document) -> dict[str, Any]:
    """Return the body of a document: `form` and what that takes."""
    return _decoder.decode(document.body)


def text_of(record: MemoryRecord) -> str:
    """Return the text to store: the content, or the turns with speaker labels where there is none."""
    if record.content.strip() or not record.messages:
        return record.content
    return rendered(record.messages)


def rendered(messages: Sequence[Message]) -> str:
    """Return turns as one text."""
    return "\n".join(f"{message.role.capitalize()}: {message.content}" for message in messages)


def date_of(record: MemoryRecord) -> datetime | None:
    """Return when what a record tells happened, or else when it was made or changed."""
    return record.occurred_at or record.created_at or record.updated_at


def fixed_marks(record: MemoryRecord, key: str, owner: str | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the marks that each thing of a record gets, whatever else has a place."""
    fixed: dict[str, Any] = {KEY: key, **more}
    if record.created_at is not None:
        fixed[CREATED] = format_time(record.created_at)
    if owner is not None:
        fixed[USER] = owner
    return fixed


def refused(code: str, message: str, *remedies: str) -> Refused:
    """Return a refusal; with remedies where the user's decision would settle it."""
    return Refused(RecordError(message, provider=NAME, operation="prepare", code=code), remedies)


def without_date(config: ZepConfig) -> Skipped | Refused:
    """Return what becomes of a record that has no date and needs one."""
    if config.undated == "skip":
        return Skipped("undated")
    return refused(
        "undated",
        "the record has no date, and Zep would take the moment of the move for when it happened",
        'undated = "skip"',
        'undated = "send"',
    )


def oversize(what: str, most: int, config: ZepConfig, *, unit: str = "characters") -> Refused | Skipped:
    """Return what becomes of a record that is over a limit."""
    if config.oversize == "skip":
        return Skipped("oversize")
    return refused("too_large", f"it is too long: Zep takes {most} {unit} for {what}", 'oversize = "skip"')
