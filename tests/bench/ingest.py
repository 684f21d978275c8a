"""What `ingest` costs an app: with an outbox, beside a bare SQLite insert of the same row, in one run.

Both are durable when they return (WAL, synchronous=FULL), and take turns. Run it with
`python tests/bench/ingest.py [CALLS]`; bar: the 99th percentile is at most three times the bare insert's.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from memxfer.client import MemoryClient
from memxfer.models import Scope

CALLS = 5_000
BLOCK = 100
BAR = 3.0
TEXT = "Ann said that she would rather have green tea than coffee, and no sugar. " * 4


def percentile(seconds: list[float], share: float) -> float:
    """Return a percentile in microseconds."""
    return sorted(seconds)[int(len(seconds) * share)] * 1e6


def insert(connection: sqlite3.Connection, number: int) -> float:
    """Insert one row, and make it durable."""
    began = time.perf_counter()
    with connection:
        connection.execute("INSERT INTO entry VALUES (?, ?, ?)", (number, f"turn_{number}", TEXT))
    return time.perf_counter() - began


async def ingest(memory: MemoryClient, number: int) -> float:
    """Say one turn."""
    began = time.perf_counter()
    handle = await memory.ingest(
        messages=[{"role": "user", "content": TEXT}], scope=Scope(user="ann", session=f"s{number % 20}")
    )
    seconds = time.perf_counter() - began
    assert handle.is_kept
    return seconds


async def measure(folder: Path, calls: int) -> tuple[list[float], list[float]]:
    """Time both, in blocks that take turns, while the outbox is delivered in the background."""
    bare: list[float] = []
    ours: list[float] = []
    with closing(sqlite3.connect(folder / "bare.sqlite")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, name TEXT, text TEXT)")
        settings = {"provider": "memory", "store": "bench"}
        async with MemoryClient({"memory": settings}, outbox=folder / "outbox.sqlite") as memory:
            for start in range(0, calls, BLOCK):
                bare += [insert(connection, number) for number in range(start, start + BLOCK)]
                for number in range(start, start + BLOCK):
                    ours.append(await ingest(memory, number))
                    await asyncio.sleep(0.001)  # an app does other things too
    return bare, ours


def main() -> int:
    """Print both; 1 when the bar is missed."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    with tempfile.TemporaryDirectory() as folder:
        bare, ours = asyncio.run(measure(Path(folder), calls))
    for name, times in (("bare insert", bare), ("ingest", ours)):
        print(f"{name:12} p50 {percentile(times, 0.5):8.0f} us  p99 {percentile(times, 0.99):8.0f} us")
    ratio = percentile(ours, 0.99) / percentile(bare, 0.99)
    print(f"p99 ratio {ratio:.2f} (bar {BAR})")
    return int(ratio > BAR)


if __name__ == "__main__":
    sys.exit(main())
