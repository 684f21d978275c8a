"""Lines that no longer count: sealed parts never change, so their numbers stand in a file beside the part.

The file is append-only text, one line number a line. A number that was torn off by a crash had not
been promised to anybody; the writer finds it again when it reads the tail of the archive.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from memxfer.archive.layout import damaged, open_private, read_bounded, superseded_path, sync_folder

__all__ = ["mark_superseded", "read_superseded"]

_MAX_BYTES = 64 * 1024 * 1024


def read_superseded(root: Path, number: int) -> frozenset[int]:
    """Return the numbers of the lines of a part that do not count; the first line is 0.

    Raises:
        FatalError: The file holds something else.
    """
    path = superseded_path(root, number)
    try:
        data = read_bounded(path, _MAX_BYTES)
    except FileNotFoundError:
        return frozenset()
    whole = data[: data.rfind(b"\n") + 1]
    try:
        return frozenset(int(line) for line in whole.split())
    except ValueError as error:
        raise damaged(path, "is damaged") from error


def mark_superseded(root: Path, number: int, lines: Collection[int]) -> None:
    """Take lines of a part out of the archive; durable when it returns."""
    path = superseded_path(root, number)
    with open_private(path, "r+b") as file:
        data = file.read()
        file.seek(data.rfind(b"\n") + 1)
        file.truncate()
        file.write(b"".join(b"%d\n" % line for line in sorted(lines)))
        file.flush()
        os.fsync(file.fileno())
    if not data:
        sync_folder(path.parent)
