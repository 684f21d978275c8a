"""How long a backend asks to wait, whatever it says."""

from __future__ import annotations

import math
from numbers import Real
from typing import Final

__all__ = ["bounded_wait"]

_LONGEST: Final = 86_400.0


def bounded_wait(asked: object) -> float | None:
    """Return the seconds that a backend asks to wait, from whatever it said in a body or a header.

    Never negative and never more than a day: a longer wait is asked for again when the day is over.
    `None` where it is no number, or none that means anything. Never raises.
    """
    if isinstance(asked, bool) or not isinstance(asked, Real | str):
        return None
    try:
        seconds = float(asked)
    except OverflowError:  # an int too large for a float
        return _LONGEST if str(asked)[0] != "-" else 0.0
    except ValueError:
        return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST)
