"""Comparing what arrived with what was there, record by record, independent of any job's ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from memxfer.config import Connection
from memxfer.ids import DEFAULT_TEMPLATE, KeyTemplate
from memxfer.models import MemoryRecord, parse_time
from memxfer.spi import MemoryProvider, Partition, Role

__all__ = ["Comparison", "Store", "compare_stores", "compare_truth", "read_store"]

_MARK = "memxfer"


@dataclass(frozen=True)
class Store:
    """All records of a store, and the keys they get in a target."""

    records: Mapping[str, MemoryRecord]
    keys: KeyTemplate


@dataclass(frozen=True)
class Comparison:
    """How two sides compare.

    Attributes:
        compared: Records of the source.
        matched: Those that are the same on the other side.
        problems: The others, id to what differs; and what should not be there.
    """

    compared: int
    matched: int
    problems: Mapping[str, str]


async def read_store(connection: Connection) -> Store:
    """Read every record of a connection through its provider."""
    provider = connection.open()
    try:
        await provider.connect(Role.SOURCE)
        records = {
            record.id: record
            async for partition in provider.list_partitions()
            for record in await _read(provider, partition)
        }
        store = provider.store()
    finally:
        await provider.aclose()
    return Store(records, KeyTemplate(DEFAULT_TEMPLATE, provider=store.provider, namespace=store.namespace))


async def _read(provider: MemoryProvider[Any], partition: Partition) -> list[MemoryRecord]:
    paging = provider.capabilities().paging
    limit = paging.max_page if paging else 100
    found: list[MemoryRecord] = []
    cursor: str | None = None
    while True:
        page = await provider.read_page(partition, cursor, limit)
        found += page.records
        cursor = page.next_cursor
        if cursor is None:
            return found


def compare_truth(source: Store, documents: Iterable[Mapping[str, Any]]) -> Comparison:
    """Compare a source with the documents that an emulator of Synap says it holds."""
    expected = {source.keys.key(record): record for record in source.records.values()}
    problems = {}
    seen = set()
    for document in documents:
        key = document["document_id"]
        seen.add(key)
        differences = list(_differences(expected[key], document)) if key in expected else ["nobody sent it"]
        if differences:
            problems[key] = "; ".join(differences)
    problems |= dict.fromkeys(expected.keys() - seen, "it is not there")
    return Comparison(len(expected), len(expected.keys() - problems.keys()), problems)


def _as_said(record: MemoryRecord) -> str:
    """Return the text of a memory; a turn arrives under the label of its speaker."""
    lines = [f"{turn.role.capitalize()}: {turn.content}" for turn in record.messages]
    return "\n".join(lines) or record.content


def _differences(record: MemoryRecord, document: Mapping[str, Any]) -> Iterator[str]:
    sent = document["document"]
    if document["times_stored"] != 1:
        yield f"stored {document['times_stored']} times"
    if sent["document"] != _as_said(record):
        yield "other content"
    created_at = sent["document_created_at"]
    if (parse_time(created_at) if created_at else None) != record.created_at:
        yield "other created_at"
    if document["scope"]["user_id"] != record.scope.user:
        yield "other user"
    if any(sent["metadata"].get(name) != value for name, value in record.metadata.items()):
        yield "other metadata"


def compare_stores(source: Store, copy: Store) -> Comparison:
    """Compare two stores that should hold the same records, field by field, earlier versions included.

    The mark that memxfer leaves on what it wrote, to find it again, is not looked at.
    """
    copied = {record_id: _unmarked(record) for record_id, record in copy.records.items()}
    problems = {
        record_id: _changed_fields(record, copied.get(record_id))
        for record_id, record in source.records.items()
        if record != copied.get(record_id)
    }
    problems |= dict.fromkeys(copied.keys() - source.records.keys(), "nobody wrote it")
    return Comparison(len(source.records), len(source.records.keys() - problems.keys()), problems)


def _unmarked(record: MemoryRecord) -> MemoryRecord:
    others = {name: value for name, value in record.extensions.items() if name != _MARK}
    return msgspec.structs.replace(record, extensions=others)


def _changed_fields(record: MemoryRecord, other: MemoryRecord | None) -> str:
    if other is None:
        return "it is not there"
    changed = (name for name in record.__struct_fields__ if getattr(record, name) != getattr(other, name))
    return f"other {', '.join(changed)}"
