"""Whether one record arrives whole, or its original belongs in the residue."""

from __future__ import annotations

from memxfer.capabilities import Capabilities, Dimension, Level
from memxfer.gaps.checks import is_finer
from memxfer.gaps.dimensions import foreign_extensions
from memxfer.gaps.traits import MOST_KINDS, Traits, rules_in, traits_of
from memxfer.models import MemoryRecord
from memxfer.spi import Document, Prepared

__all__ = ["Fidelity"]

_EXTENSIONS_ALONE = frozenset({Dimension.EXTENSIONS})


class Fidelity:
    """Judges records for one target.

    Args:
        capabilities: The target's.
    """

    def __init__(self, capabilities: Capabilities) -> None:
        self._capabilities = capabilities
        self._own_fields = capabilities.own_fields()
        self._step = capabilities.writing.backdates if capabilities.writing else "none"
        self._known: dict[Traits, frozenset[Dimension]] = {}

    def is_whole(self, record: MemoryRecord, prepared: Prepared) -> bool:
        """Tell whether the target holds all of `record` natively, as `prepared` would store it."""
        if not isinstance(prepared, Document) or prepared.changes:
            return False
        traits = traits_of(record)
        altered = self._known.get(traits)
        if altered is None:
            altered = self._altered(traits)
        if altered == _EXTENSIONS_ALONE and self._own_fields:
            altered = frozenset() if not foreign_extensions(record, self._own_fields) else altered
        return not altered and not is_finer(record, self._step)

    def _altered(self, traits: Traits) -> frozenset[Dimension]:
        """Return the dimensions that a record of these traits does not keep as they are."""
        channel = self._capabilities.channel
        altered = frozenset(
            rule.dimension for rule in rules_in(traits) if channel(rule.dimension).write is not Level.NATIVE
        )
        if len(self._known) < MOST_KINDS:
            self._known[traits] = altered
        return altered
