"""What a job knows, and how it becomes durable."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from memxfer.errors import LedgerError
from memxfer.ledger import states
from memxfer.ledger.committer import Change, Committer, connect
from memxfer.ledger.schema import FORMAT, SCHEMA
from memxfer.ledger.states import State
from memxfer.models import format_time

__all__ = ["Accepted", "InDoubt", "Ledger", "PartitionRow", "Problem"]


@dataclass(slots=True)
class PartitionRow:
    """A slice of the source, as the ledger knows it.

    Attributes:
        id: Its number in the ledger.
        name: The provider's name for it.
        cursor: Where listing goes on; `None`: from its start.
        mark: Records of it up to this seq lie before `cursor`.
        is_done: It was listed to its end, and everything in it is settled.
    """

    id: int
    name: str
    cursor: str | None = None
    mark: int = 0
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A record after its partition's watermark, as an earlier run left it."""

    seq: int
    partition: int
    id: str
    key: str | None
    hash: bytes | None
    state: State
    sends: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """A record the target acknowledged and has not been seen to store."""

    seq: int
    id: str
    ingestion_id: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a record did not arrive, or arrived with a warning. Redacted; never quotes a memory."""

    code: str | None
    reason: str
    correlation_id: str | None = None


_SECOND = 2
_INSERT = "INSERT INTO record (seq, partition, id, key, hash, state, sends) VALUES (?, ?, ?, ?, ?, ?, ?)"
_SETTLE = (
    "UPDATE record SET state = ?, ingestion_id = ?, target_ids = ?, request = coalesce(?, request) "
    "WHERE seq = ?"
)
_PROBLEM = "INSERT OR REPLACE INTO problem (seq, at, code, reason, correlation_id) VALUES (?, ?, ?, ?, ?)"


class Ledger:
    """One job's ledger, open for its run. Reading of jobs that others run: `memxfer.ledger.inspect`.

    Changes are built by the methods below and handed to `commit`; a caller that puts several into
    one `Change` makes them durable together.
    """

    def __init__(self, path: Path, *, window: float = 0.005) -> None:
        _initialise(path)
        self._reader = connect(path, read_only=True)
        self._committer = Committer(path, window=window)
        row = self._reader.execute("SELECT max(seq) FROM record").fetchone()
        self._next_seq = (row[0] or 0) + 1
        row = self._reader.execute("SELECT max(id) FROM request").fetchone()
        self._next_request = (row[0] or 0) + 1
        row = self._reader.execute("SELECT max(id) FROM partition").fetchone()
        self._next_partition = (row[0] or 0) + 1

    def close(self) -> None:
        """Make everything durable and close the file. Idempotent."""
        self._committer.close()
        self._reader.close()

    def commit(self, change: Change) -> asyncio.Future[None]:
        """Queue a change; the future is done once it is durable. Changes keep their order."""
        return self._committer.submit(change)

    # -- records ------------------------------------------------------------------------------

    def intend(self, change: Change, partition: int, record_id: str, key: str, digest: bytes) -> int:
        """Note that a document is about to be sent; return its seq."""
        seq = self._take_seq()
        change.add(_INSERT, (seq, partition, record_id, key, digest, State.INTENT, 1))
        change.counts[State.INTENT] += 1
        return seq

    def warn(self, change: Change, seq: int, problem: Problem, *, at: datetime) -> None:
        """Note what the user should know about a record that is on its way or has arrived."""
        self._note(change, seq, problem, at)

    def intend_again(self, change: Change, row: InDoubt, key: str, digest: bytes) -> int:
        """Note that a document in doubt is about to be sent again; return its sends in this form."""
        is_same = row.key == key and row.hash == digest
        sends = row.sends + 1 if is_same else 1
        change.add(
            "UPDATE record SET key = ?, hash = ?, state = ?, sends = ? WHERE seq = ?",
            (key, digest, State.INTENT, sends, row.seq),
        )
        change.counts[row.state] -= 1
        change.counts[State.INTENT] += 1
        change.counts[states.RESENT] += row.sends == 1
        return sends

    def send_again(self, change: Change, seq: int, sends: int) -> int:
        """Note that a document of this run is about to be sent again; return its sends."""
        change.add("UPDATE record SET sends = ? WHERE seq = ?", (sends + 1, seq))
        change.counts[states.RESENT] += sends == 1
        return sends + 1

    def unsend(self, change: Change, seq: int, sends: int) -> None:
        """Take back an intent that was certainly not carried out; the record will be listed again."""
        if sends > 1:
            change.add("UPDATE record SET sends = ? WHERE seq = ?", (sends - 1, seq))
            change.counts[states.RESENT] -= sends == _SECOND
            return
        change.add("DELETE FROM record WHERE seq = ?", (seq,))
        change.add("DELETE FROM problem WHERE seq = ?", (seq,))
        change.counts[State.INTENT] -= 1

    def set_aside(
        self,
        change: Change,
        partition: int,
        record_id: str,
        state: State,
        problem: Problem | None,
        *,
        at: datetime,
    ) -> int:
        """Note a record that never becomes a document; return its seq."""
        seq = self._take_seq()
        change.add(_INSERT, (seq, partition, record_id, None, None, state, 0))
        change.counts[state] += 1
        self._note(change, seq, problem, at)
        return seq

    def settle(
        self,
        change: Change,
        seq: int,
        old: State,
        new: State,
        *,
        at: datetime,
        ingestion_id: str | None = None,
        target_ids: Sequence[str] = (),
        request: int | None = None,
        problem: Problem | None = None,
    ) -> None:
        """Note what became of a document; without a `request`, the one noted before stays."""
        ids = json.dumps(list(target_ids)) if target_ids else None
        change.add(_SETTLE, (new, ingestion_id, ids, request, seq))
        change.counts[old] -= 1
        change.counts[new] += 1
        self._note(change, seq, problem, at)

    def request(self, change: Change, documents: int, correlation_id: str | None, *, at: datetime) -> int:
        """Note a request to the target; return its number."""
        number = self._next_request
        self._next_request += 1
        change.add(
            "INSERT INTO request VALUES (?, ?, ?, ?)", (number, format_time(at), documents, correlation_id)
        )
        return number

    def accepted(self, after: int, limit: int) -> list[Accepted]:
        """Return up to `limit` accepted records with a seq above `after`, in order."""
        rows = self._reader.execute(
            "SELECT seq, id, ingestion_id FROM record WHERE seq > ? AND state = ? ORDER BY seq LIMIT ?",
            (after, State.ACCEPTED, limit),
        )
        return [Accepted(*row) for row in rows]

    # -- partitions ---------------------------------------------------------------------------

    def partitions(self) -> dict[str, PartitionRow]:
        """Return every known partition by name."""
        rows = self._reader.execute("SELECT id, name, cursor, mark, done FROM partition")
        return {row[1]: PartitionRow(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows}

    def add_partition(self, change: Change, name: str) -> PartitionRow:
        """Note a new partition."""
        row = PartitionRow(self._next_partition, name)
        self._next_partition += 1
        change.add("INSERT INTO partition (id, name) VALUES (?, ?)", (row.id, name))
        return row

    def advance(self, change: Change, row: PartitionRow) -> None:
        """Note how far a partition is safe."""
        change.add(
            "UPDATE partition SET cursor = ?, mark = ?, done = ? WHERE id = ?",
            (row.cursor, row.mark, int(row.is_done), row.id),
        )

    def after_watermarks(self) -> dict[int, dict[str, InDoubt]]:
        """Return, by partition and record id, the records that lie after their partition's watermark."""
        marks = {row.id: row.mark for row in self.partitions().values() if not row.is_done}
        return self._after(marks) if marks else {}

    def all_of(self, partition: int) -> dict[str, InDoubt]:
        """Return, by record id, every record of one partition."""
        return self._after({partition: 0}).get(partition, {})

    def _after(self, marks: Mapping[int, int]) -> dict[int, dict[str, InDoubt]]:
        found: dict[int, dict[str, InDoubt]] = {}
        rows = self._reader.execute(
            "SELECT seq, partition, id, key, hash, state, sends FROM record WHERE seq > ?",
            (min(marks.values()),),
        )
        for seq, partition, record_id, key, digest, state, sends in rows:
            if seq > marks.get(partition, seq):
                row = InDoubt(seq, partition, record_id, key, digest, State(state), sends)
                found.setdefault(partition, {})[record_id] = row
        return found

    # -- the job ------------------------------------------------------------------------------

    def counts(self) -> Counter[str]:
        """Return the counters: records by state, and those of `memxfer.ledger.states`."""
        return Counter(dict(self._reader.execute("SELECT name, n FROM count")))

    def meta(self, name: str) -> str | None:
        """Return a note about the job."""
        row = self._reader.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_meta(self, change: Change, name: str, value: str) -> None:
        """Note something about the job."""
        change.add("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def start_run(self, change: Change, *, at: datetime) -> int:
        """Note that a run begins; return its number."""
        row = self._reader.execute("SELECT coalesce(max(id), 0) + 1 FROM run").fetchone()
        change.add("INSERT INTO run (id, started) VALUES (?, ?)", (row[0], format_time(at)))
        return int(row[0])

    def end_run(
        self, change: Change, run: int, *, at: datetime, status: str, seconds: float, records: int, cause: str
    ) -> None:
        """Note how a run ended."""
        change.add(
            "UPDATE run SET ended = ?, status = ?, seconds = ?, records = ?, cause = ? WHERE id = ?",
            (format_time(at), status, seconds, records, cause, run),
        )

    def add_plan(self, change: Change, fingerprint: str, plan: str, *, at: datetime) -> None:
        """Note a revision of what is moved."""
        change.add(
            "INSERT INTO plan (at, fingerprint, plan) VALUES (?, ?, ?)", (format_time(at), fingerprint, plan)
        )

    def problems(self, code: str) -> int:
        """Return how many records have a problem with this code."""
        row = self._reader.execute("SELECT count(*) FROM problem WHERE code = ?", (code,)).fetchone()
        return int(row[0])

    def colliding(self) -> list[tuple[int, State]]:
        """Return the records whose document shares its key with a later one, as seq and state."""
        rows = self._reader.execute(
            "SELECT r.seq, r.state FROM record r JOIN (SELECT key, max(seq) AS last FROM record "
            "WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1) d ON r.key = d.key AND r.seq < d.last"
        )
        return [(seq, State(state)) for seq, state in rows]

    def _take_seq(self) -> int:
        seq = self._next_seq
        self._next_seq += 1
        return seq

    def _note(self, change: Change, seq: int, problem: Problem | None, at: datetime) -> None:
        if problem is not None:
            change.add(_PROBLEM, (seq, format_time(at), problem.code, problem.reason, problem.correlation_id))


def _initialise(path: Path) -> None:
    connection = connect(path)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
        elif version != FORMAT:
            raise LedgerError(
                f"the ledger {path} has format {version}, and this memxfer reads format {FORMAT}; "
                "use the version of memxfer that wrote it"
            )
    except sqlite3.Error as error:
        raise LedgerError(f"the ledger {path} cannot be used: {error}") from error
    finally:
        connection.close()
