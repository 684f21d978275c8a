"""JSON on stdout: one object a command, with the keys of the contract and no others."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

__all__ = ["write_json", "write_json_list"]


def write_json(value: BaseModel | Mapping[str, Any]) -> None:
    """Write one object and a newline."""
    sys.stdout.write(_encode(value) + "\n")


def write_json_list(head: Mapping[str, Any], name: str, rows: Iterable[BaseModel]) -> None:
    """Write one object whose last key, `name`, is a list, without holding the list in memory.

    Args:
        head: The keys before it; at least one.
        name: The list's key.
        rows: Its members.
    """
    sys.stdout.write(f"{_encode(head)[:-1]}, {json.dumps(name)}: [")
    separator = ""
    for row in rows:
        sys.stdout.write(separator + _encode(row))
        separator = ", "
    sys.stdout.write("]}\n")


def _encode(value: BaseModel | Mapping[str, Any]) -> str:
    # ASCII: a terminal's encoding, or a lone surrogate in an id, must not break a pipeline
    return json.dumps(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)
