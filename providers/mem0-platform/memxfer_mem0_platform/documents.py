"""Records as what `MemoryClient.add` takes: as they are, unless an app lets Mem0 extract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from typing import Any

import msgspec

from memxfer.spi import (
    AmbiguousError,
    Document,
    MemoryRecord,
    Outcome,
    Prepared,
    ProviderError,
    RecordError,
    Refused,
    Scope,
    Skipped,
    WriteReceipt,
    without_nul,
)
from memxfer_mem0_platform.answers import Added
from memxfer_mem0_platform.config import ASSIGN, Mem0PlatformConfig
from memxfer_mem0_platform.fields import (
    ENVELOPE,
    KEY,
    METADATA,
    RESERVED,
    SCOPE,
    epoch_seconds,
    expiration_date,
)
from memxfer_mem0_platform.wire import NAME

__all__ = ["body_of", "document_of", "receipt_of", "rejected", "text_of", "unknown"]

_ROLES = {"human": "user", "ai": "assistant"}

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])


def document_of(
    record: MemoryRecord,
    key: str,
    envelope: Mapping[str, Any],
    *,
    config: Mem0PlatformConfig,
    infer: bool = False,
) -> Prepared:
    """Map one record to one document, or say why not.

    Args:
        record: The record.
        key: Its key, sent as `metadata.memxfer_key`.
        envelope: What Mem0 cannot hold, for `metadata.memxfer`.
        config: The connection's decisions.
        infer: Let Mem0 extract from it: from the turns, where it has any.

    Returns:
        A `Document` with the keywords of `add` in JSON as body; `Skipped` by decision (`unscoped`,
        `undated`); or `Refused` with code `empty`, `scope_id`, or, with remedies, `unscoped`, `undated`.

    Raises:
        RecordError: The record can never be stored.
    """
    scope = _scope(record.scope, config)
    if not isinstance(scope, Scope):
        return scope
    messages = _messages(record, infer=infer)
    if not any(message["role"] != "system" and message["content"].strip() for message in messages):
        return _refused("empty", "the record has no text, and Mem0 drops messages without text")
    date = record.created_at or record.updated_at or record.occurred_at
    if date is None and config.undated != "send":
        return Skipped("undated") if config.undated == "skip" else _undated()
    body: dict[str, Any] = {
        "messages": messages,
        **{name: getattr(scope, axis) for axis, name in SCOPE.items() if getattr(scope, axis) is not None},
        "metadata": _metadata(record, key, envelope),
        "infer": infer,
    }
    if date is not None:
        body["timestamp"] = epoch_seconds(date)
    if record.expires_at is not None:
        body["expiration_date"] = expiration_date(record.expires_at)
    encoded, has_nul = _encoded(body)
    return Document(
        key=key,
        record_id=record.id,
        body=encoded,
        size=len(encoded),
        scope=next(axis for axis in SCOPE if getattr(scope, axis) is not None),
        changes=_changes(record, date, has_nul=has_nul),
        owner=scope,
    )


def body_of(document: Document) -> dict[str, Any]:
    """Return the keywords of `add`."""
    return _decoder.decode(document.body)


def text_of(record: MemoryRecord) -> str:
    """Return the text to store: the content, or the turns with speaker labels where there is none."""
    if record.content.strip() or not record.messages:
        return record.content
    return "\n".join(f"{message.role.capitalize()}: {message.content}" for message in record.messages)


def _messages(record: MemoryRecord, *, infer: bool) -> list[dict[str, str]]:
    """Return what is sent as said: the turns to extract from, else the text as one message of the user."""
    if infer and record.messages:
        return [{"role": _role(turn.role), "content": turn.content} for turn in record.messages]
    return [{"role": "user", "content": text_of(record)}]


def _role(role: str) -> str:
    return _ROLES.get(role.lower(), role.lower())


# -- whose --------------------------------------------------------------------------------------


def _scope(scope: Scope, config: Mem0PlatformConfig) -> Scope | Skipped | Refused:
    """Return the axes that Mem0 has; one of them at least."""
    named = Scope(user=scope.user, agent=scope.agent, app=scope.app, session=scope.session)
    values = [getattr(named, axis) for axis in SCOPE if getattr(named, axis) is not None]
    if any(value in ("", "*") or "\x00" in value for value in values):
        return _refused(
            "scope_id", "the record has an empty user, agent, app or session id, or one with NUL, or `*`"
        )
    if values:
        return named
    if config.unscoped is None:
        return _refused(
            "unscoped",
            "Mem0 needs a user, an agent, an app or a session, and this record has none",
            'unscoped = "skip"',
            'unscoped = "assign:USER"',
        )
    if config.unscoped == "skip":
        return Skipped("unscoped")
    return Scope(user=config.unscoped.removeprefix(ASSIGN))


def _undated() -> Refused:
    return _refused(
        "undated",
        "the record has no date, and Mem0 would give it the day of the move",
        'undated = "skip"',
        'undated = "send"',
    )


def _refused(code: str, message: str, *remedies: str) -> Refused:
    return Refused(RecordError(message, provider=NAME, operation="prepare", code=code), remedies)


# -- what ---------------------------------------------------------------------------------------


def _metadata(record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record's own metadata and ours; what the record has under our names stays, beside it."""
    taken = {name: value for name, value in record.metadata.items() if name in RESERVED}
    metadata = {name: value for name, value in record.metadata.items() if name not in taken}
    metadata[KEY] = key
    if envelope:
        metadata[ENVELOPE] = dict(envelope)
    if taken:
        metadata[METADATA] = taken
    return metadata


def _changes(record: MemoryRecord, date: datetime | None, *, has_nul: bool) -> tuple[str, ...]:
    words = []
    if has_nul:
        words.append("nul_replaced")
    if date is None:
        words.append("dated_today")
    elif record.created_at is None:
        words.append("dated_otherwise")
    if record.expires_at is not None and record.expires_at.time() != time():
        words.append("expiry_rounded")
    return tuple(words)


def _encoded(body: dict[str, Any]) -> tuple[bytes, bool]:
    """Return the body in JSON without NUL, and whether that had to change it."""
    try:
        encoded = _encoder.encode(body)
        if b"\\u0000" not in encoded:
            return encoded, False
        without = without_nul(body)
        return (encoded, False) if without == body else (_encoder.encode(without), True)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        reason = f"the record holds what JSON cannot carry ({type(error).__name__})"
        raise RecordError(reason, provider=NAME, operation="prepare", code="unencodable") from error


# -- what became of it --------------------------------------------------------------------------


def receipt_of(added: Added, *, infer: bool = False) -> WriteReceipt:
    """Return the receipt of an add that was answered.

    A text that its scope holds already is not stored again: the answer names the memory that is there,
    with an event other than ADD. That is `PRESENT`, with the shared id: the job did not make it, so a
    rollback of this document must not take it away. What Mem0 extracts from (`infer`) may be worth no
    memory at all: that is `CREATED` without ids.
    """
    if added.is_pending and added.event_id:
        return WriteReceipt(Outcome.PENDING, ingestion_id=added.event_id)
    if added.ids or infer:
        return WriteReceipt(
            Outcome.CREATED if added.is_new or not added.ids else Outcome.PRESENT, target_ids=added.ids
        )
    error = RecordError(
        "mem0 took the memory and stored nothing: it skips a text that the same scope holds already, "
        "and does not say which memory that is",
        provider=NAME,
        operation="write",
        code="not_stored",
    )
    return WriteReceipt(Outcome.REJECTED, error=error)


def unknown(error: AmbiguousError) -> WriteReceipt:
    """Return the receipt of a document whose fate cannot be told."""
    return WriteReceipt(Outcome.UNKNOWN, error=error, correlation_id=error.correlation_id)


def rejected(error: ProviderError) -> WriteReceipt:
    """Return the receipt of a document refused for good."""
    reason = RecordError(
        str(error),
        provider=error.provider,
        operation=error.operation,
        status=error.status,
        correlation_id=error.correlation_id,
        code=error.code,
    )
    return WriteReceipt(Outcome.REJECTED, error=reason, correlation_id=error.correlation_id)
