"""`emulate`: a local stand-in for a hosted backend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memxfer.cli.command import command
from memxfer.cli.session import Session

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(
        app,
        "emulate",
        panel="Start",
        examples=("memxfer emulate synap --port 8090", "memxfer emulate synap --latency 0.1 --rate 600"),
    )(emulate)


def emulate(
    session: Session,
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="The backend to stand in for.")],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0: a free one.")
    ] = 8090,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="Keep what is stored in this file.", show_default=False),
    ] = None,
    latency: Annotated[
        float, typer.Option("--latency", min=0, metavar="SECONDS", help="Added to every answer.")
    ] = 0.0,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            min=1,
            metavar="N",
            help="Requests per minute before it answers 429.",
            show_default=False,
        ),
    ] = None,
    duplicates: Annotated[
        str | None,
        typer.Option(
            "--duplicates",
            metavar="POLICY",
            help="What a document id that is known already means.",
            show_default=False,
        ),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            "--levels",
            metavar="MODE",
            help="Whether a question about a user also reads wider levels: merged or isolated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a stand-in for a hosted backend on this machine, for rehearsals. Ctrl-C ends it."""
    from memxfer.cli.emulating import Wishes, serve

    serve(session, provider, port=port, wishes=Wishes(state, latency, rate, duplicates, levels))
