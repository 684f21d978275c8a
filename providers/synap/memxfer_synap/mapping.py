"""What a record means to Synap: whose it is, what text it has, when it was, what goes beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from memxfer.spi import (
    Document,
    MemoryRecord,
    Prepared,
    RecordError,
    Refused,
    Scope,
    Skipped,
    format_time,
)
from memxfer_synap.client.port import SynapDocument
from memxfer_synap.config import ASSIGN, SynapConfig

__all__ = ["ENVELOPE", "NUL_SIGN", "PLAIN_KEYS", "Owner", "document_of", "owner_of", "text_of"]

ENVELOPE = "memxfer"
"""Metadata key of what Synap has no field for."""
PLAIN_KEYS = frozenset({"source", "document_id", "original_created_at", "conversation_id"})
"""Metadata keys of the vendor's migration guide."""
NUL_SIGN = "\u2400"
"""Stands for NUL, which text columns refuse: visible, one for one, and it joins no words."""

_TURNS = frozenset({"message", "conversation"})
_encoder = msgspec.json.Encoder()


class Owner(NamedTuple):
    """Where a document lands: at a user, with a customer's users, or with everybody of the client."""

    level: str
    user_id: str | None = None
    customer_id: str | None = None


def document_of(
    record: MemoryRecord, key: str, envelope: Mapping[str, Any], *, config: SynapConfig, is_b2c: bool
) -> Prepared:
    """Map one record to one document, or say why not.

    Args:
        record: The record.
        key: Its key, sent as `document_id`.
        envelope: What Synap cannot hold, for the metadata key `memxfer`.
        config: The connection's decisions.
        is_b2c: Whether the instance's users are their own customers.

    Returns:
        A `Document` with the JSON of a `SynapDocument` as body; `Skipped` by decision (`unscoped`,
        `undated`, `oversize`); or `Refused` with code `empty`, `nul_in_id`, or, with remedies,
        `unscoped`, `no_customer`, `undated`, `too_large`, `metadata_too_large`.
    """
    owner = owner_of(record.scope, config=config, is_b2c=is_b2c)
    if not isinstance(owner, Owner):
        return owner
    text = text_of(record)
    date = _date(record)
    problem = _check_text(text, config) or _check_date(date, config)
    if problem is not None:
        return problem
    sent = _time(date)
    created = sent if date is record.created_at else _time(record.created_at)
    metadata, changes = _metadata(record, _plain_keys(record, key, created), envelope)
    body = SynapDocument(
        document=text,
        document_type=config.document_type or _type_of(record),
        document_id=key,
        document_created_at=sent,
        user_id=owner.user_id,
        customer_id=owner.customer_id,
        mode=config.mode,
        metadata=metadata,
    )
    encoded = _encode(body)
    if len(encoded) > config.metadata_bytes:  # only then can the metadata be too large
        fitted = _fitted(record, body, config)
        if not isinstance(fitted, SynapDocument):
            return fitted
        if fitted is not body:
            body, encoded, changes = fitted, _encode(fitted), ("envelope_dropped",)
    return _finished(record, body, encoded, owner, changes)


# -- whose --------------------------------------------------------------------------------------


def owner_of(scope: Scope, *, config: SynapConfig, is_b2c: bool) -> Owner | Skipped | Refused:
    """Place a scope in Synap's matrix; a record without a user is never shared by accident.

    B2B: user and customer make the user's scope; a record that names its tenant and nothing else is
    the customer's; a user alone would be a 400. B2C: the user alone; a customer would be refused.
    A decision for `client` does not show one tenant's records to the others: they stay with their customer.
    """
    for value in (scope.user, scope.tenant):
        if value and "\x00" in value:
            return _refused("nul_in_id", "the record's user or tenant id has a NUL character")
    if scope.user:
        return _of_user(scope.user, scope, config, is_b2c)
    if not is_b2c and _is_tenants_own(scope):
        return Owner("customer", customer_id=scope.tenant)
    decision = config.unscoped
    if decision is None:
        return _undecided()
    if decision == "skip":
        return Skipped("unscoped")
    if decision.startswith(ASSIGN):
        return _of_user(decision.removeprefix(ASSIGN), scope, config, is_b2c)
    if decision == "client" and (is_b2c or not scope.tenant):
        return Owner("client")
    customer_id = scope.tenant or config.customer_id
    return Owner("customer", customer_id=customer_id) if customer_id else _no_customer()


def _of_user(user: str, scope: Scope, config: SynapConfig, is_b2c: bool) -> Owner | Refused:
    if is_b2c:
        return Owner("user", user_id=user)
    customer_id = scope.tenant or config.customer_id
    return Owner("user", user_id=user, customer_id=customer_id) if customer_id else _no_customer()


def _is_tenants_own(scope: Scope) -> bool:
    others = (scope.agent, scope.app, scope.session, scope.group)
    return bool(scope.tenant) and not any(others) and not scope.extra


def _undecided() -> Refused:
    return _refused(
        "unscoped",
        "the record has no user, and Synap would share it with others",
        'unscoped = "skip"',
        'unscoped = "assign:USER"',
        'unscoped = "customer"',
        'unscoped = "client"',
    )


def _no_customer() -> Refused:
    return _refused(
        "no_customer",
        "this Synap instance is B2B: a document needs a customer, and neither the record nor the "
        "connection names one",
        'customer_id = "NAME"',
    )


def _refused(code: str, message: str, *remedies: str) -> Refused:
    return Refused(RecordError(message, provider="synap", operation="prepare", code=code), remedies)


# -- what ---------------------------------------------------------------------------------------


def text_of(record: MemoryRecord) -> str:
    """Return the text to send: the content, or the turns with speaker labels.

    Content that is more than a rendering of the turns (a summary, say) comes first, the turns below.
    """
    if not record.messages:
        return record.content
    turns = "\n".join(f"{message.role.capitalize()}: {message.content}" for message in record.messages)
    if not record.content.strip() or all(one.content in record.content for one in record.messages):
        return turns
    return f"{record.content}\n\n{turns}"


def _type_of(record: MemoryRecord) -> str:
    return "ai-chat-conversation" if record.messages or record.kind == "conversation" else "document"


def _check_text(text: str, config: SynapConfig) -> Refused | Skipped | None:
    if not text.strip():
        return _refused("empty", "the record has no text, and Synap takes no empty document")
    # four bytes a character at most: most texts are too short to need counting
    if len(text) * 4 <= config.document_bytes:
        return None
    size = len(text.encode("utf-8", "surrogatepass"))
    if size <= config.document_bytes:
        return None
    return _too_large("too_large", "content", size, "document_bytes", config.document_bytes, config)


def _too_large(
    code: str, what: str, size: int, setting: str, limit: int, config: SynapConfig
) -> Refused | Skipped:
    if config.oversize == "skip":
        return Skipped("oversize")
    message = f"the record's {what} has {size} bytes, more than {setting} = {limit}"
    return _refused(code, message, 'oversize = "skip"', f"{setting} = {size}")


# -- when ---------------------------------------------------------------------------------------


def _date(record: MemoryRecord) -> datetime | None:
    """Return when it was: as it happened, was first stored, was last changed, was first said."""
    date = record.occurred_at or record.created_at or record.updated_at
    if date is None and record.messages:
        return min((message.at for message in record.messages if message.at), default=None)
    return date


def _time(value: datetime | None) -> str | None:
    return None if value is None else format_time(value)


def _check_date(date: datetime | None, config: SynapConfig) -> Refused | Skipped | None:
    if date is not None or config.undated == "send":
        return None
    if config.undated == "skip":
        return Skipped("undated")
    return _refused(
        "undated",
        "the record has no date, and Synap would take the day of the migration for it",
        'undated = "skip"',
        'undated = "send"',
    )


# -- beside it ----------------------------------------------------------------------------------


def _metadata(
    record: MemoryRecord, plain: dict[str, Any], envelope: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Put the user's own keys first; ours that they took go into the envelope."""
    own = record.metadata
    metadata = {**plain, **own}
    has_taken = len(metadata) < len(plain) + len(own)
    if not envelope and not has_taken:
        return metadata, ()
    if ENVELOPE in own:
        return metadata, ("envelope_dropped",)
    metadata[ENVELOPE] = dict(envelope)
    if has_taken:
        metadata[ENVELOPE]["plain_keys"] = {name: plain[name] for name in plain if name in own}
    return metadata, ()


def _fitted(
    record: MemoryRecord, body: SynapDocument, config: SynapConfig
) -> SynapDocument | Refused | Skipped:
    """Return `body`, without the envelope where that is too much; decide about the user's own metadata."""
    limit = config.metadata_bytes
    if len(_encode(body.metadata)) <= limit:
        return body
    size = len(_encode(record.metadata))
    if size > limit:
        return _too_large("metadata_too_large", "metadata", size, "metadata_bytes", limit, config)
    if ENVELOPE not in body.metadata or ENVELOPE in record.metadata:
        return body
    kept = {name: value for name, value in body.metadata.items() if name != ENVELOPE}
    return msgspec.structs.replace(body, metadata=kept)


def _plain_keys(record: MemoryRecord, key: str, created: str | None) -> dict[str, Any]:
    plain: dict[str, Any] = {"source": "migration", "document_id": key}
    if created is not None:
        plain["original_created_at"] = created
    if record.scope.session and (record.messages or record.kind in _TURNS):
        plain["conversation_id"] = record.scope.session
    return plain


def _finished(
    record: MemoryRecord, body: SynapDocument, encoded: bytes, owner: Owner, changes: tuple[str, ...]
) -> Document:
    if b"\\u0000" in encoded:
        document, metadata = _without_nul(body.document), _without_nul(body.metadata)
        if (document, metadata) != (body.document, body.metadata):
            body = msgspec.structs.replace(body, document=document, metadata=metadata)
            encoded = _encode(body)
            changes = (*changes, "nul_replaced")
    return Document(
        key=body.document_id,
        record_id=record.id,
        body=encoded,
        size=len(encoded),
        scope=owner.level,
        changes=changes,
        owner=Scope(user=owner.user_id, tenant=owner.customer_id),
    )


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", NUL_SIGN)
    if isinstance(value, Mapping):
        return {_without_nul(name): _without_nul(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nul(item) for item in value]
    return value


def _encode(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        reason = f"the record holds what JSON cannot carry ({type(error).__name__})"
        raise RecordError(reason, provider="synap", operation="prepare", code="unencodable") from error
