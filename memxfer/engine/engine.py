"""One run of a job: list, batch, write, settle; then say honestly how far it came."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from memxfer.capabilities import Writing
from memxfer.engine.batching import Batcher, WalkSlice, consume
from memxfer.engine.budget import ByteBudget
from memxfer.engine.calls import Caller
from memxfer.engine.control import RunControl, StopCause, Stopped, side_by_side
from memxfer.engine.gate import COLLISION, Gate
from memxfer.engine.grouping import Grouper
from memxfer.engine.leftovers import Leftovers
from memxfer.engine.listing import Listing
from memxfer.engine.pipeline import TELLING_TWINS, Pipeline
from memxfer.engine.placing import Placer
from memxfer.engine.residue import Residue
from memxfer.engine.settings import EngineSettings
from memxfer.engine.settling import Settler
from memxfer.engine.watermark import PartitionWalk
from memxfer.engine.writing import Writer
from memxfer.errors import MemxferError
from memxfer.ledger import Change, InDoubt, Ledger, PartitionRow, Problem, State
from memxfer.ledger.states import FILTERED, IGNORED
from memxfer.models import sanitise_text
from memxfer.spi import Clock, MemoryProvider, Partition, SupportsCount

__all__ = ["Engine", "Snapshot"]

_COUNT_BEFORE = "source_count"
_MOST_SWEEPS = 2
_SWEPT = "swept"
_COLLISION = Problem("duplicate_key", COLLISION)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a run stands.

    Attributes:
        phase: Moving, or waiting for the target to process.
        done: Records finished in this phase, earlier runs included.
        total: Rows of the source, or records to settle; where known.
        failed: Records rejected or refused.
        waiting: Seconds until the target takes calls again; `None` when it does.
    """

    phase: Literal["move", "settle"]
    done: int
    total: int | None
    failed: int
    waiting: float | None


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
        is_short: Fewer rows came than the source says it holds.
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
        self._walked: list[WalkSlice] = []
        self._phase = "move"
        self._total: int | None = None
        self.is_short = False

    @property
    def aborted(self) -> Mapping[str, str]:
        """Partitions that could not be listed to their end, by name, with the reason."""
        return self._listing.aborted

    @property
    def finished(self) -> int:
        """Records this run brought to a state of their own."""
        return sum((self._writer.done + self._grouper.done).values()) + self._batcher.set_aside

    def snapshot(self) -> Snapshot:
        """Say where the run stands; cheap."""
        written = self._writer.done + self._grouper.done
        waiting = self._target_caller.waiting_until - self._clock.monotonic()
        failed = written[State.FAILED] + self._settler.done[State.FAILED] + self._batcher.set_aside
        if self._phase == "settle":
            done = sum(self._settler.done.values())
            total = self._before[State.ACCEPTED] + written[State.ACCEPTED]
            return Snapshot("settle", done, total, failed, waiting if waiting > 0 else None)
        open_before = self._before[State.INTENT] + self._before[State.WAITING]
        done = _records(self._before) - open_before + self.finished
        return Snapshot("move", done, self._total, failed, waiting if waiting > 0 else None)

    async def run(self) -> None:
        """Do all there is to do, or stop early and note in `control` why."""
        try:
            await self._guarded(self._run())
        finally:
            self._gate.close()

    async def _run(self) -> None:
        await self._gate.open()
        before = await self._count_before()
        await self._move()
        self._control.check()
        # Changes that nobody waited for are durable too, or the run has failed.
        await self._ledger.commit(Change())
        await self._grouper.run()
        await self._target_caller.read(self._target.finish)
        await self._note_completeness(before)
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
            await self._listing.run(
                self._slices(),
                self._batcher.deliver,
                restart=self._restart,
                until=lambda: self._batcher.is_full,
            )
            await self._sweep()
        finally:
            self._batcher.close()

    async def _sweep(self) -> None:
        """Where rows move while they are listed, list again: what was missed is met now."""
        if not self._needs_sweep:
            return
        for _ in range(_MOST_SWEEPS):
            items = [item for item in self._walked if item.partition.name not in self._listing.aborted]
            await self._drained(items)
            before = self._batcher.taken
            await self._listing.run(self._again(items), self._batcher.deliver, restart=self._restart)
            await self._drained(items)
            if self._batcher.taken == before:
                break
        change = Change()
        self._ledger.set_meta(change, _SWEPT, "yes")
        self._ledger.commit(change).add_done_callback(consume)

    @property
    def _needs_sweep(self) -> bool:
        """Whether rows may have been missed; a job is swept once, also if it died before or in it."""
        is_sample = self._settings.sample is not None
        return not (self._listing.is_stable or is_sample or self._ledger.meta(_SWEPT))

    async def _again(self, items: Sequence[WalkSlice]) -> AsyncIterator[WalkSlice]:
        for item in items:
            await self._restart(item)
            item.cursor, item.is_done = None, False
            yield item

    async def _drained(self, items: Sequence[WalkSlice]) -> None:
        while not all(item.walk is None or item.walk.is_drained for item in items):
            await self._control.sleep(self._settings.restart_tick)

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

    async def _slices(self) -> AsyncIterator[WalkSlice]:
        """Give the partitions that are not done: new ones are noted, known ones go on at their mark."""
        known = self._ledger.partitions()
        needs_sweep = self._needs_sweep
        doubts = self._ledger.after_watermarks()
        async for partition in self._listing.partitions():
            name = sanitise_text(partition.name)[0]
            row = known.pop(name, None)
            if row is None:
                change = Change()
                row = self._ledger.add_partition(change, name)
                self._ledger.commit(change).add_done_callback(consume)
            if not row.is_done:
                yield self._slice(partition, row, doubts.pop(row.id, {}))
            elif needs_sweep:
                self._walked.append(WalkSlice(partition, walk=PartitionWalk(row, {})))
        for row in known.values():
            if not row.is_done:
                self._listing.aborted[row.name] = "the source no longer has this partition"

    def _slice(self, partition: Partition, row: PartitionRow, doubts: dict[str, InDoubt]) -> WalkSlice:
        if not self._listing.is_stable and row.cursor is not None:
            # Rows from before the cursor may have moved behind it.
            doubts = self._ledger.all_of(row.id)
        item = WalkSlice(partition, row.cursor, walk=PartitionWalk(row, doubts))
        self._walked.append(item)
        return item

    async def _restart(self, item: WalkSlice) -> None:
        """A cursor died: once all that came so far is settled, match the second walk against the ledger."""
        walk = item.walk
        if walk is not None:
            await self._drained([item])
            change = Change()
            walk.rewind(change)
            self._ledger.advance(change, walk.row)
            # Commits keep their order: once this one is durable, so is how every record before it ended.
            await self._ledger.commit(change)
            walk.restart(self._ledger.all_of(walk.row.id))

    # -- completeness -------------------------------------------------------------------------

    async def _count(self) -> int | None:
        source = self._source
        return await self._source_caller.read(source.count) if isinstance(source, SupportsCount) else None

    async def _count_before(self) -> int | None:
        """Return the source's count when the job began, from the ledger if an earlier run took it."""
        noted = self._ledger.meta(_COUNT_BEFORE)
        self._total = await self._count()
        if noted is not None:
            return int(noted)
        if self._total is not None:
            change = Change()
            self._ledger.set_meta(change, _COUNT_BEFORE, str(self._total))
            await self._ledger.commit(change)
        return self._total

    async def _note_completeness(self, before: int | None) -> None:
        """A listing may not end quietly short of what the source says it holds."""
        after = await self._count()
        if self._settings.sample is not None or before is None or after is None:
            return
        counts = self._ledger.counts()
        self.is_short = _records(counts) + counts[IGNORED] + counts[FILTERED] < min(before, after)

    async def _note_collisions(self) -> None:
        """Two records under one key leave one document in the target: the other has not arrived."""
        writing = self._target.capabilities().writing
        if writing is None or writing.client_key in TELLING_TWINS:
            return
        change = Change()
        now = self._clock.now()
        for twins in await asyncio.to_thread(self._ledger.twins):
            stored = [seq for seq, state in twins if state is State.STORED]
            kept = stored[0] if len(stored) == 1 else twins[-1][0]
            for seq, state in twins:
                if seq != kept:
                    self._ledger.settle(change, seq, state, State.FAILED, at=now, problem=_COLLISION)
        await self._ledger.commit(change)


def _records(counts: Counter[str]) -> int:
    return sum(counts[state] for state in State)
