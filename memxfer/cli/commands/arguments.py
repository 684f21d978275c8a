"""Arguments and options that several commands share, and what their texts mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memxfer.cli.session import Session
from memxfer.errors import ConfigError

if TYPE_CHECKING:
    from memxfer.config import Config

__all__ = [
    "PANEL",
    "AcceptLoss",
    "Job",
    "MaybeSource",
    "MaybeTarget",
    "NoWait",
    "OnUncertain",
    "Residue",
    "Sample",
    "Scan",
    "Source",
    "Target",
    "WaitReady",
    "Where",
    "config_of",
    "names_in",
    "scan_of",
]

PANEL = "Move"
"""The heading of these commands in the help."""

_OnUncertain = Literal["stop", "resend", "skip"]
_Residue = Literal["lossy", "full", "off"]

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Connection to read from, or PROVIDER:LOCATION.")
]
Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="Connection to write to, or PROVIDER:LOCATION.")
]
MaybeSource = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE", help="Connection to read from, or PROVIDER:LOCATION.", show_default=False
    ),
]
MaybeTarget = Annotated[
    str | None,
    typer.Argument(
        metavar="TARGET", help="Connection to write to, or PROVIDER:LOCATION.", show_default=False
    ),
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="CONDITIONS", help="Only records that meet all of these.", show_default=False
    ),
]
Scan = Annotated[
    str,
    typer.Option("--scan", metavar="N|all", help="Records to read for the counts."),
]
AcceptLoss = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-loss",
        metavar="NAMES|all",
        help="Dimensions or groups that may be lost, or ignored (rows), with commas between.",
        show_default=False,
    ),
]
Residue = Annotated[
    _Residue,
    typer.Option(
        "--residue",
        metavar="lossy|full|off",
        help="Originals to keep beside the ledger: of records the target does not hold whole, all, or none.",
    ),
]
Sample = Annotated[
    int | None,
    typer.Option("--sample", min=1, metavar="N", help="Move only the first N records.", show_default=False),
]
WaitReady = Annotated[
    bool, typer.Option("--wait-ready", metavar="", help="Wait for a target that is still being set up.")
]
OnUncertain = Annotated[
    _OnUncertain,
    typer.Option(
        "--on-uncertain",
        metavar="stop|resend|skip",
        help="When nobody can tell whether a record arrived.",
    ),
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", metavar="", help="End when all is accepted, not when all is processed.")
]


def config_of(session: Session) -> Config:
    """Return the configuration that the session names, or the one that is found here."""
    from memxfer.config import load_config

    return load_config(session.config)


def scan_of(text: str) -> int | None:
    """Return how many records `--scan` asks for; `None` for all."""
    if text == "all":
        return None
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise ConfigError(f"--scan takes a number of records or all, not {text!r}")
    return int(text)


def names_in(texts: list[str] | None) -> tuple[str, ...]:
    """Return the names of an option that may be repeated and takes several with commas between."""
    return tuple(name.strip() for text in texts or () for name in text.split(",") if name.strip())
