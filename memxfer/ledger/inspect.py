"""Reading a job's ledger from outside: while it runs, after it died, on another machine."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from memxfer.errors import LedgerError
from memxfer.ledger.committer import connect
from memxfer.ledger.schema import check_format
from memxfer.ledger.states import State

__all__ = ["ProblemRow", "Runs", "counts", "notes", "problem_count", "problems", "runs"]

_TOTALS = "SELECT coalesce(sum(seconds), 0), coalesce(sum(records), 0) FROM run"
_LAST = "SELECT status, coalesce(cause, '') FROM run ORDER BY id DESC LIMIT 1"
# An intent with a problem waits for the user's decision: to people it is uncertain.
_PROBLEMS = (
    f"SELECT r.id, r.key, iif(r.state = '{State.INTENT}', '{State.UNCERTAIN}', r.state), "  # noqa: S608 - constants
    "p.code, p.reason, p.correlation_id FROM record r LEFT JOIN problem p ON p.seq = r.seq WHERE r.state IN "
    f"('{State.FAILED}', '{State.REJECTED}', '{State.UNCERTAIN}', '{State.GONE}') OR p.seq IS NOT NULL "
    "ORDER BY r.seq"
)


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
    with _reading(path) as ledger:
        return Counter(dict(ledger.execute("SELECT name, n FROM count")))


def runs(path: Path) -> Runs:
    """Return how the runs of the ledger at `path` went."""
    with _reading(path) as ledger:
        total = ledger.execute(_TOTALS).fetchone()
        last = ledger.execute(_LAST).fetchone()
    status, cause = last or (None, "")
    return Runs(status, total[0], total[1], cause)


def problems(path: Path) -> Iterator[ProblemRow]:
    """Give every record that did not arrive, or arrived with a warning, in the order they were listed."""
    with _reading(path) as ledger:
        yield from (ProblemRow(*row) for row in ledger.execute(_PROBLEMS))


def problem_count(path: Path, code: str) -> int:
    """Return how many records have a problem with this code."""
    with _reading(path) as ledger:
        return int(ledger.execute("SELECT count(*) FROM problem WHERE code = ?", (code,)).fetchone()[0])


def notes(path: Path, prefix: str) -> dict[str, str]:
    """Return the notes about the job whose names begin with `prefix`."""
    with _reading(path) as ledger:
        rows = ledger.execute(
            "SELECT name, value FROM meta WHERE substr(name, 1, ?) = ?", (len(prefix), prefix)
        )
        return dict(rows.fetchall())


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise LedgerError(f"the job has no ledger at {path}: it was stopped before it began; remove it")
    with closing(connect(path, read_only=True)) as ledger:
        try:
            check_format(ledger, path)
            yield ledger
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {path} cannot be read ({error}); is the file damaged?") from error
