"""The program `memxfer`, put together; importing it loads no provider and nothing slow."""

from __future__ import annotations

from typing import Annotated

import typer

from memxfer.cli.command import group
from memxfer.cli.commands import comparing, emulators, jobs, moving, planning, providers, start
from memxfer.cli.session import Session

__all__ = ["build"]


def build() -> typer.Typer:
    """Return the program with all its commands."""
    app = typer.Typer(
        name="memxfer",
        help="Move the memories of AI agents between memory backends, and prove what arrived.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit codes: 0 clean, 1 records failed, 2 usage, 3 a decision is missing, "
        "4 a backend refuses, 5 incomplete, 130 interrupted.",
    )
    group(app)(_root)
    for module in (start, comparing, planning, moving, jobs, providers, emulators):
        module.register(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"memxfer {version('memxfer')}")
        raise typer.Exit


def _root(
    session: Session,
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Move the memories of AI agents between memory backends, and prove what arrived."""
