"""Whose memory each place in the target is, as numbers: so that a later run sees owners become one."""

from __future__ import annotations

from memxfer.ledger.committer import Change
from memxfer.ledger.ledger import Ledger

__all__ = ["Owners"]


class Owners:
    """The owners that documents of a job went to.

    Args:
        ledger: The job's, open.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def rows(self) -> list[tuple[int, int]]:
        """Return pairs of a place and who came first to it."""
        return [(place, people) for place, people in self._ledger.read("SELECT place, people FROM owner")]

    def add(self, change: Change, place: int, people: int) -> None:
        """Note who came first to a place."""
        change.add("INSERT OR IGNORE INTO owner VALUES (?, ?)", (place, people))
