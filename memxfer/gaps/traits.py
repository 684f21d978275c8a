"""Which dimensions a record carries, told quickly: records of one make share their traits."""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter, is_not, truth

from memxfer.capabilities import Axis, Dimension
from memxfer.gaps.dimensions import RULES, Rule, is_inactive
from memxfer.models import MemoryRecord, RecordState

__all__ = ["MOST_KINDS", "Traits", "rules_in", "traits_of"]

_ACTIVE = RecordState.ACTIVE

MOST_KINDS = 4_096
"""Most kinds of records that are told apart at once; a hostile source may have no end of them."""

Traits = tuple[bool, ...]
"""One flag per dimension, in an order of this module's own; hashable, so that counts can be kept by it."""

_ATTRIBUTES = {
    Dimension.EXPIRY: "expires_at",
    Dimension.IDS: "id",
    Dimension.PINNING: "pinned",
    Dimension.EMBEDDINGS: "embedding",
    Dimension.DERIVED: "derived_from",
}
_CLOSER = (Dimension.KIND, Dimension.INACTIVE, Dimension.EXTENSIONS, Dimension.SCORES)
"""Their attributes are never empty, or several: `traits_of` looks at these by itself, in this order."""
_AXES = tuple(Dimension(axis) for axis in Axis)
"""These and the visibility are names, and an empty name is one too."""

_BY_DIMENSION = {rule.dimension: rule for rule in RULES}
_PLAIN = [rule for rule in RULES if rule.dimension not in (*_CLOSER, *_AXES, Dimension.VISIBILITY)]
_LAST = (*_AXES, Dimension.VISIBILITY, *_CLOSER)
_ORDER: tuple[Rule, ...] = (*_PLAIN, *(_BY_DIMENSION[dimension] for dimension in _LAST))

_plain_values = attrgetter(*(_ATTRIBUTES.get(rule.dimension, rule.dimension.value) for rule in _PLAIN))
_axis_values = attrgetter(*(axis.value for axis in _AXES))
_NOTHING = (None,) * len(_AXES)


_last: tuple[MemoryRecord | None, Traits] = (None, ())


def traits_of(record: MemoryRecord) -> Traits:
    """Return which dimensions `record` carries.

    Whoever looks at a record asks again right after another: the last answer is remembered.
    """
    global _last  # noqa: PLW0603 - one tuple, replaced as a whole
    known, traits = _last
    if known is not record:
        traits = _traits(record)
        _last = (record, traits)
    return traits


def _traits(record: MemoryRecord) -> Traits:
    scope = record.scope
    return (
        *map(truth, _plain_values(record)),
        *map(is_not, _axis_values(scope), _NOTHING),
        record.visibility is not None,
        record.kind != "fact",
        (record.state is not _ACTIVE or record.superseded_by is not None) and is_inactive(record),
        bool(record.extensions or scope.extra),
        record.importance is not None or record.confidence is not None,
    )


@lru_cache(maxsize=MOST_KINDS)
def rules_in(traits: Traits) -> tuple[Rule, ...]:
    """Return the rules of the dimensions that a record of these traits carries."""
    return tuple(rule for rule, is_carried in zip(_ORDER, traits, strict=True) if is_carried)
