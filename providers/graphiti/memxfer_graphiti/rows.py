"""Rows of a graph as memxfer speaks of them, whatever engine they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from memxfer.spi import ensure_utc, parse_time

__all__ = ["COLUMNS", "Episode", "Fact", "Node", "Summary", "episode_of", "fact_of", "row_of", "summary_of"]

COLUMNS: Final = frozenset(
    {
        *("uuid", "name", "group_id", "fact", "fact_embedding", "name_embedding", "episodes", "summary"),
        *("created_at", "valid_at", "invalid_at", "expired_at", "reference_time", "labels"),
        *("source_uuid", "target_uuid", "source_node_uuid", "target_node_uuid"),
    }
)
"""Names that are Graphiti's own among the properties of an edge or node on a server.

FalkorDB gives `source_uuid` and `target_uuid` back among the attributes (graphiti-core 0.31.1).
"""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a fact."""

    uuid: str
    name: str
    labels: tuple[str, ...] = ()


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """An edge between two entities.

    Times are aware UTC; they are `bad_times` where they are none. `columns` are those that Graphiti does not
    have, here and in the rows below.
    """

    uuid: str
    group_id: str
    name: str
    fact: str
    source: Node
    target: Node
    created_at: datetime | None = None
    valid_at: datetime | None = None
    invalid_at: datetime | None = None
    expired_at: datetime | None = None
    reference_time: datetime | None = None
    episodes: tuple[str, ...] = ()
    attributes: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    bad_times: dict[str, str] = {}


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """A raw text as it was sent in."""

    uuid: str
    group_id: str
    name: str
    source: str
    source_description: str
    content: str
    created_at: datetime | None = None
    valid_at: datetime | None = None
    entity_edges: tuple[str, ...] = ()
    columns: dict[str, Any] = {}
    bad_times: dict[str, str] = {}


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of an entity or a community; most entities have no summary."""

    uuid: str
    group_id: str
    name: str
    summary: str
    is_entity: bool
    labels: tuple[str, ...] = ()
    created_at: datetime | None = None
    attributes: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    bad_times: dict[str, str] = {}


_FACT_TIMES: Final = ("created_at", "valid_at", "invalid_at", "expired_at", "reference_time")


def fact_of(row: Mapping[str, Any]) -> Fact:
    """Read an edge.

    Raises:
        ValueError: It has no uuid or no text.
    """
    times, bad = _times(row, _FACT_TIMES)
    return Fact(
        uuid=_required(row, "uuid"),
        group_id=_text(row, "group_id"),
        name=_text(row, "name"),
        fact=_required(row, "fact"),
        source=_node(row, "source"),
        target=_node(row, "target"),
        episodes=_texts(row, "episodes"),
        attributes=_attributes(row),
        columns=row.get("columns") or {},
        bad_times=bad,
        **times,
    )


def episode_of(row: Mapping[str, Any]) -> Episode:
    """Read an episode.

    Raises:
        ValueError: It has no uuid or no text.
    """
    times, bad = _times(row, ("created_at", "valid_at"))
    return Episode(
        uuid=_required(row, "uuid"),
        group_id=_text(row, "group_id"),
        name=_text(row, "name"),
        source=_text(row, "source"),
        source_description=_text(row, "source_description"),
        content=_required(row, "content"),
        entity_edges=_texts(row, "entity_edges"),
        columns=row.get("columns") or {},
        bad_times=bad,
        **times,
    )


def summary_of(row: Mapping[str, Any], *, is_entity: bool) -> Summary:
    """Read an entity or a community.

    Raises:
        ValueError: It has no uuid.
    """
    times, bad = _times(row, ("created_at",))
    return Summary(
        uuid=_required(row, "uuid"),
        group_id=_text(row, "group_id"),
        name=_text(row, "name"),
        summary=_text(row, "summary"),
        is_entity=is_entity,
        labels=_labels(row, "labels"),
        attributes=_attributes(row) if is_entity else {},
        columns=row.get("columns") or {},
        bad_times=bad,
        **times,
    )


def row_of(table: str, row: Mapping[str, Any]) -> Fact | Episode | Summary:
    """Read a row of one of the tables `facts`, `episodes`, `entities` and `communities`."""
    if table == "facts":
        return fact_of(row)
    return episode_of(row) if table == "episodes" else summary_of(row, is_entity=table == "entities")


def _required(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or (name == "uuid" and not value):
        raise ValueError(f"the row has no {name}")
    return value


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _texts(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = row.get(name)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list | tuple) else ()


def _labels(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the labels but `Entity`, which every entity has."""
    return tuple(sorted(label for label in _texts(row, name) if label != "Entity"))


def _node(row: Mapping[str, Any], end: str) -> Node:
    return Node(
        uuid=_text(row, f"{end}_uuid"), name=_text(row, f"{end}_name"), labels=_labels(row, f"{end}_labels")
    )


def _attributes(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes: JSON text on Kuzu; elsewhere all properties, Graphiti's own among them."""
    found = row.get("attributes")
    if isinstance(found, str):
        try:
            found = json.loads(found) if found else {}
        except (ValueError, RecursionError):
            return {"attributes": found}
        return found if isinstance(found, dict) else {"attributes": found}
    properties = dict(found or {})
    return {name: value for name, value in properties.items() if name not in COLUMNS and value is not None}


def _times(row: Mapping[str, Any], names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    times: dict[str, Any] = {}
    bad: dict[str, str] = {}
    for name in names:
        value = row.get(name)
        if value is None:
            continue
        try:
            times[name] = _moment(value)
        except (ValueError, TypeError, AttributeError):
            bad[name] = str(value)
    return times, bad


def _moment(value: Any) -> datetime:
    """Return a time of any engine in UTC: Kuzu gives naive ones, FalkorDB text, Neo4j its own type."""
    if isinstance(value, str):
        return parse_time(value, assume_utc=True)
    if not isinstance(value, datetime):
        value = value.to_native()
    return ensure_utc(value if value.tzinfo else value.replace(tzinfo=UTC))
