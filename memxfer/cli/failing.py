"""How a command that cannot go on says so: a block on stderr and, with `--json`, one object on stdout."""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from memxfer.cli import exits
from memxfer.cli.output import OutputError
from memxfer.cli.session import Session
from memxfer.errors import MemxferError, ProviderError
from memxfer.report.console import discard, notes_width, write_note
from memxfer.report.errors import (
    code_of,
    error_lines,
    message_of,
    remedies_of,
    safe_traceback,
    system_text,
)
from memxfer.report.text import plain

__all__ = ["INTERRUPTED", "Ending", "end", "end_unwritten", "end_usage", "error_json", "show"]


@dataclass(frozen=True)
class Ending:
    """Why a command ended without a result; its JSON is `{"error": {"code", "message", "remedy", "exit"}}`.

    Attributes:
        code: A stable word for scripts: `memxfer.report.errors.code_of`.
        message: What failed and why.
        remedy: What to do next, one step a line; empty where the message says it.
        exit: The exit code.
    """

    code: str
    message: str
    remedy: str
    exit: int


INTERRUPTED = Ending("interrupted", "interrupted by Ctrl-C or SIGTERM", "", exits.INTERRUPTED)


def end(error: BaseException, session: Session) -> int:
    """Say why a command ended: on stderr, and with `--json` as the one object on stdout.

    Args:
        error: What was raised. An error that is none of memxfer's, none of the operating system and no
            Ctrl-C is told as a bug, without its text: that may quote a memory.
        session: The global options.

    Returns:
        The exit code.
    """
    if isinstance(error, MemxferError):
        code = exits.code_of_error(error)
        ending = Ending(code_of(error), message_of(error), "\n".join(remedies_of(error)), code)
        lines = error_lines(error, width=_width(session))
    elif isinstance(error, Exception):
        ending = _refused(error) or _bug(error, session)
        lines = [f"error: {ending.message}", *(f"  {line}" for line in ending.remedy.splitlines())]
    else:
        ending = INTERRUPTED
        lines = [ending.message]
    _tell(error, lines, session)
    if session.as_json:
        _write_object(ending)
    return ending.exit


def end_usage(message: str, *, command: str) -> int:
    """Write the object for a command line that cannot be parsed; return the exit code.

    Args:
        message: What is wrong with it.
        command: The command it was meant for, `memxfer migrate`.
    """
    _write_object(Ending("usage", plain(message), f"`{command} --help` shows the usage", exits.USAGE))
    return exits.USAGE


def end_unwritten(error: OutputError) -> int:
    """Say that what a command printed did not arrive, unless its reader went away; return the exit code."""
    discard(sys.stdout)
    if error.errno != errno.EPIPE:
        write_note(f"error: the output cannot be written: {os.strerror(error.errno or 0)}")
    return exits.UNWRITTEN


def show(error: MemxferError, session: Session) -> None:
    """Write to stderr what failed, why, and what to do next; the traceback only with `-vv`."""
    _tell(error, error_lines(error, width=_width(session)), session)


def error_json(ending: Ending) -> str:
    """Return the object for stdout, in ASCII as all our JSON."""
    return json.dumps({"error": asdict(ending)}) + "\n"


def _write_object(ending: Ending) -> None:
    try:
        sys.stdout.write(error_json(ending))
        sys.stdout.flush()
    except OutputError:
        discard(sys.stdout)


def _refused(error: Exception) -> Ending | None:
    """Return how an error of the operating system is told; `None` for any other."""
    text = system_text(error)
    if text is None:
        return None
    return Ending(code_of(error), text, "\n".join(remedies_of(error)), exits.USAGE)


def _bug(error: Exception, session: Session) -> Ending:
    """Say that this is memxfer's fault, and where the traceback is: it holds no memory and no key."""
    report = _bug_report(error)
    file = _keep(report, session.state_dir)
    message = f"this is a bug in memxfer: {type(error).__name__}. Your source was not changed."
    remedy = f"please report it with {file}" if file else f"please report it with what follows\n{report}"
    return Ending("bug", message, remedy, exits.FAILED)


def _bug_report(error: Exception) -> str:
    head = f"memxfer {version('memxfer')}, Python {platform.python_version()}, {platform.platform()}"
    return f"{head}\n{safe_traceback(error)}\n"


def _keep(report: str, state_dir: Path | None) -> Path | None:
    """Write the report into the state folder; `None` if that cannot be written to."""
    if state_dir is None:
        return None
    file = state_dir / f"bug-{datetime.now(UTC):%Y%m%d-%H%M%S}.txt"
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(report)
    except OSError:
        return None
    return file


def _width(session: Session) -> int | None:
    return None if session.log_format == "json" else notes_width()


def _tell(error: BaseException, lines: list[str], session: Session) -> None:
    if session.verbose > 1:
        lines = [*lines, safe_traceback(error)]
    if session.log_format == "json":
        known = error.correlation_id if isinstance(error, ProviderError) else None
        event = {
            "event": "error",
            "error": type(error).__name__,
            "text": "\n".join(lines),
            "correlation_id": known,
        }
        lines = [json.dumps(event)]
    write_note("\n".join(lines))
