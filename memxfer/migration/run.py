"""`migrate` and `resume`: move records, keep the place, and say how it went."""

from __future__ import annotations

import asyncio
import logging
import secrets
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Literal

from memxfer.config import Config
from memxfer.engine.control import RunControl, StopCause
from memxfer.engine.engine import Engine
from memxfer.engine.pipeline import Pipeline
from memxfer.engine.residue import Residue
from memxfer.engine.settings import EngineSettings
from memxfer.errors import ConfigError
from memxfer.gaps import Agreement, parse_accepted
from memxfer.ids import job_id
from memxfer.ledger import Change, JobFolder, Ledger, StateFolder
from memxfer.ledger.states import RESIDUE_LINES
from memxfer.migration.assess import assess, build_pipeline, end_of
from memxfer.migration.endpoints import OpenEnd, open_pair
from memxfer.migration.meter import Meter
from memxfer.migration.observer import Observer, Progress, SilentObserver
from memxfer.migration.options import DEFAULT_STATE_DIR, Endpoint, Options, StopSignal
from memxfer.migration.outcome import MISSING, lines_to_text, outcome
from memxfer.migration.planning import check_agreed, check_holds, check_room, draw
from memxfer.migration.residue import chosen_originals, finish_residue, residue_of
from memxfer.migration.results import JobResult, JobStatus
from memxfer.plan import JobPlan, PlanEnd
from memxfer.spi import Selection, SystemClock

__all__ = ["DEFAULT_STATE_DIR", "migrate", "resume"]

_log = logging.getLogger("memxfer")


async def migrate(
    source: Endpoint | None = None,
    target: Endpoint | None = None,
    *,
    plan: JobPlan | None = None,
    config: Config | None = None,
    state_dir: str | Path = DEFAULT_STATE_DIR,
    job: str | None = None,
    options: Options | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> JobResult:
    """Move the records of one backend to another.

    The source is read once to count what would be lost, unless a plan has done so; nothing is written
    unless that was agreed to. A move that stops early keeps its place: `resume` it.

    Args:
        source: Where the records are; default: the plan's connection.
        target: Where they go; default: the plan's connection.
        plan: What `plan` returned, to be carried out as it is; more losses may be accepted.
        config: Where connections are named; default: the file of `load_config()`.
        state_dir: Folder of the jobs.
        job: Name of the new job; default: made from the connections and the time.
        options: Tuning and consent; what a plan says of selection, sample and residue goes first.
        observer: Takes progress and notices.
        stop: Asks the run to stop and keep its place.

    Returns:
        How the job stands; look at `status`, success is never assumed.

    Raises:
        ConfigError, ProviderError: Before anything was written.
        DecisionRequiredError: Something would be lost that nobody agreed to lose.
        FingerprintMismatchError: The plan is about another move.
        LedgerError: The state folder cannot be used.
    """
    options = _agreed_options(plan, options or Options())
    observer = observer or SilentObserver()
    source, target = source or _end_of(plan, "source"), target or _end_of(plan, "target")
    folders = StateFolder(state_dir)
    _check_words(options, folders, job)
    async with open_pair(
        source,
        target,
        config=config,
        state_dir=state_dir,
        observer=observer,
        wait_ready=options.wait_ready,
    ) as (read, write):
        if plan is None:
            found = await assess(read, write, options=options, observer=observer, stop=stop)
            plan = draw(read, write, options=options, found=found)
        else:
            check_holds(plan, draw(read, write, options=options))
            plan = plan.with_consent(options.accept_loss)
        check_agreed(plan)
        check_room(plan, state_dir)
        plan = plan.model_copy(update={"job": job or _new_name(read, write)})
        return await _start(folders, plan, read, write, options=options, observer=observer, stop=stop)


async def _start(
    folders: StateFolder,
    plan: JobPlan,
    source: OpenEnd,
    target: OpenEnd,
    *,
    options: Options,
    observer: Observer,
    stop: StopSignal | None,
) -> JobResult:
    """Make the job's folder and run it, unless this is a rehearsal."""
    if options.dry_run:
        return JobResult(job=plan.job, status=JobStatus.COMPLETED, losses=plan.losses, message=_DRY_RUN)
    folder = folders.create(plan.job)
    with folder.lock():
        folder.write_plan(plan.model_dump_json(indent=2))
        return await _run(folder, plan, source, target, options=options, observer=observer, stop=stop)


def _check_words(options: Options, folders: StateFolder, job: str | None) -> None:
    """Refuse what is wrong with the words of a call before anything is opened."""
    parse_accepted(options.accept_loss)
    Selection.parse(options.where)
    if job is not None and folders.has(job):
        raise ConfigError(f"job {job!r} is there already; `memxfer resume {job}` goes on with it")


def _new_name(source: OpenEnd, target: OpenEnd) -> str:
    return job_id(source.name, target.name, at=SystemClock().now(), token=lambda: secrets.token_hex(2))


def _agreed_options(plan: JobPlan | None, options: Options) -> Options:
    """Return the options under which a plan is carried out: what it says of the move, the rest as asked."""
    if plan is None:
        return options
    return replace(
        options,
        where=plan.where or None,
        sample=plan.sample,
        residue=plan.residue,
    )


def _end_of(plan: JobPlan | None, side: Literal["source", "target"]) -> Endpoint:
    if plan is None:
        raise ConfigError(f"no {side} is named; name two connections, or a plan")
    end: PlanEnd = getattr(plan, side)
    return end.connection


async def resume(
    job: str,
    *,
    config: Config | None = None,
    state_dir: str | Path = DEFAULT_STATE_DIR,
    source: Endpoint | None = None,
    target: Endpoint | None = None,
    everything: bool = False,
    options: Options | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> JobResult:
    """Go on with a job where its ledger says it stopped; a finished job is left as it is.

    Args:
        job: The job's id.
        config: Where connections are named; default: the file of `load_config()`.
        state_dir: Folder of the jobs.
        source: Another way to reach the same source; default: the connection the job was begun with.
        target: Another way to reach the same target.
        everything: A job that was begun with a sample moves the rest too, under the same ledger.
        options: Tuning, and consent on top of what was agreed when the job began: `accept_loss` for losses
            met since, `accept_decisions` for settings of the target's connection that have changed. Both
            stay with the job. What is moved stays as it was.
        observer: Takes progress and notices.
        stop: Asks the run to stop and keep its place.

    Raises:
        JobNotFoundError, JobLockedError: As named.
        FingerprintMismatchError: The connections lead to another move than the job's.
        DecisionRequiredError: The target's connection decides otherwise than was agreed.
        ConfigError, ProviderError: An end cannot be opened, or a word of the consent is unknown.
    """
    observer = observer or SilentObserver()
    folder = StateFolder(state_dir).open(job)
    folder.check_room()
    plan = JobPlan.read(folder.plan_path.read_bytes(), job)
    with folder.lock():
        if everything and plan.sample is not None:
            plan = plan.model_copy(update={"sample": None})
            folder.write_plan(plan.model_dump_json(indent=2))
        asked = options or Options()
        options = replace(asked, where=plan.where or None, sample=plan.sample, residue=plan.residue)
        async with open_pair(
            source or plan.source.connection,
            target or plan.target.connection,
            config=config,
            state_dir=state_dir,
            observer=observer,
            wait_ready=options.wait_ready,
        ) as (read, write):
            plan = _agreed_again(plan, draw(read, write, options=options, job=job), asked)
            folder.write_plan(plan.model_dump_json(indent=2))
            return await _run(folder, plan, read, write, options=options, observer=observer, stop=stop)


def _agreed_again(plan: JobPlan, now: JobPlan, asked: Options) -> JobPlan:
    """Return a job's plan with what was agreed to since; the job goes on under no other decisions.

    Raises:
        ConfigError: A word of the consent is unknown.
        FingerprintMismatchError: The connections lead to another move.
        DecisionRequiredError: The target's connection decides otherwise than was agreed.
    """
    parse_accepted(asked.accept_loss)
    check_holds(plan, now, accepted=asked.accept_decisions)
    changed = {name: now.decisions.get(name) for name in asked.accept_decisions}
    decisions = {**plan.decisions, **changed}
    return plan.with_consent(asked.accept_loss).model_copy(
        update={"decisions": {name: value for name, value in decisions.items() if value is not None}}
    )


_DRY_RUN = "nothing was written: a dry run"


async def _run(
    folder: JobFolder,
    plan: JobPlan,
    source: OpenEnd,
    target: OpenEnd,
    *,
    options: Options,
    observer: Observer,
    stop: StopSignal | None,
) -> JobResult:
    clock = target.provider.clock
    control = RunControl(clock)
    if stop is not None:
        stop.on_request(lambda: control.stop(StopCause.INTERRUPTED, "stopped as asked; the place is kept"))
    originals = residue_of(folder, plan, source)
    ledger = Ledger(folder.ledger_path, residue=originals)
    try:
        if originals is not None:
            await asyncio.to_thread(originals.open, lines=ledger.counts()[RESIDUE_LINES])
        run = await _begin(ledger, folder, plan)
        await target.provider.begin(source.provider.store())
        chosen = chosen_originals(originals, plan, source, target)
        agreement = _agreement(plan, source, target)
        pipeline = build_pipeline(source, target, options.where, agreement=agreement)
        engine = _engine(
            ledger, source, target, pipeline=pipeline, options=options, control=control, residue=chosen
        )
        began = clock.monotonic()
        async with Meter(observer, lambda: _progress(engine)).running():
            await engine.run()
        seconds = clock.monotonic() - began
        _log_bug(folder, control)
        await finish_residue(originals, control)
        if agreement.is_exceeded:
            await _note_missing(ledger, agreement)
        result = outcome(
            plan,
            ledger,
            engine,
            control,
            seconds=seconds,
            residue_path=str(folder.residue_path),
            may_be_empty=source.provider.config.allow_empty,
        )
        await _end(ledger, folder, run, result, finished=engine.finished)
    finally:
        ledger.close()
        if originals is not None:
            originals.close()
    return result


def _engine(
    ledger: Ledger,
    source: OpenEnd,
    target: OpenEnd,
    *,
    pipeline: Pipeline,
    options: Options,
    control: RunControl,
    residue: Residue | None,
) -> Engine:
    settings = EngineSettings(
        listers=_lanes(options.listers, source),
        writers=_lanes(options.writers, target),
        buffer_bytes=options.buffer_bytes,
        sample=options.sample,
        on_uncertain=options.on_uncertain,
        settle=options.settle,
    )
    return Engine(
        source.provider,
        ledger=ledger,
        pipeline=pipeline,
        settings=settings,
        control=control,
        clock=target.provider.clock,
        residue=residue,
    )


def _agreement(plan: JobPlan, source: OpenEnd, target: OpenEnd) -> Agreement:
    """Return what the job may lose, held against what the target is now."""
    return Agreement(
        end_of(source),
        end_of(target),
        accepted=parse_accepted(plan.accepted),
        keeps_originals=plan.residue != "off",
        now=target.provider.clock.now(),
    )


def _lanes(wanted: int, end: OpenEnd) -> int:
    """Return how many calls may be under way at once: no more than the backend stands."""
    most = end.provider.capabilities().limits.concurrency
    return min(wanted, most) if most else wanted


def _progress(engine: Engine) -> Progress:
    now = engine.snapshot()
    return Progress(now.phase, now.done, now.total, failed=now.failed, waiting=now.waiting)


async def _begin(ledger: Ledger, folder: JobFolder, plan: JobPlan) -> int:
    now = SystemClock().now()
    change = Change()
    if ledger.meta("job") is None:
        ledger.set_meta(change, "job", plan.job)
    text = plan.model_dump_json()
    if ledger.last_plan() != text:
        ledger.add_plan(change, plan.fingerprint(), text, at=now)
    run = ledger.start_run(change, at=now)
    await ledger.commit(change)
    folder.event("run_started", at=now, run=run)
    return run


async def _note_missing(ledger: Ledger, agreement: Agreement) -> None:
    """Note what the job waits for, so that `status` can tell it."""
    change = Change()
    ledger.set_meta(change, MISSING, lines_to_text(agreement.beyond()))
    await ledger.commit(change)


async def _end(ledger: Ledger, folder: JobFolder, run: int, result: JobResult, *, finished: int) -> None:
    now = SystemClock().now()
    if result.cause == StopCause.LEDGER:
        return  # the ledger takes nothing more; a run without an end is told as interrupted
    change = Change()
    ledger.end_run(
        change,
        run,
        at=now,
        status=result.status,
        seconds=result.seconds,
        records=finished,
        cause=result.cause,
    )
    await ledger.commit(change)
    folder.event("run_ended", at=now, run=run, status=result.status.value, cause=result.cause)


def _log_bug(folder: JobFolder, control: RunControl) -> None:
    """Keep where an unforeseen error came from: file, line and function, never its text."""
    if control.cause is not StopCause.BUG or control.error is None:
        return
    frames = traceback.extract_tb(control.error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    folder.event("bug", at=SystemClock().now(), error=type(control.error).__name__, where=where)
    _log.error("unexpected %s at %s", type(control.error).__name__, " < ".join(reversed(where)))
