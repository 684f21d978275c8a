"""How a command that cannot go on says so."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from memxfer.cli.session import Session
from memxfer.errors import MemxferError, ProviderError
from memxfer.report.errors import error_lines, safe_traceback

__all__ = ["show", "show_bug"]


def show(error: MemxferError, session: Session) -> None:
    """Write what failed, why, and what to do next; the traceback only with `-vv`."""
    lines = error_lines(error)
    if session.verbose > 1:
        lines.append(safe_traceback(error))
    if session.log_format == "json":
        _write_json(error, lines)
    else:
        _write(lines)


def show_bug(error: Exception, session: Session) -> None:
    """Say that this is memxfer's fault, and where the traceback is: it holds no memory and no key."""
    report = _bug_report(error)
    file = _keep(report, session.state_dir)
    lines = [f"error: this is a bug in memxfer: {type(error).__name__}. Your source was not changed."]
    lines.append(f"  please report it with {file}" if file else "  please report it with what follows")
    if session.verbose > 1 or file is None:
        lines.append(report)
    if session.log_format == "json":
        _write_json(error, lines)
    else:
        _write(lines)


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


def _write(lines: list[str]) -> None:
    sys.stderr.write("\n".join(lines) + "\n")


def _write_json(error: Exception, lines: list[str]) -> None:
    known = error.correlation_id if isinstance(error, ProviderError) else None
    event = {
        "event": "error",
        "error": type(error).__name__,
        "text": "\n".join(lines),
        "correlation_id": known,
    }
    sys.stderr.write(json.dumps(event) + "\n")
