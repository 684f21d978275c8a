"""The command line: a thin shell over the functions of `memxfer.migration`."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run `memxfer`; the console script's entry."""
    from memxfer.cli.app import build

    build()()
