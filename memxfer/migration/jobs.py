"""Looking at jobs, and keeping them: status, failures, list, export, import, remove."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from memxfer.archive import is_archive_file, snapshot
from memxfer.engine.control import StopCause
from memxfer.engine.settling import NO_MEMORIES
from memxfer.errors import DecisionRequiredError, LedgerError
from memxfer.gaps import GapLine
from memxfer.ledger import JobFolder, StateFolder, inspect
from memxfer.ledger.states import DOCUMENTS, LOSS, RESENT, RESIDUE
from memxfer.migration.news import warnings_of
from memxfer.migration.outcome import (
    MISSING,
    counts_of,
    lines_of_text,
    missing_message,
    observed_losses,
    tallied,
)
from memxfer.migration.results import Failure, JobResult, JobStatus, JobSummary
from memxfer.migration.run import DEFAULT_STATE_DIR
from memxfer.plan import JobPlan

__all__ = ["export_job", "failures", "import_job", "list_jobs", "remove_job", "status"]


def status(job: str, *, state_dir: str | Path = DEFAULT_STATE_DIR) -> JobResult:
    """Return how a job stands; works while it runs.

    Raises:
        JobNotFoundError, LedgerError: There is no such job, or its files are damaged.
    """
    folder = StateFolder(state_dir).open(job)
    plan = _plan(folder)
    counters = inspect.counts(folder.ledger_path)
    runs = inspect.runs(folder.ledger_path)
    silent = inspect.problem_count(folder.ledger_path, NO_MEMORIES)
    missing = _missing(folder, runs.cause)
    warnings = [f"The target warns: {text}" for text in warnings_of(folder)]
    return JobResult(
        job=job,
        status=_status(folder, runs.status),
        counts=counts_of(counters),
        documents=counters[DOCUMENTS],
        resent=counters[RESENT],
        losses=(
            *tallied(plan, counters, inspect.notes(folder.ledger_path, LOSS)),
            *missing,
            *observed_losses(silent, plan.target.connection),
        ),
        residue=counters[RESIDUE],
        residue_path=str(folder.residue_path),
        seconds=round(runs.seconds, 3),
        records_per_second=round(runs.records / runs.seconds, 1) if runs.seconds else 0.0,
        cause=runs.cause,
        message=". ".join([*warnings, missing_message(plan, missing)] if missing else warnings),
    )


def failures(job: str, *, state_dir: str | Path = DEFAULT_STATE_DIR) -> Iterator[Failure]:
    """Give every record that did not arrive or arrived with a warning, in the order they were listed.

    Raises:
        JobNotFoundError, LedgerError: There is no such job, or its files are damaged.
    """
    folder = StateFolder(state_dir).open(job)
    return (
        Failure(
            id=row.id,
            key=row.key,
            state=row.state,
            code=row.code,
            reason=row.reason or "",
            correlation_id=row.correlation_id,
        )
        for row in inspect.problems(folder.ledger_path)
    )


def list_jobs(state_dir: str | Path = DEFAULT_STATE_DIR) -> list[JobSummary]:
    """Return all jobs of a state folder, by name; one whose files are damaged is listed as failed."""
    return [_summary(folder) for folder in StateFolder(state_dir).jobs()]


def export_job(job: str, file: str | Path, *, state_dir: str | Path = DEFAULT_STATE_DIR) -> None:
    """Write a job's plan, ledger, events and residue to one file; works while it runs, overwrites nothing.

    Raises:
        JobNotFoundError: There is no such job.
        ConfigError: The file is there already, or cannot be written.
    """
    StateFolder(state_dir).export(job, Path(file), residue=snapshot)


def import_job(file: str | Path, *, state_dir: str | Path = DEFAULT_STATE_DIR) -> str:
    """Take in what `export_job` wrote; return the job's id.

    Raises:
        ConfigError: Not an exported job, or the job is here already.
    """
    return StateFolder(state_dir).import_(Path(file), is_original=is_archive_file)


def remove_job(job: str, *, state_dir: str | Path = DEFAULT_STATE_DIR, with_residue: bool = False) -> None:
    """Forget a job: its ledger is deleted, source and target are not touched.

    Args:
        job: The job's id.
        state_dir: Folder of the jobs.
        with_residue: The job's residue, perhaps the only copy of what the target does not hold, goes too.

    Raises:
        JobNotFoundError, JobLockedError: There is no such job, or it is running.
        DecisionRequiredError: It has a residue, and `with_residue` does not say that it may go.
    """
    folders = StateFolder(state_dir)
    folder = folders.open(job)
    if folder.residue_path.exists() and not with_residue:
        raise DecisionRequiredError(
            f"job {job} has originals in {folder.residue_path}, perhaps the only copy of what its target "
            "does not hold",
            remedies=(
                f"keep them: memxfer migrate archive:{folder.residue_path} archive:./{job}-originals",
                f"keep all of the job: memxfer jobs export {job} {job}.tar.gz",
                f"let them go: memxfer jobs rm {job} --yes",
            ),
        )
    folders.remove(job)


def _missing(folder: JobFolder, cause: str) -> tuple[GapLine, ...]:
    """Return what the last run was stopped for, if that was a missing consent."""
    if cause != StopCause.DECISION:
        return ()
    return lines_of_text(inspect.notes(folder.ledger_path, MISSING).get(MISSING))


def _plan(folder: JobFolder) -> JobPlan:
    return JobPlan.read(folder.plan_path.read_bytes(), folder.job)


def _status(folder: JobFolder, last: str | None) -> JobStatus:
    if folder.is_running():
        return JobStatus.RUNNING
    return JobStatus(last) if last else JobStatus.INTERRUPTED


def _summary(folder: JobFolder) -> JobSummary:
    """Describe a job; one that is damaged, or died before it began, must not hide the others."""
    try:
        plan = _plan(folder)
    except LedgerError:
        return _unknown(folder)
    try:
        now = status(folder.job, state_dir=folder.path.parent.parent)
    except LedgerError:
        is_damaged = folder.ledger_path.exists()
        now = JobResult(job=folder.job, status=JobStatus.FAILED if is_damaged else _status(folder, None))
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


def _unknown(folder: JobFolder) -> JobSummary:
    return JobSummary(
        job=folder.job,
        source="?",
        target="?",
        status=JobStatus.FAILED,
        listed=0,
        stored=0,
        created_at="",
        running=False,
    )
