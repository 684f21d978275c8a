"""Asking a person before anything is written; where nobody can be asked, `--yes` has to be on the line."""

from __future__ import annotations

import sys

from memxfer.errors import ConfigError

__all__ = ["check_can_ask", "has_terminal"]


def has_terminal() -> bool:
    """Tell whether somebody reads what is printed and can answer a question."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def check_can_ask(what: str, *, why: str = "") -> None:
    """Make sure that somebody can be asked.

    Args:
        what: What is about to happen, following "memxfer asks before it ...".
        why: What whoever agrees should know.

    Raises:
        ConfigError: Input, output or error output is a file or a pipe.
    """
    if not has_terminal():
        text = f"not a terminal: pass --yes to agree. memxfer asks before it {what}, and nobody can answer."
        raise ConfigError(f"{text} {why}" if why else text)
