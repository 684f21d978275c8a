"""Sending what belongs together as a whole: conversations, once every turn of them is listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from memxfer.capabilities import ClientKey, Writing
from memxfer.engine.calls import Caller
from memxfer.engine.control import StopCause, Stopped, side_by_side
from memxfer.engine.gate import Gate
from memxfer.engine.pipeline import Pipeline, regrouped
from memxfer.engine.placing import Placer
from memxfer.engine.settings import EngineSettings
from memxfer.engine.writing import ASKING, UNSETTLED, judge
from memxfer.errors import AmbiguousError, RecordError
from memxfer.ledger import Change, Ledger, Part, Problem, State, Waiting, stored_name
from memxfer.ledger.states import DOCUMENTS
from memxfer.models import decode_record
from memxfer.retry import Backoff
from memxfer.spi import (
    Document,
    Joined,
    MemoryProvider,
    Outcome,
    Prepared,
    Skipped,
    SupportsGroups,
    SupportsLookup,
    WriteReceipt,
)

__all__ = ["Grouper", "alone"]

_MAY_BE_THERE = Problem("uncertain", "an earlier form of its group may have been sent")


@dataclass(slots=True)
class Grouper:
    """Sends the groups that wait in the ledger, several side by side, each in its order.

    Nothing of a group is lost by a crash: its parts stay in the ledger until it is known what became
    of them, and are joined anew.

    Attributes:
        pipeline: Maps; holds the target, connected.
        caller: Makes the calls to it.
        ledger: Where the parts wait.
        placer: Sees to containers.
        settings: How many at once, and what to do with what cannot be known.
        gate: Asked again: the target may have changed since the parts were listed.
        done: Records settled so far, by state.
    """

    pipeline: Pipeline
    caller: Caller
    ledger: Ledger
    placer: Placer
    settings: EngineSettings
    gate: Gate
    done: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        """Send every group, or stop early.

        Raises:
            Stopped: The run stops; what was not sent waits on.
        """
        names = self._rows.groups()
        async with side_by_side() as group:
            working = [group.create_task(self._work(names)) for _ in range(self.settings.writers)]
        if not all(task.result() for task in working):
            raise Stopped

    @property
    def _rows(self) -> Waiting:
        return Waiting(self.ledger)

    @property
    def _replaces(self) -> bool:
        writing = self._target.capabilities().writing
        return writing is not None and writing.client_key is ClientKey.UPSERT

    @property
    def _target(self) -> MemoryProvider[Any]:
        return self.pipeline.target

    async def _work(self, names: Iterator[str]) -> bool:
        """Send groups while there are some; tell whether none was held up by the run's stopping.

        The others notice by themselves that it stops: cancelled in mid-call, they could not take back the
        intent of a group that was refused.
        """
        try:
            for name in names:
                await self._send_group(name)
        except Stopped:
            return False
        return True

    async def _send_group(self, name: str) -> None:
        while True:
            parts = await self._sendable(name, self._rows.parts(name))
            if not parts:
                return
            try:
                joined = self.pipeline.join([document for _, document in parts])
            except RecordError as error:
                await self._reject([part for part, _ in parts], error)
                return
            start = 0
            for one in joined:
                members = [part for part, _ in parts[start : start + one.count]]
                start += one.count
                if not await self._deliver(one, members):
                    break  # some were there already: the rest is joined anew
            else:
                return

    async def _sendable(self, group: str, parts: Sequence[Part]) -> list[tuple[Part, Document]]:
        """Return the parts with their documents; settle those that are none any more.

        Raises:
            Stopped: A part would now lose something that nobody agreed to lose; the group waits.
        """
        found: list[tuple[Part, Document]] = []
        change = Change()
        is_held = False
        for part in parts:
            record = decode_record(part.record)
            prepared = self.pipeline.prepare(record)
            judged = self.gate.judge(change, record, prepared)
            if judged is None:
                is_held = True
                continue
            prepared, _ = judged
            if isinstance(prepared, Document):
                if prepared.group is None or stored_name(prepared.group) != group:
                    raise regrouped(self._target.name)
                found.append((part, prepared))
            else:
                self._set_aside(change, part, prepared)
        if not change.is_empty():
            await self.ledger.commit(change)
        if is_held:
            self.gate.stop_if_exceeded()
            raise Stopped
        return found

    def _set_aside(self, change: Change, part: Part, prepared: Prepared) -> None:
        if part.sends:
            state, problem = State.UNCERTAIN, _MAY_BE_THERE
        elif isinstance(prepared, Skipped):
            state, problem = State.SKIPPED, Problem(prepared.reason, "left out by decision")
        else:
            error = getattr(prepared, "error", None)
            state, problem = State.REJECTED, Problem(getattr(error, "code", None), str(error))
        self._settle(change, part, state, problem=problem)

    async def _reject(self, parts: Sequence[Part], error: RecordError, *, sends: int = 0) -> None:
        """End parts that cannot be sent; what an earlier request may have carried is uncertain."""
        change = Change()
        problem = Problem(error.code, str(error), error.correlation_id)
        for part in parts:
            state = State.UNCERTAIN if sends or part.sends else State.REJECTED
            self._settle(change, part, state, problem=problem)
        await self.ledger.commit(change)

    # -- one request --------------------------------------------------------------------------

    async def _deliver(self, joined: Joined, parts: Sequence[Part]) -> bool:
        """Send one request's worth until it is settled; `False` when some of it was there already."""
        backoff = Backoff(self.caller.settings.retry)
        sends = max(part.sends for part in parts)
        while True:
            if sends and not joined.is_idempotent and await self._were_there(parts):
                return False
            [document] = await self.placer.place([joined.document])
            if isinstance(document, RecordError):
                await self._reject(parts, document, sends=sends)
                return True
            sends += 1
            change = Change()
            self._rows.send(change, parts, sends)
            await self.ledger.commit(change)
            receipt = await self._send(document, parts, sends)
            verdict = judge(receipt, sends=sends, replaces=self._replaces)
            if verdict.state is not None:
                await self._note(parts, receipt, verdict.state, verdict.problem)
                return True
            await self._wait(backoff, receipt)

    async def _send(self, document: Document, parts: Sequence[Part], sends: int) -> WriteReceipt:
        try:
            [receipt] = await self.caller.write(lambda: self._target.write([document]))
        except AmbiguousError as error:
            return WriteReceipt(Outcome.UNKNOWN, error=error)
        except RecordError as error:
            return WriteReceipt(Outcome.REJECTED, error=error)
        except Stopped:
            change = Change()
            self._rows.unsend(change, parts, sends)
            await self.ledger.commit(change)
            raise
        return receipt

    async def _wait(self, backoff: Backoff, receipt: WriteReceipt) -> None:
        wait = backoff.next_wait()
        if wait is None:
            reason = f"{receipt.error or 'the target does not say what became of documents'}"
            self.caller.control.stop(
                StopCause.UNAVAILABLE,
                f"{reason} (sent {backoff.tries} times); resume the job when it answers again",
            )
            raise Stopped
        await self.caller.control.sleep(wait)

    async def _note(
        self, parts: Sequence[Part], receipt: WriteReceipt, state: State, problem: Problem | None
    ) -> None:
        """Make a receipt durable: ids go to the parts one by one where there is one for each."""
        change = Change()
        now = self.caller.clock.now()
        request = self.ledger.request(change, 1, receipt.correlation_id, at=now)
        ids = receipt.target_ids
        shares = [(one,) for one in ids] if len(ids) == len(parts) else [ids] * len(parts)
        for part, share in zip(parts, shares, strict=True):
            self._settle(change, part, state, problem=problem, receipt=receipt, ids=share, request=request)
        change.counts[DOCUMENTS] += receipt.outcome is not Outcome.REJECTED
        await self.ledger.commit(change)

    def _settle(
        self,
        change: Change,
        part: Part,
        state: State,
        *,
        problem: Problem | None = None,
        receipt: WriteReceipt | None = None,
        ids: Sequence[str] = (),
        request: int | None = None,
    ) -> None:
        self.done[state] += 1
        self._rows.settle(
            change,
            part,
            state,
            at=self.caller.clock.now(),
            ingestion_id=receipt.ingestion_id if receipt else None,
            target_ids=ids,
            request=request,
            problem=problem,
        )

    # -- doubt --------------------------------------------------------------------------------

    async def _were_there(self, parts: Sequence[Part]) -> bool:
        """Ask about parts that may have been sent; settle those that were, or are decided about."""
        writing = self._target.capabilities().writing or Writing()
        if writing.client_key not in ASKING:
            return False
        target = self._target
        held = await self._look_up(target, parts) if isinstance(target, SupportsLookup) else {}
        change = Change()
        for part in parts:
            if part.key in held:
                self._settle(change, part, State.PRESENT, ids=held[part.key])
        if held:
            await self.ledger.commit(change)
            return True
        is_proof = isinstance(target, SupportsLookup) and target.lookup_visibility != "after_task"
        if is_proof or self.settings.on_uncertain == "resend":
            return False
        if self.settings.on_uncertain == "stop":
            self._stop_for_decision(len(parts))
            raise Stopped
        for part in parts:
            self._settle(change, part, State.UNCERTAIN, problem=UNSETTLED)
        await self.ledger.commit(change)
        return True

    async def _look_up(self, target: SupportsLookup, parts: Sequence[Part]) -> dict[str, tuple[str, ...]]:
        if isinstance(target.lookup_visibility, float | int):
            await self.caller.control.sleep(target.lookup_visibility)
        keys = [part.key for part in parts]
        return await self.caller.read(lambda: target.lookup(keys))

    def _stop_for_decision(self, count: int) -> None:
        self.caller.control.stop(
            StopCause.UNCERTAIN,
            f"{count} records may or may not be in the target, and it cannot be asked; "
            "look there, then resume with --on-uncertain resend (may store twice) or skip (may leave out)",
        )


def alone(target: MemoryProvider[Any], document: Document) -> Document:
    """Return what is sent of a document that is sent by itself: of a part of a group, a group of one."""
    if document.group is None or not isinstance(target, SupportsGroups):
        return document
    [joined] = target.join([document])
    return joined.document
