"""Rows that a source lists and that become no record: why, in words, and as lines of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from memxfer.capabilities import DimensionGroup
from memxfer.gaps.report import Concern, GapLine, Verdict
from memxfer.spi.reading import NOT_A_MEMORY

__all__ = ["ignored_line", "ignored_words", "reason_words"]

_REASONS: Final[Mapping[str, str]] = {
    NOT_A_MEMORY: "no reason given",
    "ended": "ended facts, left out by current_only",
    "fact_source": "episodes that only stand for a fact",
    "listed_elsewhere": "shown again in the list of another owner",
    "marker": "markers of the backend",
    "mention": "edges that only say which episode mentions an entity",
    "missing_end": "facts that have lost an entity",
    "no_payload": "nothing but an id and a vector",
    "no_summary": "entities or summaries without a text",
    "no_text": "no text",
    "soft_deleted": "deleted, and still in the store",
    "superseded": "replaced by a later row",
    "telemetry": "telemetry of the backend",
    "text_under_content": "text in the field content, which is not read",
    "text_under_document": "text in the field document, which is not read",
    "text_under_memory": "text in the field memory, which is not read",
    "text_under_page_content": "text in the field page_content, which is not read",
    "text_under_text": "text in the field text, which is not read",
}
"""What people read for a reason. A provider's own reason that is not here is shown as its words."""


def reason_words(reason: str) -> str:
    """Return what people read for a reason."""
    return _REASONS.get(reason, reason.replace("_", " "))


def ignored_words(rows: Mapping[str, int]) -> str:
    """Return how many rows are ignored, by reason: `40 (no text 38, markers of the backend 2)`."""
    reasons = (f"{reason_words(reason)} {number:,}" for reason, number in rows.items())
    return f"{sum(rows.values()):,} ({'; '.join(reasons)})"


def ignored_line(
    reason: str,
    rows: int,
    *,
    source: str,
    harmless: bool,
    samples: Sequence[str] = (),
    estimate: int | None = None,
) -> GapLine:
    """Return what a report says about rows that are ignored for one reason.

    Args:
        reason: Why, as the provider has it.
        rows: How many.
        source: Name of the source connection.
        harmless: Nothing is lost with them, so that nobody has to agree.
        samples: A few of their ids.
        estimate: How many they are in the whole source, where part of it was read.
    """
    counted = f"1 row of {source} is" if rows == 1 else f"{rows:,} rows of {source} are"
    fate = "Nothing is lost" if harmless else "Nothing of that is moved or kept"
    return GapLine(
        dimension=Concern.IGNORED,
        group=DimensionGroup.CONTENT,
        source="none",
        target="none",
        verdict=Verdict.LEFT_OUT if harmless else Verdict.LOST,
        records=rows,
        estimate=estimate,
        samples=tuple(samples),
        consequence=f"{counted} ignored: {reason_words(reason)} ({reason}). {fate}.",
        remedy="" if harmless else f"--accept-loss {Concern.IGNORED.value}",
    )
