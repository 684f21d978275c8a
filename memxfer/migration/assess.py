"""`diff`: what would be lost, said before anything is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memxfer.config import Config
from memxfer.engine.budget import ByteBudget
from memxfer.engine.calls import Caller
from memxfer.engine.control import RunControl, StopCause, Stopped
from memxfer.engine.listing import ListedPage, Listing, Slice
from memxfer.engine.pipeline import TELLING_TWINS, Pipeline
from memxfer.errors import ConfigError, InterruptedRunError, MemxferError
from memxfer.gaps import Agreement, Census, End, EnvelopeBuilder, GapReport, build_report, ignored_words
from memxfer.identity import IdentityMap
from memxfer.ids import KeyTemplate
from memxfer.migration.endpoints import OpenEnd, named, open_pair
from memxfer.migration.meter import Meter
from memxfer.migration.observer import Observer, Progress, SilentObserver
from memxfer.migration.options import Endpoint, Options, StopSignal
from memxfer.migration.sampling import read_sample
from memxfer.plan import Forecast, Forecaster
from memxfer.spi import MemoryProvider, Selection, SupportsCount, SupportsLookup

__all__ = ["Assessment", "assess", "build_pipeline", "diff", "end_of", "no_hits", "read_identity"]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a look at all records showed.

    Attributes:
        report: The gap report.
        forecast: What the move would take.
    """

    report: GapReport
    forecast: Forecast


async def diff(
    source: Endpoint,
    target: Endpoint,
    *,
    config: Config | None = None,
    state_dir: str | Path | None = None,
    options: Options | None = None,
    observer: Observer | None = None,
) -> GapReport:
    """Compare two backends, by what they declare and by the records themselves. Writes nothing.

    Args:
        source: Where the records are.
        target: Where they would go.
        config: Where connections are named; default: the file of `load_config()`.
        state_dir: Where what was learned about the connections is kept.
        options: `where` and `scan` are used.
        observer: Takes progress.

    Raises:
        ConfigError, ProviderError: An end cannot be opened or read.
    """
    options = options or Options()
    observer = observer or SilentObserver()
    async with open_pair(
        source,
        target,
        config=config,
        state_dir=state_dir,
        observer=observer,
        wait_ready=options.wait_ready,
    ) as (read, write):
        return (await assess(read, write, options=options, observer=observer, forecasts=False)).report


def build_pipeline(
    source: OpenEnd, target: OpenEnd, where: str | None, *, agreement: Agreement | None = None
) -> Pipeline:
    """Return what turns the source's records into the target's documents.

    Args:
        source: Where the records are.
        target: Where they go.
        where: Which of them.
        agreement: What may be lost; without one, nothing is held back.
    """
    store = source.provider.store()
    template = KeyTemplate(
        target.provider.config.document_id, provider=store.provider, namespace=store.namespace
    )
    envelope = EnvelopeBuilder(target.provider.capabilities(), store)
    writing = target.provider.capabilities().writing
    return Pipeline(
        Selection.parse(where),
        template.key,
        envelope,
        target.provider,
        read_identity(target.provider),
        agreement=agreement,
        shares_keys=not template.tells_apart
        and (writing is None or not (writing.keeps_apart or writing.client_key in TELLING_TWINS)),
    )


def read_identity(target: MemoryProvider[Any]) -> IdentityMap | None:
    """Return the target's identity file, where its connection names one.

    Raises:
        ConfigError: The file cannot be read, or leaves a doubt.
    """
    path = target.config.identity
    return None if path is None else IdentityMap.read(path)


async def assess(
    source: OpenEnd,
    target: OpenEnd,
    *,
    options: Options,
    observer: Observer,
    stop: StopSignal | None = None,
    forecasts: bool = True,
) -> Assessment:
    """Read the source once, in bounded memory, and count; without `forecasts`, only what would be lost.

    Raises:
        ConfigError: The source is empty, or nothing in it meets the selection, and the connection does not
            say that this is right.
        ProviderError: The source cannot be read.
        InterruptedRunError: `stop` was asked.
    """
    control = RunControl(source.provider.clock)
    if stop is not None:
        stop.on_request(lambda: control.stop(StopCause.INTERRUPTED, "interrupted"))
    scan = _Scan(source, target, options, forecasts=forecasts)
    try:
        total = await _read(source, scan, control=control, options=options, observer=observer)
        report = build_report(
            scan.census,
            source=end_of(source),
            target=end_of(target),
            total=total,
            is_sample=scan.is_part,
            hidden=0 if total is None or scan.is_part else max(0, total - scan.rows),
            keeps_originals=options.residue != "off",
        )
        forecast = scan.forecast.finished(scan.census) if scan.forecast else Forecast()
        return Assessment(report, forecast)
    finally:
        scan.census.crossings.close()


async def _read(
    source: OpenEnd, scan: _Scan, *, control: RunControl, options: Options, observer: Observer
) -> int | None:
    """Read what is to be read; return how many rows the source has, where that can be told."""
    provider = source.provider
    caller = Caller(provider.config, control, provider.clock)
    total = await _count(provider, caller)
    listing = Listing(provider, caller, budget=scan.budget, listers=options.listers)
    meter = Meter(observer, lambda: scan.progress(total))
    async with meter.running():
        if options.scan is None:
            await listing.run(_slices(listing), scan.take)
        else:
            scan.is_part = await read_sample(listing, scan.take, missing=lambda: scan.missing)
    if control.is_stopping:
        raise named(_failure(control), source.name)
    if listing.aborted:
        name, reason = next(iter(listing.aborted.items()))
        raise MemxferError(f"connection {source.name}: partition {name} cannot be listed: {reason}")
    if not scan.rows and not provider.config.allow_empty:
        raise ConfigError(_empty(source))
    if scan.finds_nothing and not provider.config.allow_empty:
        raise ConfigError(no_hits(source.name, options.where or "", ignored=scan.census.ignored_rows()))
    return total if total is not None or scan.is_part else scan.rows


def end_of(end: OpenEnd) -> End:
    """Return what a gap report has to know of an open connection."""
    provider = end.provider
    return End(
        end.name,
        provider.capabilities(),
        can_look_up=isinstance(provider, SupportsLookup),
        allows_widening=provider.config.widening == "allow",
    )


async def _count(provider: MemoryProvider[Any], caller: Caller) -> int | None:
    if not isinstance(provider, SupportsCount):
        return None
    try:
        return await caller.read(provider.count)
    except Stopped:
        return None  # the control knows why, and the listing after this ends at once


class _Scan:
    """Takes pages and counts them.

    Attributes:
        census: What the records carry.
        forecast: What moving them would take; `None` where nobody asks.
        budget: Bytes that may be in memory.
        rows: Rows seen, those that are no memories included.
        is_part: Part of the source was not read.
    """

    def __init__(self, source: OpenEnd, target: OpenEnd, options: Options, *, forecasts: bool) -> None:
        provider = target.provider
        self.census = Census(provider.capabilities(), now=provider.clock.now())
        self.forecast = Forecaster(source.provider, provider, residue=options.residue) if forecasts else None
        self.budget = ByteBudget(options.buffer_bytes)
        self.rows = 0
        self.is_part = False
        self._read = 0
        self._pipeline = build_pipeline(source, target, options.where)
        self._limit = options.scan

    @property
    def finds_nothing(self) -> bool:
        """Whether all of the source was read, and the selection takes none of it."""
        return bool(self._pipeline.selection) and not self.is_part and not self.census.scanned

    @property
    def missing(self) -> int:
        """Records still wanted of a sample."""
        return self._limit - self._read if self._limit is not None else 1

    async def take(self, item: Slice, page: ListedPage) -> None:
        """Count one page."""
        del item
        if self.forecast:
            self.forecast.add_page()
        self.rows += len(page.records) + len(page.ignored) + len(page.defects)
        for row in page.ignored:
            self.census.add_ignored(row)
        for defect in page.defects:
            self.census.add_unreadable(defect.id)
        pipeline = self._pipeline
        selection = pipeline.selection
        for listed in page.records:
            if self.missing <= 0:
                break
            self._read += 1
            record = listed.record
            if selection.matches(record):
                prepared = pipeline.prepare_listed(listed)
                self.census.add(pipeline.mapped(record), prepared, digest=listed.hash)
                if self.forecast:
                    self.forecast.add(record, prepared)
            else:
                self.census.filtered += 1
        await self.budget.release(page.size)

    def progress(self, total: int | None) -> Progress:
        """Say how far the scan is."""
        goal = min(total, self._limit) if total is not None and self._limit is not None else total
        return Progress("scan", self._read, goal)


async def _slices(listing: Listing) -> AsyncIterator[Slice]:
    async for partition in listing.partitions():
        yield Slice(partition)


def _failure(control: RunControl) -> MemxferError:
    if control.cause is StopCause.INTERRUPTED:
        return InterruptedRunError("interrupted while reading; nothing was written")
    return control.error if isinstance(control.error, MemxferError) else MemxferError(control.reason)


def no_hits(source: str, where: str, *, ignored: Mapping[str, int]) -> str:
    """Say that a selection takes nothing, and which rows it was not asked about."""
    beside = f" It is not asked about rows that are no memories: {ignored_words(ignored)}." if ignored else ""
    return (
        f"connection {source}: no memory meets --where {where!r}, so nothing would be moved.{beside} "
        "Check names and spelling; `memxfer diff` shows what the source holds. If it is right, set "
        "allow_empty = true on the connection"
    )


def _empty(source: OpenEnd) -> str:
    store = source.provider.store()
    return (
        f"connection {source.name}: the source holds no memories ({store.provider} {store.namespace!r}). "
        "Is it the right collection or project? If it is, set allow_empty = true on the connection."
    )
