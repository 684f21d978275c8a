"""Value types: records and their parts, time, canonical JSON."""

from memxfer.models.canonical import (
    MAX_DEPTH,
    canonical_json,
    content_hash,
    decode_record,
    encode_record,
    sanitise,
    sanitise_record,
    sanitise_text,
)
from memxfer.models.nul import NUL_SIGN, without_nul
from memxfer.models.record import (
    Attachment,
    Embedding,
    MemoryRecord,
    Message,
    RecordState,
    Relation,
    Scope,
    Validity,
    Version,
)
from memxfer.models.times import ensure_utc, format_time, parse_time

__all__ = [
    "MAX_DEPTH",
    "NUL_SIGN",
    "Attachment",
    "Embedding",
    "MemoryRecord",
    "Message",
    "RecordState",
    "Relation",
    "Scope",
    "Validity",
    "Version",
    "canonical_json",
    "content_hash",
    "decode_record",
    "encode_record",
    "ensure_utc",
    "format_time",
    "parse_time",
    "sanitise",
    "sanitise_record",
    "sanitise_text",
    "without_nul",
]
