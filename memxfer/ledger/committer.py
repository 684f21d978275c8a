"""Group commit: one thread owns the database and makes many changes durable with one fsync."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from memxfer.errors import LedgerError
from memxfer.ledger.states import RESIDUE, RESIDUE_LINES

__all__ = ["Change", "Committer", "ResidueLine", "ResidueStore", "connect"]

_MOST_ROWS = 20_000
_MOST_BYTES = 4 * 2**20

ResidueLine = tuple[str, bytes | None]
"""What tells a record of the residue apart, and its line; `None`: no line of it is to count any more."""


class ResidueStore(Protocol):
    """Where the originals go that the target cannot hold. Called by the committer's thread alone."""

    def store(self, lines: Sequence[ResidueLine]) -> tuple[int, int]:
        """Make lines durable, in order; the same ones again change nothing.

        Returns:
            How many records it holds now, and how many lines were ever written.

        Raises:
            LedgerError: They could not all be stored.
        """
        ...


@dataclass(slots=True)
class Change:
    """Lines of the residue, and statements that become durable together, in order, once the lines are.

    Attributes:
        statements: Pairs of an SQL statement and its parameter rows.
        counts: What to add to the counters.
        residue: Originals that must be on disk before any of the statements is.
    """

    statements: list[tuple[str, list[tuple[object, ...]]]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    residue: list[ResidueLine] = field(default_factory=list)

    def add(self, statement: str, *rows: tuple[object, ...]) -> None:
        """Append one statement for each of `rows`."""
        if self.statements and self.statements[-1][0] is statement:
            self.statements[-1][1].extend(rows)
        elif rows:
            self.statements.append((statement, list(rows)))

    def is_empty(self) -> bool:
        """Tell whether there is nothing to write."""
        return not self.statements and not self.counts and not self.residue


def connect(path: Path, *, read_only: bool = False, what: str = "ledger") -> sqlite3.Connection:
    """Open a ledger's file, or another one that is kept in the same way.

    Args:
        path: The file.
        read_only: Nothing is to be written.
        what: What an error calls the file.

    Raises:
        LedgerError: It cannot be opened.
    """
    mode = "ro" if read_only else "rwc"
    connection = None
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}", uri=True, check_same_thread=False, isolation_level=None
        )
        connection.execute("PRAGMA busy_timeout = 30000")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # What waited with its text leaves no trace once it is gone.
            connection.execute("PRAGMA secure_delete = ON")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise LedgerError(f"the {what} {path} cannot be opened: {error}") from error
    return connection


_Item = tuple[Change, "asyncio.Future[None] | None", "asyncio.AbstractEventLoop | None"]


class Committer:
    """Applies changes in the order they were submitted.

    The residue lines of a group are durable before its transaction begins: an intent is never on disk
    without the original it stands for.

    Args:
        path: The ledger file.
        window: Seconds that a change may wait for company before the commit.
        residue: Takes the changes' residue lines; without one there must not be any.
        what: What an error calls the file.
        remedy: What an error advises, where the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        window: float = 0.005,
        residue: ResidueStore | None = None,
        what: str = "ledger",
        remedy: str = "free some space or fix the folder, then resume the job: nothing that was "
        "acknowledged is lost",
    ) -> None:
        self._path = path
        self._what, self._remedy = what, remedy
        self._window = window
        self._residue = residue
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._failure: LedgerError | None = None
        self._is_closed = False
        self._connection = connect(path, what=what)
        self._thread = threading.Thread(target=self._run, name="memxfer-ledger", daemon=True)
        self._thread.start()

    def submit(self, change: Change) -> asyncio.Future[None]:
        """Queue `change`; the future is done once it is durable.

        Raises:
            LedgerError: (from the future) It could not be written; nothing of its group was.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self._failure is not None:
            future.set_exception(self._failure)
        elif self._is_closed:
            future.set_exception(LedgerError(f"the {self._what} {self._path} is closed"))
        else:
            self._queue.put((change, future, loop))
        return future

    def close(self) -> None:
        """Write what is queued, fold the WAL into the file and close it. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(None)
            self._thread.join()
            self._connection.close()

    def _run(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._collect()
            if group:
                self._commit(group)
        if self._failure is None:
            # Where there is no room to fold the WAL in, it stays beside the file, and nothing is lost.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _collect(self) -> tuple[list[_Item], bool]:
        """Take the next change and whatever else arrives within the window."""
        first = self._queue.get()
        if first is None:
            return [], False
        group = [first]
        rows, size = _rows(first[0]), _size(first[0])
        deadline = time.monotonic() + self._window
        while rows < _MOST_ROWS and size < _MOST_BYTES:
            try:
                item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if item is None:
                return group, False
            group.append(item)
            rows += _rows(item[0])
            size += _size(item[0])
        return group, True

    def _commit(self, group: list[_Item]) -> None:
        try:
            if self._failure is None:
                changes = [change for change, _, _ in group]
                self._apply(changes + self._keep([line for change in changes for line in change.residue]))
        except LedgerError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to hear of it
            self._failure = LedgerError(
                f"the {self._what} {self._path} cannot be written ({error}); {self._remedy}"
            )
            self._roll_back()
        for _, future, loop in group:
            if future is not None and loop is not None:
                _resolve(loop, future, self._failure)

    def _keep(self, lines: list[ResidueLine]) -> list[Change]:
        """Make residue lines durable; return the change that notes how many there are now."""
        if not lines:
            return []
        if self._residue is None:
            raise LedgerError("originals for a residue, and no residue to put them in: a bug of memxfer")
        totals = zip((RESIDUE, RESIDUE_LINES), self._residue.store(lines), strict=True)
        return [Change([("INSERT OR REPLACE INTO count (name, n) VALUES (?, ?)", list(totals))])]

    def _apply(self, changes: list[Change]) -> None:
        counts: Counter[str] = Counter()
        self._connection.execute("BEGIN IMMEDIATE")
        for change in changes:
            counts.update(change.counts)
            for statement, rows in change.statements:
                self._connection.executemany(statement, rows)
        self._connection.executemany(
            "INSERT INTO count (name, n) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = n + excluded.n",
            [(name, n) for name, n in counts.items() if n],
        )
        self._connection.execute("COMMIT")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


def _rows(change: Change) -> int:
    return sum(len(rows) for _, rows in change.statements)


def _size(change: Change) -> int:
    return sum(len(line) for _, line in change.residue if line is not None)


def _resolve(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[None], failure: LedgerError | None
) -> None:
    def finish() -> None:
        if future.done():
            return
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)

    try:
        loop.call_soon_threadsafe(finish)
    except RuntimeError:
        # The loop is closed: the run was torn down, and nobody waits for the answer any more.
        return
