"""Where jobs live on disk: `.memxfer/jobs/<id>/`, one folder each, for one run at a time."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from memxfer.errors import ConfigError, JobLockedError, JobNotFoundError, LedgerError
from memxfer.ledger.committer import connect
from memxfer.models import format_time

__all__ = ["JobFolder", "StateFolder"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LEDGER = "ledger.sqlite"
_PLAN = "plan.json"
_EVENTS = "events.jsonl"
_CARRIED = (_PLAN, _LEDGER, _EVENTS)
_LARGEST_IMPORT = 64 * 2**30
_LARGEST_TAIL = 2**20


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
        return self.path / _LEDGER

    @property
    def plan_path(self) -> Path:
        """What is moved, as JSON."""
        return self.path / _PLAN

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

    def write_plan(self, text: str) -> None:
        """Write `plan.json` whole or not at all."""
        scratch = self.plan_path.with_suffix(".tmp")
        with scratch.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self.plan_path)

    def event(self, name: str, *, at: datetime, **facts: Any) -> None:
        """Append one line to `events.jsonl`: what the run did, for people and log shippers."""
        line = json.dumps({"at": format_time(at), "event": name, **facts}, ensure_ascii=False)
        with (self.path / _EVENTS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class StateFolder:
    """All jobs of one `--state-dir`."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def create(self, job: str) -> JobFolder:
        """Make the folder of a new job, readable by this user alone.

        Raises:
            ConfigError: The name cannot be a folder's, or the state folder cannot be written.
        """
        folder = self._folder(job)
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.root / "jobs").mkdir(mode=0o700, exist_ok=True)
            folder.path.mkdir(mode=0o700, exist_ok=True)
            probe = folder.path / ".probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigError(
                f"the state folder {self.root} cannot be written ({error.strerror}); "
                "name another with --state-dir"
            ) from error
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
        found = [JobFolder(path.name, path) for path in folders if _NAME.fullmatch(path.name)]
        return [folder for folder in found if folder.exists()]

    def remove(self, job: str) -> None:
        """Delete a job's folder. Nothing in the source or target is touched.

        Raises:
            JobNotFoundError, JobLockedError: As named.
        """
        folder = self.open(job)
        with folder.lock():
            shutil.rmtree(folder.path)

    def export(self, job: str, file: Path) -> None:
        """Write a job to one file; works while the job runs, and overwrites nothing.

        Raises:
            JobNotFoundError: There is none of that id.
            ConfigError: The file exists, or cannot be written.
        """
        folder = self.open(job)
        with tempfile.TemporaryDirectory() as scratch:
            snapshot = Path(scratch) / _LEDGER
            try:
                with (
                    closing(connect(folder.ledger_path, read_only=True)) as ledger,
                    closing(sqlite3.connect(snapshot)) as copy,
                ):
                    ledger.backup(copy)
            except sqlite3.Error as error:
                raise LedgerError(f"the ledger of job {job} cannot be read: {error}") from error
            try:
                with file.open("xb") as raw:
                    file.chmod(0o600)
                    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
                        for name in _CARRIED:
                            member = snapshot if name == _LEDGER else folder.path / name
                            if member.exists():
                                archive.add(member, arcname=f"{job}/{name}")
            except OSError as error:
                raise ConfigError(f"{file} cannot be written: {error.strerror}") from error

    def import_(self, file: Path) -> str:
        """Read what `export` wrote; return the job's id.

        Raises:
            ConfigError: Not an exported job, or a job of that id is here already.
        """
        try:
            with gzip.open(file) as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
                members = _checked_members(archive, file)
                # The checksum is at the very end, where tar does not look: read on before anything is written
                if len(raw.read(_LARGEST_TAIL + 1)) > _LARGEST_TAIL:
                    raise ConfigError(f"{file} is not an exported job: something follows it")
                job = next(iter(members.values())).name.split("/")[0]
                if self._folder(job).exists():
                    raise ConfigError(f"job {job!r} is in {self.root} already; `memxfer jobs rm {job}` first")
                with _whole_or_not(self.create(job)) as folder:
                    for name, member in members.items():
                        _unpack(archive, member, folder.path / name)
        except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
            raise ConfigError(f"{file} is not an exported job: {type(error).__name__}") from error
        return job

    def _folder(self, job: str) -> JobFolder:
        if not _NAME.fullmatch(job):
            raise ConfigError(
                f"{job!r} cannot be a job's name: use letters, digits, dots, dashes, underscores"
            )
        return JobFolder(job, self.root / "jobs" / job)


@contextmanager
def _whole_or_not(folder: JobFolder) -> Iterator[JobFolder]:
    """Remove the folder again when it cannot be filled."""
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder.path)
        raise


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = archive.extractfile(member)
    if content is not None:
        with content, path.open("wb") as out:
            shutil.copyfileobj(content, out)


def _checked_members(archive: tarfile.TarFile, file: Path) -> Mapping[str, tarfile.TarInfo]:
    """Return the members by name; refuses anything but the plain files of one job."""
    members: dict[str, tarfile.TarInfo] = {}
    jobs = set()
    for member in archive:
        job, _, name = member.name.partition("/")
        if not member.isfile() or name not in _CARRIED or not _NAME.fullmatch(job):
            raise ConfigError(f"{file} is not an exported job: it holds {member.name!r}")
        members[name] = member
        jobs.add(job)
    size = sum(member.size for member in members.values())
    if len(jobs) != 1 or not {_PLAN, _LEDGER} <= members.keys() or size > _LARGEST_IMPORT:
        raise ConfigError(f"{file} is not an exported job")
    return members
