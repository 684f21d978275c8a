"""How far each partition is safe: the point from which a later run lists on.

Pages finish out of order, because batches span partitions and writers run side by side. The
watermark moves past a page only when every document of it, and of all pages before it, is settled.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from memxfer.engine.listing import Listed
from memxfer.ledger import Change, Doubts, InDoubt, PartitionRow
from memxfer.ledger.states import FILTERED, IGNORED

__all__ = ["PartitionWalk", "Ticket"]

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


class PartitionWalk:
    """One partition during one run.

    Attributes:
        row: Its row in the ledger.
        in_doubt: Records an earlier run left after the watermark and this walk has not met.
    """

    def __init__(self, row: PartitionRow, in_doubt: Doubts) -> None:
        self.row = row
        self.in_doubt = in_doubt
        self._late: list[tuple[Ticket, Listed]] = []
        self._late_bytes = 0
        self._old_seqs = deque(sorted(doubt.seq for doubt in in_doubt))
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

    def rewind(self, change: Change) -> None:
        """Go back to the start: rows that never become records will be counted anew."""
        change.counts.subtract({IGNORED: self.row.ignored, FILTERED: self.row.filtered})
        self.row.cursor, self.row.mark, self._reached, self.row.is_done = None, 0, 0, False
        self.row.ignored = self.row.filtered = 0

    def restart(self, known: Doubts) -> None:
        """List again from the start: everything the ledger has of the partition may come again.

        What was put off comes again too, and is forgotten here with its pages.

        Until the partition is done its mark stays at 0, so that a later run knows those records too.
        """
        self.in_doubt = known
        self.take_late()
        self._tickets.clear()
        self._old_seqs.clear()
        self._met.clear()
        self._is_pinned = True

    def advance(self) -> Counter[str] | None:
        """Move the watermark over finished pages.

        Returns:
            The counts of the pages passed; `None` if it did not move.
        """
        passed: Counter[str] | None = None
        while self._tickets and self._tickets[0].is_finished:
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
