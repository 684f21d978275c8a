"""Ids that are the same on every run: document keys, job ids, uuids of ids that are none.

A document's key is made from the source's own identity, never from a connection's name, a job or
the clock, so a second run, another machine or an app at run time writes the same key.
"""

from __future__ import annotations

import hashlib
import re
import string
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
import xxhash

from memxfer.errors import ConfigError, RecordError
from memxfer.models import MemoryRecord, canonical_json, encode_record

__all__ = [
    "DEFAULT_TEMPLATE",
    "FORM_BYTES",
    "MAX_KEY",
    "KeyTemplate",
    "fingerprint",
    "is_same_form",
    "is_same_record",
    "job_id",
    "record_digest",
    "record_mark",
    "stable_uuid",
]

DEFAULT_TEMPLATE = "mx:{provider}:{namespace}:{id}"
MAX_KEY = 200
"""Longest key, in ASCII characters."""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:memxfer:ids")
_HASH_LENGTH = 32
FORM_BYTES = 16
"""How much of a record's digest is about its content; the rest is its mark."""
_SAFE = "-._~"

_FIELDS: dict[str, Callable[[MemoryRecord], Any]] = {
    "id": lambda record: record.id,
    "user": lambda record: record.scope.user,
    "agent": lambda record: record.scope.agent,
    "app": lambda record: record.scope.app,
    "session": lambda record: record.scope.session,
    "conversation": lambda record: record.scope.session,
    "tenant": lambda record: record.scope.tenant,
    "index": lambda record: record.provenance.get("index"),
    "hash": lambda record: xxhash.xxh3_128_hexdigest(encode_record(record)),
}
_STORE_FIELDS = frozenset({"provider", "namespace"})
_OR = "|"


class KeyTemplate:
    """Renders document keys: `mx:{provider}:{namespace}:{id}` and the like.

    Values are percent-encoded, so a key splits at its colons again and is plain ASCII. A key longer
    than `MAX_KEY` keeps its beginning and ends in `:sha256-` and 32 hex digits of the whole.

    `{index|id}` gives the first of its alternatives that the record has.

    Args:
        text: The template. Fields: `provider`, `namespace` (of the source store), `id`, `user`,
            `agent`, `app`, `session` or `conversation`, `tenant`, `index` where the source
            stores a position, and `hash` of the whole record: it tells two records of one id apart,
            and gives a record that is edited another key. Alternatives are fields of the record,
            not of the store.
        provider: The source's provider name.
        namespace: The source store's stable identity: a collection, project or database.

    Raises:
        ConfigError: The template is malformed, or names no field of a record.
    """

    def __init__(self, text: str, *, provider: str, namespace: str) -> None:
        self.text = text
        store = {"provider": _encode(provider), "namespace": _encode(namespace)}
        self._pieces = _fill(_parse(text), store)

    @property
    def tells_apart(self) -> bool:
        """Whether records of different ids always get different keys.

        A value has no colon in its encoded form, so fields with one between them do not run together.
        """
        named = [index for index, (_, field) in enumerate(self._pieces) if field is not None]
        has_id = any(self._pieces[index][1] == "id" for index in named)
        return has_id and all(":" in self._pieces[index][0] for index in named[1:])

    def key(self, record: MemoryRecord) -> str:
        """Return the key of `record`: ASCII, at most `MAX_KEY` characters.

        Raises:
            RecordError: The record has no value for a field of the template (`code="no_key"`).
        """
        rendered = "".join([literal + self._value(field, record) for literal, field in self._pieces])
        return _shorten(rendered)

    def _value(self, field: str | None, record: MemoryRecord) -> str:
        if field is None:
            return ""
        read = _FIELDS.get(field)
        value = read(record) if read else _first(field, record)
        if value is None or value == "":
            raise RecordError(
                f"the key template {self.text!r} needs {{{field}}}, which this record does not have; "
                "set another document_id template on the target connection",
                code="no_key",
            )
        return _encode(str(value))


def _first(field: str, record: MemoryRecord) -> Any:
    """Return the first of the alternatives that the record has; `None` where it has none."""
    found = (_FIELDS[name](record) for name in field.split(_OR))
    return next((value for value in found if value is not None and value != ""), None)


def _parse(text: str) -> list[tuple[str, str | None]]:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ConfigError(f"document_id template {text!r} is malformed: {error}") from error
    for literal, field, form, conversion in parts:
        if field is not None and field not in _STORE_FIELDS:
            _check_field(field, text)
        if form or conversion:
            raise ConfigError(f"document_id template {text!r}: {{{field}}} takes no format and no conversion")
        if not literal.isascii():
            raise ConfigError(f"document_id template {text!r} has characters outside ASCII")
    if not any(field is not None and field not in _STORE_FIELDS for _, field, _, _ in parts):
        raise ConfigError(f"document_id template {text!r} gives every record the same key; add {{id}}")
    return [(literal, field) for literal, field, _, _ in parts]


def _check_field(field: str, text: str) -> None:
    """Check a field of the record, or its alternatives."""
    for name in field.split(_OR):
        if name in _STORE_FIELDS:
            raise ConfigError(
                f"document_id template {text!r}: {{{field}}} has no use for an alternative; "
                f"every record has a {name}"
            )
        if name not in _FIELDS:
            among = f" in {{{field}}}" if _OR in field else ""
            raise ConfigError(
                f"document_id template {text!r} has an unknown field {{{name}}}{among}; "
                f"known: {', '.join(sorted(_FIELDS.keys() | _STORE_FIELDS))}"
            )


def _fill(pieces: list[tuple[str, str | None]], store: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Write the store's fields into the literals: they are the same for every record."""
    filled: list[tuple[str, str | None]] = []
    literal = ""
    for text, field in pieces:
        literal += text
        if field is not None and field in store:
            literal += store[field]
        else:
            filled.append((literal, field))
            literal = ""
    return [*filled, (literal, None)] if literal else filled


_is_safe = re.compile(r"[A-Za-z0-9._~-]*").fullmatch


def _encode(value: str) -> str:
    if _is_safe(value):
        return value
    return quote(value, safe=_SAFE, errors="surrogatepass")


def _shorten(key: str) -> str:
    if len(key) <= MAX_KEY:
        return key
    tail = ":sha256-" + hashlib.sha256(key.encode()).hexdigest()[:_HASH_LENGTH]
    head = re.sub(r"%[0-9A-F]?$", "", key[: MAX_KEY - len(tail)])
    return head + tail


def record_mark(record: MemoryRecord) -> bytes:
    """Return 8 bytes that tell two records of one id apart, and stay when a record is edited.

    Made from the id, the axes of the owner and the date of creation; an edit changes none of them.
    """
    scope = record.scope
    made = None if record.created_at is None else record.created_at.timestamp()
    axes = (scope.tenant, scope.group, scope.app, scope.user, scope.agent, scope.session)
    return xxhash.xxh3_64_digest(msgspec.json.encode((record.id, axes, made)))


def record_digest(record: MemoryRecord, encoded: bytes) -> bytes:
    """Return 24 bytes: the xxh3_128 of the whole record, then its mark.

    Args:
        record: The record.
        encoded: Its canonical JSON (`encode_record`).
    """
    return xxhash.xxh3_128_digest(encoded) + record_mark(record)


def is_same_form(known: bytes | None, digest: bytes | None) -> bool:
    """Tell whether two digests are of the same record with the same content.

    A ledger of an earlier version has digests without a mark; those are compared by content alone.
    """
    if known is None or digest is None:
        return False
    return known == digest or (len(known) == FORM_BYTES and digest.startswith(known))


def is_same_record(known: bytes | None, digest: bytes) -> bool:
    """Tell whether two digests may be of one record, edited in between: their marks are equal, or unknown."""
    return known is None or len(known) <= FORM_BYTES or known[FORM_BYTES:] == digest[FORM_BYTES:]


def stable_uuid(*parts: str) -> str:
    """Return the uuid5 of `parts`: the same parts give the same uuid, on every machine; others another."""
    return str(uuid.uuid5(_NAMESPACE, "\x00".join(_escape(part) for part in parts)))


def _escape(part: str) -> str:
    """Return UTF-8 text without NUL, so that parts can be joined by it; different parts stay different."""
    text = part.replace("\\", "\\\\").replace("\x00", "\\0")
    return text.encode("utf-8", "backslashreplace").decode()


def job_id(source: str, target: str, *, at: datetime, token: Callable[[], str]) -> str:
    """Return a readable id for a new job: `old-to-new-20260131-120000-x7k2`.

    Args:
        source: Name of the source connection.
        target: Name of the target connection.
        at: Now, in UTC.
        token: Gives a few random letters, so that two jobs of one second differ.
    """
    return f"{_plain(source)}-to-{_plain(target)}-{at:%Y%m%d-%H%M%S}-{token()}"


def _plain(name: str) -> str:
    """Return what can begin the name of a folder; a name without a plain letter is a `store`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24] or "store"


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return 32 hex digits that change when any of `parts` (JSON values) does."""
    return hashlib.sha256(canonical_json(dict(parts))).hexdigest()[:_HASH_LENGTH]
