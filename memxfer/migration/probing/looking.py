"""Whether a target's look-up finds what is there, when it says it does, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from memxfer.engine.calls import Caller
from memxfer.errors import ProviderError
from memxfer.migration.probing.sending import Sent
from memxfer.spi import MemoryProvider, SupportsLookup

__all__ = ["LookupTrial", "try_lookup"]

_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between further questions to a look-up that did not find what should be there."""


@dataclass(slots=True)
class LookupTrial:
    """What a look-up gave.

    Attributes:
        works: Whether it does what it promises; `None`: there is none, or nothing was stored.
        note: What was wrong, or when it finds things.
        held: Ids by key, as it gave them last.
    """

    works: bool | None = None
    note: str = ""
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)


async def try_lookup(
    target: MemoryProvider[Any], caller: Caller, sent: Sequence[Sent], *, absent: str
) -> LookupTrial:
    """Look up the keys of documents that are stored, and one that is not.

    Raises:
        Stopped: The probe has to end.
    """
    stored = [one for one in sent if one.is_stored]
    if not isinstance(target, SupportsLookup) or not stored:
        return LookupTrial(note="no document was stored")
    visibility = target.lookup_visibility
    if isinstance(visibility, float | int):
        await caller.control.sleep(visibility)
    trial = LookupTrial()
    waited = 0.0
    try:
        for pause in (*_PAUSES, None):
            trial.held = await _ask(target, caller, [*(one.key for one in stored), absent])
            missing = {one.key for one in stored} - trial.held.keys()
            if not missing or pause is None:
                break
            await caller.control.sleep(pause)
            waited += pause
    except ProviderError as error:
        trial.works, trial.note = False, f"it fails: {error}"
        return trial
    trial.note = _wrong(trial, stored, absent, waited)
    trial.works = not trial.note
    return trial


async def _ask(target: SupportsLookup, caller: Caller, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
    wanted = list(dict.fromkeys(keys))
    found = await caller.read(lambda: target.lookup(wanted))
    return {key: tuple(ids) for key, ids in found.items()}


def _wrong(trial: LookupTrial, stored: Sequence[Sent], absent: str, waited: float) -> str:
    if absent in trial.held:
        return "it finds a key that nothing was ever stored under"
    if any(one.key not in trial.held for one in stored):
        return "it does not find a document that is stored"
    last = {one.key: one for one in stored}
    if any(not set(one.ids) <= set(trial.held[key]) for key, one in last.items()):
        return "it gives other ids than the receipt of the document"
    if waited:
        return f"it finds a document only {waited:.0f} s later than it says"
    return ""
