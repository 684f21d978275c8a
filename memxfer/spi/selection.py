"""Which records to move: `--where "user=alice,created_at>=2025-01-01,kind=fact"`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from memxfer.errors import ConfigError
from memxfer.models import MemoryRecord, ensure_utc

__all__ = ["Clause", "Selection"]

_TIMES = ("created_at", "updated_at", "occurred_at", "expires_at")
_SCOPES = ("user", "agent", "app", "session", "tenant", "group")
_PLAIN = ("id", "kind", "state")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_CLAUSE = re.compile(r"\s*([a-z_]+(?:\.[^=!<>]+?)?)\s*(>=|<=|!=|=|>|<)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition.

    Attributes:
        field: `user`, `created_at`, `metadata.topic`, ...
        op: `=`, `!=`, and for times `>=`, `<=`, `>`, `<`.
        value: What to compare with; an empty value means "not set".
    """

    field: str
    op: str
    value: str

    def matches(self, record: MemoryRecord) -> bool:
        """Tell whether `record` meets the condition; one without the field meets only `!=`."""
        actual = self._actual(record)
        if self.field in _TIMES and self.value:
            if actual is None:
                return self.op == "!="
            return _OPERATORS[self.op](actual, _moment(self.value))
        return _OPERATORS[self.op](_as_text(actual), self.value)

    def _actual(self, record: MemoryRecord) -> Any:
        if self.field in _SCOPES:
            return getattr(record.scope, self.field)
        if self.field.startswith("metadata."):
            return record.metadata.get(self.field.removeprefix("metadata."))
        return getattr(record, self.field)


@dataclass(frozen=True, slots=True)
class Selection:
    """All of its clauses must hold; an empty selection takes everything."""

    clauses: tuple[Clause, ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> Selection:
        """Read `field=value,field>=value`; a comma inside a value is written twice.

        Raises:
            ConfigError: An unknown field, an operator the field does not take, or not a date.
        """
        if not text or not text.strip():
            return cls()
        parts = [part.replace("\0", ",") for part in text.replace(",,", "\0").split(",")]
        return cls(tuple(_parse_clause(part) for part in parts))

    def matches(self, record: MemoryRecord) -> bool:
        """Tell whether `record` is wanted."""
        return not self.clauses or all(clause.matches(record) for clause in self.clauses)

    def __str__(self) -> str:
        return ",".join(f"{c.field}{c.op}{c.value}".replace(",", ",,") for c in self.clauses)

    def __bool__(self) -> bool:
        return bool(self.clauses)


def _as_text(value: Any) -> str:
    """Write a value as a user would: what is not set as nothing, a truth value as JSON does."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_clause(text: str) -> Clause:
    match = _CLAUSE.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--where: {text!r} is not a condition; write field=value or created_at>=2025-01-01"
        )
    clause = Clause(*match.groups())
    if clause.field in _TIMES:
        if clause.value or clause.op not in ("=", "!="):
            _moment(clause.value)
    elif clause.field not in (*_SCOPES, *_PLAIN) and not clause.field.startswith("metadata."):
        known = ", ".join((*_PLAIN, *_SCOPES, *_TIMES, "metadata.NAME"))
        raise ConfigError(f"--where: no field {clause.field!r}; known: {known}")
    elif clause.op not in ("=", "!="):
        raise ConfigError(f"--where: {clause.field} takes = and != only; dates also take >=, <=, > and <")
    return clause


def _moment(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
        return ensure_utc(value if value.tzinfo else value.replace(tzinfo=UTC))
    except ValueError as error:
        raise ConfigError(
            f"--where: {text!r} is not a date; write 2025-01-31 or 2025-01-31T12:00:00Z"
        ) from error
