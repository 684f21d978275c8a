"""What a ledger keeps of rows that were listed and are no memories: how many by reason, and a few ids.

Counters `ignored/REASON` add up to `rows_ignored`, but for rows that an earlier version counted without
reasons. The note of a counter's name has the ids; a note `ignored_in/PARTITION` has a partition's share,
which is taken back when the partition is listed again from its start.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from memxfer.ledger.states import IGNORED, IGNORED_AS, IGNORED_IN
from memxfer.spi.reading import NOT_A_MEMORY, Ignored

__all__ = [
    "IgnoredNote",
    "IgnoredRows",
    "decode_share",
    "encode_share",
    "has_wrong_notes",
    "ignored_rows",
    "reasons_in",
]

_SAMPLES = 3


class IgnoredNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is noted of rows that were ignored for one reason.

    Attributes:
        harmless: Nothing was lost with any of them.
        samples: Up to three of their ids.
    """

    harmless: bool = True
    samples: tuple[str, ...] = ()

    def grown(self, row: Ignored) -> IgnoredNote:
        """Return the note with another row; the very note where that tells nothing new."""
        is_new = row.id is not None and len(self.samples) < _SAMPLES and row.id not in self.samples
        if not is_new and (row.harmless or not self.harmless):
            return self
        samples = (*self.samples, row.id) if is_new and row.id is not None else self.samples
        return IgnoredNote(self.harmless and row.harmless, samples)

    def to_text(self) -> str:
        """Return what the ledger stores."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def of_text(cls, text: str | None) -> IgnoredNote:
        """Read what `to_text` wrote; without a note nothing is known, so that it may be a loss."""
        return cls(harmless=False) if text is None else msgspec.json.decode(text, type=cls)


@dataclass(frozen=True, slots=True)
class IgnoredRows:
    """Rows that a job ignored for one reason.

    Attributes:
        rows: How many.
        samples: Up to three of their ids.
        harmless: Nothing was lost with any of them.
    """

    rows: int
    samples: tuple[str, ...] = ()
    harmless: bool = False


def ignored_rows(counters: Counter[str], notes: Mapping[str, str]) -> dict[str, IgnoredRows]:
    """Return the rows that a job ignored, by reason, the most frequent one first.

    Args:
        counters: The ledger's.
        notes: Its notes whose names begin with `IGNORED_AS`.
    """
    found: dict[str, IgnoredRows] = {}
    for reason, rows in reasons_in(counters).items():
        if rows > 0:
            note = IgnoredNote.of_text(notes.get(IGNORED_AS + reason))
            found[reason] = IgnoredRows(rows, note.samples, note.harmless)
    untold = counters[IGNORED] - sum(one.rows for one in found.values())
    if untold > 0:
        known = found.get(NOT_A_MEMORY, IgnoredRows(0))
        found[NOT_A_MEMORY] = IgnoredRows(known.rows + untold, known.samples)
    return dict(sorted(found.items(), key=lambda item: (-item[1].rows, item[0])))


def reasons_in(counters: Mapping[str, int]) -> dict[str, int]:
    """Return how many rows counters count as ignored, by reason."""
    return {
        name.removeprefix(IGNORED_AS): number
        for name, number in counters.items()
        if name.startswith(IGNORED_AS)
    }


def encode_share(share: Mapping[str, int]) -> str:
    """Return a partition's share as the ledger stores it."""
    return msgspec.json.encode(share).decode()


def decode_share(text: str) -> dict[str, int]:
    """Read what `encode_share` wrote."""
    return msgspec.json.decode(text, type=dict[str, int])


def has_wrong_notes(ledger: sqlite3.Connection) -> bool:
    """Tell whether a ledger from elsewhere has notes about ignored rows that memxfer did not write."""
    try:
        for prefix, decode in ((IGNORED_AS, IgnoredNote.of_text), (IGNORED_IN, decode_share)):
            statement = "SELECT value FROM meta WHERE substr(name, 1, ?) = ?"
            for (text,) in ledger.execute(statement, (len(prefix), prefix)):
                decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return True
    return False
