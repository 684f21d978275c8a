"""What a person watches while records move: a bar on a terminal, plain or JSON lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from memxfer.migration.observer import Observer, Progress
from memxfer.report.console import write_note
from memxfer.report.text import amount, duration, plain, plural

__all__ = ["BarProgress", "JsonProgress", "LineProgress", "ProgressView", "QuietProgress", "progress_line"]

INTERVAL = 5.0
"""Seconds between two plain or JSON lines."""

_PHASES = {"scan": "reading", "move": "moving"}
_BAR = 24
_SLOW = 10
"""Records per second below which a fraction is told."""
_Level = Literal["info", "warning"]


class ProgressView(Observer, Protocol):
    """An observer that is opened before a run and closed after it."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing."""
        ...


class _View:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class QuietProgress(_View):
    """Shows warnings only."""

    def progress(self, progress: Progress) -> None:
        """Ignore."""

    def notice(self, level: _Level, text: str) -> None:
        """Write a warning; ignore the rest."""
        if level == "warning":
            write_note(f"warning: {plain(text)}")


class LineProgress(_View):
    """Writes a plain line every few seconds.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._due = _Due(clock)

    def progress(self, progress: Progress) -> None:
        """Write a line every few seconds; a run that is over sooner needs none."""
        if self._due():
            write_note(progress_line(progress))

    def notice(self, level: _Level, text: str) -> None:
        """Write it now."""
        write_note(plain(text) if level == "info" else f"warning: {plain(text)}")


class JsonProgress(_View):
    """Writes one JSON object a line: `{"event": "progress", "phase": ..., "done": ...}`.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._due = _Due(clock)

    def progress(self, progress: Progress) -> None:
        """Write an object every few seconds."""
        if self._due():
            self._write(
                event="progress",
                phase=progress.phase,
                done=progress.done,
                total=progress.total,
                rate=round(progress.rate, 1),
                eta=progress.eta,
                skipped=progress.skipped,
                rejected=progress.rejected,
                failed=progress.failed,
                waiting=progress.waiting,
                target=progress.target,
                asked=progress.asked,
                next_check=progress.next_check,
            )

    def notice(self, level: _Level, text: str) -> None:
        """Write it now."""
        self._write(event="notice", level=level, text=text)

    def _write(self, **values: Any) -> None:
        write_note(json.dumps(values))


class BarProgress(_View):
    """Draws a bar with rate and time to go.

    Args:
        console: A console on the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def progress(self, progress: Progress) -> None:
        """Draw it."""
        row = Table.grid(padding=(0, 1))
        row.add_row(
            ProgressBar(
                total=progress.total, completed=progress.done, width=_BAR, pulse=progress.total is None
            ),
            Text(_phase(progress)),
        )
        self._live.update(Group(row, Text(f"  {_facts(progress)}")))

    def notice(self, level: _Level, text: str) -> None:
        """Write it above the bar."""
        style = "yellow" if level == "warning" else ""
        self._console.print(Text(plain(text), style=style))


def progress_line(progress: Progress) -> str:
    """Return `moving: 1,200 of 2,000, 350/s, 2.3 s to go, 3 failed`."""
    return f"{_phase(progress)}: {_facts(progress)}"


def _phase(progress: Progress) -> str:
    if progress.phase != "settle":
        return _PHASES[progress.phase]
    left = max((progress.total or 0) - progress.done, 0)
    return f"waiting for {plain(progress.target or 'the target')} to process {plural(left, 'document')}"


def _facts(progress: Progress) -> str:
    parts = [amount(progress.done)]
    if progress.total is not None:
        parts[0] += f" of {amount(progress.total)}"
    if progress.rate:
        parts.append(f"{progress.rate:,.0f}/s" if progress.rate >= _SLOW else f"{progress.rate:.1f}/s")
    if progress.eta is not None:
        parts.append(f"{duration(progress.eta)} to go")
    for number, word in (
        (progress.skipped, "skipped"),
        (progress.rejected, "rejected"),
        (progress.failed, "failed"),
    ):
        if number:
            parts.append(f"{number:,} {word}")
    if progress.waiting:
        parts.append(f"waiting {duration(progress.waiting)}: the target asked")
    elif progress.next_check is not None:
        parts.append(f"next check in {duration(progress.next_check)}")
    elif progress.asked is not None:
        parts.append(f"checking, {progress.asked:,} asked so far")
    return ", ".join(parts)


class _Due:
    """Says when the next line may be written: every `INTERVAL`, the first after one of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next = clock() + INTERVAL

    def __call__(self) -> bool:
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + INTERVAL
        return True
