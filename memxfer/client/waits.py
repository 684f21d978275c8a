"""How long an error asks to wait."""

from __future__ import annotations

from memxfer.waits import bounded_wait

__all__ = ["asked_seconds"]


def asked_seconds(error: BaseException) -> float | None:
    """Return the seconds that an error's `retry_after` asks for, at most a day.

    `None` where it asks for nothing that can be waited for: no number, NaN, zero or less.
    """
    return bounded_wait(getattr(error, "retry_after", None)) or None
