"""One probe from its first document to the removal of its last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from memxfer.engine.calls import Caller
from memxfer.engine.control import RunControl, StopCause, Stopped
from memxfer.engine.placing import Placer
from memxfer.engine.settings import EngineSettings
from memxfer.errors import MemxferError
from memxfer.ledger import ScratchStore
from memxfer.migration.endpoints import Entrance, OpenEnd, opened
from memxfer.migration.observer import Observer, SilentObserver
from memxfer.migration.options import StopSignal
from memxfer.migration.probing.claims import Observations
from memxfer.migration.probing.cleaning import Cleaner
from memxfer.migration.probing.comparing import Carried
from memxfer.migration.probing.levels import try_levels
from memxfer.migration.probing.looking import try_lookup
from memxfer.migration.probing.planning import ProbePlan, Sample
from memxfer.migration.probing.reading import ReadBack, Reader
from memxfer.migration.probing.report import Leftover
from memxfer.migration.probing.sending import Sender, Sent
from memxfer.models import MemoryRecord
from memxfer.spi import (
    Capabilities,
    MemoryProvider,
    Role,
    StoreIdentity,
    SupportsDelete,
    SupportsGet,
    SupportsLevels,
    SupportsLookup,
)

__all__ = ["Session"]

_ALONE = "the backend is a target alone: what it stores cannot be read back"


@dataclass(slots=True)
class Session:
    """Runs one probe; `run` may be called once.

    Attributes:
        reopen: Gives the connection, not yet opened; called for each role it is opened in.
        observer: Takes notices.
        stop: Asks the probe to end early.
        token: Random; tells this probe's records from all others.
        new_id: Makes random UUIDs.
        seen: What was seen so far.
        store: Which store it is.
        absent: A key that nothing is stored under.
        leftovers: What could not be removed.
    """

    reopen: Callable[[], Entrance]
    observer: Observer
    token: str
    new_id: Callable[[], str]
    stop: StopSignal | None = None
    seen: Observations = field(default_factory=lambda: Observations(Capabilities()))
    store: StoreIdentity = field(default_factory=lambda: StoreIdentity("", ""))
    leftovers: list[Leftover] = field(default_factory=list)
    absent: str = ""
    control: RunControl = field(init=False)
    inventory: list[Sent] = field(default_factory=list)
    scratch: ScratchStore = field(default_factory=ScratchStore)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _end: OpenEnd | None = None
    _role: Role | None = None
    _is_readable: bool = False

    async def run(self) -> None:
        """Write, look, read back, and remove; removes in any case.

        Raises:
            ConfigError, ProviderError: The backend cannot be opened, or takes no record of the probe;
                nothing was written.
        """
        try:
            end = await self._enter(Role.TARGET, self.observer)
            plan = self._begin(end)
            try:
                await self._try(end, plan)
            except Stopped:
                pass  # the control knows why
            finally:
                await self._clean()
        finally:
            self.scratch.close()
            await self._stack.aclose()

    # -- connections --------------------------------------------------------------------------

    async def _enter(self, role: Role, observer: Observer | None = None) -> OpenEnd:
        """Open the backend in a role, one at a time: an embedded store can be open only once."""
        if self._end is not None and self._role is role:
            return self._end
        self._end = self._role = None
        await self._stack.aclose()
        entrance = self.reopen()
        self._end = await self._stack.enter_async_context(
            opened(entrance, role, observer=observer or SilentObserver())
        )
        self._role = role
        return self._end

    def _controlled(self, end: OpenEnd) -> RunControl:
        """Return a control of its own, which ends early when the user asks."""
        control = RunControl(end.provider.clock)
        if self.stop is not None:
            self.stop.on_request(lambda: control.stop(StopCause.INTERRUPTED, "stopped as asked"))
        return control

    @staticmethod
    def _caller(end: OpenEnd, control: RunControl) -> Caller:
        return Caller(end.provider.config, control, end.provider.clock)

    # -- steps --------------------------------------------------------------------------------

    def _begin(self, end: OpenEnd) -> ProbePlan:
        target = end.provider
        self.store = target.store()
        self.control = self._controlled(end)
        self.seen.target = target.capabilities()
        self.seen.can_delete = isinstance(target, SupportsDelete)
        self.seen.can_get = isinstance(target, SupportsGet)
        self.seen.visibility = target.lookup_visibility if isinstance(target, SupportsLookup) else None
        self.seen.unread = "" if target.is_source() else _ALONE
        plan = ProbePlan(target, token=self.token, new_id=self.new_id)
        self.absent = plan.absent_key()
        self.observer.notice("info", f"{end.name}: everything this probe writes belongs to {plan.owner}")
        return plan

    async def _try(self, end: OpenEnd, plan: ProbePlan) -> None:
        target = end.provider
        caller = self._caller(end, self.control)
        samples = self._samples(plan, is_source=target.is_source())
        first, changed = plan.key_samples()
        await caller.read(lambda: target.begin(plan.origin))
        placer = Placer(target, caller, store=self.scratch, settings=EngineSettings())
        sender = Sender(target, caller, self.observer, placer, self.inventory)
        key = self.seen.key
        key.first = await sender.send(first.document, first.record)
        self.seen.carried = [first.carried(key.first)]
        if key.first.is_pending:
            return  # it would be the same with every other
        if key.first.is_stored:
            key.again = await sender.send(first.document, first.record)
            key.changed = await sender.send(changed.document, changed.record)
        others = [sample.carried(await sender.send(sample.document, sample.record)) for sample in samples]
        self.seen.carried = [*others, *self.seen.carried]  # what carries most is looked at first
        await self._try_levels(target, caller, sender, plan)
        self.seen.lookup = await try_lookup(target, caller, self.inventory, absent=self.absent)
        key.first_remains = _remains(key.sent, self.seen.lookup.held if self.seen.lookup.works else {})
        await caller.read(target.finish)
        if target.is_source():
            await self._read_back()

    async def _try_levels(
        self, target: MemoryProvider[Any], caller: Caller, sender: Sender, plan: ProbePlan
    ) -> None:
        scopes = target.levels_of(plan.owner) if isinstance(target, SupportsLevels) else None
        sample = plan.wider_sample(scopes[1]) if scopes else None
        if scopes is None or sample is None or not isinstance(target, SupportsLevels):
            return
        sent = await sender.send(sample.document, sample.record)
        self.seen.levels = await try_levels(target, caller, sent, user=scopes[0], wider=scopes[1])

    def _samples(self, plan: ProbePlan, *, is_source: bool) -> list[Sample]:
        if not is_source:
            return []  # what cannot be read back is not worth a document
        samples = [plan.full_sample(), plan.aside_sample()]
        self.seen.refused = plan.refused
        return [sample for sample in samples if sample is not None]

    async def _read_back(self) -> None:
        read = await self._read()
        self.control.check()
        self.seen.read, self.seen.unread = read, read.problem
        self._is_readable = bool(read.records)
        for one in self.seen.carried:
            one.found = _match(one, read.records)
            one.is_missing = read.is_complete and one.found is None and self._is_readable
        self._look_at_texts(read)

    def _look_at_texts(self, read: ReadBack) -> None:
        """Tell how often the key was there, and which of its texts."""
        key = self.seen.key
        for one in self.seen.carried:
            if one.sent is key.first and one.found is not None:  # compare it with what it was made of
                text = one.found.content
                one.sent = next((sent for sent in key.sent if sent.record.content == text), one.sent)
        if key.first is not None and key.changed is not None and self._is_readable:
            texts = [one.content for one in read.records if any(sent.made(one) for sent in key.sent)]
            key.copies = len(texts) if read.is_complete else None
            key.has_first_text = key.first.record.content in texts
            key.has_changed_text = key.changed.record.content in texts

    async def _read(self) -> ReadBack:
        """Read the probe's records; what goes wrong with reading costs no more than what it would show."""
        try:
            end = await self._enter(Role.SOURCE)
        except MemxferError as error:
            return ReadBack(problem=f"it cannot be opened as a source: {error}")
        self.seen.source = end.provider.capabilities()
        control = self._controlled(end)
        try:
            return await Reader(end.provider, self._caller(end, control), token=self.token).read(
                self.inventory
            )
        except Stopped:
            return ReadBack(problem=f"reading back failed: {control.reason}")

    # -- removing -----------------------------------------------------------------------------

    async def _clean(self) -> None:
        sent = list({one.key: one for one in self.inventory if not one.is_void}.values())
        if not sent:
            return
        self.leftovers = [_leftover(one, "the probe broke off before it could be removed") for one in sent]
        try:
            await self._remove(await self._enter(Role.TARGET))
        except MemxferError as error:
            self.leftovers = [_leftover(one, f"it cannot be opened again: {error}") for one in sent]
        finally:
            for left in self.leftovers:
                ids = f" ({', '.join(left.target_ids)})" if left.target_ids else ""
                self.observer.notice("warning", f"not removed: {left.key}{ids}: {left.reason}")

    async def _remove(self, end: OpenEnd) -> None:
        # Its own control: whatever stopped the probe must not keep it from cleaning up.
        caller = self._caller(end, RunControl(end.provider.clock))
        trusts_lookup = self.seen.lookup.works is not False
        cleaner = Cleaner(end.provider, caller, absent=self.absent, trusts_lookup=trusts_lookup)
        await cleaner.clean(self.inventory)
        containers = await cleaner.clear(self.scratch.made())
        self.leftovers = [*cleaner.leftovers(), *containers]
        try:
            await caller.read(end.provider.finish)
        except (Stopped, MemxferError) as error:
            self.observer.notice("warning", f"{end.name}: the removal could not be completed: {error}")
        self.seen.removals = cleaner.removals
        _judge_by_deletion(self.seen)
        if self._is_readable:
            cleaner.compare(await self._read())
            self.leftovers = [*cleaner.leftovers(), *containers]


def _remains(sent: Sequence[Sent], held: dict[str, tuple[str, ...]]) -> bool | None:
    """Tell by a look-up whether ids of earlier documents of a key are there beside those of the last."""
    stored = [one for one in sent if one.is_stored]
    if not stored or stored[-1].key not in held:
        return None
    last, there = set(stored[-1].ids), set(held[stored[-1].key])
    older = {one for item in stored[:-1] for one in item.ids} - last
    if not older:
        return None
    return bool(older & there) if older & there or last & there else None


def _judge_by_deletion(seen: Observations) -> None:
    """Tell by what was there to delete whether earlier documents of a key outlived the last."""
    of_key = [one for one in seen.removals if one.sent in seen.key.sent and one.ids]
    if len(of_key) < 2 or not of_key[-1].count:
        return  # nothing earlier with ids of its own, or no proof that the count can be believed
    remained = any(one.count for one in of_key[:-1])
    if remained or seen.key.first_remains is None:
        seen.key.first_remains = remained


def _match(one: Carried, records: Sequence[MemoryRecord]) -> MemoryRecord | None:
    """Return the record that came of a document: by id, else by text, else by what else it says."""
    same_id = [record for record in records if record.id in (one.sent.record.id, *one.sent.ids)]
    same_text = [record for record in same_id or records if record.content == one.sent.record.content]
    return next(iter((*same_text, *same_id)), None)


def _leftover(sent: Sent, reason: str) -> Leftover:
    return Leftover(key=sent.key, target_ids=sent.ids, ingestion_id=sent.ingestion_id, reason=reason)
