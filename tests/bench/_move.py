"""One move, archive to Synap over http, that watches its own memory while it runs."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import threading
import time

import psutil

import memxfer
from memxfer.cli.running import run as run_verb
from memxfer.config import Config, Connection
from memxfer.migration import Options

INTERVAL = 0.1


class Scale:
    """Samples this process's resident memory, in MB, until it is stopped."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Scale:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(INTERVAL):
            self.samples.append((time.monotonic(), process.memory_info().rss / 2**20))


async def main(path: str, base_url: str, key: str, transport: str, residue: str = "lossy") -> None:
    """Move everything and print what it took, as JSON."""
    target = {
        "api_key": key,
        "base_url": base_url,
        "transport": transport,
        "customer_id": "bench",
    }
    config = Config(
        {
            "old": Connection("old", "archive", {"path": path}, "bench"),
            "new": Connection("new", "synap", target, "bench"),
        }
    )
    with tempfile.TemporaryDirectory() as state, Scale() as scale, contextlib.suppress(KeyboardInterrupt):
        cpu = time.process_time()
        options = Options(accept_loss=("all",), settle=False, residue=residue)
        result = await memxfer.migrate("old", "new", config=config, state_dir=state, options=options)
        cpu = time.process_time() - cpu
    # Imports and the scan come before the move, and are not part of it.
    began = scale.samples[-1][0] - result.seconds
    moving = [size for at, size in scale.samples if at >= began]
    quarter = max(1, len(moving) // 4)
    print(
        json.dumps(
            {
                "status": result.status,
                "records": result.documents,
                "residue": result.residue,
                "seconds": result.seconds,
                "cpu": cpu,
                "rss_first": sum(moving[:quarter]) / quarter,
                "rss_last": sum(moving[-quarter:]) / quarter,
                "rss_most": max(size for _, size in scale.samples),
            }
        )
    )


if __name__ == "__main__":
    run_verb(main(*sys.argv[1:6]))  # as the command line does
