"""`migrate` and `resume`: move records, keep the place, and say how it went."""

from __future__ import annotations

import asyncio
import logging
import secrets
import traceback
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from memxfer.config import Config, state_dir_of
from memxfer.engine.control import RunControl, StopCause
from memxfer.engine.engine import Engine
from memxfer.engine.pipeline import Pipeline
from memxfer.engine.residue import Residue
from memxfer.engine.settings import EngineSettings
from memxfer.errors import ConfigError, JobExistsError, JobLockedError, LedgerError
from memxfer.gaps import Agreement, parse_accepted
from memxfer.ids import job_id
from memxfer.ledger import Change, FirstPlan, JobFolder, Ledger, StateFolder
from memxfer.ledger.states import RESIDUE_LINES
from memxfer.migration.assess import assess, build_pipeline, end_of
from memxfer.migration.endpoints import OpenEnd, open_pair
from memxfer.migration.kept import kept_plan
from memxfer.migration.meter import Meter
from memxfer.migration.observer import Observer, Progress, SilentObserver
from memxfer.migration.options import Endpoint, Options, StopSignal
from memxfer.migration.outcome import MISSING, lines_to_text, outcome
from memxfer.migration.planning import check_agreed, check_holds, check_room, draw
from memxfer.migration.residue import chosen_originals, finish_residue, residue_of
from memxfer.migration.results import JobResult, JobStatus
from memxfer.plan import JobPlan, PlanEnd
from memxfer.spi import Selection, SystemClock

__all__ = ["migrate", "resume"]

_log = logging.getLogger("memxfer")


async def migrate(
    source: Endpoint | None = None,
    target: Endpoint | None = None,
    *,
    plan: JobPlan | None = None,
    config: Config | None = None,
    state_dir: str | Path | None = None,
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
        state_dir: Folder of the jobs; default: see `memxfer.config.state_dir_of`.
        job: Name of the new job; default: made from the connections and the time.
        options: Tuning and consent; what a plan says of selection, sample and residue goes first.
        observer: Takes progress and notices.
        stop: Asks the run to stop and keep its place.

    Returns:
        How the job stands; look at `status`, success is never assumed.

    Raises:
        JobExistsError, JobLockedError: A job of that name is there, or is being started.
        ConfigError, ProviderError: Before anything was written.
        DecisionRequiredError: Something would be lost that nobody agreed to lose.
        FingerprintMismatchError: The plan is about another move.
        LedgerError: The state folder cannot be used.
    """
    options = _agreed_options(plan, options or Options())
    observer = observer or SilentObserver()
    source, target = source or _end_of(plan, "source"), target or _end_of(plan, "target")
    _check_words(options)
    state_dir = state_dir_of(state_dir, config=config)
    with ExitStack() as held:
        # Taken before the source is read: who comes second is told at once.
        name, folder = _claimed(StateFolder(state_dir), job, (source, target), options, held)
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
                now = draw(read, write, options=options)
                check_holds(plan, now)
                plan = plan.placed_as(now).with_consent(options.accept_loss)
            check_agreed(plan)
            check_room(plan, state_dir)
            plan = plan.model_copy(update={"job": name})
            if folder is None:
                return JobResult(
                    job=name,
                    status=JobStatus.COMPLETED,
                    ignored=plan.report.ignored if plan.report else {},
                    losses=plan.losses,
                    message=_DRY_RUN,
                )
            folder.begin(_first(plan), plan.model_dump_json(indent=2))
            return await _run(folder, plan, read, write, options=options, observer=observer, stop=stop)


def _check_words(options: Options) -> None:
    """Refuse what is wrong with the words of a call before anything is opened."""
    parse_accepted(options.accept_loss)
    Selection.parse(options.where)


def _claimed(
    folders: StateFolder,
    job: str | None,
    ends: tuple[Endpoint, Endpoint],
    options: Options,
    held: ExitStack,
) -> tuple[str, JobFolder | None]:
    """Return the new job's name, and its folder, claimed until `held` closes; a rehearsal has none."""
    for _ in range(_MOST_NAMES):
        name = job or _new_name(*ends)
        try:
            if options.dry_run:
                folders.check_free(name)
                return name, None
            return name, held.enter_context(folders.claim(name))
        except (JobExistsError, JobLockedError):
            if job is not None:
                raise
    raise LedgerError("no free name for the job was found; name it with --job")


def _new_name(source: Endpoint, target: Endpoint) -> str:
    names = [end if isinstance(end, str) else end.name for end in (source, target)]
    return job_id(*names, at=SystemClock().now(), token=lambda: secrets.token_hex(2))


def _first(plan: JobPlan) -> FirstPlan:
    return FirstPlan(plan.job, plan.fingerprint(), plan.model_dump_json(), SystemClock().now())


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
    state_dir: str | Path | None = None,
    source: Endpoint | None = None,
    target: Endpoint | None = None,
    everything: bool = False,
    moved: bool = False,
    options: Options | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> JobResult:
    """Go on with a job where its ledger says it stopped; a finished job is left as it is.

    Args:
        job: The job's id.
        config: Where connections are named; default: the file of `load_config()`.
        state_dir: Folder of the jobs; default: see `memxfer.config.state_dir_of`.
        source: Another way to reach the same source; default: the connection the job was begun with.
        target: Another way to reach the same target.
        everything: A job that was begun with a sample moves the rest too, under the same ledger.
        moved: The stores of this job were moved to where the connections lead now: go on with them there.
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
    state_dir = state_dir_of(state_dir, config=config)
    folder = StateFolder(state_dir).open(job)
    with folder.lock():
        folder.check_room()
        plan = _kept(folder, observer)
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
            now = draw(read, write, options=options, job=job)
            (plan.anywhere() if moved else plan).check_same(now)
            agreed = _agreed_again(plan, now, asked)
            if (agreed.source.place, agreed.target.place) != (now.source.place, now.target.place):
                agreed = agreed.placed_as(now)
            if agreed != plan:
                folder.write_plan(agreed.model_dump_json(indent=2))
            return await _run(folder, agreed, read, write, options=options, observer=observer, stop=stop)


def _kept(folder: JobFolder, observer: Observer) -> JobPlan:
    """Return the job's plan; `plan.json` is written anew where it was lost."""
    kept = kept_plan(folder)
    if kept.trouble:
        folder.write_plan(kept.plan.model_dump_json(indent=2))
        observer.notice("warning", f"{kept.trouble}; it was written anew from the ledger's copy of the plan")
    return kept.plan


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
_MOST_NAMES = 20


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
        async with Meter(observer, lambda: _progress(engine, target.name)).running():
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


def _progress(engine: Engine, target: str) -> Progress:
    return Progress(**asdict(engine.snapshot()), target=target)


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
