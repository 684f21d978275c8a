"""`migrate` and `resume`: move records, keep the place, and say how it went."""

from __future__ import annotations

import logging
import secrets
import traceback
from dataclasses import replace
from pathlib import Path

from memxfer.config import Config
from memxfer.engine.control import RunControl, StopCause
from memxfer.engine.engine import Engine
from memxfer.engine.settings import EngineSettings
from memxfer.errors import ConfigError
from memxfer.gaps import GapReport, Verdict, check_consent, parse_accepted
from memxfer.ids import job_id
from memxfer.ledger import Change, JobFolder, Ledger, StateFolder
from memxfer.migration.assess import assess, build_pipeline
from memxfer.migration.endpoints import OpenEnd, open_end
from memxfer.migration.meter import Meter
from memxfer.migration.observer import Observer, Progress, SilentObserver
from memxfer.migration.options import Endpoint, Options, StopSignal
from memxfer.migration.outcome import outcome
from memxfer.migration.results import JobResult, JobStatus
from memxfer.models import format_time
from memxfer.plan import JobPlan, PlanEnd
from memxfer.spi import Role, Selection, SystemClock

__all__ = ["DEFAULT_STATE_DIR", "migrate", "resume"]

DEFAULT_STATE_DIR = ".memxfer"

_log = logging.getLogger("memxfer")


async def migrate(
    source: Endpoint,
    target: Endpoint,
    *,
    config: Config | None = None,
    state_dir: str | Path = DEFAULT_STATE_DIR,
    job: str | None = None,
    options: Options | None = None,
    observer: Observer | None = None,
    stop: StopSignal | None = None,
) -> JobResult:
    """Move the records of one backend to another.

    The source is read once to count what would be lost; nothing is written unless that was agreed
    to. Then it is read again and moved. A move that stops early keeps its place: `resume` it.

    Args:
        source: Where the records are.
        target: Where they go.
        config: Where connections are named; default: the file of `load_config()`.
        state_dir: Folder of the jobs.
        job: Name of the new job; default: made from the connections and the time.
        options: Tuning and consent.
        observer: Takes progress and notices.
        stop: Asks the run to stop and keep its place.

    Returns:
        How the job stands; look at `status`, success is never assumed.

    Raises:
        ConfigError, ProviderError: Before anything was written.
        DecisionRequiredError: Something would be lost that nobody agreed to lose.
        LedgerError: The state folder cannot be used.
    """
    options = options or Options()
    observer = observer or SilentObserver()
    accepted = parse_accepted(options.accept_loss)
    Selection.parse(options.where)
    folders = StateFolder(state_dir)
    if job is not None and folders.has(job):
        raise ConfigError(f"job {job!r} is there already; `memxfer resume {job}` goes on with it")
    async with (
        open_end(source, Role.SOURCE, config=config, observer=observer) as read,
        open_end(
            target, Role.TARGET, config=config, observer=observer, wait_ready=options.wait_ready
        ) as write,
    ):
        assessment = await assess(read, write, options=options, observer=observer, stop=stop)
        check_consent(assessment.report, accepted)
        name = job or job_id(
            read.name, write.name, at=SystemClock().now(), token=lambda: secrets.token_hex(2)
        )
        plan = _plan(name, read, write, options=options, report=assessment.report)
        if options.dry_run:
            return JobResult(job=name, status=JobStatus.COMPLETED, losses=plan.losses, message=_DRY_RUN)
        folder = folders.create(name)
        with folder.lock():
            folder.write_plan(plan.model_dump_json(indent=2))
            return await _run(folder, plan, read, write, options=options, observer=observer, stop=stop)


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
        options: Tuning. What is moved was agreed when the job began and stays.
        observer: Takes progress and notices.
        stop: Asks the run to stop and keep its place.

    Raises:
        JobNotFoundError, JobLockedError: As named.
        FingerprintMismatchError: The connections lead to another move than the job's.
        ConfigError, ProviderError: An end cannot be opened.
    """
    observer = observer or SilentObserver()
    folder = StateFolder(state_dir).open(job)
    plan = JobPlan.read(folder.plan_path.read_bytes(), job)
    with folder.lock():
        if everything and plan.sample is not None:
            plan = plan.model_copy(update={"sample": None})
            folder.write_plan(plan.model_dump_json(indent=2))
        options = replace(options or Options(), where=plan.where or None, sample=plan.sample)
        async with (
            open_end(source or plan.source.connection, Role.SOURCE, config=config, observer=observer) as read,
            open_end(
                target or plan.target.connection,
                Role.TARGET,
                config=config,
                observer=observer,
                wait_ready=options.wait_ready,
            ) as write,
        ):
            plan.check_same(_plan(job, read, write, options=options, report=None))
            return await _run(folder, plan, read, write, options=options, observer=observer, stop=stop)


_DRY_RUN = "nothing was written: a dry run"


def _plan(
    job: str, source: OpenEnd, target: OpenEnd, *, options: Options, report: GapReport | None
) -> JobPlan:
    lines = report.dimensions if report else ()
    return JobPlan(
        job=job,
        created_at=format_time(SystemClock().now()),
        source=PlanEnd.of(source.name, source.provider.store()),
        target=PlanEnd.of(target.name, target.provider.store()),
        where=str(Selection.parse(options.where)),
        document_id=target.provider.config.document_id,
        sample=options.sample,
        accepted=options.accept_loss,
        losses=tuple(line for line in lines if line.records and line.verdict is not Verdict.KEPT),
    )


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
    ledger = Ledger(folder.ledger_path)
    try:
        run = await _begin(ledger, folder, plan)
        await target.provider.begin(source.provider.store())
        engine = _engine(ledger, source, target, options=options, control=control)
        began = clock.monotonic()
        async with Meter(observer, lambda: _progress(engine)).running():
            await engine.run()
        seconds = clock.monotonic() - began
        _log_bug(folder, control)
        result = outcome(plan, ledger, engine, control, seconds=seconds)
        await _end(ledger, folder, run, result, finished=engine.finished)
    finally:
        ledger.close()
    return result


def _engine(
    ledger: Ledger, source: OpenEnd, target: OpenEnd, *, options: Options, control: RunControl
) -> Engine:
    pipeline = build_pipeline(source, target, options.where)
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
