"""The files of an archive that belong together, also while somebody writes to it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from memxfer.archive.layout import (
    MANIFEST_NAME,
    RECORDS_NAME,
    list_parts,
    open_private,
    part_path,
    read_bounded,
    superseded_path,
)
from memxfer.errors import FatalError

__all__ = ["is_archive_file", "snapshot"]

_TRIES = 20
_MAX_BYTES = 64 * 1024 * 1024
_NAMES = re.compile(
    rf"{re.escape(MANIFEST_NAME)}|{RECORDS_NAME}/part-[0-9]{{5,9}}\.(?:jsonl\.gz(?:\.open)?|superseded)"
)

_File = tuple[str, int, Callable[[], BinaryIO]]


def is_archive_file(name: str) -> bool:
    """Tell whether a file of an archive is called so, below its folder; the index is not, being derived."""
    return _NAMES.fullmatch(name) is not None


def snapshot(root: Path) -> list[_File]:
    """Return what the archive in folder `root` holds now, as copies that make an archive of their own.

    Sealed parts never change and the open one only grows, so each file is taken up to the size it has
    now; the small files are read at once. Nothing durable is missing; a line that is being replaced may
    be there beside its successor, as after a crash, until somebody goes on writing.

    Returns:
        Name below the folder, size in bytes, and a function that opens the file; empty where there is
        no archive.

    Raises:
        FatalError: It changes all the time.
        OSError: A file cannot be read.
    """
    for _ in range(_TRIES):
        manifest = _manifest(root)
        if manifest is None:
            return []
        try:
            files = _lists(root) + _parts(root)
        except FileNotFoundError:
            continue  # a part was sealed just now
        if _manifest(root) == manifest:
            return [_small(MANIFEST_NAME, manifest), *files]
    raise FatalError(f"the archive {root} changes all the time; try again", provider="archive")


def _manifest(root: Path) -> bytes | None:
    try:
        return read_bounded(root / MANIFEST_NAME, _MAX_BYTES)
    except FileNotFoundError:
        return None


def _lists(root: Path) -> list[_File]:
    """Read what no longer counts. Before the parts: a line that replaces another is written first."""
    paths = [superseded_path(root, number) for number in list_parts(root)]
    return [
        _small(f"{RECORDS_NAME}/{path.name}", read_bounded(path, _MAX_BYTES))
        for path in paths
        if path.exists()
    ]


def _parts(root: Path) -> list[_File]:
    return [
        (f"{RECORDS_NAME}/{path.name}", path.stat().st_size, partial(_open, root, number, path))
        for number, path in list_parts(root).items()
    ]


def _open(root: Path, number: int, path: Path) -> BinaryIO:
    try:
        return open_private(path, "rb")
    except FileNotFoundError:  # sealed since; what it held is at its beginning
        return open_private(part_path(root, number), "rb")


def _small(name: str, data: bytes) -> _File:
    return name, len(data), lambda: io.BytesIO(data)
