"""What the residue costs: archive to Synap emulator over http, with `off`, `lossy` and `full`, in one run.

Texts are words drawn at random, so that they pack as texts do. Run it with
`python tests/bench/residue.py [RECORDS] [ROUNDS]`; medians of the rounds, which take turns. Bar: with
everything kept, a record costs at most half more CPU than with nothing kept.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from move import emulator, run

from memxfer.archive import ArchiveWriter, Origin, encode_line
from memxfer.emulation import AdminClient
from memxfer.models import MemoryRecord, Scope
from memxfer_synap.emulator import EMULATOR_API_KEY

RECORDS = 100_000
ROUNDS = 3
MODES = ("off", "lossy", "full")
MOST = 1.5
_WORDS = 70


def write_source(path: Path, count: int) -> None:
    """Write an archive of `count` records of about 660 bytes."""
    chance = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 10))) for _ in range(8_000)]
    with ArchiveWriter(path, now=lambda: datetime(2026, 1, 1, tzinfo=UTC)) as writer:
        writer.begin(Origin(provider="mem0-oss", namespace="bench"))
        for start in range(0, count, 1_000):
            numbers = range(start, min(start + 1_000, count))
            records = [_record(number, " ".join(chance.choices(words, k=_WORDS))) for number in numbers]
            keys = [f"mx:mem0-oss:bench:{record.id}" for record in records]
            writer.append([(key, encode_line(key, one)) for key, one in zip(keys, records, strict=True)])
        writer.finish()


def _record(number: int, content: str) -> MemoryRecord:
    return MemoryRecord(
        id=str(number),
        content=content,
        scope=Scope(user=f"user-{number % 500}"),
        metadata={"topic": f"t{number % 9}", "nested": {"n": number, "flag": True}},
        created_at=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
    )


def measure(source: Path, url: str, mode: str) -> tuple[float, float, int]:
    """Move everything once; return records a second, CPU microseconds a record, and originals kept."""
    AdminClient(url).reset()
    ours = run("_move.py", str(source), url, EMULATOR_API_KEY, "http", mode)
    return ours["records"] / ours["seconds"], ours["cpu"] / ours["records"] * 1e6, ours["residue"]


def main() -> int:
    """Measure, print a row per mode, and tell whether the bar is met."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    with tempfile.TemporaryDirectory() as folder, emulator(0.0) as url:
        write_source(Path(folder) / "source", count)
        found = {mode: [] for mode in MODES}
        for _ in range(rounds):
            for mode in MODES:
                found[mode].append(measure(Path(folder) / "source", url, mode))
    rates = {mode: statistics.median(rate for rate, _, _ in found[mode]) for mode in MODES}
    costs = {mode: statistics.median(cost for _, cost, _ in found[mode]) for mode in MODES}
    for mode in MODES:
        print(
            f"residue {mode:5}: {rates[mode]:8,.0f} records/s ({rates[mode] / rates['off']:.2f}x), "
            f"CPU {costs[mode]:5.0f} us/record, scan and move ({costs[mode] / costs['off']:.2f}x), "
            f"{found[mode][0][2]:,} originals kept"
        )
    is_met = costs["full"] <= MOST * costs["off"]
    print("bars met" if is_met else "MISSED")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
