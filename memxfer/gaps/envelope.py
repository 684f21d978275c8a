"""The envelope: what a target cannot hold natively, packed for its metadata under one reserved key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from memxfer.capabilities import Capabilities, Dimension, Level
from memxfer.gaps.dimensions import RULES, foreign_extensions
from memxfer.gaps.traits import MOST_KINDS, Traits, rules_in, traits_of
from memxfer.models import MemoryRecord
from memxfer.spi import StoreIdentity

__all__ = ["ENVELOPE_VERSION", "EnvelopeBuilder"]

ENVELOPE_VERSION = 1

Carried = Callable[[MemoryRecord], Any]


class EnvelopeBuilder:
    """Builds envelopes for one target.

    Args:
        capabilities: The target's.
        source: Where the records come from; named in every envelope, so that a document can be
            traced back by what it carries.
    """

    def __init__(self, capabilities: Capabilities, source: StoreIdentity) -> None:
        self._carried = {
            rule.dimension: rule.carried
            for rule in RULES
            if rule.name and capabilities.channel(rule.dimension).write is Level.ENVELOPE
        }
        if Dimension.EXTENSIONS in self._carried:
            taken = capabilities.own_fields()
            self._carried[Dimension.EXTENSIONS] = lambda record: foreign_extensions(record, taken) or None
        self._plans: dict[Traits, list[tuple[str, Carried]]] = {}
        self._origin = {"v": ENVELOPE_VERSION, "source": source.provider, "namespace": source.namespace}

    def __call__(self, record: MemoryRecord) -> dict[str, Any]:
        """Return the envelope of `record`: JSON values; empty when the target holds all of it."""
        if not self._carried:
            return {}
        traits = traits_of(record)
        plan = self._plans.get(traits)
        if plan is None:
            plan = self._plan(traits)
        packed = {name: value for name, carried in plan if (value := carried(record)) is not None}
        return {**self._origin, "source_id": record.id, **packed} if packed else {}

    def _plan(self, traits: Traits) -> list[tuple[str, Carried]]:
        """Return what to pack of a record of these traits: names, and how to get the values."""
        found = [
            (rule.name, self._carried[rule.dimension])
            for rule in rules_in(traits)
            if rule.dimension in self._carried
        ]
        if len(self._plans) < MOST_KINDS:
            self._plans[traits] = found
        return found
