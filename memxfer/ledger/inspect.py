"""Reading a job's ledger from outside: while it runs, after it died, on another machine."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from memxfer.errors import LedgerError
from memxfer.ledger.committer import connect
from memxfer.ledger.states import State

__all__ = ["ProblemRow", "Runs", "counts", "problem_count", "problems", "runs"]

_TOTALS = "SELECT coalesce(sum(seconds), 0), coalesce(sum(records), 0) FROM run"
_LAST = "SELECT status, coalesce(cause, '') FROM run ORDER BY id DESC LIMIT 1"
_LISTED = (State.FAILED, State.REJECTED, State.UNCERTAIN, State.GONE)


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs of a job, together.

    Attributes:
        status: How the last one ended; `None` if it has not, or died.
        seconds: Time of all runs that ended.
        records: Records they finished.
        cause: Why the last one stopped.
    """

    status: str | None
    seconds: float
    records: int
    cause: str


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """A record with a problem, as the ledger has it."""

    id: str
    key: str | None
    state: str
    code: str | None
    reason: str | None
    correlation_id: str | None


def counts(path: Path) -> Counter[str]:
    """Return the counters of the ledger at `path`."""
    with closing(_open(path)) as ledger:
        return Counter(dict(ledger.execute("SELECT name, n FROM count")))


def runs(path: Path) -> Runs:
    """Return how the runs of the ledger at `path` went."""
    with closing(_open(path)) as ledger:
        total = ledger.execute(
            "SELECT coalesce(sum(seconds), 0), coalesce(sum(records), 0) FROM run"
        ).fetchone()
        last = ledger.execute(
            "SELECT status, coalesce(cause, '') FROM run ORDER BY id DESC LIMIT 1"
        ).fetchone()
    status, cause = last or (None, "")
    return Runs(status, total[0], total[1], cause)


def problems(path: Path) -> Iterator[ProblemRow]:
    """Give every record that did not arrive, or arrived with a warning, in the order they were listed."""
    marks = ",".join("?" for _ in _LISTED)
    with closing(_open(path)) as ledger:
        yield from (
            ProblemRow(*row)
            for row in ledger.execute(
                "SELECT r.id, r.key, r.state, p.code, p.reason, p.correlation_id FROM record r "  # noqa: S608 - only question marks are inserted
                f"LEFT JOIN problem p ON p.seq = r.seq WHERE r.state IN ({marks}) OR p.seq IS NOT NULL "
                "ORDER BY r.seq",
                _LISTED,
            )
        )


def problem_count(path: Path, code: str) -> int:
    """Return how many records have a problem with this code."""
    with closing(_open(path)) as ledger:
        return int(ledger.execute("SELECT count(*) FROM problem WHERE code = ?", (code,)).fetchone()[0])


def _open(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise LedgerError(f"the job has no ledger at {path}: it was stopped before it began; remove it")
    return connect(path, read_only=True)
