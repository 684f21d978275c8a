"""The command line: a thin shell over the functions of `memxfer.migration`."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run `memxfer`; the console script's entry. SIGTERM means what Ctrl-C means."""
    import signal
    import sys

    from memxfer.cli.output import OutputError, guard_stdout

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    guard_stdout()
    from memxfer.cli.app import build

    try:
        build()()
    except OutputError as error:  # help and usage, which Typer prints outside of any command
        from memxfer.cli.failing import end_unwritten

        sys.exit(end_unwritten(error))
