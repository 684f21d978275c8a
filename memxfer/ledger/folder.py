"""Where jobs live on disk: `.memxfer/jobs/<id>/`, one folder each, for one run at a time."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from memxfer.errors import ConfigError, JobExistsError, JobLockedError, JobNotFoundError, LedgerError
from memxfer.ledger.lock import HeldElsewhereError, hold, is_held
from memxfer.ledger.names import (
    EVENTS,
    LEDGER,
    LOCK,
    NEW_LEDGER,
    NEW_PLAN,
    PLAN,
    RESIDUE,
    ROOM,
    is_job_name,
)
from memxfer.ledger.opening import FirstPlan, create_ledger, sync_folder
from memxfer.ledger.travel import Carried, pack_job, unpack_job
from memxfer.models import format_time

__all__ = ["JobFolder", "StateFolder"]

_PROBE = 64 * 1024
"""Bytes that must fit before a run begins: less is no room for a ledger."""

_SCRATCH = frozenset({LOCK, NEW_LEDGER, f"{NEW_LEDGER}-journal", NEW_PLAN, ROOM})
"""Files that stand in a folder before its job has begun."""
_MOST_TRIES = 100

_log = logging.getLogger("memxfer")


def _remove_blank(folder: JobFolder) -> None:
    """Remove what a claim left, under its lock; the lock's file is the last to go."""
    for name in (*_SCRATCH - {LOCK}, LOCK):
        with suppress(OSError):
            (folder.path / name).unlink()
    with suppress(OSError):
        folder.path.rmdir()


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
        """Tell whether the job has begun: there is a plan or a ledger."""
        return any(os.path.lexists(path) for path in (self.plan_path, self.ledger_path))

    def is_blank(self) -> bool:
        """Tell whether nothing of a job is in the folder: whoever claimed it was stopped before it began."""
        return {path.name for path in self.path.iterdir()} <= _SCRATCH

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the job for this process; the kernel lets go when the process dies.

        Raises:
            JobLockedError: Another process runs it.
            JobNotFoundError: It was removed meanwhile.
            LedgerError: The folder cannot be locked.
        """
        with ExitStack() as held:
            try:
                held.enter_context(hold(self.path / LOCK))
            except HeldElsewhereError as error:
                raise JobLockedError(
                    f"job {self.job} is being run by another process; wait for it, or stop it, then resume"
                ) from error
            except FileNotFoundError as error:
                raise JobNotFoundError(f"job {self.job} was removed from {self.path.parent}") from error
            yield

    def is_running(self) -> bool:
        """Tell whether some process holds the job now; never gets in the way of one that wants to."""
        return is_held(self.path / LOCK)

    def begin(self, plan: FirstPlan, text: str) -> None:
        """Write down what a claimed job moves: the ledger first, since it holds the plan as well.

        Args:
            plan: The plan, for the ledger.
            text: The same for `plan.json`.

        Raises:
            LedgerError: They cannot be written.
        """
        with self._writing():
            scratch = self._scratch_plan(text)
        # The two names follow each other at once: who is killed between them leaves a job to be resumed.
        create_ledger(self.ledger_path, plan)
        with self._writing():
            scratch.replace(self.plan_path)
            sync_folder(self.path)

    def check_room(self) -> None:
        """Make sure that something can be written here before a run begins.

        Raises:
            LedgerError: The disk is full, or the folder may not be written.
        """
        probe = self.path / ROOM
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
        with self._writing():
            self._scratch_plan(text).replace(self.plan_path)

    def _scratch_plan(self, text: str) -> Path:
        scratch = self.path / NEW_PLAN
        with scratch.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return scratch

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

    @contextmanager
    def claim(self, job: str) -> Iterator[JobFolder]:
        """Take a new job's name, and hold its lock, for the block; readable by this user alone.

        A name that was claimed by somebody who was stopped before the job began is free. Nothing is left
        behind when the block ends before it began the job.

        Raises:
            JobExistsError: There is a job of that name.
            ConfigError: No job can be called so, or the state folder cannot be made.
            JobLockedError: Another process is starting or running a job of that name.
            LedgerError: There is no room in it, or it cannot be locked.
        """
        folder = self.check_free(job)
        made: list[Path] = []
        try:
            with ExitStack() as held:
                self._take(folder, held, made)
                # Looked at again under the lock: the name may have been taken since.
                if not folder.is_blank():
                    raise self._taken(folder)
                try:
                    folder.check_room()
                    yield folder
                finally:
                    if not folder.exists():
                        _remove_blank(folder)
        finally:
            for path in reversed(made):  # only those that are empty go
                with suppress(OSError):
                    path.rmdir()

    def check_free(self, job: str) -> JobFolder:
        """Make sure that no job has this name, without taking it. Writes nothing.

        Raises:
            JobExistsError: There is a job of that name.
            ConfigError: No job can be called so.
            JobLockedError: Another process is starting one.
        """
        folder = self._folder(job)
        if not folder.path.is_dir():
            return folder
        if folder.is_running():
            raise JobLockedError(
                f"job {job} in {self.root} is being started or run by another process; "
                "wait for it, or use another name"
            )
        if not folder.is_blank():
            raise self._taken(folder)
        return folder

    def _take(self, folder: JobFolder, held: ExitStack, made: list[Path]) -> None:
        """Make the folder and lock it; whoever gives up a name may remove it under our hands."""
        for _ in range(_MOST_TRIES):
            try:
                for path in (*reversed(folder.path.parents), folder.path):
                    with suppress(FileExistsError):
                        if not path.is_dir():
                            path.mkdir(mode=0o700)
                            made.append(path)
                held.enter_context(folder.lock())
            except (FileNotFoundError, JobNotFoundError):
                continue
            except OSError as error:
                raise ConfigError(
                    f"the state folder {self.root} cannot be written ({error.strerror}); "
                    "make it writable, free some space there, or name another with --state-dir"
                ) from error
            else:
                return
        raise JobLockedError(f"job {folder.job} is being started by another process; use another name")

    def _taken(self, folder: JobFolder) -> JobExistsError:
        if folder.exists():
            return JobExistsError(
                f"job {folder.job!r} is there already; `memxfer resume {folder.job}` goes on with it. For a "
                f"new job choose another name with --job ({folder.path})"
            )
        return JobExistsError(
            f"{folder.path} holds something that is no job; `memxfer jobs rm {folder.job}` removes it. "
            "Or choose another name with --job"
        )

    def open(self, job: str) -> JobFolder:
        """Return the folder of a job that has begun.

        Raises:
            JobNotFoundError: There is none of that id, or it has not begun.
        """
        folder = self.find(job)
        if not folder.exists():
            if folder.is_running():
                raise JobNotFoundError(f"job {job} is being started by another process; ask again in a while")
            raise JobNotFoundError(
                f"job {job} in {self.root} was stopped before it began, and nothing was sent; "
                f"`memxfer jobs rm {job}` removes it, and `memxfer migrate` with --job {job} starts it anew"
            )
        return folder

    def find(self, job: str) -> JobFolder:
        """Return the folder of a job, whatever state it is in.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        folder = self._folder(job)
        if not folder.path.is_dir():
            raise JobNotFoundError(f"no job {job!r} in {self.root}; `memxfer jobs list` shows the jobs")
        return folder

    def jobs(self) -> list[JobFolder]:
        """Return every job, by name; also those that are damaged, or were stopped before they began.

        Raises:
            LedgerError: The state folder cannot be read.
        """
        try:
            paths = sorted((self.root / "jobs").iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise LedgerError(
                f"the state folder {self.root} cannot be read ({error.strerror}); "
                "make it readable, or name another with --state-dir"
            ) from error
        return [JobFolder(path.name, path) for path in paths if is_job_name(path.name) and path.is_dir()]

    def remove(self, job: str) -> None:
        """Delete a job's folder, whatever state it is in. Nothing in the source or target is touched.

        Raises:
            JobNotFoundError, JobLockedError: As named.
            LedgerError: The folder cannot be written.
        """
        folder = self.find(job)
        with folder.lock():
            try:
                shutil.rmtree(folder.path)
            except OSError as error:
                raise LedgerError(
                    f"{folder.path} cannot be removed ({error.strerror}); make it writable, then try again"
                ) from error

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
        return unpack_job(file, self._receive, is_original=is_original, place=self.root)

    @contextmanager
    def _receive(self, job: str) -> Iterator[Path]:
        with ExitStack() as held:
            try:
                folder = held.enter_context(self.claim(job))
            except JobExistsError as error:
                raise JobExistsError(
                    f"job {job!r} is in {self.root} already; `memxfer jobs rm {job}` removes that one"
                ) from error
            yield folder.path

    def _folder(self, job: str) -> JobFolder:
        if not is_job_name(job):
            raise ConfigError(
                f"{job!r} cannot be a job's name: use letters, digits, dots, dashes, underscores"
            )
        return JobFolder(job, self.root / "jobs" / job)
