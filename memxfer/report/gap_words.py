"""The words of a gap report: what people read for groups, levels and verdicts, and what these mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from memxfer.capabilities import DimensionGroup
from memxfer.gaps.report import Concern, GapLine
from memxfer.report.text import plain

__all__ = [
    "KINDS",
    "LEVELS",
    "PARTS",
    "TITLES",
    "Kind",
    "dimension_name",
    "ignored_texts",
    "share_words",
]

Kind = Literal[
    "blocked",
    "lost",
    "unknown",
    "at_risk",
    "approximated",
    "enveloped",
    "read_time_only",
    "left_out",
    "kept",
    "absent",
]
"""What a row is coloured by: blocked, a verdict, or absent where no record has it."""

TITLES = {
    DimensionGroup.VERSIONING: "Versioning",
    DimensionGroup.TEMPORAL: "Temporal",
    DimensionGroup.PACKAGING: "Packaging",
    DimensionGroup.EXTENSIONS: "Custom extensions",
    DimensionGroup.IDENTITY: "Identity",
    DimensionGroup.CONTENT: "Content",
    DimensionGroup.CONTEXT: "Context",
}
"""Group titles, in the order of the report."""

PARTS = {
    "What everybody asks first": tuple(TITLES)[:4],
    "Identity and content": (DimensionGroup.IDENTITY, DimensionGroup.CONTENT),
    "The rest": (DimensionGroup.CONTEXT,),
}
"""Groups, in the order and under the headings of a page. Those of the first part always appear."""

KINDS: dict[Kind, tuple[str, str]] = {
    "blocked": ("BLOCKED", "needs a decision of yours before anything is written; consent is not enough"),
    "lost": ("lost", "does not arrive, and needs your consent"),
    "unknown": ("unknown", "nobody can tell before the move"),
    "at_risk": ("at risk", "may not arrive, or is missed by apps that rely on it"),
    "approximated": ("approximated", "arrives less precisely, or in another form"),
    "enveloped": ("in metadata", "travels in the target's metadata, under memxfer, and is not used there"),
    "read_time_only": ("when reading", "nothing to move: it is worked out when somebody asks for it"),
    "left_out": ("left out", "is no memory of its own, or a decision of yours leaves it out"),
    "kept": ("kept", "arrives as it is"),
    "absent": ("-", "in none of the records that were read"),
}
"""Word and meaning of what becomes of a dimension, worst first."""

LEVELS = {
    "native": ("yes", "as it is"),
    "lossy": ("partly", "less precisely, or in another form"),
    "envelope": ("metadata", "carried along under memxfer, unused"),
    "none": ("no", "has no place for it"),
    "unknown": ("unknown", "nobody can tell"),
}
"""Word and meaning of how well one side holds a dimension, best first."""

_FINDINGS = {
    Concern.KEYS: "shared keys",
    Concern.OWNERS: "merged owners",
    Concern.LISTING: "safe listing",
    Concern.REPEATS: "sending twice",
    Concern.IGNORED: "ignored rows",
    Concern.DECIDED: "left out by decision",
}


def dimension_name(dimension: str) -> str:
    """Return `created at` for `created_at`; a source's own field, `mem0.last_change`, stays as it is."""
    if dimension in _FINDINGS:
        return _FINDINGS[Concern(dimension)]
    return plain(dimension if "." in dimension else dimension.replace("_", " "))


def ignored_texts(lines: Iterable[GapLine]) -> list[str]:
    """Return what the lines about ignored rows say, each with a few ids."""
    return [
        plain(f"{line.consequence} E.g. {', '.join(line.samples)}" if line.samples else line.consequence)
        for line in lines
        if line.dimension == Concern.IGNORED
    ]


def share_words(share: float) -> str:
    """Return `12%` for 0.12; what is not none is never shown as 0%, what is not all never as 100%."""
    if 0 < share < 0.01:
        return "under 1%"
    if 0.99 < share < 1:
        return "over 99%"
    return f"{share:.0%}"
