"""A ledger's file: made once, at the start of a job; after that opened, and never made anew.

A file that is missing, empty, cut short, or something else is refused with what it is and what to do:
a job that went on with a new ledger would store everything twice.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from memxfer.errors import LedgerError
from memxfer.ledger.committer import connect
from memxfer.ledger.names import NEW_LEDGER
from memxfer.ledger.schema import FORMAT, SCHEMA, check_format
from memxfer.models import format_time

__all__ = ["FirstPlan", "check_ledger_file", "create_ledger", "explained", "reading", "sync_folder"]

_MAGIC = b"SQLite format 3\x00"
_HEADER = 100
_TABLES = frozenset({"count", "meta", "partition", "plan", "record", "run"})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
_READ_ONLY = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_SELF_EXPLAINED = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, then resume the job",
    sqlite3.SQLITE_IOERR: "the disk does not read or write; repair it, then resume the job",
    sqlite3.SQLITE_BUSY: "another program holds it; end that, then try again",
    sqlite3.SQLITE_LOCKED: "another program holds it; end that, then try again",
}


@dataclass(frozen=True, slots=True)
class FirstPlan:
    """The plan that a job begins with.

    Attributes:
        job: The job's id.
        fingerprint: Of the plan.
        text: The plan as JSON.
        at: When it was made.
    """

    job: str
    fingerprint: str
    text: str
    at: datetime


def create_ledger(path: Path, plan: FirstPlan | None = None) -> None:
    """Make the ledger of a new job, whole or not at all: with its plan, or not there.

    The name is durable after the caller's `sync_folder`.

    Args:
        path: The file; nothing may be there.
        plan: What the job moves.

    Raises:
        LedgerError: Something is there, or the folder cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise LedgerError(f"{path} is there already: the ledger of another job; remove that job first")
    scratch = path.with_name(NEW_LEDGER)
    try:
        scratch.unlink(missing_ok=True)
        with closing(sqlite3.connect(scratch, isolation_level=None)) as ledger:
            ledger.execute("PRAGMA synchronous = FULL")
            ledger.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT};")
            if plan is not None:
                ledger.execute("INSERT INTO meta VALUES ('job', ?)", (plan.job,))
                ledger.execute(
                    "INSERT INTO plan (at, fingerprint, plan) VALUES (?, ?, ?)",
                    (format_time(plan.at), plan.fingerprint, plan.text),
                )
            ledger.execute("COMMIT")
        scratch.replace(path)
    except sqlite3.Error as error:
        raise LedgerError(
            f"the ledger {path} cannot be made ({error}); free some space there and make the folder "
            "writable, or name another state folder with --state-dir"
        ) from error
    except OSError as error:
        raise LedgerError(
            f"the ledger {path} cannot be made ({error.strerror}); free some space there and make the folder "
            "writable, or name another state folder with --state-dir"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make a new name durable, where a folder can be opened for that (not on Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_ledger_file(path: Path) -> None:
    """Make sure that the file at `path` can be a ledger; reads its first bytes only.

    Raises:
        LedgerError: It is missing, a folder, empty, cut short, or no SQLite file; the message says which.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise LedgerError(
            f"job {path.parent.name} has no ledger: {path} is missing, and without it nobody knows what was "
            f"sent; {_advice(path)}"
        ) from None
    except IsADirectoryError:
        raise LedgerError(f"{path} is a folder and not the ledger's file; {_advice(path)}") from None
    except OSError as error:
        raise LedgerError(
            f"the ledger {path} cannot be opened ({error.strerror}); fix that, then try again"
        ) from error
    if (what := _wrong(path, head, size)) is not None:
        raise LedgerError(f"the ledger {path} {what}; {_advice(path)}")


def _wrong(path: Path, head: bytes, size: int) -> str | None:
    if not head:
        return "is an empty file (0 bytes)"
    if not head.startswith(_MAGIC):
        return "is not an SQLite file: it was overwritten or damaged"
    page = int.from_bytes(head[16:18], "big")
    pages, is_counted = int.from_bytes(head[28:32], "big"), head[24:28] == head[92:96]
    whole = pages * (65_536 if page == 1 else page)
    if len(head) < _HEADER or (is_counted and size < whole and not _wal_size(path)):
        return f"is cut short: {size:,} of {max(whole, _HEADER):,} bytes are there"
    return None


def _wal_size(path: Path) -> int:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except OSError:
        return 0


def check_tables(ledger: sqlite3.Connection, path: Path) -> None:
    """Make sure that an open SQLite file is a ledger that this memxfer reads.

    Raises:
        LedgerError: It is of another version, or has not the tables of a ledger.
    """
    names = {name for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not check_format(ledger, path) or not names >= _TABLES:
        raise LedgerError(
            f"the ledger {path} is an SQLite file that memxfer did not write as a ledger; {_advice(path)}"
        )


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that reads the ledger at `path`, also while its job runs or on a read-only disk.

    Raises:
        LedgerError: It is not a ledger, or cannot be read; also for errors inside the block.
    """
    check_ledger_file(path)
    with ExitStack() as stack:
        try:
            ledger = _opened(path, stack)
            check_tables(ledger, path)
            yield ledger
        except sqlite3.Error as error:
            raise explained(path, error) from error


def _opened(path: Path, stack: ExitStack) -> sqlite3.Connection:
    ledger = stack.enter_context(closing(connect(path, read_only=True)))
    try:
        ledger.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if _code(error) not in _READ_ONLY:
            raise
    else:
        return ledger
    # SQLite keeps an index of the WAL beside the file, and may not make one here. Nobody is writing:
    # a writer's index would be there.
    if not _wal_size(path):
        return stack.enter_context(closing(_immutable(path)))
    return stack.enter_context(closing(_copied(path, stack)))


def _immutable(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)


def _copied(path: Path, stack: ExitStack) -> sqlite3.Connection:
    """Open a copy: what the WAL holds belongs to the ledger, and is folded in on opening."""
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    try:
        for name in (path.name, f"{path.name}-wal"):
            shutil.copyfile(path.with_name(name), scratch / name)
    except OSError as error:
        raise LedgerError(
            f"the ledger {path} is in a read-only folder, and there is no room in {scratch} for the copy "
            f"that has to be read instead ({error.strerror}); free some, or set TMPDIR"
        ) from error
    return connect(scratch / path.name)


def explained(path: Path, error: sqlite3.Error) -> LedgerError:
    """Return what an error of SQLite means for the ledger at `path`, and what to do."""
    code = _code(error)
    if code in _DAMAGED:
        return LedgerError(f"the ledger {path} cannot be read: it is damaged ({error}); {_advice(path)}")
    if code in _READ_ONLY:
        return LedgerError(
            f"the ledger {path} cannot be written or opened ({error}); make the file and its folder writable"
        )
    what = _SELF_EXPLAINED.get(code, "try again")
    return LedgerError(f"the ledger {path} cannot be used ({error}): {what}")


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _advice(path: Path) -> str:
    job = path.parent.name
    return (
        f"put the file back from a backup. Without one, `memxfer jobs rm {job}` removes the job; a new job "
        "may store again what this one has stored"
    )
