"""What a record has and Graphiti has no column for: JSON text beside what it does have.

On a fact it is the attribute `memxfer`; on an episode, which keeps no metadata (graphiti-core 0.31.1), it is
the source description. A row whose columns are still as they were written reads back as the record it was
made from. Once somebody changed it, its columns tell what they can tell, and the text the rest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from memxfer.spi import MemoryRecord, stable_uuid
from memxfer_graphiti.rows import Episode, Fact

__all__ = ["ATTRIBUTE", "Extras", "attribute_for", "find_in", "made_of", "parse", "restored", "seen_of"]

ATTRIBUTE: Final = "memxfer"
_VERSION: Final = 1
_NEXT: Final = "memxfer_record"
_is_ours = re.compile(r"memxfer(_record_*)?").fullmatch
_MARK: Final = '{"memxfer":'
_OWN: Final = ("id", "metadata", "embedding")
_FIELDS: Final[Mapping[str, str]] = {"ext": "extensions"}
"""Names in an envelope that are not those of the record's fields."""


class Extras(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The text's content.

    Attributes:
        memxfer: Version of this form; begins the text, and marks it.
        key: The document key; its uuid is the row's.
        id: The id of the record at its source.
        seen: Digest of the columns as they were written.
        record: Fields that the columns do not tell.
        absent: Fields that the columns tell and the record does not have.
        metadata: Metadata that is no attribute of its own.
        envelope: What came beside the record, as far as the record does not have it.
    """

    memxfer: int
    key: str
    id: str
    seen: str
    record: dict[str, Any] = {}
    absent: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    envelope: dict[str, Any] = {}

    def text(self) -> str:
        """Return the JSON."""
        return msgspec.json.encode(self).decode()


def attribute_for(metadata: Collection[str]) -> str:
    """Return the attribute to use beside a record's own: the first that it does not have itself."""
    name = ATTRIBUTE
    while name in metadata:
        name = _NEXT if name == ATTRIBUTE else f"{name}_"
    return name


def find_in(attributes: Mapping[str, Any], uuid: str) -> tuple[Extras | None, dict[str, Any]]:
    """Return the extras among the attributes of a row, and the other attributes.

    Raises:
        ValueError: They are of a later form than this memxfer knows.
    """
    for name in sorted(filter(_is_ours, attributes), key=len, reverse=True):
        found = parse(attributes[name], uuid)
        if found is not None:
            return found, {other: value for other, value in attributes.items() if other != name}
    return None, dict(attributes)


def parse(text: Any, uuid: str) -> Extras | None:
    """Return the extras in a text; `None` if it is none of ours, or belongs to another row.

    Raises:
        ValueError: It is of a later form than this memxfer knows.
    """
    if not isinstance(text, str) or not text.startswith(_MARK):
        return None
    try:
        found = msgspec.json.decode(text, type=Extras)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if stable_uuid(found.key) != uuid:  # copied with its row, or made up
        return None
    if found.memxfer > _VERSION:
        raise ValueError("the row was written by a later memxfer; install that")
    return found


def seen_of(row: Fact | Episode, attributes: Mapping[str, Any] | None = None) -> str:
    """Return a digest of a row's columns, `attributes` in place of all attributes."""
    if isinstance(row, Fact):
        ends = (row.source.uuid, row.target.uuid)
        times: Any = (row.created_at, row.valid_at, row.invalid_at, row.expired_at, row.reference_time)
        columns: Any = (row.group_id, row.name, row.fact, ends, times, row.episodes, dict(attributes or {}))
    else:
        times = (row.created_at, row.valid_at)
        columns = (row.group_id, row.name, row.source, row.content, times, row.entity_edges)
    encoded = msgspec.json.encode(columns, order="deterministic")
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()


def made_of(
    record: MemoryRecord,
    base: MemoryRecord,
    *,
    key: str,
    seen: str,
    metadata: Mapping[str, Any],
    envelope: Mapping[str, Any],
) -> Extras:
    """Return what has to stand beside a row.

    Args:
        record: What has to be told.
        base: What the row's columns tell.
        key: The document key.
        seen: From `seen_of`.
        metadata: The record's metadata that is no attribute.
        envelope: From the engine.
    """
    wanted, told = _json(record), _json(base)
    return Extras(
        memxfer=_VERSION,
        key=key,
        id=record.id,
        seen=seen,
        # The scope always: what a group id means depends on the settings of who reads it.
        record={n: v for n, v in wanted.items() if n not in _OWN and (n == "scope" or told.get(n) != v)},
        absent=tuple(name for name in told if name not in wanted and name not in _OWN),
        metadata=dict(metadata),
        envelope={n: v for n, v in envelope.items() if wanted.get(_FIELDS.get(n, n)) != v},
    )


def restored(
    base: MemoryRecord, extras: Extras, *, is_untouched: bool, columns: Collection[str]
) -> MemoryRecord:
    """Return the record that a row was made from.

    Args:
        base: What the row's columns tell.
        extras: What stands beside them.
        is_untouched: The columns are as they were written.
        columns: Fields that columns tell: where they were changed, they are right.
    """
    told = msgspec.to_builtins(base)
    kept = () if is_untouched else columns
    told |= {name: value for name, value in extras.record.items() if name not in kept}
    for name in extras.absent:
        if name not in kept:
            told.pop(name, None)
    metadata = {**base.metadata, **extras.metadata}
    if metadata:
        told["metadata"] = metadata
    return msgspec.convert(told, MemoryRecord)


def _json(record: MemoryRecord) -> dict[str, Any]:
    """Return a record as JSON values, lists instead of tuples: what an envelope is compared with."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    return found
