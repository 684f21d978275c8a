"""`status`, `failures` and `jobs`: what happened, and the ledgers it is written in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memxfer.cli import exits
from memxfer.cli.asking import check_can_ask
from memxfer.cli.command import command, group
from memxfer.cli.commands.arguments import Job
from memxfer.cli.commands.moving import show_result
from memxfer.cli.session import Session
from memxfer.errors import InterruptedRunError

if TYPE_CHECKING:
    from memxfer.migration import Holdings

__all__ = ["register"]

_PANEL = "Jobs"
_File = Annotated[Path, typer.Argument(metavar="FILE", help="The exported job.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    command(app, "status", panel=_PANEL, examples=("memxfer status JOB", "memxfer status JOB --json"))(status)
    command(app, "failures", panel=_PANEL, examples=("memxfer failures JOB | head",))(failures)
    jobs = typer.Typer(help="The jobs of the state folder: list, back up, restore, remove.")
    group(jobs)(list_jobs)
    command(jobs, "list")(list_jobs)
    command(jobs, "export", examples=("memxfer jobs export JOB job.tar.gz",))(export)
    command(jobs, "import", examples=("memxfer jobs import job.tar.gz",))(import_)
    command(jobs, "rm", examples=("memxfer jobs rm JOB --yes",))(remove)
    app.add_typer(jobs, name="jobs", rich_help_panel=_PANEL)


def status(session: Session, job: Job) -> int:
    """Show how a job stands; also while it runs elsewhere."""
    from memxfer import migration

    return show_result(session, migration.status(job, state_dir=session.state_dir))


def failures(session: Session, job: Job) -> None:
    """List the records that did not arrive and why: columns with tabs between, one line each."""
    from memxfer import migration
    from memxfer.report.console import write_note
    from memxfer.report.jobs import FAILURE_HEADER, failure_line
    from memxfer.report.machine import write_json_list

    found = migration.failures(job, state_dir=session.state_dir)
    if session.as_json:
        write_json_list({"job": job}, "failures", found)
        return
    if not session.quiet:
        write_note(FAILURE_HEADER)
    for failure in found:
        sys.stdout.write(f"{failure_line(failure)}\n")


def list_jobs(session: Session) -> None:
    """List the jobs of the state folder, with what they moved."""
    from memxfer import migration
    from memxfer.report.console import data_console
    from memxfer.report.jobs import jobs_view
    from memxfer.report.machine import write_json_list

    found = migration.list_jobs(session.state_dir)
    if session.as_json:
        write_json_list({"state_dir": str(session.state_dir)}, "jobs", found)
    else:
        data_console().print(jobs_view(found))


def export(session: Session, job: Job, file: _File) -> None:
    """Write a job with its ledger into one file: for many targets the only list of what was moved."""
    from memxfer import migration

    migration.export_job(job, file, state_dir=session.state_dir)
    _say(session, {"job": job, "file": str(file)}, f"Wrote {file}; keep it where you keep backups.")


def import_(session: Session, file: _File) -> None:
    """Bring an exported job back, here or on another machine."""
    from memxfer import migration
    from memxfer.report.text import plain

    job = migration.import_job(file, state_dir=session.state_dir)
    _say(session, {"job": job}, f"{plain(job)} is here again: memxfer status {plain(job)}")


def remove(
    session: Session,
    job: Job,
    yes: Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")] = False,
) -> int:
    """Remove a job with its ledger and its residue; what it moved stays in the target."""
    from memxfer import migration
    from memxfer.report.text import plain

    held = migration.holdings(job, state_dir=session.state_dir)  # a job that is not there is said here
    if not yes and not _may_remove(session, job, held):
        raise InterruptedRunError(f"you did not agree; {plain(job)} stays")
    migration.remove_job(job, state_dir=session.state_dir, with_residue=True)
    _say(session, {"job": job, "removed": True}, f"Removed {plain(job)}.")
    return exits.CLEAN


def _may_remove(session: Session, job: str, held: Holdings) -> bool:
    """Ask a person at a terminal; without one, refuse."""
    from memxfer.report.text import plain

    texts = []
    if held.originals is not None and held.records != 0:
        records = "records" if held.records is None else f"{held.records:,} records"
        texts.append(
            f"{plain(held.originals)} holds the originals of {records}, and there may be no other copy of"
            f" what the target does not hold; `memxfer migrate {plain(held.archive)} archive:./originals`"
            " keeps them."
        )
    warning = "Its ledger cannot be read."
    if held.is_readable:
        warning = (
            "Without its ledger nobody can list, verify or resume what it moved;"
            f" `memxfer jobs export {plain(job)} {plain(job)}.tar.gz` keeps a copy."
        )
    check_can_ask(f"removes {plain(job)}", why=session.complete(" ".join([*texts, warning])))
    question = " ".join([*texts, f"Remove {plain(job)}?", warning])
    return typer.confirm(session.complete(question), err=True)


def _say(session: Session, facts: dict[str, object], text: str) -> None:
    if session.as_json:
        from memxfer.report.machine import write_json

        write_json(facts)
    elif not session.quiet:
        typer.echo(session.complete(text))
