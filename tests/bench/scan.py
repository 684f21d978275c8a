"""Counting what a move would lose, beside only listing: the same source over HTTP, in one run.

`list` reads a source through the engine and drops what it gets; `synap` and `archive` are the scan of
`memxfer diff` against such a target. Each runs in a process of its own, in turns; medians count.
Bars: the scan at 60 % of the listing's rate or more; a million records in at most 100 MB, of which the
last quarter takes at most 10 % more than the first. Run it with `python tests/bench/scan.py [ROWS
MANY]` (part of `make bench`); it says PASS or MISS, and exits 0 either way unless it broke.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator

import aiohttp
from _http_source import MAX_PAGE, SPACES, PagesProvider, serving
from _move import Scale
from move import emulator, run

import memxfer
from memxfer.cli.running import run as run_verb
from memxfer.config import Config, Connection
from memxfer.engine.budget import ByteBudget
from memxfer.engine.calls import Caller
from memxfer.engine.control import RunControl
from memxfer.engine.listing import ListedPage, Listing, Slice
from memxfer.migration import Options
from memxfer.spi import RemoteConfig, Role
from memxfer_synap.emulator import EMULATOR_API_KEY

ROWS = 200_000
MANY = 1_000_000
WARM_UP = 3_200
ROUNDS = 3
LANES = 16
RATE_BAR = 0.60
FLAT_BAR = 1.10
MOST_BAR = 100


# -- one measurement, in a process of its own -----------------------------------------------------


def _source(url: str, rows: int) -> PagesProvider:
    config = {"provider": "bench-pages", "api_key": "none", "base_url": f"{url}/{rows}"}
    return PagesProvider(RemoteConfig.model_validate(config))


async def _list(url: str, rows: int) -> int:
    """List all rows through the engine; the consumer only gives back the room they took."""
    source = _source(url, rows)
    await source.connect(Role.SOURCE)
    options = Options()
    control = RunControl(source.clock)
    budget = ByteBudget(options.buffer_bytes)
    caller = Caller(source.config, control, source.clock)
    listing = Listing(source, caller, budget=budget, listers=options.listers)
    read = 0

    async def slices() -> AsyncIterator[Slice]:
        async for partition in listing.partitions():
            yield Slice(partition)

    async def drop(_: Slice, page: ListedPage) -> None:
        nonlocal read
        read += len(page.records)
        await budget.release(page.size)

    await listing.run(slices(), drop)
    await source.aclose()
    if control.cause or listing.aborted:
        raise RuntimeError(control.reason or str(listing.aborted))
    return read


async def _scan(url: str, rows: int, target: str, synap_url: str) -> int:
    """Count what a move would lose, as `memxfer diff` does."""
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, str] = {"path": f"{folder}/target"}
        if target == "synap":
            settings = {"api_key": EMULATOR_API_KEY, "base_url": synap_url, "transport": "http"}
            settings["customer_id"] = "bench"
        config = Config({"new": Connection("new", target, settings, "bench")})
        return (await memxfer.diff(_source(url, rows), "new", config=config, state_dir=folder)).scanned


async def _bare(url: str, rows: int) -> int:
    """Fetch every page without looking into it: what the server can give."""
    spaces = iter(range(SPACES))
    async with aiohttp.ClientSession() as session:

        async def lane() -> None:
            for space in spaces:
                for begin in range(0, rows // SPACES, MAX_PAGE):
                    asked = {"space": f"space-{space}", "limit": str(MAX_PAGE), "cursor": str(begin)}
                    async with session.get(f"{url}/{rows}/memories", params=asked) as answer:
                        await answer.read()

        await asyncio.gather(*(lane() for _ in range(LANES)))
    return rows


async def _measure(what: str, url: str, rows: int, synap_url: str) -> None:
    """Do it once small, for what is imported late, and once in full; print figures as JSON."""

    async def work(count: int) -> int:
        if what == "bare":
            return await _bare(url, count)
        return await (_list(url, count) if what == "list" else _scan(url, count, what, synap_url))

    await work(WARM_UP)
    with Scale() as scale:
        began, cpu = time.perf_counter(), time.process_time()
        read = await work(rows)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if read != rows:
        raise RuntimeError(f"{what}: {read} of {rows} rows")
    sizes = [size for _, size in scale.samples] or [0.0]
    quarter = max(1, len(sizes) // 4)
    print(
        json.dumps(
            {
                "rate": rows / seconds,
                "cpu": cpu / rows * 1e6,
                "rss_first": sum(sizes[:quarter]) / quarter,
                "rss_last": sum(sizes[-quarter:]) / quarter,
                "rss_most": max(sizes),
            }
        )
    )


# -- the run --------------------------------------------------------------------------------------


def _verdict(bar: str, *, is_met: bool) -> None:
    print(f"  {'PASS' if is_met else 'MISS'}: {bar}")


def main(rows: int, many: int) -> None:
    """Measure everything and print it."""
    kinds = ("list", "synap", "archive")
    figures: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    with serving() as url, emulator(0.0) as synap_url:
        ceiling = run("scan.py", "--one", "bare", url, str(rows), synap_url)["rate"]
        print(f"the server alone, to a bare client with {LANES} lanes: {ceiling:,.0f} records/s")
        for _ in range(ROUNDS):
            for kind in kinds:
                figures[kind].append(run("scan.py", "--one", kind, url, str(rows), synap_url))
        big = run("scan.py", "--one", "synap", url, str(many), synap_url)
    medians = {
        kind: {name: statistics.median(one[name] for one in found) for name in ("rate", "cpu")}
        for kind, found in figures.items()
    }
    print(f"{rows:,} records, medians of {ROUNDS}, in turns:")
    for kind, median in medians.items():
        share = median["rate"] / medians["list"]["rate"]
        print(
            f"  {kind:<8}{median['rate']:>9,.0f} records/s  {median['cpu']:5.1f} us CPU/record  {share:.2f}x"
        )
    for kind in kinds[1:]:
        share = medians[kind]["rate"] / medians["list"]["rate"]
        _verdict(f"scan against {kind} at {RATE_BAR:.2f}x of listing or more", is_met=share >= RATE_BAR)
    growth = big["rss_last"] / big["rss_first"]
    print(
        f"{many:,} records against synap: {big['rate']:,.0f} records/s, {big['cpu']:.1f} us CPU/record; RSS "
        f"first quarter {big['rss_first']:.0f} MB, last {big['rss_last']:.0f} MB ({growth:.2f}x), "
        f"most {big['rss_most']:.0f} MB"
    )
    _verdict(f"last quarter at most {FLAT_BAR:.2f}x the first", is_met=growth <= FLAT_BAR)
    _verdict(f"at most {MOST_BAR} MB", is_met=big["rss_most"] <= MOST_BAR)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _, _, kind, address, count, synap_address = sys.argv
        run_verb(_measure(kind, address, int(count), synap_address))  # as the command line does
    else:
        main(*(map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (ROWS, MANY)))
