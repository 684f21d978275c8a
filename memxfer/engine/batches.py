"""Documents on their way, alone and in company."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from memxfer.engine.watermark import Ticket
from memxfer.ledger import InDoubt, ResidueLine
from memxfer.models import MemoryRecord
from memxfer.spi import Document
from memxfer.spi.writing import MOST_LANES

__all__ = ["Batch", "Entry", "Lanes"]


@dataclass(slots=True, eq=False)
class Entry:
    """One document on its way.

    Attributes:
        ticket: The page it came from.
        document: What is sent.
        size: Bytes it holds in the budget.
        hash: Of the record it was made from.
        doubt: What an earlier run left of it.
        seq: Its row in the ledger.
        sends: Intents so far under this key and hash.
        is_changed: An earlier run may have sent it in another form, which may be in the target.
        is_settled: What became of it is durable.
        originals: What goes to the residue together with its intent, until it is on its way there.
        record: The record, under the owner it has in the target; to compare with what the target holds.
        losses: Names of what the record loses, for the tally.
    """

    ticket: Ticket
    document: Document
    size: int
    hash: bytes
    doubt: InDoubt | None = None
    seq: int = 0
    sends: int = 0
    is_changed: bool = False
    is_settled: bool = False
    originals: Sequence[ResidueLine] = ()
    record: MemoryRecord | None = None
    losses: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Batch:
    """Documents for one request, and the promise that their intents become durable."""

    entries: list[Entry]
    durable: asyncio.Future[None]


class _Buffer:
    """Documents waiting for company; no key twice, and no more than one request takes."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._entries: dict[str, Entry] = {}
        self._bytes = 0

    def takes(self, entry: Entry) -> bool:
        """Tell whether `entry` fits in beside what is there."""
        if not self._entries:
            return True
        fits = len(self._entries) < self._most and self._bytes + entry.document.size <= self._most_bytes
        return fits and entry.document.key not in self._entries

    def add(self, entry: Entry) -> None:
        """Put `entry` in; `takes` said that it fits."""
        self._entries[entry.document.key] = entry
        self._bytes += entry.document.size

    def take(self) -> list[Entry]:
        """Return what is there, in the order it came, and be empty."""
        entries = list(self._entries.values())
        self._entries.clear()
        self._bytes = 0
        return entries


class Lanes:
    """Documents waiting for company, each with its like.

    Args:
        most: Documents in one request.
        most_bytes: Bytes of documents in one request.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._limits = most, most_bytes
        self._open: dict[str, _Buffer] = {}

    def make_room(self, entry: Entry) -> list[Entry]:
        """Return what has to go before `entry` can be added; mostly nothing."""
        lane = entry.document.lane
        buffer = self._open.get(lane)
        if buffer is not None:
            return [] if buffer.takes(entry) else buffer.take()
        self._open[lane] = _Buffer(*self._limits)
        if len(self._open) <= MOST_LANES:
            return []
        return self._open.pop(next(iter(self._open))).take()

    def add(self, entry: Entry) -> None:
        """Put `entry` in; `make_room` was asked before."""
        self._open[entry.document.lane].add(entry)

    def take_all(self) -> list[list[Entry]]:
        """Return everything, one list a lane, and be empty."""
        buffers, self._open = self._open, {}
        return [entries for buffer in buffers.values() if (entries := buffer.take())]
