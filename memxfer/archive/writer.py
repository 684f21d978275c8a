"""Writing an archive: durable when `append` returns, and the same however often it is repeated."""

from __future__ import annotations

import functools
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import msgspec
import xxhash
from filelock import FileLock, Timeout

from memxfer.archive.index import KeyIndex, Spot
from memxfer.archive.layout import (
    INDEX_NAME,
    LOCK_NAME,
    RECORDS_NAME,
    create_folder,
    disk_trouble,
    is_unborn,
    list_parts,
    part_path,
)
from memxfer.archive.line import identity, key_digest, mark_of, with_mark
from memxfer.archive.manifest import Manifest, Origin, PartEntry, Writing, read_manifest, write_manifest
from memxfer.archive.part import OpenPart
from memxfer.archive.recovery import catch_up, open_index, sealed_entries
from memxfer.archive.stream import pick_lines
from memxfer.archive.superseded import mark_superseded, read_superseded
from memxfer.errors import ConfigError

__all__ = ["Appended", "ArchiveWriter", "create_archive", "plan_archive"]


P = ParamSpec("P")
T = TypeVar("T")


class Appended(StrEnum):
    """What became of one line."""

    CREATED = "created"
    UPDATED = "updated"
    PRESENT = "present"


def plan_archive(root: Path, *, now: datetime, tool: str = "memxfer") -> Manifest:
    """Return the manifest of the archive in folder `root`, or of the one that could be made there.

    Writes nothing.

    Raises:
        ConfigError: The folder holds something else.
        FatalError: It cannot be looked into.
    """
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is a file; an archive is a folder: name one that is new or empty")
    manifest = read_manifest(root)
    if manifest:
        return manifest
    with disk_trouble(root, "read"):
        is_free = not root.exists() or is_unborn(root)
    if not is_free:
        raise ConfigError(f"{root} is not empty and is no archive; name a folder that is new or empty")
    return Manifest.new(root, now=now, tool=tool)


def create_archive(root: Path, *, now: datetime, tool: str = "memxfer") -> Manifest:
    """Make an archive without records in folder `root`, or return the manifest of the one that is there.

    Args:
        root: The folder.
        now: Time of day.
        tool: Name and version of the program.

    Raises:
        ConfigError: The folder holds something else, or cannot be made.
    """
    manifest = plan_archive(root, now=now, tool=tool)
    if read_manifest(root) is None:
        create_folder(root)
        create_folder(root / RECORDS_NAME)
        write_manifest(root, manifest)
    return manifest


def _on_disk(
    method: Callable[Concatenate[ArchiveWriter, P], T],
) -> Callable[Concatenate[ArchiveWriter, P], T]:
    """Have a method say of what the disk refuses that it is the disk's."""

    @functools.wraps(method)
    def call(self: ArchiveWriter, /, *arguments: P.args, **named: P.kwargs) -> T:
        with disk_trouble(self._root):
            return method(self, *arguments, **named)

    return call


class ArchiveWriter:
    """Adds lines to an archive. Safe to call from several threads; one writer an archive at a time.

    Opening it makes the archive if need be, cuts off what a crash tore, and reads again the lines its
    index does not know. Lines are identified by their document keys: a line that is there already is
    kept, a changed one takes its place, so a batch may be sent any number of times.

    Args:
        root: Folder of the archive.
        now: Gives the time of day, for the manifest.
        tool: Name and version of the program, for the manifest.

    Raises:
        ConfigError: Another process writes to it, or the folder holds something else.
        FatalError: A part of it is damaged, or the disk is full or does not let it be written. After
            such an error of any method, close it and open another: that finds what is durable.
    """

    def __init__(
        self,
        root: Path,
        *,
        now: Callable[[], datetime],
        tool: str = "memxfer",
    ) -> None:
        self._root = root
        self._now = now
        self._mutex = threading.Lock()
        with disk_trouble(root):
            self._manifest = create_archive(root, now=now(), tool=tool)
            self._file_lock = _lock(root)
        self._entries: dict[int, PartEntry] = {}
        self._touched: set[int] = set()
        self._origin: Origin | None = None
        self._declared = False
        self._is_closed = False
        try:
            with disk_trouble(root), ExitStack() as undo:
                self._index, self._part = self._recover()
                undo.callback(self._index.close)
                undo.callback(self._part.close)
                self._records = self._count()
                undo.pop_all()
        except BaseException:
            self._file_lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def archive_id(self) -> str:
        """The archive's own id, made once."""
        return self._manifest.id

    @property
    def records(self) -> int:
        """How many records it holds."""
        return self._records

    @property
    def lines(self) -> int:
        """How many lines were ever written to it, those that no longer count included."""
        return sum(entry.lines for entry in self._entries.values()) + self._part.lines

    @_on_disk
    def begin(self, origin: Origin | None) -> None:
        """Say which store the next lines come from; a change of store begins a new part."""
        with self._mutex:
            if origin != self._origin and self._part.lines:
                self._rotate()
            self._origin = origin
            self._declare()

    @_on_disk
    def append(self, batch: Sequence[tuple[str, bytes]]) -> list[Appended]:
        """Store lines, durably.

        Args:
            batch: Identities (document keys; see `identity`), and lines as `encode_line` made them.

        Returns:
            What became of each, in order.

        Raises:
            FatalError: The disk did not take them. Some may be stored; sending all again is safe.
        """
        with self._mutex:
            return self._append([(key, b"", line) for key, line in batch])

    def append_records(self, batch: Sequence[tuple[str, bytes, bytes]]) -> list[tuple[Appended, str]]:
        """Store lines, durably; another record under a key that is there already is stored beside it.

        Args:
            batch: Document keys, marks of the records (`memxfer.ids.record_mark`), and lines as
                `encode_line` made them. A line of the same key and mark takes the place of the older one.

        Returns:
            What became of each, and the identity under which it stands, in order.

        Raises:
            FatalError: The disk did not take them. Some may be stored; sending all again is safe.
        """
        with self._mutex:
            named = self._named(batch)
            outcomes = self._append(named)
            return [(outcome, name) for outcome, (name, _, _) in zip(outcomes, named, strict=True)]

    def _append(self, batch: Sequence[tuple[str, bytes, bytes]]) -> list[Appended]:
        if not self._declared:
            self._declare()
        digests = [key_digest(name) for name, _, _ in batch]
        known = self._index.find(digests)
        outcomes: list[Appended] = []
        fresh: list[tuple[bytes, bytes, bytes]] = []
        seen = {digest: spot.content for digest, spot in known.items()}
        for digest, (_, mark, line) in zip(digests, batch, strict=True):
            content = xxhash.xxh3_128_digest(line)
            before = seen.get(digest, b"")
            outcomes.append(_outcome(before, content))
            if before != content:
                fresh.append((digest, content + mark, line))
                seen[digest] = content
        self._store(fresh, known)
        self._records += outcomes.count(Appended.CREATED)
        return outcomes

    def _named(self, batch: Sequence[tuple[str, bytes, bytes]]) -> list[tuple[str, bytes, bytes]]:
        """Give each record the identity of its line: the key, unless an earlier line has it for another."""
        beside = [identity(key, mark=mark.hex()) for key, mark, _ in batch]
        held = self._holders(batch)
        known = self._index.find({key_digest(name) for name in beside})
        there = {digest for digest, spot in known.items() if not spot.is_deleted}
        named: list[tuple[str, bytes, bytes]] = []
        for name, (key, mark, line) in zip(beside, batch, strict=True):
            if key_digest(name) not in there and held.setdefault(key, mark) == mark:
                named.append((key, mark, line))
            else:
                named.append((name, mark, with_mark(line, mark.hex())))
        return named

    def _holders(self, batch: Sequence[tuple[str, bytes, bytes]]) -> dict[str, bytes]:
        """Return which record has each key that is taken: its mark."""
        spots = self._index.find({key_digest(key) for key, _, _ in batch})
        held: dict[str, bytes] = {}
        unread: set[str] = set()
        for key, mark, line in batch:
            spot = spots.get(key_digest(key))
            if spot is None or spot.is_deleted:
                continue
            if spot.mark:
                held[key] = spot.mark
            elif spot.content == xxhash.xxh3_128_digest(line):
                held[key] = mark
            else:
                unread.add(key)
        for key, line in self._read(unread - held.keys()).items():
            with suppress(msgspec.DecodeError, ValueError):  # a line that is none gives way
                held[key] = mark_of(line)
        return held

    @_on_disk
    def find(self, keys: Sequence[str]) -> set[str]:
        """Return those `keys` the archive holds."""
        with self._mutex:
            digests = {key: key_digest(key) for key in keys}
            spots = self._index.find(digests.values())
        return {key for key, digest in digests.items() if digest in spots and not spots[digest].is_deleted}

    @_on_disk
    def read(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the lines of those `keys` the archive holds. Slow: unpacks the parts they lie in.

        Raises:
            FatalError: A part is damaged.
        """
        with self._mutex:
            return self._read(keys)

    def _read(self, keys: Iterable[str]) -> dict[str, bytes]:
        digests = {key: key_digest(key) for key in keys}
        spots = self._index.find(digests.values())
        wanted: dict[int, dict[int, str]] = {}
        for key, digest in digests.items():
            spot = spots.get(digest)
            if spot and not spot.is_deleted:
                wanted.setdefault(spot.part, {})[spot.line] = key
        return {
            key: line
            for number, keys_at in wanted.items()
            for key, line in pick_lines(*self._file_of(number), wanted=keys_at)
        }

    @_on_disk
    def delete(self, keys: Sequence[str]) -> int:
        """Take keys out, durably; return how many were there.

        Their lines are left out from now on, but stay in the part files.
        """
        with self._mutex:
            spots = self._index.find({key_digest(key) for key in keys})
            if not spots:
                return 0
            if not self._declared:
                self._declare()
            # Index first: a line that is hidden there but not yet in its part's list is hidden by the
            # next attempt; the other way round, the key would count as present without a line.
            for digest, spot in spots.items():
                self._index.put(digest, Spot(spot.part, spot.line, b""))
            self._flush(durable=True)
            self._mark(list(spots.values()))
            count = sum(not spot.is_deleted for spot in spots.values())
            self._records -= count
            return count

    @_on_disk
    def finish(self) -> None:
        """Seal the last part and declare the archive complete. Idempotent; more may be added later."""
        with self._mutex:
            if self._manifest.complete and not self._declared:
                return
            self._rotate()
            self._flush()
            self._recount()
            self._save(complete=True)
            self._declared = False

    @_on_disk
    def close(self) -> None:
        """Release the files. An archive that was not finished goes on from here when opened again."""
        with self._mutex:
            if self._is_closed:
                return
            self._is_closed = True
            # Where the disk is full: what the index misses is read from the parts by the next opening,
            # and what it did not take of the last part had not been promised.
            with suppress(sqlite3.Error):
                self._flush()
            with suppress(OSError):
                self._part.close()
            with suppress(sqlite3.Error):
                self._index.close()
            self._file_lock.release()

    # -- opening ------------------------------------------------------------------------------

    def _recover(self) -> tuple[KeyIndex, OpenPart]:
        files = list_parts(self._root)
        unsealed = [number for number, path in files.items() if path.suffix == ".open"]
        number = max(files, default=0) + 1
        part = OpenPart(self._root, unsealed[-1] if unsealed else number)
        if self._manifest.writing:
            self._origin = self._manifest.origin_at(self._manifest.writing.origin)
        index = open_index(self._root / INDEX_NAME, archive_id=self._manifest.id)
        try:
            self._entries = sealed_entries(self._root, self._manifest, files, index)
            end = (part.number, part.lines)
            for old in catch_up(self._root, files, index, end):
                mark_superseded(self._root, old.part, [old.line])
                self._touched.add(old.part)
        except BaseException:
            index.close()
            part.close()
            raise
        return index, part

    def _count(self) -> int:
        unsealed = self._part.lines - len(read_superseded(self._root, self._part.number))
        return sum(entry.records for entry in self._entries.values()) + unsealed

    def _file_of(self, number: int) -> tuple[Path, int | None]:
        """Return a part's file, and where its whole members end; `None`: with the file."""
        if number == self._part.number:
            return self._part.path, self._part.size
        return part_path(self._root, number), None

    # -- storing ------------------------------------------------------------------------------

    def _store(self, fresh: Sequence[tuple[bytes, bytes, bytes]], known: dict[bytes, Spot]) -> None:
        done = 0
        while done < len(fresh):
            if not self._part.room:
                self._rotate()
            first = self._part.lines
            count = self._part.append([line for _, _, line in fresh[done:]])
            replaced: list[Spot] = []
            for offset, (digest, content, _) in enumerate(fresh[done : done + count]):
                old = known.get(digest)
                if old and not old.is_deleted:
                    replaced.append(old)
                known[digest] = Spot(self._part.number, first + offset, content)
                self._index.put(digest, known[digest])
            self._mark(replaced)
            done += count
        if self._index.is_full:
            self._flush()

    def _mark(self, spots: Sequence[Spot]) -> None:
        by_part: dict[int, set[int]] = {}
        for spot in spots:
            by_part.setdefault(spot.part, set()).add(spot.line)
        for number, lines in by_part.items():
            mark_superseded(self._root, number, lines)
        self._touched |= by_part.keys()

    def _rotate(self) -> None:
        superseded = len(read_superseded(self._root, self._part.number))
        entry = self._part.seal(origin=self._origin_index(), superseded=superseded)
        if entry:
            self._entries[entry.number] = entry
            self._index.note(f"part/{entry.number:09d}", entry.model_dump_json())
        self._part = OpenPart(self._root, max(self._entries, default=0) + 1)

    def _flush(self, *, durable: bool = False) -> None:
        self._index.flush(part=self._part.number, line=self._part.lines, durable=durable)

    # -- the manifest -------------------------------------------------------------------------

    def _declare(self) -> None:
        """Say in the manifest, before the first line, that somebody writes and what."""
        if self._origin and self._origin not in self._manifest.origins:
            origins = (*self._manifest.origins, self._origin)
            self._manifest = self._manifest.model_copy(update={"origins": origins})
        self._save(complete=False)
        self._declared = True

    def _origin_index(self) -> int | None:
        return self._manifest.origins.index(self._origin) if self._origin else None

    def _recount(self) -> None:
        for number in self._touched & self._entries.keys():
            count = len(read_superseded(self._root, number))
            self._entries[number] = self._entries[number].model_copy(update={"superseded": count})
        self._touched.clear()

    def _save(self, *, complete: bool) -> None:
        self._recount()
        writing = None if complete else Writing(origin=self._origin_index())
        parts = tuple(self._entries[number] for number in sorted(self._entries))
        self._manifest = self._manifest.model_copy(
            update={
                "updated_at": self._now(),
                "complete": complete,
                "records": sum(part.records for part in parts),
                "parts": parts,
                "writing": writing,
            }
        )
        write_manifest(self._root, self._manifest)


def _outcome(before: bytes, content: bytes) -> Appended:
    if before == content:
        return Appended.PRESENT
    return Appended.UPDATED if before else Appended.CREATED


def _lock(root: Path) -> FileLock:
    lock = FileLock(root / LOCK_NAME, timeout=0, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise ConfigError(f"another process is writing to the archive {root}; wait for it to end") from error
    return lock
