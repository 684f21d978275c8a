"""How far each partition is safe: the point from which a later run lists on.

Pages finish out of order, because batches span partitions and writers run side by side. The
watermark moves past a page only when every document of it, and of all pages before it, is settled.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from memxfer.engine.listing import Listed
from memxfer.ledger import Change, Doubts, InDoubt, PartitionRow
from memxfer.ledger.ignored import reasons_in
from memxfer.ledger.states import FILTERED, IGNORED, IGNORED_AS
from memxfer.spi import Clock

__all__ = ["PartitionWalk", "Ticket", "WalkKind"]

_MOST_LATE = 4 * 2**20
"""Bytes of records that a walk puts off."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One listed page on its way.

    Attributes:
        walk: The partition it belongs to.
        next_cursor: Where the page after it begins; `None` at the partition's end.
        outstanding: Documents of it that are not settled.
        last_seq: Highest seq among its records.
        is_sealed: Every record of it is in the ledger or on its way there.
        is_cut: Some of its records were left for a later run; the watermark never passes it.
        counts: Rows that never become records, added to the counters when the watermark passes.
        met: Seqs of records that an earlier run left and that came on this page.
        late: Records of it that are put off to the end of the walk.
    """

    walk: PartitionWalk
    next_cursor: str | None
    outstanding: int = 0
    last_seq: int = 0
    is_sealed: bool = False
    is_cut: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    met: list[int] = field(default_factory=list)
    late: int = 0

    def meet(self, record_id: str, digest: bytes | None = None) -> InDoubt | None:
        """Return what an earlier run left of this very record, once; `None`: nothing.

        Args:
            record_id: The source's id.
            digest: Of the record; `None` where it cannot be read.
        """
        return self._met(self.walk.in_doubt.take(record_id, digest))

    def meet_older_form(self, record_id: str, digest: bytes) -> InDoubt | None:
        """Return what an earlier run left of this record in the form it had then, once."""
        return self._met(self.walk.in_doubt.take_older_form(record_id, digest))

    def _met(self, doubt: InDoubt | None) -> InDoubt | None:
        if doubt is not None:
            self.met.append(doubt.seq)
            self.last_seq = max(self.last_seq, doubt.seq)
        return doubt

    @property
    def is_finished(self) -> bool:
        """Whether each of its records is settled."""
        return self.is_sealed and not self.outstanding and not self.late

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing of it is under way."""
        return (self.is_sealed or self.is_cut) and not self.outstanding


WalkKind = Literal["read", "sweep", "vanished"]
"""`read`: the place is kept, and a later run goes on there. `sweep`: everything is listed again, always from
the start, and the row changes only at the end. `vanished`: the source has no such partition any more; only
what an earlier run left open in it is settled."""


class PartitionWalk:
    """One partition during one run.

    Args:
        row: Its row in the ledger.
        in_doubt: Records an earlier run left that may come again.
        kind: What the walk is for.
        since: When the job began, of a walk that tells whether an earlier one missed anything.

    Attributes:
        row: Its row in the ledger.
        kind: What the walk is for.
        in_doubt: Records an earlier run left after the watermark and this walk has not met.
        missed: New records met that were in the source when the job began, as far as can be told.
    """

    def __init__(
        self,
        row: PartitionRow,
        in_doubt: Doubts,
        *,
        kind: WalkKind = "read",
        since: datetime | None = None,
    ) -> None:
        self.row = row
        self.kind: WalkKind = kind
        self.in_doubt = in_doubt
        self.missed = 0
        self._since = since
        self._late: list[tuple[Ticket, Listed]] = []
        self._late_bytes = 0
        self._old_seqs = deque(sorted(doubt.seq for doubt in in_doubt) if kind == "read" else ())
        self._met: set[int] = set()
        self._seen: Counter[str] = Counter()
        self._tickets: deque[Ticket] = deque()
        self._expected = 0
        self._reached = row.mark
        self._is_pinned = False
        self._at_rest: asyncio.Event | None = None

    def note_new(self, created_at: datetime | None, clock: Clock) -> None:
        """A record came that the ledger did not know: was it there before, and missed?"""
        if self._since is not None and not (created_at and self._since <= created_at <= clock.now()):
            self.missed += 1

    def expect_page(self) -> None:
        """A page was listed and waits for its turn."""
        self._expected += 1

    def open_page(self, next_cursor: str | None) -> Ticket:
        """Begin a page; pages are opened in listing order."""
        self._expected -= 1
        ticket = Ticket(self, next_cursor)
        self._tickets.append(ticket)
        return ticket

    def put_off(self, ticket: Ticket, listed: Listed) -> bool:
        """Keep a record until the walk's end where it may be a later form of one that an earlier run left.

        It is that only if the older form does not come any more. Its page is not passed until then.

        Returns:
            Whether it is kept; not so where it has no older form, and where too much is kept already.
        """
        if not self.in_doubt.has_older_form(listed.record.id, listed.hash):
            return False
        if self._late_bytes + listed.size > _MOST_LATE:
            return False
        self._late.append((ticket, listed))
        self._late_bytes += listed.size
        ticket.late += 1
        return True

    def take_late(self) -> list[tuple[Ticket, Listed]]:
        """Return the records that were put off, with their pages, which wait for them no longer."""
        late, self._late, self._late_bytes = self._late, [], 0
        for ticket, _ in late:
            ticket.late -= 1
        return late

    @property
    def is_drained(self) -> bool:
        """Whether every page listed so far is settled, or left for a later run."""
        return not self._expected and all(ticket.is_at_rest for ticket in self._tickets)

    @property
    def at_rest(self) -> asyncio.Event:
        """Return an event that is set once every page listed so far is settled; ask anew each time."""
        event = self._at_rest = self._at_rest or asyncio.Event()
        if self.is_drained:
            event.set()
        else:
            event.clear()
        return event

    def rewind(self, change: Change) -> None:
        """Go back to the start: rows that never become records will be counted anew."""
        row = self.row
        change.counts.subtract({IGNORED: row.ignored, FILTERED: row.filtered})
        row.cursor, row.mark, self._reached, row.is_done = None, 0, 0, False
        row.ignored = row.filtered = 0
        if row.reasons is not None:
            change.counts.subtract(_by_reason(row.reasons))
            row.reasons = {}

    def restart(self, known: Doubts) -> None:
        """List again from the start: everything the ledger has of the partition may come again.

        What was put off comes again too, and is forgotten here with its pages.

        Until the partition is done its mark stays at 0, so that a later run knows those records too.
        """
        self.in_doubt = known
        self.missed = 0
        self.take_late()
        self._tickets.clear()
        self._old_seqs.clear()
        self._met.clear()
        self._seen.clear()
        self._is_pinned = True

    def advance(self) -> Counter[str] | None:
        """Move the watermark over finished pages.

        Returns:
            The counts of the pages passed; `None` if it did not move.
        """
        passed: Counter[str] | None = None
        while self._tickets and self._tickets[0].is_finished:
            counts = self._pass(self._tickets.popleft())
            if counts is not None:
                passed = passed or Counter()
                passed.update(counts)
        if passed is not None and self.kind == "read":
            self.row.mark = min(self._reached, self._before_unmet())
        if self._at_rest is not None and self.is_drained:
            self._at_rest.set()
        return passed

    def _pass(self, ticket: Ticket) -> Counter[str] | None:
        """Leave a page behind; return what that adds to the counters, `None` if the row stays as it was."""
        row = self.row
        is_end = ticket.next_cursor is None
        if self.kind == "vanished":
            return None
        if self.kind == "sweep":
            self._seen.update(ticket.counts)
            return self._end_sweep() if is_end else None
        # Met records count only now: while their page is under way they must stay after the mark.
        self._met.update(ticket.met)
        self._reached = max(self._reached, ticket.last_seq)
        row.ignored += ticket.counts[IGNORED]
        row.filtered += ticket.counts[FILTERED]
        if reasons := reasons_in(ticket.counts):
            row.reasons = Counter(row.reasons or {}) + Counter(reasons)
        row.cursor, row.is_done = ticket.next_cursor, is_end
        row.is_swept = is_end and self._since is not None and not self.missed
        return ticket.counts

    def _end_sweep(self) -> Counter[str]:
        row, seen = self.row, self._seen
        change = Counter({IGNORED: seen[IGNORED] - row.ignored, FILTERED: seen[FILTERED] - row.filtered})
        row.ignored, row.filtered = seen[IGNORED], seen[FILTERED]
        reasons = reasons_in(seen)
        if reasons or row.reasons is not None:
            change.update(_by_reason(reasons))
            change.subtract(_by_reason(row.reasons or {}))
            row.reasons = reasons
        row.is_swept = not self.missed
        return change

    def _before_unmet(self) -> int:
        """Return the highest seq that leaves every unmet older record after the mark."""
        while self._old_seqs and self._old_seqs[0] in self._met:
            self._met.discard(self._old_seqs.popleft())
        if self._is_pinned:
            return 0
        return self._old_seqs[0] - 1 if self._old_seqs else 2**62


def _by_reason(rows: Mapping[str, int]) -> dict[str, int]:
    """Return the counters of rows that are ignored."""
    return {IGNORED_AS + reason: number for reason, number in rows.items()}
