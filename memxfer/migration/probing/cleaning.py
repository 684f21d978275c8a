"""Removing what a probe wrote, and looking whether it is gone; nothing else is ever touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from memxfer.engine.calls import Caller
from memxfer.engine.control import Stopped
from memxfer.errors import ProviderError
from memxfer.migration.probing.reading import ReadBack
from memxfer.migration.probing.report import Leftover
from memxfer.migration.probing.sending import Sent, settled
from memxfer.spi import MemoryProvider, Outcome, SupportsDelete, SupportsLookup

__all__ = ["Cleaner", "Removal"]

_PATIENCE = 60.0
_MADE = (Outcome.CREATED, Outcome.PENDING)
_NO_ANSWER = "it may have been stored: the answer was lost, and the target cannot be asked for its id"
_UNSETTLED = "it was still being processed; what will be made of it is not known"
_NO_DELETE = "this backend deletes nothing through memxfer"
_NO_IDS = "the target does not say under which ids it stored it"
_NOT_OURS = "the target says that it was there before: it is left alone"
_STRAY = "it carries the mark of this probe, and none of its documents is known to have made it"
_REMAINS = "it was still there after it had been deleted"


@dataclass(slots=True)
class Removal:
    """What became of the ids of one document.

    Attributes:
        sent: The document.
        ids: Those that are deleted for it.
        is_tried: Deleting them was tried.
        count: How many of them were there, as the target says; `None`: it did not say.
        again: How many were there when the same was asked once more.
        remaining: Ids under which something of it is still seen.
        problem: Why it is still there, or may be; empty when it is gone.
    """

    sent: Sent
    ids: tuple[str, ...] = ()
    is_tried: bool = False
    count: int | None = None
    again: int = 0
    remaining: tuple[str, ...] = ()
    problem: str = ""


@dataclass(slots=True)
class Cleaner:
    """Removes the documents of one probe from one target.

    Only ids that the target gave for the probe's own documents are deleted: those of receipts that say
    "created" (or "updated", where the probe itself had created it), and those that a look-up gives for the
    probe's random keys, if it is known to tell the truth.

    Attributes:
        target: Connected as a target.
        caller: Makes the calls; its control is not the one that may have stopped the probe.
        absent: A key that nothing is stored under: a look-up that finds it is not believed.
        trusts_lookup: There is a look-up, and it was not seen to be wrong.
        removals: One per document that may be there, in the order they were sent.
        strays: Ids of records that carry the probe's mark and belong to none of its documents.
    """

    target: MemoryProvider[Any]
    caller: Caller
    absent: str
    trusts_lookup: bool
    removals: list[Removal] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    _made: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.trusts_lookup = self.trusts_lookup and isinstance(self.target, SupportsLookup)

    async def clean(self, inventory: Sequence[Sent]) -> None:
        """Delete what `inventory` may have left, oldest first, and look whether it is gone."""
        sent = [one for one in inventory if not one.is_void]
        for one in sent:
            await self._settle(one)
        self._made = {one.key for one in sent if self._is_made(one)}
        held = await self._held(sent)
        seen: set[str] = set()
        # From the newest back: an id that several documents share belongs to the last of them.
        for one in reversed(sent):
            ids = tuple(dict.fromkeys(i for i in self._ids(one, held) if i not in seen))
            seen |= set(ids)
            self.removals.insert(0, Removal(one, ids))
        for removal in self.removals:
            await self._remove(removal)
        await self._look_again(sent)

    async def clear(self, made: Sequence[str]) -> list[Leftover]:
        """Remove what was made for the documents to go into; return what is still there.

        Args:
            made: Target ids of containers; what is in another one comes before it.
        """
        left = []
        for one in made:
            problem = await self._clear(one)
            if problem:
                left.append(Leftover(key="", target_ids=(one,), reason=problem))
        return left

    async def _clear(self, target_id: str) -> str:
        target = self.target
        if not isinstance(target, SupportsDelete):
            return _NO_DELETE
        try:
            await self.caller.read(lambda: target.delete([target_id]))
        except Stopped:
            return f"it could not be deleted: {self.caller.control.reason or 'stopped'}"
        except ProviderError as error:
            return f"it could not be deleted: {error}"
        return ""

    def compare(self, read: ReadBack) -> None:
        """Correct by what can still be read: the backend itself has the last word."""
        for removal in self.removals:
            removal.remaining = tuple(one.id for one in read.records if removal.sent.made(one))
            if removal.remaining:
                removal.problem = removal.problem or _REMAINS
            elif read.is_complete and not removal.sent.is_pending:
                removal.problem = ""
        self.strays = [
            record.id
            for record in read.records
            if not any(removal.sent.made(record) for removal in self.removals)
        ]

    def leftovers(self) -> list[Leftover]:
        """Return what is still there or may be, one entry per key, and one per stray record."""
        by_key: dict[str, list[Removal]] = {}
        for removal in self.removals:
            if removal.problem:
                by_key.setdefault(removal.sent.key, []).append(removal)
        strays = [Leftover(key="", target_ids=(one,), reason=_STRAY) for one in self.strays]
        return [*map(_leftover, by_key.values()), *strays]

    # -- what there is ------------------------------------------------------------------------

    async def _settle(self, sent: Sent) -> None:
        """Learn the ids of a document that was still being processed when the probe ended."""
        if sent.is_pending:
            try:
                sent.status = await settled(self.target, self.caller, sent, patience=_PATIENCE)
            except (Stopped, ProviderError):
                return

    @property
    def _proves_absence(self) -> bool:
        """Whether a key that the look-up does not find is not there, and will not be."""
        target = self.target
        return (
            self.trusts_lookup
            and isinstance(target, SupportsLookup)
            and target.lookup_visibility != "after_task"
        )

    async def _held(self, sent: Sequence[Sent]) -> dict[str, tuple[str, ...]]:
        target = self.target
        if not self.trusts_lookup or not isinstance(target, SupportsLookup) or not sent:
            return {}
        keys = [*dict.fromkeys(one.key for one in sent), self.absent]
        try:
            if isinstance(target.lookup_visibility, float | int):
                await self.caller.control.sleep(target.lookup_visibility)
            held = await self.caller.read(lambda: target.lookup(keys))
        except (Stopped, ProviderError):
            return {}
        self.trusts_lookup = self.absent not in held
        return held if self.trusts_lookup else {}

    def _ids(self, sent: Sent, held: dict[str, tuple[str, ...]]) -> Iterable[str]:
        return (*(sent.ids if self._is_made(sent) else ()), *held.get(sent.key, ()))

    def _is_made(self, sent: Sent) -> bool:
        outcome = sent.receipt.outcome if sent.receipt else None
        return outcome in _MADE or (outcome is Outcome.UPDATED and sent.key in self._made)

    # -- removing -----------------------------------------------------------------------------

    async def _remove(self, removal: Removal) -> None:
        target = self.target
        if not removal.ids:
            removal.problem = self._why_no_ids(removal.sent)
            return
        if not isinstance(target, SupportsDelete):
            removal.problem = _NO_DELETE
            return
        removal.is_tried = True
        try:
            removal.count = await self.caller.read(lambda: target.delete(removal.ids))
            removal.again = await self.caller.read(lambda: target.delete(removal.ids))
        except Stopped:
            removal.problem = f"it could not be deleted: {self.caller.control.reason or 'stopped'}"
        except ProviderError as error:
            removal.problem = f"it could not be deleted: {error}"

    def _why_no_ids(self, sent: Sent) -> str:
        """Say why a document without ids of its own may be there all the same; empty if it is not."""
        if sent.is_pending:
            return _UNSETTLED
        if sent.receipt is None or sent.receipt.outcome is Outcome.UNKNOWN:
            return "" if self._proves_absence else _NO_ANSWER
        if not sent.is_stored or self.trusts_lookup:
            return ""
        if any(one.sent.key == sent.key and one.ids for one in self.removals):
            return ""  # they went, or will go, with another document of the same key
        if not self._is_made(sent):
            return _NOT_OURS
        writing = self.target.capabilities().writing
        is_empty = sent.status is not None and writing is not None and writing.reports_ids
        return "" if is_empty else _NO_IDS

    async def _look_again(self, sent: Sequence[Sent]) -> None:
        held = await self._held(sent)
        for removal in self.removals:
            if removal.problem:
                continue
            if removal.sent.key in held:
                removal.remaining = held[removal.sent.key]
                removal.problem = _REMAINS
            elif removal.again and not self.trusts_lookup:
                removal.problem = _REMAINS


def _leftover(removals: Sequence[Removal]) -> Leftover:
    """Return what is left of one key; a reason that came before the look afterwards says more."""
    ids = [one for removal in removals for one in (*removal.ids, *removal.remaining)]
    reasons = [removal.problem for removal in removals]
    return Leftover(
        key=removals[0].sent.key,
        target_ids=tuple(dict.fromkeys(ids)),
        ingestion_id=removals[-1].sent.ingestion_id,
        reason=next((reason for reason in reasons if reason != _REMAINS), _REMAINS),
    )
