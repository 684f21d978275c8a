"""Asking an asynchronous target what became of what it accepted."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from memxfer.engine.calls import Caller
from memxfer.engine.control import Stopped, side_by_side
from memxfer.engine.settings import EngineSettings
from memxfer.ledger import Accepted, Change, Ledger, Problem, State
from memxfer.spi import IngestState, IngestStatus, MemoryProvider, SupportsIngestStatus

__all__ = ["NOT_PROVEN", "NO_MEMORIES", "PARTIAL", "Settler"]

NO_MEMORIES = "no_memories"
"""Code of a document that the target processed without keeping anything of it."""
PARTIAL = "partial"
"""Code of a document of which the target kept a part."""
NOT_PROVEN = "not_proven"
"""Code of a part of a whole of which the target took fewer parts than it was sent."""
_CHUNK = 1_000


class Settler:
    """Polls accepted documents, in rounds with growing pauses, and makes the answers durable.

    A run that stops goes on later from the ledger: nothing but the states there is needed.

    Attributes:
        done: Records whose end is durable, by state.
        answered: Records whose end the target has told; ahead of `done` by what is not yet durable.
        asked: Records asked about in the round that is under way; `None` between rounds.
    """

    def __init__(
        self, target: MemoryProvider[Any], caller: Caller, *, ledger: Ledger, settings: EngineSettings
    ) -> None:
        self._target = target
        self._caller = caller
        self._ledger = ledger
        self._settings = settings
        self.done: Counter[str] = Counter()
        self.answered = 0
        self.asked: int | None = None
        self._next_round = 0.0
        writing = target.capabilities().writing
        self._tells_ids = writing is not None and writing.reports_ids

    @property
    def next_check(self) -> float | None:
        """Seconds until the next round of questions; `None` in a round."""
        left = self._next_round - self._caller.clock.monotonic()
        return left if self.asked is None and left > 0 else None

    async def run(self) -> None:
        """Ask until nothing is under way, nothing has moved for long, or the run stops.

        Raises:
            Stopped: The run stops.
        """
        target = self._target
        if not isinstance(target, SupportsIngestStatus):
            return
        clock = self._caller.clock
        pause = self._settings.poll_first
        moved_at = clock.monotonic()
        while True:
            settled, waiting = await self._round(target)
            if not waiting or clock.monotonic() - moved_at > self._settings.poll_patience:
                return
            if settled:
                moved_at = clock.monotonic()
                pause = self._settings.poll_first
            self._next_round = clock.monotonic() + pause
            await self._caller.control.sleep(pause)
            pause = min(pause * 2, self._settings.poll_most)

    async def _round(self, target: SupportsIngestStatus) -> tuple[int, int]:
        """Ask about every accepted document once; return how many are settled and how many are not."""
        settled = waiting = after = 0
        self.asked = 0
        while rows := self._ledger.accepted(after, _CHUNK):
            after = rows[-1].seq
            statuses = await self._ask(target, rows)
            finished = [
                (row, status)
                for row, status in zip(rows, statuses, strict=True)
                if status is not None and status.state is not IngestState.PROCESSING
            ]
            await self._note(finished)
            settled += len(finished)
            waiting += len(rows) - len(finished)
            self._caller.control.check()
        self.asked = None
        return settled, waiting

    async def _ask(self, target: SupportsIngestStatus, rows: list[Accepted]) -> list[IngestStatus | None]:
        """Return the status of each; `None` where the run stopped before the answer."""
        answers: dict[str, IngestStatus] = {}
        # what was sent as a whole has one handle for all of its records
        records = Counter(row.ingestion_id for row in rows)
        left = iter(records)

        async def poller() -> None:
            for handle in left:
                status = await self._caller.read(partial(target.ingest_status, handle))
                answers[handle] = status
                self.asked = (self.asked or 0) + records[handle]
                if status.state is not IngestState.PROCESSING:
                    self.answered += records[handle]

        async with side_by_side() as group:
            for _ in range(min(self._settings.pollers, len(records))):
                group.create_task(_until_stopped(poller()))
        return [answers.get(row.ingestion_id) for row in rows]

    async def _note(self, finished: list[tuple[Accepted, IngestStatus]]) -> None:
        if not finished:
            return
        change = Change()
        now = self._caller.clock.now()
        for row, status in finished:
            problem = _problem(status, tells_ids=self._tells_ids)
            is_whole = problem is None and row.problem != NOT_PROVEN
            state = State.STORED if is_whole else State.FAILED
            self.done[state] += 1
            self._ledger.settle(
                change,
                row.seq,
                State.ACCEPTED,
                state,
                at=now,
                ingestion_id=row.ingestion_id,
                target_ids=status.target_ids,
                problem=problem,
            )
        await self._ledger.commit(change)


async def _until_stopped(work: Any) -> None:
    try:
        await work
    except Stopped:
        return


def _problem(status: IngestStatus, *, tells_ids: bool) -> Problem | None:
    """Return why a settled document does not count as stored; `None` where all of it is."""
    error = status.error
    if status.state is IngestState.GONE:
        return Problem("gone", "the target no longer knows the document it accepted")
    if status.state is IngestState.FAILED:
        text = str(error) if error else "the target failed to process it"
        return Problem(error.code if error else "processing", text, error.correlation_id if error else None)
    if status.partial:
        text = str(error) if error else "the target reports that part of it failed"
        return Problem(PARTIAL, text, error.correlation_id if error else None)
    if tells_ids and not status.target_ids:
        return Problem(NO_MEMORIES, "the target processed it and kept no memory of it")
    return None
