"""Jobs as text: what one came to, what there are, what failed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from memxfer.gaps.ignored import ignored_words
from memxfer.gaps.report import Concern, GapLine, Verdict
from memxfer.migration.results import Counts, Failure, JobResult, JobStatus, JobSummary
from memxfer.report.console import Prose
from memxfer.report.gap_words import ignored_texts
from memxfer.report.gaps import losses_view
from memxfer.report.text import amount, duration, plain, plural, shorten

__all__ = ["FAILURE_HEADER", "failure_line", "jobs_view", "result_view"]

FAILURE_HEADER = "id\tkey\tstate\tcode\treason\tcorrelation id"
"""Names of the columns of `failure_line`."""

_GONE = (Verdict.LOST, Verdict.AT_RISK, Verdict.UNKNOWN)
_STYLES = {
    JobStatus.COMPLETED: "bold green",
    JobStatus.RUNNING: "bold",
    JobStatus.FAILED: "bold red",
}


def result_view(result: JobResult) -> RenderableType:
    """Return what a job came to, in a few lines."""
    head = Text.assemble(
        plain(result.job), ": ", (_words(result.status), _STYLES.get(result.status, "bold yellow"))
    )
    parts: list[RenderableType] = [head, Text(f"  {_sum(result.counts)}")]
    if result.ignored:
        parts.append(Text(f"  {_rows(result)}"))
    parts.append(Text(f"  {_effort(result)}"))
    parts += _losses(result.losses)
    if result.residue:
        parts.append(
            Prose(
                f"  originals of {plural(result.residue, 'record')} are kept in {plain(result.residue_path)}"
            )
        )
    if result.message:
        parts += [Text(), Prose(plain(result.message))]
    elif result.counts.failed or result.counts.rejected or result.counts.uncertain:
        parts.append(Prose(f"Which records and why: `memxfer failures {plain(result.job)}`"))
    return Group(*parts)


def _losses(lines: Sequence[GapLine]) -> list[RenderableType]:
    """Show what is gone; what was only approximated is in the gap report, and one line here."""
    memories = [line for line in lines if line.dimension != Concern.IGNORED]
    gone = [line for line in memories if line.verdict in _GONE]
    rest = len(memories) - len(gone)
    parts: list[RenderableType] = [Text(), losses_view(gone)] if gone else []
    parts += [Text(f"  {text}") for text in ignored_texts(lines)]
    if rest:
        parts.append(
            Text(f"  {plural(rest, 'dimension')} approximated or in metadata: memxfer diff shows which")
        )
    return parts


def jobs_view(jobs: Sequence[JobSummary]) -> RenderableType:
    """Return two lines per job; the first begins with its id, in one piece, to be copied."""
    if not jobs:
        return Text("No jobs here.")
    return Group(*map(_job_view, jobs))


def failure_line(failure: Failure) -> str:
    """Return one failure as a line of six columns with tabs between."""
    cells = (
        failure.id,
        failure.key or "",
        failure.state,
        failure.code or "",
        failure.reason,
        failure.correlation_id or "",
    )
    return "\t".join(map(plain, cells))


def _job_view(job: JobSummary) -> Text:
    status = "running now" if job.running else _words(job.status)
    ends = f"{shorten(job.source, 32)} -> {shorten(job.target, 32)}"
    started = plain(job.created_at)[:16].replace("T", " ")
    return Text.assemble(
        (plain(job.job), "bold"),
        f"  {status}, {amount(job.stored)} of {amount(job.listed)} stored\n",
        (f"    {ends}, begun {started}", "dim"),
    )


def _words(status: JobStatus) -> str:
    return status.value.replace("_", " ")


def _sum(counts: Counts) -> str:
    """Return `listed 10 = stored 8 + failed 2`."""
    states = {
        name.replace("_", " "): number for name, number in counts.model_dump().items() if name != "listed"
    }
    shown = " + ".join(f"{name} {number:,}" for name, number in states.items() if number) or "nothing"
    return f"listed {counts.listed:,} = {shown}"


def _rows(result: JobResult) -> str:
    """Return `12 rows = listed 10 + ignored 2 (markers of the backend 2)`."""
    rows = result.counts.listed + sum(result.ignored.values()) + result.filtered
    filtered = f" + outside the selection {result.filtered:,}" if result.filtered else ""
    listed = f"listed {result.counts.listed:,}"
    return plain(f"{plural(rows, 'row')} = {listed} + ignored {ignored_words(result.ignored)}{filtered}")


def _effort(result: JobResult) -> str:
    parts = [plural(result.documents, "document") + " acknowledged", f"{result.resent:,} sent again"]
    if result.seconds:
        parts.append(f"{duration(result.seconds)}, {result.records_per_second:,.0f} records/s")
    return "; ".join(parts)
