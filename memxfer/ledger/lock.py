"""A job's lock: one runner at a time, and readers that never get in its way.

The runner holds the file exclusively (`flock`); the kernel lets go when the process dies. A reader asks
by taking the file in shared mode for a moment. A runner that meets such a reader takes it for one, since
the shared mode is free, and tries again: only another runner refuses it.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from memxfer.errors import LedgerError

if sys.platform != "win32":
    import fcntl

__all__ = ["HeldElsewhereError", "hold", "is_held"]

_CONTENTION = frozenset({errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK})
_GONE = frozenset({errno.ENOENT, errno.ESTALE})
_READERS_PAUSE = 0.002
_MOST_PAUSES = 5_000
"""Ten seconds: a reader looks for some microseconds, so that many in a row are a stopped process."""


class HeldElsewhereError(Exception):
    """Another runner holds the file."""


@contextmanager
def hold(path: Path, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[None]:
    """Hold the file at `path` exclusively, made where it is missing.

    Args:
        path: The file; its folder must be there.
        sleep: Waits while a reader looks.

    Raises:
        HeldElsewhereError: Another runner, in this process or another, holds it.
        FileNotFoundError: Its folder is not there, or was removed meanwhile.
        LedgerError: The file system has no locks, or the file cannot be made.
    """
    if sys.platform == "win32":
        with _held_on_windows(path):
            yield
        return
    descriptor = _opened(path)
    try:
        _take(descriptor, path, sleep)
        _check_still_there(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Tell whether a runner holds the file at `path`. Writes nothing; works on a read-only file system."""
    if sys.platform == "win32":
        try:
            with _held_on_windows(path):
                return False
        except HeldElsewhereError:
            return True
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False  # nobody ever ran it, or nobody here may know
    try:
        return not _flock(descriptor, fcntl.LOCK_SH, path)
    except LedgerError:
        return False
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if error.errno in _GONE:
            raise FileNotFoundError(error.errno, error.strerror) from error
        raise LedgerError(
            f"the lock {path} cannot be opened ({error.strerror}); make the folder writable, "
            "or name another state folder with --state-dir"
        ) from error


def _take(descriptor: int, path: Path, sleep: Callable[[float], None]) -> None:
    for _ in range(_MOST_PAUSES):
        if _flock(descriptor, fcntl.LOCK_EX, path):
            return
        if not _flock(descriptor, fcntl.LOCK_SH, path):
            raise HeldElsewhereError
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        sleep(_READERS_PAUSE)
    raise HeldElsewhereError


def _flock(descriptor: int, mode: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _CONTENTION:
            return False
        raise LedgerError(
            f"{path} cannot be locked ({error.strerror}): the file system has no locks, so that two runs of "
            "one job could not be kept apart; name a state folder on a local disk with --state-dir"
        ) from error
    return True


def _check_still_there(descriptor: int, path: Path) -> None:
    """Whoever removes a job holds its lock, and the file goes with it: what is held may be a deleted one."""
    with suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


@contextmanager
def _held_on_windows(path: Path) -> Iterator[None]:
    try:
        lock = FileLock(path, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise HeldElsewhereError from error
    try:
        yield
    finally:
        lock.release()
