"""Sending batches, and telling from the answers what became of each document."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from memxfer.capabilities import ClientKey, Dimension, Level, Writing
from memxfer.engine.batches import Batch, Entry
from memxfer.engine.budget import ByteBudget
from memxfer.engine.calls import Caller
from memxfer.engine.control import StopCause, Stopped
from memxfer.engine.gate import untally
from memxfer.engine.placing import Placer
from memxfer.engine.settings import EngineSettings
from memxfer.engine.settling import NOT_PROVEN
from memxfer.errors import AmbiguousError, BatchRefusedError, ProviderError, RecordError
from memxfer.ledger import Change, Ledger, Problem, State
from memxfer.ledger.states import DOCUMENTS
from memxfer.models import Scope
from memxfer.retry import Backoff
from memxfer.spi import Document, MemoryProvider, Outcome, SupportsGet, SupportsLookup, WriteReceipt

__all__ = ["ASKING", "UNSETTLED", "Verdict", "Writer", "judge"]

ASKING = (ClientKey.NONE, ClientKey.APPEND)
"""Of these only a look-up can tell whether something is there already."""
_DUPLICATE = "duplicate"
_OWNER_AXES = ("tenant", "group", "app", "user", "agent")
_MOST_COMPARED = 10
"""Of the target's records under one key, how many are looked at."""
_NO_HANDLE = Problem("no_handle", "accepted, but the target gave no id to ask about it")
UNSETTLED = Problem("uncertain", "it may have been stored; the target takes no key and cannot be asked")
_OLDER_FORM = Problem(
    "conflict", "the target holds an older form of this record and did not take the new one"
)
_STRANGER = Problem(
    "conflict",
    "the target holds another document under this key and kept it. Remove that one from the target, or give "
    "the target connection another document_id template and start a new job",
)
_UNKNOWN_HOLDER = Problem(
    "conflict",
    "the target holds a document under this key that this job did not send, and whether it has this content "
    "cannot be known. If an earlier job moved this record, look whether it is whole there; else remove the "
    "document from the target, or give the target connection another document_id template and start a new "
    "job",
)
_UNVERIFIED = Problem(
    "unverified_duplicate",
    "the target says that it holds this key, this job may have sent it before, and the target cannot be "
    "asked for the content: it counts as arrived, but it may be somebody else's document. Look for it in "
    "the target",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a receipt means for a record.

    Attributes:
        state: Its new state; `None`: it may have happened, ask or send again.
        problem: What the user should read about it.
    """

    state: State | None
    problem: Problem | None = None


def judge(
    receipt: WriteReceipt,
    *,
    sends: int,
    is_changed: bool = False,
    replaces: bool = False,
    is_held: bool | None = None,
) -> Verdict:
    """Read a receipt.

    That the target holds the key already says nothing about whose document that is. It is ours where the
    target was asked for it and has our content, or where an earlier intent of the same key and content
    may have been carried out; the latter is a guess, and is told as one.

    Args:
        receipt: The target's answer.
        sends: Intents so far under this key and hash.
        is_changed: What the target already holds under the key may be an older form of the record.
        replaces: The target takes a new document in place of the old one: what it calls present, it
            compared.
        is_held: What the target holds under the key has our content, or has not; `None`: not known.
    """
    outcome = receipt.outcome
    lacking = _lacking(receipt)
    if outcome in (Outcome.CREATED, Outcome.UPDATED):
        return Verdict(State.FAILED if lacking else State.STORED, lacking)
    if outcome is Outcome.PENDING:
        if not receipt.ingestion_id:
            return Verdict(State.UNCERTAIN, _NO_HANDLE)
        return Verdict(State.ACCEPTED, lacking)
    if outcome is Outcome.UNKNOWN:
        return Verdict(None)
    if outcome is Outcome.PRESENT and replaces:
        return Verdict(State.PRESENT)
    if _says_taken(receipt):
        return _judge_taken(receipt, sends=sends, is_changed=is_changed, is_held=is_held)
    return Verdict(State.FAILED, _refusal(receipt))


def _lacking(receipt: WriteReceipt) -> Problem | None:
    """Return what the target says it did not take, of a document that it took."""
    error = receipt.error
    if error is None:
        return None
    return Problem(NOT_PROVEN, str(error), receipt.correlation_id or error.correlation_id)


def _says_taken(receipt: WriteReceipt) -> bool:
    """Tell whether the target kept another document, ours or not, that has the key."""
    if receipt.outcome is Outcome.REJECTED:
        return receipt.error is not None and receipt.error.code == _DUPLICATE
    return receipt.outcome is Outcome.PRESENT


def _judge_taken(receipt: WriteReceipt, *, sends: int, is_changed: bool, is_held: bool | None) -> Verdict:
    is_refused = receipt.outcome is Outcome.REJECTED
    if is_held and (sends > 1 or is_changed or not is_refused):
        return Verdict(State.PRESENT)
    if is_changed:
        problem = _OLDER_FORM
    elif is_held is None and sends > 1:
        return Verdict(State.PRESENT, _UNVERIFIED)
    else:
        problem = _STRANGER if is_held is False or is_refused else _UNKNOWN_HOLDER
    correlation_id = _refusal(receipt).correlation_id
    return Verdict(State.FAILED, Problem(problem.code, problem.reason, correlation_id))


def _refusal(receipt: WriteReceipt) -> Problem:
    error = receipt.error
    correlation_id = receipt.correlation_id or (error.correlation_id if error else None)
    reason = str(error) if error else "refused without a reason"
    return Problem(error.code if error else None, reason, correlation_id)


def _is_of_one_owner(held: Scope, sent: Scope) -> bool:
    """Tell whether two scopes name nobody differently; a target need not tell all axes."""
    pairs = ((getattr(held, axis), getattr(sent, axis)) for axis in _OWNER_AXES)
    return all(mine is None or theirs is None or mine == theirs for theirs, mine in pairs)


_NO_RECEIPT = WriteReceipt(Outcome.UNKNOWN)


@dataclass(slots=True)
class Writer:
    """One of several that send batches side by side.

    Attributes:
        target: A provider connected as target.
        caller: Makes the calls to it.
        ledger: Where receipts become durable.
        budget: Freed as documents are settled.
        settings: What to do with what cannot be known.
        placer: Sees to what documents go into.
        done: Documents settled so far, by state; shared by all writers.
    """

    target: MemoryProvider[Any]
    caller: Caller
    ledger: Ledger
    budget: ByteBudget
    settings: EngineSettings
    placer: Placer
    done: Counter[str] = field(default_factory=Counter)

    async def process(self, batch: Batch) -> None:
        """Send a batch until each of its documents is settled, or the run stops."""
        try:
            await batch.durable
            await self._deliver(await self._place(await self._begin(batch.entries)))
        except Stopped:
            return
        finally:
            # What is still open stays an intent in the ledger; its memory can go.
            await self.budget.release(sum(entry.size for entry in batch.entries if not entry.is_settled))

    async def _begin(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return what has to be sent; where the run stops before that, the intents are void."""
        try:
            self.caller.control.check()
            return await self._ask_about_doubts(entries)
        except Stopped:
            await self._take_back([entry for entry in entries if not entry.is_settled])
            raise

    async def _place(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """See to what the documents go into; those that can go nowhere are rejected."""
        if not any(entry.document.containers for entry in entries):
            return entries
        try:
            placed = await self.placer.place([entry.document for entry in entries])
        except Stopped:
            await self._take_back(entries)
            raise
        sendable: list[Entry] = []
        lost: list[tuple[Entry, WriteReceipt]] = []
        for entry, document in zip(entries, placed, strict=True):
            if isinstance(document, Document):
                entry.document = document
                sendable.append(entry)
            else:
                lost.append((entry, WriteReceipt(Outcome.REJECTED, error=document)))
        if lost:
            await self._settle([entry for entry, _ in lost], [receipt for _, receipt in lost])
        return sendable

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        backoff = Backoff(self.caller.settings.retry)
        while entries:
            try:
                receipts = await self._send(entries)
            except BatchRefusedError as error:
                await self._halve(entries, error)
                return
            unknown = await self._settle(entries, receipts)
            entries = await self._ask(unknown)
            if entries:
                await self._prepare_again(entries, receipts, backoff)

    async def _send(self, entries: Sequence[Entry]) -> list[WriteReceipt]:
        documents = [entry.document for entry in entries]
        try:
            return await self.caller.write(lambda: self.target.write(documents))
        except Stopped:
            await self._take_back(entries)
            raise
        except AmbiguousError as error:
            return [WriteReceipt(Outcome.UNKNOWN, error=error)] * len(documents)

    async def _halve(self, entries: Sequence[Entry], error: BatchRefusedError) -> None:
        """Find the documents for which a whole batch was refused."""
        if len(entries) == 1:
            await self._settle(entries, [WriteReceipt(Outcome.REJECTED, error=error)])
            return
        middle = len(entries) // 2
        try:
            await self._deliver(entries[:middle])
        except Stopped:
            await self._take_back(entries[middle:])
            raise
        await self._deliver(entries[middle:])

    async def _take_back(self, entries: Sequence[Entry]) -> None:
        """The call was certainly not carried out: the intents are void."""
        change = Change()
        for entry in entries:
            if entry.is_changed and entry.doubt is not None and entry.sends == 1:
                self.ledger.restore(change, entry.doubt)
                untally(change, entry.losses)
            else:
                if entry.sends == 1:
                    untally(change, entry.losses)
                self.ledger.unsend(change, entry.seq, entry.sends)
        await self.ledger.commit(change)

    async def _prepare_again(
        self, entries: Sequence[Entry], receipts: Sequence[WriteReceipt], backoff: Backoff
    ) -> None:
        wait = backoff.next_wait()
        if wait is None:
            error = next((receipt.error for receipt in receipts if receipt.error), None)
            reason = (
                f"{error or 'the target does not say what became of documents'} (sent {backoff.tries} times)"
            )
            self.caller.control.stop(StopCause.UNAVAILABLE, f"{reason}; resume the job when it answers again")
        else:
            await self.caller.control.sleep(wait)
        self.caller.control.check()
        change = Change()
        for entry in entries:
            entry.sends = self.ledger.send_again(change, entry.seq, entry.sends)
        await self.ledger.commit(change)

    # -- receipts -----------------------------------------------------------------------------

    async def _settle(self, entries: Sequence[Entry], receipts: Sequence[WriteReceipt]) -> list[Entry]:
        """Make receipts durable; return the entries nobody can tell about."""
        replaces = self._writing().client_key is ClientKey.UPSERT
        held = {} if replaces else await self._compare(entries, receipts)
        change = Change()
        now = self.caller.clock.now()
        correlation_id = next(
            (receipt.correlation_id for receipt in receipts if receipt.correlation_id), None
        )
        request = self.ledger.request(change, len(entries), correlation_id, at=now)
        unknown: list[Entry] = []
        settled: list[Entry] = []
        for entry, receipt in zip(entries, receipts, strict=True):
            verdict = judge(
                receipt,
                sends=entry.sends,
                is_changed=entry.is_changed,
                replaces=replaces,
                is_held=held.get(entry.seq),
            )
            if verdict.state is None:
                unknown.append(entry)
                continue
            settled.append(entry)
            self._end(change, entry, verdict.state, verdict.problem, at=now, receipt=receipt, request=request)
        change.counts[DOCUMENTS] += sum(receipt.outcome not in _NOT_ACKNOWLEDGED for receipt in receipts)
        await self._close(change, settled)
        return unknown

    def _end(
        self,
        change: Change,
        entry: Entry,
        state: State,
        problem: Problem | None,
        *,
        at: datetime,
        receipt: WriteReceipt,
        request: int | None = None,
    ) -> None:
        self.done[state] += 1
        if entry.doubt is not None:
            self.ledger.forget_problem(change, entry.seq, UNSETTLED.code)
        self.ledger.settle(
            change,
            entry.seq,
            State.INTENT,
            state,
            at=at,
            ingestion_id=receipt.ingestion_id,
            target_ids=receipt.target_ids,
            request=request,
            problem=problem,
        )

    async def _close(self, change: Change, settled: Sequence[Entry]) -> None:
        """Make the end of entries durable, together with the watermarks they move."""
        for entry in settled:
            entry.ticket.outstanding -= 1
        for walk in {entry.ticket.walk for entry in settled}:
            passed = walk.advance()
            if passed is not None:
                change.counts.update(passed)
                self.ledger.advance(change, walk.row)
        await self.ledger.commit(change)
        for entry in settled:
            entry.is_settled = True
        await self.budget.release(sum(entry.size for entry in settled))

    # -- doubt --------------------------------------------------------------------------------

    async def _ask_about_doubts(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Before documents of an earlier run go out again: are they there already?"""
        if not any(entry.doubt for entry in entries):
            return entries
        return await self._ask(entries)

    async def _ask(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return which of the documents in doubt have to be sent (again)."""
        if not entries or self._writing().client_key not in ASKING:
            return entries
        if isinstance(self.target, SupportsLookup):
            return await self._look_up(self.target, entries)
        return await self._decide(entries)

    async def _look_up(self, target: SupportsLookup, entries: Sequence[Entry]) -> Sequence[Entry]:
        if isinstance(target.lookup_visibility, float | int):
            await self.caller.control.sleep(target.lookup_visibility)
        keys = [entry.document.key for entry in entries]
        held = await self.caller.read(lambda: target.lookup(keys))
        found, absent, unclear = await self._whose(entries, held)
        change = Change()
        now = self.caller.clock.now()
        for entry, ids in found:
            receipt = WriteReceipt(Outcome.PRESENT, target_ids=ids)
            state, problem = (State.FAILED, _OLDER_FORM) if entry.is_changed else (State.PRESENT, None)
            self._end(change, entry, state, problem, at=now, receipt=receipt)
        await self._close(change, [entry for entry, _ in found])
        if target.lookup_visibility == "after_task":
            # What was accepted may still be under way: not found proves nothing.
            unclear, absent = [*unclear, *absent], []
        for entry in absent:
            entry.is_changed = False
        return [*absent, *await self._decide(unclear)]

    async def _whose(
        self, entries: Sequence[Entry], held: Mapping[str, tuple[str, ...]]
    ) -> tuple[list[tuple[Entry, tuple[str, ...]]], list[Entry], list[Entry]]:
        """Tell which documents are there, with their target ids, which are not, and which cannot be told.

        A document that has the key of another record of the job may be that one's.
        """
        found: list[tuple[Entry, tuple[str, ...]]] = []
        absent: list[Entry] = []
        unclear: list[Entry] = []
        named = [entry.document.key for entry in entries if entry.document.key in held]
        namesakes = await asyncio.to_thread(self.ledger.namesakes, named)
        for entry in entries:
            key = entry.document.key
            others = [one for one in namesakes.get(key, ()) if one.seq != entry.seq]
            taken = {target_id for one in others for target_id in one.target_ids}
            free = tuple(target_id for target_id in held.get(key, ()) if target_id not in taken)
            if not free:
                absent.append(entry)
            elif all(one.state is not State.INTENT for one in others):
                found.append((entry, free))
            else:
                mine, is_held = await self._find_content(entry, free)
                if is_held is None:
                    unclear.append(entry)
                elif is_held:
                    found.append((entry, mine))
                else:
                    absent.append(entry)
        return found, absent, unclear

    async def _compare(self, entries: Sequence[Entry], receipts: Sequence[WriteReceipt]) -> dict[int, bool]:
        """Ask what the target holds under keys that it says are taken; by seq, whether it is our content."""
        target = self.target
        taken = [
            (entry, receipt)
            for entry, receipt in zip(entries, receipts, strict=True)
            if _says_taken(receipt) and (receipt.outcome is Outcome.PRESENT or entry.sends > 1)
        ]
        if not taken or not isinstance(target, SupportsGet):
            return {}
        keys = [entry.document.key for entry, receipt in taken if not receipt.target_ids]
        ids: Mapping[str, tuple[str, ...]] = {}
        if keys and isinstance(target, SupportsLookup):
            ids = await self.caller.read(partial(target.lookup, keys))
        found: dict[int, bool] = {}
        for entry, receipt in taken:
            mine = receipt.target_ids or ids.get(entry.document.key, ())
            _, is_held = await self._find_content(entry, mine)
            if is_held is not None:
                found[entry.seq] = is_held
        return found

    async def _find_content(
        self, entry: Entry, target_ids: Sequence[str]
    ) -> tuple[tuple[str, ...], bool | None]:
        """Tell which of the target's records has the content and owner of an entry, and whether one has.

        Returns:
            Its id, and `True`; none and `False` where all are others'; none and `None` where it cannot
            be told: the target gives no records by id, or does not keep texts as they were sent.
        """
        target, record = self.target, entry.record
        if not isinstance(target, SupportsGet) or record is None:
            return (), None
        is_known = self._keeps_texts()
        for target_id in target_ids[:_MOST_COMPARED]:
            try:
                held = await self.caller.read(partial(target.get, target_id))
            except RecordError:  # it is there, and cannot be read
                held = None
            if held is None:
                is_known = False
            elif held.content.strip() == record.content.strip() and _is_of_one_owner(
                held.scope, record.scope
            ):
                return (target_id,), True
        return (), False if is_known and target_ids else None

    def _keeps_texts(self) -> bool:
        channel = self.target.capabilities().dimensions.get(Dimension.CONTENT)
        return channel is not None and channel.read is channel.write is Level.NATIVE

    async def _decide(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Do with documents nobody can tell about what the user decided; without a decision, stop."""
        if not entries or self.settings.on_uncertain == "resend":
            return entries
        if self.settings.on_uncertain == "skip":
            await self._leave_uncertain(entries)
            return ()
        await self._stop_for_decision(entries)
        raise Stopped

    async def _leave_uncertain(self, entries: Sequence[Entry]) -> None:
        change = Change()
        now = self.caller.clock.now()
        for entry in entries:
            self._end(change, entry, State.UNCERTAIN, UNSETTLED, at=now, receipt=_NO_RECEIPT)
        await self._close(change, entries)

    async def _stop_for_decision(self, entries: Sequence[Entry]) -> None:
        """They stay intents after the watermark, so that the decision can still be carried out."""
        change = Change()
        now = self.caller.clock.now()
        for entry in entries:
            self.ledger.note(change, entry.seq, UNSETTLED, at=now)
        await self.ledger.commit(change)
        self.caller.control.stop(
            StopCause.UNCERTAIN,
            f"{len(entries)} documents may or may not be in the target, and it cannot be asked; "
            "look there, then resume with --on-uncertain resend (may store twice) or skip (may leave out)",
        )

    def _writing(self) -> Writing:
        writing = self.target.capabilities().writing
        if writing is None:
            raise ProviderError(f"{self.target.name} is not a target", provider=self.target.name)
        return writing


_NOT_ACKNOWLEDGED = (Outcome.REJECTED, Outcome.UNKNOWN)
