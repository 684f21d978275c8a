"""What stands between a record and its being sent: what it loses was agreed to, and its place is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import xxhash

from memxfer.engine.control import RunControl, StopCause
from memxfer.engine.pipeline import Pipeline
from memxfer.errors import DecisionRequiredError, RecordError
from memxfer.gaps import FirstComers, owners_of
from memxfer.ids import record_mark
from memxfer.ledger import Change, Ledger
from memxfer.ledger.ignored import IgnoredNote
from memxfer.ledger.owners import Owners
from memxfer.ledger.states import IGNORED_AS, LOSS
from memxfer.models import MemoryRecord
from memxfer.spi import Document, Ignored, Prepared, Refused

__all__ = ["COLLISION", "Gate", "untally"]

COLLISION = (
    "another record has the same document key, and the target keeps one document per key: that of the other. "
    "Give the target connection a document_id template that tells the two apart, with {user} say, or {hash}, "
    "and start a new job"
)
_MOST_OWNERS = 50_000
_Owner = tuple[object, object]


class Gate:
    """Judges the records of one run, after they are prepared and before anything is noted of them.

    Args:
        pipeline: Holds what was agreed to; without an agreement nothing is held back.
        ledger: The job's, open.
        control: Stopped when something is held back.
    """

    def __init__(self, pipeline: Pipeline, ledger: Ledger, control: RunControl) -> None:
        self._pipeline = pipeline
        self._agreement = pipeline.agreement
        self._ledger = ledger
        self._owners = Owners(ledger)
        self._control = control
        self._keys = FirstComers() if pipeline.shares_keys else None
        watches = self._agreement is not None and self._agreement.watches_owners
        self._places = FirstComers() if watches else None
        self._met: set[_Owner] = set()
        self._noted: set[str] = set()
        self._ignored: dict[str, IgnoredNote] = {}

    async def open(self) -> None:
        """Learn what earlier runs sent.

        Raises:
            LedgerError, MemxferError: The ledger or the temporary file cannot be used.
        """
        await asyncio.to_thread(self._learn)

    def close(self) -> None:
        """Give back the temporary files. Idempotent."""
        for memory in (self._keys, self._places):
            if memory is not None:
                memory.close()

    def _learn(self) -> None:
        if self._keys is not None:
            for key, mark in self._ledger.document_keys():
                self._keys.first(_number(key), _whole(mark))
        if self._places is not None:
            for place, people in self._owners.rows():
                self._places.first(place, people)
        for name, text in self._ledger.notes(IGNORED_AS).items():
            self._ignored[name.removeprefix(IGNORED_AS)] = IgnoredNote.of_text(text)

    # -- one record ---------------------------------------------------------------------------

    def judge(
        self, change: Change, record: MemoryRecord, prepared: Prepared
    ) -> tuple[Prepared, tuple[str, ...]] | None:
        """Return what becomes of a record, and the names of what it loses; `None`: it must not be sent.

        Args:
            change: Where its owner is noted.
            record: As the source has it.
            prepared: What would become of it.
        """
        losses = self._losses(change, record, prepared)
        if losses is not None and isinstance(prepared, Document) and self._is_taken(record, prepared):
            return Refused(RecordError(COLLISION, code="duplicate_key")), ()
        return None if losses is None else (prepared, losses)

    def _losses(self, change: Change, record: MemoryRecord, prepared: Prepared) -> tuple[str, ...] | None:
        if self._agreement is None:
            return ()
        shown = self._pipeline.mapped(record)
        losses = self._agreement.judge(shown, prepared)
        if losses is None or self._places is None or not isinstance(prepared, Document):
            return losses
        return losses if self._keeps_apart(change, shown, prepared) else None

    def leave_out(self, change: Change, rows: Sequence[Ignored]) -> bool:
        """Tell whether it was agreed that rows that are no memories are left out, and note what they were."""
        if self._agreement is not None and not self._agreement.lets_out(rows):
            return False
        for row in rows:
            known = self._ignored.get(row.reason)
            note = (known or IgnoredNote()).grown(row)
            if note is not known:
                self._ignored[row.reason] = note
                self._ledger.set_meta(change, IGNORED_AS + row.reason, note.to_text())
        return True

    def tally(self, change: Change, losses: Sequence[str]) -> None:
        """Count what a record loses together with the intent to send it."""
        if not losses or self._agreement is None:
            return
        for name in losses:
            if name not in self._noted:
                self._noted.add(name)
                line = self._agreement.lines[name]
                self._ledger.set_meta(change, LOSS + name, line.model_dump_json())
            change.counts[LOSS + name] += 1

    def stop_if_exceeded(self) -> None:
        """Stop the run if a record was held back; what was agreed to so far stays sent."""
        agreement = self._agreement
        if agreement is not None and agreement.is_exceeded and not self._control.is_stopping:
            error = DecisionRequiredError("records were met that nobody agreed to send as they would arrive")
            self._control.stop(StopCause.DECISION, str(error), error=error)

    def _is_taken(self, record: MemoryRecord, document: Document) -> bool:
        """Tell whether another record has the document's key; the same record may come again, edited too."""
        if self._keys is None:
            return False
        who = _whole(record_mark(record))
        return self._keys.first(_number(document.key), who) != who

    def _keeps_apart(self, change: Change, record: MemoryRecord, document: Document) -> bool:
        """Tell whether a document goes to a place that nobody else's documents went to."""
        people, place = owner = owners_of(record, document)
        if people is None or owner in self._met or self._places is None or self._agreement is None:
            return True
        where, who = _number(repr(place)), _number(repr(people))
        first = self._places.first(where, who)
        if first != who:
            self._agreement.add_merged(record, document, place=where, owners=(first, who))
            return False
        self._owners.add(change, where, who)
        if len(self._met) >= _MOST_OWNERS:
            self._met.clear()
        self._met.add(owner)
        return True


def untally(change: Change, losses: Sequence[str]) -> None:
    """Take back what was counted of a document that certainly was not sent."""
    for name in losses:
        change.counts[LOSS + name] -= 1


def _whole(mark: bytes) -> int:
    """Return a mark of 8 bytes as a signed number."""
    return int.from_bytes(mark, "big", signed=True)


def _number(text: str) -> int:
    """Return a signed number of 64 bits, the same on every machine."""
    number: int = xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
    return number - 2**64 if number >= 2**63 else number
