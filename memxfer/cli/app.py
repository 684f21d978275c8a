"""The program `memxfer`, put together; importing it loads no provider and nothing slow."""

from __future__ import annotations

from typing import Annotated

import typer

from memxfer.cli.command import group
from memxfer.cli.commands import comparing, emulators, jobs, moving, planning, providers, start
from memxfer.cli.program import ARGUMENTS, Program, wants_json
from memxfer.cli.session import Session
from memxfer.errors import ConfigError

__all__ = ["build"]


def build() -> typer.Typer:
    """Return the program with all its commands."""
    app = typer.Typer(
        name="memxfer",
        cls=Program,
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


def _print_version(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        import json
        from importlib.metadata import version

        is_json = wants_json(ctx.meta[ARGUMENTS])  # other options may not be parsed yet
        here = version("memxfer")
        typer.echo(json.dumps({"version": here}) if is_json else f"memxfer {here}")
        raise typer.Exit


def _root(
    session: Session,  # noqa: ARG001 - what every command takes
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool,
        typer.Option(
            "--version", metavar="", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> int:
    """Move the memories of AI agents between memory backends, and prove what arrived."""
    raise ConfigError("name a command; `memxfer --help` lists them")
