"""How long a backend asks to wait, whatever it says."""

from __future__ import annotations

import math

__all__ = ["LONGEST_ASKED", "asked_seconds"]

LONGEST_ASKED = 366 * 24 * 3600.0
"""Seconds. A backend that asks for more is asked again after a year."""


def asked_seconds(error: BaseException) -> float | None:
    """Return the seconds that an error's `retry_after` asks for, up to a year.

    `None` where it asks for nothing that can be waited for: no number, NaN, zero or less.
    """
    asked = getattr(error, "retry_after", None)
    if asked is None:
        return None
    try:
        seconds = float(asked)
    except OverflowError:
        return LONGEST_ASKED
    except (TypeError, ValueError):
        return None
    if math.isnan(seconds) or seconds <= 0:
        return None
    return min(seconds, LONGEST_ASKED)
