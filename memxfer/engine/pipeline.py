"""What turns records into documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from memxfer.capabilities import ClientKey
from memxfer.engine.listing import Listed
from memxfer.errors import ConfigError, ProviderError, RecordError
from memxfer.gaps import Agreement
from memxfer.models import MemoryRecord
from memxfer.spi import (
    Document,
    Joined,
    MemoryProvider,
    Prepared,
    Refused,
    Selection,
    Skipped,
    SupportsGroups,
)
from memxfer.spi.writing import IDENTITY_MAPPED

__all__ = ["TELLING_TWINS", "UNEXPECTED", "Pipeline", "regrouped"]

TELLING_TWINS = (ClientKey.NONE, ClientKey.APPEND, ClientKey.REJECT)
"""Targets of these keep two documents of one key both, or refuse the second one by name."""

UNEXPECTED = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    msgspec.MsgspecError,
)
"""What a provider's code raises over a record that it did not foresee: it costs that record, not the job."""


_RIVAL = Refused(
    RecordError(
        "the source listed this id twice for one owner and date, with different content, in a listing that "
        "shifts while it is read: whether this is a second record or an edit of the first cannot be told. "
        "The one that came first was sent. Compare the two in the source, and move this one by hand, or "
        "move again while nobody writes to the source",
        code="duplicate_id",
    )
)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What turns records into documents.

    Attributes:
        selection: Which records are wanted.
        key: Gives a record's document key; raises `RecordError` where it has none.
        envelope: Gives what the target cannot hold natively.
        target: Maps and validates.
        identity: Gives records other owners; the same record back where it gives none.
        agreement: What may be lost; `None`: nobody asks.
        shares_keys: Different records may get one key, and the target keeps one document per key.
    """

    selection: Selection
    key: Callable[[MemoryRecord], str]
    envelope: Callable[[MemoryRecord], Mapping[str, Any]]
    target: MemoryProvider[Any]
    identity: Callable[[MemoryRecord], MemoryRecord] | None = None
    agreement: Agreement | None = None
    shares_keys: bool = False

    def prepare_listed(self, listed: Listed) -> Document | Skipped | Refused:
        """Return what becomes of a record as it was listed."""
        return _RIVAL if listed.is_rival else self.prepare(listed.record)

    def prepare_again(self, listed: Listed) -> Document | Skipped | Refused:
        """Return what becomes of a record that an earlier run took up."""
        return self.prepare(listed.record)

    def mapped(self, record: MemoryRecord) -> MemoryRecord:
        """Return the record under its new owner, where the identity file gives it one."""
        return record if self.identity is None else self.identity(record)

    def prepare(self, record: MemoryRecord) -> Document | Skipped | Refused:
        """Return what becomes of `record`; one that cannot be mapped costs nobody but itself."""
        try:
            if self.identity is None:
                return self.target.prepare(record, self.key(record), self.envelope(record))
            return self._prepare_as(self.identity(record), record)
        except RecordError as error:
            return Refused(error)
        except UNEXPECTED as error:
            # Only the error's type: its text may quote the memory.
            reason = f"the record cannot be mapped for {self.target.name} ({type(error).__name__})"
            return Refused(self._unmappable(reason))

    def join(self, parts: Sequence[Document]) -> Sequence[Joined]:
        """Return the requests that carry the parts of one group: every part in exactly one of them.

        Raises:
            RecordError: The group cannot be sent; the others can.
            ProviderError: The target has no groups.
        """
        target = self.target
        if not isinstance(target, SupportsGroups):
            raise ProviderError(
                f"the provider {target.name} puts records into groups and has no method join(); "
                "report this to its author",
                provider=target.name,
            )
        try:
            joined = target.join(parts)
        except UNEXPECTED as error:
            reason = f"the group cannot be joined for {target.name} ({type(error).__name__})"
            raise self._unmappable(reason) from error
        if min((one.count for one in joined), default=0) < 1 or sum(one.count for one in joined) != len(
            parts
        ):
            counts = ", ".join(str(one.count) for one in joined) or "none"
            raise self._unmappable(
                f"{target.name} was given {len(parts)} parts of a group and joined other numbers ({counts})"
            )
        return joined

    def _unmappable(self, reason: str) -> RecordError:
        return RecordError(reason, provider=self.target.name, code="unmappable")

    def _prepare_as(self, mapped: MemoryRecord, record: MemoryRecord) -> Prepared:
        """Map a record under its new owner; keys stay those of the record as it is in the source."""
        prepared = self.target.prepare(mapped, self.key(record), self.envelope(mapped))
        if mapped is record or not isinstance(prepared, Document):
            return prepared
        return msgspec.structs.replace(prepared, changes=(*prepared.changes, IDENTITY_MAPPED))


def regrouped(target: str) -> ConfigError:
    """Return the error of a job whose records were to be sent alone and now are not, or the other way."""
    return ConfigError(
        f"the job was begun under other settings of {target}: some of its records would now be sent with "
        "others, or alone. Restore the connection's settings, or start a new job with `memxfer migrate`"
    )
