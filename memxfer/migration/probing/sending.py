"""Sending a probe's documents one by one, and remembering each before it goes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from memxfer.engine.calls import Caller
from memxfer.engine.control import Stopped
from memxfer.engine.grouping import alone
from memxfer.engine.placing import Placer
from memxfer.errors import ProviderError, RecordError
from memxfer.migration.observer import Observer
from memxfer.models import MemoryRecord
from memxfer.spi import (
    Document,
    IngestState,
    IngestStatus,
    MemoryProvider,
    Outcome,
    SupportsIngestStatus,
    WriteReceipt,
)

__all__ = ["PATIENCE", "Sender", "Sent", "settled"]

PATIENCE = 600.0
"""Seconds that a target may take to process one document."""

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 10.0
_STORED = (Outcome.CREATED, Outcome.UPDATED, Outcome.PRESENT)
_DUPLICATE = "duplicate"


@dataclass(slots=True)
class Sent:
    """One document that was sent, or was about to be when something broke.

    Attributes:
        document: The document.
        record: The record it was made from.
        is_void: It certainly did not reach the target.
        receipt: The target's answer; `None`: there was none.
        status: What became of it, where the target accepts first and stores later.
    """

    document: Document
    record: MemoryRecord
    is_void: bool = False
    receipt: WriteReceipt | None = None
    status: IngestStatus | None = None

    @property
    def key(self) -> str:
        """The document's key."""
        return self.document.key

    @property
    def ids(self) -> tuple[str, ...]:
        """The target's ids of it, as far as the target told them."""
        if self.status is not None:
            return self.status.target_ids
        return self.receipt.target_ids if self.receipt else ()

    @property
    def ingestion_id(self) -> str | None:
        """The handle to ask for its progress."""
        return self.receipt.ingestion_id if self.receipt else None

    @property
    def is_pending(self) -> bool:
        """Whether it was accepted, and nobody knows yet what became of it."""
        if self.receipt is None or self.receipt.outcome is not Outcome.PENDING:
            return False
        return self.status is None or self.status.state is IngestState.PROCESSING

    @property
    def is_stored(self) -> bool:
        """Whether the target says that it has it."""
        if self.status is not None:
            return self.status.state is IngestState.STORED
        return self.receipt is not None and self.receipt.outcome in _STORED

    @property
    def is_refused(self) -> bool:
        """Whether the target refused it, at once or while it processed it."""
        if self.status is not None:
            return self.status.state is IngestState.FAILED
        return self.receipt is not None and self.receipt.outcome is Outcome.REJECTED

    @property
    def is_duplicate(self) -> bool:
        """Whether it was refused because its key is taken."""
        return self.is_refused and self.error is not None and self.error.code == _DUPLICATE

    def made(self, record: MemoryRecord) -> bool:
        """Tell whether a record that was read back came of this document."""
        return record.id in (self.record.id, *self.ids) or record.content == self.record.content

    @property
    def error(self) -> ProviderError | None:
        """Why it was refused, or why its fate is not known."""
        if self.status is not None:
            return self.status.error
        return self.receipt.error if self.receipt else None


@dataclass(slots=True)
class Sender:
    """Sends documents to one target.

    Attributes:
        target: Connected as a target.
        caller: Makes the calls.
        observer: Is told when something takes its time.
        placer: Makes what the documents go into.
        inventory: Everything that was sent, in order; what has to be removed again.
    """

    target: MemoryProvider[Any]
    caller: Caller
    observer: Observer
    placer: Placer
    inventory: list[Sent] = field(default_factory=list)

    async def send(self, document: Document, record: MemoryRecord) -> Sent:
        """Send one document and wait until its fate is known.

        Raises:
            Stopped: The probe has to end.
        """
        sent = Sent(document, record)
        self.inventory.append(sent)
        sent.receipt = await self._write(sent)
        if sent.is_pending:
            sent.status = await settled(self.target, self.caller, sent, patience=PATIENCE)
        return sent

    async def _write(self, sent: Sent) -> WriteReceipt:
        try:
            [document] = await self.placer.place([alone(self.target, sent.document)])
            if isinstance(document, RecordError):
                sent.is_void = True
                return WriteReceipt(Outcome.REJECTED, error=document)
            [receipt] = await self.caller.write(lambda: self.target.write([document]))
        except Stopped:
            sent.is_void = True
            raise
        except RecordError as error:
            return WriteReceipt(Outcome.REJECTED, error=error)
        except ProviderError as error:
            return WriteReceipt(Outcome.UNKNOWN, error=error)
        return receipt


async def settled(
    target: MemoryProvider[Any], caller: Caller, sent: Sent, *, patience: float
) -> IngestStatus | None:
    """Ask what became of an accepted document until it is known; the last answer when patience ends.

    Returns:
        `None` where the target cannot be asked.

    Raises:
        Stopped: The probe has to end.
    """
    handle = sent.ingestion_id
    if handle is None or not isinstance(target, SupportsIngestStatus):
        return None
    until = caller.clock.monotonic() + patience
    pause = _FIRST_PAUSE
    while True:
        status = await caller.read(lambda: target.ingest_status(handle))
        if status.state is not IngestState.PROCESSING or caller.clock.monotonic() >= until:
            return status
        await caller.control.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
