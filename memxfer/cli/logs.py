"""Logs on stderr: memxfer's own only. Vendors' logs may quote a memory, and are dropped."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from memxfer.cli.session import Session
from memxfer.report.console import write_note
from memxfer.report.text import plain

__all__ = ["configure"]

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def configure(session: Session) -> None:
    """Send memxfer's logs to stderr, as text or JSON lines. Idempotent."""
    handler = _Stderr()
    handler.setFormatter(_JsonLines() if session.log_format == "json" else _Lines())
    handler.addFilter(_is_ours)
    level = logging.ERROR if session.quiet else _LEVELS[min(session.verbose, 2)]
    root = logging.getLogger()
    root.handlers[:] = [old for old in root.handlers if not isinstance(old, _Stderr)] + [handler]
    root.setLevel(level)
    # Said again where a library may have set levels of its own: the session's word counts.
    handler.setLevel(level)
    logging.getLogger("memxfer").setLevel(level)
    logging.captureWarnings(True)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.startswith("memxfer")


class _Stderr(logging.Handler):
    """Writes to whatever stderr is at that moment: a progress bar redirects it."""

    def emit(self, record: logging.LogRecord) -> None:
        write_note(self.format(record))


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {plain(record.getMessage())}"


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "event": "log",
                "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
                "level": record.levelname.lower(),
                "logger": record.name,
                "text": record.getMessage(),
            }
        )
