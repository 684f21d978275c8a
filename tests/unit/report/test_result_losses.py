"""A result shows what is gone; what is only approximated takes one line."""

from __future__ import annotations

import io

from rich.console import Console

from memxfer.capabilities import Dimension, DimensionGroup
from memxfer.gaps.report import GapLine, Verdict
from memxfer.migration.results import Counts, JobResult, JobStatus
from memxfer.report.jobs import result_view


def _line(dimension: Dimension, verdict: Verdict) -> GapLine:
    return GapLine(
        dimension=dimension,
        group=DimensionGroup.CONTENT,
        source="native",
        target="none",
        verdict=verdict,
        records=3,
        consequence=f"about {dimension.value}.",
    )


def test_lost_dimensions_are_explained_and_the_others_counted() -> None:
    lines = (
        _line(Dimension.VERSIONS, Verdict.LOST),
        _line(Dimension.KIND, Verdict.ENVELOPED),
        _line(Dimension.CREATED_AT, Verdict.APPROXIMATED),
    )
    result = JobResult(job="j", status=JobStatus.COMPLETED, counts=Counts(listed=3, stored=3), losses=lines)
    console = Console(file=io.StringIO(), width=100)

    console.print(result_view(result))
    shown = console.file.getvalue()

    assert "about versions." in shown
    assert "about kind." not in shown
    assert "2 dimensions approximated or in metadata" in shown
