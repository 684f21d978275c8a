"""The gap report: one line per dimension, counted on the user's own records."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from memxfer.capabilities import Dimension, DimensionGroup

__all__ = ["GapLine", "GapReport", "Verdict"]


class Verdict(StrEnum):
    """What becomes of one dimension."""

    KEPT = "kept"
    APPROXIMATED = "approximated"
    ENVELOPED = "enveloped"
    LOST = "lost"
    AT_RISK = "at_risk"
    READ_TIME_ONLY = "read_time_only"
    UNKNOWN = "unknown"


class GapLine(BaseModel):
    """One dimension of one move.

    Attributes:
        source: Level at which the source gives it, `"native"`.
        target: Level at which the target takes it.
        records: Records scanned that carry it; for read-time dimensions 0.
        samples: Up to three source ids of such records.
        blocking: A decision is needed; consent is not enough.
        contradiction: Records carry what the source's adapter says it never gives.
        consequence: One sentence: what it means for these records.
        remedy: One sentence or flag: what to do about it; empty when nothing is to be done.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: Dimension
    group: DimensionGroup
    source: str
    target: str
    verdict: Verdict
    records: int = 0
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
        blocking: Whether any line is blocking.
        dimensions: Versioning, temporal, packaging and custom extensions first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    target: str
    scanned: int
    total: int | None
    blocking: bool
    dimensions: tuple[GapLine, ...]
