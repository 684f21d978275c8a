"""The filters of `POST /v3/memories/`, as documented; what is not documented is a 400."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from memxfer.emulation import RefusedError

from .rows import AXES, Memory

__all__ = ["check", "matches"]

_LOGIC = ("AND", "OR", "NOT")
_TIMES = ("created_at", "updated_at")
_OTHERS = ("categories", "metadata", "memory_ids", "keywords")
_KNOWN = frozenset((*AXES, *_LOGIC, *_TIMES, *_OTHERS))
_OF_METADATA = frozenset(("eq", "ne", "contains"))


def check(filters: Any, *, wildcard_or: bool) -> dict[str, Any]:
    """Return the filters, when the service would take them.

    Args:
        filters: What was sent.
        wildcard_or: Whether an OR in which every entity is a wildcard names an entity.

    Raises:
        RefusedError: 400.
    """
    if not isinstance(filters, dict) or not filters:
        raise RefusedError(400, {"error": "filters are required and cannot be empty"})
    _check_keys(filters)
    if not _names_entity(filters, wildcard_or=wildcard_or):
        raise RefusedError(400, {"error": "filters need at least one of user_id, agent_id, app_id, run_id"})
    return filters


def _check_keys(node: Any) -> None:
    if not isinstance(node, dict):
        raise RefusedError(400, {"error": "every filter is an object"})
    unknown = node.keys() - _KNOWN
    if unknown:
        raise RefusedError(400, {"error": f"unknown filter fields: {sorted(unknown)}"})
    for name in _LOGIC:
        branches = node.get(name, [])
        if not isinstance(branches, list):
            raise RefusedError(400, {"error": f"{name} takes a list"})
        for branch in branches:
            _check_keys(branch)
    for condition in (node.get("metadata") or {}).values():
        if isinstance(condition, dict) and condition.keys() - _OF_METADATA:
            raise RefusedError(400, {"error": "metadata takes eq, ne and contains"})


def _names_entity(node: Mapping[str, Any], *, wildcard_or: bool) -> bool:
    if any(axis in node for axis in AXES):
        return True
    if any(_names_entity(branch, wildcard_or=wildcard_or) for branch in node.get("AND", [])):
        return True
    branches = [branch for branch in node.get("OR", []) if _names_entity(branch, wildcard_or=wildcard_or)]
    all_wild = all(branch.get(axis, "*") == "*" for branch in branches for axis in AXES)
    return bool(branches) and (wildcard_or or not all_wild)


def matches(memory: Memory, node: Mapping[str, Any]) -> bool:
    """Say whether a memory meets a filter. Siblings are ANDed; an OR next to an AND is ignored."""
    for name, condition in node.items():
        if name == "AND":
            holds = all(matches(memory, branch) for branch in condition)
        elif name == "OR":
            holds = "AND" in node or any(matches(memory, branch) for branch in condition)
        elif name == "NOT":
            holds = not any(matches(memory, branch) for branch in condition)
        else:
            holds = _field_matches(memory, name, condition)
        if not holds:
            return False
    return True


def _field_matches(memory: Memory, name: str, condition: Any) -> bool:
    if name in AXES:
        return _meets(memory.scope.get(name), condition)
    if name in _TIMES:
        return _meets(getattr(memory, name), _as_times(condition))
    if name == "memory_ids":
        return memory.id in condition
    if name == "categories":
        wanted = (
            condition.get("in", [condition.get("contains")]) if isinstance(condition, dict) else condition
        )
        return bool(set(wanted) & set(memory.categories or ()))
    if name == "keywords":
        words = condition.values() if isinstance(condition, dict) else [condition]
        return any(str(word).lower() in memory.text.lower() for word in words)
    own = memory.metadata or {}
    return all(_meets(own.get(key), value) for key, value in condition.items())


def _meets(value: Any, condition: Any) -> bool:
    if condition == "*":
        return value is not None
    if not isinstance(condition, dict):
        return bool(value == condition)
    return all(_holds(value, op, operand) for op, operand in condition.items())


def _holds(value: Any, op: str, operand: Any) -> bool:
    if op == "eq":
        return bool(value == operand)
    if op == "ne":
        return bool(value != operand)
    if op == "in":
        return value in operand
    if op in ("contains", "icontains"):
        return value is not None and str(operand).lower() in str(value).lower()
    if op not in ("gt", "gte", "lt", "lte"):
        raise RefusedError(400, {"error": f"unknown operator {op}"})
    if value is None:
        return False
    return bool(
        {"gt": value > operand, "gte": value >= operand, "lt": value < operand, "lte": value <= operand}[op]
    )


def _as_times(condition: Any) -> Any:
    if isinstance(condition, dict):
        return {op: _time(text) for op, text in condition.items()}
    return condition if condition == "*" else _time(condition)


def _time(text: Any) -> datetime:
    try:
        value = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise RefusedError(400, {"error": "a date is not ISO 8601"}) from error
    return value if value.tzinfo else value.replace(tzinfo=UTC)
