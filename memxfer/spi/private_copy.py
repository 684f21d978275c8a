"""A store's files, copied to be opened there: some vendors' clients change whatever they open.

A copy holds other people's memories. It is readable by its owner alone, goes when it is closed or the
process ends, and what a killed process left is removed by the next one that makes a copy.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from memxfer.errors import ConfigError

__all__ = ["PrivateCopy"]

_PREFIX: Final = "memxfer-copy-"
_LOCK: Final = ".held"
_TRIES: Final = 3
_CLONE: Final = 0x40049409
"""Linux's FICLONE: both files share their blocks until one is changed."""
_SPARE: Final = 16 * 2**20
"""Bytes that stay free on the disk of the copy."""


class PrivateCopy:
    """A copy of a folder, or of some files of one, as they were at one moment.

    Attributes:
        path: The folder of the copy, laid out as the original; yours to open, change and break.
        size: Its bytes.

    Args:
        folder: What to copy.
        names: Files and folders in it, where not all are wanted; those that are missing are left out.
        leave: Names that are not copied, wherever they are: lock files.
        what: What to call it in messages: `the Chroma store`.

    Raises:
        ConfigError: It cannot be read, there is no room, or it is being written to just now.
    """

    def __init__(
        self, folder: Path, *, what: str, names: Sequence[str] | None = None, leave: Sequence[str] = ()
    ) -> None:
        self._folder, self._names, self._leave, self._what = folder, names, frozenset(leave), what
        _remove_what_was_left()
        self._root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = FileLock(self._root / _LOCK, timeout=0)
        self._lock.acquire()
        self._finalizer = weakref.finalize(self, _remove, self._root, self._lock)
        self.path = self._root / "copy"
        try:
            self.size = self._copied()
        except BaseException:
            self.close()
            raise

    def _copied(self) -> int:
        for again in range(_TRIES):
            try:
                before = self._files()
                size = sum(size for size, _ in before.values())
                self._check_room(size)
                self._copy(before)
                if self._files() == before:
                    return size
            except FileNotFoundError:  # one that was there a moment ago: it is being written to
                before = {}
            except OSError as error:
                raise ConfigError(
                    f"{self._what} in {self._folder} cannot be copied for reading "
                    f"({error.strerror or type(error).__name__}: {error.filename or self._root}); "
                    "fix that, then try again"
                ) from error
            shutil.rmtree(self.path, ignore_errors=True)
            time.sleep(0.2 * (again + 1))
        raise ConfigError(
            f"{self._what} in {self._folder} is being written to while it is copied for reading; stop the "
            "app, or copy the folder while the app stands still and name that copy"
        )

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self._root).free
        if size + _SPARE > free:
            raise ConfigError(
                f"{self._what} in {self._folder} is read from a copy of {size / 10**6:,.0f} MB, and "
                f"{self._root.parent} has {free / 10**6:,.0f} MB free; free some, or set TMPDIR to a folder "
                "with room"
            )

    def _files(self) -> dict[Path, tuple[int, int]]:
        """Return size and time of change of each plain file, by path below the folder."""
        starts = [self._folder] if self._names is None else [self._folder / name for name in self._names]
        found = {}
        for path in (path for start in starts if start.exists() for path in _plain_files(start)):
            if path.name not in self._leave:
                told = path.stat()
                found[path.relative_to(self._folder)] = (told.st_size, told.st_mtime_ns)
        return found

    def _copy(self, files: dict[Path, Any]) -> None:
        self.path.mkdir(mode=0o700)
        for file in files:
            target = self.path / file
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _copy_file(self._folder / file, target)

    def close(self) -> None:
        """Remove the copy. Idempotent."""
        self._finalizer()


def _plain_files(start: Path) -> Iterator[Path]:
    if not start.is_dir():
        if stat.S_ISREG(start.stat().st_mode):
            yield start
        return
    for root, _, names in os.walk(start, onerror=_raise):
        for name in names:
            path = Path(root) / name
            if stat.S_ISREG(path.stat().st_mode):  # sockets and pipes of a running server are no data
                yield path


def _raise(error: OSError) -> None:
    raise error


def _copy_file(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as new, source.open("rb") as old:
        if not _cloned(old.fileno(), new.fileno()):
            shutil.copyfileobj(old, new, 2**20)


def _cloned(old: int, new: int) -> bool:
    """Share the blocks instead of copying them, where the file system can."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(new, _CLONE, old)
    except OSError:
        return False
    return True


def _remove(root: Path, lock: FileLock) -> None:
    shutil.rmtree(root / "copy", ignore_errors=True)
    lock.release()
    shutil.rmtree(root, ignore_errors=True)


def _remove_what_was_left() -> None:
    for root in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError, Timeout):
            if (os.name != "posix" or root.lstat().st_uid == os.getuid()) and (root / _LOCK).is_file():
                lock = FileLock(root / _LOCK, timeout=0)
                lock.acquire()
                _remove(root, lock)
