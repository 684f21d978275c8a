"""What every command is told besides its own arguments: `-c`, `--state-dir`, `--json`, `-q`, `-v`, ..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

__all__ = ["GLOBAL_OPTIONS", "LogFormat", "Session"]

LogFormat = Literal["text", "json"]
_PANEL = "Options of every command"
_DEFAULTS: dict[str, Any] = {
    "config": None,
    "state_dir": None,
    "as_json": False,
    "quiet": False,
    "verbose": 0,
    "log_format": None,
}


@dataclass(frozen=True)
class Session:
    """The global options of one invocation.

    Attributes:
        config: The configuration file, if one was named.
        state_dir: Where jobs and their ledgers live.
        as_json: One JSON object on stdout instead of text.
        quiet: No progress, no notices but warnings.
        verbose: 0 to 2: warnings, information, debugging with tracebacks.
        log_format: Form of what goes to stderr.
    """

    config: str | None = None
    state_dir: Path = Path(".memxfer")
    as_json: bool = False
    quiet: bool = False
    verbose: int = 0
    log_format: LogFormat = "text"

    def updated(self, values: Mapping[str, Any]) -> Session:
        """Return a copy in which the options given here win; those left out stay as they were."""
        given = {name: value for name, value in values.items() if value}
        return Session(**{**self.__dict__, **given})


Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Connections; default: $MEMXFER_CONFIG, then memxfer.toml.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="FOLDER",
        help="Where jobs and their ledgers live; default: .memxfer.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", metavar="", help="Print one JSON object on stdout.", rich_help_panel=_PANEL)
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", metavar="", help="No progress, warnings only.", rich_help_panel=_PANEL),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        metavar="",
        help="Say more; twice: tracebacks as well.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option(
        "--log-format",
        metavar="text|json",
        help="Form of progress and logs on stderr.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]

GLOBAL_OPTIONS = [
    Parameter(name, Parameter.KEYWORD_ONLY, default=_DEFAULTS[name], annotation=annotation)
    for name, annotation in (
        ("config", Config),
        ("state_dir", StateDir),
        ("as_json", AsJson),
        ("quiet", Quiet),
        ("verbose", Verbose),
        ("log_format", LogFormatOption),
    )
]
"""Added to every command, so that `memxfer status JOB --json` works as `memxfer --json status JOB`."""
