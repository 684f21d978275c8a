"""How far each partition is safe: the point from which a later run lists on.

Pages finish out of order, because batches span partitions and writers run side by side. The
watermark moves past a page only when every document of it, and of all pages before it, is settled.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from memxfer.ledger import Change, InDoubt, PartitionRow
from memxfer.ledger.states import FILTERED, IGNORED

__all__ = ["PartitionWalk", "Ticket"]


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
    """

    walk: PartitionWalk
    next_cursor: str | None
    outstanding: int = 0
    last_seq: int = 0
    is_sealed: bool = False
    is_cut: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    met: list[int] = field(default_factory=list)

    def meet(self, record_id: str) -> InDoubt | None:
        """Return what an earlier run left of this record, once; `None` if it is new."""
        doubt = self.walk.in_doubt.pop(record_id, None)
        if doubt is not None:
            self.met.append(doubt.seq)
            self.last_seq = max(self.last_seq, doubt.seq)
        return doubt

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing of it is under way."""
        return (self.is_sealed or self.is_cut) and not self.outstanding


class PartitionWalk:
    """One partition during one run.

    Attributes:
        row: Its row in the ledger.
        in_doubt: Records an earlier run left after the watermark and this walk has not met, by id.
    """

    def __init__(self, row: PartitionRow, in_doubt: dict[str, InDoubt]) -> None:
        self.row = row
        self.in_doubt = in_doubt
        self._old_seqs = deque(sorted(doubt.seq for doubt in in_doubt.values()))
        self._met: set[int] = set()
        self._tickets: deque[Ticket] = deque()
        self._expected = 0
        self._reached = row.mark
        self._is_pinned = False

    def expect_page(self) -> None:
        """A page was listed and waits for its turn."""
        self._expected += 1

    def open_page(self, next_cursor: str | None) -> Ticket:
        """Begin a page; pages are opened in listing order."""
        self._expected -= 1
        ticket = Ticket(self, next_cursor)
        self._tickets.append(ticket)
        return ticket

    @property
    def is_drained(self) -> bool:
        """Whether every page listed so far is settled, or left for a later run."""
        return not self._expected and all(ticket.is_at_rest for ticket in self._tickets)

    def rewind(self, change: Change) -> None:
        """Go back to the start: rows that never become records will be counted anew."""
        change.counts.subtract({IGNORED: self.row.ignored, FILTERED: self.row.filtered})
        self.row.cursor, self.row.mark, self._reached, self.row.is_done = None, 0, 0, False
        self.row.ignored = self.row.filtered = 0

    def restart(self, known: dict[str, InDoubt]) -> None:
        """List again from the start: everything the ledger has of the partition may come again.

        Until the partition is done its mark stays at 0, so that a later run knows those records too.
        """
        self.in_doubt = known
        self._old_seqs.clear()
        self._met.clear()
        self._is_pinned = True

    def advance(self) -> Counter[str] | None:
        """Move the watermark over finished pages.

        Returns:
            The counts of the pages passed; `None` if it did not move.
        """
        passed: Counter[str] | None = None
        while self._tickets and self._tickets[0].is_sealed and not self._tickets[0].outstanding:
            ticket = self._tickets.popleft()
            # Met records count only now: while their page is under way they must stay after the mark.
            self._met.update(ticket.met)
            self.row.ignored += ticket.counts[IGNORED]
            self.row.filtered += ticket.counts[FILTERED]
            passed = (passed or Counter()) + ticket.counts
            self.row.cursor = ticket.next_cursor
            self.row.is_done = ticket.next_cursor is None
            self._reached = max(self._reached, ticket.last_seq)
        if passed is not None:
            self.row.mark = min(self._reached, self._before_unmet())
        return passed

    def _before_unmet(self) -> int:
        """Return the highest seq that leaves every unmet older record after the mark."""
        while self._old_seqs and self._old_seqs[0] in self._met:
            self._met.discard(self._old_seqs.popleft())
        if self._is_pinned:
            return 0
        return self._old_seqs[0] - 1 if self._old_seqs else 2**62
