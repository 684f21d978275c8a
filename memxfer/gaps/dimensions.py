"""One row per dimension: how to see it in a record, what of it an envelope carries, what losing it means.

Detectors, envelopes and report texts all read this table, so a dimension that is counted is also
the one that is enveloped and the one that is explained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import msgspec

from memxfer.capabilities import Dimension, DimensionGroup
from memxfer.models import MemoryRecord, RecordState, format_time

__all__ = ["RULES", "Rule", "foreign_extensions", "is_inactive"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How one dimension is treated.

    Attributes:
        dimension: Which.
        group: Where it stands in a report.
        carried: Returns what a record carries of it, as JSON values; `None` if nothing.
        noun: What such records have: `{records} memories have {noun}`.
        lost: What it means when the target cannot hold it, following `{target}`.
        approximated: What it means when the target holds it imperfectly, following `{target}`.
        name: Its key in the envelope; empty where an envelope makes no sense.
        unused: What it means that the target keeps it in the envelope and does not act on it,
            following `{target}`; empty where that says it all.
    """

    dimension: Dimension
    group: DimensionGroup
    carried: Callable[[MemoryRecord], Any]
    noun: str
    lost: str
    approximated: str
    name: str = ""
    unused: str = ""


def _builtins(value: Any) -> Any:
    return msgspec.to_builtins(value) if value else None


def _scope(axis: str) -> Callable[[MemoryRecord], Any]:
    return lambda record: getattr(record.scope, axis)


def _time(name: str) -> Callable[[MemoryRecord], Any]:
    def carried(record: MemoryRecord) -> Any:
        value = getattr(record, name)
        return format_time(value) if value else None

    return carried


def _scores(record: MemoryRecord) -> Any:
    scores = {"importance": record.importance, "confidence": record.confidence}
    return {name: value for name, value in scores.items() if value is not None} or None


def _kind(record: MemoryRecord) -> Any:
    return record.kind if record.kind != "fact" else None


def is_inactive(record: MemoryRecord) -> bool:
    """Tell whether a record is not current, beyond what its expiry date says by itself."""
    if record.superseded_by is not None:
        return True
    if record.state is RecordState.EXPIRED:
        return record.expires_at is None
    return record.state is not RecordState.ACTIVE


def _state(record: MemoryRecord) -> Any:
    if record.superseded_by is not None:
        return {"state": record.state.value, "superseded_by": record.superseded_by}
    return record.state.value if is_inactive(record) else None


def foreign_extensions(record: MemoryRecord, taken: Collection[str]) -> dict[str, Any]:
    """Return the extensions of `record` that a target has no place for, its scope's own axes among them.

    Args:
        record: The record.
        taken: Fields that the target takes natively, as `PROVIDER.FIELD`.
    """
    found: dict[str, Any] = {}
    for space, fields in record.extensions.items():
        left = {name: value for name, value in fields.items() if f"{space}.{name}" not in taken}
        if left:
            found[space] = left
    if record.scope.extra:
        found["scope"] = record.scope.extra
    return found


def _extensions(record: MemoryRecord) -> Any:
    return foreign_extensions(record, ()) or None


_FORGETS = "drops it"
_G = DimensionGroup
_D = Dimension

RULES: tuple[Rule, ...] = (
    Rule(
        _D.VERSIONS,
        _G.VERSIONING,
        lambda r: _builtins(r.versions),
        "earlier versions",
        "cannot store them; only the latest text arrives",
        "keeps part of each version",
        "versions",
    ),
    Rule(
        _D.CREATED_AT,
        _G.TEMPORAL,
        _time("created_at"),
        "a creation time",
        "stamps them with the time of the move",
        "keeps it less precisely, or where it can be written but not read back",
        "created_at",
    ),
    Rule(
        _D.UPDATED_AT,
        _G.TEMPORAL,
        _time("updated_at"),
        "a time of last change",
        _FORGETS,
        "keeps it less precisely",
        "updated_at",
    ),
    Rule(
        _D.OCCURRED_AT,
        _G.TEMPORAL,
        _time("occurred_at"),
        "a time at which what they tell happened",
        _FORGETS,
        "keeps it less precisely, or where it can be written but not read back",
        "occurred_at",
    ),
    Rule(
        _D.VALIDITY,
        _G.TEMPORAL,
        lambda r: _builtins(r.validity),
        "a span in which they were true",
        "knows no such span; an ended fact looks true again",
        "keeps part of the span",
        "validity",
        "does not act on it: an ended fact looks true again",
    ),
    Rule(
        _D.EXPIRY,
        _G.TEMPORAL,
        _time("expires_at"),
        "a date on which they expire",
        "never lets them expire",
        "keeps the date less precisely",
        "expires_at",
        "never lets them expire",
    ),
    Rule(
        _D.INACTIVE,
        _G.TEMPORAL,
        _state,
        "an expired, superseded or archived state",
        "shows them like current ones",
        "takes them in, but treats them like current ones",
        "state",
        "shows them like current ones",
    ),
    Rule(
        _D.EXTENSIONS,
        _G.EXTENSIONS,
        _extensions,
        "fields of the source's own",
        _FORGETS,
        "keeps some of them",
        "ext",
    ),
    Rule(
        _D.IDS,
        _G.IDENTITY,
        lambda r: r.id,
        "an id",
        "gives them new ids; this job's ledger is the only map",
        "gives them new ids and keeps the old one as a key",
        "source_id",
    ),
    *(
        Rule(
            dimension,
            _G.IDENTITY,
            _scope(dimension.value),
            f"{'an' if dimension in (_D.AGENT, _D.APP) else 'a'} {dimension.value}",
            "has no place for it",
            "keeps it in another form",
            f"{dimension.value}_id",
            "does not tell memories apart by it, so they are found without it too",
        )
        for dimension in (_D.USER, _D.AGENT, _D.APP, _D.SESSION, _D.TENANT, _D.GROUP)
    ),
    Rule(
        _D.CONTENT,
        _G.CONTENT,
        lambda r: r.content or None,
        "a text",
        "cannot store it",
        "extracts memories from the text instead of keeping it word for word",
    ),
    Rule(
        _D.SANITISED,
        _G.CONTENT,
        lambda r: r.sanitised or None,
        "values that JSON cannot carry",
        "gets them as tagged text",
        "gets them as tagged text",
        "sanitised",
    ),
    Rule(
        _D.MESSAGES,
        _G.CONTENT,
        lambda r: _builtins(r.messages),
        "conversation turns",
        "gets the text without its turns",
        "gets the turns as labelled text",
        "messages",
    ),
    Rule(
        _D.KIND,
        _G.CONTENT,
        _kind,
        "a kind other than fact",
        "decides the kind anew",
        "maps the kind",
        "kind",
        "decides the kind anew",
    ),
    Rule(
        _D.METADATA,
        _G.CONTENT,
        lambda r: r.metadata or None,
        "metadata",
        _FORGETS,
        "stores it, but does not give it back with each memory",
        "metadata",
    ),
    Rule(_D.TAGS, _G.CONTENT, lambda r: list(r.tags) or None, "tags", _FORGETS, "keeps some", "tags"),
    Rule(
        _D.PINNING,
        _G.CONTEXT,
        lambda r: r.pinned or None,
        "a pin",
        "cannot pin",
        "pins in another way",
        "pinned",
    ),
    Rule(_D.SCORES, _G.CONTEXT, _scores, "importance or confidence", _FORGETS, "rescales them", "scores"),
    Rule(
        _D.PROVENANCE,
        _G.CONTEXT,
        lambda r: r.provenance or None,
        "a provenance",
        _FORGETS,
        "keeps part of it",
        "provenance",
    ),
    Rule(
        _D.RELATIONS,
        _G.CONTEXT,
        lambda r: _builtins(r.relations),
        "relations to entities",
        "builds its own graph, if any",
        "keeps part of them",
        "relations",
        "builds its own graph, if any",
    ),
    Rule(
        _D.EMBEDDINGS,
        _G.CONTEXT,
        lambda r: True if r.embedding else None,
        "a vector",
        "makes its own vectors",
        "keeps them only for the same model",
    ),
    Rule(
        _D.ATTACHMENTS,
        _G.CONTEXT,
        lambda r: _builtins(r.attachments),
        "attachments",
        _FORGETS,
        "keeps references only",
        "attachments",
    ),
    Rule(
        _D.VISIBILITY,
        _G.CONTEXT,
        lambda r: r.visibility,
        "a visibility of their own",
        "has no such setting; check who can see them",
        "maps it",
        "visibility",
        "has no such setting: check who can see them",
    ),
    Rule(
        _D.DERIVED,
        _G.CONTEXT,
        lambda r: list(r.derived_from) or None,
        "links to the memories they were derived from",
        "keeps them without the links",
        "keeps part of the links",
        "derived_from",
    ),
)
"""In the order of a report, within each group."""
