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
    without_nul,
)
from memxfer_synap.client.port import SynapDocument, SynapTranscript
from memxfer_synap.config import ASSIGN, SynapConfig
from memxfer_synap.metadata import conversation_keys, encode, with_ours, without_envelope
from memxfer_synap.options import Options, moved_options, options_of
from memxfer_synap.transcripts import lane_of, part_of, rank_of, turn_changes, turn_keys

__all__ = ["Owner", "document_of", "owner_of", "text_of"]

_TURNS = frozenset({"message", "conversation"})


class Owner(NamedTuple):
    """Where a document lands: at a user, with a customer's users, or with everybody of the client."""

    level: str
    user_id: str | None = None
    customer_id: str | None = None


class _Draft(NamedTuple):
    """A record on its way to become a document; `lane` is its conversation's, where it is a turn of one."""

    record: MemoryRecord
    key: str
    owner: Owner
    text: str
    sent_at: str | None
    lane: str
    how: Options


def document_of(
    record: MemoryRecord,
    key: str,
    envelope: Mapping[str, Any],
    *,
    config: SynapConfig,
    is_b2c: bool,
    is_app: bool = False,
) -> Prepared:
    """Map one record to one document, or say why not.

    Args:
        record: The record.
        key: Its key, sent as `document_id`.
        envelope: What Synap cannot hold, for the metadata key `memxfer`.
        config: The connection's decisions.
        is_b2c: Whether the instance's users are their own customers.
        is_app: Whether an app has just said it; else it is moved from elsewhere.

    Returns:
        A `Document` with the JSON of a `SynapDocument` as body, or of a `SynapTranscript` where it is a part
        of a conversation that goes as one; `Skipped` by decision (`unscoped`, `undated`, `oversize`); or
        `Refused` with code `empty`, `nul_in_id`, or, with remedies,
        `unscoped`, `no_customer`, `undated`, `too_large`, `metadata_too_large`.

    Raises:
        RecordError: An app asks for an option that there is not (`code="bad_option"`).
    """
    owner = owner_of(record.scope, config=config, is_b2c=is_b2c)
    if not isinstance(owner, Owner):
        return owner
    # a transcript is written once: what an app says turn by turn cannot be one
    lane = _lane(record, owner) if config.conversations == "transcript" and not is_app else ""
    if lane and "\x00" in (record.scope.session or ""):
        return _refused("nul_in_id", "the record's session id has a NUL character")
    text = text_of(record)
    date = _date(record)
    problem = _check_text(record, text, config) or _check_date(date, config)
    if problem is not None:
        return problem
    sent_at = _time(date)
    created = sent_at if date is record.created_at else _time(record.created_at)
    how = options_of(record, config) if is_app else moved_options(record, config)
    draft = _Draft(record, key, owner, text, sent_at, lane, how)
    plain = _own_keys(draft) if is_app else _plain_keys(draft, created)
    metadata, changes = with_ours(record, plain, envelope)
    encoded = encode(_body(draft, metadata))
    if len(encoded) > config.metadata_bytes:  # only then can the metadata be too large
        fitted = _fitted(record, metadata, config)
        if not isinstance(fitted, dict):
            return fitted
        if fitted is not metadata:
            encoded, changes = encode(_body(draft, fitted)), ("envelope_dropped",)
    return _finished(draft, encoded, changes + _turn_changes(draft, config), date)


def _lane(record: MemoryRecord, owner: Owner) -> str:
    """Return the lane of the conversation that a record is a turn of; none for all else.

    A transcript has a user, and speakers: turns of nobody's and of nobody known stay documents. So does
    a record whose text is more than its turns: a transcript has no place for the rest.
    """
    if not (record.scope.session and owner.user_id and record.messages and _is_rendering(record)):
        return ""
    return lane_of(record.scope.session, owner.user_id, owner.customer_id)


def _turn_changes(draft: _Draft, config: SynapConfig) -> tuple[str, ...]:
    if draft.lane:
        return turn_changes(draft.record)
    is_beside = config.conversations == "transcript" and draft.record.messages
    return ("turns_as_text",) if is_beside else ()


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
    return turns if _is_rendering(record) else f"{record.content}\n\n{turns}"


def _is_rendering(record: MemoryRecord) -> bool:
    """Tell whether the content says no more than the turns."""
    return not record.content.strip() or all(one.content in record.content for one in record.messages)


def _type_of(record: MemoryRecord) -> str:
    return "ai-chat-conversation" if record.messages or record.kind in _TURNS else "document"


def _check_text(record: MemoryRecord, text: str, config: SynapConfig) -> Refused | Skipped | None:
    says_nothing = bool(record.messages) and not any(one.content.strip() for one in record.messages)
    if not text.strip() or (says_nothing and not record.content.strip()):
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
    """Return when it was: as it happened, was first said, was first stored, was last changed."""
    if record.occurred_at is None and record.messages:
        said = min((message.at for message in record.messages if message.at), default=None)
        if said is not None:
            return said
    return record.occurred_at or record.created_at or record.updated_at


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


def _fitted(
    record: MemoryRecord, metadata: dict[str, Any], config: SynapConfig
) -> dict[str, Any] | Refused | Skipped:
    """Return the metadata, without the envelope where that is too much; decide about the user's own."""
    limit = config.metadata_bytes
    if len(encode(metadata)) <= limit:
        return metadata
    size = len(encode(record.metadata))
    if size > limit:
        return _too_large("metadata_too_large", "metadata", size, "metadata_bytes", limit, config)
    return without_envelope(record, metadata)


def _plain_keys(draft: _Draft, created: str | None) -> dict[str, Any]:
    record = draft.record
    plain: dict[str, Any] = {"source": "migration", "document_id": draft.key}
    if created is not None:
        plain["original_created_at"] = created
    if draft.lane:
        return plain | turn_keys(next(one for one in record.messages if one.content.strip()))
    return plain | _own_keys(draft)


def _own_keys(draft: _Draft) -> dict[str, Any]:
    """Return the plain keys that do not speak of a migration."""
    scope = draft.record.scope
    names = conversation_keys(scope.session, *_whose(scope, draft.owner)) if scope.session else {}
    return {"document_id": draft.key, **names}


def _whose(scope: Scope, owner: Owner) -> tuple[str | None, ...]:
    """Tell the owners of sessions apart: users, or whoever a session without a user belongs to."""
    if owner.user_id:
        return (owner.customer_id, owner.user_id)
    return (owner.customer_id, "", scope.agent, scope.app, scope.group)


def _body(draft: _Draft, metadata: dict[str, Any]) -> SynapDocument | SynapTranscript:
    owner = draft.owner
    if draft.lane:
        user_id = owner.user_id or ""
        return part_of(
            draft.record, metadata, user_id=user_id, customer_id=owner.customer_id, at=draft.sent_at
        )
    return SynapDocument(
        document=draft.text,
        document_type=draft.how.document_type or _type_of(draft.record),
        document_id=draft.key,
        document_created_at=draft.sent_at,
        user_id=owner.user_id,
        customer_id=owner.customer_id,
        mode=draft.how.mode,
        metadata=metadata,
    )


def _finished(draft: _Draft, encoded: bytes, changes: tuple[str, ...], at: datetime | None) -> Document:
    if b"\\u0000" in encoded:
        body = msgspec.json.decode(encoded)
        clean = without_nul(body)
        if clean != body:
            encoded, changes = encode(clean), (*changes, "nul_replaced")
    lane = draft.lane
    return Document(
        key=draft.key,
        record_id=draft.record.id,
        body=encoded,
        size=len(encoded),
        scope=draft.owner.level,
        changes=changes,
        owner=Scope(user=draft.owner.user_id, tenant=draft.owner.customer_id),
        lane=lane,
        group=lane or None,
        rank=rank_of(draft.record, at) if lane else "",
    )
