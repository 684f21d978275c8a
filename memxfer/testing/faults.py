"""What can go wrong with a backend, and when: the script of a `FaultyProvider`."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Fault", "FaultKind", "FaultScript", "SimulatedCrashError"]


class SimulatedCrashError(BaseException):
    """The process dies here. Not an `Exception`, so that nothing swallows it on the way out."""


class FaultKind(StrEnum):
    """One way to fail. The first group fits every operation, the others reads or writes alone."""

    RATE_LIMITED = "rate_limited"
    """429 before the backend looked at the call."""
    UNAVAILABLE = "unavailable"
    """Nobody answers; nothing happened."""
    AUTH = "auth"
    """The key is refused from now on."""
    QUOTA = "quota"
    """The account has run out."""
    SLOW = "slow"
    """The answer takes `seconds` on the provider's clock."""
    CRASH_BEFORE = "crash_before"
    """The process dies before the call reaches the backend."""
    CRASH_AFTER = "crash_after"
    """The process dies when the backend has done it, before the caller learns."""

    AMBIGUOUS_BEFORE = "ambiguous_before"
    """Write, or an optional operation: the answer is lost, and nothing was done."""
    AMBIGUOUS_AFTER = "ambiguous_after"
    """Write, or an optional operation: the answer is lost, and everything was done."""
    DROPPED_RECEIPTS = "dropped_receipts"
    """Write: stored, but the last receipt is missing from the answer: an adapter's bug."""
    BATCH_REFUSED = "batch_refused"
    """Write: the batch is refused as a whole, nothing was stored."""
    ONE_REJECTED = "one_rejected"
    """Write: the first document is refused, the others are stored."""

    DUPLICATED_ROWS = "duplicated_rows"
    """Read: the first row of the page comes twice."""
    REORDERED_ROWS = "reordered_rows"
    """Read: the page comes backwards."""
    VANISHED_ROWS = "vanished_rows"
    """Read: the last row of the page is missing."""
    DEFECT_ROW = "defect_row"
    """Read: the first row of the page does not decode."""
    REPEATED_CURSOR = "repeated_cursor"
    """Read: the next cursor is the one just used."""
    EMPTY_PAGE = "empty_page"
    """Read: no rows and a fresh cursor; the rows come with that."""
    CURSOR_EXPIRED = "cursor_expired"
    """Read: a cursor is no longer known; a first page is not affected."""
    LYING_TOTAL = "lying_total"
    """Read or `count`: the total is `factor` times the truth."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, and the calls it hits. With neither `calls`, `every` nor `chance` it hits all.

    Attributes:
        kind: What happens.
        on: The operation: `read_page`, `write`, `connect`, `finish`, `ingest_status`, `lookup`, ...
        calls: Numbers of the calls it hits, from 1, counted per operation.
        every: Hits every n-th call.
        chance: Hits a call with this probability, drawn from the script's seed.
        retry_after: Seconds in a `RATE_LIMITED`.
        seconds: Length of a `SLOW`.
        factor: What a `LYING_TOTAL` multiplies by; below 1 it hides rows.
    """

    kind: FaultKind
    on: str = "write"
    calls: Collection[int] = ()
    every: int = 0
    chance: float = 0.0
    retry_after: float | None = None
    seconds: float = 1.0
    factor: float = 10.0


class FaultScript:
    """Decides which faults a call meets: the same seed and call numbers give the same faults.

    Attributes:
        happened: What was injected so far: operation, number of the call, kind.
    """

    def __init__(self, faults: Iterable[Fault], *, seed: int = 0) -> None:
        self._faults = tuple(faults)
        self._seed = seed
        self._counts: dict[str, int] = {}
        self.happened: list[tuple[str, int, FaultKind]] = []

    def calls(self, operation: str) -> int:
        """Return how many calls of `operation` there were."""
        return self._counts.get(operation, 0)

    def next_call(self, operation: str) -> dict[FaultKind, Fault]:
        """Count one call and return the faults it meets, by kind."""
        number = self._counts.get(operation, 0) + 1
        self._counts[operation] = number
        hits = {
            fault.kind: fault
            for index, fault in enumerate(self._faults)
            if fault.on == operation and self._hits(fault, index, number)
        }
        self.happened.extend((operation, number, kind) for kind in hits)
        return hits

    def _hits(self, fault: Fault, index: int, number: int) -> bool:
        if not (fault.calls or fault.every or fault.chance):
            return True
        if number in fault.calls or (fault.every and number % fault.every == 0):
            return True
        draw = random.Random(f"{self._seed}:{index}:{number}")  # noqa: S311 - repeatable on purpose
        return draw.random() < fault.chance
