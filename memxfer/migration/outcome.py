"""How a job stands, from its ledger: never better than it is."""

from __future__ import annotations

from collections import Counter

from memxfer.capabilities import Dimension, DimensionGroup
from memxfer.engine.control import RunControl, StopCause
from memxfer.engine.engine import Engine
from memxfer.engine.settling import NO_MEMORIES
from memxfer.gaps.report import GapLine, Verdict
from memxfer.ledger import Ledger, State
from memxfer.ledger.states import DOCUMENTS, RESENT, RESIDUE
from memxfer.migration.results import Counts, JobResult, JobStatus
from memxfer.plan import JobPlan

__all__ = ["counts_of", "outcome", "resting_status"]

_PAUSING = (StopCause.AUTH, StopCause.QUOTA, StopCause.UNAVAILABLE, StopCause.FATAL)


def counts_of(counters: Counter[str], *, is_running: bool = False) -> Counts:
    """Return the counts of a ledger.

    Records that wait for the rest of their group are no more counted than those not listed yet.

    Args:
        counters: Of the ledger.
        is_running: A run is under way, and the answer to an intent may still come: it is in flight. Where
            nothing runs any more, nobody can tell whether it arrived: it is uncertain.
    """
    names: list[str] = [state.value for state in State if state.value in Counts.model_fields]
    states = {name: counters[name] for name in names}
    if is_running:
        states["in_flight"] = counters[State.INTENT]
    else:
        states["uncertain"] += counters[State.INTENT]
    return Counts(listed=sum(counters[state] for state in State if state is not State.WAITING), **states)


def resting_status(counts: Counts) -> JobStatus:
    """Return the status of a job that has come to its end by itself."""
    if counts.uncertain or counts.accepted:
        return JobStatus.INCOMPLETE
    if counts.failed or counts.rejected:
        return JobStatus.COMPLETED_WITH_FAILURES
    return JobStatus.COMPLETED


def outcome(
    plan: JobPlan,
    ledger: Ledger,
    engine: Engine,
    control: RunControl,
    *,
    seconds: float,
    residue_path: str = "",
) -> JobResult:
    """Return how a job stands after a run.

    Args:
        plan: What is moved.
        ledger: The job's, still open.
        engine: What ran.
        control: Whether and why it stopped early.
        seconds: How long it ran.
        residue_path: Where its originals are.
    """
    counters = ledger.counts()
    counts = counts_of(counters)
    status, message = _status(plan, counts, engine, control)
    return JobResult(
        job=plan.job,
        status=status,
        counts=counts,
        documents=counters[DOCUMENTS],
        resent=counters[RESENT],
        losses=(*plan.losses, *observed_losses(ledger.problems(NO_MEMORIES), plan.target.connection)),
        residue=counters[RESIDUE],
        residue_path=residue_path,
        seconds=round(seconds, 3),
        records_per_second=round(engine.finished / seconds, 1) if seconds else 0.0,
        message=message,
        cause=control.cause.value if control.cause else "",
    )


def _status(plan: JobPlan, counts: Counts, engine: Engine, control: RunControl) -> tuple[JobStatus, str]:
    again = f"`memxfer resume {plan.job}` goes on"
    if control.cause is StopCause.INTERRUPTED:
        return JobStatus.INTERRUPTED, f"{control.reason}; {again}"
    if control.cause in _PAUSING:
        return JobStatus.PAUSED, f"{control.reason}; {again}"
    if control.cause is StopCause.UNCERTAIN:
        return JobStatus.INCOMPLETE, control.reason
    if control.cause is not None:
        return JobStatus.FAILED, f"{control.reason}; {again}"
    if engine.aborted:
        name, reason = next(iter(engine.aborted.items()))
        return (
            JobStatus.INCOMPLETE,
            f"{len(engine.aborted)} partitions not read to their end ({name}: {reason})",
        )
    if engine.is_short:
        return JobStatus.INCOMPLETE, f"the source says it holds more rows than it listed; {again}"
    return resting_status(counts), _resting_message(counts, plan)


def _resting_message(counts: Counts, plan: JobPlan) -> str:
    job = plan.job
    if counts.accepted:
        waiting = f"{counts.accepted:,} documents are accepted and not yet stored"
        return f"{waiting}; `memxfer resume {job}` asks again"
    if counts.failed or counts.rejected or counts.uncertain:
        return f"`memxfer failures {job}` lists what did not arrive, and why"
    if plan.sample is not None:
        return f"a sample of {counts.listed:,} records; `memxfer resume {job} --all` moves the rest"
    return ""


def observed_losses(silent: int, target: str) -> tuple[GapLine, ...]:
    """Return what the target lost on its side: documents it processed into nothing."""
    if not silent:
        return ()
    line = GapLine(
        dimension=Dimension.CONTENT,
        group=DimensionGroup.CONTENT,
        source="native",
        target="lossy",
        verdict=Verdict.LOST,
        records=silent,
        consequence=f"{silent:,} documents were processed by {target}, and it kept no memory of them.",
    )
    return (line,)
