"""The NUL character, which text columns of many stores refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["NUL_SIGN", "without_nul"]

NUL_SIGN = "\u2400"
"""Stands for NUL where a store refuses it: visible, one for one, and it joins no words."""


def without_nul(value: Any) -> Any:
    """Return a JSON value, of any depth, with `NUL_SIGN` for every NUL in its texts and keys."""
    if isinstance(value, str):
        return value.replace("\x00", NUL_SIGN)
    if isinstance(value, Mapping):
        return {without_nul(name): without_nul(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nul(item) for item in value]
    return value
