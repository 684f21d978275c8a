"""How a job stands, from its ledger: never better than it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import TypeAdapter

from memxfer.capabilities import Dimension, DimensionGroup
from memxfer.engine.control import RunControl, StopCause
from memxfer.engine.engine import Engine
from memxfer.engine.settling import NO_MEMORIES
from memxfer.gaps import Concern, GapLine, Verdict, ignored_line, ignored_words, name_of, recounted, words_for
from memxfer.ledger import Ledger, State
from memxfer.ledger.ignored import IgnoredRows, ignored_rows
from memxfer.ledger.states import DOCUMENTS, FILTERED, IGNORED_AS, LOSS, RESENT, RESIDUE
from memxfer.migration.assess import no_hits
from memxfer.migration.results import Counts, JobResult, JobStatus
from memxfer.plan import JobPlan

__all__ = [
    "MISSING",
    "counts_of",
    "ignored_losses",
    "lines_of_text",
    "lines_to_text",
    "missing_message",
    "observed_losses",
    "outcome",
    "resting_status",
    "rows_of",
    "tallied",
]

MISSING = "missing_consent"
"""Name of the ledger's note of what the last run was stopped for."""

_LINES = TypeAdapter(tuple[GapLine, ...])
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
    may_be_empty: bool = False,
) -> JobResult:
    """Return how a job stands after a run.

    Args:
        plan: What is moved.
        ledger: The job's, still open.
        engine: What ran.
        control: Whether and why it stopped early.
        seconds: How long it ran.
        residue_path: Where its originals are.
        may_be_empty: The source's connection says that there may be nothing to move.
    """
    counters = ledger.counts()
    counts = counts_of(counters)
    silent = ledger.problems(NO_MEMORIES)
    ignored = ignored_rows(counters, ledger.notes(IGNORED_AS))
    missing = lines_of_text(ledger.meta(MISSING)) if control.cause is StopCause.DECISION else ()
    status, message = _status(plan, counters, engine, control, missing=missing)
    if status is JobStatus.COMPLETED_WITH_FAILURES and 0 < silent == counts.listed - counts.skipped:
        message = f"{plan.target.connection} kept no memory of any of the {silent:,} records; {message}"
    if status is JobStatus.COMPLETED and not counts.listed and not may_be_empty:
        status, message = JobStatus.INCOMPLETE, _nothing(plan, rows_of(ignored))
    return JobResult(
        job=plan.job,
        status=status,
        counts=counts,
        ignored=rows_of(ignored),
        documents=counters[DOCUMENTS],
        resent=counters[RESENT],
        losses=(
            *tallied(plan, counters, ledger.notes(LOSS)),
            *ignored_losses(ignored, plan.source.connection),
            *missing,
            *observed_losses(silent, plan.target.connection),
        ),
        residue=counters[RESIDUE],
        residue_path=residue_path,
        seconds=round(seconds, 3),
        records_per_second=round(engine.finished / seconds, 1) if seconds else 0.0,
        message=message,
        filtered=counters[FILTERED],
        cause=control.cause.value if control.cause else "",
    )


def _status(
    plan: JobPlan,
    counters: Counter[str],
    engine: Engine,
    control: RunControl,
    *,
    missing: Sequence[GapLine],
) -> tuple[JobStatus, str]:
    again = f"`memxfer resume {plan.job}` goes on"
    if control.cause is StopCause.INTERRUPTED:
        return JobStatus.INTERRUPTED, f"{control.reason}; {again}"
    if control.cause in _PAUSING:
        return JobStatus.PAUSED, f"{control.reason}; {again}"
    if control.cause is StopCause.CONFIG:
        return JobStatus.PAUSED, f"{control.reason}. Fix that first; then {again}"
    if control.cause is StopCause.DECISION:
        return JobStatus.PAUSED, missing_message(plan, missing)
    if control.cause is StopCause.UNCERTAIN:
        return JobStatus.INCOMPLETE, control.reason
    if control.cause is not None:
        return JobStatus.FAILED, f"{control.reason}; {again}"
    unfinished = _unfinished(plan, counters, engine)
    if unfinished:
        return JobStatus.INCOMPLETE, unfinished
    counts = counts_of(counters)
    status, message = resting_status(counts), _resting_message(counts, plan)
    if engine.vanished and plan.sample is None:
        if status is JobStatus.COMPLETED:
            status = JobStatus.COMPLETED_WITH_FAILURES
        message = "; ".join(part for part in (_vanished(engine.vanished, plan), message) if part)
    return status, message


def _unfinished(plan: JobPlan, counters: Counter[str], engine: Engine) -> str:
    """Return what a run left undone that came to its end, and what to do about it; empty: nothing.

    The last word on whether a job is complete: whatever led to it, a job does not end well with records
    that have no final state, or with partitions that are not known to be listed completely.
    """
    again = f"`memxfer resume {plan.job}`"
    if engine.aborted:
        name, reason = next(iter(engine.aborted.items()))
        return (
            f"{_partitions(len(engine.aborted))} not read to the end ({name}: {reason}); {again} tries again"
        )
    names = engine.unfinished() if plan.sample is None else []
    if names:
        return (
            f"in {_partitions(len(names))} ({names[0]}) records still turned up that an earlier reading had "
            f"missed, so more may be missing; {again} reads again, best while nothing writes to the source"
        )
    if engine.shortage is not None:
        counted, listed = engine.shortage.counted, engine.shortage.listed
        return (
            f"the source counts {counted:,} rows and has listed {listed:,}, although it was read twice: it "
            f"hides {counted - listed:,} from its listing, or they came and went meanwhile. Look for them in "
            f"the source; {again} reads it again once its count has changed"
        )
    still = [
        f"{counters[state]:,} records {what}" for state, what in _NOT_FINAL.items() if counters[state] > 0
    ]
    return f"{' and '.join(still)}; {again} goes on with them" if still else ""


_NOT_FINAL = {
    State.INTENT: "may have been sent and have no answer",
    State.WAITING: "wait for their group to be sent",
}


def _vanished(names: Sequence[str], plan: JobPlan) -> str:
    return (
        f"{_partitions(len(names))} disappeared from the source before all was read ({names[0]}): what was "
        "not listed there is not moved. Look whether it was deleted; should it come back, "
        f"`memxfer resume {plan.job}` reads the rest"
    )


def _partitions(count: int) -> str:
    return "1 partition" if count == 1 else f"{count:,} partitions"


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


def _nothing(plan: JobPlan, ignored: Mapping[str, int]) -> str:
    if plan.where:
        return no_hits(plan.source.connection, plan.where, ignored=ignored)
    rows = f", and rows that are none: {ignored_words(ignored)}" if ignored else ""
    return (
        f"connection {plan.source.connection} listed no memories{rows}; so nothing was moved. "
        "If that is right, set allow_empty = true on the connection"
    )


def rows_of(ignored: Mapping[str, IgnoredRows]) -> dict[str, int]:
    """Return how many rows were ignored, by reason."""
    return {reason: found.rows for reason, found in ignored.items()}


def ignored_losses(ignored: Mapping[str, IgnoredRows], source: str) -> tuple[GapLine, ...]:
    """Return the lines of rows that somebody had to agree to leave out."""
    return tuple(
        ignored_line(reason, found.rows, source=source, harmless=False, samples=found.samples)
        for reason, found in ignored.items()
        if not found.harmless
    )


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


def tallied(plan: JobPlan, counters: Counter[str], notes: Mapping[str, str]) -> tuple[GapLine, ...]:
    """Return what the plan says is lost of memories; where the move met more, as many as it met.

    Args:
        plan: What was agreed to.
        counters: The ledger's.
        notes: The ledger's notes on losses, by the name of their counter.
    """
    met = {name: counters[name] for name in notes if counters[name] > 0}
    lines = []
    for line in plan.losses:
        if line.dimension == Concern.IGNORED:
            continue  # the ledger tells which rows: `ignored_losses`
        records = met.pop(LOSS + name_of(line), 0)
        lines.append(recounted(line, records) if records > line.records else line)
    new = (recounted(GapLine.model_validate_json(notes[name]), records) for name, records in met.items())
    return (*lines, *new)


def lines_to_text(lines: Sequence[GapLine]) -> str:
    """Return lines as the ledger keeps them."""
    return _LINES.dump_json(tuple(lines)).decode()


def lines_of_text(text: str | None) -> tuple[GapLine, ...]:
    """Return what `lines_to_text` wrote."""
    return _LINES.validate_json(text) if text else ()


def missing_message(plan: JobPlan, lines: Sequence[GapLine]) -> str:
    """Say why a job waits for consent or a decision, and how it goes on."""
    job = f"memxfer resume {plan.job}"
    told = " ".join(f"{line.dimension}: {line.consequence}" for line in lines)
    losses = [line for line in lines if not line.blocking]
    blocking = [line for line in lines if line.blocking]
    accept = f" --accept-loss {words_for(losses)}" if losses else ""
    if blocking:
        settings = " and ".join(dict.fromkeys(line.remedy for line in blocking))
        names = ",".join(dict.fromkeys(_setting(line) for line in blocking))
        way = (
            f"set {settings} in [connections.{plan.target.connection}], then "
            f"`{job} --accept-decision {names}{accept}` goes on"
        )
    else:
        way = f"`{job}{accept}` goes on"
    return (
        "stopped before sending memories that would lose what nobody agreed to lose, or need a decision. "
        f"{told} To agree: {way}"
    )


def _setting(line: GapLine) -> str:
    """Return the setting that the remedy of a missing decision names."""
    return line.remedy.partition(" ")[0]
