"""One line of a part: a document key, and the record as its source had it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from memxfer.ids import record_mark
from memxfer.models import MemoryRecord, canonical_json

__all__ = [
    "MAX_LINE",
    "ArchivedRecord",
    "decode_line",
    "encode_line",
    "frame_line",
    "identity",
    "identity_of",
    "key_digest",
    "mark_of",
    "with_mark",
]

MAX_LINE = 64 * 1024 * 1024
"""Longest line, in bytes; what a reader holds in memory at most."""

_KEY_BYTES = 16


class ArchivedRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one line says.

    Attributes:
        key: The document key: identity within the archive, together with `partition`.
        record: The record; its `id` is its own source's.
        envelope: What a writer put beside the record; empty in archives written by a migration.
        partition: The slice of the source it was listed in, in a residue: there two records under one
            key, listed in two slices, must not replace each other. Empty elsewhere.
        mark: What tells records of one key apart (`memxfer.ids.record_mark`): on every line of a residue;
            elsewhere on those whose key an earlier line has for another record.
    """

    key: str
    record: MemoryRecord
    envelope: dict[str, Any] = {}
    mark: str = ""
    partition: str = ""


class _Keyed(msgspec.Struct):
    key: str
    partition: str = ""
    mark: str = ""


_line_decoder = msgspec.json.Decoder(ArchivedRecord)
_key_decoder = msgspec.json.Decoder(_Keyed)


def encode_line(key: str, record: MemoryRecord, envelope: Mapping[str, Any] | None = None) -> bytes:
    """Return the canonical JSON of one line, without a newline.

    The record must have passed `memxfer.models.sanitise_record`.
    """
    return canonical_json(ArchivedRecord(key=key, record=record, envelope=dict(envelope or {})))


def frame_line(key: str, encoded: bytes, *, partition: str = "", mark: str = "") -> bytes:
    """Return what `encode_line` would, from a record that is encoded already (`encode_record`)."""
    tail = b',"mark":' + canonical_json(mark) if mark else b""
    tail += b',"partition":' + canonical_json(partition) + b"}" if partition else b"}"
    return b'{"key":' + canonical_json(key) + b',"record":' + encoded + tail


def decode_line(line: bytes) -> ArchivedRecord:
    """Read what `encode_line` wrote.

    Raises:
        msgspec.DecodeError: Not JSON, or not a line of an archive.
        ValueError: A time without a zone.
    """
    return _line_decoder.decode(line)


def identity(key: str, partition: str = "", mark: str = "") -> str:
    """Return what tells lines apart: the key, and partition and mark where a line has them."""
    name = f"{key}:{mark}" if mark else key
    return f"{name}\0{partition}" if partition else name


def identity_of(line: bytes) -> str:
    """Return the identity of a line without building its record.

    Raises:
        msgspec.DecodeError: Not JSON, or no line of an archive.
    """
    keyed = _key_decoder.decode(line)
    return identity(keyed.key, keyed.partition, keyed.mark)


def with_mark(line: bytes, mark: str) -> bytes:
    """Return a line that `encode_line` made, with a mark."""
    return line[:-1] + b',"mark":' + canonical_json(mark) + b"}"


def mark_of(line: bytes) -> bytes:
    """Return the mark of the record in a line, whatever the line says of it (`memxfer.ids.record_mark`).

    Raises:
        msgspec.DecodeError, ValueError: It is no line of an archive.
    """
    return record_mark(decode_line(line).record)


def key_digest(identity: str) -> bytes:
    """Return 16 bytes that stand for a line; from a cryptographic hash, since keys hold foreign ids."""
    return hashlib.sha256(identity.encode()).digest()[:_KEY_BYTES]
