"""`plan`: a rehearsal that reads everything, writes nothing but its file, and can be carried out later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memxfer.cli import exits
from memxfer.cli.command import command
from memxfer.cli.commands.arguments import (
    PANEL,
    AcceptLoss,
    Residue,
    Sample,
    Source,
    Target,
    WaitReady,
    Where,
    config_of,
    names_in,
)
from memxfer.cli.session import Session
from memxfer.errors import ConfigError, DecisionRequiredError

if TYPE_CHECKING:
    from memxfer.plan import JobPlan

__all__ = ["register", "show_plan", "show_unagreed"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(
        app,
        "plan",
        panel=PANEL,
        examples=("memxfer plan old new -o move.json", "memxfer migrate --plan move.json"),
    )(plan)


def plan(
    session: Session,
    source: Source,
    target: Target,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the plan here, for migrate --plan.",
            show_default=False,
        ),
    ] = None,
    where: Where = None,
    accept_loss: AcceptLoss = None,
    residue: Residue = "lossy",
    sample: Sample = None,
    wait_ready: WaitReady = False,
) -> int:
    """Count everything a move would do, lose, take and cost. Reads all records and writes none."""
    from memxfer import migration
    from memxfer.cli.running import run, stops_on_signals, watching
    from memxfer.report.saving import check_place, save_text

    if output is not None:
        if output.suffix.lower() != ".json":
            raise ConfigError(
                f"{output}: a plan is a JSON file; name it {output.stem}.json. A report for people is "
                "written by `memxfer diff -o FILE`"
            )
        check_place(output)
    options = migration.Options(
        where=where,
        accept_loss=names_in(accept_loss),
        residue=residue,
        sample=sample,
        wait_ready=wait_ready,
    )
    stop = migration.StopSignal()
    with (
        watching(session) as view,
        stops_on_signals(stop, lambda text: view.notice("info", text), session=session),
    ):
        made = run(
            migration.plan(
                source,
                target,
                config=config_of(session),
                state_dir=session.state_dir,
                options=options,
                observer=view,
                stop=stop,
            )
        )
    if output is not None:
        save_text(output, made.to_file())
    show_plan(session, made)
    return _say_what_is_missing(session, made)


def show_plan(session: Session, made: JobPlan) -> None:
    """Print a plan: the JSON of its file, or a summary for people."""
    from memxfer.migration import free_bytes
    from memxfer.report.console import data_console
    from memxfer.report.machine import write_json
    from memxfer.report.plans import plan_view

    if session.as_json:
        write_json(made)
    else:
        data_console().print(plan_view(made, free=free_bytes(session.state_dir)))


def show_unagreed(session: Session, error: DecisionRequiredError) -> None:
    """Print the plan that lacks a consent or a decision; with `--json` the error is the one object."""
    from memxfer.plan import JobPlan

    if isinstance(error.plan, JobPlan) and not session.as_json:
        show_plan(session, error.plan)


def _say_what_is_missing(session: Session, made: JobPlan) -> int:
    from memxfer.cli.failing import show
    from memxfer.migration import check_agreed

    try:
        check_agreed(made)
    except DecisionRequiredError as error:
        session.complete_error(error)
        show(error, session)
        return exits.DECISION
    return exits.CLEAN
