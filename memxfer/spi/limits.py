"""Limits that any target may have on what a record carries, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from memxfer.capabilities import Limits
from memxfer.errors import RecordError

__all__ = ["over_limit"]


def over_limit(metadata: dict[str, Any], limits: Limits, *, provider: str) -> RecordError | None:
    """Return what is too much about a record's metadata; `None` if nothing is.

    Args:
        metadata: The record's own.
        limits: The target's; only keys and depth are looked at. Sizes depend on a target's wire form,
            so each checks them by itself.
        provider: Name of the target's provider, for the error.
    """
    keys, depth = limits.metadata_keys, limits.metadata_depth
    if keys is not None and len(metadata) > keys:
        reason = f"the record's metadata has {len(metadata)} keys; {provider} takes {keys}"
    elif depth is not None and _is_deeper(metadata, depth):
        reason = f"the record's metadata is nested deeper than the {depth} levels that {provider} takes"
    else:
        return None
    return RecordError(reason, provider=provider, operation="prepare", code="metadata_too_large")


def _is_deeper(value: dict[str, Any], depth: int) -> bool:
    """Tell whether mappings and lists nest beyond `depth`; a flat mapping has depth 1."""
    level: list[Any] = [value]
    for _ in range(depth):
        level = [inner for outer in level for inner in _inner(outer) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _inner(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
