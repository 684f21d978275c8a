"""What turns records into documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from memxfer.capabilities import ClientKey
from memxfer.errors import ConfigError, RecordError
from memxfer.gaps import Agreement
from memxfer.models import MemoryRecord
from memxfer.spi import Document, MemoryProvider, Prepared, Refused, Selection, Skipped
from memxfer.spi.writing import IDENTITY_MAPPED

__all__ = ["TELLING_TWINS", "Pipeline", "regrouped"]

TELLING_TWINS = (ClientKey.NONE, ClientKey.APPEND, ClientKey.REJECT)
"""Targets of these keep two documents of one key both, or refuse the second one by name."""

_UNMAPPABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    msgspec.MsgspecError,
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

    def shown(self, record: MemoryRecord) -> MemoryRecord:
        """Return `record` under its owner in the target, as losses are counted."""
        return record if self.identity is None else self.identity(record)

    def prepare(self, record: MemoryRecord) -> Document | Skipped | Refused:
        """Return what becomes of `record`; one that cannot be mapped costs nobody but itself."""
        try:
            if self.identity is None:
                return self.target.prepare(record, self.key(record), self.envelope(record))
            return self._prepare_as(self.identity(record), record)
        except RecordError as error:
            return Refused(error)
        except _UNMAPPABLE as error:
            # Only the error's type: its text may quote the memory.
            reason = f"the record cannot be mapped for {self.target.name} ({type(error).__name__})"
            return Refused(RecordError(reason, provider=self.target.name, code="unmappable"))

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
