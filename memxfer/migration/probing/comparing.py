"""What a record kept on its way into a target and out again, dimension by dimension."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from memxfer.capabilities import Capabilities, Dimension, Level
from memxfer.migration.evidence import Claim, ClaimVerdict
from memxfer.migration.probing.samples import TRIALS, truncate
from memxfer.migration.probing.sending import Sent
from memxfer.models import MemoryRecord, canonical_json

__all__ = ["UNTRIED", "Carried", "claims_of_dimensions", "precision_of"]

_BARE = MemoryRecord(id="", content="")
_PRECISIONS = ("microsecond", "millisecond", "second", "day")
UNTRIED = {
    Dimension.EMBEDDINGS: "a vector would have to be of the backend's own model and size",
    Dimension.SANITISED: "only values that are not JSON are concerned",
    Dimension.PACKAGING: "answered when it is asked, not stored with a record",
    Dimension.SEARCH: "answered when it is asked, not stored with a record",
}


@dataclass(slots=True)
class Carried:
    """One record of the probe, as it was sent and as it came back.

    Attributes:
        sent: The document and its fate.
        dimensions: What it was to show.
        envelope: What went beside it under the reserved key.
        found: What was read back; `None`: nothing.
        is_missing: It certainly is not there.
    """

    sent: Sent
    dimensions: frozenset[Dimension]
    envelope: Mapping[str, Any] = field(default_factory=dict)
    found: MemoryRecord | None = None
    is_missing: bool = False


def claims_of_dimensions(
    capabilities: Capabilities,
    read: Capabilities | None,
    carried: Sequence[Carried],
    *,
    unread: str,
    refused: Mapping[Dimension, str],
) -> list[Claim]:
    """Return a claim for every dimension that the target says it takes.

    Args:
        capabilities: The connection's, as a target.
        read: The connection's, as a source; `None`: it is none.
        carried: The records that were sent.
        unread: Why nothing was read back; empty if something was.
        refused: Dimensions that `prepare` would not take, and why.
    """
    claims = []
    for dimension, channel in capabilities.dimensions.items():
        if channel.write is Level.NONE:
            continue
        trial = _Trial(dimension, channel.write, capabilities, read)
        reason = UNTRIED.get(dimension) or refused.get(dimension) or unread
        one = next((item for item in carried if dimension in item.dimensions), None)
        if not reason and one is None:
            reason = "not tried"
        claims.append(trial.untestable(reason) if reason or one is None else trial.judge(one))
    return claims


@dataclass(frozen=True, slots=True)
class _Trial:
    dimension: Dimension
    declared: Level
    target: Capabilities
    source: Capabilities | None

    def judge(self, one: Carried) -> Claim:
        """Compare what was sent with what came back."""
        if not one.sent.is_stored:
            return self.untestable(
                f"the record that carries it was not stored: {one.sent.error or 'no reason'}"
            )
        if one.found is None and not one.is_missing:
            return self.untestable("the record that carries it could not be found again")
        if one.found is None:
            return self._claim(Level.NONE, "the record that carries it is said to be stored and is not there")
        if self.declared is Level.ENVELOPE:
            return self._judge_envelope(one, one.found)
        if self._readable < self.declared:
            return self.untestable("reading gives less than writing takes, so nothing can be told")
        return self._judge_value(one, one.found)

    def _judge_value(self, one: Carried, found: MemoryRecord) -> Claim:
        level, note = self._level(one, found)
        excused = [change for change in one.sent.document.changes if self._is_excused(change)]
        if level < self.declared and excused:
            return self.untestable(f"the target said that it alters this record ({', '.join(excused)})")
        return self._claim(level, note)

    def _level(self, one: Carried, found: MemoryRecord) -> tuple[Level, str]:
        look = TRIALS[self.dimension].look
        precision = self.target.writing.backdates if self.target.writing else "microsecond"
        before, after = look(one.sent.record), look(found)
        if truncate(after, precision) == truncate(before, precision):
            return Level.NATIVE, ""
        if after == look(_BARE):
            return Level.NONE, "it was gone when the record was read back"
        return Level.LOSSY, "it came back changed"

    def _judge_envelope(self, one: Carried, found: MemoryRecord) -> Claim:
        look = TRIALS[self.dimension].look
        if look(found) == look(one.sent.record) or _holds(found, one.envelope):
            return self._claim(Level.ENVELOPE, "")
        return self.untestable("it travels in the envelope, and reading back does not show that")

    @property
    def _readable(self) -> Level:
        return self.source.channel(self.dimension).read if self.source else Level.NONE

    def _is_excused(self, change: str) -> bool:
        known = self.target.changes.get(change)
        return known is not None and known.dimension is self.dimension

    def _claim(self, found: Level, note: str) -> Claim:
        is_met = found >= self.declared
        if is_met:
            note = f"better than declared: it came back {found.name.lower()}" if found > self.declared else ""
        return Claim(
            path=self._path,
            declared=self.declared.name.lower(),
            found=found.name.lower(),
            verdict=ClaimVerdict.CONFIRMED if is_met else ClaimVerdict.DOWNGRADED,
            note=note,
        )

    def untestable(self, reason: str) -> Claim:
        """Return the claim as one that nothing could be seen of."""
        return Claim(
            path=self._path,
            declared=self.declared.name.lower(),
            verdict=ClaimVerdict.NOT_TESTABLE,
            note=reason,
        )

    @property
    def _path(self) -> str:
        return f"dimensions.{self.dimension}.write"


def precision_of(sent: datetime, found: datetime | None) -> str:
    """Return how finely a date was kept: `microsecond`, ..., `day`, or `none`."""
    if found is None:
        return "none"
    same = (one for one in _PRECISIONS if truncate(found, one) == truncate(sent, one))
    return next(same, "none")


def _holds(record: MemoryRecord, envelope: Mapping[str, Any]) -> bool:
    """Tell whether an envelope is somewhere in what a record carries beside its text."""
    wanted = {name: canonical_json(value) for name, value in envelope.items()}  # tuples become lists
    return bool(envelope) and any(
        all(name in one and canonical_json(one[name]) == value for name, value in wanted.items())
        for one in _mappings((record.metadata, record.extensions))
    )


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Give every mapping in a value; one that is kept as JSON text counts as well."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _mappings(one)
