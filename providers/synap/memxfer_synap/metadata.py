"""What goes beside a text, and how it becomes JSON: the app's metadata, plain keys, the envelope."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from memxfer.spi import MemoryRecord, RecordError, stable_uuid

__all__ = [
    "ENVELOPE",
    "PLAIN_KEYS",
    "conversation_keys",
    "encode",
    "with_ours",
    "without_envelope",
]

ENVELOPE = "memxfer"
"""Metadata key of what Synap has no field for."""
PLAIN_KEYS = frozenset(
    {"source", "document_id", "original_created_at", "conversation_id", "original_conversation_id"}
)
"""Metadata keys of the vendor's migration guide, and the session's own id where it is no UUID."""

_encoder = msgspec.json.Encoder()
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch


def conversation_keys(session: str, *owner: str | None) -> dict[str, str]:
    """Return the metadata that says which conversation a document belongs to.

    Synap's fetches take UUIDs alone (SDK 0.6.9 checks). A session that is none gets one made of it and
    of its owner, the same on every run: another user's session of the same name is another conversation.
    """
    if _is_uuid(session):
        return {"conversation_id": session}
    return {"conversation_id": _made(session, *owner), "original_conversation_id": session}


@functools.lru_cache(maxsize=4096)  # turns of one conversation come close together
def _made(session: str, *owner: str | None) -> str:
    return stable_uuid("conversation", *(part or "" for part in owner), session)


def with_ours(
    record: MemoryRecord, plain: Mapping[str, Any], envelope: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Put the user's own keys first; ours that they took go into the envelope.

    Returns:
        The metadata, and the changes it made.
    """
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


def without_envelope(record: MemoryRecord, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata without our envelope; the same object where there is none."""
    if ENVELOPE not in metadata or ENVELOPE in record.metadata:
        return metadata
    return {name: value for name, value in metadata.items() if name != ENVELOPE}


def encode(value: Any) -> bytes:
    """Return a value as JSON.

    Raises:
        RecordError: It holds what JSON cannot carry (`code="unencodable"`).
    """
    try:
        return _encoder.encode(value)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        reason = f"the record holds what JSON cannot carry ({type(error).__name__})"
        raise RecordError(reason, provider="synap", operation="prepare", code="unencodable") from error
