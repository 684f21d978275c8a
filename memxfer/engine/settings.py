"""The engine's numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["MIB", "EngineSettings"]

MIB = 2**20


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Tuning of one run; none of it changes what is moved.

    Attributes:
        listers: Partitions listed side by side, 1 to 64.
        writers: Requests to the target under way at once, 1 to 64.
        pollers: Status questions to the target under way at once.
        buffer_bytes: Bytes of records listed and not yet durable in the ledger as sent; one page
            more per lister may be in memory while it is read.
        batch_bytes: Most bytes of documents in one request, or one document.
        linger: Seconds that a batch waits to be filled.
        sample: Stop after so many records; `None`: all.
        on_uncertain: What to do with a document that may have been stored by a target that can
            neither take a key nor be asked.
        settle: Wait until the target has processed what it accepted.
        poll_first: Seconds before the first question about accepted documents.
        poll_most: Longest pause between two rounds of questions, in seconds.
        poll_patience: Seconds without any progress after which the run stops asking.
    """

    listers: int = 16
    writers: int = 16
    pollers: int = 8
    buffer_bytes: int = 16 * MIB
    batch_bytes: int = 4 * MIB
    linger: float = 0.5
    sample: int | None = None
    on_uncertain: Literal["stop", "resend", "skip"] = "stop"
    settle: bool = True
    poll_first: float = 0.25
    poll_most: float = 30.0
    poll_patience: float = 1800.0
