"""The states a source record goes through.

```
intent  -> accepted -> stored
waiting       '-----> failed
   '-> stored | present | failed | uncertain
skipped | rejected | gone          (never sent)
```
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "DOCUMENTS",
    "FILTERED",
    "IGNORED",
    "IGNORED_AS",
    "IGNORED_IN",
    "LOSS",
    "RESENT",
    "RESIDUE",
    "RESIDUE_LINES",
    "State",
]


class State(StrEnum):
    """Where a record stands; the ledger stores the word itself."""

    INTENT = "intent"
    """Durable before the call: it may have been sent."""
    WAITING = "waiting"
    """Listed, and kept until the rest of its group is; once it has been sent, `sends` is above 0."""
    ACCEPTED = "accepted"
    """Acknowledged, still processing."""
    STORED = "stored"
    PRESENT = "present"
    """In the target from an earlier send of ours."""
    SKIPPED = "skipped"
    REJECTED = "rejected"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    GONE = "gone"
    ROLLED_BACK = "rolled_back"


# Counters kept beside those of the states, in the same table.
IGNORED = "rows_ignored"
"""Rows listed that are not memories."""
IGNORED_AS = "ignored/"
"""The same by reason; the note of the same name has a few ids."""
IGNORED_IN = "ignored_in/"
"""Notes on the share that each partition has in those, by its number."""
FILTERED = "rows_filtered"
"""Records listed that the selection leaves out."""
RESENT = "documents_resent"
DOCUMENTS = "documents_acknowledged"
LOSS = "loss/"
"""Records that were sent with a loss, by what is lost; the note of the same name says what that is."""
RESIDUE = "residue_records"
"""Originals in the residue."""
RESIDUE_LINES = "residue_lines"
"""Lines ever written to the residue; it may hold more than the ledger knows, never fewer."""
