"""Reading a job's ledger from outside: while it runs, after it died, on another machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memxfer.ledger.opening import reading
from memxfer.ledger.states import State

__all__ = [
    "ProblemRow",
    "Runs",
    "counts",
    "is_stored",
    "last_plan",
    "notes",
    "problem_count",
    "problems",
    "runs",
]

_TOTALS = "SELECT coalesce(sum(seconds), 0), coalesce(sum(records), 0) FROM run"
_LAST = "SELECT status, coalesce(cause, '') FROM run ORDER BY id DESC LIMIT 1"
_PROBLEMS = (
    f"SELECT r.id, r.key, iif(r.state = '{State.INTENT}', ?, r.state), "  # noqa: S608 - constants
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
    with reading(path) as ledger:
        return Counter(dict(ledger.execute("SELECT name, n FROM count")))


def runs(path: Path) -> Runs:
    """Return how the runs of the ledger at `path` went."""
    with reading(path) as ledger:
        total = ledger.execute(_TOTALS).fetchone()
        last = ledger.execute(_LAST).fetchone()
    status, cause = last or (None, "")
    return Runs(status, total[0], total[1], cause)


def last_plan(path: Path) -> str | None:
    """Return the newest revision of what the job of the ledger at `path` moves, as JSON."""
    with reading(path) as ledger:
        row = ledger.execute("SELECT plan FROM plan ORDER BY revision DESC LIMIT 1").fetchone()
    return None if row is None else str(row[0])


def problems(path: Path, *, intent: str = State.UNCERTAIN) -> Iterator[ProblemRow]:
    """Give every record that did not arrive, or arrived with a warning, in the order they were listed.

    Args:
        path: The ledger.
        intent: What an intent with a problem is called. Where no run is under way, nobody can tell
            whether it arrived.
    """
    with reading(path) as ledger:
        yield from (ProblemRow(*row) for row in ledger.execute(_PROBLEMS, (intent,)))


def problem_count(path: Path, code: str) -> int:
    """Return how many records have a problem with this code."""
    with reading(path) as ledger:
        return int(ledger.execute("SELECT count(*) FROM problem WHERE code = ?", (code,)).fetchone()[0])


def is_stored(path: Path, ingestion_id: str) -> bool:
    """Tell whether a document that the target gave this handle to counts as stored."""
    with reading(path) as ledger:
        statement = "SELECT 1 FROM record WHERE ingestion_id = ? AND state = ? LIMIT 1"
        return ledger.execute(statement, (ingestion_id, State.STORED)).fetchone() is not None


def notes(path: Path, prefix: str) -> dict[str, str]:
    """Return the notes about the job whose names begin with `prefix`."""
    with reading(path) as ledger:
        rows = ledger.execute(
            "SELECT name, value FROM meta WHERE substr(name, 1, ?) = ?", (len(prefix), prefix)
        )
        return dict(rows.fetchall())
