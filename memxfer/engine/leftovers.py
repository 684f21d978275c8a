"""Records an earlier run was about to send and the source does not list any more."""

from __future__ import annotations

from typing import Any

from memxfer.engine.calls import Caller
from memxfer.engine.listing import Listed
from memxfer.engine.watermark import PartitionWalk
from memxfer.ledger import Change, InDoubt, Ledger, Problem, State
from memxfer.spi import MemoryProvider, SupportsGet, SupportsLookup

__all__ = ["Leftovers"]

_GONE = Problem("gone", "the source no longer has it, and the target never got it")
_UNCERTAIN = Problem("uncertain", "the source no longer has it, and it may have been sent before the crash")


class Leftovers:
    """Settles what a complete walk did not meet again.

    Args:
        source: Asked for the record by id, where it can be.
        target: Asked for the document by key, where it can be.
    """

    def __init__(
        self,
        source: MemoryProvider[Any],
        target: MemoryProvider[Any],
        *,
        source_caller: Caller,
        target_caller: Caller,
        ledger: Ledger,
    ) -> None:
        self._source = source
        self._target = target
        self._source_caller = source_caller
        self._target_caller = target_caller
        self._ledger = ledger

    async def find(self, change: Change, walk: PartitionWalk) -> list[Listed]:
        """Return the records that are there after all; settle the others in `change`."""
        found: list[Listed] = []
        for doubt in list(walk.in_doubt.values()):
            if doubt.state is not State.INTENT:
                continue
            listed = await self._get(doubt.id)
            if listed is None:
                walk.meet(doubt.id)
                await self._settle(change, doubt)
            else:
                found.append(listed)
        return found

    async def _get(self, record_id: str) -> Listed | None:
        source = self._source
        if not isinstance(source, SupportsGet):
            return None
        record = await self._source_caller.read(lambda: source.get(record_id))
        return None if record is None else Listed.of(record)

    async def _settle(self, change: Change, doubt: InDoubt) -> None:
        target = self._target
        now = self._source_caller.clock.now()
        if not isinstance(target, SupportsLookup) or doubt.key is None:
            self._ledger.settle(change, doubt.seq, doubt.state, State.UNCERTAIN, at=now, problem=_UNCERTAIN)
            return
        key = doubt.key
        held = await self._target_caller.read(lambda: target.lookup([key]))
        if key in held:
            self._ledger.settle(change, doubt.seq, doubt.state, State.PRESENT, at=now, target_ids=held[key])
        else:
            self._ledger.settle(change, doubt.seq, doubt.state, State.GONE, at=now, problem=_GONE)
