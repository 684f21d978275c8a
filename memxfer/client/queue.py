"""Putting what an app wants remembered into its outbox, and telling how far it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from memxfer.client.delivering import Deliveries
from memxfer.client.entries import EntryState
from memxfer.client.notes import Notes
from memxfer.client.outbox import Outbox
from memxfer.client.results import BACKEND_STATES, Handle, IngestProgress, IngestState
from memxfer.client.turns import Turn, lane_of
from memxfer.errors import LedgerError, MemxferError
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import IngestState as BackendState
from memxfer.spi import MemoryProvider

__all__ = ["Queue"]

_log = logging.getLogger("memxfer.client")

_STATES = {
    EntryState.WAITING: IngestState.QUEUED,
    EntryState.SENDING: IngestState.SENDING,
    EntryState.DELIVERED: IngestState.PROCESSING,
    EntryState.FAILED: IngestState.FAILED,
    EntryState.SET_ASIDE: IngestState.SET_ASIDE,
}


class Queue:
    """An outbox and what delivers from it.

    Args:
        outbox: Open; closed together with this.
        build: Makes the provider of a connection, not connected.
        notes: Logs what fails.
        timeout: Seconds that closing one connection may take.
    """

    def __init__(
        self,
        outbox: Outbox,
        build: Callable[[str], MemoryProvider[Any]],
        *,
        notes: Notes,
        timeout: float = 10.0,
    ) -> None:
        self._outbox = outbox
        self._deliveries = Deliveries(outbox, build, notes=notes, timeout=timeout)

    def start(self) -> None:
        """Begin to deliver, with what an earlier process left."""
        self._deliveries.start()

    def next_turn(self, scope: Scope) -> Turn | None:
        """Return the next turn of a scope's session; `None` where the file cannot be read."""
        try:
            return self._outbox.next_turn(scope)
        except LedgerError as error:
            _log.error("turns cannot be counted: %s", error)
            return None

    async def put(self, name: str, record: MemoryRecord, *, turn: Turn | None, digest: bytes) -> Handle:
        """Keep a record until a backend has it; what goes wrong is logged, and told by the handle.

        Args:
            name: The connection it is for, whatever is swapped later.
            record: The record; its id is the document's.
            turn: The turn that its id counts.
            digest: Tells its content from another's.
        """
        lane = lane_of(record.scope) if record.scope.session else record.id
        try:
            number = await self._outbox.put(name, record, lane=lane, turn=turn, digest=digest)
        except MemxferError as error:
            _log.error("document %s is not kept: %s", record.id, error)
            problem = str(error)

            async def lost() -> IngestProgress:
                return IngestProgress(IngestState.NOT_KEPT, problem=problem)

            return Handle(record.id, name, False, lost)

        async def progress() -> IngestProgress:
            return await self._progress(number)

        return Handle(record.id, name, True, progress)

    async def _progress(self, number: int) -> IngestProgress:
        entry = self._outbox.find(number)
        if entry is None:  # delivered so long ago that nobody knows it any more
            return IngestProgress(IngestState.STORED)
        state = _STATES[entry.state]
        if entry.state is EntryState.DELIVERED:
            state = BACKEND_STATES[await self._deliveries.status(entry) or BackendState.STORED]
        return IngestProgress(state, entry.ingestion_id, entry.target_ids, entry.problem)

    async def flush(self, seconds: float | None) -> bool:
        """Wait until nothing waits any more; `False` when that took longer than `seconds`."""
        return await self._deliveries.flush(seconds)

    async def note_failed(self, ingestion_id: str, problem: str) -> bool:
        """Note late news of a failure; `False` when the document is not known here."""
        return await self._outbox.failed(ingestion_id, problem)

    async def aclose(self, *, drain: float) -> None:
        """Deliver for up to `drain` seconds more, then close; what is left stays on disk."""
        await self._deliveries.aclose(drain=drain)
        self._outbox.close()
