"""The envelope: what a target cannot hold natively, packed for its metadata under one reserved key."""

from __future__ import annotations

from typing import Any

from memxfer.capabilities import Capabilities, Level
from memxfer.gaps.dimensions import RULES, values_of
from memxfer.models import MemoryRecord
from memxfer.spi import StoreIdentity

__all__ = ["ENVELOPE_VERSION", "EnvelopeBuilder"]

ENVELOPE_VERSION = 1


class EnvelopeBuilder:
    """Builds envelopes for one target.

    Args:
        capabilities: The target's.
        source: Where the records come from; named in every envelope, so that a document can be
            traced back by what it carries.
    """

    def __init__(self, capabilities: Capabilities, source: StoreIdentity) -> None:
        self._rules = [
            rule
            for rule in RULES
            if rule.name and capabilities.channel(rule.dimension).write is Level.ENVELOPE
        ]
        self._values = values_of(self._rules) if self._rules else None
        self._origin = {"v": ENVELOPE_VERSION, "source": source.provider, "namespace": source.namespace}

    def __call__(self, record: MemoryRecord) -> dict[str, Any]:
        """Return the envelope of `record`: JSON values; empty when the target holds all of it."""
        if self._values is None:
            return {}
        carried: dict[str, Any] = {}
        for rule, present in zip(self._rules, self._values(record), strict=True):
            if present:
                value = rule.carried(record)
                if value is not None:
                    carried[rule.name] = value
        return {**self._origin, "source_id": record.id, **carried} if carried else {}
