"""Telling an observer, a few times a second, how a run goes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from memxfer.migration.observer import Observer, Progress

__all__ = ["Meter"]

_INTERVAL = 0.25
_WINDOWS = {"settle": 120.0}
_WINDOW = 10.0
"""Seconds over which the rate is told. A target is asked in rounds up to half a minute apart, and its answers
come in bursts: while settling the window holds several rounds."""


class Meter:
    """Samples a run and adds rate and time to go.

    Args:
        observer: Takes the progress.
        sample: Returns where the run stands; `rate` and `eta` are filled in here.
    """

    def __init__(self, observer: Observer, sample: Callable[[], Progress]) -> None:
        self._observer = observer
        self._sample = sample
        self._seen: deque[tuple[float, int]] = deque()
        self._phase = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Report while the block runs, and once more at its end."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._report()

    async def _run(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(_INTERVAL)

    def _report(self) -> None:
        progress = self._sample()
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._seen.clear()
        now = time.monotonic()
        self._seen.append((now, progress.done))
        while self._seen[0][0] <= now - _WINDOWS.get(progress.phase, _WINDOW):
            self._seen.popleft()
        rate = self._rate()
        left = max(progress.total - progress.done, 0) if progress.total is not None else None
        eta = left / rate if left is not None and rate > 0 else None
        self._observer.progress(replace(progress, rate=rate, eta=eta))

    def _rate(self) -> float:
        (then, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now - then) if now > then else 0.0
