"""How a verb tells its caller what it is doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["Observer", "Progress", "SilentObserver"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a run.

    Attributes:
        phase: `scan` (reading to count), `move`, `settle` (waiting for the target to process).
        done: Records finished in this phase.
        total: Records to do, where known.
        rate: Records per second, over the last seconds; while settling, over the last minutes.
        eta: Seconds to go, where it can be told.
        skipped: Records left out by decision so far.
        rejected: Records not sent so far, because the target could never hold them.
        failed: Records that the target refused or failed to process so far.
        waiting: Seconds until the backend takes calls again, when it asked to wait.
        target: The connection that is written to; empty while scanning.
        asked: While settling: records asked about in the round of questions that is under way.
        next_check: While settling: seconds until the next round; `None` in a round.
    """

    phase: Literal["scan", "move", "settle"]
    done: int
    total: int | None = None
    rate: float = 0.0
    eta: float | None = None
    skipped: int = 0
    rejected: int = 0
    failed: int = 0
    waiting: float | None = None
    target: str = ""
    asked: int | None = None
    next_check: float | None = None


class Observer(Protocol):
    """Takes what a run reports. Called on the event loop: return at once."""

    def progress(self, progress: Progress) -> None:
        """A few times a second."""
        ...

    def notice(self, level: Literal["info", "warning"], text: str) -> None:
        """Something a person should read, once."""
        ...


class SilentObserver:
    """Ignores everything."""

    def progress(self, progress: Progress) -> None:
        """Ignore."""

    def notice(self, level: Literal["info", "warning"], text: str) -> None:
        """Ignore."""
