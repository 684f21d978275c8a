"""Canonical JSON: one byte string per value, and a safe form for values that have none.

Backends hold things JSON cannot: NaN, infinities, lone surrogates, sets, nesting without end.
Such values are kept as tagged text, `{"$memxfer": "number", "raw": "nan"}`, and named in
`MemoryRecord.sanitised`, so that nothing turns quietly into `null` on its way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import xxhash

from memxfer.models.record import MemoryRecord

__all__ = [
    "MAX_DEPTH",
    "canonical_json",
    "content_hash",
    "decode_record",
    "encode_record",
    "sanitise",
    "sanitise_record",
    "sanitise_text",
]

MAX_DEPTH = 64
"""Deepest nesting of metadata that is kept as JSON; what lies deeper is kept as text."""

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(MemoryRecord)
_MAX_INT = 2**63
_PLAIN = (str, int, float, bool, type(None))


def canonical_json(value: Any) -> bytes:
    """Encode with sorted keys, no blanks, UTF-8. `value` must have passed `sanitise`."""
    return _encoder.encode(value)


def encode_record(record: MemoryRecord) -> bytes:
    """Encode one record as one line of canonical JSON (no newline at its end)."""
    return _encoder.encode(record)


def decode_record(line: bytes) -> MemoryRecord:
    """Read what `encode_record` wrote.

    Raises:
        msgspec.DecodeError: Not JSON, or not a record.
    """
    return _decoder.decode(line)


def content_hash(record: MemoryRecord) -> bytes:
    """Return 16 bytes that change when anything in the record changes (xxh3_128 of its canonical JSON)."""
    return xxhash.xxh3_128_digest(_encoder.encode(record))


def sanitise_text(text: str) -> tuple[str, bool]:
    """Return text that UTF-8 can carry, and whether it had to be changed.

    A lone surrogate becomes its escape, as `repr` shows it.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode(), True
    return text, False


def sanitise(value: Any, *, path: str = "") -> tuple[Any, list[str]]:
    """Return `value` in a form canonical JSON can carry, and the paths that had to be changed.

    The value itself comes back, not a copy, when nothing had to change.
    """
    found: list[str] = []
    return _clean(value, path, 0, found), found


def _clean(value: Any, path: str, depth: int, found: list[str]) -> Any:
    kind = type(value)
    if kind is str:
        text, changed = sanitise_text(value)
        return _report(text, path, found) if changed else value
    if kind is bool or value is None:
        return value
    if kind is int:
        return value if -_MAX_INT <= value < _MAX_INT else _tag("integer", str(value), path, found)
    if kind is float:
        return value if math.isfinite(value) else _tag("number", str(value), path, found)
    if depth >= MAX_DEPTH:
        return _tag("nesting", _safe_repr(value), path, found)
    if isinstance(value, Mapping):
        return _clean_mapping(value, path, depth, found)
    if isinstance(value, list | tuple):
        return _clean_items(value, path, depth, found)
    return _clean_foreign(value, path, depth, found)


def _clean_mapping(value: Mapping[Any, Any], path: str, depth: int, found: list[str]) -> Any:
    changed: dict[str, Any] = {}
    same = type(value) is dict
    for key, item in value.items():
        name, renamed = sanitise_text(key) if isinstance(key, str) else (str(key), True)
        where = f"{path}.{name}" if path else name
        if renamed:
            found.append(where)
        cleaned = _clean(item, where, depth + 1, found)
        same = same and cleaned is item and not renamed
        changed[name] = cleaned
    return value if same else changed


def _clean_items(value: list[Any] | tuple[Any, ...], path: str, depth: int, found: list[str]) -> Any:
    cleaned = [_clean(item, f"{path}[{index}]", depth + 1, found) for index, item in enumerate(value)]
    same = type(value) is list and all(new is old for new, old in zip(cleaned, value, strict=True))
    return value if same else cleaned


def _clean_foreign(value: Any, path: str, depth: int, found: list[str]) -> Any:
    if isinstance(value, _PLAIN):  # a subclass: an enum, numpy's float64, a str of the vendor's
        return _clean(_base_value(value), path, depth, found)
    if isinstance(value, datetime):
        return _report(value.isoformat(), path, found)
    if isinstance(value, set | frozenset):
        found.append(path)
        return [_clean(item, path, depth + 1, found) for item in sorted(value, key=repr)]
    if isinstance(value, bytes | bytearray | memoryview):
        return _tag("bytes", bytes(value).hex(), path, found)
    return _tag(type(value).__name__, _safe_repr(value), path, found)


def _base_value(value: Any) -> Any:
    casts: tuple[tuple[type, Callable[[Any], Any]], ...] = (
        (bool, bool),
        (int, int),
        (float, float),
        (str, str.__str__),
    )
    for base, cast in casts:
        if isinstance(value, base):
            return cast(value)
    return None


def _report(value: str, path: str, found: list[str]) -> str:
    found.append(path)
    return value


def _tag(kind: str, raw: str, path: str, found: list[str]) -> dict[str, str]:
    found.append(path)
    return {"$memxfer": kind, "raw": sanitise_text(raw)[0]}


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except RecursionError:
        return f"<{type(value).__name__} nested without end>"


def sanitise_record(record: MemoryRecord) -> MemoryRecord:
    """Return `record` in a form canonical JSON can carry; the same object when it already is.

    What had to be changed is named in the result's `sanitised`.
    """
    if _is_plain((record.metadata, record.provenance, record.extensions)) and _is_encodable(record):
        return record
    loose = {name: sanitise(getattr(record, name), path=name) for name in _LOOSE_FIELDS}
    found = [path for _, paths in loose.values() for path in paths]
    flat = msgspec.structs.replace(record, **{name: value for name, (value, _) in loose.items()})
    cleaned, more = sanitise(msgspec.to_builtins(flat))
    for name in _SCORES:
        if isinstance(cleaned.get(name), dict):
            cleaned.setdefault("provenance", {})[name] = cleaned.pop(name)
    changed = msgspec.convert(cleaned, MemoryRecord)
    return msgspec.structs.replace(changed, sanitised=(*record.sanitised, *found, *more))


_LOOSE_FIELDS = ("metadata", "provenance", "extensions")
_SCORES = ("importance", "confidence")


def _is_plain(values: Iterable[Any]) -> bool:
    """Tell, quickly and level by level, whether values are what JSON knows; texts are not looked into."""
    level = list(values)
    for _ in range(MAX_DEPTH + 1):
        deeper: list[Any] = []
        for value in level:
            kind = type(value)
            if kind in _ATOMS:
                continue
            if kind is dict:
                if value and set(map(type, value)) != _TEXT_ONLY:
                    return False
                deeper.extend(value.values())
            elif kind is list:
                deeper.extend(value)
            elif not _is_plain_number(value, kind):
                return False
        if not deeper:
            return True
        level = deeper
    return False


_ATOMS = frozenset({str, bool, type(None)})
_TEXT_ONLY = {str}


def _is_plain_number(value: Any, kind: type) -> bool:
    if kind is int:
        return bool(-_MAX_INT <= value < _MAX_INT)
    return kind is float and math.isfinite(value)


def _is_encodable(record: MemoryRecord) -> bool:
    if not (math.isfinite(record.importance or 0.0) and math.isfinite(record.confidence or 0.0)):
        return False
    try:
        _encoder.encode(record)
    except (UnicodeEncodeError, RecursionError, TypeError, ValueError):
        return False
    return True
