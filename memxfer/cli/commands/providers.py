"""`providers`: which there are, how one is configured, whether a connection works."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memxfer.cli import exits
from memxfer.cli.asking import check_can_ask
from memxfer.cli.command import command, group
from memxfer.cli.session import Session
from memxfer.errors import ConfigError, InterruptedRunError

if TYPE_CHECKING:
    from memxfer.config import Config
    from memxfer.migration import ProbeSize
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
        providers,
        "check",
        examples=(
            "memxfer providers check old",
            "memxfer providers check archive:./b",
            "memxfer providers check new --probe --yes",
        ),
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
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            metavar="",
            help="Verify what is declared: write a few tagged throw-away records, look, and remove them.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", metavar="", help="Agree that --probe writes; do not ask.")
    ] = False,
) -> int:
    """Open a connection: does it answer, is the key good? Writes nothing without --probe."""
    from memxfer.config import load_config

    config = load_config(session.config)
    if probe:
        return _probe(session, connection, config, role=role, yes=yes)
    _look(session, connection, config, role=role)
    return exits.CLEAN


def _look(session: Session, connection: str, config: Config, *, role: _As | None) -> None:
    from memxfer import migration
    from memxfer.cli.running import run, watching
    from memxfer.report.console import data_console
    from memxfer.report.machine import write_json
    from memxfer.report.probes import evidence_view
    from memxfer.report.providers import check_view

    state_dir = session.state_dir
    with watching(session) as view:
        info = run(
            migration.check(connection, config=config, state_dir=state_dir, role=_role(role), observer=view)
        )
    known = migration.evidence_of(connection, config=config, state_dir=state_dir)
    if session.as_json:
        facts = {"connection": connection, **asdict(info), "details": dict(info.details)}
        write_json({**facts, "evidence": known.model_dump(mode="json") if known else None})
        return
    data_console().print(check_view(connection, info))
    if known:
        data_console().print(evidence_view(known))


def _probe(session: Session, connection: str, config: Config, *, role: _As | None, yes: bool) -> int:
    from memxfer import migration
    from memxfer.cli.running import run, stops_on_signals, watching
    from memxfer.report.console import data_console
    from memxfer.report.machine import write_json
    from memxfer.report.probes import probe_view

    if role == "source":
        raise ConfigError("--probe writes, so it checks a target: leave out --as source")
    if not yes:
        _agree(connection, migration.probe_size(connection, config=config))
    stop = migration.StopSignal()
    with (
        watching(session) as view,
        stops_on_signals(stop, lambda text: view.notice("info", text), session=session),
    ):
        report = run(
            migration.probe(connection, config=config, state_dir=session.state_dir, observer=view, stop=stop)
        )
    if session.as_json:
        write_json(report)
    else:
        data_console().print(probe_view(report))
    return exits.code_of_probe(report)


def _agree(connection: str, size: ProbeSize) -> None:
    """Ask a person at a terminal; a script has to have said so."""
    from memxfer.report.text import plain

    removal = "removes them again" if size.removes else "CANNOT REMOVE THEM: this backend deletes nothing"
    what = f"writes up to {size.documents} small documents to {plain(connection)} and {removal}"
    check_can_ask(what)
    question = f"The probe {what}; the backend may charge for them. Go on?"
    if not typer.confirm(question, err=True):
        raise InterruptedRunError("you did not agree; nothing was written")


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
