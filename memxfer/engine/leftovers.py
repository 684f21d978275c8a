"""Records an earlier run was about to send and the source does not list any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memxfer.engine.calls import Caller
from memxfer.engine.listing import Listed
from memxfer.engine.pipeline import UNEXPECTED
from memxfer.engine.residue import Residue
from memxfer.engine.watermark import Ticket
from memxfer.errors import ProviderError, RecordError
from memxfer.ids import is_same_record
from memxfer.ledger import Change, InDoubt, Ledger, Problem, State
from memxfer.models import MemoryRecord, sanitise_record
from memxfer.spi import MemoryProvider, SupportsGet, SupportsLookup

__all__ = ["Leftovers"]

_CHUNK = 100
_TWO = 2

_GONE = Problem("gone", "the source no longer has it, and the target never got it")
_UNCERTAIN = Problem("uncertain", "the source no longer has it, and it may have been sent before the crash")


@dataclass(frozen=True, slots=True)
class _Missing:
    """A record that was not met again.

    Attributes:
        doubt: What an earlier run left of it.
        error: Why the source does not give it, although it may have it; `None`: it has it no more.
    """

    doubt: InDoubt
    error: RecordError | None = None

    def end(self, *, is_proof: bool) -> tuple[State, Problem]:
        """Return how it ends; `is_proof`: the target was asked, and certainly does not have it."""
        error = self.error
        if error is None:
            return (State.GONE, _GONE) if is_proof else (State.UNCERTAIN, _UNCERTAIN)
        text = f"the source does not list it and cannot give it by its id: {error}"
        if is_proof:
            return State.FAILED, Problem(error.code or "unreadable", text, error.correlation_id)
        text = f"{text}. It may have been sent before the crash"
        return State.UNCERTAIN, Problem(_UNCERTAIN.code, text, error.correlation_id)


class Leftovers:
    """Settles what a complete walk did not meet again.

    Args:
        source: Asked for the record by id, where it can be.
        target: Asked for the document by key, where it can be.
        residue: Holds originals that the source may no longer have.
    """

    def __init__(
        self,
        source: MemoryProvider[Any],
        target: MemoryProvider[Any],
        *,
        source_caller: Caller,
        target_caller: Caller,
        ledger: Ledger,
        residue: Residue | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._source_caller = source_caller
        self._target_caller = target_caller
        self._ledger = ledger
        self._residue = residue

    async def find(self, change: Change, ticket: Ticket) -> list[Listed]:
        """Return the records that are there after all; settle the others in `change`.

        Args:
            change: Where their end is noted.
            ticket: The last page of the walk.
        """
        found: list[Listed] = []
        missing: list[_Missing] = []
        for doubt in [doubt for doubt in ticket.walk.in_doubt if doubt.state is State.INTENT]:
            try:
                listed = await self._get(doubt)
            except RecordError as error:
                missing.append(_Missing(doubt, error))
                continue
            if listed is None:
                missing.append(_Missing(doubt))
            else:
                found.append(listed)
        for start in range(0, len(missing), _CHUNK):
            name = ticket.walk.row.name
            found += await self._settle(change, missing[start : start + _CHUNK], partition=name)
        return found

    async def _get(self, doubt: InDoubt) -> Listed | None:
        """Ask the source for a record; `None`: it has none of this id, or another one.

        Raises:
            RecordError: The source has no answer for this id, whatever it says of others.
            Stopped: It does not answer at all, or no call will work.
        """
        source = self._source
        if not isinstance(source, SupportsGet):
            return None
        try:
            record = await self._source_caller.read(lambda: source.get(doubt.id))
            listed = None if record is None else self._listed(sanitise_record(record))
        except RecordError:
            raise
        except ProviderError as error:
            raise RecordError(
                str(error), provider=error.provider, code=error.code, correlation_id=error.correlation_id
            ) from error
        except UNEXPECTED as error:
            # Only the error's type: its text may quote the memory.
            raise RecordError(
                f"its row cannot be read as a memory ({type(error).__name__})",
                provider=source.name,
                code="unreadable",
            ) from error
        return listed if listed is not None and is_same_record(doubt.hash, listed.hash) else None

    def _listed(self, record: MemoryRecord) -> Listed:
        return Listed.of(record, keeps=self._residue is not None)

    async def _settle(self, change: Change, missing: Sequence[_Missing], *, partition: str) -> list[Listed]:
        """Settle what can be; return the originals of those that have to be sent again to know."""
        target = self._target
        doubts = [one.doubt for one in missing]
        held = await self._look_up(target, doubts) if isinstance(target, SupportsLookup) else {}
        shared = await self._take_out_others(doubts, held)
        # A look-up that sees finished tasks only proves presence, never absence.
        is_proof = isinstance(target, SupportsLookup) and target.lookup_visibility != "after_task"
        absent = [one for one in missing if held.get(one.doubt.key or "") is None]
        # What the source has no more is sent from its original only where the target cannot tell.
        kept = await self._originals(
            [one.doubt for one in absent if one.error is not None or not is_proof], partition
        )
        again = {listed.hash for listed in kept}
        now = self._source_caller.clock.now()
        for one in missing:
            doubt = one.doubt
            ids = held.get(doubt.key or "")
            if ids is not None:
                self._ledger.settle(change, doubt.seq, doubt.state, State.PRESENT, at=now, target_ids=ids)
                self._ledger.forget_problem(change, doubt.seq, _UNCERTAIN.code)
            elif doubt.hash not in again:
                state, problem = one.end(is_proof=is_proof and doubt.key not in shared)
                self._ledger.settle(change, doubt.seq, doubt.state, state, at=now, problem=problem)
        return kept

    async def _take_out_others(
        self, missing: Sequence[InDoubt], held: dict[str, tuple[str, ...]]
    ) -> frozenset[str]:
        """Leave out of `held` what the target has of other records; return the keys that those share."""
        mine = {doubt.seq for doubt in missing}
        shared: set[str] = set()
        for key, records in (await asyncio.to_thread(self._ledger.namesakes, list(held))).items():
            if len(records) < _TWO:
                continue
            shared.add(key)
            taken = {ident for one in records if one.seq not in mine for ident in one.target_ids}
            free = tuple(one for one in held[key] if one not in taken)
            # Of two records in doubt, what is there may be either's.
            if free and sum(one.state is State.INTENT for one in records) < _TWO:
                held[key] = free
            else:
                del held[key]
        return frozenset(shared)

    async def _originals(self, doubts: Sequence[InDoubt], partition: str) -> list[Listed]:
        residue = self._residue
        if residue is None or not doubts:
            return []
        return await asyncio.to_thread(lambda: residue.originals(doubts, partition=partition))

    async def _look_up(
        self, target: SupportsLookup, missing: Sequence[InDoubt]
    ) -> dict[str, tuple[str, ...]]:
        if isinstance(target.lookup_visibility, float | int):
            await self._target_caller.control.sleep(target.lookup_visibility)
        keys = [doubt.key for doubt in missing if doubt.key is not None]
        return await self._target_caller.read(lambda: target.lookup(keys))
