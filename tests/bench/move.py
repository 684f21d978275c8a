"""Archive to Synap emulator over http, beside the sequential loop of the vendor's SDK, in one run.

Bars: all records arrive once; resident memory flat (last quarter at most 10 % above the first).
Run it with `python tests/bench/move.py [RECORDS]` (part of `make bench`); exit code 1 if a bar is
missed. The emulator shares the machine, so its own ceiling is measured and printed too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from memxfer.archive import ArchiveWriter, Origin, encode_line
from memxfer.emulation import AdminClient
from memxfer.models import MemoryRecord, Scope
from memxfer_synap.emulator import EMULATOR_API_KEY

HERE = Path(__file__).parent
RECORDS = 200_000
LOOP_RECORDS = 20_000
FLAT = 1.10
SERVER = """
import sys
from memxfer.emulation import run
from memxfer_synap.emulator import SynapEmulator, SynapSettings
run(SynapEmulator(SynapSettings(latency_seconds=float(sys.argv[1]))), port=0)
"""


def write_source(path: Path, count: int) -> None:
    """Write an archive of `count` records of about 700 bytes."""
    with ArchiveWriter(path, now=lambda: datetime(2026, 1, 1, tzinfo=UTC)) as writer:
        writer.begin(Origin(provider="mem0-oss", namespace="bench"))
        for start in range(0, count, 1_000):
            keys = [f"mx:mem0-oss:bench:{number}" for number in range(start, min(start + 1_000, count))]
            writer.append([(key, encode_line(key, _record(key))) for key in keys])
        writer.finish()


def _record(key: str) -> MemoryRecord:
    number = int(key.rpartition(":")[2])
    return MemoryRecord(
        id=str(number),
        content=f"Memory {number}: " + f"a detail worth keeping, café {number % 13}; " * 10,
        scope=Scope(user=f"user-{number % 500}"),
        metadata={"topic": f"t{number % 9}", "nested": {"n": number, "flag": True}},
        created_at=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
    )


@contextlib.contextmanager
def emulator(latency: float) -> Iterator[str]:
    """Run the emulator in a process of its own; gives its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(latency)], stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        yield line.partition(" on ")[2].split()[0]
    finally:
        process.terminate()
        process.wait()


def run(script: str, *words: str) -> dict[str, Any]:
    """Run a script beside this one in a process of its own and return the JSON it prints."""
    out = subprocess.run(
        [sys.executable, str(HERE / script), *words], check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(out.stdout.strip().splitlines()[-1]))


async def ceiling(base_url: str, *, batches: int = 200) -> float:
    """Return documents per second that the emulator takes from a bare client with 16 lanes."""
    body = {
        "documents": [
            {
                "document": f"{number} " + "x" * 500,
                "user_id": "u",
                "customer_id": "c",
                "document_type": "document",
            }
            for number in range(100)
        ]
    }
    payload = json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {EMULATOR_API_KEY}", "Content-Type": "application/json"}
    limits = httpx.Limits(max_connections=16)
    async with httpx.AsyncClient(base_url=base_url, headers=headers, limits=limits, timeout=60) as client:

        async def lane() -> None:
            for _ in range(batches // 16):
                (await client.post("/api/v1/memories/batch", content=payload)).raise_for_status()

        began = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(16)))
        return 100 * 16 * (batches // 16) / (time.perf_counter() - began)


def measure(source: Path, latency: float, count: int) -> bool:
    """Measure one latency; print a row; tell whether every bar is met."""
    with emulator(latency) as url:
        most = asyncio.run(ceiling(url))
        AdminClient(url).reset()
        loop = run("_sdk_loop.py", str(source), url, EMULATOR_API_KEY, str(min(LOOP_RECORDS, count)))
        AdminClient(url).reset()
        ours = run("_move.py", str(source), url, EMULATOR_API_KEY, "http")
        truth = AdminClient(url).summary()
    loop_rate = loop["records"] / loop["seconds"]
    rate = ours["records"] / ours["seconds"]
    growth = ours["rss_last"] / ours["rss_first"]
    print(
        f"latency {latency * 1000:3.0f} ms: memxfer {rate:8,.0f} records/s, SDK loop {loop_rate:7,.0f} "
        f"({rate / loop_rate:.1f}x), emulator alone {most:8,.0f}; "
        f"CPU {ours['cpu'] / ours['records'] * 1e6:.0f} us/record (scan and move), "
        f"loop {loop['cpu'] / loop['records'] * 1e6:.0f}"
    )
    print(
        f"  RSS first quarter {ours['rss_first']:.0f} MB, last {ours['rss_last']:.0f} MB "
        f"({growth:.2f}x), most {ours['rss_most']:.0f} MB; "
        f"stored {truth['distinct_ids']:,}, twice {truth['stored_twice']}"
    )
    return bool(truth["distinct_ids"] == count and truth["stored_twice"] == 0 and growth <= FLAT)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        write_source(source, count)
        met = [measure(source, latency, count) for latency in (0.0, 0.02)]
    print("bars met" if all(met) else "MISSED")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
