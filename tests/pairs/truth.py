"""What a target really holds, read past memxfer: from its files, its database, its server's own dump."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from dateutil.parser import isoparse

from memxfer.archive import ArchiveReader
from memxfer.models import MemoryRecord
from memxfer_memory import MemoryStore

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@dataclass(frozen=True)
class Row:
    """One memory in a store.

    Attributes:
        text: What it says.
        user: Whose it is.
        when: When it was, as the store says; `None` where it cannot say.
        metadata: What lies beside it.
    """

    text: str
    user: str | None
    when: datetime | None
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, record: MemoryRecord) -> "Row":
        """Return a record as a row."""
        return cls(record.content, record.scope.user, record.created_at, record.metadata)


def expected(target: str, record: MemoryRecord) -> Row:
    """Return what a target has to hold of a record that it takes whole as far as a row goes."""
    when = record.created_at
    if when is not None and target == "mem0":
        when = when.replace(microsecond=0)  # seconds since the epoch are what the platform takes
    if target == "synap":
        when = record.occurred_at or when
    if target == "graphiti" and record.validity is not None:
        when = record.validity.recorded_at or when  # the record's own lies beside it
    if target == "zep":
        when = None  # a fact's own date cannot be set; when it held can, and is compared by itself
    return Row(record.content, record.scope.user, when, plain(record.metadata))


def plain(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata that every store takes as it is."""
    return {name: value for name, value in metadata.items() if isinstance(value, str | int | bool)}


def rows_of(pairs: Any, target: str) -> list[Row]:
    """Return what the empty store of this provider holds by now."""
    return list(_READERS[target](pairs))


def _archive(pairs: Any) -> Iterator[Row]:
    for line in ArchiveReader(pairs.folder / "empty").records():
        yield Row.of(line.record)


def _memory(pairs: Any) -> Iterable[Row]:
    return [Row.of(row.record) for row in MemoryStore.named("empty").rows()]


def _mem0_oss(pairs: Any) -> Iterator[Row]:
    from qdrant_client import QdrantClient

    client = QdrantClient(path=str(pairs.folder / "mem0-empty" / "qdrant"))
    try:
        points, _ = client.scroll("app", limit=10_000, with_payload=True)
    finally:
        client.close()
    for point in points:
        payload = point.payload or {}
        yield Row(payload["data"], payload.get("user_id"), isoparse(payload["created_at"]), payload)


def _mem0(pairs: Any) -> Iterator[Row]:
    for one in pairs.server_of("mem0").admin.documents():
        yield Row(one["memory"], one["user_id"], isoparse(one["created_at"]), one["metadata"] or {})


def _synap(pairs: Any) -> Iterator[Row]:
    for one in pairs.server_of("synap").admin.documents():
        for _ in range(one["times_stored"]):
            sent = one["document"]
            when = isoparse(sent["document_created_at"])
            yield Row(sent["document"], sent["user_id"], when, sent["metadata"])


def _graphiti(pairs: Any) -> Iterator[Row]:
    from memxfer_graphiti.sdk import import_sdk

    kuzu = import_sdk("kuzu")
    with kuzu.Database(pairs.folder / "empty.kuzu") as database, kuzu.Connection(database) as connection:
        facts = connection.execute(
            "MATCH (e:RelatesToNode_) RETURN e.fact, e.group_id, e.created_at, e.attributes"
        )
        episodes = connection.execute(
            "MATCH (e:Episodic) RETURN e.content, e.group_id, e.created_at, e.source_description"
        )
        for text, group, created_at, beside in [*facts, *episodes]:
            yield Row(text, group_owner(group), created_at.replace(tzinfo=UTC), _beside(beside))


def group_owner(group: str) -> str | None:
    """Return the user whose group it is: as it is, or `mx_u-` with two hex digits for each odd byte."""
    if not group.startswith("mx_"):
        return group
    if not group.startswith("mx_u-"):
        return None
    odd = re.compile("_([0-9A-F]{2})").sub(lambda found: f"%{found[1]}", group.removeprefix("mx_u-"))
    return unquote(odd)


def _beside(text: str) -> dict[str, Any]:
    found = json.loads(text)
    return {**found, **found.get("record", {}).get("metadata", {})}


def _zep(pairs: Any) -> Iterator[Row]:
    every = list(pairs.server_of("zep").admin.documents())
    users = {
        one["document"]["graph_uuid"]: one["document"]["user_id"] for one in every if one["kind"] == "user"
    }
    for one in every:
        row = one["document"]
        owner = users.get(row.get("graph_uuid"))
        if one["kind"] == "edge":
            yield Row(row["fact"], owner, None, row["attributes"])
        elif one["kind"] == "episode" and row["source"] == "text":
            yield Row(row["content"], owner, None, row["metadata"])


_READERS: dict[str, Callable[[Any], Iterable[Row]]] = {
    "archive": _archive,
    "graphiti": _graphiti,
    "mem0": _mem0,
    "mem0-oss": _mem0_oss,
    "memory": _memory,
    "synap": _synap,
    "zep": _zep,
}


def differences(found: Iterable[Row], wanted: Iterable[Row]) -> str:
    """Return in words what differs between two sets of rows; empty when nothing does."""
    have: dict[str, list[Row]] = {}
    for row in found:
        have.setdefault(row.text, []).append(row)
    said = []
    for row in wanted:
        rows = have.pop(row.text, [])
        if len(rows) != 1:
            said.append(f"{len(rows)} times instead of once: {row.text}")
            continue
        [other] = rows
        if other.user != row.user:
            said.append(f"belongs to {other.user!r}, not {row.user!r}: {row.text}")
        if other.when != row.when:
            said.append(f"is of {other.when}, not {row.when}: {row.text}")
        missing = {name for name, value in row.metadata.items() if other.metadata.get(name) != value}
        if missing:
            said.append(f"lacks {json.dumps(sorted(missing))}: {row.text}")
    said.extend(f"nobody sent it: {text}" for text in have)
    return "\n".join(said)
