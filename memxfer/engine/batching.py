"""From pages to batches: select, key, map, validate, and note the intent before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from memxfer.engine.budget import ByteBudget
from memxfer.engine.control import RunControl
from memxfer.engine.leftovers import Leftovers
from memxfer.engine.listing import Listed, ListedPage, Slice
from memxfer.engine.settings import EngineSettings
from memxfer.engine.watermark import PartitionWalk, Ticket
from memxfer.errors import ProviderError, RecordError
from memxfer.ledger import Change, InDoubt, Ledger, Problem, State
from memxfer.ledger.states import FILTERED, IGNORED
from memxfer.models import MemoryRecord
from memxfer.spi import Clock, Document, MemoryProvider, Refused, Selection, Skipped

__all__ = ["Batch", "Batcher", "Entry", "Pipeline", "WalkSlice"]


_TICK = 0.02


@dataclass(slots=True)
class WalkSlice(Slice):
    """A slice whose place the ledger keeps."""

    walk: PartitionWalk | None = None


@dataclass(slots=True, eq=False)
class Entry:
    """One document on its way.

    Attributes:
        ticket: The page it came from.
        document: What is sent.
        size: Bytes it holds in the budget.
        hash: Of the record it was made from.
        doubt: What an earlier run left of it.
        seq: Its row in the ledger.
        sends: Intents so far under this key and hash.
        is_settled: What became of it is durable.
    """

    ticket: Ticket
    document: Document
    size: int
    hash: bytes
    doubt: InDoubt | None = None
    seq: int = 0
    sends: int = 0
    is_settled: bool = False


@dataclass(slots=True, eq=False)
class Batch:
    """Documents for one request, and the promise that their intents become durable."""

    entries: list[Entry]
    durable: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What turns records into documents.

    Attributes:
        selection: Which records are wanted.
        key: Gives a record's document key; raises `RecordError` where it has none.
        envelope: Gives what the target cannot hold natively.
        target: Maps and validates.
    """

    selection: Selection
    key: Callable[[MemoryRecord], str]
    envelope: Callable[[MemoryRecord], Mapping[str, Any]]
    target: MemoryProvider[Any]

    def prepare(self, record: MemoryRecord) -> Document | Skipped | Refused:
        """Return what becomes of `record`."""
        try:
            key = self.key(record)
        except RecordError as error:
            return Refused(error)
        return self.target.prepare(record, key, self.envelope(record))


class _Buffer:
    """Documents waiting for company; no key twice, and no more than one request takes."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._entries: dict[str, Entry] = {}
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def takes(self, entry: Entry) -> bool:
        """Tell whether `entry` fits in beside what is there."""
        if not self._entries:
            return True
        fits = len(self._entries) < self._most and self._bytes + entry.document.size <= self._most_bytes
        return fits and entry.document.key not in self._entries

    def add(self, entry: Entry) -> None:
        self._entries[entry.document.key] = entry
        self._bytes += entry.document.size

    def take(self) -> list[Entry]:
        entries = list(self._entries.values())
        self._entries.clear()
        self._bytes = 0
        return entries


class Batcher:
    """Takes pages from the listers and gives batches to the writers.

    Documents that an earlier run may have sent go in batches of their own, so that a refusal of
    theirs never holds up new ones.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        ledger: Ledger,
        *,
        budget: ByteBudget,
        control: RunControl,
        clock: Clock,
        settings: EngineSettings,
        batch_size: int,
        leftovers: Leftovers,
        taken: int,
    ) -> None:
        self._pipeline = pipeline
        self._ledger = ledger
        self._budget = budget
        self._control = control
        self._clock = clock
        self._settings = settings
        self._pages: asyncio.Queue[tuple[WalkSlice, ListedPage] | None] = asyncio.Queue()
        self.batches: asyncio.Queue[Batch | None] = asyncio.Queue(maxsize=settings.writers)
        self._fresh = _Buffer(batch_size, settings.batch_bytes)
        self._doubtful = _Buffer(batch_size, settings.batch_bytes)
        self._leftovers = leftovers
        self._idle = 0.0
        self.taken = taken
        self.set_aside = 0

    async def deliver(self, item: WalkSlice, page: ListedPage) -> None:
        """Take one page from a lister."""
        self._pages.put_nowait((item, page))

    def close(self) -> None:
        """Say that no page will follow."""
        self._pages.put_nowait(None)

    async def run(self) -> None:
        """Work until `close`, then send each writer its end mark."""
        is_open = True
        while is_open:
            is_open = await self._step()
        if not self._control.is_stopping:
            await self._flush(self._doubtful)
            await self._flush(self._fresh)
        else:
            await self._drop()
        for _ in range(self._settings.writers):
            await self.batches.put(None)

    async def abandon(self) -> None:
        """After a failure: drop what waits, let every writer end and no lister wait for room."""
        await self._budget.close()
        while not self.batches.empty():
            self.batches.get_nowait()
        for _ in range(self._settings.writers):
            self.batches.put_nowait(None)

    async def _step(self) -> bool:
        try:
            item = await asyncio.wait_for(self._pages.get(), _TICK)
        except TimeoutError:
            await self._flush_if_stale()
            return True
        self._idle = 0.0
        if item is None:
            return False
        if self._control.is_stopping:
            await self._budget.release(item[1].size)
        else:
            await self._take(*item)
        return True

    async def _flush_if_stale(self) -> None:
        """Send what waits for company when none comes, or when it takes the room of the next page."""
        self._idle += _TICK
        is_starving = self._budget.is_tight and self.batches.empty()
        if self._idle >= self._settings.linger or is_starving:
            await self._flush(self._doubtful)
            await self._flush(self._fresh)

    async def _drop(self) -> None:
        """Forget documents whose intent was never noted: a later run lists them again."""
        for buffer in (self._doubtful, self._fresh):
            await self._budget.release(sum(entry.size for entry in buffer.take()))

    # -- one page -----------------------------------------------------------------------------

    async def _take(self, item: WalkSlice, page: ListedPage) -> None:
        walk = item.walk
        if walk is None:
            raise ProviderError("a page without a walk: a bug in the engine")
        ticket = walk.open_page(page.next_cursor)
        ticket.counts[IGNORED] += page.ignored
        change = Change()
        for index, defect in enumerate(page.defects):
            record_id = defect.id or f"unreadable row {index} of {item.partition.name} after {page.cursor}"
            self._reject(change, ticket, record_id, walk.meet(record_id), defect.error)
        entries, freed = self._route_all(change, ticket, page.records)
        if page.next_cursor is None:
            found = await self._leftovers.find(change, walk)
            await self._budget.acquire_now(sum(listed.size for listed in found))
            more, more_freed = self._route_all(change, ticket, found)
            entries, freed = entries + more, freed + more_freed
        ticket.outstanding += len(entries)
        ticket.is_sealed = not ticket.is_cut
        self._pass_watermark(change, walk)
        if not change.is_empty():
            self._ledger.commit(change).add_done_callback(_consume)
        if freed:
            await self._budget.release(freed)
        for entry in entries:
            await self._buffer(entry)

    def _route_all(
        self, change: Change, ticket: Ticket, records: Iterable[Listed]
    ) -> tuple[list[Entry], int]:
        """Return what has to be sent, and the bytes of what has not."""
        entries: list[Entry] = []
        freed = 0
        for listed in records:
            entry = self._route(change, ticket, listed)
            if entry is None:
                freed += listed.size
            else:
                entries.append(entry)
        return entries, freed

    def _route(self, change: Change, ticket: Ticket, listed: Listed) -> Entry | None:
        """Decide what becomes of a record; `None` when nothing has to be sent."""
        record = listed.record
        if self.is_full:
            ticket.is_cut = True
            return None
        if not self._pipeline.selection.matches(record):
            ticket.counts[FILTERED] += 1
            return None
        doubt = ticket.walk.meet(record.id)
        if doubt is not None and doubt.state is not State.INTENT:
            ticket.last_seq = max(ticket.last_seq, doubt.seq)
            return None
        self.taken += 1
        prepared = self._pipeline.prepare(record)
        if isinstance(prepared, Document):
            return Entry(ticket, prepared, listed.size, listed.hash, doubt)
        if isinstance(prepared, Skipped):
            self._aside(
                change,
                ticket,
                record.id,
                doubt,
                State.SKIPPED,
                Problem(prepared.reason, "left out by decision"),
            )
        else:
            self._reject(change, ticket, record.id, doubt, prepared.error)
        return None

    @property
    def is_full(self) -> bool:
        """Whether a sample has all its records."""
        return self._settings.sample is not None and self.taken >= self._settings.sample

    def _reject(
        self, change: Change, ticket: Ticket, record_id: str, doubt: InDoubt | None, error: RecordError
    ) -> None:
        problem = Problem(error.code, str(error), error.correlation_id)
        self._aside(change, ticket, record_id, doubt, State.REJECTED, problem)

    def _aside(
        self,
        change: Change,
        ticket: Ticket,
        record_id: str,
        doubt: InDoubt | None,
        state: State,
        problem: Problem,
    ) -> None:
        now = self._clock.now()
        if doubt is None:
            seq = self._ledger.set_aside(change, ticket.walk.row.id, record_id, state, problem, at=now)
        else:
            seq = doubt.seq
            if doubt.state is State.INTENT:
                # It may have been sent before the decision changed, so nobody can say it is not there.
                self._ledger.settle(change, seq, doubt.state, State.UNCERTAIN, at=now, problem=problem)
        self.set_aside += 1
        ticket.last_seq = max(ticket.last_seq, seq)

    def _pass_watermark(self, change: Change, walk: PartitionWalk) -> None:
        passed = walk.advance()
        if passed is not None:
            change.counts.update(passed)
            self._ledger.advance(change, walk.row)

    # -- batches ------------------------------------------------------------------------------

    async def _buffer(self, entry: Entry) -> None:
        buffer = self._fresh if entry.doubt is None else self._doubtful
        if not buffer.takes(entry):
            await self._flush(buffer)
        buffer.add(entry)

    async def _flush(self, buffer: _Buffer) -> None:
        entries = buffer.take()
        if not entries:
            return
        change = Change()
        for entry in entries:
            self._intend(change, entry)
        durable = self._ledger.commit(change)
        durable.add_done_callback(_consume)
        await self.batches.put(Batch(entries, durable))

    def _intend(self, change: Change, entry: Entry) -> None:
        document = entry.document
        if entry.doubt is None:
            partition = entry.ticket.walk.row.id
            entry.seq = self._ledger.intend(change, partition, document.record_id, document.key, entry.hash)
            entry.sends = 1
        else:
            entry.seq = entry.doubt.seq
            entry.sends = self._ledger.intend_again(change, entry.doubt, document.key, entry.hash)
        entry.ticket.last_seq = max(entry.ticket.last_seq, entry.seq)
        if document.changes:
            problem = Problem(document.changes[0], f"sent with changes: {', '.join(document.changes)}")
            self._ledger.warn(change, entry.seq, problem, at=self._clock.now())


def _consume(future: asyncio.Future[None]) -> None:
    """Look at the result, so that a failed ledger is reported once, by whoever waits for it."""
    if not future.cancelled():
        future.exception()
