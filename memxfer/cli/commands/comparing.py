"""`diff`: what the target keeps and what it loses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memxfer.cli import exits, gap_output
from memxfer.cli.command import command
from memxfer.cli.commands.arguments import PANEL, Scan, Source, Target, Where, config_of, scan_of
from memxfer.cli.gap_output import Form
from memxfer.cli.session import Session

if TYPE_CHECKING:
    from memxfer.gaps.report import GapReport

__all__ = ["register"]

_Failing = Literal["read_time_only", "enveloped", "approximated", "at_risk", "unknown", "lost"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(
        app,
        "diff",
        panel=PANEL,
        examples=(
            "memxfer diff old new",
            "memxfer diff old new -o gaps.html",
            "memxfer diff old new --fail-on lost --json",
        ),
    )(diff)


def diff(
    session: Session,
    source: Source,
    target: Target,
    where: Where = None,
    scan: Scan = "all",
    form: Annotated[
        Form | None,
        typer.Option(
            "--format",
            metavar="table|json|markdown|html",
            help="Form of the report; it goes before the ending of FILE. Without both it is a table.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the report to this file (.html, .md, .json or .txt) instead of stdout; it may exist.",
            show_default=False,
        ),
    ] = None,
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

    options = migration.Options(where=where, scan=scan_of(scan))
    shown_as = gap_output.form_of_stdout(session, form, output)
    saved_as = gap_output.form_of_file(session, form, output) if output is not None else None
    with watching(session) as view:
        report = run(
            migration.diff(
                source,
                target,
                config=config_of(session),
                state_dir=session.state_dir,
                options=options,
                observer=view,
            )
        )
        if output is not None and saved_as is not None:
            gap_output.save(session, report, saved_as, output=output)
            view.notice("info", f"the report is in {output}")
    if shown_as is not None:
        gap_output.show(session, report, shown_as)
    return exits.DECISION if fail_on and _is_as_bad(report, fail_on) else exits.CLEAN


def _is_as_bad(report: GapReport, verdict: str) -> bool:
    from memxfer.gaps.report import SEVERITY, Verdict
    from memxfer.report.gap_rows import matters

    bad = SEVERITY[SEVERITY.index(Verdict(verdict)) :]
    return report.blocking or any(line.verdict in bad and matters(line) for line in report.dimensions)
