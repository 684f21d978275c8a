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
        return value if -_MAX_INT <= value < _MAX_INT else _tag("integer", _digits(value), path, found)
    if kind is float:
        return value if math.isfinite(value) else _tag("number", str(value), path, found)
    if depth >= MAX_DEPTH and not _is_tag(value):
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
        name, renamed = _name(key)
        while renamed and (name in value or name in changed):
            name += "~"  # another key has that name already, and both stay
        where = f"{path}.{name}" if path else name
        if renamed:
            found.append(where)
        cleaned = _clean(item, where, depth + 1, found)
        same = same and cleaned is item and type(key) is str and not renamed
        changed[name] = cleaned
    return value if same else changed


def _name(key: Any) -> tuple[str, bool]:
    """Return a key as text, and whether that had to change it."""
    if isinstance(key, str):
        return sanitise_text(str.__str__(key))
    name = _digits(key) if type(key) is int else _safe_text(key, str)
    return sanitise_text(name)[0], True


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
        return [_clean(item, path, depth + 1, found) for item in sorted(value, key=_safe_repr)]
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


def _is_tag(value: Any) -> bool:
    return type(value) is dict and value.keys() == {"$memxfer", "raw"}


def _safe_repr(value: Any) -> str:
    return _safe_text(value, repr)


def _safe_text(value: Any, write: Callable[[Any], str]) -> str:
    try:
        return write(value)
    except RecursionError:
        return f"<{type(value).__name__} nested without end>"
    except Exception as error:  # noqa: BLE001 - the value's own code runs here, and may raise anything
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # longer than Python turns into decimals
        return hex(value)


def sanitise_record(record: MemoryRecord) -> MemoryRecord:
    """Return `record` in a form canonical JSON can carry; the same object when it already is.

    What had to be changed is named in the result's `sanitised`.
    """
    if _is_plain(_loose_values(record)) and _is_encodable(record):
        return record
    found: list[str] = []
    cleaned, more = sanitise(msgspec.to_builtins(_without_oddities(record, found)))
    for name in _MOVED:
        if any(path.startswith(name) for path in more):
            cleaned.setdefault("provenance", {})[name] = cleaned.pop(name)
    changed = msgspec.convert(cleaned, MemoryRecord)
    return msgspec.structs.replace(changed, sanitised=(*record.sanitised, *found, *more))


_LOOSE_FIELDS = ("metadata", "provenance", "extensions")
_LOOSE_PARTS = {"messages": "metadata", "versions": "metadata", "relations": "attributes"}
_MOVED = ("importance", "confidence", "embedding")
"""Fields of numbers: one that is none goes, tagged, to `provenance`."""


def _loose_values(record: MemoryRecord) -> list[Any]:
    values: list[Any] = [record.metadata, record.provenance, record.extensions]
    if record.messages:
        values += [message.metadata for message in record.messages]
    if record.versions:
        values += [version.metadata for version in record.versions]
    if record.relations:
        values += [relation.attributes for relation in record.relations]
    return values


def _without_oddities(record: MemoryRecord, found: list[str]) -> MemoryRecord:
    """Return `record` with JSON values wherever its types leave the values open."""
    changes: dict[str, Any] = {name: _clean(getattr(record, name), name, 0, found) for name in _LOOSE_FIELDS}
    # A vendor's own kind of text, numpy's for one, is text.
    texts = {name: getattr(record, name) for name in ("id", "content")}
    changes |= {name: str.__str__(text) for name, text in texts.items() if isinstance(text, str)}
    for name, inner in _LOOSE_PARTS.items():
        changes[name] = tuple(
            msgspec.structs.replace(
                part, **{inner: _clean(getattr(part, inner), f"{name}[{index}].{inner}", 0, found)}
            )
            for index, part in enumerate(getattr(record, name))
        )
    return msgspec.structs.replace(record, **changes)


def _is_plain(values: Iterable[Any], depth: int = 0) -> bool:
    """Tell, quickly, whether values are what JSON knows; texts are not looked into."""
    if depth > MAX_DEPTH + 1:  # a tag at the deepest place has one level more
        return False
    for value in values:
        kind = type(value)
        if kind in _ATOMS:
            continue
        if kind is dict:
            if value and not (_has_plain_names(value) and _is_plain(value.values(), depth + 1)):
                return False
        elif kind is list:
            if value and not _is_plain(value, depth + 1):
                return False
        elif not _is_plain_number(value, kind):
            return False
    return True


def _has_plain_names(value: dict[Any, Any]) -> bool:
    for name in value:  # noqa: SIM110 - half the time of all() with a generator
        if type(name) is not str:
            return False
    return True


_ATOMS = frozenset({str, bool, type(None)})


def _is_plain_number(value: Any, kind: type) -> bool:
    if kind is int:
        return bool(-_MAX_INT <= value < _MAX_INT)
    return kind is float and math.isfinite(value)


def _is_encodable(record: MemoryRecord) -> bool:
    try:
        if not (math.isfinite(record.importance or 0.0) and math.isfinite(record.confidence or 0.0)):
            return False
        if record.embedding is not None and not math.isfinite(sum(record.embedding.vector)):
            return False
        _encoder.encode(record)
    except (UnicodeEncodeError, RecursionError, TypeError, ValueError, OverflowError):
        return False
    # A struct takes any type; what is wrong here fails to convert below, as a defect of this row alone.
    return type(record.id) is str and type(record.content) is str
