"""Where output goes: data to stdout, everything else to stderr, never with markup."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions
from rich.text import Text

from memxfer.report.text import wrapped

__all__ = ["WIDTH", "Prose", "data_console", "discard", "notes_console", "notes_width", "write_note"]

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


class Prose:
    """A sentence that may hold a command or a path: broken between words on a terminal, and nowhere else.

    To be printed with `crop=False`.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Give the lines, for rich."""
        lines = wrapped(self._text, options.max_width) if console.is_terminal else [self._text]
        for line in lines:
            yield Text(line, no_wrap=True, overflow="ignore")


def notes_width() -> int | None:
    """Return the columns that stderr has for text; `None` if it is no terminal."""
    return notes_console().width if sys.stderr.isatty() else None


def write_note(text: str) -> None:
    """Write a line to stderr. A stderr that takes nothing more (a closed pipe, a full disk) stops no run."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Send what is in a stream's buffer, and whatever follows, nowhere.

    Without this the interpreter tries once more at its end, complains, and changes the exit code.
    """
    with suppress(OSError):  # a stream of a test has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
