"""Opening an archive after whatever happened to its last writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import xxhash

from memxfer.archive.index import KeyIndex, Spot
from memxfer.archive.layout import MAX_RAW, damaged, part_path, superseded_path
from memxfer.archive.line import identity_of, key_digest
from memxfer.archive.manifest import Manifest, PartEntry
from memxfer.archive.part import entry_of
from memxfer.archive.stream import PartStream
from memxfer.archive.superseded import read_superseded

__all__ = ["catch_up", "open_index", "sealed_entries"]

_OWNER = "archive"
_BATCH = 500
_BATCH_BYTES = 8 * 1024 * 1024


def open_index(path: Path, *, archive_id: str) -> KeyIndex:
    """Open the index, or begin a new one when the file is damaged or belongs to another archive."""
    try:
        return _opened(path, archive_id)
    except sqlite3.DatabaseError:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _opened(path, archive_id)


def _opened(path: Path, archive_id: str) -> KeyIndex:
    index = KeyIndex(path)
    try:
        if index.fact(_OWNER) != archive_id:
            _restart(index, archive_id)
    except BaseException:
        index.close()
        raise
    return index


def _restart(index: KeyIndex, archive_id: str) -> None:
    index.clear()
    index.note(_OWNER, archive_id)


def sealed_entries(
    root: Path, manifest: Manifest, files: Mapping[int, Path], index: KeyIndex
) -> dict[int, PartEntry]:
    """Return an entry for every sealed part on disk, listed in the manifest or not.

    Raises:
        FatalError: A part is damaged.
    """
    listed = {entry.number: entry for entry in manifest.parts}
    _check_listed(root, listed, files)
    noted = {entry.number: entry for entry in map(PartEntry.model_validate_json, index.facts("part/"))}
    sealed = {number: path for number, path in files.items() if path.suffix != ".open"}
    if any(number in noted and noted[number].size != path.stat().st_size for number, path in sealed.items()):
        # Somebody put other files in place; what was derived from the old ones is worthless.
        _restart(index, manifest.id)
        noted = {}
    known = noted | listed
    origin = manifest.writing.origin if manifest.writing else None
    return {number: _entry(known.get(number), root, number, path, origin) for number, path in sealed.items()}


def _entry(known: PartEntry | None, root: Path, number: int, path: Path, origin: int | None) -> PartEntry:
    superseded = len(read_superseded(root, number))
    if known is None:
        return entry_of(path, number, origin=origin, superseded=superseded)
    return known.model_copy(update={"superseded": superseded})


def _check_listed(root: Path, listed: Mapping[int, PartEntry], files: Mapping[int, Path]) -> None:
    for number, entry in listed.items():
        path = part_path(root, number)
        if files.get(number) != path or path.stat().st_size != entry.size:
            raise damaged(path, "is missing, or not the file that the manifest describes")
        if len(read_superseded(root, number)) < entry.superseded:
            raise damaged(superseded_path(root, number), "is missing, or has been cut short")


def catch_up(root: Path, files: Mapping[int, Path], index: KeyIndex, end: tuple[int, int]) -> Iterator[Spot]:
    """Put the lines that the index does not know into it.

    Args:
        root: Folder of the archive.
        files: Its parts.
        index: The index.
        end: Part and line at which the archive ends.

    Yields:
        Spots of lines that a later line of the same key replaces, and that no list says so of yet.

    Raises:
        FatalError: A part is damaged.
    """
    if index.mark > end:
        index.clear()
    part, line = index.mark
    for number in sorted(number for number in files if number >= part):
        begin = line if number == part else 0
        for batch in _live_lines(root, files[number], number, begin):
            yield from _take_in(batch, number, index)
            if index.is_full:
                index.flush(part=number, line=batch[-1][0] + 1)
    index.flush(part=end[0], line=end[1])


def _live_lines(root: Path, path: Path, number: int, begin: int) -> Iterator[list[tuple[int, bytes]]]:
    gone = read_superseded(root, number)
    with PartStream(path, raw_limit=MAX_RAW, skipped=gone) as stream:
        while rows := stream.read(_BATCH, max_bytes=_BATCH_BYTES):
            live = [(at, line) for at, line in rows if at >= begin and line is not None]
            if live:
                yield live


def _take_in(batch: list[tuple[int, bytes]], number: int, index: KeyIndex) -> Iterator[Spot]:
    digests = {at: digest for at, line in batch if (digest := _digest(line))}
    known = index.find(digests.values())
    for at, line in batch:
        if at not in digests:
            continue
        old = known.get(digests[at])
        if old and (old.part, old.line) == (number, at):
            continue
        if old and not old.is_deleted:
            yield old
        # The mark is not read here, where every line is: the writer looks for it where it needs it.
        known[digests[at]] = Spot(number, at, xxhash.xxh3_128_digest(line))
        index.put(digests[at], known[digests[at]])


def _digest(line: bytes) -> bytes | None:
    try:
        return key_digest(identity_of(line))
    except msgspec.DecodeError:
        return None
