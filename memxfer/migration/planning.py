"""`plan`: everything a move would do, without doing it; and whether a plan still holds."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from memxfer.config import Config, state_dir_of
from memxfer.errors import ConfigError, DecisionRequiredError
from memxfer.gaps import Verdict, check_consent, parse_accepted
from memxfer.migration.assess import Assessment, assess, read_identity
from memxfer.migration.endpoints import OpenEnd, open_pair
from memxfer.migration.observer import Observer, SilentObserver
from memxfer.migration.options import Endpoint, Options, StopSignal
from memxfer.models import format_time
from memxfer.plan import JobPlan, PlanEnd
from memxfer.spi import Selection, SystemClock

__all__ = ["check_agreed", "check_holds", "check_room", "draw", "free_bytes", "plan", "read_plan"]

_NO_LOSS = (Verdict.KEPT, Verdict.LEFT_OUT)
_MARGIN = 64_000_000
"""Bytes that a disk keeps free beside a residue, for the job's ledger."""


async def plan(
    source: Endpoint,
    target: Endpoint,
    *,
    config: Config | None = None,
    state_dir: str | Path | None = None,
    options: Options | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> JobPlan:
    """Read everything and write nothing: say what a move would do, lose and take.

    The counts of its forecast are those of a run over the same records into an empty target that
    refuses none of them.

    Args:
        source: Where the records are.
        target: Where they would go.
        config: Where connections are named; default: the file of `load_config()`.
        state_dir: Where what was learned about the connections is kept.
        options: Selection, consent and residue of the move; all records are read, whatever `scan` says.
        observer: Takes progress.
        stop: Asks to end early.

    Returns:
        The plan, with its gap report and forecast. It may lack consent or decisions: `check_agreed`.

    Raises:
        ConfigError, ProviderError: An end cannot be opened or read.
        InterruptedRunError: `stop` was asked.
    """
    options = options or Options()
    observer = observer or SilentObserver()
    parse_accepted(options.accept_loss)
    Selection.parse(options.where)
    async with open_pair(
        source,
        target,
        config=config,
        state_dir=state_dir,
        observer=observer,
        wait_ready=options.wait_ready,
    ) as (read, write):
        found = await assess(read, write, options=options, observer=observer, stop=stop)
        return draw(read, write, options=options, found=found)


def draw(
    source: OpenEnd, target: OpenEnd, *, options: Options, found: Assessment | None = None, job: str = ""
) -> JobPlan:
    """Write down what a move between two open connections is.

    Args:
        source: Where the records are.
        target: Where they go.
        options: Selection, consent and residue.
        found: What a look at the records showed, where there was one.
        job: The job's id, once there is one.
    """
    lines = found.report.dimensions if found else ()
    people = read_identity(target.provider)
    return JobPlan(
        job=job,
        created_at=format_time(SystemClock().now()),
        source=PlanEnd.of(source.name, source.provider.store()),
        target=PlanEnd.of(target.name, target.provider.store()),
        where=str(Selection.parse(options.where)),
        document_id=target.provider.config.document_id,
        identity=people.digest if people else None,
        decisions=target.provider.config.decisions(),
        sample=options.sample,
        accepted=options.accept_loss,
        residue=options.residue,
        losses=tuple(line for line in lines if line.records and line.verdict not in _NO_LOSS),
        report=found.report if found else None,
        forecast=found.forecast if found else None,
    )


def read_plan(file: str | Path) -> JobPlan:
    """Read a plan file.

    Raises:
        ConfigError: There is none, or it is damaged, edited, or of another version.
    """
    try:
        return JobPlan.from_file(Path(file).read_bytes(), str(file))
    except OSError as error:
        raise ConfigError(f"the plan {file} cannot be read: {error.strerror}") from error


def check_agreed(agreed: JobPlan) -> None:
    """Make sure that every decision of a plan is taken and every loss accepted.

    Raises:
        ConfigError: The plan has no gap report.
        DecisionRequiredError: Something is missing; the remedies name the flag or the line, and `plan` is
            this plan.
    """
    if agreed.report is None:
        raise ConfigError(
            "the plan has no gap report, so nobody can agree to it; make it anew with `memxfer plan`"
        )
    keeps = agreed.residue != "off"
    try:
        check_consent(agreed.report, parse_accepted(agreed.accepted), keeps_originals=keeps)
    except DecisionRequiredError as error:
        error.plan = agreed
        raise


def check_holds(agreed: JobPlan, now: JobPlan, *, accepted: Sequence[str] = ()) -> None:
    """Make sure that a plan is about the move that the open connections would make.

    Args:
        agreed: The plan.
        now: The same, drawn from the open connections.
        accepted: Settings that a job goes on under although they have changed.

    Raises:
        FingerprintMismatchError: Another store, selection, key template or identity file.
        ConfigError: A word of `accepted` is no setting that decides.
        DecisionRequiredError: The target's connection decides otherwise than when the plan was made.
    """
    agreed.anywhere().check_same(now)
    was, is_now = _compared(agreed), _compared(now)
    names = sorted(was.keys() | is_now.keys())
    changed = [name for name in names if was.get(name) != is_now.get(name)]
    unknown = [name for name in accepted if name not in names]
    if unknown:
        known = f"; it says {', '.join(names)}" if names else ""
        raise ConfigError(
            f"--accept-decision: connection {now.target.connection} has no decision {unknown[0]!r}{known}"
        )
    missing = [name for name in changed if name not in accepted]
    if missing:
        text = ", ".join(
            f"{name} was {was.get(name, 'unset')} and is {is_now.get(name, 'unset')}" for name in missing
        )
        raise DecisionRequiredError(
            f"connection {now.target.connection} decides otherwise than was agreed: {text}",
            remedies=_ways_on(agreed, now, missing),
        )


def _compared(plan: JobPlan) -> dict[str, str]:
    """Return the decisions that only their settings tell: who becomes whom is in the fingerprint."""
    return {name: value for name, value in plan.decisions.items() if name != "identity"}


def _ways_on(agreed: JobPlan, now: JobPlan, missing: Sequence[str]) -> tuple[str, ...]:
    restore = f"restore the settings of [connections.{now.target.connection}]"
    if agreed.job:
        return (f"memxfer resume {agreed.job} --accept-decision {','.join(missing)}", restore)
    return ("make the plan anew with `memxfer plan`", restore)


def free_bytes(state_dir: str | Path | None = None) -> int:
    """Return how many bytes are free where the jobs are, or will be."""
    folder = state_dir_of(state_dir)
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_room(agreed: JobPlan, state_dir: str | Path) -> None:
    """Make sure that a job's ledger and the originals it keeps have room.

    Raises:
        ConfigError: They have not; the message adds up what is needed.
    """
    originals = agreed.forecast.originals_bytes if agreed.forecast else 0
    free = free_bytes(state_dir)
    needed = originals + _MARGIN
    if needed > free:
        kept = (
            f"{originals:,} bytes of originals that {agreed.target.connection} cannot hold, and "
            if originals
            else ""
        )
        raise ConfigError(
            f"the disk of {Path(state_dir).absolute()} is too full: this job needs {needed:,} bytes there "
            f"({kept}{_MARGIN:,} bytes of room for its ledger), and {free:,} bytes are free; "
            f"free {needed - free:,} bytes, or name a folder on another disk with --state-dir"
        )
