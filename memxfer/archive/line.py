"""One line of a part: a document key, and the record as its source had it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from memxfer.models import MemoryRecord, canonical_json

__all__ = ["MAX_LINE", "ArchivedRecord", "decode_line", "encode_line", "key_digest", "key_of"]

MAX_LINE = 64 * 1024 * 1024
"""Longest line, in bytes; what a reader holds in memory at most."""

_KEY_BYTES = 16


class ArchivedRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one line says.

    Attributes:
        key: The document key: identity within the archive.
        record: The record; its `id` is its own source's.
        envelope: What a writer put beside the record; empty in archives written by a migration.
    """

    key: str
    record: MemoryRecord
    envelope: dict[str, Any] = {}


class _Keyed(msgspec.Struct):
    key: str


_line_decoder = msgspec.json.Decoder(ArchivedRecord)
_key_decoder = msgspec.json.Decoder(_Keyed)


def encode_line(key: str, record: MemoryRecord, envelope: Mapping[str, Any] | None = None) -> bytes:
    """Return the canonical JSON of one line, without a newline.

    The record must have passed `memxfer.models.sanitise_record`.
    """
    return canonical_json(ArchivedRecord(key=key, record=record, envelope=dict(envelope or {})))


def decode_line(line: bytes) -> ArchivedRecord:
    """Read what `encode_line` wrote.

    Raises:
        msgspec.DecodeError: Not JSON, or not a line of an archive.
        ValueError: A time without a zone.
    """
    return _line_decoder.decode(line)


def key_of(line: bytes) -> str:
    """Return the key of a line without building its record.

    Raises:
        msgspec.DecodeError: Not JSON, or no line of an archive.
    """
    return _key_decoder.decode(line).key


def key_digest(key: str) -> bytes:
    """Return 16 bytes that stand for a key; from a cryptographic hash, since keys hold foreign ids."""
    return hashlib.sha256(key.encode()).digest()[:_KEY_BYTES]
