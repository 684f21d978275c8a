"""The identity file: who is who in the target, decided line by line.

A CSV file with a header. Columns named like the axes of a scope say which records a line is about,
columns that begin with `to_` say whose they become; an empty cell says nothing:

```csv
user,agent,to_user,to_tenant
,helper,ann,
old-ann,,ann,acme
```
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from memxfer.capabilities import Axis
from memxfer.errors import ConfigError
from memxfer.models import MemoryRecord, Scope

__all__ = ["IdentityMap"]

_TO = "to_"
_AXES = tuple(axis.value for axis in Axis)
_MOST_BYTES = 256 * 2**20


class IdentityMap:
    """Gives records other owners.

    Args:
        rules: For each set of axes, what a record's values on them lead to. A record that several
            sets fit goes by the one with most axes.
        digest: Changes when any line of the file does.
    """

    def __init__(self, rules: Mapping[tuple[str, ...], Mapping[tuple[str, ...], Scope]], digest: str) -> None:
        self._rules = sorted(rules.items(), key=lambda rule: (-len(rule[0]), rule[0]))
        self.digest = digest

    def __len__(self) -> int:
        return sum(len(owners) for _, owners in self._rules)

    def __call__(self, record: MemoryRecord) -> MemoryRecord:
        """Return `record` with the owner the file gives it; the same object where it gives none."""
        scope = record.scope
        for axes, owners in self._rules:
            owner = owners.get(tuple(getattr(scope, axis) for axis in axes))
            if owner is not None:
                changed = {axis: value for axis in _AXES if (value := getattr(owner, axis)) is not None}
                moved = msgspec.structs.replace(scope, **changed)
                return record if moved == scope else msgspec.structs.replace(record, scope=moved)
        return record

    @classmethod
    def read(cls, path: Path) -> IdentityMap:
        """Read an identity file.

        Raises:
            ConfigError: It cannot be read, has an unknown column, or says two things about the same records.
        """
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ConfigError(f"identity file {path}: over {_MOST_BYTES} bytes")
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise ConfigError(f"identity file {path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"identity file {path} is not UTF-8") from error
        try:
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            _check_columns(path, reader.fieldnames or ())
            rules = _rules(path, reader)
        except csv.Error as error:
            raise ConfigError(f"identity file {path} is not CSV: {error}") from error
        return cls(rules, hashlib.sha256(text.encode()).hexdigest()[:32])


def _check_columns(path: Path, names: Iterable[str]) -> None:
    known = {*_AXES, *(_TO + axis for axis in _AXES)}
    found = [name or "" for name in names]
    unknown = [name for name in found if name not in known]
    if unknown:
        raise ConfigError(
            f"identity file {path}: no column {unknown[0]!r}; known: {', '.join(sorted(known))}"
        )
    if not any(name.startswith(_TO) for name in found) or all(name.startswith(_TO) for name in found):
        raise ConfigError(f"identity file {path}: needs a column like user, and one like to_user")
    if len(set(found)) != len(found):
        raise ConfigError(f"identity file {path}: a column is there twice")


def _rules(path: Path, lines: csv.DictReader[str]) -> dict[tuple[str, ...], dict[tuple[str, ...], Scope]]:
    rules: dict[tuple[str, ...], dict[tuple[str, ...], Scope]] = {}
    for cells in lines:
        where = f"identity file {path}, line {lines.line_num}"
        if None in cells or None in cells.values():
            raise ConfigError(f"{where}: as many cells as the header has columns are needed")
        axes = tuple(axis for axis in _AXES if cells.get(axis))
        owner: dict[str, Any] = {axis: cells[_TO + axis] for axis in _AXES if cells.get(_TO + axis)}
        if not axes or not owner:
            raise ConfigError(f"{where}: says either not whom it is about, or not what becomes of them")
        owners = rules.setdefault(axes, {})
        values = tuple(cells[axis] for axis in axes)
        if owners.setdefault(values, Scope(**owner)) != Scope(**owner):
            raise ConfigError(f"{where}: an earlier line says something else about the same records")
    return rules
