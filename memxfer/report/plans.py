"""A plan as text: what would be moved, where it lands, what it loses, takes and costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memxfer.gaps.report import Concern, Verdict
from memxfer.plan import Forecast, JobPlan
from memxfer.report.gap_words import ignored_texts
from memxfer.report.text import amount, duration, plain, plural, size

__all__ = ["plan_view"]

_FATES = (
    (Verdict.LOST, "lost"),
    (Verdict.AT_RISK, "at risk"),
    (Verdict.UNKNOWN, "unknown"),
    (Verdict.APPROXIMATED, "approximated"),
    (Verdict.ENVELOPED, "in metadata"),
)


def plan_view(plan: JobPlan, *, free: int | None = None) -> RenderableType:
    """Return what a plan says, in the order in which somebody decides about it.

    Args:
        plan: The plan, with its forecast.
        free: Bytes free where its residue would be kept.
    """
    title = Text(f"Plan: {plain(plan.source.connection)} -> {plain(plan.target.connection)}", style="bold")
    forecast = plan.forecast or Forecast()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for number, text in (*_counts(plan, forecast), *_places(forecast), *_takes(forecast, free)):
        table.add_row(Text(number), Text(plain(text)))
    return Group(title, Text(), table, *_fates(plan), *_ignored(plan))


def _counts(plan: JobPlan, forecast: Forecast) -> Iterator[tuple[str, str]]:
    chosen = f", where {plan.where}" if plan.where else ""
    yield amount(forecast.listed), f"memories in {plan.source.connection}{chosen}"
    if plan.sample is not None:
        yield amount(plan.sample), "of them at most, as a sample"
    if forecast.ignored:
        yield amount(sum(forecast.ignored.values())), "rows beside them are ignored, for the reasons below"
    yield amount(forecast.documents), f"would be sent to {plan.target.connection}"
    for reason, number in forecast.skipped.items():
        yield amount(number), f"are left out, as decided ({reason})"
    for code, number in forecast.undecided.items():
        yield amount(number), f"wait for a decision of yours ({code})"
    for code, number in forecast.rejected.items():
        yield amount(number), f"can never be sent ({code}); `memxfer failures` will list them"


def _places(forecast: Forecast) -> Iterator[tuple[str, str]]:
    for place in forecast.places:
        yield amount(place.records), f"land with {_owners(place.owners, place.scope)}"


def _owners(number: int, scope: str) -> str:
    return plural(number, scope if scope not in ("shared", "client") else f"{scope} place")


def _takes(forecast: Forecast, free: int | None) -> Iterator[tuple[str, str]]:
    requests = forecast.read_requests + forecast.write_requests + forecast.status_requests
    detail = f"{amount(forecast.read_requests)} to read, {amount(forecast.write_requests)} to write"
    if forecast.status_requests:
        detail += f", {amount(forecast.status_requests)} or more to ask what was processed"
    yield amount(requests), f"requests: {detail}"
    yield size(forecast.bytes), "of documents"
    if forecast.seconds is not None:
        yield duration(forecast.seconds), "at the least, under the rate limits that are known"
    if forecast.cost is not None:
        yield f"{forecast.cost:,.2f}", "is what the documents cost, at the connection's unit_price"
    if forecast.originals:
        room = f" of {size(free)} free" if free is not None else ""
        originals = plural(forecast.originals, "original")
        yield size(forecast.originals_bytes), f"for {originals} that this job keeps in its residue{room}"


def _ignored(plan: JobPlan) -> list[RenderableType]:
    lines = ignored_texts(plan.report.dimensions) if plan.report else []
    return [Text(), *map(Text, lines)] if lines else []


def _fates(plan: JobPlan) -> list[RenderableType]:
    told = plan.report.dimensions if plan.report else ()
    lines = [line for line in told if line.dimension != Concern.IGNORED]
    counts = Counter(line.verdict for line in lines if line.records and not line.blocking)
    blocked = sum(line.blocking for line in lines)
    said = [f"{blocked} to be decided"] if blocked else []
    said += [f"{counts[verdict]} {word}" for verdict, word in _FATES if counts[verdict]]
    if not said:
        return [Text(), Text("Everything that the memories carry is kept.")]
    text = f"Of what the memories carry: {', '.join(said)}. `memxfer diff` shows each."
    return [Text(), Text(text)]
