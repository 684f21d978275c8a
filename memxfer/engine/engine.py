"""One run of a job: list, batch, write, settle; then say honestly how far it came."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from memxfer.capabilities import ClientKey, Writing
from memxfer.engine.batching import Batcher, WalkSlice, consume
from memxfer.engine.budget import ByteBudget
from memxfer.engine.calls import Caller
from memxfer.engine.control import RunControl, StopCause, Stopped, side_by_side
from memxfer.engine.gate import COLLISION, Gate
from memxfer.engine.grouping import Grouper
from memxfer.engine.leftovers import Leftovers
from memxfer.engine.listing import ListedPage, Listing
from memxfer.engine.pipeline import TELLING_TWINS, Pipeline
from memxfer.engine.placing import Placer
from memxfer.engine.residue import Residue
from memxfer.engine.settings import EngineSettings
from memxfer.engine.settling import Settler
from memxfer.engine.watermark import PartitionWalk, WalkKind
from memxfer.engine.writing import Writer
from memxfer.errors import MemxferError
from memxfer.ledger import Change, Doubts, Ledger, Namesake, PartitionRow, Problem, State, stored_name
from memxfer.ledger.states import FILTERED, IGNORED
from memxfer.models import format_time, parse_time
from memxfer.spi import Clock, MemoryProvider, Partition, SupportsCount

__all__ = ["Engine", "Shortage", "Snapshot"]

_MOST_SWEEPS = 2
_OPEN_WALKS = 256

# Notes about the job in its ledger.
_BEGAN = "began"
"""When it began: what the source got later is not owed."""
_COUNT_BEFORE = "source_count"
"""Rows of the source when the job began."""
_COUNT_CHECK = "count_check"
"""How the last comparison with the source's count came out: empty while it is still to be made."""
_IS_WHOLE = "whole"
_LISTS_AGAIN = "lists_again"
"""The count did not agree with a stable listing, so that it is swept too."""
_COLLISION = Problem("duplicate_key", COLLISION)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a run stands.

    Attributes:
        phase: Moving, or waiting for the target to process.
        done: Records finished in this phase, earlier runs included; while settling, answers of this run.
        total: Rows of the source, or records to settle; where known.
        skipped: Records left out by decision, earlier runs included, as the next two.
        rejected: Records that were not sent, because the target could never hold them.
        failed: Records that the target refused or failed to process.
        waiting: Seconds until the target takes calls again; `None` when it does.
        asked: While settling: records asked about in the round of questions that is under way.
        next_check: While settling: seconds until the next round; `None` in a round.
    """

    phase: Literal["move", "settle"]
    done: int
    total: int | None
    skipped: int = 0
    rejected: int = 0
    failed: int = 0
    waiting: float | None = None
    asked: int | None = None
    next_check: float | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """The source counts more rows than its listing shows, also when it is listed again.

    Attributes:
        counted: Rows by the source's own count.
        listed: Rows its listing ever showed to this job.
    """

    counted: int
    listed: int


class Engine:
    """Moves records from a connected source to a connected target, under one ledger.

    Args:
        source: Connected as source.
        ledger: Open; what it knows from earlier runs is continued.
        pipeline: Selects, keys and maps; holds the target, connected.
        settings: Tuning.
        control: Stopped from outside by Ctrl-C, from inside by what cannot go on.
        clock: Time.
        residue: Keeps originals; the ledger has its archive. `None`: none are kept.

    Attributes:
        aborted: Partitions that could not be listed to their end, with the reason.
        vanished: Partitions that the source no longer has, and that no run had listed to their end.
        shortage: What the source counts and does not list; `None`: as far as it can be told, nothing.
    """

    def __init__(
        self,
        source: MemoryProvider[Any],
        *,
        ledger: Ledger,
        pipeline: Pipeline,
        settings: EngineSettings,
        control: RunControl,
        clock: Clock,
        residue: Residue | None = None,
    ) -> None:
        target = pipeline.target
        self._source = source
        self._target = target
        self._ledger = ledger
        self._settings = settings
        self._control = control
        self._clock = clock
        self._budget = ByteBudget(settings.buffer_bytes)
        self._source_caller = Caller(source.config, control, clock)
        self._target_caller = Caller(target.config, control, clock)
        self._before = ledger.counts()
        self._pipeline = pipeline
        self._gate = Gate(pipeline, ledger, control)
        self._residue = residue
        self._batcher = self._make_batcher()
        placer = Placer(target, self._target_caller, store=ledger, settings=settings)
        self._writer = Writer(target, self._target_caller, ledger, self._budget, settings, placer)
        self._grouper = Grouper(pipeline, self._target_caller, ledger, placer, settings, self._gate)
        self._settler = Settler(target, self._target_caller, ledger=ledger, settings=settings)
        self._listing = Listing(
            source,
            self._source_caller,
            budget=self._budget,
            listers=settings.listers,
            keeps_encoded=residue is not None,
        )
        self._open: list[PartitionWalk] = []
        self._most_open = _OPEN_WALKS
        self._unlisted: frozenset[int] = frozenset()
        self._has_listed_again = False
        self._phase = "move"
        self._total: int | None = None
        self._count_before: int | None = None
        self.vanished: Sequence[str] = ()
        self.shortage: Shortage | None = None

    @property
    def aborted(self) -> Mapping[str, str]:
        """Partitions that could not be listed to their end, by name, with the reason."""
        return self._listing.aborted

    @property
    def finished(self) -> int:
        """Records this run brought to a state of their own."""
        return sum(self._ended.values())

    def snapshot(self) -> Snapshot:
        """Say where the run stands; cheap."""
        waiting = self._target_caller.waiting_until - self._clock.monotonic()
        reached = self._before + self._ended + self._settler.done
        now = Snapshot(
            "move",
            _records(self._before) - self._before[State.INTENT] - self._before[State.WAITING] + self.finished,
            self._total,
            skipped=reached[State.SKIPPED],
            rejected=reached[State.REJECTED],
            failed=reached[State.FAILED],
            waiting=waiting if waiting > 0 else None,
        )
        if self._phase == "move":
            return now
        settler = self._settler
        total = self._before[State.ACCEPTED] + self._ended[State.ACCEPTED]
        return replace(
            now,
            phase="settle",
            done=settler.answered,
            total=total,
            asked=settler.asked,
            next_check=settler.next_check,
        )

    @property
    def _ended(self) -> Counter[str]:
        """Records that this run brought to a state before it began to settle, by state."""
        return self._writer.done + self._grouper.done + self._batcher.set_aside

    async def run(self) -> None:
        """Do all there is to do, or stop early and note in `control` why."""
        try:
            await self._guarded(self._run())
        finally:
            self._gate.close()

    async def _run(self) -> None:
        await self._gate.open()
        await self._note_begin()
        await self._move()
        self._control.check()
        # Changes that nobody waited for are durable too, or the run has failed.
        await self._ledger.commit(Change())
        await self._grouper.run()
        await self._target_caller.read(self._target.finish)
        await self._note_collisions()
        if self._settings.settle:
            self._phase = "settle"
            await self._settler.run()

    # -- moving -------------------------------------------------------------------------------

    def _make_batcher(self) -> Batcher:
        writing = self._target.capabilities().writing or Writing()
        leftovers = Leftovers(
            self._source,
            self._target,
            source_caller=self._source_caller,
            target_caller=self._target_caller,
            ledger=self._ledger,
            residue=self._residue,
        )
        return Batcher(
            self._pipeline,
            self._ledger,
            budget=self._budget,
            control=self._control,
            clock=self._clock,
            settings=self._settings,
            batch_size=min(self._target.config.batch_size or writing.max_batch, writing.max_batch),
            leftovers=leftovers,
            gate=self._gate,
            before=self._before,
            residue=self._residue,
        )

    async def _move(self) -> None:
        async with side_by_side() as group:
            for _ in range(self._settings.writers):
                group.create_task(self._write())
            group.create_task(self._batch())
            group.create_task(self._guarded(self._list()))

    async def _list(self) -> None:
        try:
            await self._pass()
            if self._settings.sample is None:
                await self._complete()
        finally:
            self._batcher.close()

    async def _pass(self, *, is_sweep: bool = False) -> None:
        """List every partition that still has to be, to its end.

        Raises:
            Stopped: The run stops; what was not listed to its end counts as not listed.
        """
        await self._listing.run(
            self._slices(is_sweep=is_sweep),
            self._batcher.deliver,
            restart=self._restart,
            until=lambda: self._batcher.is_full,
        )
        self._control.check()

    async def _complete(self) -> None:
        """Where rows may have been missed, list again; a job goes on with it until nothing was.

        Rows are missed where they move while they are listed, and where a source hides them. At most
        two sweeps in one run: a source that never rests keeps the job incomplete, not running.
        """
        if not self._needs_sweep and not self._has_count_to_check:
            return
        for sweep in range(_MOST_SWEEPS + 1):
            await self._settled()
            if not self._unswept() and not await self._is_short_at_first():
                return
            if sweep < _MOST_SWEEPS:
                await self._pass(is_sweep=True)

    @property
    def _needs_sweep(self) -> bool:
        """Whether one complete listing is no proof that no row was missed."""
        return not self._listing.is_stable or self._ledger.meta(_LISTS_AGAIN) is not None

    def _unswept(self) -> list[PartitionRow]:
        """Return the partitions that were listed to their end and have to be listed once more."""
        if not self._needs_sweep:
            return []
        return [row for row in self._listed_rows() if row.is_done and not row.is_swept]

    def _listed_rows(self) -> Iterable[PartitionRow]:
        """Give the partitions that the source still has and that were not given up in this run."""
        given_up = {stored_name(name) for name in self._listing.aborted}
        rows = self._ledger.partitions().values()
        return (row for row in rows if row.id not in self._unlisted and row.name not in given_up)

    def unfinished(self) -> list[str]:
        """Return the names of partitions that are not known to be listed completely, for now.

        Those given up in this run (`aborted`) and those that are gone (`vanished`) are not among them.
        Meant for the end of a run without a sample.
        """
        needs_sweep = self._needs_sweep
        return [
            row.name for row in self._listed_rows() if not row.is_done or (needs_sweep and not row.is_swept)
        ]

    async def _settled(self) -> None:
        """Wait until all that was listed so far has its end in the ledger."""
        self._batcher.flush()
        for walk in self._open:
            await self._control.wait(walk.at_rest)
        self._open = []
        # Changes that nobody waited for are durable too: what follows is read from the file.
        await self._ledger.commit(Change())

    async def _batch(self) -> None:
        if not await self._guarded(self._batcher.run()):
            # The writers wait for their end marks, whatever happened here.
            await self._batcher.abandon()

    async def _write(self) -> None:
        # Each batch is guarded on its own: a writer must live to its end mark, or the batcher waits for ever.
        while (batch := await self._batcher.batches.get()) is not None:
            await self._guarded(self._writer.process(batch))

    async def _guarded(self, work: Awaitable[None]) -> bool:
        """The engine's boundary: whatever goes wrong inside stops the run with its place kept."""
        try:
            await work
        except Stopped:
            return False
        except MemxferError as error:
            self._target_caller.give_up(error)
        except Exception as error:  # noqa: BLE001 - a bug must not cost the job's place
            reason = f"an unexpected {type(error).__name__}; the job's place is kept"
            self._control.stop(StopCause.BUG, reason, error=error)
        else:
            return True
        return False

    async def _slices(self, *, is_sweep: bool) -> AsyncIterator[WalkSlice]:
        """Give the partitions to be listed: new ones are noted, known ones go on at their mark.

        A sweep gives those that were listed and not swept, from their start, and what is new since.
        """
        known = self._ledger.partitions()
        keeps_place = self._listing.is_stable and not is_sweep
        doubts = self._ledger.after_watermarks() if keeps_place else None
        since = self._began if is_sweep else None
        is_whole = True
        async for partition in self._listing.partitions():
            row = known.pop(stored_name(partition.name), None)
            if partition.name in self._listing.aborted or (is_sweep and row is not None and row.is_swept):
                is_whole = False
            elif row is None:
                yield self._begin(partition, self._add(partition), Doubts(), since=since)
            elif not row.is_done:
                # Where rows move, one from before the cursor may have moved behind it.
                found = self._ledger.all_of(row.id) if doubts is None else doubts.pop(row.id, Doubts())
                yield self._begin(partition, row, found, since=since if row.cursor is None else None)
            elif is_sweep:
                yield self._begin(partition, row, self._ledger.all_of(row.id), since=since, kind="sweep")
        self._has_listed_again |= is_sweep and is_whole
        await self._end_vanished(known.values())

    def _add(self, partition: Partition) -> PartitionRow:
        change = Change()
        row = self._ledger.add_partition(change, stored_name(partition.name))
        self._ledger.commit(change).add_done_callback(consume)
        return row

    def _begin(
        self,
        partition: Partition,
        row: PartitionRow,
        doubts: Doubts,
        *,
        since: datetime | None,
        kind: WalkKind = "read",
    ) -> WalkSlice:
        """Begin to list a partition; from now on the comparison with the count has to be made anew."""
        if self._ledger.meta(_COUNT_CHECK):
            change = Change()
            self._ledger.set_meta(change, _COUNT_CHECK, "")
            self._ledger.commit(change).add_done_callback(consume)
        walk = PartitionWalk(row, doubts, kind=kind, since=since)
        self._watch(walk)
        return WalkSlice(partition, row.cursor if kind == "read" else None, walk=walk)

    def _watch(self, walk: PartitionWalk) -> None:
        """Remember a walk until it is settled; of a hundred thousand owners only a few are open."""
        if len(self._open) >= self._most_open:
            self._open = [walk for walk in self._open if not walk.is_drained]
            self._most_open = max(_OPEN_WALKS, 2 * len(self._open))
        self._open.append(walk)

    async def _end_vanished(self, rows: Iterable[PartitionRow]) -> None:
        """Settle what earlier runs left open in partitions that the source no longer has.

        They stay as they are in the ledger: one that comes back is read on from its place.
        """
        gone = {row.id: row for row in rows}
        self._unlisted = frozenset(gone)
        self.vanished = tuple(row.name for row in gone.values() if not row.is_done)
        if not gone or not self._ledger.counts()[State.INTENT]:
            return
        for number, doubts in self._ledger.intents(gone).items():
            walk = PartitionWalk(gone[number], doubts, kind="vanished")
            self._watch(walk)
            item = WalkSlice(Partition(walk.row.name), walk=walk)
            await self._batcher.deliver(item, ListedPage((), None, None, (), (), 0))

    async def _restart(self, item: WalkSlice) -> None:
        """A cursor died: once all that came so far is settled, match the second walk against the ledger."""
        walk = item.walk
        if walk is not None:
            await self._control.wait(walk.at_rest)
            change = Change()
            if walk.kind == "read":
                walk.rewind(change)
                self._ledger.advance(change, walk.row)
            # Commits keep their order: once this one is durable, so is how every record before it ended.
            await self._ledger.commit(change)
            walk.restart(self._ledger.all_of(walk.row.id))

    # -- completeness -------------------------------------------------------------------------

    async def _count(self) -> int | None:
        source = self._source
        return await self._source_caller.read(source.count) if isinstance(source, SupportsCount) else None

    async def _note_begin(self) -> None:
        """Note when the job began and what the source counted then, unless an earlier run has."""
        self._total = await self._count()
        noted = self._ledger.meta(_COUNT_BEFORE)
        self._count_before = self._total if noted is None else int(noted)
        change = Change()
        if noted is None and self._total is not None:
            self._ledger.set_meta(change, _COUNT_BEFORE, str(self._total))
        if self._ledger.meta(_BEGAN) is None:
            self._ledger.set_meta(change, _BEGAN, format_time(self._clock.now()))
        if not change.is_empty():
            await self._ledger.commit(change)

    @property
    def _began(self) -> datetime:
        return parse_time(self._ledger.meta(_BEGAN) or format_time(self._clock.now()))

    @property
    def _has_count_to_check(self) -> bool:
        return isinstance(self._source, SupportsCount) and self._ledger.meta(_COUNT_CHECK) != _IS_WHOLE

    async def _is_short_at_first(self) -> bool:
        """Tell whether the source counts more than it listed, and has not been asked for all of it again.

        Rows that existed throughout are no more than the lower of two counts, one before the listing and
        one after it. Where fewer came, either the listing hides some, or some went before their turn
        while others came behind it: only a second complete listing can tell. It is not made again as
        long as the source's count stays the same.
        """
        self.shortage = None
        if not self._has_count_to_check or self._listing.aborted:
            return False
        counted = await self._count()
        counts = self._ledger.counts()
        listed = _records(counts) + counts[IGNORED] + counts[FILTERED]
        before, self._count_before = self._count_before, counted
        if before is None or counted is None or listed >= min(before, counted):
            await self._note_check(_IS_WHOLE)
            return False
        self.shortage = Shortage(counted, listed)
        found = f"{counted} counted, {listed} listed"
        if self._has_listed_again or self._ledger.meta(_COUNT_CHECK) == found:
            await self._note_check(found)
            return False
        change = Change()
        self._ledger.want_sweeps(change)
        self._ledger.set_meta(change, _LISTS_AGAIN, "yes")
        await self._ledger.commit(change)
        return True

    async def _note_check(self, found: str) -> None:
        change = Change()
        self._ledger.set_meta(change, _COUNT_CHECK, found)
        await self._ledger.commit(change)

    async def _note_collisions(self) -> None:
        """Two records under one key leave one document in the target: the others have not arrived.

        One that replaces keeps what it answered for last, another what it had first. Parts that were
        joined in one request are in one document together.
        """
        writing = self._target.capabilities().writing
        if writing is None or writing.client_key in TELLING_TWINS:
            return
        change = Change()
        now = self._clock.now()
        # An identity file may give two owners one name; the ledger knows them by their own.
        keeps_apart = writing.keeps_apart and self._pipeline.identity is None
        for twins in await asyncio.to_thread(lambda: self._ledger.twins(keeps_apart=keeps_apart)):
            kept = twins[-1 if writing.client_key is ClientKey.UPSERT else 0]
            for twin in twins:
                if not _is_held(twin, kept):
                    self._ledger.settle(
                        change,
                        twin.seq,
                        twin.state,
                        State.FAILED,
                        at=now,
                        target_ids=twin.target_ids,
                        problem=_COLLISION,
                    )
        await self._ledger.commit(change)


def _is_held(twin: Namesake, kept: Namesake) -> bool:
    """Tell whether the target holds a record, under the key of which it answered for `kept`."""
    return twin.form == kept.form or (twin.request == kept.request and twin.request > 0)


def _records(counts: Counter[str]) -> int:
    return sum(counts[state] for state in State)
