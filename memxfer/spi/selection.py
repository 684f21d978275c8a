"""Which records to move: `--where "user=alice,created_at>=2025-01-01,kind=fact"`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from memxfer.errors import ConfigError
from memxfer.models import MemoryRecord, RecordState, ensure_utc

__all__ = ["Clause", "Selection"]

_TIMES = ("created_at", "updated_at", "occurred_at", "expires_at")
_SCOPES = ("user", "agent", "app", "session", "tenant", "group")
_PLAIN = ("id", "kind", "state")
_KNOWN = (*_PLAIN, *_SCOPES, *_TIMES)
_METADATA = "metadata."
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_MEANT = {"==": "=", "===": "=", "=>": ">=", "=<": "<=", "<>": "!=", "=!": "!=", "!==": "!=", "!": "!="}
"""Operators of other languages, and what they are here."""

_CLAUSE = re.compile(
    r"""\s*(?P<field>[A-Za-z_]\w*(?:\.(?:[^=!<>,]|,,)+?)?)
    \s*(?P<op>[=!<>][=!<>~]*)
    \s*(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>(?:[^,]|,,)*?))
    \s*(?P<end>,(?!,)|$)""",
    re.VERBOSE | re.DOTALL,
)
_JOINED = re.compile(
    rf"""(?:\s+(?:and|or)\s+|\s*(?:&&?|\|\|?|;|,)\s*)
    (?:{"|".join(_KNOWN)}|metadata\.\w+)\s*[=!<>]""",
    re.VERBOSE | re.IGNORECASE,
)
"""A value that goes on with another condition, joined to it in another way than by one comma."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition.

    Attributes:
        field: `user`, `created_at`, `metadata.topic`, ...
        op: `=`, `!=`, and for times `>=`, `<=`, `>`, `<`.
        value: What to compare with; an empty value means "not set", and is written `""`.
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
        """Read `field=value,field>=value`; `None` takes everything.

        A value in double quotes is taken as it is, with its commas and spaces; a quote in it is written
        twice. Without quotes a comma is written twice. The same condition twice counts once.

        Raises:
            ConfigError: An empty text, an unknown field or operator, an operator that the field does not
                take, a value that is missing or no date or state, or conditions that exclude each other.
        """
        if text is None:
            return cls()
        if not text.strip():
            raise ConfigError(
                "--where is empty: name a condition, or leave the option out to take all records; "
                "is the variable behind it set?"
            )
        clauses: list[Clause] = []
        start = 0
        is_open = True
        while is_open:
            match = _CLAUSE.match(text, start)
            if match is None:
                raise ConfigError(_no_condition(text[start:]))
            clauses.append(_clause(match))
            start, is_open = match.end(), bool(match["end"])
        clauses = list(dict.fromkeys(clauses))
        for field in dict.fromkeys(clause.field for clause in clauses):
            _check_possible([clause for clause in clauses if clause.field == field])
        return cls(tuple(clauses))

    def matches(self, record: MemoryRecord) -> bool:
        """Tell whether `record` is wanted."""
        return not self.clauses or all(clause.matches(record) for clause in self.clauses)

    def __str__(self) -> str:
        return ",".join(map(_written, self.clauses))

    def __bool__(self) -> bool:
        return bool(self.clauses)


def _as_text(value: Any) -> str:
    """Write a value as a user would: what is not set as nothing, a truth value as JSON does."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _written(clause: Clause) -> str:
    """Write a condition so that it reads back as itself; without quotes where it can be."""
    field, value = clause.field.replace(",", ",,"), clause.value
    is_plain = value and value == value.strip() and value[0] not in '"=!<>~' and not _JOINED.search(value)
    text = value.replace(",", ",,") if is_plain else '"' + value.replace('"', '""') + '"'
    return f"{field}{clause.op}{text}"


def _clause(match: re.Match[str]) -> Clause:
    field, op, quoted = match["field"].replace(",,", ","), match["op"], match["quoted"]
    value = match["plain"].replace(",,", ",") if quoted is None else quoted.replace('""', '"')
    _check_field(field)
    if op not in _OPERATORS:
        meant = _MEANT.get(op)
        hint = f"did you mean {field}{meant}{value}?" if meant else f"known: {', '.join(_OPERATORS)}"
        raise ConfigError(
            f'--where: no operator {op!r}; {hint} A value that begins so is written {field}="..."'
        )
    if op not in ("=", "!=") and field not in _TIMES:
        raise ConfigError(f"--where: {field} takes = and != only; dates also take >=, <=, > and <")
    if quoted is None:
        _check_plain(field, op, value)
    _check_value(field, op, value)
    return Clause(field, op, value)


def _check_field(field: str) -> None:
    if field in _KNOWN or field.startswith(_METADATA):
        return
    last = field.rpartition(".")[2].lower()
    meant = last if last in _KNOWN else next(iter(get_close_matches(field.lower(), _KNOWN, n=1)), None)
    if field.startswith("meta"):
        meant = "metadata.NAME"
    hint = f"did you mean {meant!r}? " if meant else ""
    known = ", ".join((*_KNOWN, "metadata.NAME"))
    raise ConfigError(f"--where: no field {field!r}; {hint}known: {known}")


def _check_plain(field: str, op: str, value: str) -> None:
    """Refuse what is hardly meant as a value; between quotes it may be."""
    literal = f'{field}{op}"..."'
    if not value:
        raise ConfigError(
            f"--where: {field}{op} has no value; is the variable behind it set? "
            f'Records without one are found with {field}=""'
        )
    if value[0] == '"':
        raise ConfigError(f'--where: the quotes of {field}{op}{value} are not closed; a quote in them is ""')
    if value[0] in "=!<>~":
        raise ConfigError(
            f"--where: {field}{op}{value} has two operators; a value that begins so is written {literal}"
        )
    if _JOINED.search(value):
        raise ConfigError(
            f"--where: {field}{op}{value} looks like several conditions; put one comma between them, all of "
            f"them must hold. If it is one value, write {literal}"
        )


def _check_value(field: str, op: str, value: str) -> None:
    if field in _TIMES and (value or op not in ("=", "!=")):
        _moment(value)
    states = [state.value for state in RecordState]
    if field == "state" and value not in states:
        meant = next(iter(get_close_matches(value.lower(), states, n=1)), None)
        hint = f"did you mean {meant!r}? " if meant else ""
        raise ConfigError(f"--where: no state {value!r}; {hint}known: {', '.join(states)}")


def _check_possible(clauses: Sequence[Clause]) -> None:
    """Refuse conditions on one field that no record can meet together."""
    pairs = ((one, other) for index, one in enumerate(clauses) for other in clauses[index + 1 :])
    for one, other in pairs:
        if _exclude(one, other) or _exclude(other, one):
            raise ConfigError(
                f"--where: no record can meet {_written(one)} and {_written(other)}; all conditions must "
                "hold. Move one after the other, in two jobs"
            )


def _exclude(one: Clause, other: Clause) -> bool:
    """Tell whether nothing meets both: an equal that misses the other, or bounds without room between."""
    is_time = one.field in _TIMES and bool(one.value and other.value)
    values: list[Any] = [_moment(c.value) if is_time else c.value for c in (one, other)]
    mine, theirs = values
    if one.op == "=":
        if one.field in _TIMES and not is_time:  # "not set" meets no bound and no date
            return not _OPERATORS[other.op](one.value, other.value) if other.op in ("=", "!=") else True
        return not _OPERATORS[other.op](mine, theirs)
    if one.op in (">", ">=") and other.op in ("<", "<="):
        return mine > theirs or (mine == theirs and (one.op, other.op) != (">=", "<="))
    return False


def _no_condition(text: str) -> str:
    part = text.split(",", maxsplit=1)[0]
    return (
        f"--where: {part.strip()!r} is not a condition; write field=value or created_at>=2025-01-01, "
        "with one comma between two of them"
    )


def _moment(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
        return ensure_utc(value if value.tzinfo else value.replace(tzinfo=UTC))
    except ValueError as error:
        raise ConfigError(
            f"--where: {text!r} is not a date; write 2025-01-31 or 2025-01-31T12:00:00Z"
        ) from error
