"""What a document must look like, and what happens to one that does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from .extraction import Outcome, outcome_of, text_of
from .scoping import Owner, ScopeError, owner_of
from .settings import Caller, SynapSettings

DOCUMENT_TYPES = frozenset(
    {"ai-chat-conversation", "document", "email", "pdf", "image", "audio", "meeting-transcript"}
)
MODES = frozenset({"fast", "long-range"})


class Document(msgspec.Struct):
    """A document on the wire; unknown fields are ignored, as Synap does."""

    document: str | dict[str, Any]
    document_type: str = "ai-chat-conversation"
    document_id: str | None = None
    document_created_at: str | None = None
    user_id: str | None = None
    customer_id: str | None = None
    scope: dict[str, str] | None = None
    mode: str = "long-range"
    metadata: dict[str, Any] | None = None


class Batch(msgspec.Struct):
    """The body of a batch; documents stay as bytes, to be stored as they came."""

    documents: list[msgspec.Raw]
    fail_fast: bool = False


DOCUMENT_DECODER = msgspec.json.Decoder(Document)
BATCH_DECODER = msgspec.json.Decoder(Batch)


class DocumentError(ValueError):
    """A document that Synap refuses.

    Args:
        status: What a single create answers.
        message: What a batch row says.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Accepted:
    """A valid document, ready to be stored."""

    document_id: str | None
    owner: Owner
    body: bytes
    outcome: Outcome
    memories: int
    origin: str = "document"


def accept(caller: Caller, settings: SynapSettings, document: Document, raw: bytes) -> Accepted:
    """Check one document.

    Args:
        caller: Whose instance it goes to.
        settings: For the size limit.
        document: The decoded document.
        raw: Its JSON as sent; stored as it is.

    Raises:
        DocumentError: 400 scope or empty text, 413 too large, 422 everything else.
    """
    text = text_of(document.document)
    _check_text(text, raw, settings.document_bytes)
    _check_fields(document)
    try:
        owner = owner_of(caller, document.user_id, document.customer_id, document.scope)
    except ScopeError as error:
        raise DocumentError(400, str(error)) from error
    outcome, memories = outcome_of(text, document.metadata)
    return Accepted(document.document_id or None, owner, raw, outcome, memories)


def _check_text(text: str, raw: bytes, limit: int) -> None:
    if not text or text.isspace() or text == "{}":
        raise DocumentError(400, "document must not be empty")
    # UTF-8 takes at most four bytes a character: most texts are too short to need counting
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise DocumentError(413, f"document is larger than {limit} bytes")
    if b"\\u0000" in raw and has_nul(msgspec.json.decode(raw)):
        raise DocumentError(422, "text must not contain NUL characters")


def _check_fields(document: Document) -> None:
    if document.document_type not in DOCUMENT_TYPES:
        raise DocumentError(422, f"document_type must be one of {', '.join(sorted(DOCUMENT_TYPES))}")
    if document.mode not in MODES:
        raise DocumentError(422, f"mode must be one of {', '.join(sorted(MODES))}")
    if document.document_created_at is not None and not is_iso_date(document.document_created_at):
        raise DocumentError(422, "document_created_at must be an ISO 8601 date")


def is_iso_date(text: str) -> bool:
    """Say whether a text is an ISO 8601 date or time."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def has_nul(value: Any) -> bool:
    """Say whether any text in a JSON value has a NUL character."""
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, Mapping):
        return any(has_nul(key) or has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(map(has_nul, value))
