"""Where output goes: data to stdout, everything else to stderr, never with markup."""

from __future__ import annotations

import shutil
import sys
from typing import Any, TextIO

from rich.console import Console

__all__ = ["WIDTH", "data_console", "notes_console"]

WIDTH = 100
"""Widest table, in columns; also what is assumed where there is no terminal."""


def data_console() -> Console:
    """Return a console on stdout."""
    return _console(sys.stdout)


def notes_console() -> Console:
    """Return a console on stderr."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    settings: dict[str, Any] = {"markup": False, "highlight": False, "emoji": False}
    if stream.isatty():
        return Console(file=stream, width=min(shutil.get_terminal_size().columns, WIDTH), **settings)
    return Console(file=stream, width=WIDTH, color_system=None, **settings)
