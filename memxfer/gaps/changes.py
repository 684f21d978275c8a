"""What a provider may have to do to a single document, and what that means."""

from __future__ import annotations

from dataclasses import dataclass

from memxfer.capabilities import Dimension, DimensionGroup
from memxfer.gaps.report import Verdict

__all__ = ["CHANGES", "UNFORESEEN", "DocumentChange"]


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """One kind of change.

    Attributes:
        dimension: What it touches.
        group: Where it stands in a report.
        verdict: How bad it is.
        text: What it means, following "n memories"; `{target}` is the target's name.
    """

    dimension: Dimension
    group: DimensionGroup
    verdict: Verdict
    text: str


CHANGES = {
    "nul_replaced": DocumentChange(
        Dimension.SANITISED,
        DimensionGroup.CONTENT,
        Verdict.APPROXIMATED,
        "hold NUL characters, which {target} does not take; each arrives as the visible sign U+2400",
    ),
    "envelope_dropped": DocumentChange(
        Dimension.EXTENSIONS,
        DimensionGroup.EXTENSIONS,
        Verdict.LOST,
        "carry more than fits into {target}'s metadata; what travels under memxfer is left out for them",
    ),
}
"""By the word a provider notes in `Document.changes`."""

UNFORESEEN = DocumentChange(
    Dimension.CONTENT,
    DimensionGroup.CONTENT,
    Verdict.APPROXIMATED,
    "are altered to fit {target}",
)
"""For a word of a provider that is not known here: counted all the same."""
