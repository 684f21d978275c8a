"""What a job knows, and how it becomes durable."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from memxfer.errors import LedgerError
from memxfer.ids import FORM_BYTES, is_same_form
from memxfer.ledger import states
from memxfer.ledger.committer import Change, Committer, ResidueStore, connect
from memxfer.ledger.doubts import Doubts, InDoubt
from memxfer.ledger.ignored import decode_share, encode_share
from memxfer.ledger.opening import explained, reading
from memxfer.ledger.schema import OWNER
from memxfer.ledger.states import State
from memxfer.models import format_time, sanitise_text

__all__ = ["INSERT_RECORD", "Accepted", "Ledger", "Namesake", "PartitionRow", "Problem"]


@dataclass(slots=True)
class PartitionRow:
    """A slice of the source, as the ledger knows it.

    Attributes:
        id: Its number in the ledger.
        name: The provider's name for it.
        cursor: Where listing goes on; `None`: from its start.
        mark: Records of it up to this seq lie before `cursor`.
        is_done: It was listed to its end, and everything in it is settled.
        is_swept: It was listed again after that, to its end, and nothing had been missed.
        ignored: Rows before `cursor` that are not memories.
        filtered: Records before `cursor` that the selection leaves out.
        reasons: Those that are not memories, by reason; `None`: there never were any.
    """

    id: int
    name: str
    cursor: str | None = None
    mark: int = 0
    is_done: bool = False
    ignored: int = 0
    filtered: int = 0
    is_swept: bool = False
    reasons: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A record the target acknowledged and has not been seen to store.

    Attributes:
        problem: The code of what was noted about it so far.
    """

    seq: int
    id: str
    ingestion_id: str
    problem: str | None = None


class Namesake(NamedTuple):
    """A record that shares its document key with others.

    Attributes:
        seq: Its row.
        state: Where it stands.
        request: The request that settled it; 0 where none did.
        form: Its id and digest: the same for a record that was listed twice.
        target_ids: What the target calls it.
    """

    seq: int
    state: State
    request: int
    form: tuple[str, bytes | None]
    target_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a record did not arrive, or arrived with a warning. Redacted; never quotes a memory."""

    code: str | None
    reason: str
    correlation_id: str | None = None


_SECOND = 2
_DONE, _SWEPT = 1, 2
_IN_DOUBT = "SELECT seq, partition, id, key, hash, state, sends FROM record WHERE"
_KEYS = 500
_NAMESAKES = "SELECT key, seq, state, coalesce(request, 0) AS request, id, hash, target_ids FROM record"
INSERT_RECORD = (
    "INSERT INTO record (seq, partition, id, key, hash, state, sends) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_SETTLE = (
    "UPDATE record SET state = ?, ingestion_id = ?, target_ids = ?, request = coalesce(?, request) "
    "WHERE seq = ?"
)
_ARRIVED = f"'{State.ACCEPTED}', '{State.STORED}', '{State.PRESENT}'"
_HELD = f"{_ARRIVED}, '{State.INTENT}', '{State.WAITING}', '{State.UNCERTAIN}'"
_PROBLEM = "INSERT OR REPLACE INTO problem (seq, at, code, reason, correlation_id) VALUES (?, ?, ?, ?, ?)"


class Ledger:
    """One job's ledger, open for its run. Reading of jobs that others run: `memxfer.ledger.inspect`.

    Changes are built by the methods below and handed to `commit`; a caller that puts several into
    one `Change` makes them durable together.

    Args:
        path: The file.
        window: Seconds that a change may wait for company before the commit.
        residue: Takes the originals that changes carry, before anything else of them is durable.

    Raises:
        LedgerError: The file is missing, or is no ledger: `create_ledger` makes one, this never does.
    """

    def __init__(self, path: Path, *, window: float = 0.005, residue: ResidueStore | None = None) -> None:
        with reading(path):
            pass  # what is no ledger is refused before anything of it is opened for writing
        self._path = path
        with closing(connect(path)) as ledger:
            ledger.execute(OWNER)  # a ledger of an earlier version goes on with this table
        self._readers = _Readers(path)
        self._committer = Committer(path, window=window, residue=residue)
        self._next_seq = self._after_last("SELECT max(seq) FROM record")
        self._next_request = self._after_last("SELECT max(id) FROM request")
        self._next_partition = self._after_last("SELECT max(id) FROM partition")

    def close(self) -> None:
        """Make everything durable and close the file. Idempotent."""
        self._readers.close()  # first: the connection that writes, if it is the last, leaves no WAL behind
        self._committer.close()

    def commit(self, change: Change) -> asyncio.Future[None]:
        """Queue a change; the future is done once it is durable. Changes keep their order."""
        return self._committer.submit(change)

    def _after_last(self, statement: str) -> int:
        return int(self.read(statement)[0][0] or 0) + 1

    # -- records ------------------------------------------------------------------------------

    def reserve(self) -> int:
        """Return the next seq. Taken in listing order: a partition's mark tells before from after by it."""
        seq = self._next_seq
        self._next_seq += 1
        return seq

    def intend(
        self, change: Change, seq: int, *, partition: int, record_id: str, key: str, digest: bytes
    ) -> None:
        """Note that a document is about to be sent, under a seq from `reserve`."""
        change.add(INSERT_RECORD, (seq, partition, record_id, key, digest, State.INTENT, 1))
        change.counts[State.INTENT] += 1

    def intend_again(self, change: Change, row: InDoubt, key: str, digest: bytes) -> int:
        """Note that a document in doubt is about to be sent again; return its sends in this form."""
        is_same = row.key == key and is_same_form(row.hash, digest)
        sends = row.sends + 1 if is_same else 1
        change.add(
            "UPDATE record SET key = ?, hash = ?, state = ?, sends = ? WHERE seq = ?",
            (key, digest, State.INTENT, sends, row.seq),
        )
        change.counts[row.state] -= 1
        change.counts[State.INTENT] += 1
        change.counts[states.RESENT] += row.sends == 1
        return sends

    def restore(self, change: Change, row: InDoubt) -> None:
        """Undo `intend_again`: the document was certainly not sent in its new form."""
        change.add(
            "UPDATE record SET key = ?, hash = ?, sends = ? WHERE seq = ?",
            (row.key, row.hash, row.sends, row.seq),
        )
        change.counts[states.RESENT] -= row.sends == 1

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
        digest: bytes | None = None,
    ) -> int:
        """Note a record that never becomes a document; return its seq. Without a digest: it is unreadable."""
        seq = self.reserve()
        change.add(INSERT_RECORD, (seq, partition, record_id, None, digest, state, 0))
        change.counts[state] += 1
        if problem is not None:
            self.note(change, seq, problem, at=at)
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
        if problem is not None:
            self.note(change, seq, problem, at=at)

    def note(self, change: Change, seq: int, problem: Problem, *, at: datetime) -> None:
        """Note why a record did not arrive, or what the user should know about it."""
        texts = (problem.code, problem.reason, problem.correlation_id)
        change.add(_PROBLEM, (seq, format_time(at), *(text and sanitise_text(text)[0] for text in texts)))

    def forget_problem(self, change: Change, seq: int, code: str | None) -> None:
        """Drop what was noted about a record under a code: it does not hold any more."""
        change.add("DELETE FROM problem WHERE seq = ? AND code = ?", (seq, code))

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
        rows = self.read(
            "SELECT r.seq, r.id, r.ingestion_id, p.code FROM record r LEFT JOIN problem p ON p.seq = r.seq "
            "WHERE r.seq > ? AND r.state = ? ORDER BY r.seq LIMIT ?",
            after,
            State.ACCEPTED,
            limit,
        )
        return [Accepted(*row) for row in rows]

    # -- partitions ---------------------------------------------------------------------------

    def partitions(self) -> dict[str, PartitionRow]:
        """Return every known partition by name."""
        rows = self.read("SELECT name, id, cursor, mark, done, ignored, filtered FROM partition")
        found = {
            name: PartitionRow(number, name, cursor, mark, bool(done), ignored, filtered, done == _SWEPT)
            for name, number, cursor, mark, done, ignored, filtered in rows
        }
        shares = self.notes(states.IGNORED_IN)
        for row in found.values() if shares else ():
            share = shares.get(f"{states.IGNORED_IN}{row.id}")
            row.reasons = None if share is None else decode_share(share)
        return found

    def add_partition(self, change: Change, name: str) -> PartitionRow:
        """Note a new partition."""
        row = PartitionRow(self._next_partition, name)
        self._next_partition += 1
        change.add("INSERT INTO partition (id, name) VALUES (?, ?)", (row.id, name))
        return row

    def advance(self, change: Change, row: PartitionRow) -> None:
        """Note how far a partition is safe."""
        change.add(
            "UPDATE partition SET cursor = ?, mark = ?, done = ?, ignored = ?, filtered = ? WHERE id = ?",
            (row.cursor, row.mark, _done(row), row.ignored, row.filtered, row.id),
        )
        if row.reasons is not None:
            self.set_meta(change, f"{states.IGNORED_IN}{row.id}", encode_share(row.reasons))

    def want_sweeps(self, change: Change) -> None:
        """Note that every partition has to be listed once more."""
        change.add(f"UPDATE partition SET done = {_DONE} WHERE done = {_SWEPT}", ())  # noqa: S608 - constants

    def after_watermarks(self) -> dict[int, Doubts]:
        """Return, by partition, the records that lie after their partition's watermark."""
        marks = {row.id: row.mark for row in self.partitions().values() if not row.is_done}
        return self._after(marks) if marks else {}

    def all_of(self, partition: int) -> Doubts:
        """Return every record of one partition."""
        rows = self._rows(f"{_IN_DOUBT} partition = ? ORDER BY seq", partition)
        return _by_partition(rows).get(partition, Doubts())

    def intents(self, partitions: Collection[int]) -> dict[int, Doubts]:
        """Return, by partition, the records of some partitions that may have been sent."""
        rows = self._rows(f"{_IN_DOUBT} state = ? ORDER BY seq", State.INTENT)
        return _by_partition(row for row in rows if row[1] in partitions)

    def _after(self, marks: Mapping[int, int]) -> dict[int, Doubts]:
        rows = self._rows(f"{_IN_DOUBT} seq > ? ORDER BY seq", min(marks.values()))
        return _by_partition(row for row in rows if row[0] > marks.get(row[1], row[0]))

    # -- the job ------------------------------------------------------------------------------

    def counts(self) -> Counter[str]:
        """Return the counters: records by state, and those of `memxfer.ledger.states`."""
        return Counter(dict(self.read("SELECT name, n FROM count")))

    def meta(self, name: str) -> str | None:
        """Return a note about the job."""
        rows = self.read("SELECT value FROM meta WHERE name = ?", name)
        return rows[0][0] if rows else None

    def set_meta(self, change: Change, name: str, value: str) -> None:
        """Note something about the job."""
        change.add("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def start_run(self, change: Change, *, at: datetime) -> int:
        """Note that a run begins; return its number."""
        [(run,)] = self.read("SELECT coalesce(max(id), 0) + 1 FROM run")
        change.add("INSERT INTO run (id, started) VALUES (?, ?)", (run, format_time(at)))
        return int(run)

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

    def last_plan(self) -> str | None:
        """Return the newest revision of what is moved, as JSON."""
        rows = self.read("SELECT plan FROM plan ORDER BY revision DESC LIMIT 1")
        return rows[0][0] if rows else None

    def problems(self, code: str) -> int:
        """Return how many records have a problem with this code."""
        return int(self.read("SELECT count(*) FROM problem WHERE code = ?", code)[0][0])

    def twins(self, *, keeps_apart: bool = False) -> list[list[Namesake]]:
        """Return, key by key, the records that arrived under one key where there are several.

        Those of one key come in the order in which the target answered for them. One record that came
        twice, with the same content, is no twin of its own. With `keeps_apart`, records of another owner
        or date are none either.
        """
        mark = f"coalesce(substr(hash, {FORM_BYTES + 1}), '')" if keeps_apart else "''"
        rows = self.read(
            f"{_NAMESAKES} WHERE state IN ({_ARRIVED}) AND (key, {mark}) IN "  # noqa: S608 - constants
            f"(SELECT key, {mark} FROM record WHERE key IS NOT NULL AND state IN ({_ARRIVED}) "
            f"GROUP BY key, {mark} HAVING min(id) != max(id) OR min(hash) != max(hash)) "
            f"ORDER BY key, {mark}, request, seq"
        )

        def place(row: tuple[Any, ...]) -> tuple[str, bytes]:
            return row[0], row[5][FORM_BYTES:] if keeps_apart else b""

        return [[_namesake(row) for row in twins] for _, twins in groupby(rows, key=place)]

    def namesakes(self, keys: Sequence[str]) -> dict[str, list[Namesake]]:
        """Return, by key, the records whose documents have one of these keys. Slow: reads the table."""
        found: dict[str, list[Namesake]] = {key: [] for key in keys}
        for start in range(0, len(keys), _KEYS):
            chunk = keys[start : start + _KEYS]
            marks = ",".join("?" * len(chunk))
            for row in self.read(f"{_NAMESAKES} WHERE key IN ({marks})", *chunk):
                found[row[0]].append(_namesake(row))
        return found

    def document_keys(self) -> Iterator[tuple[str, bytes]]:
        """Give the document keys that are in the target or may get there, with the marks of their records.

        Rows of a ledger that an earlier version began have no mark, and are left out.
        """
        return self._rows(
            f"SELECT key, substr(hash, {FORM_BYTES + 1}) FROM record WHERE key IS NOT NULL "  # noqa: S608 - constants
            f"AND length(hash) > {FORM_BYTES} AND state IN ({_HELD})"
        )

    def notes(self, prefix: str) -> dict[str, str]:
        """Return the notes about the job whose names begin with `prefix`."""
        rows = self.read("SELECT name, value FROM meta WHERE substr(name, 1, ?) = ?", len(prefix), prefix)
        return dict(rows)

    def read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query; for the other modules of this package."""
        return list(self._rows(statement, *values))

    def _rows(self, statement: str, *values: object) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._readers.own().execute(statement, values)
        except sqlite3.Error as error:
            raise explained(self._path, error) from error


class _Readers:
    """A connection for each thread that reads.

    One connection for all would mix them up: Python 3.12 and later may hand the same prepared statement,
    with its values, to two threads that begin the same query at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._is_closed = False
        self.own()

    def own(self) -> sqlite3.Connection:
        """Return the connection of this thread."""
        mine: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if mine is None:
            if self._is_closed:
                raise LedgerError(f"the ledger {self._path} is closed")
            mine = self._local.connection = connect(self._path, read_only=True)
            self._opened.append(mine)
        return mine

    def close(self) -> None:
        """Close them all. Idempotent."""
        self._is_closed = True
        for connection in self._opened:
            connection.close()


def _done(row: PartitionRow) -> int:
    """Return the word of the column `done`: 0 not yet, 1 listed to its end, 2 and swept."""
    if row.is_done and row.is_swept:
        return _SWEPT
    return _DONE if row.is_done else 0


def _by_partition(rows: Iterable[tuple[Any, ...]]) -> dict[int, Doubts]:
    found: dict[int, Doubts] = {}
    for seq, partition, record_id, key, digest, state, sends in rows:
        row = InDoubt(seq, partition, record_id, key, digest, State(state), sends)
        found.setdefault(partition, Doubts()).add(row)
    return found


def _namesake(row: tuple[Any, ...]) -> Namesake:
    _, seq, state, request, record_id, digest, ids = row
    return Namesake(seq, State(state), request, (record_id, digest), tuple(json.loads(ids)) if ids else ())
