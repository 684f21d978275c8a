"""Where jobs live on disk: `.memxfer/jobs/<id>/`, one folder each, for one run at a time."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from memxfer.errors import ConfigError, JobLockedError, JobNotFoundError, LedgerError
from memxfer.ledger.names import EVENTS, LEDGER, PLAN, RESIDUE, is_job_name
from memxfer.ledger.travel import Carried, pack_job, unpack_job
from memxfer.models import format_time

__all__ = ["JobFolder", "StateFolder"]

_PROBE = 64 * 1024
"""Bytes that must fit before a run begins: less is no room for a ledger."""

_log = logging.getLogger("memxfer")


def _nothing(_: Path) -> Sequence[Carried]:
    return ()


def _never(_: str) -> bool:
    return False


class JobFolder:
    """The files of one job.

    Attributes:
        job: The job's id.
        path: Its folder.
    """

    def __init__(self, job: str, path: Path) -> None:
        self.job = job
        self.path = path

    @property
    def ledger_path(self) -> Path:
        """The SQLite file."""
        return self.path / LEDGER

    @property
    def plan_path(self) -> Path:
        """What is moved, as JSON."""
        return self.path / PLAN

    @property
    def residue_path(self) -> Path:
        """The folder of the originals that the target cannot hold."""
        return self.path / RESIDUE

    def exists(self) -> bool:
        """Tell whether the job has begun."""
        return self.plan_path.is_file()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the job for this process; the kernel lets go when the process dies.

        Raises:
            JobLockedError: Another process runs it.
        """
        lock = FileLock(self.path / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise JobLockedError(
                f"job {self.job} is being run by another process; wait for it, or stop it, then resume"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def is_running(self) -> bool:
        """Tell whether some process holds the job now."""
        try:
            with self.lock():
                return False
        except JobLockedError:
            return True

    def check_room(self) -> None:
        """Make sure that something can be written here before a run begins.

        Raises:
            LedgerError: The disk is full, or the folder may not be written.
        """
        probe = self.path / ".probe"
        try:
            with suppress(FileNotFoundError):
                probe.unlink()
            with self._writing(), probe.open("wb") as file:
                file.write(bytes(_PROBE))
                file.flush()
                os.fsync(file.fileno())
        finally:
            with suppress(OSError):
                probe.unlink()

    def write_plan(self, text: str) -> None:
        """Write `plan.json` whole or not at all.

        Raises:
            LedgerError: It cannot be written.
        """
        scratch = self.plan_path.with_suffix(".tmp")
        with self._writing():
            with scratch.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(self.plan_path)

    def event(self, name: str, *, at: datetime, **facts: Any) -> None:
        """Append one line to `events.jsonl`: what the run did, for people and log shippers.

        Nothing depends on it: where it cannot be written, the log says so and the run goes on.
        """
        line = json.dumps({"at": format_time(at), "event": name, **facts}, ensure_ascii=False)
        try:
            with (self.path / EVENTS).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            _log.warning("%s cannot be written: %s", self.path / EVENTS, error.strerror)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LedgerError(
                f"the job's folder {self.path} cannot be written ({error.strerror}); "
                "free some space there, or name another state folder with --state-dir"
            ) from error


class StateFolder:
    """All jobs of one `--state-dir`."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def create(self, job: str) -> JobFolder:
        """Make the folder of a new job, readable by this user alone.

        Raises:
            ConfigError: The name cannot be a folder's, or the state folder cannot be made.
            LedgerError: There is no room in it.
        """
        folder = self._folder(job)
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.root / "jobs").mkdir(mode=0o700, exist_ok=True)
            folder.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the state folder {self.root} cannot be written ({error.strerror}); "
                "free some space there, or name another with --state-dir"
            ) from error
        folder.check_room()
        return folder

    def has(self, job: str) -> bool:
        """Tell whether there is a job of that id.

        Raises:
            ConfigError: The name cannot be a job's.
        """
        return self._folder(job).exists()

    def open(self, job: str) -> JobFolder:
        """Return the folder of a job.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        folder = self._folder(job)
        if not folder.exists():
            raise JobNotFoundError(f"no job {job!r} in {self.root}; `memxfer jobs list` shows the jobs")
        return folder

    def jobs(self) -> list[JobFolder]:
        """Return every job, by name."""
        folders = sorted((self.root / "jobs").glob("*")) if self.root.exists() else []
        found = [JobFolder(path.name, path) for path in folders if is_job_name(path.name)]
        return [folder for folder in found if folder.exists()]

    def remove(self, job: str) -> None:
        """Delete a job's folder. Nothing in the source or target is touched.

        Raises:
            JobNotFoundError, JobLockedError: As named.
        """
        folder = self.open(job)
        with folder.lock():
            shutil.rmtree(folder.path)

    def export(
        self, job: str, file: Path, *, residue: Callable[[Path], Sequence[Carried]] = _nothing
    ) -> None:
        """Write a job to one file; works while the job runs, and overwrites nothing.

        Args:
            job: The job's id.
            file: The file to write.
            residue: Returns the files of the residue in a folder, as they belong together now.

        Raises:
            JobNotFoundError: There is none of that id.
            LedgerError: The ledger or the residue cannot be read.
            ConfigError: The file exists, or cannot be written.
        """
        pack_job(self.open(job).path, file, residue=residue)

    def import_(self, file: Path, *, is_original: Callable[[str], bool] = _never) -> str:
        """Read what `export` wrote; return the job's id.

        Args:
            file: The file to read.
            is_original: Tells whether a file of a residue is called so, below its folder.

        Raises:
            ConfigError: Not an exported job, a job of that id is here already, or there is no room for it.
        """
        return unpack_job(file, self._begin, is_original=is_original, place=self.root)

    def _begin(self, job: str) -> Path:
        if self._folder(job).exists():
            raise ConfigError(f"job {job!r} is in {self.root} already; `memxfer jobs rm {job}` first")
        return self.create(job).path

    def _folder(self, job: str) -> JobFolder:
        if not is_job_name(job):
            raise ConfigError(
                f"{job!r} cannot be a job's name: use letters, digits, dots, dashes, underscores"
            )
        return JobFolder(job, self.root / "jobs" / job)
