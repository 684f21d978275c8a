"""Where an archive's files lie, and how they are written: a crash leaves the old one or the new."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal

from memxfer.errors import ConfigError, FatalError

__all__ = [
    "INDEX_NAME",
    "LOCK_NAME",
    "MANIFEST_NAME",
    "MAX_LINES",
    "MAX_RAW",
    "RECORDS_NAME",
    "create_folder",
    "damaged",
    "disk_trouble",
    "file_sum",
    "is_unborn",
    "list_parts",
    "open_part_path",
    "open_private",
    "part_name",
    "part_path",
    "read_bounded",
    "replace_file",
    "superseded_path",
    "sync_folder",
]

MANIFEST_NAME = "manifest.json"
RECORDS_NAME = "records"
INDEX_NAME = "index.sqlite"
LOCK_NAME = ".lock"

MAX_RAW = 256 * 1024**2
"""Most bytes a part may unpack to. A writer ends a part at 32 MiB, or after one line that goes beyond."""

MAX_LINES = 100_000
"""Most lines a part may have. A writer ends a part after a tenth of that."""

_SAFELY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""Flags of `os.open`, as far as the system has them."""

_PIECE = 1024 * 1024
_OPEN_SUFFIX = ".open"
_NEW = ".new"
_PART = re.compile(r"part-([0-9]{5,9})\.jsonl\.gz(\.open)?")


def damaged(path: Path, what: str) -> FatalError:
    """Return the error for a file that is not what was written; `what` follows its name."""
    message = f"{path} {what}; copy the archive again, or take this file from a backup"
    return FatalError(message, provider="archive", operation="read", code="damaged")


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class _NoFileError(OSError):
    """A FIFO, a socket, a device or a folder stands where a file of the archive belongs."""


@contextmanager
def disk_trouble(root: Path, operation: Literal["read", "write"] = "write") -> Iterator[None]:
    """Say of what the system refuses within the block that it is the system's, and what to do.

    Args:
        root: Folder of the archive.
        operation: What is being done to it.

    Raises:
        FatalError: The disk is full, the folder cannot be written to, a file cannot be read.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        verb = "written" if operation == "write" else "read"
        message = f"the archive {root} cannot be {verb}: {_reason(error)}; {_remedy(error)}"
        raise FatalError(message, provider="archive", operation=operation, code="disk") from error


def _reason(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, sqlite3.Error):
        return f"{INDEX_NAME}: {error}"
    named = f"{error.filename}: " if isinstance(error.filename, str | Path) else ""
    return f"{named}{error.strerror or type(error).__name__}"


def _remedy(error: OSError | sqlite3.Error) -> str:
    number = error.errno if isinstance(error, OSError) else None
    text = str(error)
    if isinstance(error, _NoFileError):
        return "put the real file there"
    if number in _NO_ROOM or "full" in text:
        return "free some space there, then resume"
    if number in _NOT_ALLOWED or "readonly" in text:
        return "let this user read and write there, then resume"
    return "fix the folder, or copy the archive again, then resume"


def part_name(number: int) -> str:
    """Return the name of a part: `part-00001`."""
    return f"part-{number:05d}"


def part_path(root: Path, number: int) -> Path:
    """Return the file of a sealed part."""
    return root / RECORDS_NAME / f"{part_name(number)}.jsonl.gz"


def open_part_path(root: Path, number: int) -> Path:
    """Return the file of the part that is being written."""
    return root / RECORDS_NAME / f"{part_name(number)}.jsonl.gz{_OPEN_SUFFIX}"


def superseded_path(root: Path, number: int) -> Path:
    """Return the file that lists the lines of a part that no longer count."""
    return root / RECORDS_NAME / f"{part_name(number)}.superseded"


def list_parts(root: Path) -> dict[int, Path]:
    """Return the part files on disk by number, in order; an unsealed one by its temporary name.

    Raises:
        ConfigError: The records folder or a part is a symbolic link: an archive holds its own files.
    """
    folder = root / RECORDS_NAME
    if not folder.exists():
        return {}
    found: dict[int, Path] = {}
    for path in [folder, *sorted(folder.iterdir())]:
        if path.is_symlink():
            raise ConfigError(
                f"{path} is a symbolic link; an archive holds files only: copy the real file there"
            )
        match = _PART.fullmatch(path.name)
        if match:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def create_folder(path: Path) -> None:
    """Make a folder that its owner alone can enter; one that exists stays as it is.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the archive folder {path} cannot be made: {error.strerror}") from error
    sync_folder(path.parent)


def is_unborn(root: Path) -> bool:
    """Tell whether a folder is empty, or holds what a crash left that came before the first manifest."""
    left = {path.name for path in root.iterdir()}
    folder = root / RECORDS_NAME
    return left <= {RECORDS_NAME, f"{MANIFEST_NAME}{_NEW}"} and not (
        RECORDS_NAME in left and (not folder.is_dir() or any(folder.iterdir()))
    )


def open_private(path: Path, mode: Literal["rb", "r+b"]) -> BinaryIO:
    """Open a file of the archive, `rb` or `r+b`; the second makes it, for its owner alone.

    Never waits: a FIFO is not opened to its end.

    Raises:
        OSError: It cannot be opened, or is no plain file. Nor is a symbolic link: a part must not lead
            out of its archive.
    """
    flags = os.O_RDONLY if mode == "rb" else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags | _SAFELY, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _NoFileError(errno.EINVAL, "it is no plain file", str(path))
    return os.fdopen(descriptor, mode)


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a whole file.

    Raises:
        FatalError: It is longer than `limit` bytes.
        FileNotFoundError: There is none.
    """
    with open_private(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise damaged(path, f"is over {limit} bytes, more than memxfer ever writes there")
    return data


def file_sum(path: Path) -> hashlib._Hash:
    """Return the sha256 of a file so far; more may be added."""
    digest = hashlib.sha256()
    with open_private(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in place of a file, durably: after a crash there is the old file or the new."""
    temporary = path.with_name(f"{path.name}{_NEW}")
    with suppress(FileNotFoundError):
        temporary.unlink()
    with open_private(temporary, "r+b") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames and new names in a folder durable."""
    if os.name == "nt":  # Windows opens no folders, and has no such call
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
