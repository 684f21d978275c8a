"""Running a verb: the event loop, Ctrl-C, and the progress that fits where stderr goes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from memxfer.cli.exits import INTERRUPTED
from memxfer.cli.failing import INTERRUPTED as INTERRUPTED_BY_USER
from memxfer.cli.failing import error_json
from memxfer.cli.session import Session
from memxfer.report.console import notes_console
from memxfer.report.progress import BarProgress, JsonProgress, LineProgress, ProgressView, QuietProgress

__all__ = ["Stoppable", "run", "stops_on_signals", "watching"]

_T = TypeVar("_T")
_STOPPING = "stopping: finishing what is in flight; Ctrl-C again to stop at once"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stoppable(Protocol):
    """What a first Ctrl-C asks to end in order."""

    def request(self) -> None:
        """Ask."""
        ...


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a verb to its end."""
    # What is loaded by now stays loaded: the collector need not walk through it again and again.
    gc.collect()
    gc.freeze()
    return asyncio.run(work)


def watching(session: Session) -> ProgressView:
    """Return the view that fits: silent, JSON lines, a bar, or plain lines."""
    if session.quiet:
        return QuietProgress()
    if session.log_format == "json":
        return JsonProgress()
    return BarProgress(notes_console()) if sys.stderr.isatty() else LineProgress()


@contextmanager
def stops_on_signals(
    stop: Stoppable,
    say: Callable[[str], None],
    *,
    session: Session | None = None,
    leave: Callable[[int], Any] = os._exit,
) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `stop.request()`, the second into leaving at once.

    Leaving at once is safe: the ledger is durable before and after each step.

    Args:
        stop: What to ask.
        say: Gets the line that tells what happens.
        session: With `as_json`, leaving at once prints the object of an interrupted command.
        leave: Ends the process with an exit code.
    """
    asked = False

    def handle(_number: int, _frame: object) -> None:
        nonlocal asked
        if asked:
            if session is not None and session.as_json:
                # past the buffer: the handler may have interrupted a write to it
                os.write(1, error_json(INTERRUPTED_BY_USER).encode())
            leave(INTERRUPTED)
            return
        asked = True
        # not from here: a handler may have interrupted the very write that `say` would do
        _on_loop(stop.request)
        _on_loop(lambda: say(_STOPPING))

    before = [(number, signal.signal(number, handle)) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _on_loop(call: Callable[[], None]) -> None:
    """Call from the running loop, and wake it: a handler runs while the loop may be asleep."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        call()
    else:
        loop.call_soon_threadsafe(call)
