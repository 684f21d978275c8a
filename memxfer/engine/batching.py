"""From pages to batches: select, key, map, validate, and note the intent before anything is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from memxfer.engine.batches import Batch, Entry, Lanes
from memxfer.engine.budget import ByteBudget
from memxfer.engine.control import RunControl
from memxfer.engine.gate import Gate
from memxfer.engine.leftovers import Leftovers
from memxfer.engine.listing import Listed, ListedPage, Slice
from memxfer.engine.pipeline import Pipeline, regrouped
from memxfer.engine.residue import Residue
from memxfer.engine.settings import EngineSettings
from memxfer.engine.watermark import PartitionWalk, Ticket
from memxfer.errors import ProviderError, RecordError
from memxfer.ledger import (
    Change,
    InDoubt,
    Ledger,
    Part,
    Problem,
    ResidueLine,
    State,
    Waiting,
    stored_name,
)
from memxfer.ledger.states import FILTERED, IGNORED, IGNORED_AS
from memxfer.models import MemoryRecord, encode_record, sanitise_text
from memxfer.spi import Clock, Document, Ignored, Prepared, Refused, Skipped

__all__ = ["Batcher", "WalkSlice", "consume", "note_changes"]

_TICK = 0.02


class _Mark(Enum):
    """What is put among the pages."""

    FLUSH = "flush"
    END = "end"


_DESELECTED = Skipped("deselected")


@dataclass(slots=True)
class WalkSlice(Slice):
    """A slice whose place the ledger keeps."""

    walk: PartitionWalk | None = None


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
        gate: Gate,
        before: Counter[str],
        residue: Residue | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._ledger = ledger
        self._waiting = Waiting(ledger)
        self._sampled_groups = set(self._waiting.groups()) if settings.sample is not None else set()
        self._budget = budget
        self._control = control
        self._clock = clock
        self._settings = settings
        self._pages: asyncio.Queue[tuple[WalkSlice, ListedPage] | _Mark] = asyncio.Queue()
        self.batches: asyncio.Queue[Batch | None] = asyncio.Queue(maxsize=settings.writers)
        self._fresh = Lanes(batch_size, settings.batch_bytes)
        self._doubtful = Lanes(batch_size, settings.batch_bytes)
        self._leftovers = leftovers
        self._gate = gate
        self._residue = residue
        self._idle = 0.0
        self._taken = sum(before[state] for state in State)
        self._doubts = before[State.INTENT]
        self.set_aside: Counter[str] = Counter()

    async def deliver(self, item: WalkSlice, page: ListedPage) -> None:
        """Take one page from a lister."""
        if item.walk is not None:
            item.walk.expect_page()
        self._pages.put_nowait((item, page))

    def flush(self) -> None:
        """Send what waits for company, once the pages delivered so far are taken."""
        self._pages.put_nowait(_Mark.FLUSH)

    def close(self) -> None:
        """Say that no page will follow."""
        self._pages.put_nowait(_Mark.END)

    async def run(self) -> None:
        """Work until `close`, then send each writer its end mark."""
        is_open = True
        while is_open:
            is_open = await self._step()
        if not self._control.is_stopping:
            await self._flush_all()
        else:
            await self._drop()
        for _ in range(self._settings.writers):
            await self.batches.put(None)

    async def abandon(self) -> None:
        """After a stop in mid-page: let every writer end, and no lister wait for room.

        Batches that are queued stay there: the writers take their intents back.
        """
        await self._budget.close()
        for _ in range(self._settings.writers):
            await self.batches.put(None)

    async def _step(self) -> bool:
        try:
            # Not wait_for: before Python 3.12 that swallows a cancellation which meets a page.
            async with asyncio.timeout(_TICK):
                item = await self._pages.get()
        except TimeoutError:
            await self._flush_if_stale()
            return True
        self._idle = 0.0
        if item is _Mark.END:
            return False
        if isinstance(item, _Mark):
            if not self._control.is_stopping:
                await self._flush_all()
        elif self._control.is_stopping:
            await self._budget.release(item[1].size)
        else:
            await self._take(*item)
        return True

    async def _flush_if_stale(self) -> None:
        """Send what waits for company when none comes, or when it takes the room of the next page."""
        self._idle += _TICK
        is_starving = self._budget.is_tight and self.batches.empty()
        if self._idle >= self._settings.linger or is_starving:
            await self._flush_all()

    async def _drop(self) -> None:
        """Forget documents whose intent was never noted: a later run lists them again."""
        for lanes in (self._doubtful, self._fresh):
            for entries in lanes.take_all():
                await self._budget.release(sum(entry.size for entry in entries))

    # -- one page -----------------------------------------------------------------------------

    async def _take(self, item: WalkSlice, page: ListedPage) -> None:
        walk = item.walk
        if walk is None:
            raise ProviderError("a page without a walk: a bug in the engine")
        ticket = walk.open_page(page.next_cursor)
        change = Change()
        if page.ignored:
            self._leave_out(change, ticket, page.ignored)
        for index, defect in enumerate(page.defects):
            name = defect.id or f"unreadable row {index} of {item.partition.name} after {page.cursor}"
            record_id = sanitise_text(name)[0]
            self._reject(change, ticket, record_id, self._meet(ticket, record_id, None), defect.error)
        entries, freed = self._route_all(change, ticket, page.records)
        if page.next_cursor is None:
            late, late_freed = await self._route_late(change, ticket)
            more, more_freed = await self._find_leftovers(change, ticket)
            entries, freed = entries + late + more, freed + late_freed + more_freed
        for entry in entries:
            entry.ticket.outstanding += 1
        ticket.is_sealed = not ticket.is_cut
        self._pass_watermark(change, walk)
        if not change.is_empty():
            self._ledger.commit(change).add_done_callback(consume)
        if freed:
            await self._budget.release(freed)
        for entry in entries:
            await self._buffer(entry)
        self._gate.stop_if_exceeded()

    def _leave_out(self, change: Change, ticket: Ticket, rows: Sequence[Ignored]) -> None:
        """Count rows that are no memories; a page with some that nobody agreed to leave out is not passed."""
        ticket.is_cut |= not self._gate.leave_out(change, rows)
        ticket.counts[IGNORED] += len(rows)
        ticket.counts.update(IGNORED_AS + row.reason for row in rows)

    async def _route_late(self, change: Change, last: Ticket) -> tuple[list[Entry], int]:
        """Decide about the records that were put off to the end of the walk, which is here."""
        entries: list[Entry] = []
        freed = 0
        for ticket, listed in last.walk.take_late():
            await self._budget.acquire_now(listed.size)
            doubt = self._noticed(ticket.meet_older_form(listed.record.id, listed.hash))
            before = ticket.last_seq
            entry = self._route(change, ticket, listed, doubt)
            # Its seq comes after those of the pages in between: it is for the last page to pass it.
            last.last_seq, ticket.last_seq = max(last.last_seq, ticket.last_seq), before
            if entry is None:
                freed += listed.size
            else:
                entries.append(entry)
        return entries, freed

    async def _find_leftovers(self, change: Change, ticket: Ticket) -> tuple[list[Entry], int]:
        missing = sum(doubt.state is State.INTENT for doubt in ticket.walk.in_doubt)
        if not missing:
            return [], 0
        found = await self._leftovers.find(change, ticket)
        self._doubts -= missing - len(found)
        await self._budget.acquire_now(sum(listed.size for listed in found))
        return self._route_all(change, ticket, found, is_last=True)

    def _route_all(
        self, change: Change, ticket: Ticket, records: Iterable[Listed], *, is_last: bool = False
    ) -> tuple[list[Entry], int]:
        """Return what has to be sent, and the bytes of what has not.

        With `is_last` nothing of the walk follows: a record that is not known as it is may be one that
        was edited since an earlier run.
        """
        entries: list[Entry] = []
        freed = 0
        for listed in records:
            doubt = self._meet(ticket, listed.record.id, listed.hash)
            if doubt is None and not is_last and ticket.walk.put_off(ticket, listed):
                freed += listed.size
                continue
            if doubt is None:
                doubt = self._noticed(ticket.meet_older_form(listed.record.id, listed.hash))
            entry = self._route(change, ticket, listed, doubt)
            if entry is None:
                freed += listed.size
            else:
                entries.append(entry)
        return entries, freed

    def _route(self, change: Change, ticket: Ticket, listed: Listed, doubt: InDoubt | None) -> Entry | None:
        """Decide what becomes of a record; `None` when nothing has to be sent."""
        record = listed.record
        if doubt is not None and doubt.state is not State.INTENT:
            return None
        is_wanted = self._pipeline.selection.matches(record)
        if doubt is None and not self._takes(ticket, record, is_wanted=is_wanted):
            return None
        # What an earlier run took up is known; only a newcomer can be taken for another.
        prepare = self._pipeline.prepare_listed if doubt is None else self._pipeline.prepare_again
        prepared = prepare(listed) if is_wanted else _DESELECTED
        judged = self._gate.judge(change, record, prepared)
        if judged is None:
            ticket.is_cut = True
            return None
        prepared, losses = judged
        originals, prepared = self._originals(ticket, listed, prepared, doubt)
        if isinstance(prepared, Document) and prepared.group is not None:
            if doubt is not None:
                raise regrouped(self._pipeline.target.name)
            self._keep_waiting(change, ticket, listed, prepared, prepared.group, originals)
            self._gate.tally(change, losses)
            return None
        if isinstance(prepared, Document):
            seq = doubt.seq if doubt else self._ledger.reserve()
            ticket.last_seq = max(ticket.last_seq, seq)
            return Entry(
                ticket,
                prepared,
                listed.size,
                listed.hash,
                doubt,
                seq,
                originals=originals,
                record=self._pipeline.mapped(record),
                losses=losses,
            )
        change.residue.extend(originals)
        if isinstance(prepared, Skipped):
            problem = Problem(prepared.reason, "left out by decision")
            self._aside(change, ticket, record.id, doubt, State.SKIPPED, problem, digest=listed.hash)
        else:
            self._reject(change, ticket, record.id, doubt, prepared.error, digest=listed.hash)
        return None

    def _keep_waiting(
        self,
        change: Change,
        ticket: Ticket,
        listed: Listed,
        document: Document,
        group: str,
        originals: Sequence[ResidueLine],
    ) -> None:
        """Keep a part of a group in the ledger until the rest of it is listed."""
        if self._settings.sample is not None:
            self._sampled_groups.add(stored_name(group))
        seq = self._ledger.reserve()
        ticket.last_seq = max(ticket.last_seq, seq)
        encoded = listed.encoded or encode_record(listed.record)
        self._waiting.add(
            change,
            partition=ticket.walk.row.id,
            part=Part(seq, document.record_id, document.key, 0, encoded),
            digest=listed.hash,
            group=group,
            rank=document.rank,
        )
        change.residue.extend(originals)
        note_changes(self._ledger, change, seq, document, at=self._clock.now())

    def _originals(
        self, ticket: Ticket, listed: Listed, prepared: Prepared, doubt: InDoubt | None
    ) -> tuple[Sequence[ResidueLine], Prepared]:
        """Return what goes to the residue; a record whose original cannot be kept there is not sent."""
        if self._residue is None or prepared is _DESELECTED:
            return (), prepared
        name = ticket.walk.row.name
        try:
            return self._residue.lines(listed, prepared, partition=name, doubt=doubt), prepared
        except RecordError as error:
            return (), Refused(error) if isinstance(prepared, Document) else prepared

    def _takes(self, ticket: Ticket, record: MemoryRecord, *, is_wanted: bool) -> bool:
        """Tell whether a new record is to be moved, and count it."""
        if not is_wanted:
            ticket.counts[FILTERED] += 1
        elif self._has_enough and not self._completes(record):
            ticket.is_cut = True
        else:
            self._taken += 1
            ticket.walk.note_new(record.created_at, self._clock)
            return True
        return False

    def _completes(self, record: MemoryRecord) -> bool:
        """Tell whether a record belongs to a group of which a sample has parts: it takes all or none."""
        if not self._sampled_groups:
            return False
        prepared = self._pipeline.prepare(record)
        if not isinstance(prepared, Document) or prepared.group is None:
            return False
        return stored_name(prepared.group) in self._sampled_groups

    def _meet(self, ticket: Ticket, record_id: str, digest: bytes | None) -> InDoubt | None:
        return self._noticed(ticket.meet(record_id, digest))

    def _noticed(self, doubt: InDoubt | None) -> InDoubt | None:
        if doubt is not None and doubt.state is State.INTENT:
            self._doubts -= 1
        return doubt

    @property
    def _has_enough(self) -> bool:
        return self._settings.sample is not None and self._taken >= self._settings.sample

    @property
    def is_full(self) -> bool:
        """Whether a sample has all its records, and nothing an earlier run left is still to be met."""
        return self._has_enough and self._doubts <= 0 and not self._sampled_groups

    def _reject(
        self,
        change: Change,
        ticket: Ticket,
        record_id: str,
        doubt: InDoubt | None,
        error: RecordError,
        *,
        digest: bytes | None = None,
    ) -> None:
        problem = Problem(error.code, str(error), error.correlation_id)
        self._aside(change, ticket, record_id, doubt, State.REJECTED, problem, digest=digest)

    def _aside(
        self,
        change: Change,
        ticket: Ticket,
        record_id: str,
        doubt: InDoubt | None,
        state: State,
        problem: Problem,
        *,
        digest: bytes | None,
    ) -> None:
        now = self._clock.now()
        end = state
        if doubt is None:
            seq = self._ledger.set_aside(
                change, ticket.walk.row.id, record_id, state, problem, at=now, digest=digest
            )
            ticket.last_seq = max(ticket.last_seq, seq)
        elif doubt.state is State.INTENT:
            # It may have been sent before the decision changed, so nobody can say it is not there.
            end = State.UNCERTAIN
            self._ledger.settle(change, doubt.seq, doubt.state, end, at=now, problem=problem)
        else:
            return
        self.set_aside[end] += 1

    def _pass_watermark(self, change: Change, walk: PartitionWalk) -> None:
        passed = walk.advance()
        if passed is not None:
            change.counts.update(passed)
            self._ledger.advance(change, walk.row)

    # -- batches ------------------------------------------------------------------------------

    async def _buffer(self, entry: Entry) -> None:
        lanes = self._fresh if entry.doubt is None else self._doubtful
        await self._flush(lanes.make_room(entry))
        lanes.add(entry)

    async def _flush_all(self) -> None:
        for lanes in (self._doubtful, self._fresh):
            for entries in lanes.take_all():
                await self._flush(entries)

    async def _flush(self, entries: list[Entry]) -> None:
        if not entries:
            return
        change = Change()
        for entry in entries:
            self._intend(change, entry)
            change.residue.extend(entry.originals)
            entry.originals = ()
        durable = self._ledger.commit(change)
        durable.add_done_callback(consume)
        await self.batches.put(Batch(entries, durable))

    def _intend(self, change: Change, entry: Entry) -> None:
        document = entry.document
        if entry.doubt is None:
            self._ledger.intend(
                change,
                entry.seq,
                partition=entry.ticket.walk.row.id,
                record_id=document.record_id,
                key=document.key,
                digest=entry.hash,
            )
            entry.sends = 1
        else:
            entry.sends = self._ledger.intend_again(change, entry.doubt, document.key, entry.hash)
            entry.is_changed = entry.sends == 1
        if entry.doubt is None or entry.is_changed:
            self._gate.tally(change, entry.losses)
        note_changes(self._ledger, change, entry.seq, document, at=self._clock.now())


def note_changes(ledger: Ledger, change: Change, seq: int, document: Document, *, at: datetime) -> None:
    """Note what a document alters of its record."""
    if document.changes:
        problem = Problem(document.changes[0], f"sent with changes: {', '.join(document.changes)}")
        ledger.note(change, seq, problem, at=at)


def consume(future: asyncio.Future[None]) -> None:
    """Look at the result, so that a failed ledger is reported once, by whoever waits for it."""
    if not future.cancelled():
        future.exception()
