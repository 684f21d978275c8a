"""What a graph keeps: read by unit, written as facts or episodes."""

from __future__ import annotations

from typing import Final

from memxfer.spi import (
    Axis,
    Capabilities,
    Channel,
    ClientKey,
    CustomExtension,
    Dimension,
    DocumentChange,
    Identity,
    Level,
    Limits,
    Paging,
    ReadTime,
    Writing,
)
from memxfer_graphiti.config import GraphitiConfig, Unit, WriteAs

__all__ = ["MAX_BATCH", "MAX_PAGE", "capabilities_of"]

MAX_PAGE: Final = 1000
MAX_BATCH: Final = 500

_EVERYTHING_READ: Final[tuple[Dimension, ...]] = tuple(
    dimension
    for dimension in Dimension
    if dimension not in (Dimension.PACKAGING, Dimension.SEARCH, Dimension.EMBEDDINGS)
)
"""Rows that memxfer wrote give back all of this; others what their columns tell."""

_SUMMARY_READ: Final = (
    *(Dimension.CONTENT, Dimension.IDS, Dimension.CREATED_AT, Dimension.KIND, Dimension.METADATA),
    *(Dimension.TAGS, Dimension.EXTENSIONS, Dimension.SANITISED),
    *(Dimension.USER, Dimension.GROUP, Dimension.APP, Dimension.TENANT, Dimension.AGENT, Dimension.SESSION),
)
_WRITTEN: Final = (
    *(Dimension.CONTENT, Dimension.CREATED_AT, Dimension.OCCURRED_AT, Dimension.METADATA),
    *(Dimension.PROVENANCE, Dimension.KIND),
    *(Dimension.USER, Dimension.GROUP, Dimension.APP, Dimension.TENANT),
)
_FACTS_ONLY: Final = (Dimension.VALIDITY, Dimension.RELATIONS)
_KEPT_ASIDE: Final = (
    *(Dimension.UPDATED_AT, Dimension.EXPIRY, Dimension.INACTIVE, Dimension.VERSIONS, Dimension.EXTENSIONS),
    *(Dimension.AGENT, Dimension.SESSION, Dimension.TAGS, Dimension.MESSAGES, Dimension.PINNING),
    *(Dimension.SCORES, Dimension.ATTACHMENTS, Dimension.VISIBILITY, Dimension.DERIVED),
)
_NOTES: Final[dict[Dimension, str]] = {
    Dimension.IDS: "the uuid is made from the document key, and the same on every run",
    Dimension.METADATA: "attributes of a fact; an episode has none, and carries it in its source_description",
    Dimension.PROVENANCE: "episode_uuids are the fact's own; the rest is kept in the attribute memxfer",
    Dimension.KIND: "names the other end of a fact that relates nothing; read back as it was",
    Dimension.AGENT: "on the row; a group of its own only where no user, app, group or tenant is named",
    Dimension.SESSION: "on the row; a group of its own only where nobody else is named",
    Dimension.INACTIVE: "facts with invalid_at or expired_at are not current in Graphiti; other states it "
    "does not know",
    Dimension.UPDATED_AT: "on foreign facts, when they were superseded; Graphiti notes no other change",
    Dimension.RELATIONS: "the first is the edge, others are kept in the attribute memxfer",
    Dimension.SEARCH: "found by meaning only after the app has embedded them",
    Dimension.EMBEDDINGS: "neither read nor written",
    Dimension.VERSIONS: "Graphiti has none: a superseded fact is a fact of its own",
}
_CHANGES: Final = {
    "undated": DocumentChange(
        dimension=Dimension.CREATED_AT,
        text="have no date of creation; a row of {target} must have one: their next best date, or 1970",
    ),
    "attribute_taken": DocumentChange(
        dimension=Dimension.METADATA,
        text="have an attribute named memxfer of their own; it stays, and what memxfer adds is named "
        "memxfer_record in {target}",
    ),
    "no_reference_time": DocumentChange(
        dimension=Dimension.OCCURRED_AT,
        text="say when they occurred, for which the facts of {target} have no column (it was made by "
        "graphiti-core before 0.29); kept in the attribute memxfer",
    ),
    "nul_removed": DocumentChange(
        dimension=Dimension.CONTENT,
        text="hold NUL characters, which {target} leaves out of the text; memxfer reads it back as it was",
    ),
}
_CUSTOM: Final = {
    "graphiti.name": CustomExtension(
        carried="per_record", description="name of an episode, entity or community"
    ),
    "graphiti.columns": CustomExtension(
        carried="per_record", description="columns of the graph's tables that Graphiti 0.31 does not have"
    ),
    "graphiti.unreadable_times": CustomExtension(
        carried="per_record", description="times that are no times, as the graph has them"
    ),
}


def capabilities_of(config: GraphitiConfig) -> Capabilities:
    """Return what a connection of these settings keeps."""
    owners = frozenset(Axis)
    required = () if config.unscoped else tuple(frozenset({axis}) for axis in sorted(Axis))
    return Capabilities(
        dimensions={dimension: _channel(dimension, config.unit, config.write) for dimension in Dimension},
        identity=Identity(axes=owners, required_to_write=required),
        paging=Paging(style="keyset", insert_safe=True, delete_safe=True, max_page=MAX_PAGE),
        writing=Writing(
            max_batch=MAX_BATCH, client_key=ClientKey.UPSERT, backdates="microsecond", rollback="id"
        ),
        # A Kuzu database takes one writer at a time.
        limits=Limits(concurrency=1 if config.engine == "kuzu" else None),
        read_time=ReadTime(search=True),
        custom=_CUSTOM,
        changes=_CHANGES,
    )


def _channel(dimension: Dimension, unit: Unit, write: WriteAs) -> Channel:
    read = dimension in (_SUMMARY_READ if unit == "summaries" else _EVERYTHING_READ)
    return Channel(
        read=Level.NATIVE if read else Level.NONE,
        write=_write_level(dimension, write),
        note=_NOTES.get(dimension, ""),
    )


def _write_level(dimension: Dimension, write: WriteAs) -> Level:
    if dimension in _WRITTEN or (dimension in _FACTS_ONLY and write != "episode"):
        return Level.NATIVE
    if dimension in (Dimension.IDS, Dimension.SANITISED):
        return Level.LOSSY
    return Level.ENVELOPE if dimension in (*_KEPT_ASIDE, *_FACTS_ONLY) else Level.NONE
