"""Which originals go to the residue, and in what form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from memxfer.archive import MAX_LINE, ResidueArchive, decode_line, frame_line, identity
from memxfer.engine.listing import Listed
from memxfer.errors import RecordError
from memxfer.ids import DEFAULT_TEMPLATE, FORM_BYTES, KeyTemplate
from memxfer.ledger import InDoubt, ResidueLine
from memxfer.models import MemoryRecord
from memxfer.spi import Prepared, StoreIdentity

__all__ = ["Residue"]


class Residue:
    """Chooses the originals of one job that are kept.

    A line's key is the default document key, whatever template the target has: two records that share
    a key in the target are both kept. A line also names its partition and the record's mark, so that two
    records of one id are both kept too.

    Args:
        archive: Where they go.
        source: The source's store.
        mode: `lossy`: what the target does not hold whole, or not at all; `full`: whatever is wanted.
        is_whole: Tells whether the target holds all of a record, as it would be stored.
    """

    def __init__(
        self,
        archive: ResidueArchive,
        source: StoreIdentity,
        *,
        mode: Literal["lossy", "full"],
        is_whole: Callable[[MemoryRecord, Prepared], bool],
    ) -> None:
        self._archive = archive
        self._template = KeyTemplate(DEFAULT_TEMPLATE, provider=source.provider, namespace=source.namespace)
        self._keeps_all = mode == "full"
        self._is_whole = is_whole

    def lines(
        self, listed: Listed, prepared: Prepared, *, partition: str, doubt: InDoubt | None
    ) -> Sequence[ResidueLine]:
        """Return what has to be in the residue before anything becomes of a record; mostly nothing.

        Args:
            listed: The record, with its encoded form.
            prepared: What becomes of it.
            partition: Name of the slice it was listed in.
            doubt: What an earlier run left of it.

        Raises:
            RecordError: The residue cannot take it (`code="too_large"`).
        """
        if not self._keeps_all and self._is_whole(listed.record, prepared):
            return self._without_older_form(listed, partition, doubt)
        key, mark = self._key(listed), _mark(listed)
        line = frame_line(key, listed.encoded, partition=partition, mark=mark)
        if len(line) > MAX_LINE:
            raise RecordError(
                f"its original has {len(line)} bytes and cannot be kept: the residue takes {MAX_LINE}",
                code="too_large",
            )
        return ((identity(key, partition, mark), line),)

    def originals(self, doubts: Sequence[InDoubt], *, partition: str) -> list[Listed]:
        """Return the records of `doubts` that are in the residue as they were intended.

        Slow: for the few that the source no longer lists.

        Raises:
            LedgerError: The residue cannot be read.
        """
        hashes = {
            identity(self._key_of(doubt.id), partition, doubt.hash[FORM_BYTES:].hex()): doubt.hash
            for doubt in doubts
            if doubt.id and doubt.hash
        }
        lines = self._archive.read(hashes)
        found = {name: Listed.of(decode_line(line).record, keeps=True) for name, line in lines.items()}
        return [listed for name, listed in found.items() if listed.hash == hashes[name]]

    def _without_older_form(
        self, listed: Listed, partition: str, doubt: InDoubt | None
    ) -> Sequence[ResidueLine]:
        """Take back what an earlier run may have kept: the record has changed since, and now is whole."""
        if self._archive.had_lines or (doubt is not None and self._archive.is_there):
            return ((identity(self._key(listed), partition, _mark(listed)), None),)
        return ()

    def _key(self, listed: Listed) -> str:
        if listed.record.id:
            return self._template.key(listed.record)
        # Without an id there is no key, and no second form of the record that could take its place.
        return self._key_of(f"unnamed-{listed.hash.hex()}")

    def _key_of(self, record_id: str) -> str:
        return self._template.key(MemoryRecord(id=record_id, content=""))


def _mark(listed: Listed) -> str:
    """Return what tells the record apart from others of its id; of a rival, whatever it may be, all of it."""
    return (listed.hash if listed.is_rival else listed.hash[FORM_BYTES:]).hex()
