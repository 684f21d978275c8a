"""The part that is being written: each append is a gzip member of its own, on disk before it returns."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from memxfer.archive.inflate import deflate, measure
from memxfer.archive.layout import (
    MAX_RAW,
    disk_trouble,
    file_sum,
    open_part_path,
    open_private,
    part_path,
    sync_folder,
)
from memxfer.archive.manifest import PartEntry

__all__ = ["OpenPart", "entry_of"]

_LINES = 10_000
_RAW = 32 * 1024 * 1024
_CHUNK = 1024 * 1024


class OpenPart:
    """A part under its temporary name. What a crash tore off at its end is cut away on opening.

    Args:
        root: Folder of the archive.
        number: The part's number.

    Attributes:
        path: Its file; there is none before the first line.
        size: Bytes of the file.
        raw_size: Bytes of its lines, unpacked.
        lines: Lines.
    """

    def __init__(self, root: Path, number: int) -> None:
        self.number = number
        self._root = root
        self.path = open_part_path(root, number)
        self._file: BinaryIO | None = None
        self._sum = hashlib.sha256()
        self.size = self.raw_size = self.lines = 0
        if self.path.exists():
            self._recover()

    def _recover(self) -> None:
        whole = measure(self.path, raw_limit=MAX_RAW, torn=True)
        self.size, self.raw_size, self.lines = whole.size, whole.raw_size, whole.lines
        self._opened().truncate(self.size)
        self._sum = file_sum(self.path)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = open_private(self.path, "r+b")
            sync_folder(self.path.parent)
        return self._file

    def close(self) -> None:
        """Close the file; it goes on from here when opened again."""
        file, self._file = self._file, None  # also where closing fails: the disk may be full
        if file:
            file.close()

    @property
    def room(self) -> int:
        """Lines that still fit; 0 when the part should be sealed."""
        return 0 if self.raw_size >= _RAW else max(0, _LINES - self.lines)

    def append(self, lines: Sequence[bytes]) -> int:
        """Add lines, durably; return how many. Stops where the part is full.

        Raises:
            FatalError: The disk did not take them; the part is as before.
        """
        count, raw = _fitting(lines, self.room, _RAW - self.raw_size)
        data = deflate(b"\n".join([*lines[:count], b""]))
        with disk_trouble(self._root):
            try:
                self._write(data)
            except OSError:
                self._undo()
                raise
        self._sum.update(data)
        self.size += len(data)
        self.raw_size += raw
        self.lines += count
        return count

    def seal(self, *, origin: int | None, superseded: int) -> PartEntry | None:
        """Give the part its final name; return its entry, or `None` if it was empty and is gone."""
        self.close()
        if not self.lines:
            self.path.unlink(missing_ok=True)
            return None
        self.path.rename(part_path(self._root, self.number))
        sync_folder(self.path.parent)
        return PartEntry(
            number=self.number,
            lines=self.lines,
            superseded=superseded,
            size=self.size,
            raw_size=self.raw_size,
            sha256=self._sum.hexdigest(),
            origin=origin,
        )

    def _write(self, data: bytes) -> None:
        file = self._opened()
        file.seek(self.size)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

    def _undo(self) -> None:
        # A tail that stays torn, because the disk does not even take this, is cut on the next opening.
        with suppress(OSError):
            self.close()
        with suppress(OSError):
            os.truncate(self.path, self.size)


def _fitting(lines: Sequence[bytes], room: int, raw_room: int) -> tuple[int, int]:
    """Return how many of `lines` make the next member, and their bytes; at least one line."""
    raw = 0
    bound = min(raw_room, _CHUNK)
    for count, line in enumerate(lines[:room]):
        if count and raw + len(line) >= bound:
            return count, raw
        raw += len(line) + 1
    return min(len(lines), room), raw


def entry_of(path: Path, number: int, *, origin: int | None, superseded: int) -> PartEntry:
    """Return the entry of a sealed part that no manifest lists, by reading it.

    Raises:
        FatalError: It is damaged.
    """
    whole = measure(path, raw_limit=MAX_RAW)
    return PartEntry(
        number=number,
        lines=whole.lines,
        superseded=superseded,
        size=whole.size,
        raw_size=whole.raw_size,
        sha256=file_sum(path).hexdigest(),
        origin=origin,
    )
