"""What every command is told besides its own arguments: `-c`, `--state-dir`, `--json`, `-q`, `-v`, ..."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from memxfer.errors import DecisionRequiredError, MemxferError

__all__ = ["GLOBAL_OPTIONS", "LogFormat", "Session"]

LogFormat = Literal["text", "json"]
_PANEL = "Options of every command"
_COMMANDS = "diff|failures|jobs|migrate|plan|providers check|resume|status"
# In backticks up to the closing one; else at the end of a line, after a colon or at its beginning.
_SUGGESTED = re.compile(
    rf"(?<=`)memxfer (?:{_COMMANDS})\b[^`\n]*(?=`)|(?m:(?:^|(?<=: ))memxfer (?:{_COMMANDS})\b[^`\n]*$)"
)
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
        state_dir: Where jobs and their ledgers live; once resolved, an absolute path.
        as_json: One JSON object on stdout instead of text.
        quiet: No progress, no notices but warnings.
        verbose: 0 to 2: warnings, information, debugging with tracebacks.
        log_format: Form of what goes to stderr.
    """

    config: str | None = None
    state_dir: Path | None = None
    as_json: bool = False
    quiet: bool = False
    verbose: int = 0
    log_format: LogFormat = "text"
    repeated: str = ""
    """Options without which another command would not find the same connections and jobs; once resolved."""

    def updated(self, values: Mapping[str, Any]) -> Session:
        """Return a copy in which the options given here win; those left out stay as they were."""
        given = {name: value for name, value in values.items() if value}
        return Session(**{**self.__dict__, **given})

    def resolved(self) -> Session:
        """Return a copy that says where the state folder is.

        Raises:
            ConfigError: A path begins with the home folder of somebody who has none.
        """
        from memxfer.config import state_dir_of

        state_dir, default = (
            state_dir_of(self.state_dir, config=self.config),
            state_dir_of(config=self.config),
        )
        repeated = ""
        if self.config is not None:
            repeated += f" -c {shlex.quote(str(Path(self.config).expanduser().absolute()))}"
        if state_dir != default:
            repeated += f" --state-dir {shlex.quote(str(state_dir))}"
        return replace(self, state_dir=state_dir, repeated=repeated)

    def complete(self, text: str) -> str:
        """Return `text` with the commands that it suggests led to the same connections and jobs."""
        if not self.repeated:
            return text
        return _SUGGESTED.sub(lambda found: f"{found[0]}{self._missing_in(found[0])}", text)

    def _missing_in(self, command: str) -> str:
        return "" if self.repeated in command else self.repeated

    def complete_error(self, error: MemxferError) -> None:
        """Do the same for the texts of an error."""
        if error.args and isinstance(error.args[0], str):
            error.args = (self.complete(error.args[0]), *error.args[1:])
        if isinstance(error, DecisionRequiredError):
            error.remedies = tuple(map(self.complete, error.remedies))


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
        help="Where jobs live; default: $MEMXFER_STATE_DIR, then .memxfer beside the configuration.",
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
