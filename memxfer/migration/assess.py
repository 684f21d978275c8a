"""`diff`: what would be lost, said before anything is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from memxfer.config import Config
from memxfer.engine.batching import Pipeline
from memxfer.engine.budget import ByteBudget
from memxfer.engine.calls import Caller
from memxfer.engine.control import RunControl, StopCause, Stopped
from memxfer.engine.listing import ListedPage, Listing, Slice
from memxfer.errors import ConfigError, InterruptedRunError, MemxferError
from memxfer.gaps import Census, EnvelopeBuilder, GapReport, build_report
from memxfer.ids import KeyTemplate
from memxfer.migration.endpoints import OpenEnd, named, open_end
from memxfer.migration.meter import Meter
from memxfer.migration.observer import Observer, Progress, SilentObserver
from memxfer.migration.options import Endpoint, Options, StopSignal
from memxfer.spi import MemoryProvider, Role, Selection, SupportsCount

__all__ = ["Assessment", "assess", "build_pipeline", "diff"]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a look at all records showed.

    Attributes:
        report: The gap report.
        census: The counts behind it.
    """

    report: GapReport
    census: Census


async def diff(
    source: Endpoint,
    target: Endpoint,
    *,
    config: Config | None = None,
    options: Options | None = None,
    observer: Observer | None = None,
) -> GapReport:
    """Compare two backends, by what they declare and by the records themselves. Writes nothing.

    Args:
        source: Where the records are.
        target: Where they would go.
        config: Where connections are named; default: the file of `load_config()`.
        options: `where` and `scan` are used.
        observer: Takes progress.

    Raises:
        ConfigError, ProviderError: An end cannot be opened or read.
    """
    options = options or Options()
    observer = observer or SilentObserver()
    async with (
        open_end(source, Role.SOURCE, config=config, observer=observer) as read,
        open_end(
            target, Role.TARGET, config=config, observer=observer, wait_ready=options.wait_ready
        ) as write,
    ):
        return (await assess(read, write, options=options, observer=observer)).report


def build_pipeline(source: OpenEnd, target: OpenEnd, where: str | None) -> Pipeline:
    """Return what turns the source's records into the target's documents."""
    store = source.provider.store()
    template = KeyTemplate(
        target.provider.config.document_id, provider=store.provider, namespace=store.namespace
    )
    envelope = EnvelopeBuilder(target.provider.capabilities(), store)
    return Pipeline(Selection.parse(where), template.key, envelope, target.provider)


async def assess(
    source: OpenEnd,
    target: OpenEnd,
    *,
    options: Options,
    observer: Observer,
    stop: StopSignal | None = None,
) -> Assessment:
    """Read the source once, in bounded memory, and count.

    Raises:
        ConfigError: The source is empty and the connection does not say that this is right.
        ProviderError: The source cannot be read.
        InterruptedRunError: `stop` was asked.
    """
    provider = source.provider
    control = RunControl(provider.clock)
    caller = Caller(provider.config, control, provider.clock)
    scan = _Scan(
        build_pipeline(source, target, options.where), options, budget=ByteBudget(options.buffer_bytes)
    )
    if stop is not None:
        scan.watch(stop, control)
    total = await _count(provider, caller)
    listing = Listing(provider, caller, budget=scan.budget, listers=options.listers)
    meter = Meter(observer, lambda: scan.progress(total))
    async with meter.running():
        await listing.run(_slices(listing), scan.take, until=lambda: scan.is_enough)
    if control.is_stopping:
        raise named(_failure(control), source.name)
    if listing.aborted:
        name, reason = next(iter(listing.aborted.items()))
        raise MemxferError(f"connection {source.name}: partition {name} cannot be listed: {reason}")
    if not scan.rows and not provider.config.allow_empty:
        raise ConfigError(_empty(source))
    ends = [(end.name, end.provider.capabilities()) for end in (source, target)]
    complete = scan.rows if not scan.is_enough else None
    report = build_report(
        scan.census, source=ends[0], target=ends[1], total=total if total is not None else complete
    )
    return Assessment(report, scan.census)


async def _count(provider: MemoryProvider[Any], caller: Caller) -> int | None:
    if not isinstance(provider, SupportsCount):
        return None
    try:
        return await caller.read(provider.count)
    except Stopped:
        return None  # the control knows why, and the listing after this ends at once


class _Scan:
    """Takes pages and counts them."""

    def __init__(self, pipeline: Pipeline, options: Options, *, budget: ByteBudget) -> None:
        self.census = Census()
        self.budget = budget
        self.rows = 0
        self.read = 0
        self._pipeline = pipeline
        self._limit = options.scan

    @property
    def is_enough(self) -> bool:
        """Whether as many records were read as was asked for."""
        return self._limit is not None and self.read >= self._limit

    def watch(self, stop: StopSignal, control: RunControl) -> None:
        """Let `stop` end the scan."""
        stop.on_request(lambda: control.stop(StopCause.INTERRUPTED, "interrupted"))

    async def take(self, item: Slice, page: ListedPage) -> None:
        """Count one page."""
        del item
        self.rows += len(page.records) + page.ignored + len(page.defects)
        for defect in page.defects:
            self.census.add_unreadable(defect.id)
        for listed in page.records:
            if self.is_enough:
                break
            self.read += 1
            if self._pipeline.selection.matches(listed.record):
                self.census.add(listed.record, self._pipeline.prepare(listed.record))
        await self.budget.release(page.size)

    def progress(self, total: int | None) -> Progress:
        """Say how far the scan is."""
        goal = min(total, self._limit) if total is not None and self._limit is not None else total
        return Progress("scan", self.read, goal)


async def _slices(listing: Listing) -> AsyncIterator[Slice]:
    async for partition in listing.partitions():
        yield Slice(partition)


def _failure(control: RunControl) -> MemxferError:
    if control.cause is StopCause.INTERRUPTED:
        return InterruptedRunError("interrupted while reading; nothing was written")
    return control.error if isinstance(control.error, MemxferError) else MemxferError(control.reason)


def _empty(source: OpenEnd) -> str:
    store = source.provider.store()
    return (
        f"connection {source.name}: the source holds no memories ({store.provider} {store.namespace!r}). "
        "Is it the right collection or project? If it is, set allow_empty = true on the connection."
    )
