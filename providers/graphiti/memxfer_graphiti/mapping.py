"""What a row of a graph means as a memory: the same shape as a fact or episode of Zep's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from memxfer.spi import Ignored, MemoryRecord, RecordState, Relation, Validity
from memxfer_graphiti.config import OwnerAxis
from memxfer_graphiti.extras import Extras, find_in, parse, restored, seen_of
from memxfer_graphiti.rows import Episode, Fact, Summary
from memxfer_graphiti.scopes import owner_of, scope_of

__all__ = ["HAS_MEMORY", "has_ended", "plain_episode", "plain_fact", "record_of"]

HAS_MEMORY: Final = "HAS_MEMORY"
"""Relation between an owner and a memory that relates nothing; the other end is named by its kind."""

_SOURCE_OF_FACTS: Final = "fact_triple"
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_FACT_COLUMNS: Final = frozenset(
    {"content", "created_at", "updated_at", "occurred_at", "validity", "state", "relations", "provenance"}
)
_EPISODE_COLUMNS: Final = frozenset({"content", "created_at", "occurred_at"})


def record_of(row: Fact | Episode | Summary, *, now: datetime, plain: OwnerAxis) -> MemoryRecord | Ignored:
    """Return what a row means, or why it is no memory of its own.

    No memories: episodes that only stand for a fact (`fact_source`), and entities and communities without a
    summary (`no_summary`). Harmless, but for entities that have attributes.

    Args:
        row: The row.
        now: The time of day; a fact whose validity ended before is superseded.
        plain: Whose id a plain group id is.

    Raises:
        ValueError: The row is of a later memxfer.
    """
    if isinstance(row, Fact):
        return _fact(row, now, plain)
    return _episode(row, plain) if isinstance(row, Episode) else _summary(row, plain)


def has_ended(record: MemoryRecord, now: datetime) -> bool:
    """Tell whether a fact is not true any more."""
    return record.state is not RecordState.ACTIVE or _is_over(record.validity or Validity(), now)


def _is_over(validity: Validity, now: datetime) -> bool:
    return validity.invalidated_at is not None or (validity.valid_to is not None and validity.valid_to <= now)


# -- facts ------------------------------------------------------------------------------------


def _fact(row: Fact, now: datetime, plain: OwnerAxis) -> MemoryRecord:
    extras, attributes = find_in(row.attributes, row.uuid)
    if extras is None:
        return plain_fact(row, attributes, now=now, plain=plain)
    is_untouched = extras.seen == seen_of(row, attributes)
    # What was active when it was written is told so again; the clock has no say in it.
    base = plain_fact(row, attributes, now=_BEGINNING if is_untouched else now, plain=plain)
    return _restored(base, extras, is_untouched=is_untouched, columns=_FACT_COLUMNS)


def plain_fact(
    row: Fact, attributes: dict[str, Any], *, now: datetime = _BEGINNING, plain: OwnerAxis
) -> MemoryRecord:
    """Return what the columns of a fact tell.

    Args:
        row: The fact.
        attributes: Its attributes, without memxfer's own.
        now: The time of day.
        plain: Whose id a plain group id is.
    """
    validity = Validity(
        valid_from=row.valid_at,
        valid_to=row.invalid_at,
        recorded_at=row.created_at,
        invalidated_at=row.expired_at,
    )
    is_superseded = _is_over(validity, now) or "expired_at" in row.bad_times
    return MemoryRecord(
        id=row.uuid,
        content=row.fact,
        kind="fact",
        scope=scope_of(row.group_id, plain=plain),
        metadata=attributes,
        created_at=row.created_at,
        updated_at=row.expired_at,
        occurred_at=row.reference_time,
        validity=validity,
        state=RecordState.SUPERSEDED if is_superseded else RecordState.ACTIVE,
        relations=(_relation(row),),
        provenance={"episode_uuids": list(row.episodes)} if row.episodes else {},
        extensions=_extensions(row),
    )


def _relation(row: Fact) -> Relation:
    labels = {"subject_labels": row.source.labels, "object_labels": row.target.labels}
    return Relation(
        subject=row.source.name or row.source.uuid,
        predicate=row.name,
        object=row.target.name or row.target.uuid,
        subject_id=row.source.uuid,
        object_id=row.target.uuid,
        attributes={name: list(value) for name, value in labels.items() if value},
    )


# -- episodes ---------------------------------------------------------------------------------


def _episode(row: Episode, plain: OwnerAxis) -> MemoryRecord | Ignored:
    if row.source == _SOURCE_OF_FACTS:
        return Ignored("fact_source", row.uuid, harmless=True)
    extras = parse(row.source_description, row.uuid)
    base = plain_episode(row, plain=plain, key=extras.key if extras else None)
    if extras is None:
        return base
    return _restored(base, extras, is_untouched=extras.seen == seen_of(row), columns=_EPISODE_COLUMNS)


def plain_episode(row: Episode, *, plain: OwnerAxis, key: str | None = None) -> MemoryRecord:
    """Return what the columns of an episode tell.

    Args:
        row: The episode.
        plain: Whose id a plain group id is.
        key: Its document key, where memxfer wrote it: then name and description are memxfer's.
    """
    description = None if key else row.source_description
    provenance = {
        "source": row.source,
        "source_description": description,
        "entity_edges": list(row.entity_edges),
    }
    return MemoryRecord(
        id=row.uuid,
        content=row.content,
        kind="message" if row.source == "message" else "episode",
        scope=scope_of(row.group_id, plain=plain),
        created_at=row.created_at,
        occurred_at=row.valid_at,
        provenance={name: value for name, value in provenance.items() if value},
        extensions=_extensions(row, name=row.name if row.name != key else ""),
    )


# -- summaries --------------------------------------------------------------------------------


def _summary(row: Summary, plain: OwnerAxis) -> MemoryRecord | Ignored:
    if not row.summary:
        return Ignored("no_summary", row.uuid, harmless=not row.attributes)
    return MemoryRecord(
        id=row.uuid,
        content=f"{row.name}: {row.summary}" if row.name else row.summary,
        kind="entity" if row.is_entity else "summary",
        scope=scope_of(row.group_id, plain=plain),
        metadata=row.attributes,
        tags=row.labels,
        created_at=row.created_at,
        extensions=_extensions(row, name=row.name),
    )


# -- all of them ------------------------------------------------------------------------------


def _restored(
    base: MemoryRecord, extras: Extras, *, is_untouched: bool, columns: frozenset[str]
) -> MemoryRecord:
    """Return the record of a row; one that was given to another group belongs to that group alone."""
    record = restored(base, extras, is_untouched=is_untouched, columns=columns)
    if is_untouched or owner_of(record.scope) == owner_of(base.scope):
        return record
    return restored(base, extras, is_untouched=False, columns=columns | {"scope"})


def _extensions(row: Fact | Episode | Summary, *, name: str = "") -> dict[str, dict[str, Any]]:
    found = {"name": name, "unreadable_times": row.bad_times, "columns": row.columns}
    left = {name: value for name, value in found.items() if value}
    return {"graphiti": left} if left else {}
