"""How long to wait before the next try. Only the engine waits; providers classify."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from memxfer.spi import RetrySettings

__all__ = ["Backoff"]

_MOST_DOUBLINGS = 64
_SHORTEST = 0.01


@dataclass(slots=True)
class Backoff:
    """Counts the tries of one call and says how long to wait before the next.

    Args:
        settings: The connection's retry block.
        random: Gives a number from 0 to 1; the wait is between half and the whole of its step.
    """

    settings: RetrySettings
    random: Callable[[], float] = random.random
    tries: int = field(default=0, init=False)

    def next_wait(self) -> float | None:
        """Count a failed try; return the seconds to wait, or `None` when no try is left."""
        self.tries += 1
        if self.tries >= self.settings.attempts:
            return None
        return self._step(self.tries)

    def refusal_wait(self, asked: float | None, refusals: int) -> float:
        """Return the seconds to wait after a refusal with 429; such tries are not counted.

        Args:
            asked: What the backend asked for (Retry-After), taken as it is; less than a hundredth of a second
                says nothing.
            refusals: Refusals of this call so far, this one included.
        """
        return asked if asked is not None and asked >= _SHORTEST else self._step(refusals)

    def _step(self, number: int) -> float:
        step = min(self.settings.backoff * 2.0 ** min(number - 1, _MOST_DOUBLINGS), self.settings.backoff_max)
        return step * (0.5 + self.random() / 2)
