"""Whether a question about a user also reads the level above, tried with a memory of that level."""

from __future__ import annotations

from dataclasses import dataclass

from memxfer.engine.calls import Caller
from memxfer.errors import ProviderError
from memxfer.migration.probing.sending import Sent
from memxfer.models import Scope
from memxfer.spi import SupportsLevels

__all__ = ["LevelTrial", "try_levels"]

_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between further questions while a memory is not found at its own level."""
_LIMIT = 20


@dataclass(frozen=True, slots=True)
class LevelTrial:
    """What the questions gave.

    Attributes:
        found: `merged` or `isolated`; `None`: it could not be told.
        note: Why not.
    """

    found: str | None = None
    note: str = "no memory could be put at the level above a user's"


async def try_levels(
    target: SupportsLevels, caller: Caller, sent: Sent, *, user: Scope, wider: Scope
) -> LevelTrial:
    """Ask for a memory of the wider level, there and as a user below it.

    Args:
        target: Connected as a target.
        caller: Waits.
        sent: The document at the wider level.
        user: A user below that level, who has no memory of that text.
        wider: Where the document is.

    Raises:
        Stopped: The probe has to end.
    """
    if not sent.is_stored or not sent.ids:
        return LevelTrial()
    note = ""
    for pause in (*_PAUSES, None):
        try:
            if await _finds(target, sent, wider):
                is_merged = await _finds(target, sent, user)
                return LevelTrial("merged" if is_merged else "isolated", "")
            note = "a question at its own level does not find it either"
        except ProviderError as error:
            note = f"the questions fail: {error}"
        if pause is not None:
            await caller.control.sleep(pause)
            caller.control.check()
    return LevelTrial(note=note)


async def _finds(target: SupportsLevels, sent: Sent, scope: Scope) -> bool:
    """Ask once; a question that fails costs this claim alone, so it is not the caller's to stop for."""
    hits = await target.search_level(sent.record.content, scope=scope, limit=_LIMIT)
    return any(hit.memory.id in sent.ids for hit in hits)
