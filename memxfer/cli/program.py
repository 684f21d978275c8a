"""The root command as Typer runs it, with usage errors told as `--json` promises."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

__all__ = ["ARGUMENTS", "Program", "wants_json"]

ARGUMENTS = "memxfer.arguments"
"""Key in the context's `meta`: the words of the command line, for what is asked before they are parsed."""


def wants_json(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for JSON, also one that cannot be parsed."""
    options = list(arguments)[: list(arguments).index("--")] if "--" in arguments else arguments
    return any(word == "--json" or word.startswith("--json=") for word in options)


class Program(TyperGroup):
    """The root command. With `--json`, its usage errors are objects too."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the program; in standalone mode, end the process with its exit code."""
        if not (standalone_mode and wants_json(sys.argv[1:] if args is None else args)):
            return super().main(args, prog_name, complete_var, standalone_mode, windows_expand_args, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except Exception as error:
            # Typer has its own copy of Click, older versions have Click itself: no one class covers both.
            if not hasattr(error, "format_message"):
                raise
            code = _refuse(error)
        sys.exit(code)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words of the command line, then parse them."""
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


def _refuse(error: Any) -> int:
    """Tell a usage error, which has a text by now, as the object that `--json` promises."""
    from memxfer.cli.failing import end_usage

    error.show()
    is_bare = type(error).__name__ == "NoArgsIsHelpError"
    context = getattr(error, "ctx", None)
    return end_usage(
        "no command is named" if is_bare else error.format_message(),
        command=context.command_path if context else "memxfer",
    )
