"""`demo` and `init`: the first minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memxfer.cli.command import command
from memxfer.cli.session import Session

__all__ = ["register"]

_PANEL = "Start"


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    command(
        app, "demo", panel=_PANEL, examples=("memxfer demo", "memxfer demo --keep ./demo --records 5000")
    )(demo)
    command(app, "init", panel=_PANEL, examples=("memxfer init", "memxfer -c staging.toml init"))(init)


def demo(
    session: Session,
    records: Annotated[int, typer.Option("--records", min=50, help="Memories to make and move.")] = 2000,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="FOLDER", help="Leave everything in this folder.", show_default=False),
    ] = None,
    no_crash: Annotated[
        bool, typer.Option("--no-crash", metavar="", help="Do not kill and resume the job.")
    ] = False,
) -> int:
    """Guided tour on this machine: Mem0 to a local Synap, a crash, a comparison. No accounts."""
    from memxfer.cli.demo import run_demo

    return run_demo(session, records=records, keep=keep, crash=not no_crash)


def init(session: Session) -> None:
    """Write a commented memxfer.toml; never overwrites one."""
    from memxfer import config
    from memxfer.errors import ConfigError

    file = Path(session.config or config.DEFAULT_PATH).expanduser()
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(config.template())
    except FileExistsError as error:
        raise ConfigError(f"{file} exists and stays as it is; name another with -c") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error
    if session.as_json:
        from memxfer.report.machine import write_json

        write_json({"config": str(file)})
        return
    typer.echo(session.complete(f"Wrote {file}. Next: edit it, then `memxfer providers check old`."))
