"""Looking at jobs, and keeping them: status, failures, list, export, import, remove.

Without a `state_dir` these go by `memxfer.config.state_dir_of`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memxfer.archive import is_archive_file, snapshot
from memxfer.config import state_dir_of
from memxfer.engine.control import StopCause
from memxfer.engine.settling import NO_MEMORIES
from memxfer.errors import DecisionRequiredError, LedgerError
from memxfer.gaps import GapLine
from memxfer.ledger import JobFolder, State, StateFolder, inspect
from memxfer.ledger.ignored import ignored_rows
from memxfer.ledger.states import DOCUMENTS, FILTERED, IGNORED_AS, LOSS, RESENT, RESIDUE
from memxfer.migration.kept import kept_plan
from memxfer.migration.news import warnings_of
from memxfer.migration.outcome import (
    MISSING,
    counts_of,
    ignored_losses,
    lines_of_text,
    missing_message,
    observed_losses,
    resting_status,
    rows_of,
    tallied,
)
from memxfer.migration.results import Failure, JobResult, JobStatus, JobSummary
from memxfer.plan import JobPlan

__all__ = [
    "Holdings",
    "export_job",
    "failures",
    "holdings",
    "import_job",
    "list_jobs",
    "remove_job",
    "status",
]


def status(job: str, *, state_dir: str | Path | None = None) -> JobResult:
    """Return how a job stands; works while it runs.

    Raises:
        JobNotFoundError, LedgerError: There is no such job, or its files are damaged.
    """
    folder = StateFolder(state_dir_of(state_dir)).open(job)
    kept = kept_plan(folder)
    plan = kept.plan
    is_running = folder.is_running()  # first: what a run leaves in doubt at its end is not in flight
    counters = inspect.counts(folder.ledger_path)
    runs = inspect.runs(folder.ledger_path)
    silent = inspect.problem_count(folder.ledger_path, NO_MEMORIES)
    counts = counts_of(counters, is_running=is_running)
    ignored = ignored_rows(counters, inspect.notes(folder.ledger_path, IGNORED_AS))
    now = _status(runs.status, is_running=is_running)
    if now is JobStatus.COMPLETED:  # at the end of its run; the target may have told of failures since
        now = resting_status(counts)
    missing = _missing(folder, runs.cause)
    messages = [f"{kept.trouble}; `memxfer resume {job}` writes it anew"] if kept.trouble else []
    messages += [f"The target warns: {text}" for text in warnings_of(folder)]
    if missing:
        messages.append(missing_message(plan, missing))
    return JobResult(
        job=job,
        status=now,
        counts=counts,
        ignored=rows_of(ignored),
        documents=counters[DOCUMENTS],
        resent=counters[RESENT],
        losses=(
            *tallied(plan, counters, inspect.notes(folder.ledger_path, LOSS)),
            *ignored_losses(ignored, plan.source.connection),
            *missing,
            *observed_losses(silent, plan.target.connection),
        ),
        residue=counters[RESIDUE],
        residue_path=str(folder.residue_path),
        seconds=round(runs.seconds, 3),
        records_per_second=round(runs.records / runs.seconds, 1) if runs.seconds else 0.0,
        filtered=counters[FILTERED],
        cause=runs.cause,
        message=". ".join(messages),
    )


def failures(job: str, *, state_dir: str | Path | None = None) -> Iterator[Failure]:
    """Give every record that did not arrive or arrived with a warning, in the order they were listed.

    Raises:
        JobNotFoundError, LedgerError: There is no such job, or its files are damaged.
    """
    folder = StateFolder(state_dir_of(state_dir)).open(job)
    intent = "in_flight" if folder.is_running() else State.UNCERTAIN
    return (
        Failure(
            id=row.id,
            key=row.key,
            state=row.state,
            code=row.code,
            reason=row.reason or "",
            correlation_id=row.correlation_id,
        )
        for row in inspect.problems(folder.ledger_path, intent=intent)
    )


def list_jobs(state_dir: str | Path | None = None) -> list[JobSummary]:
    """Return all jobs of a state folder, by name; one whose files are damaged is listed as failed."""
    return [_summary(folder) for folder in StateFolder(state_dir_of(state_dir)).jobs()]


def export_job(job: str, file: str | Path, *, state_dir: str | Path | None = None) -> None:
    """Write a job's plan, ledger, events and residue to one file; works while it runs, overwrites nothing.

    Raises:
        JobNotFoundError: There is no such job.
        ConfigError: The file is there already, or cannot be written.
    """
    StateFolder(state_dir_of(state_dir)).export(job, Path(file), residue=snapshot)


def import_job(file: str | Path, *, state_dir: str | Path | None = None) -> str:
    """Take in what `export_job` wrote; return the job's id.

    Raises:
        ConfigError: Not an exported job, or the job is here already.
    """
    return StateFolder(state_dir_of(state_dir)).import_(Path(file), is_original=is_archive_file)


def remove_job(job: str, *, state_dir: str | Path | None = None, with_residue: bool = False) -> None:
    """Forget a job, whatever state it is in: its ledger is deleted, source and target are not touched.

    Args:
        job: The job's id.
        state_dir: Folder of the jobs.
        with_residue: The job's residue, perhaps the only copy of what the target does not hold, goes too.

    Raises:
        JobNotFoundError, JobLockedError: There is no such job, or it is running.
        DecisionRequiredError: It has a residue, and `with_residue` does not say that it may go.
        LedgerError: Its folder cannot be written.
    """
    folders = StateFolder(state_dir_of(state_dir))
    held = holdings(job, state_dir=state_dir)
    if held.originals is not None and not with_residue:
        remedies = [
            f"keep them: memxfer migrate {_archive(held.originals)} archive:./{job}-originals",
            f"keep all of the job: memxfer jobs export {job} {job}.tar.gz",
            f"let them go: memxfer jobs rm {job} --yes",
        ]
        if not held.is_readable:  # what cannot be read is not exported
            del remedies[1]
        raise DecisionRequiredError(
            f"job {job} has originals in {held.originals}, perhaps the only copy of what its target does not "
            "hold",
            remedies=tuple(remedies),
        )
    folders.remove(job)


def _archive(path: Path) -> str:
    return shlex.quote(f"archive:{path}")


def _missing(folder: JobFolder, cause: str) -> tuple[GapLine, ...]:
    """Return what the last run was stopped for, if that was a missing consent."""
    if cause != StopCause.DECISION:
        return ()
    return lines_of_text(inspect.notes(folder.ledger_path, MISSING).get(MISSING))


@dataclass(frozen=True, slots=True)
class Holdings:
    """What goes with a job when it is removed.

    Attributes:
        originals: The folder of the originals it keeps, an archive; `None` where it keeps none.
        records: How many records they are of; `None` where that cannot be read.
        is_readable: Its ledger can be read, and so the job exported.
    """

    originals: Path | None
    records: int | None
    is_readable: bool

    @property
    def archive(self) -> str:
        """The originals as the source of a move, for a shell."""
        return _archive(self.originals) if self.originals else ""


def holdings(job: str, *, state_dir: str | Path | None = None) -> Holdings:
    """Return what a job holds, whatever state it is in.

    Raises:
        JobNotFoundError: There is no such job.
    """
    folder = StateFolder(state_dir_of(state_dir)).find(job)
    path = folder.residue_path if folder.residue_path.exists() else None
    try:
        return Holdings(path, inspect.counts(folder.ledger_path)[RESIDUE], True)
    except LedgerError:
        return Holdings(path, None, False)


def _status(last: str | None, *, is_running: bool) -> JobStatus:
    if is_running:
        return JobStatus.RUNNING
    return JobStatus(last) if last else JobStatus.INTERRUPTED


def _summary(folder: JobFolder) -> JobSummary:
    """Describe a job; one that is damaged, or was stopped before it began, must not hide the others."""
    try:
        plan = kept_plan(folder).plan
        now = status(folder.job, state_dir=folder.path.parent.parent)
    except (LedgerError, OSError):
        return _damaged(folder)
    return JobSummary(
        job=folder.job,
        source=plan.source.connection,
        target=plan.target.connection,
        status=now.status,
        listed=now.counts.listed,
        stored=now.counts.stored + now.counts.present,
        created_at=plan.created_at,
        running=now.status is JobStatus.RUNNING,
    )


def _damaged(folder: JobFolder) -> JobSummary:
    """Describe a job without a ledger by what `plan.json` says, where that can be read."""
    is_running = folder.is_running()
    rest = JobStatus.FAILED if folder.exists() else JobStatus.INTERRUPTED
    try:
        plan = JobPlan.read(folder.plan_path.read_bytes(), folder.job)
    except (LedgerError, OSError):
        plan = None
    return JobSummary(
        job=folder.job,
        source=plan.source.connection if plan else "?",
        target=plan.target.connection if plan else "?",
        status=JobStatus.RUNNING if is_running else rest,
        listed=0,
        stored=0,
        created_at=plan.created_at if plan else "",
        running=is_running,
    )
