"""A Kuzu database file: opened once per process, used on one thread.

Kuzu locks its file against other processes only (seen on 0.11.3): a second `Database` in this one would open
it a second time, and the file lock would go with the first that closes. So connections to one file share it.

Opened for reading only, Kuzu replays what an app left in the write-ahead log in memory, and changes no file.
It cannot do so where an app was killed in the middle of a checkpoint (`.shadow`): then a copy is read.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from memxfer.spi import ConfigError, FatalError, PrivateCopy, ProviderError, UnavailableError
from memxfer_graphiti.config import NAME
from memxfer_graphiti.sdk import import_sdk

__all__ = ["COMMIT", "OUT_OF_MEMORY", "KuzuFile"]

T = TypeVar("T")
_MEGABYTE = 2**20
_MISUNDERSTOOD = ("Binder", "Parser", "Catalog")
_OF_THE_MOMENT = ("Interrupted", "Connection")
_BESIDE = (".wal", ".shadow")
"""What Kuzu keeps beside its file while it is written to, and leaves there when it is killed."""
_DISK = "disk"
COMMIT = "COMMIT"
OUT_OF_MEMORY = "out_of_memory"
"""Code of an error that a smaller batch may not meet."""
_FOLDER_FILE = "catalog.kz"
"""In the folder that Kuzu before 0.11 kept a database in."""
_MAGIC = b"KUZU"
_RELEASES = {36: "0.8.2", 37: "0.9.0", 38: "0.10.1", 39: "0.11.3"}
"""The last Kuzu of each storage version."""

_is_kind = re.compile(r"([A-Z][A-Za-z ]* exception)(?=:)").match
# Of Kuzu's texts, which quote values, only these words are shown; they name columns and tables.
_is_safe = re.compile(
    r"Binder exception: (Cannot find property \w+ for \w+|Table \w+ does not exist)"
    r"|Catalog exception: (function \w+ does not exist)"
).match
_is_other_version = re.compile(
    r".*Database file version: (\d+), Current build storage version: (\d+)", re.DOTALL
).match
_is_damage = re.compile(
    r"Runtime exception: (Reading past the end|Load table failed)|IO exception: Cannot read from file"
).match
_SYSTEM = tuple(
    os.strerror(number)
    for number in (
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
        *(errno.EIO, errno.EMFILE, errno.ENOENT),
    )
)


class KuzuFile:
    """One open file; get one with `acquire`, and give it back with `release`.

    Every call blocks in C++, so it runs on the file's own thread and the event loop goes on.

    Attributes:
        path: Its name, as the first user gave it.
        place: Where it is, without links.
    """

    _shared: ClassVar[dict[Path, tuple[KuzuFile, int]]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path, place: Path) -> None:
        self.path = path
        self.place = place
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="memxfer-kuzu")
        self._database: Any = None
        self._connection: Any = None
        self._is_read_only = False
        self._copy: PrivateCopy | None = None
        self._broken: str | None = None

    @classmethod
    def acquire(cls, path: Path) -> KuzuFile:
        """Return the file, not opened yet by the first who asks.

        It is opened by the name it was given: beside that name is its log, also where it is a link.
        """
        place = path.expanduser().resolve()
        with cls._lock:
            file, users = cls._shared.get(place) or (cls(path.expanduser().absolute(), place), 0)
            cls._shared[place] = (file, users + 1)
            return file

    async def release(self) -> None:
        """Give the file back; it is closed with its last user."""
        with self._lock:
            _, users = self._shared[self.place]
            self._shared[self.place] = (self, users - 1)
        await asyncio.shield(self.run(self._close_if_unused))

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run `call(*args)` on the file's thread and wait for it without blocking the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    # -- on the thread ------------------------------------------------------------------------

    def open_for_reading(self, pool_mb: int) -> None:
        """Open the file as it is; nothing in it or beside it changes.

        Raises:
            ConfigError: It is missing, in use, or no Kuzu database.
        """
        if self._database is None:
            if not self.path.exists():
                raise ConfigError(f"{self.path}: there is no such file; a source must be there")
            self._open_as_it_is(pool_mb)

    def open_to_look(self, pool_mb: int) -> bool:
        """Open a target as it is, to be written to later; return whether there is a file.

        Raises:
            ConfigError: It could not be written to, is no Kuzu database, or there is no folder for it.
        """
        if self._database is None:
            if not self.path.parent.is_dir():
                raise ConfigError(f"{self.path}: the folder {self.path.parent} does not exist; make it first")
            if not os.access(self.path.parent, os.W_OK):
                raise ConfigError(f"{self.path}: files cannot be made in its folder, as Kuzu has to")
            if not self.path.exists():
                self._check_nothing_left()
                return False
            if self.path.is_file():
                self._check_free()
            self._open_as_it_is(pool_mb)
        return True

    def _check_log(self) -> None:
        """Refuse a link whose file was written to by its own name: Kuzu would not see that log."""
        if self.path.parent.resolve() / self.path.name == self.place:
            return
        left = [end for end in _BESIDE if self.place.with_name(f"{self.place.name}{end}").exists()]
        if left:
            raise ConfigError(
                f"{self.path}: is a link to {self.place}, and what an app wrote last is beside that file "
                f"({self.place.name}{left[0]}): name that file"
            )

    def _check_nothing_left(self) -> None:
        """Refuse to make a database beside another one's log: Kuzu would take the log for its own."""
        left = [name for name in self._names()[1:] if (self.path.parent / name).exists()]
        if left:
            raise ConfigError(
                f"{self.path}: is missing, and {' and '.join(left)} of another Kuzu database is there; "
                "bring the database back, or move these files away"
            )

    def _check_free(self) -> None:
        """See that the file could be opened for writing, without doing so."""
        try:
            with self.path.open("r+b") as file:
                _lock_once(file.fileno())
        except PermissionError as error:
            raise ConfigError(f"{self.path}: may not be written to; a target has to be") from error
        except BlockingIOError as error:
            raise _in_use(self.path) from error
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be opened ({error.strerror})") from error

    def open_for_writing(self, pool_mb: int) -> None:
        """Open the file to be changed, and make it where it is missing.

        Raises:
            ConfigError: It is in use, or no Kuzu database.
        """
        if self._is_read_only:
            self._close()
        if self._database is None:
            self._open(self.path, pool_mb, read_only=False)

    @property
    def is_copy(self) -> bool:
        """Tell whether a copy is read in place of the file."""
        return self._copy is not None

    def query(self, cypher: str, **params: Any) -> list[dict[str, Any]]:
        """Run one query.

        Raises:
            FatalError: The tables have changed, the file is damaged, the disk refuses, or memory is short.
            UnavailableError: It failed; outside a transaction, nothing was changed. With code `refused` it
                is for what it was asked, and not for the moment.
        """
        if self._connection is None:
            raise _fatal(self._broken or f"{self.path}: is not open any more", "closed")
        try:
            found = self._connection.execute(cypher, params)
            results = found if isinstance(found, list) else [found]
            try:
                return [dict(row) for row in results[-1].rows_as_dict()]
            finally:
                for result in results:
                    result.close()
        except Exception as error:  # noqa: BLE001 - C++ gives many kinds, whose text may quote a memory
            failure = _failure(self.path, error)
            is_commit = cypher == COMMIT and isinstance(failure, FatalError)
            if is_commit or (failure.code == _DISK and not self._is_read_only):
                self._give_up(failure)
            raise failure from None

    def _give_up(self, failure: ProviderError) -> None:
        """Leave the database open until the process ends, and say so to whoever asks it.

        Kuzu 0.11.3 ends the process where closing it fails to write, and crashes when it is used after a
        commit that failed. What was committed is in the file or in its log, and whoever opens it next finds
        it.
        """
        self._broken = str(failure)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._database))
        self._connection = self._database = None

    def _open_as_it_is(self, pool_mb: int) -> None:
        self._check_kind()
        self._check_log()
        try:
            self._open(self.path, pool_mb, read_only=True)
        except _HalfCheckpointError:
            self._copy = PrivateCopy(self.path.parent, what="the Kuzu graph", names=self._names())
            self._open(self._copy.path / self.path.name, pool_mb, read_only=False)
        self._is_read_only = True

    def _names(self) -> list[str]:
        return [self.path.name, *(f"{self.path.name}{end}" for end in _BESIDE)]

    def _check_kind(self) -> None:
        """Tell a folder of an older Kuzu's, which Kuzu itself only says is no file."""
        if not self.path.is_dir():
            return
        version = _storage_version(self.path / _FOLDER_FILE)
        if version is None:
            raise ConfigError(
                f"{self.path}: a folder, not a Kuzu database (Kuzu 0.11 keeps one in a single file)"
            )
        raise _of_other_version(self.path, version, int(import_sdk("kuzu").storage_version))

    def _open(self, path: Path, pool_mb: int, *, read_only: bool) -> None:
        kuzu = import_sdk("kuzu")
        try:
            self._database = kuzu.Database(
                str(path), buffer_pool_size=pool_mb * _MEGABYTE, read_only=read_only
            )
            self._connection = kuzu.Connection(self._database)
        except Exception as error:  # noqa: BLE001 - of a damaged file, C++ gives many kinds
            is_half = read_only and "replay shadow pages under read-only mode" in str(error)
            self._close()
            if is_half:
                raise _HalfCheckpointError from None
            raise _refusal(self.path, error) from None  # its text may quote a memory
        self._is_read_only = read_only

    def _close_if_unused(self) -> None:
        # Under the lock: whoever opens it next must not do so while it is being closed.
        with self._lock:
            found, users = self._shared.get(self.place, (None, 0))
            if found is not self or users > 0:
                return
            self._close()
            del self._shared[self.place]
        self._executor.shutdown(wait=False)

    def _close(self) -> None:
        for part in (self._connection, self._database):
            if part is not None:
                part.close()
        self._connection = self._database = None
        self._is_read_only = False
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.close()


class _HalfCheckpointError(Exception):
    """An app was killed while it wrote its log into the file: only a writer can finish that."""


def _lock_once(descriptor: int) -> None:
    """Take the lock that Kuzu takes, and let it go with the file.

    Raises:
        BlockingIOError: Another process has it.
    """
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except PermissionError as error:  # what some systems say of a lock
        raise BlockingIOError(*error.args) from error


def _storage_version(file: Path) -> int | None:
    try:
        with file.open("rb") as opened:
            head = opened.read(12)
    except OSError:
        return None
    return int.from_bytes(head[4:], "little") if head.startswith(_MAGIC) else None


def _in_use(path: Path) -> ConfigError:
    return ConfigError(
        f"{path}: open in another process; Kuzu lets one process write a file, or several read it. "
        "Stop the app, or copy the file, and try again"
    )


def _of_other_version(path: Path, written: int, reads: int) -> ConfigError:
    release = _RELEASES.get(written)
    use = f"kuzu=={release}" if release else "the Kuzu that wrote it"
    return ConfigError(
        f"{path}: written by Kuzu storage version {written}, this one reads {reads}. Export it with {use} "
        f"(EXPORT DATABASE), and import that with kuzu=={_RELEASES.get(reads, 'VERSION')} (IMPORT DATABASE)"
    )


def _refusal(path: Path, error: Exception) -> ConfigError:
    text = str(error)
    if "lock" in text:
        return _in_use(path)
    if "not a valid Kuzu" in text:
        return ConfigError(f"{path}: not a Kuzu database (Kuzu 0.11 keeps one in a single file)")
    versions = _is_other_version(text)
    if versions:
        return _of_other_version(path, int(versions[1]), int(versions[2]))
    system = _system_reason(text)
    if system and not _is_damage(text):
        return ConfigError(f"{path}: Kuzu cannot open it ({system})")
    return ConfigError(
        f"{path}: Kuzu cannot open it ({_kind(error)}): the file or its log is damaged, or a copy of it was "
        "cut short. Copy it again while the app stands still, or take a backup"
    )


def _kind(error: Exception) -> str:
    """Return what kind of error it is, by Kuzu's own name where it gives one; never its text."""
    found = _is_kind(str(error)[:60])
    if found:
        return found[1]
    return "no kind given" if type(error) is RuntimeError else type(error).__name__


def _system_reason(text: str) -> str | None:
    """Return the operating system's word at the end of a text."""
    if text.rstrip().endswith(f"Error: {os.strerror(0)}"):
        return "only a part was taken; there is no room"
    return next((reason for reason in _SYSTEM if text.rstrip(".!").endswith(reason)), None)


def _failure(path: Path, error: Exception) -> ProviderError:
    text, kind = str(error), _kind(error)
    if kind.startswith(_MISUNDERSTOOD):
        found = _is_safe(text)
        reason = next(filter(None, found.groups())) if found else kind
        return _fatal(
            f"{path}: Kuzu refuses a query ({reason}): the tables are not those that were there when it was "
            "opened. Stop what changes them, and try again",
            "schema",
        )
    if _is_damage(text):
        return _fatal(f"{path}: is damaged: Kuzu cannot read all of it ({kind}); take a backup", "damaged")
    if kind == "IO exception":
        reason = _system_reason(text) or kind
        return _fatal(f"{path}: Kuzu cannot read or write its files ({reason}); see to the disk", _DISK)
    if kind == "Buffer manager exception":
        return _fatal(
            f"{path}: Kuzu needs more memory for its pages than buffer_pool_mb; raise that", OUT_OF_MEMORY
        )
    return UnavailableError(
        f"{path}: Kuzu refused a query ({kind})",
        provider=NAME,
        operation="query",
        code=None if kind.startswith(_OF_THE_MOMENT) else "refused",
    )


def _fatal(message: str, code: str) -> FatalError:
    return FatalError(message, provider=NAME, operation="query", code=code)
