"""Hands the entries of an outbox to one backend in the background, each conversation in its order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from memxfer.capabilities import ClientKey, Writing
from memxfer.client.entries import Entry, EntryState
from memxfer.client.outbox import Outbox
from memxfer.engine.calls import Caller
from memxfer.engine.control import RunControl, Stopped
from memxfer.engine.grouping import alone
from memxfer.engine.placing import Placer
from memxfer.engine.settings import EngineSettings
from memxfer.errors import (
    AmbiguousError,
    BatchRefusedError,
    FatalError,
    LedgerError,
    MemxferError,
    ProviderError,
    RateLimitedError,
    RecordError,
    TransientError,
    UnavailableError,
)
from memxfer.pacing import Pacer
from memxfer.spi import (
    Document,
    IngestState,
    MemoryProvider,
    Outcome,
    Refused,
    SupportsIngestStatus,
    SupportsLookup,
    WriteReceipt,
)

__all__ = ["Delivery"]

_log = logging.getLogger("memxfer.client")

_IDLE = 1.0
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0
_MOST_TRIES = 50
"""Of one entry that the backend refuses to be clear about, before it is set aside."""
_ASKING = (ClientKey.NONE, ClientKey.APPEND)


class Delivery:
    """Delivers what an outbox holds for one connection.

    Entries of one lane go one after the other; those of different lanes side by side, together in a
    request where the backend takes several. An entry that the backend refuses for good is set aside;
    everything else is tried until it arrives. Nothing here raises: what goes wrong is logged and kept.

    Args:
        outbox: The queue.
        name: The connection, as entries name it.
        provider: Connected.
        lanes: Requests under way at once.
    """

    def __init__(self, outbox: Outbox, name: str, provider: MemoryProvider[Any], *, lanes: int = 8) -> None:
        self._outbox = outbox
        self._name = name
        self._provider = provider
        self._most = lanes
        self._busy: dict[str, None] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waits = 0
        self._not_before = 0.0
        self._control, self._placer = self._make_placer()
        self._pacer = Pacer(provider.config.max_rate, clock=provider.clock, sleep=provider.clock.sleep)

    def start(self) -> None:
        """Begin; idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"memxfer-delivery-{self._name}")

    def notify(self) -> None:
        """There is something new to deliver."""
        self._wake.set()

    async def aclose(self) -> None:
        """Stop; what is under way is finished first, what is not stays in the outbox."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._running

    # -- taking out ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                self._launch()
                wait = self._outbox.next_due(self._name)
            except LedgerError as error:
                _log.error("the outbox cannot be read: %s", error)
                wait = _IDLE
            late = self._not_before - self._provider.clock.monotonic()
            pause = max(late, _IDLE if wait is None or self._running else wait)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(pause, 0.001)):
                    await self._wake.wait()

    def _launch(self) -> None:
        free = self._most - len(self._running)
        if free <= 0 or self._provider.clock.monotonic() < self._not_before:
            return
        writing = self._provider.capabilities().writing or Writing()
        size = min(self._provider.config.batch_size or writing.max_batch, writing.max_batch)
        heads = self._outbox.heads(self._name, free * size, busy=list(self._busy))
        for batch in _batches(heads, size)[:free]:
            self._busy |= dict.fromkeys(entry.lane for entry in batch)
            task = asyncio.create_task(self._deliver(batch))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    # -- one request --------------------------------------------------------------------------

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        try:
            await self._send(entries)
        except LedgerError as error:
            _log.error("an entry's fate could not be noted and is asked about again: %s", error)
            self._hold(_IDLE)
        except Exception as error:  # noqa: BLE001 - a bug in a provider must not end the delivery
            _log.error("delivery to %s failed with an unexpected %s", self._name, type(error).__name__)
            with suppress(LedgerError):
                await self._try_later(entries, None)
        finally:
            for entry in entries:
                self._busy.pop(entry.lane, None)

    async def _send(self, entries: Sequence[Entry]) -> None:
        mapped = await self._not_there_yet(await self._mapped(entries))
        pairs = await self._of_one_lane(await self._placed(mapped))
        if not pairs:
            return
        await self._outbox.sending([entry for entry, _ in pairs])
        await self._pacer.wait()
        try:
            receipts = await self._provider.write([document for _, document in pairs])
        except AmbiguousError as error:
            receipts = [WriteReceipt(Outcome.UNKNOWN, error=error)] * len(pairs)
        except BatchRefusedError as error:
            await self._alone(pairs, error)
            return
        except RecordError as error:
            receipts = [WriteReceipt(Outcome.REJECTED, error=error)] * len(pairs)
        except (TransientError, FatalError) as error:
            await self._unsent([entry for entry, _ in pairs], error)
            return
        self._waits = 0
        for (entry, _), receipt in zip(pairs, receipts, strict=True):
            await self._settle(entry, receipt)

    async def _alone(self, pairs: Sequence[tuple[Entry, Document]], error: BatchRefusedError) -> None:
        """Find the entries for which a request of several was refused."""
        if len(pairs) == 1:
            await self._settle(pairs[0][0], WriteReceipt(Outcome.REJECTED, error=error))
            return
        for entry, _ in pairs:
            await self._outbox.unsent([entry], wait=0)
            found = self._outbox.find(entry.id)
            if found is not None:
                await self._send([found])

    async def _mapped(self, entries: Sequence[Entry]) -> list[tuple[Entry, Document]]:
        """Map entries; those that the backend can never take are set aside."""
        found: list[tuple[Entry, Document]] = []
        for entry in entries:
            if entry.record is None:
                continue
            try:
                prepared = self._provider.prepare(entry.record, entry.document_id, {})
            except MemxferError as error:
                await self._set_aside(entry, str(error))
                continue
            if isinstance(prepared, Document):
                found.append((entry, prepared))
            elif isinstance(prepared, Refused):
                await self._set_aside(entry, str(prepared.error))
            else:
                await self._set_aside(entry, f"left out by the connection's settings: {prepared.reason}")
        return found

    async def _of_one_lane(self, pairs: Sequence[tuple[Entry, Document]]) -> list[tuple[Entry, Document]]:
        """Return those that may share a request; the others wait for the next one."""
        for entry, document in pairs:
            if document.lane != pairs[0][1].lane:
                await self._outbox.unsent([entry], wait=0)
        return [pair for pair in pairs if pair[1].lane == pairs[0][1].lane]

    async def _placed(self, pairs: Sequence[tuple[Entry, Document]]) -> list[tuple[Entry, Document]]:
        """See to what documents go into; a turn of a conversation is sent as one of its own."""
        whole = [(entry, alone(self._provider, document)) for entry, document in pairs]
        try:
            documents = await self._placer.place([document for _, document in whole])
        except Stopped:
            reason = self._control.error
            self._control, self._placer = self._make_placer()
            error = reason if isinstance(reason, ProviderError) else UnavailableError("no place for it yet")
            await self._unsent([entry for entry, _ in whole], error)
            return []
        found: list[tuple[Entry, Document]] = []
        for (entry, _), document in zip(whole, documents, strict=True):
            if isinstance(document, Document):
                found.append((entry, document))
            else:
                await self._set_aside(entry, str(document))
        return found

    def _make_placer(self) -> tuple[RunControl, Placer]:
        provider = self._provider
        control = RunControl(provider.clock)
        caller = Caller(provider.config, control, provider.clock)
        return control, Placer(provider, caller, store=self._outbox, settings=EngineSettings())

    async def _not_there_yet(self, pairs: Sequence[tuple[Entry, Document]]) -> list[tuple[Entry, Document]]:
        """Where a repeat would be stored twice, ask about entries that may have arrived."""
        doubtful = [entry for entry, _ in pairs if entry.state is EntryState.SENDING]
        writing = self._provider.capabilities().writing or Writing()
        target = self._provider
        if not doubtful or writing.client_key not in _ASKING:
            return list(pairs)
        if not isinstance(target, SupportsLookup):
            for entry in doubtful:
                await self._set_aside(entry, "it may have arrived, and the backend cannot be asked")
            return [(entry, document) for entry, document in pairs if entry not in doubtful]
        visibility = target.lookup_visibility
        if isinstance(visibility, float | int):
            await target.clock.sleep(visibility)
        try:
            held = await target.lookup([entry.document_id for entry in doubtful])
        except (TransientError, FatalError, AmbiguousError) as error:
            wait = self._wait_of(error)
            self._hold(wait)
            await self._outbox.in_doubt([entry for entry, _ in pairs], wait=wait)
            return []
        for entry in doubtful:
            if entry.document_id in held:
                await self._outbox.delivered(entry, target_ids=held[entry.document_id])
        return [(entry, document) for entry, document in pairs if entry.document_id not in held]

    async def _settle(self, entry: Entry, receipt: WriteReceipt) -> None:
        error = receipt.error
        if receipt.outcome is Outcome.UNKNOWN:
            await self._in_doubt(entry, error)
        elif receipt.outcome is not Outcome.REJECTED:
            await self._outbox.delivered(
                entry, ingestion_id=receipt.ingestion_id, target_ids=receipt.target_ids
            )
        elif error is not None and error.code == "duplicate" and entry.tries > 0:
            await self._outbox.delivered(entry)
        else:
            await self._set_aside(entry, str(error) if error else "refused without a reason")

    async def _in_doubt(self, entry: Entry, error: ProviderError | None) -> None:
        if entry.tries + 1 >= _MOST_TRIES:
            await self._set_aside(entry, f"tried {entry.tries + 1} times: {error}")
            return
        wait = min(_FIRST_WAIT * 2**entry.tries, _LONGEST_WAIT)
        await self._outbox.in_doubt([entry], wait=wait)

    async def _set_aside(self, entry: Entry, problem: str) -> None:
        _log.error("document %s for %s is set aside: %s", entry.document_id, self._name, problem)
        await self._outbox.set_aside(entry, problem)

    # -- waiting ------------------------------------------------------------------------------

    async def _unsent(self, entries: Sequence[Entry], error: ProviderError) -> None:
        """The backend takes nothing now, or the key is bad: everything waits, nothing is dropped."""
        wait = self._wait_of(error)
        _log.warning(
            "%s takes nothing for %.1f s (%s): code=%s correlation_id=%s",
            self._name,
            wait,
            type(error).__name__,
            error.code or "-",
            error.correlation_id or "-",
        )
        await self._outbox.unsent(entries, wait=wait)
        if not isinstance(error, RateLimitedError):
            self._hold(wait)

    async def _try_later(self, entries: Sequence[Entry], error: ProviderError | None) -> None:
        for entry in entries:
            await self._in_doubt(entry, error)

    def _wait_of(self, error: ProviderError) -> float:
        asked = getattr(error, "retry_after", None)
        self._waits += 1
        grown = min(_FIRST_WAIT * 2 ** min(self._waits, 10), _LONGEST_WAIT)
        return float(asked) if asked else grown

    def _hold(self, seconds: float) -> None:
        self._not_before = max(self._not_before, self._provider.clock.monotonic() + seconds)

    async def status(self, entry: Entry) -> IngestState:
        """Return how far the backend is with a delivered entry.

        Raises:
            TransientError, FatalError: It could not be asked.
        """
        provider = self._provider
        if entry.ingestion_id is None or not isinstance(provider, SupportsIngestStatus):
            return IngestState.STORED
        return (await provider.ingest_status(entry.ingestion_id)).state


def _batches(entries: Sequence[Entry], size: int) -> list[list[Entry]]:
    """Cut entries into requests; those that may have arrived go alone."""
    fresh = [entry for entry in entries if entry.state is EntryState.WAITING]
    found = [[entry] for entry in entries if entry.state is EntryState.SENDING]
    return found + [fresh[start : start + size] for start in range(0, len(fresh), size)]
