"""An error for people and for scripts: what failed, why, what to do next; nothing of a record's content."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import traceback
from collections.abc import Iterator

from memxfer.errors import (
    AuthError,
    DecisionRequiredError,
    InterruptedRunError,
    MemxferError,
    NotReadyError,
    ProviderError,
    RateLimitedError,
)
from memxfer.report.text import plain, wrapped

__all__ = ["CODES", "code_of", "error_lines", "message_of", "remedies_of", "safe_traceback", "system_text"]

CODES = {
    "usage": "the command line is wrong: an unknown option, a missing argument, a value of the wrong kind",
    "interrupted": "Ctrl-C, SIGTERM, or a question that was not answered with yes",
    "system": "the operating system refused: a full disk, a missing permission, a folder in place of a file",
    "bug": "an error that memxfer did not foresee",
}
"""Codes of errors that no class of `memxfer.errors` stands for. The code of a class is its name without
`Error`, in lower case with underscores: `ConfigError` is `config`, `JobNotFoundError` is `job_not_found`."""

# What the messages themselves do not say: they come from where no command line is known.
_NEXT: tuple[tuple[type[MemxferError], str], ...] = (
    (AuthError, "Check the key behind api_key; `memxfer providers check CONNECTION` tests it alone."),
    (RateLimitedError, "Set max_rate on the connection, or try again later."),
    (NotReadyError, "--wait-ready waits for it."),
)
_PERMISSION = "check who owns it and who may write to it, or name another place"
_SYSTEM_NEXT = {
    errno.ENOSPC: "free some space on that disk, or name another place",
    errno.EDQUOT: "free some of your disk quota, or name another place",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: "the file system is read-only: name another place",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "a part of the path is a file: name a folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}

# SQLite tells what failed and not in which file; whoever knows the file has raised an error with its name.
_SQLITE = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, then run the command again",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written; check it, then run the command again",
    sqlite3.SQLITE_READONLY: "it is read-only; make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its folder exists and may be written to",
    sqlite3.SQLITE_BUSY: "another program holds it; end that program, then run the command again",
    sqlite3.SQLITE_LOCKED: "another program holds it; end that program, then run the command again",
    sqlite3.SQLITE_CORRUPT: "it is damaged; put it back from a backup",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite file; put it back from a backup",
}


def code_of(error: BaseException) -> str:
    """Return the stable word for an error: see `CODES`."""
    if isinstance(error, InterruptedRunError):
        return "interrupted"
    if isinstance(error, MemxferError):
        name = type(error).__name__.removesuffix("Error")
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return "system" if system_text(error) else "bug"


def system_text(error: BaseException) -> str | None:
    """Return what the operating system refused and where; `None` if it is another kind of error."""
    if isinstance(error, sqlite3.Error):
        found = _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        return f"an SQLite file cannot be used: {found}" if found else None
    if not isinstance(error, OSError) or error.errno is None:
        return None
    reason = os.strerror(error.errno)  # never `strerror`: a library may have put anything there
    names = (error.filename, error.filename2)
    places = [os.fsdecode(name) for name in names if isinstance(name, str | bytes | os.PathLike)]
    return f"{plain(' and '.join(places))}: {reason}" if places else f"the operating system says: {reason}"


def message_of(error: MemxferError) -> str:
    """Return what failed and why, with the backend's id of the request; a line each, harmless to show."""
    first, *more = map(plain, str(error).splitlines() or [type(error).__name__])
    lines = [f"{_where(error)}{first}", *more]
    if isinstance(error, ProviderError) and error.correlation_id:
        lines.append(f"correlation id for the vendor's support: {plain(error.correlation_id)}")
    return "\n".join(lines)


def remedies_of(error: Exception) -> list[str]:
    """Return what to do next, one step each; empty where the message says it all."""
    if isinstance(error, OSError) and error.errno is not None:
        known = _SYSTEM_NEXT.get(error.errno)
        return [known] if known else []
    decisions = error.remedies if isinstance(error, DecisionRequiredError) else ()
    return [*map(plain, decisions), *(hint for kind, hint in _NEXT if isinstance(error, kind))]


def error_lines(error: MemxferError, *, width: int | None = None) -> list[str]:
    """Return the block for an error that memxfer raised on purpose, first line first.

    Args:
        error: The error.
        width: Columns of the terminal, at which the message is broken between words; `None`: nowhere. What
            to do next is never broken: it is there to be copied.
    """
    first, *more = message_of(error).splitlines()
    lines = [f"error: {first}", *(f"  {line}" for line in more)]
    if width is not None:
        lines = [part for line in lines for part in wrapped(line, width)]
    return [*lines, *(f"  {line}" for line in _steps(error))]


def safe_traceback(error: BaseException) -> str:
    """Return the traceback without the texts of foreign exceptions: they may quote a memory."""
    return "\n".join(line for link in _chain(error) for line in _link(link))


def _steps(error: MemxferError) -> Iterator[str]:
    remedies = remedies_of(error)
    if isinstance(error, DecisionRequiredError) and error.remedies:
        yield "decide with:"
        remedies = [f"  {remedy}" for remedy in remedies]
    yield from remedies


def _where(error: MemxferError) -> str:
    """Name backend and operation where the message does not."""
    if not isinstance(error, ProviderError) or error.provider in str(error):
        return ""
    return f"{plain(' '.join((error.provider, error.operation)).strip())}: "


def _chain(error: BaseException) -> list[BaseException]:
    """Return the error and what caused it, the first cause first."""
    links = [error]
    while (cause := links[-1].__cause__ or links[-1].__context__) is not None and cause not in links:
        links.append(cause)
    return links[::-1]


def _link(error: BaseException) -> Iterator[str]:
    yield from (f'  File "{at.filename}", line {at.lineno}, in {at.name}' for at in _frames(error))
    text = f": {plain(error)}" if isinstance(error, MemxferError) else ""
    yield f"{type(error).__module__}.{type(error).__qualname__}{text}"


def _frames(error: BaseException) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__)
