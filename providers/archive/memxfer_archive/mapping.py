"""Lines and receipts. There is nothing to translate: a line holds the record itself."""

from __future__ import annotations

import msgspec

from memxfer.archive import Appended, Origin
from memxfer.spi import MemoryRecord, Outcome, StoreIdentity, WriteReceipt

__all__ = ["id_in", "origin_from", "receipt", "scope_name"]

_AXES = ("user", "agent", "app", "session", "tenant", "group")

_OUTCOMES = {
    Appended.CREATED: Outcome.CREATED,
    Appended.UPDATED: Outcome.UPDATED,
    Appended.PRESENT: Outcome.PRESENT,
}


class _RecordId(msgspec.Struct):
    id: str


class _Line(msgspec.Struct):
    record: _RecordId


def id_in(line: bytes) -> str | None:
    """Return the id of the record in a line that does not read as one, where it can be told."""
    try:
        return msgspec.json.decode(line, type=_Line).record.id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def origin_from(store: StoreIdentity) -> Origin:
    """Return how a manifest names a store."""
    return Origin(provider=store.provider, namespace=store.namespace)


def receipt(appended: Appended, identity: str) -> WriteReceipt:
    """Return the receipt of one line; what tells it from others is its id in the archive."""
    return WriteReceipt(_OUTCOMES[appended], target_ids=(identity,))


def scope_name(record: MemoryRecord) -> str:
    """Return the first axis that a record names, for histograms; `shared` where it names none."""
    return next((axis for axis in _AXES if getattr(record.scope, axis)), "shared")
