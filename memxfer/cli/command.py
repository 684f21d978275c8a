"""How a function becomes a command: global options, one boundary for errors, one exit code."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from inspect import Parameter
from typing import Any

import typer

from memxfer.cli.output import OutputError
from memxfer.cli.session import GLOBAL_OPTIONS, Session
from memxfer.errors import InterruptedRunError, MemxferError

__all__ = ["Body", "command", "group"]

Body = Callable[..., int | None]
"""Takes a `Session`, then the command's own arguments; returns an exit code, `None` for 0."""

_UNANSWERED = "nobody answered the question, and nothing was done; --yes answers it"


def command(
    app: typer.Typer, name: str, *, panel: str | None = None, examples: Sequence[str] = ()
) -> Callable[[Body], Body]:
    """Register a function as `memxfer NAME`.

    Args:
        app: The program, or a group of it.
        name: The command's name.
        panel: Heading under which `memxfer --help` shows it.
        examples: Command lines for the end of its help.
    """

    def register(body: Body) -> Body:
        epilog = "\n\n".join(("Examples:", *examples)) if examples else None
        app.command(name, rich_help_panel=panel, epilog=epilog)(_entry(body, _run))
        return body

    return register


def group(app: typer.Typer) -> Callable[[Body], Body]:
    """Register what runs when a group is called: always first, or alone if no command follows."""

    def register(body: Body) -> Body:
        app.callback(invoke_without_command=True)(_entry(body, _run_group))
        return body

    return register


def _entry(body: Body, run: Callable[..., None]) -> Callable[..., None]:
    """Return the function that Typer reads: the body's own parameters and the global ones."""
    own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
    own = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own]
    context = Parameter("ctx", Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *own, *GLOBAL_OPTIONS]

    @functools.wraps(body)
    def entry(ctx: typer.Context, **values: Any) -> None:
        before = ctx.obj if isinstance(ctx.obj, Session) else Session()
        ctx.obj = before.updated({name: values.pop(name) for name in (p.name for p in GLOBAL_OPTIONS)})
        run(ctx, body, values)

    del entry.__wrapped__  # it would lead past __signature__
    entry.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    entry.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return entry


def _run_group(ctx: typer.Context, body: Body, values: dict[str, Any]) -> None:
    if ctx.invoked_subcommand is None:
        _run(ctx, body, values)


def _run(ctx: typer.Context, body: Body, values: dict[str, Any]) -> None:
    session: Session = ctx.obj
    from memxfer.cli.logs import configure

    configure(session)
    raise typer.Exit(_exit_code(session, body, values))


def _exit_code(session: Session, body: Body, values: dict[str, Any]) -> int:
    from memxfer.cli import exits, failing

    try:
        session = session.resolved()
        code = body(session, **values) or exits.CLEAN
        sys.stdout.flush()
    except typer.Exit:
        raise
    except (typer.Abort, EOFError):
        return failing.end(InterruptedRunError(_UNANSWERED), session)
    except OutputError as error:
        return failing.end_unwritten(error)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last boundary: each is told as what it is
        if isinstance(error, MemxferError):
            session.complete_error(error)
        return failing.end(error, session)
    return code
