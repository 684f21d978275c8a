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
        rate: Records per second, over the last seconds.
        eta: Seconds to go, where it can be told.
        failed: Records refused or rejected so far.
        waiting: Seconds until the backend takes calls again, when it asked to wait.
    """

    phase: Literal["scan", "move", "settle"]
    done: int
    total: int | None = None
    rate: float = 0.0
    eta: float | None = None
    failed: int = 0
    waiting: float | None = None


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
