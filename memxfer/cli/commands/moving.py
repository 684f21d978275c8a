"""`migrate` and `resume`: the move, and going on after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memxfer.cli import exits
from memxfer.cli.asking import check_can_ask
from memxfer.cli.command import command
from memxfer.cli.commands.arguments import (
    PANEL,
    AcceptLoss,
    Job,
    MaybeSource,
    MaybeTarget,
    NoWait,
    OnUncertain,
    Residue,
    Sample,
    Scan,
    WaitReady,
    Where,
    config_of,
    names_in,
    scan_of,
)
from memxfer.cli.commands.planning import show_unagreed
from memxfer.cli.session import Session
from memxfer.errors import ConfigError, DecisionRequiredError, InterruptedRunError

if TYPE_CHECKING:
    from memxfer.migration.options import Options
    from memxfer.migration.results import JobResult
    from memxfer.plan import JobPlan

__all__ = ["register", "show_result"]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    command(
        app,
        "migrate",
        panel=PANEL,
        examples=(
            "memxfer migrate old new --dry-run",
            "memxfer migrate old new --sample 100",
            'memxfer migrate old new --where "user=alice,created_at>=2025-01-01"',
        ),
    )(migrate)
    command(
        app,
        "resume",
        panel=PANEL,
        examples=(
            "memxfer resume old-to-new-20260131-120000-x7k2",
            "memxfer resume JOB --accept-loss tags",
            "memxfer resume JOB --accept-decision unscoped",
        ),
    )(resume)


def migrate(
    session: Session,
    source: MaybeSource = None,
    target: MaybeTarget = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan", metavar="FILE", help="Carry out what `memxfer plan` wrote there.", show_default=False
        ),
    ] = None,
    where: Where = None,
    accept_loss: AcceptLoss = None,
    residue: Residue = "lossy",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Check and count everything; write nothing.")
    ] = False,
    sample: Sample = None,
    scan: Scan = "all",
    job: Annotated[
        str | None, typer.Option("--job", metavar="NAME", help="The new job's id.", show_default=False)
    ] = None,
    wait_ready: WaitReady = False,
    on_uncertain: OnUncertain = "stop",
    no_wait: NoWait = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            metavar="",
            help="Do not ask; needed where there is no terminal. Accepts no loss, takes no decision.",
        ),
    ] = False,
) -> int:
    """Copy the records of one connection into another. The source is only read."""
    from memxfer import migration

    options = migration.Options(
        where=where,
        sample=sample,
        scan=scan_of(scan),
        accept_loss=names_in(accept_loss),
        residue=residue,
        dry_run=dry_run,
        wait_ready=wait_ready,
        on_uncertain=on_uncertain,
        settle=not no_wait,
    )
    agreed = _read_plan(plan, source, target, options)
    if not (dry_run or yes):
        check_can_ask("writes to the target")
        agreed = _agree(session, source, target, options=options, made=agreed)
    try:
        result = _move(session, source, target, plan=agreed, job=job, options=options)
    except DecisionRequiredError as error:
        show_unagreed(session, error)
        raise
    return _show_rehearsal(session, result) if dry_run else show_result(session, result)


def _move(
    session: Session,
    source: str | None,
    target: str | None,
    *,
    plan: JobPlan | None,
    job: str | None,
    options: Options,
) -> JobResult:
    from memxfer import migration
    from memxfer.cli.running import run, stops_on_signals, watching

    stop = migration.StopSignal()
    with (
        watching(session) as view,
        stops_on_signals(stop, lambda text: view.notice("info", text), session=session),
    ):
        return run(
            migration.migrate(
                source,
                target,
                plan=plan,
                config=config_of(session),
                state_dir=session.state_dir,
                job=job,
                options=options,
                observer=view,
                stop=stop,
            )
        )


def _read_plan(file: Path | None, source: str | None, target: str | None, options: Options) -> JobPlan | None:
    """Read the plan to carry out; what it says cannot be said again, lest the two disagree."""
    if file is None:
        if source is None or target is None:
            raise ConfigError("name SOURCE and TARGET, or a plan with --plan FILE")
        return None
    from memxfer.migration import read_plan

    said = {"SOURCE": source, "--where": options.where, "--sample": options.sample}
    twice = [name for name, value in said.items() if value is not None]
    if twice or options.residue != "lossy":
        raise ConfigError(f"{file} says what is moved and how; leave out {', '.join(twice) or '--residue'}")
    return read_plan(file)


def _agree(
    session: Session, source: str | None, target: str | None, *, options: Options, made: JobPlan | None
) -> JobPlan:
    """Show a person at a terminal what would happen, and ask."""
    from memxfer import migration
    from memxfer.cli.running import run, watching
    from memxfer.report.console import notes_console
    from memxfer.report.plans import plan_view

    if made is None:
        with watching(session) as view:
            made = run(
                migration.plan(
                    source or "",
                    target or "",
                    config=config_of(session),
                    state_dir=session.state_dir,
                    options=options,
                    observer=view,
                )
            )
    made = made.with_consent(options.accept_loss)
    migration.check_agreed(made)
    notes_console().print(plan_view(made, free=migration.free_bytes(session.state_dir)))
    question = "\nMove these records? The source is only read. Only yes is taken for an answer"
    if typer.prompt(question, default="no", show_default=False, err=True).strip() != "yes":
        raise InterruptedRunError("you did not answer yes; nothing was written")
    return made


def resume(
    session: Session,
    job: Job,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="A job begun with --sample moves the rest too.")
    ] = False,
    moved: Annotated[
        bool,
        typer.Option(
            "--moved", metavar="", help="The job's stores were moved to where the connections lead now."
        ),
    ] = False,
    accept_loss: AcceptLoss = None,
    accept_decision: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-decision",
            metavar="NAMES",
            help="Settings of the target's connection that may differ from when the job was agreed to.",
            show_default=False,
        ),
    ] = None,
    wait_ready: WaitReady = False,
    on_uncertain: OnUncertain = "stop",
    no_wait: NoWait = False,
) -> int:
    """Go on with a job where it stopped, without a question: it was agreed to when it began.

    What is known to have arrived is not sent again.
    """
    from memxfer import migration
    from memxfer.cli.running import run, stops_on_signals, watching

    options = migration.Options(
        accept_loss=names_in(accept_loss),
        accept_decisions=names_in(accept_decision),
        wait_ready=wait_ready,
        on_uncertain=on_uncertain,
        settle=not no_wait,
    )
    stop = migration.StopSignal()
    with (
        watching(session) as view,
        stops_on_signals(stop, lambda text: view.notice("info", text), session=session),
    ):
        result = run(
            migration.resume(
                job,
                config=config_of(session),
                state_dir=session.state_dir,
                everything=everything,
                moved=moved,
                options=options,
                observer=view,
                stop=stop,
            )
        )
    return show_result(session, result)


def _show_rehearsal(session: Session, result: JobResult) -> int:
    """Print what a dry run found: every check passed, and everything lost was agreed to."""
    if session.as_json:
        return show_result(session, result)
    from memxfer.report.console import data_console
    from memxfer.report.gaps import losses_view

    console = data_console()
    console.print(losses_view(result.losses))
    console.print("Every check passed and nothing was written. The same without --dry-run moves the records.")
    return exits.CLEAN


def show_result(session: Session, result: JobResult) -> int:
    """Print how a job stands; return the exit code for it."""
    result = result.model_copy(update={"message": session.complete(result.message)})
    if session.as_json:
        from memxfer.report.machine import write_json

        write_json(result)
        if exits.code_of_result(result) == exits.DECISION:
            from memxfer.report.text import plain

            typer.echo(plain(result.message), err=True)
    else:
        from memxfer.report.console import data_console
        from memxfer.report.jobs import result_view

        data_console().print(result_view(result), crop=False)
    return exits.code_of_result(result)
