"""`diff`, `migrate` and `resume`: what is lost, the move, and going on after a stop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from memxfer.cli import exits
from memxfer.cli.command import command
from memxfer.cli.session import Session
from memxfer.errors import ConfigError

if TYPE_CHECKING:
    from memxfer.gaps.report import GapReport
    from memxfer.migration.results import JobResult

__all__ = ["Job", "register", "show_result"]

_PANEL = "Move"
_Failing = Literal["read_time_only", "enveloped", "approximated", "at_risk", "unknown", "lost"]
_OnUncertain = Literal["stop", "resend", "skip"]

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Connection to read from, or PROVIDER:LOCATION.")
]
Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="Connection to write to, or PROVIDER:LOCATION.")
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="CONDITIONS", help="Only records that meet all of these.", show_default=False
    ),
]
Scan = Annotated[
    str,
    typer.Option("--scan", metavar="N|all", help="Records to read for the counts."),
]
AcceptLoss = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-loss",
        metavar="NAMES|all",
        help="Dimensions or groups that may be lost, with commas between.",
        show_default=False,
    ),
]
Sample = Annotated[
    int | None,
    typer.Option("--sample", min=1, metavar="N", help="Move only the first N records.", show_default=False),
]
WaitReady = Annotated[
    bool, typer.Option("--wait-ready", metavar="", help="Wait for a target that is still being set up.")
]
OnUncertain = Annotated[
    _OnUncertain,
    typer.Option(
        "--on-uncertain",
        metavar="stop|resend|skip",
        help="When nobody can tell whether a record arrived.",
    ),
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", metavar="", help="End when all is accepted, not when all is processed.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    command(
        app,
        "diff",
        panel=_PANEL,
        examples=("memxfer diff old new", "memxfer diff old new --fail-on lost --json"),
    )(diff)
    command(
        app,
        "migrate",
        panel=_PANEL,
        examples=(
            "memxfer migrate old new --dry-run",
            "memxfer migrate old new --sample 100",
            'memxfer migrate old new --where "user=alice,created_at>=2025-01-01"',
        ),
    )(migrate)
    command(app, "resume", panel=_PANEL, examples=("memxfer resume old-to-new-20260131-120000-x7k2",))(resume)


def diff(
    session: Session,
    source: Source,
    target: Target,
    where: Where = None,
    scan: Scan = "all",
    form: Annotated[
        Literal["table", "json"],
        typer.Option(
            "--format", metavar="table|json", help="Form of the report; --json is the same as json."
        ),
    ] = "table",
    fail_on: Annotated[
        _Failing | None,
        typer.Option(
            "--fail-on",
            metavar="VERDICT",
            help="Exit with 3 at this verdict or a worse one, or if a decision is missing.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Show what the target keeps and what it loses, counted on your own records. Writes nothing."""
    from memxfer import migration
    from memxfer.cli.running import run, watching

    options = migration.Options(where=where, scan=_scan(scan))
    with watching(session) as view:
        report = run(migration.diff(source, target, config=_config(session), options=options, observer=view))
    _show_report(session, report, as_json=session.as_json or form == "json")
    return exits.DECISION if fail_on and _is_as_bad(report, fail_on) else exits.CLEAN


def migrate(
    session: Session,
    source: Source,
    target: Target,
    where: Where = None,
    accept_loss: AcceptLoss = None,
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
    yes: Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")] = False,
) -> int:
    """Copy the records of one connection into another. The source is only read."""
    from memxfer import migration
    from memxfer.cli.running import run, stops_on_signals, watching

    options = migration.Options(
        where=where,
        sample=sample,
        scan=_scan(scan),
        accept_loss=_names(accept_loss),
        dry_run=dry_run,
        wait_ready=wait_ready,
        on_uncertain=on_uncertain,
        settle=not no_wait,
    )
    if not dry_run:
        _confirm(source, target, yes=yes)
    stop = migration.StopSignal()
    with watching(session) as view, stops_on_signals(stop, lambda text: view.notice("info", text)):
        result = run(
            migration.migrate(
                source,
                target,
                config=_config(session),
                state_dir=session.state_dir,
                job=job,
                options=options,
                observer=view,
                stop=stop,
            )
        )
    return _show_rehearsal(session, result) if dry_run else show_result(session, result)


def resume(
    session: Session,
    job: Job,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="A job begun with --sample moves the rest too.")
    ] = False,
    wait_ready: WaitReady = False,
    on_uncertain: OnUncertain = "stop",
    no_wait: NoWait = False,
) -> int:
    """Go on with a job where it stopped; what is known to have arrived is not sent again."""
    from memxfer import migration
    from memxfer.cli.running import run, stops_on_signals, watching

    options = migration.Options(wait_ready=wait_ready, on_uncertain=on_uncertain, settle=not no_wait)
    stop = migration.StopSignal()
    with watching(session) as view, stops_on_signals(stop, lambda text: view.notice("info", text)):
        result = run(
            migration.resume(
                job,
                config=_config(session),
                state_dir=session.state_dir,
                everything=everything,
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


def _confirm(source: str, target: str, *, yes: bool) -> None:
    """Ask a person at a terminal; a script is taken at its word."""
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    from memxfer.report.text import plain

    question = f"Copy records from {plain(source)} into {plain(target)}? The source is only read."
    if not typer.confirm(question, err=True):
        raise typer.Exit(exits.INTERRUPTED)


def _show_report(session: Session, report: GapReport, *, as_json: bool) -> None:
    if as_json:
        from memxfer.report.machine import write_json

        write_json(report)
    else:
        from memxfer.report.console import data_console
        from memxfer.report.gaps import gap_view

        data_console().print(gap_view(report, with_samples=session.verbose > 0))


def show_result(session: Session, result: JobResult) -> int:
    """Print how a job stands; return the exit code for it."""
    if session.as_json:
        from memxfer.report.machine import write_json

        write_json(result)
    else:
        from memxfer.report.console import data_console
        from memxfer.report.jobs import result_view

        data_console().print(result_view(result))
    return exits.code_of_result(result)


def _is_as_bad(report: GapReport, verdict: str) -> bool:
    from memxfer.gaps.report import Verdict
    from memxfer.report.gaps import SEVERITY

    bad = SEVERITY[SEVERITY.index(Verdict(verdict)) :]
    return report.blocking or any(
        line.verdict in bad and (line.records or line.verdict is Verdict.READ_TIME_ONLY)
        for line in report.dimensions
    )


def _config(session: Session) -> Any:
    from memxfer.config import load_config

    return load_config(session.config)


def _scan(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise ConfigError(f"--scan takes a number of records or all, not {text!r}")
    return int(text)


def _names(texts: list[str] | None) -> tuple[str, ...]:
    return tuple(name.strip() for text in texts or () for name in text.split(",") if name.strip())
