"""`providers`: which there are, how one is configured, whether a connection works."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memxfer.cli.command import command, group
from memxfer.cli.session import Session

if TYPE_CHECKING:
    from memxfer.spi import Role

__all__ = ["register"]

_PANEL = "Start"
_As = Literal["source", "target"]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    providers = typer.Typer(help="The memory backends: list them, show their settings, check a connection.")
    group(providers)(list_providers)
    command(providers, "list")(list_providers)
    command(providers, "show", examples=("memxfer providers show synap",))(show)
    command(
        providers, "check", examples=("memxfer providers check old", "memxfer providers check archive:./b")
    )(check)
    app.add_typer(providers, name="providers", rich_help_panel=_PANEL)


def list_providers(session: Session) -> None:
    """List the providers that are installed, and what each can be."""
    from memxfer.report.console import data_console
    from memxfer.report.machine import write_json
    from memxfer.report.providers import providers_view

    rows = _rows()
    if session.as_json:
        names = ("name", "roles", "summary")
        write_json({"providers": [dict(zip(names, row, strict=True)) for row in rows]})
    else:
        data_console().print(providers_view(rows))


def show(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A provider, as `memxfer providers` lists it.")],
) -> None:
    """Show what a provider is, and every setting of its connection block."""
    from memxfer import registry
    from memxfer.report.console import data_console
    from memxfer.report.machine import write_json
    from memxfer.report.providers import provider_facts, provider_view

    provider = registry.provider_class(name)
    if session.as_json:
        write_json(provider_facts(provider))
    else:
        data_console().print(provider_view(provider))


def check(
    session: Session,
    connection: Annotated[
        str, typer.Argument(metavar="CONNECTION", help="A connection, or PROVIDER:LOCATION.")
    ],
    role: Annotated[
        _As | None,
        typer.Option("--as", help="Check it as this; default: what it can be.", show_default=False),
    ] = None,
) -> None:
    """Open a connection: does it answer, is the key good? Writes nothing."""
    from memxfer import migration
    from memxfer.cli.running import run, watching
    from memxfer.config import load_config
    from memxfer.report.console import data_console
    from memxfer.report.machine import write_json
    from memxfer.report.providers import check_view

    with watching(session) as view:
        config = load_config(session.config)
        info = run(migration.check(connection, config=config, role=_role(role), observer=view))
    if session.as_json:
        write_json({"connection": connection, **asdict(info), "details": dict(info.details)})
    else:
        data_console().print(check_view(connection, info))


def _role(name: _As | None) -> Role | None:
    from memxfer.spi import Role

    return Role(name) if name else None


def _rows() -> list[tuple[str, str, str]]:
    from memxfer import registry
    from memxfer.errors import ConfigError
    from memxfer.report.providers import roles

    rows = []
    for name in registry.names():
        try:
            provider = registry.provider_class(name)
        except ConfigError as error:  # one broken plug-in must not hide the others
            rows.append((name, "-", f"cannot be loaded: {error}"))
        else:
            rows.append((name, roles(provider), provider.summary))
    return rows
