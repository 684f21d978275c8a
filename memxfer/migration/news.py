"""What a target tells by itself, by webhook, long after it accepted something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from memxfer.config import state_dir_of
from memxfer.errors import JobLockedError, LedgerError
from memxfer.ledger import Change, JobFolder, Ledger, Problem, State, StateFolder, inspect
from memxfer.ledger.names import EVENTS
from memxfer.models import sanitise_text
from memxfer.plan import JobPlan
from memxfer.spi import SystemClock

__all__ = ["note_failure", "note_warning", "warnings_of"]

_EVENT = "target_warning"


async def note_failure(ingestion_id: str, problem: str, *, state_dir: str | Path | None = None) -> str | None:
    """Note in its job that a target could not process what it had accepted.

    A job that runs asks the target itself about what it does not know to be stored, and is left alone.

    Args:
        ingestion_id: The target's handle of the document.
        problem: What the target says; stored redacted.
        state_dir: Folder of the jobs.

    Returns:
        The job that now counts its records as failed; `None` where no job had them as arrived.

    Raises:
        JobLockedError: A job that runs counts them as stored already; tell it again when the job has ended.
        LedgerError: A job's files cannot be written.
    """
    running: JobLockedError | None = None
    for folder in StateFolder(state_dir_of(state_dir)).jobs():
        if folder.ledger_path.exists():
            try:
                with folder.lock():
                    if await _fail(folder, ingestion_id, problem):
                        return folder.job
            except JobLockedError as error:
                if inspect.is_stored(folder.ledger_path, ingestion_id):
                    running = error
    if running is not None:
        raise running
    return None


async def _fail(folder: JobFolder, ingestion_id: str, problem: str) -> bool:
    from memxfer.transport import redact  # with an HTTP client behind it

    ledger = Ledger(folder.ledger_path)
    try:
        rows = ledger.read(
            "SELECT seq, state, target_ids FROM record WHERE ingestion_id = ? AND state IN (?, ?)",
            ingestion_id,
            State.ACCEPTED,
            State.STORED,
        )
        change = Change()
        told = Problem("told_later", f"the target could not process it: {redact(problem)}")
        for seq, state, target_ids in rows:
            ledger.settle(
                change,
                seq,
                State(state),
                State.FAILED,
                at=SystemClock().now(),
                ingestion_id=ingestion_id,
                target_ids=json.loads(target_ids) if target_ids else (),
                problem=told,
            )
        await ledger.commit(change)
    finally:
        ledger.close()
    return bool(rows)


def note_warning(text: str, *, provider: str, state_dir: str | Path | None = None) -> list[str]:
    """Note what a target warns of in every job that is running into it; `status` shows it.

    Args:
        text: One sentence: a credential expires, a retention period ends.
        provider: Name of the target's provider.
        state_dir: Folder of the jobs.

    Returns:
        The jobs it was noted in.
    """
    found = []
    for folder in StateFolder(state_dir_of(state_dir)).jobs():
        if folder.is_running() and _goes_to(folder, provider):
            folder.event(_EVENT, at=SystemClock().now(), text=sanitise_text(text)[0])
            found.append(folder.job)
    return found


def _goes_to(folder: JobFolder, provider: str) -> bool:
    try:
        return JobPlan.read(folder.plan_path.read_bytes(), folder.job).target.provider == provider
    except (LedgerError, OSError):
        return False


def warnings_of(folder: JobFolder) -> list[str]:
    """Return what the target warned of in the last run, oldest first."""
    warnings: list[str] = []
    for event in _events(folder.path / EVENTS):
        if event.get("event") == "run_started":
            warnings.clear()
        elif event.get("event") == _EVENT:
            warnings.append(str(event.get("text")))
    return warnings


def _events(path: Path) -> Iterator[dict[str, object]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                found = json.loads(line)
            except ValueError:  # a line that was cut off
                continue
            if isinstance(found, dict):
                yield found
