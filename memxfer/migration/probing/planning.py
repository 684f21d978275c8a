"""The records of one probe: clearly tagged, each for a purpose, and such that the target takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from memxfer.capabilities import Axis, Capabilities, Dimension, Level
from memxfer.errors import ConfigError, DecisionRequiredError, RecordError
from memxfer.gaps import EnvelopeBuilder
from memxfer.ids import DEFAULT_TEMPLATE, KeyTemplate
from memxfer.migration.probing.comparing import UNTRIED, Carried
from memxfer.migration.probing.samples import MOMENT, NESTED_METADATA, TRIALS
from memxfer.migration.probing.sending import Sent
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import Document, MemoryProvider, Prepared, Refused, StoreIdentity

__all__ = ["ASIDE", "OWNER", "ProbePlan", "Sample"]

OWNER = "memxfer-probe-"
"""What the user id of every record of a probe begins with."""
TAG = "memxfer_probe"
"""Metadata key that every record of a probe has."""
ASIDE = frozenset({Dimension.INACTIVE, Dimension.MESSAGES})
"""Dimensions that can change what becomes of the rest of a record: they go in one of their own."""

_BASE = frozenset(
    {Dimension.CONTENT, Dimension.IDS, Dimension.USER, Dimension.CREATED_AT, Dimension.METADATA}
)
_AXES = frozenset(Dimension(axis) for axis in Axis)


@dataclass(frozen=True, slots=True)
class Sample:
    """A record, the document made of it, and what it is to show."""

    record: MemoryRecord
    document: Document
    dimensions: frozenset[Dimension] = frozenset()
    envelope: dict[str, Any] = field(default_factory=dict)

    def carried(self, sent: Sent) -> Carried:
        """Return what is compared when it comes back."""
        return Carried(sent, self.dimensions, self.envelope)


class ProbePlan:
    """Makes a probe's records for one target.

    Args:
        target: Connected as a target.
        token: Random; in every text, key and owner, so that two probes never meet.
        new_id: Makes random UUIDs.

    Attributes:
        origin: Where the records are said to come from.
        owner: The user they all belong to.
        refused: Dimensions that the target would not take, and why.

    Raises:
        DecisionRequiredError: The target needs a decision before it takes any record.
        ConfigError: It takes none of them.
    """

    def __init__(self, target: MemoryProvider[Any], *, token: str, new_id: Callable[[], str]) -> None:
        self.origin = StoreIdentity("memxfer", f"probe-{token}")
        self.owner = f"{OWNER}{token}"
        self.refused: dict[Dimension, str] = {}
        self._target = target
        self._token = token
        self._new_id = new_id
        self._capabilities: Capabilities = target.capabilities()
        self._envelope = EnvelopeBuilder(self._capabilities, self.origin)
        self._template = self._key_template(target.config.document_id)
        self._scope = Scope(user=self.owner)
        self._scope = self._fitting_scope()

    # -- samples ------------------------------------------------------------------------------

    def key_samples(self) -> tuple[Sample, Sample]:
        """Return two records of one key that differ in their text."""
        tail = "This was written by a memxfer probe and is safe to delete."
        record = self._record(f"The memxfer probe user {self._token} likes jasmine tea. {tail}")
        changed = msgspec.structs.replace(
            record, content=f"The memxfer probe user {self._token} has moved to Lisbon. {tail}"
        )
        return self._sample(record, _BASE), self._sample(changed, _BASE)

    def full_sample(self) -> Sample:
        """Return a record that carries every dimension the target says it takes, all but those in `ASIDE`."""
        text = (
            f'  memxfer probe {self._token}: Zo\u00eb, e\u0301 is not \u00e9, "it\'s" \\ done, \u6771\u4eac, '
            "\U0001f469\u200d\U0001f467\nsecond line\twith a tab; safe to delete  "
        )
        record = self._record(text)
        if not isinstance(self._prepare(record), Document):
            record = self._record(f"memxfer probe {self._token}; safe to delete")
        nested = msgspec.structs.replace(record, metadata={**NESTED_METADATA, **record.metadata})
        if isinstance(self._prepare(nested), Document):
            record = nested
        return self._carrying(record, {*TRIALS} - ASIDE - _BASE)

    def aside_sample(self) -> Sample | None:
        """Return a record that carries the dimensions of `ASIDE`; `None` where the target takes none."""
        sample = self._carrying(
            self._record(f"memxfer probe {self._token} aside; safe to delete"), set(ASIDE)
        )
        return sample if sample.dimensions & ASIDE else None

    def wider_sample(self, scope: Scope) -> Sample | None:
        """Return a record at a level above a user's; `None` where the target does not take it there."""
        record = msgspec.structs.replace(
            self._record(f"The memxfer probe office {self._token} has a green door. Safe to delete."),
            scope=scope,
        )
        prepared = self._prepare(record)
        is_there = isinstance(prepared, Document) and prepared.owner == scope
        return self._sample(record, frozenset()) if is_there else None

    def absent_key(self) -> str:
        """Return a key that nothing is stored under."""
        return self._template.key(self._record("never sent"))

    # -- making them --------------------------------------------------------------------------

    def _record(self, text: str) -> MemoryRecord:
        return MemoryRecord(
            id=self._new_id(),
            content=text,
            scope=self._scope,
            created_at=MOMENT,
            metadata={TAG: self._token},
        )

    def _carrying(self, record: MemoryRecord, wanted: set[Dimension]) -> Sample:
        """Add what the target takes, one dimension after the other, and note what it refuses."""
        taken = set(_BASE)
        for dimension in sorted(wanted):
            if dimension in UNTRIED or self._capabilities.channel(dimension).write is Level.NONE:
                continue
            candidate = TRIALS[dimension].put(record, owner=f"{self.owner}-{dimension}")
            if dimension in _AXES and getattr(record.scope, dimension) is not None:
                candidate = record  # the target needs the axis anyway, and it is named already
            prepared = self._prepare(candidate)
            if isinstance(prepared, Document):
                record = candidate
                taken.add(dimension)
            else:
                self.refused[dimension] = f"a record with it is refused before it is sent: {_why(prepared)}"
        return self._sample(record, frozenset(taken))

    def _sample(self, record: MemoryRecord, dimensions: frozenset[Dimension]) -> Sample:
        prepared = self._prepare(record)
        if not isinstance(prepared, Document):
            raise _refusal(prepared)
        return Sample(record, prepared, dimensions, self._envelope(record))

    def _prepare(self, record: MemoryRecord) -> Prepared:
        return self._target.prepare(record, self._template.key(record), self._envelope(record))

    def _key_template(self, text: str) -> KeyTemplate:
        """Return the connection's own template, or the default where a probe's records do not fit it."""
        store = {"provider": self.origin.provider, "namespace": self.origin.namespace}
        own = KeyTemplate(text, **store)
        try:
            own.key(MemoryRecord(id=self._new_id(), content=""))
        except RecordError:  # it goes by more than the id, which alone tells the records apart
            return KeyTemplate(DEFAULT_TEMPLATE, **store)
        return own

    def _fitting_scope(self) -> Scope:
        """Return the smallest scope around the probe's own user that the target takes."""
        first: Prepared | None = None
        for scope in self._scopes():
            prepared = self._prepare(msgspec.structs.replace(self._record("memxfer probe"), scope=scope))
            if isinstance(prepared, Document):
                return scope
            first = first or prepared
        raise _refusal(first)

    def _scopes(self) -> Iterator[Scope]:
        yield Scope(user=self.owner)
        for axes in self._capabilities.identity.required_to_write:
            named = {str(axis): f"{self.owner}-{axis}" for axis in sorted(axes)}
            yield msgspec.convert({**named, "user": self.owner}, Scope)


def _why(prepared: Prepared | None) -> str:
    return str(prepared.error) if isinstance(prepared, Refused) else "a decision of the connection skips it"


def _refusal(prepared: Prepared | None) -> Exception:
    message = f"the probe's records cannot be written here: {_why(prepared)}"
    if isinstance(prepared, Refused) and prepared.remedies:
        return DecisionRequiredError(
            f"{message}. One of these on the connection settles it: {'; '.join(prepared.remedies)}",
            remedies=prepared.remedies,
        )
    return ConfigError(message)
