"""Records as rows of a graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from memxfer.spi import (
    Document,
    MemoryRecord,
    Prepared,
    RecordError,
    Refused,
    Relation,
    Scope,
    Skipped,
    Validity,
    sanitise_record,
    stable_uuid,
)
from memxfer_graphiti.config import ASSIGN, NAME, SHARED, GraphitiConfig
from memxfer_graphiti.extras import attribute_for, made_of, seen_of
from memxfer_graphiti.mapping import HAS_MEMORY, plain_episode, plain_fact
from memxfer_graphiti.rows import COLUMNS, Episode, Fact, Node
from memxfer_graphiti.scopes import SHARED_GROUPS, group_of, owner_of, scope_name

__all__ = ["UNDATED", "document_of"]

UNDATED: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""What a row without any date gets, since Graphiti cannot read one without; never the day of the move."""

_FACT_KINDS: Final = ("fact", "preference")
_TURNS: Final = ("message", "conversation")
_EVERYBODY: Final = "everybody"
_ROW_BYTES: Final = 400
_is_label = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_PLAIN_VALUES: Final = (str, bool, int, float)


def document_of(
    record: MemoryRecord,
    key: str,
    envelope: Mapping[str, Any],
    *,
    config: GraphitiConfig,
    has_reference_time: bool = True,
) -> Prepared:
    """Map one record to one row, or say why not.

    Args:
        record: The record.
        key: Its document key; the uuid of the row is made from it.
        envelope: What Graphiti has no place for.
        config: The connection's decisions.
        has_reference_time: The table of facts has that column; graphs of graphiti-core before 0.29 do not.

    Returns:
        A `Document` with a `Fact` or `Episode` as body; `Skipped` by decision (`unscoped`); or `Refused`
        with remedies, code `unscoped`.

    Raises:
        RecordError: The record can never be stored (`unencodable`).
    """
    decided = _with_owner(sanitise_record(record), config)
    if not isinstance(decided, MemoryRecord):
        return decided
    try:
        body = _Rows(config, has_reference_time=has_reference_time).row(decided, key, envelope)
        return _document(decided, record.id, key, body, config)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        reason = f"the record holds what a graph cannot carry ({type(error).__name__})"
        raise RecordError(reason, provider=NAME, operation="prepare", code="unencodable") from error


def _with_owner(record: MemoryRecord, config: GraphitiConfig) -> MemoryRecord | Prepared:
    if owner_of(record.scope) != Scope() or config.unscoped == SHARED:
        return record
    if config.unscoped == "skip":
        return Skipped("unscoped")
    if config.unscoped is None:
        remedies = tuple(f'unscoped = "{word}"' for word in ("skip", "assign:USER", "shared"))
        error = RecordError(
            "a graph is some owner's, and this record names nobody",
            provider=NAME,
            operation="prepare",
            code="unscoped",
        )
        return Refused(error, remedies)
    scope = msgspec.structs.replace(record.scope, user=config.unscoped.removeprefix(ASSIGN))
    return msgspec.structs.replace(record, scope=scope)


def _document(
    record: MemoryRecord, record_id: str, key: str, body: Fact | Episode, config: GraphitiConfig
) -> Document:
    owner = owner_of(record.scope)
    return Document(
        key=key,
        record_id=record_id,
        body=body,
        size=len(msgspec.json.encode(body)) + _ROW_BYTES,
        scope=scope_name(owner),
        changes=_changes(record, body, config),
        owner=owner,
    )


def _changes(record: MemoryRecord, body: Fact | Episode, config: GraphitiConfig) -> tuple[str, ...]:
    words = []
    if record.created_at is None and (record.validity is None or record.validity.recorded_at is None):
        words.append("undated")
    if isinstance(body, Fact) and attribute_for(()) in record.metadata:
        words.append("attribute_taken")
    if isinstance(body, Fact) and record.occurred_at is not None and body.reference_time is None:
        words.append("no_reference_time")
    if config.engine == "falkordb" and "\x00" in record.content:
        words.append("nul_removed")
    return tuple(words)


class _Rows:
    """Makes the rows of one connection."""

    def __init__(self, config: GraphitiConfig, *, has_reference_time: bool) -> None:
        self._config = config
        self._has_reference_time = has_reference_time
        self._is_flat = config.engine != "kuzu"

    def row(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Fact | Episode:
        """Return the row of a record."""
        group, owner = self._group(owner_of(record.scope))
        if self._config.write == "fact" or (self._config.write == "auto" and _is_fact(record)):
            return self._fact(record, key, envelope, group=group, owner=owner)
        return self._episode(record, key, envelope, group)

    def _group(self, owner: Scope) -> tuple[str, str]:
        """Return the group id, and a name for the node that stands for the owner."""
        if owner == Scope():
            return SHARED_GROUPS[self._config.engine == "falkordb"], _EVERYBODY
        axis = scope_name(owner)
        return group_of(owner, plain=self._config.group_is), str(getattr(owner, axis))

    def _fact(
        self, record: MemoryRecord, key: str, envelope: Mapping[str, Any], *, group: str, owner: str
    ) -> Fact:
        relation = record.relations[0] if record.relations else None
        validity = record.validity or Validity()
        attributes = {name: value for name, value in record.metadata.items() if self._is_plain(name, value)}
        told = relation or Relation(subject=owner, predicate=HAS_MEMORY, object=record.kind)
        bare = Fact(
            uuid=stable_uuid(key),
            group_id=group,
            name=self._text(told.predicate),
            fact=self._text(_text_of(record)),
            source=self._node(group, told.subject, told.subject_id, told.attributes.get("subject_labels")),
            target=self._node(group, told.object, told.object_id, told.attributes.get("object_labels")),
            created_at=validity.recorded_at or _date_of(record, validity.valid_from),
            valid_at=validity.valid_from,
            invalid_at=validity.valid_to,
            expired_at=validity.invalidated_at,
            reference_time=record.occurred_at if self._has_reference_time else None,
            episodes=_uuids(record, "episode_uuids"),
        )
        extras = made_of(
            record,
            plain_fact(bare, attributes, plain=self._config.group_is),
            key=key,
            seen=seen_of(bare, attributes),
            metadata={name: value for name, value in record.metadata.items() if name not in attributes},
            envelope=envelope,
        )
        mine = {attribute_for(record.metadata): extras.text()}
        return msgspec.structs.replace(bare, attributes={**attributes, **mine})

    def _episode(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any], group: str) -> Episode:
        bare = Episode(
            uuid=stable_uuid(key),
            group_id=group,
            name=key,
            source="message" if record.kind in _TURNS or record.messages else "text",
            source_description="",
            content=self._text(_text_of(record)),
            created_at=_date_of(record),
            valid_at=record.occurred_at or _date_of(record),
            entity_edges=_uuids(record, "entity_edges"),
        )
        extras = made_of(
            record,
            plain_episode(bare, plain=self._config.group_is, key=key),
            key=key,
            seen=seen_of(bare),
            metadata=record.metadata,
            envelope=envelope,
        )
        return msgspec.structs.replace(bare, source_description=extras.text())

    def _node(self, group: str, name: str, identifier: str | None, labels: Any) -> Node:
        """Return an end: the source's own node where it has a uuid, else one per name and group."""
        uuid = identifier if identifier and _is_uuid(identifier) else stable_uuid("node", group, name)
        given = labels if isinstance(labels, list) else ()
        plain = [label for label in given if isinstance(label, str) and _is_label(label)]
        return Node(uuid=uuid, name=self._text(name), labels=tuple(sorted({*plain} - {"Entity"})))

    def _is_plain(self, name: str, value: Any) -> bool:
        """Tell whether metadata can be an attribute of its own: on Kuzu any, on servers a scalar."""
        if not self._is_flat:
            return True
        if name in COLUMNS or not name or "\x00" in name or "`" in name:
            return False
        return type(value) in _PLAIN_VALUES and not (isinstance(value, str) and "\x00" in value)

    def _text(self, text: str) -> str:
        """Return a text that the engine takes: FalkorDB has no NUL."""
        return text.replace("\x00", "") if self._config.engine == "falkordb" else text


def _is_fact(record: MemoryRecord) -> bool:
    return bool(record.relations) or record.validity is not None or record.kind in _FACT_KINDS


def _text_of(record: MemoryRecord) -> str:
    """Return the text to store: the content, or the turns with speaker labels where there is none."""
    if record.content.strip() or not record.messages:
        return record.content
    return "\n".join(f"{message.role.capitalize()}: {message.content}" for message in record.messages)


def _date_of(record: MemoryRecord, *more: datetime | None) -> datetime:
    dates = (record.created_at, record.updated_at, record.occurred_at, *more)
    return next((date for date in dates if date is not None), UNDATED)


def _uuids(record: MemoryRecord, name: str) -> tuple[str, ...]:
    """Return ids of the provenance; all or none, and none that a list in one text could not hold."""
    found = record.provenance.get(name)
    if isinstance(found, list) and all(isinstance(one, str) and one and "," not in one for one in found):
        return tuple(found)
    return ()


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
