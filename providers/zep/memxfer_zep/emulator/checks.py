"""What Zep takes: limits on texts, rules on metadata, refusals in its own words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from memxfer.emulation import RefusedError

__all__ = ["check_metadata", "check_text", "check_times", "invalid"]

_MAX_KEYS = 10
_SCALARS = (str, bool, int, float)


def invalid(message: str, param: str) -> RefusedError:
    """Return a refusal of what was sent."""
    return RefusedError(400, {"code": "invalid_request", "message": message, "param": param})


def check_text(value: Any, most: int, param: str) -> str:
    """Return a text of 1 to `most` characters, without NUL.

    Raises:
        RefusedError: It is none.
    """
    if not isinstance(value, str) or not value:
        raise invalid(f"{param} is required", param)
    if len(value) > most:
        raise invalid(f"{param} has more than {most} characters", param)
    if "\0" in value:
        raise invalid(f"{param} has a character that cannot be stored", param)
    return value


def check_metadata(value: Any, param: str, *, takes_lists: bool = True) -> dict[str, Any]:
    """Return an object of at most 10 scalars, or lists of scalars where `takes_lists`.

    Raises:
        RefusedError: It is none.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{param} must be an object", param)
    if len(value) > _MAX_KEYS:
        raise invalid(f"{param} has more than {_MAX_KEYS} keys", param)
    for name, item in value.items():
        items = item if takes_lists and isinstance(item, list) else [item]
        if not name or not all(isinstance(one, _SCALARS) and "\0" not in str(one) for one in items):
            raise invalid(f"{param} takes texts, numbers, truth values and lists of these", f"{param}.{name}")
    return value


def check_times(row: dict[str, Any], *names: str) -> dict[str, str]:
    """Return those fields of a row that are set, each a time with a zone.

    Raises:
        RefusedError: One is no time.
    """
    found = {}
    for name in names:
        value = row.get(name)
        if value is None:
            continue
        try:
            has_zone = datetime.fromisoformat(value).tzinfo is not None
        except (ValueError, TypeError):
            has_zone = False
        if not has_zone:
            raise invalid(f"{name} must be a time in RFC 3339", name)
        found[name] = value
    return found
