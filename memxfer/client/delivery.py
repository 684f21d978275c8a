"""Hands the entries of an outbox to one backend in the background, each conversation in its order."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from memxfer.capabilities import Writing
from memxfer.client.bounded import ingest_status, within
from memxfer.client.entries import Entry, EntryState
from memxfer.client.notes import Notes
from memxfer.client.outbox import Outbox
from memxfer.client.sending import Mapper, conflict, is_taken, send
from memxfer.client.waits import asked_seconds
from memxfer.engine.calls import Caller
from memxfer.engine.control import RunControl, StopCause, Stopped
from memxfer.engine.placing import Placer
from memxfer.engine.settings import EngineSettings
from memxfer.engine.writing import ASKING, judge
from memxfer.errors import (
    AmbiguousError,
    FatalError,
    LedgerError,
    NotReadyError,
    ProviderError,
    RateLimitedError,
    RecordError,
    TransientError,
    UnavailableError,
    UnsupportedOperationError,
)
from memxfer.identity import IdentityMap
from memxfer.ledger import State
from memxfer.pacing import Pacer
from memxfer.spi import (
    Document,
    IngestState,
    MemoryProvider,
    Outcome,
    SupportsCreate,
    SupportsIngestStatus,
    SupportsLookup,
    WriteReceipt,
)

__all__ = ["Delivery"]

_log = logging.getLogger("memxfer.client")

_IDLE = 1.0
_SHORTEST_PAUSE = 0.05
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0
_LONGEST_CALL = 300.0
"""Seconds after which a call counts as one whose answer was lost, whatever time-outs its provider has."""
_ALL_WAIT = 10.0
"""Seconds. A refusal with 429 that asks for less holds up the refused entries alone."""
_MOST_TRIES = 50
"""Failures of one entry in a row before it is set aside."""
_FEW_TRIES = 5
"""The same where the fault is the entry's: the error is of the kind that values make, or others arrive."""
_MOST_QUESTIONS = 20
"""Look-ups that do not find an entry and do not prove that it is not there."""
_OF_VALUES = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    NotImplementedError,
    AssertionError,
    msgspec.MsgspecError,
)

_Pair = tuple[Entry, Document]


class Delivery:
    """Delivers what an outbox holds for one connection.

    Entries of one lane go one after the other; those of different lanes side by side, together in a
    request where the backend takes several and has no call of its own for one document. An entry that
    the backend refuses for good, that cannot be read or mapped, or that failed too often is set aside;
    everything else is tried until it arrives. Nothing here raises: what goes wrong is logged and kept.

    Args:
        outbox: The queue.
        name: The connection, as entries name it.
        provider: Connected.
        identity: The connection's identity file.
        notes: Logs what fails.
        lanes: Requests under way at once.
    """

    def __init__(
        self,
        outbox: Outbox,
        name: str,
        provider: MemoryProvider[Any],
        *,
        identity: IdentityMap | None = None,
        notes: Notes | None = None,
        lanes: int = 8,
    ) -> None:
        self._outbox = outbox
        self._name = name
        self._provider = provider
        self._mapper = Mapper(name, provider, identity)
        self._notes = notes or Notes(provider.clock)
        self._most = lanes
        self._busy: dict[str, None] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waits = 0
        self._not_before = 0.0
        self._arrived = 0
        self._arrived_at_failure: dict[int, int] = {}
        self._control, self._placer = self._make_placer()
        self._pacer = Pacer(provider.config.max_rate, clock=provider.clock, sleep=provider.clock.sleep)

    def start(self) -> None:
        """Begin; idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"memxfer-delivery-{self._name}")

    def notify(self) -> None:
        """There is something new to deliver."""
        self._wake.set()

    async def aclose(self, seconds: float = 10.0) -> None:
        """Stop. What is under way may end within `seconds`; what does not is in doubt, in the outbox."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        if not self._running:
            return
        _, late = await asyncio.wait(set(self._running), timeout=seconds)
        for one in late:
            one.cancel()
        if late:
            _log.warning("%d requests to %s did not end within %g s", len(late), self._name, seconds)
            await asyncio.wait(late, timeout=_IDLE)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._running

    # -- taking out ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = self._launch()
            except Exception as error:  # noqa: BLE001 - whatever is in the file, the rest is delivered
                self._notes.failed(self._name, "reading the outbox", error)
                pause = _IDLE
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def _launch(self) -> float:
        """Begin to send what is due; return the seconds until there may be more."""
        late = self._not_before - self._provider.clock.monotonic()
        if late > 0:
            return min(max(late, _SHORTEST_PAUSE), _LONGEST_WAIT)
        free = self._most - len(self._running)
        if free > 0:
            size = self._request_size()
            heads = self._outbox.heads(self._name, free * size, busy=list(self._busy))
            for batch in _batches(heads, size)[:free]:
                self._busy |= dict.fromkeys(entry.lane for entry in batch)
                self._outbox.hold(batch)
                task = asyncio.create_task(self._deliver(batch))
                self._running.add(task)
                task.add_done_callback(self._ended)
        due = None if self._running else self._outbox.next_due(self._name)
        return _IDLE if due is None else min(max(due, _SHORTEST_PAUSE), _LONGEST_WAIT)

    def _request_size(self) -> int:
        if isinstance(self._provider, SupportsCreate):
            return 1
        most = self._writing().max_batch
        return min(self._provider.config.batch_size or most, most)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    # -- one request --------------------------------------------------------------------------

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        try:
            try:
                await self._send(entries)
            except LedgerError:
                raise
            except Exception as error:  # noqa: BLE001 - a bug in a provider must not end the delivery
                await self._failed(entries, error)
        except Exception as error:  # noqa: BLE001 - what could not be noted is asked about again
            self._notes.failed(self._name, "noting a delivery", error)
            self._hold(_IDLE)
        finally:
            self._outbox.let_go(entries)
            for entry in entries:
                self._busy.pop(entry.lane, None)

    async def _send(self, entries: Sequence[Entry]) -> None:
        mapped = await self._not_there_yet(await self._mapped(entries))
        pairs = await self._of_one_lane(await self._placed(mapped))
        if not pairs:
            return
        await self._pacer.wait()
        before = [entry for entry, _ in pairs]
        sent = await self._outbox.sending(before)
        try:
            receipts = await within(_LONGEST_CALL, send(self._provider, [one for _, one in pairs]))
        except (AmbiguousError, TimeoutError) as error:
            receipts = [WriteReceipt(Outcome.UNKNOWN, error=_lost(self._name, error))] * len(pairs)
        except RecordError as error:
            if len(pairs) > 1:
                await self._alone(before)
                return
            receipts = [WriteReceipt(Outcome.REJECTED, error=error)]
        except (TransientError, FatalError) as error:
            await self._refused_for_now(before, error, is_sent=True)
            return
        self._waits = 0
        self._notes.worked(self._name)
        for entry, receipt in zip(sent, receipts, strict=True):
            await self._settle(entry, receipt)

    async def _alone(self, entries: Sequence[Entry]) -> None:
        """Find the entries for which a request of several was refused."""
        await self._outbox.unsent(entries, wait=0)
        for entry in entries:
            try:
                await self._send([entry])
            except LedgerError:
                raise
            except Exception as error:  # noqa: BLE001 - one entry's bug costs the others nothing
                await self._failed([entry], error)

    async def _mapped(self, entries: Sequence[Entry]) -> list[_Pair]:
        """Map entries; those that the backend can never take are set aside."""
        found: list[_Pair] = []
        for entry in entries:
            if entry.record is None or entry.damage is not None:
                reason = f"the outbox's row is damaged and cannot be delivered ({entry.damage})"
                await self._set_aside(entry, RecordError(reason, code="damaged_row"))
                continue
            try:
                found.append((entry, self._mapper.document(entry.record, entry.document_id)))
            except (RecordError, UnsupportedOperationError) as error:
                await self._set_aside(entry, error)
        return found

    async def _of_one_lane(self, pairs: Sequence[_Pair]) -> list[_Pair]:
        """Return those that may share a request; the others wait for the next one."""
        others = [entry for entry, document in pairs if document.lane != pairs[0][1].lane]
        if others:
            await self._outbox.postpone(others, wait=0)
        return [pair for pair in pairs if pair[1].lane == pairs[0][1].lane]

    async def _placed(self, pairs: Sequence[_Pair]) -> list[_Pair]:
        """See to what documents go into."""
        try:
            placing = self._placer.place([document for _, document in pairs])
            documents = await within(_LONGEST_CALL, placing)
        except Stopped:
            reason = self._control.error
            self._control, self._placer = self._make_placer()
            error = reason if isinstance(reason, ProviderError) else UnavailableError("no place for it yet")
            await self._refused_for_now([entry for entry, _ in pairs], error, is_sent=False)
            return []
        found: list[_Pair] = []
        for (entry, _), document in zip(pairs, documents, strict=True):
            if isinstance(document, Document):
                found.append((entry, document))
            else:
                await self._set_aside(entry, document)
        return found

    def _make_placer(self) -> tuple[RunControl, Placer]:
        provider = self._provider
        control = _BriefControl(provider.clock)
        caller = Caller(provider.config, control, provider.clock)
        return control, Placer(provider, caller, store=self._outbox, settings=EngineSettings())

    def _writing(self) -> Writing:
        return self._provider.capabilities().writing or Writing()

    # -- what may have arrived ----------------------------------------------------------------

    async def _not_there_yet(self, pairs: Sequence[_Pair]) -> list[_Pair]:
        """Where a repeat would be stored twice, ask about entries that may have arrived."""
        doubtful = [entry for entry, _ in pairs if entry.state is EntryState.SENDING]
        target = self._provider
        if not doubtful or self._writing().client_key not in ASKING:
            return list(pairs)
        fresh = [pair for pair in pairs if pair[0] not in doubtful]
        if not isinstance(target, SupportsLookup):
            for entry in doubtful:
                reason = "uncertain: it may have arrived, and the backend cannot be asked"
                await self._set_aside(entry, RecordError(reason, code="uncertain"))
            return fresh
        keys = [entry.document_id for entry in doubtful]
        try:
            held = await within(_LONGEST_CALL, target.lookup(keys))
        except (TransientError, FatalError, AmbiguousError, TimeoutError) as error:
            lost = error if isinstance(error, ProviderError) else _lost(self._name, error)
            await self._refused_for_now([entry for entry, _ in pairs], lost, is_sent=False)
            return []
        absent: list[Entry] = []
        for entry in doubtful:
            if entry.document_id in held:
                await self._delivered(entry, target_ids=tuple(held[entry.document_id]))
            elif await self._is_absent(entry, horizon_of(target)):
                absent.append(entry)
        return [pair for pair in pairs if pair in fresh or pair[0] in absent]

    async def _is_absent(self, entry: Entry, horizon: float) -> bool:
        """Tell whether not having been found proves that an entry is not there; if not, see to it later.

        Args:
            entry: What a look-up did not find.
            horizon: Seconds after which a look-up finds what was stored; infinite: there are none.
        """
        left = horizon - self._outbox.age(entry)
        if left <= 0 and entry.sent is not None:
            return True
        said = "it may have arrived: the backend's look-up does not find it, and may not see it yet"
        if math.isfinite(left):
            await self._outbox.postpone([entry], wait=max(left, _SHORTEST_PAUSE), problem=said)
        elif entry.failures + 1 >= _MOST_QUESTIONS:
            reason = (
                "uncertain: it may have arrived. The backend's look-up sees only what it has finished, and "
                f"did not find it {entry.failures + 1} times; look there before you put it back"
            )
            await self._set_aside(entry, RecordError(reason, code="uncertain"))
        else:
            wait = _grown(entry.failures)
            await self._outbox.postpone([entry], wait=wait, problem=said, is_failure=True)
        return False

    # -- how it ended -------------------------------------------------------------------------

    async def _settle(self, entry: Entry, receipt: WriteReceipt) -> None:
        """Note what a receipt says of an entry, as it is since `sending`."""
        client_key = self._writing().client_key
        if is_taken(receipt, client_key, sends=entry.tries):
            await self._set_aside(entry, conflict(self._name))
            return
        verdict = judge(receipt, sends=entry.tries)
        if verdict.state is None:
            wait = _grown(entry.failures)
            if client_key in ASKING and isinstance(self._provider, SupportsLookup):
                horizon = horizon_of(self._provider)
                wait = max(wait, horizon if math.isfinite(horizon) else 0.0)
            await self._in_doubt(entry, receipt.error or _lost(self._name, None), wait=wait, most=_MOST_TRIES)
        elif verdict.state is State.FAILED:
            problem = verdict.problem
            error = receipt.error or RecordError("refused without a reason")
            if problem is not None and problem.code != error.code:
                error = RecordError(problem.reason, code=problem.code, correlation_id=problem.correlation_id)
            await self._set_aside(entry, error)
        else:
            await self._delivered(entry, receipt.target_ids, receipt.ingestion_id)

    async def _delivered(
        self, entry: Entry, target_ids: tuple[str, ...] = (), ingestion_id: str | None = None
    ) -> None:
        self._arrived += 1
        self._arrived_at_failure.pop(entry.id, None)
        await self._outbox.delivered(entry, ingestion_id=ingestion_id, target_ids=target_ids)

    async def _failed(self, entries: Sequence[Entry], error: Exception) -> None:
        """Try entries later for which a provider raised what it should not; set them aside in the end."""
        self._notes.failed(self._name, "delivery", error)
        reason = (
            f"{self._name} failed with an unexpected {type(error).__name__}"
            if not isinstance(error, ProviderError)
            else str(error)
        )
        for one in entries:
            entry = self._outbox.find(one.id)
            if entry is None or entry.state not in (EntryState.WAITING, EntryState.SENDING):
                continue
            before = self._arrived_at_failure.setdefault(entry.id, self._arrived)
            is_its_own = isinstance(error, _OF_VALUES) or self._arrived > before
            await self._in_doubt(
                entry,
                ProviderError(reason, code="unexpected"),
                wait=_grown(entry.failures),
                most=_FEW_TRIES if is_its_own else _MOST_TRIES,
            )

    async def _in_doubt(self, entry: Entry, error: ProviderError, *, wait: float, most: int) -> None:
        if entry.failures + 1 >= most:
            reason = f"tried {entry.failures + 1} times: {error}"
            await self._set_aside(entry, RecordError(reason, code=error.code or "tried_too_often"))
        else:
            await self._outbox.postpone([entry], wait=wait, problem=str(error), is_failure=True)

    async def _set_aside(self, entry: Entry, error: ProviderError) -> None:
        """Give an entry up. The log names the error's code; its text may quote the backend."""
        self._arrived_at_failure.pop(entry.id, None)
        _log.error(
            "document %s for %s is set aside, and progress tells why: code=%s correlation_id=%s",
            entry.document_id,
            self._name,
            error.code or "-",
            error.correlation_id or "-",
        )
        await self._outbox.set_aside(entry, str(error))

    # -- waiting ------------------------------------------------------------------------------

    async def _refused_for_now(
        self, entries: Sequence[Entry], error: ProviderError, *, is_sent: bool
    ) -> None:
        """The backend takes nothing now, or the key is bad: everything waits, nothing is dropped."""
        asked = asked_seconds(error)
        self._waits += 1
        wait = asked if asked is not None else _grown(min(self._waits, 10))
        self._notes.failed(self._name, "delivery", error)
        note = self._outbox.unsent if is_sent else self._outbox.postpone
        await note(entries, wait=wait, problem=f"waits {wait:.0f} s: {error}")
        if not isinstance(error, RateLimitedError) or wait >= _ALL_WAIT:
            self._hold(wait)

    def _hold(self, seconds: float) -> None:
        self._not_before = max(self._not_before, self._provider.clock.monotonic() + seconds)

    async def status(self, entry: Entry, seconds: float = 10.0) -> IngestState:
        """Return how far the backend is with a delivered entry.

        Raises:
            TransientError, FatalError: It could not be asked, or did not answer within `seconds`.
        """
        provider = self._provider
        if entry.ingestion_id is None or not isinstance(provider, SupportsIngestStatus):
            return IngestState.STORED
        return (await ingest_status(self._name, provider, entry.ingestion_id, seconds)).state


class _BriefControl(RunControl):
    """Stops instead of waiting long: the outbox waits, and holds nothing meanwhile."""

    async def sleep(self, seconds: float) -> None:
        """Wait, or stop with an error that says for how long."""
        if seconds > _LONGEST_WAIT:
            error = NotReadyError("it asked to wait", retry_after=seconds, code="asked_to_wait")
            self.stop(StopCause.UNAVAILABLE, str(error), error=error)
        await super().sleep(seconds)


def horizon_of(target: SupportsLookup) -> float:
    """Return the seconds after which a look-up finds what was stored; infinite: that cannot be said."""
    visibility = target.lookup_visibility
    if visibility == "immediate":
        return 0.0
    if isinstance(visibility, float | int) and not math.isnan(visibility):
        return max(float(visibility), 0.0)
    return math.inf


def _grown(failures: int) -> float:
    return min(_FIRST_WAIT * 2.0 ** min(failures, 10), _LONGEST_WAIT)


def _lost(name: str, error: Exception | None) -> ProviderError:
    if isinstance(error, ProviderError):
        return error
    return AmbiguousError(
        f"{name} did not say what it did with the document", provider=name, code="no_answer"
    )


def _batches(entries: Sequence[Entry], size: int) -> list[list[Entry]]:
    """Cut entries into requests; those that failed, or may have arrived, go alone."""
    fresh = [one for one in entries if one.state is EntryState.WAITING and not one.failures]
    found = [[one] for one in entries if one.state is not EntryState.WAITING or one.failures]
    return found + [fresh[start : start + size] for start in range(0, len(fresh), size)]
