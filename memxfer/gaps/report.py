"""The gap report: one line per dimension, counted on the user's own records."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from memxfer.capabilities import DimensionGroup

__all__ = ["SEVERITY", "Concern", "GapLine", "GapReport", "Verdict"]


class Verdict(StrEnum):
    """What becomes of one dimension."""

    KEPT = "kept"
    APPROXIMATED = "approximated"
    ENVELOPED = "enveloped"
    LOST = "lost"
    AT_RISK = "at_risk"
    READ_TIME_ONLY = "read_time_only"
    UNKNOWN = "unknown"
    LEFT_OUT = "left_out"
    """Rows that are no memories, so that nothing is lost."""


SEVERITY = (
    Verdict.KEPT,
    Verdict.LEFT_OUT,
    Verdict.READ_TIME_ONLY,
    Verdict.ENVELOPED,
    Verdict.APPROXIMATED,
    Verdict.AT_RISK,
    Verdict.UNKNOWN,
    Verdict.LOST,
)
"""Verdicts, harmless ones first."""


class Concern(StrEnum):
    """What a report has a line about although no record carries it: it lies between records, or in an end."""

    KEYS = "keys"
    """Records that would get one document key."""
    OWNERS = "owners"
    """Owners that would become one."""
    DUPLICATES = "duplicates"
    """Texts that an owner has several times."""
    LISTING = "listing"
    """Whether the source can be written to while it is read."""
    REPEATS = "repeats"
    """What the target does with a document that comes twice."""
    IGNORED = "ignored"
    """Rows that the source's provider does not read as memories, a line for each reason."""
    DECIDED = "decided"
    """Records that a decision of the target's connection leaves out, a line for each decision."""


class GapLine(BaseModel):
    """One dimension of one move.

    Attributes:
        dimension: A `Dimension`, a `Concern`, or `PROVIDER.FIELD` for an extension of the source's own.
        source: Level at which the source gives it, `"native"`.
        target: Level at which the target takes it.
        records: Records scanned that carry it, or rows; for read-time dimensions 0.
        estimate: How many records of the whole source would, where only a sample was read; else `None`.
        samples: Up to three source ids of such records.
        blocking: A decision is needed; consent is not enough.
        contradiction: Records carry what the source's adapter says it never gives.
        consequence: One sentence: what it means for these records.
        remedy: One sentence or flag: what to do about it; empty when nothing is to be done.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: str
    group: DimensionGroup
    source: str
    target: str
    verdict: Verdict
    records: int = 0
    estimate: int | None = None
    samples: tuple[str, ...] = ()
    blocking: bool = False
    contradiction: bool = False
    consequence: str = ""
    remedy: str = ""

    @property
    def needs_consent(self) -> bool:
        """Whether records would lose something that a user has to agree to lose."""
        return self.records > 0 and self.verdict is Verdict.LOST and not self.blocking


class GapReport(BaseModel):
    """The whole of a move, worst first within each group.

    Attributes:
        source: Name of the source connection.
        target: Name of the target connection.
        scanned: Records read for the counts.
        total: Records in the source; `None` if the scan was cut short and the source cannot count.
        sample: Only part of the source was read; counts are of that part, `estimate` tells of the whole.
        rows: Rows listed: `scanned`, `filtered`, `unreadable` and those of `ignored` add up to it.
        filtered: Records that the selection leaves out.
        unreadable: Rows that cannot be read as memories, although they look like some.
        ignored: Rows that are no memories, by reason.
        blocking: Whether any line is blocking.
        dimensions: Versioning, temporal, packaging and custom extensions first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    target: str
    scanned: int
    total: int | None
    sample: bool = False
    rows: int = 0
    filtered: int = 0
    unreadable: int = 0
    ignored: dict[str, int] = {}
    blocking: bool
    dimensions: tuple[GapLine, ...]
