"""JSON on stdout: one object a command, with the keys of the contract and no others."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

__all__ = ["write_json", "write_json_list"]

_SPOOLED = 2**20
"""Characters of a list that are kept in memory."""


def write_json(value: BaseModel | Mapping[str, Any]) -> None:
    """Write one object and a newline."""
    sys.stdout.write(_encode(value) + "\n")


def write_json_list(head: Mapping[str, Any], name: str, rows: Iterable[BaseModel]) -> None:
    """Write one object whose last key, `name`, is a list, without holding the list in memory.

    Nothing is written before the last member is there: an error on the way leaves no half of an object.

    Args:
        head: The keys before it; at least one.
        name: The list's key.
        rows: Its members.
    """
    with tempfile.SpooledTemporaryFile(_SPOOLED, mode="w+", encoding="ascii") as whole:
        whole.write(f"{_encode(head)[:-1]}, {json.dumps(name)}: [")
        separator = ""
        for row in rows:
            whole.write(separator + _encode(row))
            separator = ", "
        whole.write("]}\n")
        whole.seek(0)
        shutil.copyfileobj(whole, sys.stdout)


def _encode(value: BaseModel | Mapping[str, Any]) -> str:
    # ASCII: a terminal's encoding, or a lone surrogate in an id, must not break a pipeline
    return json.dumps(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)
