"""One job as one file, to be kept elsewhere or to go on on another machine."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import stat
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO, cast

from memxfer.errors import ConfigError, LedgerError
from memxfer.ledger.inspect import last_plan
from memxfer.ledger.names import EVENTS, LEDGER, PLAN, RESIDUE, is_job_name
from memxfer.ledger.opening import check_ledger_file, reading
from memxfer.ledger.schema import fault_in

__all__ = ["Carried", "pack_job", "unpack_job"]

Carried = tuple[str, int, Callable[[], BinaryIO]]
"""A file of the residue: name below its folder, size in bytes, and a function that opens it."""

_ALWAYS = (PLAN, LEDGER)
_NAMES = (*_ALWAYS, EVENTS)
_ORIGINALS = f"{RESIDUE}/"
_LARGEST = 64 * 2**30
_MOST_FILES = 1_000_000
_LONGEST_NAME = 200
_LARGEST_TAIL = 2**20
_LARGEST_HEADER = 64 * 2**10
"""Most bytes that may precede one file in the tar: its header, and headers for its long name and times."""
_PIECE = 2**20
_LEVEL = 3
"""Parts of a residue are packed already; the ledger shrinks almost as well as with more effort."""
_READING = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_BINARY"))
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def pack_job(folder: Path, file: Path, *, residue: Callable[[Path], Sequence[Carried]]) -> None:
    """Write a job to one file; works while the job runs, and overwrites nothing.

    Args:
        folder: The job's, with the job's name.
        file: The file to write.
        residue: Returns the files of the residue in a folder, as they belong together now.

    Raises:
        ConfigError: The file exists, or cannot be written.
        LedgerError: The ledger or the residue cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        ledger = Path(scratch) / LEDGER
        _copy_ledger(folder, ledger)
        plan = _plan_file(folder, ledger)
        # After the ledger: whatever that copy speaks of is in the residue by then.
        originals = _originals(folder, residue)
        try:
            with file.open("xb") as raw, _whole_or_not(file):
                file.chmod(0o600)
                with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=_LEVEL) as archive:
                    _pack(archive, folder, {LEDGER: ledger, PLAN: plan}, originals)
        except OSError as error:
            raise ConfigError(f"{file} cannot be written: {error.strerror or error}") from error


def _copy_ledger(folder: Path, path: Path) -> None:
    with reading(folder / LEDGER) as ledger, closing(sqlite3.connect(path)) as copy:
        ledger.backup(copy)


def _originals(folder: Path, residue: Callable[[Path], Sequence[Carried]]) -> Sequence[Carried]:
    try:
        return residue(folder / RESIDUE)
    except OSError as error:
        raise LedgerError(f"the residue of job {folder.name} cannot be read: {error.strerror}") from error


def _plan_file(folder: Path, ledger: Path) -> Path:
    """Return the job's `plan.json`; where that was lost, one beside the ledger's copy, written from that."""
    path = folder / PLAN
    try:
        is_whole = isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError, RecursionError):
        is_whole = False
    if is_whole or (text := last_plan(ledger)) is None:
        return path
    ledger.with_name(PLAN).write_text(text, encoding="utf-8")
    return ledger.with_name(PLAN)


def _pack(
    archive: tarfile.TarFile, folder: Path, copies: Mapping[str, Path], originals: Sequence[Carried]
) -> None:
    for name in _NAMES:
        member = copies.get(name, folder / name)
        if member.exists():
            archive.add(member, arcname=f"{folder.name}/{name}")
    for name, size, opened in originals:
        info = tarfile.TarInfo(f"{folder.name}/{_ORIGINALS}{name}")
        info.size, info.mode = size, 0o600
        with opened() as content:
            archive.addfile(info, content)


class _Headers:
    """What `tarfile` reads from, while it looks for headers: it takes one of any size into memory.

    Attributes:
        left: Bytes that may be read until it is set again.
    """

    def __init__(self, raw: gzip.GzipFile, file: Path) -> None:
        self._raw = raw
        self._file = file
        self.left = _LARGEST_HEADER

    def read(self, size: int) -> bytes:
        """Read `size` bytes, fewer at the end."""
        if not 0 <= size <= self.left:
            raise ConfigError(f"{self._file} is not an exported job: it has a header larger than any")
        self.left -= size
        return self._raw.read(size)

    def seek(self, offset: int) -> int:
        """Go forward to `offset`."""
        return self._raw.seek(offset)

    def tell(self) -> int:
        """Return where the next byte stands."""
        return self._raw.tell()


def unpack_job(
    file: Path,
    begin: Callable[[str], AbstractContextManager[Path]],
    *,
    is_original: Callable[[str], bool],
    place: Path,
) -> str:
    """Read what `pack_job` wrote; return the job's id.

    Args:
        file: The file to read.
        begin: Makes the job's folder and holds its lock, once the file is known to hold a job; may refuse.
        is_original: Tells whether a file of a residue is called so, below its folder.
        place: Where the job's folder will be, for the room there; need not exist yet.

    Raises:
        ConfigError: Not an exported job, one that was changed since, or there is no room for it. Nothing of
            it is left.
    """
    try:
        with (
            _opened(file) as packed,
            gzip.GzipFile(fileobj=packed) as raw,
            tarfile.open(fileobj=cast("BinaryIO", headers := _Headers(raw, file)), mode="r:") as archive,
        ):
            members = _checked_members(archive, headers, file, is_original, room=_room(place))
            # The checksum is at the very end, where tar does not look: read on before anything is written
            if len(raw.read(_LARGEST_TAIL + 1)) > _LARGEST_TAIL:
                raise ConfigError(f"{file} is not an exported job: something follows it")
            headers.left = sys.maxsize  # from here on it is asked for pieces of files only
            job = next(iter(members.values())).name.split("/")[0]
            with begin(job) as made, _whole_or_not(made) as folder:
                for name, member in members.items():
                    _unpack(archive, member, folder / name)
                _check_ledger(folder / LEDGER, file)
    except _UNREADABLE as error:
        raise ConfigError(f"{file} is not an exported job: {type(error).__name__}") from error
    return job


def _check_ledger(ledger: Path, file: Path) -> None:
    """Refuse a ledger that memxfer did not write: a job that went on with it might say anything."""
    try:
        check_ledger_file(ledger)
        with closing(sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            fault = fault_in(opened)
    except (sqlite3.Error, LedgerError):
        fault = "is empty, damaged, or no SQLite file"
    if fault:
        raise ConfigError(
            f"{file} is not an exported job as memxfer wrote it: its {LEDGER} {fault}; export the job again "
            "where it is, or take the file from a backup"
        )


_UNREADABLE = (OSError, tarfile.TarError, EOFError, zlib.error, ValueError, ArithmeticError, RecursionError)
"""What the libraries raise at files that are none; numbers and names in headers may be anything."""


def _opened(file: Path) -> BinaryIO:
    """Open a plain file; a FIFO would be waited for."""
    try:
        descriptor = os.open(file, _READING)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"{file} is not an exported job: it is no plain file")
    return os.fdopen(descriptor, "rb")


def _room(place: Path) -> int:
    """Return the bytes that are free where `place` is or will be."""
    there = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


@contextmanager
def _whole_or_not(path: Path) -> Iterator[Path]:
    """Remove a folder or file again when it cannot be filled."""
    try:
        yield path
    except BaseException:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        raise


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = archive.extractfile(member)
    if content is None:
        return
    with content, _created(path) as out:
        while piece := content.read(_PIECE):
            _write(out, piece, path)


def _created(path: Path) -> FileIO:
    try:
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        return FileIO(os.open(path, _WRITING, 0o600), "wb")
    except OSError as error:
        raise _full(path, error) from error


def _write(out: FileIO, piece: bytes, path: Path) -> None:
    rest = memoryview(piece)
    try:
        while rest:  # a disk that is filling up takes part of a piece
            rest = rest[out.write(rest) :]
    except OSError as error:
        raise _full(path, error) from error


def _full(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be written: {error.strerror}; free some space there, then import again"
    )


def _checked_members(
    archive: tarfile.TarFile,
    headers: _Headers,
    file: Path,
    is_original: Callable[[str], bool],
    *,
    room: int,
) -> Mapping[str, tarfile.TarInfo]:
    """Return the members by name; refuses anything but the plain files of one job."""
    members: dict[str, tarfile.TarInfo] = {}
    jobs: set[str] = set()
    size = 0
    for member in archive:
        job, _, name = member.name.partition("/")
        is_known = name in _NAMES or (name.startswith(_ORIGINALS) and is_original(name[len(_ORIGINALS) :]))
        is_plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
        if not (is_plain and is_known and is_job_name(job)) or name in members or member.size < 0:
            raise ConfigError(f"{file} is not an exported job: it holds {member.name[:_LONGEST_NAME]!r}")
        headers.left = _LARGEST_HEADER
        members[name] = member
        jobs.add(job)
        size += member.size
        if size > _LARGEST or len(members) > _MOST_FILES:
            raise ConfigError(f"{file} is not an exported job: it is larger than any")
        if size > room:
            raise ConfigError(
                f"there is no room for the job in {file}: it unpacks to over {size / 10**6:,.0f} MB, and "
                f"{room / 10**6:,.0f} MB are free; free some space, or name another --state-dir"
            )
    if len(jobs) != 1 or not members.keys() >= set(_ALWAYS):
        raise ConfigError(f"{file} is not an exported job")
    return members
