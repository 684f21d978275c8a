"""Standard output, whose failures are told apart from those of files: a reader that left, a full disk."""

from __future__ import annotations

import io
import sys

__all__ = ["OutputError", "guard_stdout"]


class OutputError(Exception):
    """What a command prints cannot be written. No OSError: libraries catch those, and end the process.

    Attributes:
        errno: Of the operating system.
    """

    def __init__(self, errno: int | None) -> None:
        super().__init__(errno)
        self.errno = errno


class _Output(io.TextIOWrapper):
    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise OutputError(error.errno) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise OutputError(error.errno) from error


def guard_stdout() -> None:
    """Let `sys.stdout` raise `OutputError`, and never fail at a character that its encoding lacks."""
    before = sys.stdout
    if type(before) is io.TextIOWrapper:  # nobody has put something else there
        sys.stdout = _Output(
            before.buffer,
            before.encoding,
            "backslashreplace",
            line_buffering=before.line_buffering,
            write_through=before.write_through,
        )
