"""A stage for whole moves: an archive as source, the Synap emulator as target, the real command line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from memxfer.archive import ArchiveWriter, Origin, encode_line
from memxfer.emulation import serve_in_thread
from memxfer.models import MemoryRecord, Scope
from memxfer_synap.emulator import EMULATOR_API_KEY, SynapEmulator, SynapSettings

_LIMIT = 120.0
_CHUNK = 500


def make_record(number: int, *, words: int = 30) -> MemoryRecord:
    """Return an invented memory; the same number gives the same memory."""
    moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=17 * number)
    text = f"Memory {number}: " + " ".join(f"detail-{number % 97}-{word}" for word in range(words))
    return MemoryRecord(
        id=f"m-{number:06d}",
        content=text,
        scope=Scope(user=f"user-{number % 40}"),
        metadata={"topic": f"t{number % 9}", "nested": {"n": number}},
        created_at=moment,
        updated_at=moment + timedelta(days=1),
    )


def write_archive(path: Path, count: int, *, make: Callable[[int], MemoryRecord] = make_record) -> None:
    """Write an archive of `count` invented memories."""
    with ArchiveWriter(path, now=lambda: datetime(2026, 1, 1, tzinfo=UTC)) as writer:
        writer.begin(Origin(provider="mem0-oss", namespace="stage"))
        for start in range(0, count, _CHUNK):
            records = [make(number) for number in range(start, min(start + _CHUNK, count))]
            keys = [f"mx:mem0-oss:stage:{record.id}" for record in records]
            writer.append(
                [(key, encode_line(key, record)) for key, record in zip(keys, records, strict=True)]
            )
        writer.finish()


@dataclass
class Stage:
    """One folder with a configuration, a source and a running target."""

    folder: Path
    server: Any
    settings: dict[str, Any] = field(default_factory=dict)
    last_words: str = ""
    make: Callable[[int], MemoryRecord] = make_record

    def configure(self, **settings: Any) -> None:
        """Write memxfer.toml; settings go to the target connection."""
        self.settings.update(settings)
        target = {
            "provider": "synap",
            "api_key": "env:STAGE_KEY",
            "base_url": self.server.base_url,
            "customer_id": "stage",
            **self.settings,
        }
        lines = ["[connections.old]", 'provider = "archive"', 'path = "source"', "", "[connections.new]"]
        lines += [f"{name} = {_toml(value)}" for name, value in target.items()]
        (self.folder / "memxfer.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self, *words: str, key: str = EMULATOR_API_KEY) -> subprocess.Popen[str]:
        """Start memxfer in the folder."""
        return subprocess.Popen(
            [sys.executable, "-m", "memxfer.cli", *words],
            cwd=self.folder,
            env={**os.environ, "STAGE_KEY": key},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, key: str = EMULATOR_API_KEY) -> tuple[int, dict[str, Any], str]:
        """Run memxfer with --json; return exit code, its object and what it said on stderr."""
        process = self.start(*words, "--json", key=key)
        out, err = process.communicate(timeout=_LIMIT)
        return process.returncode, json.loads(out), err

    def kill_when(self, process: subprocess.Popen[str], is_time: Callable[[], bool]) -> bool:
        """Kill -9 as soon as `is_time`; tell whether the process was still alive then."""
        deadline = time.monotonic() + _LIMIT
        while process.poll() is None and not is_time():
            assert time.monotonic() < deadline, "the moment to kill never came"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.003)
        was_alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        self.last_words = process.communicate()[1]
        return was_alive

    def intents(self, job: str) -> int:
        """Return how many documents were in flight when the job died."""
        ledger = self.folder / ".memxfer" / "jobs" / job / "ledger.sqlite"
        if not ledger.exists():
            return 0
        with contextlib.closing(sqlite3.connect(ledger)) as connection:
            tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'record'").fetchone()
            if not tables:
                return 0
            return int(connection.execute("SELECT count(*) FROM record WHERE state = 'intent'").fetchone()[0])

    def truth(self) -> dict[str, Any]:
        """Return the target's own summary of what it stores."""
        return dict(self.server.admin.summary())

    def stored(self) -> dict[str, dict[str, Any]]:
        """Return every document the target stores, by document id."""
        return {entry["document_id"]: entry for entry in self.server.admin.documents(brief=True)}


def _toml(value: Any) -> str:
    return json.dumps(value)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A B2B emulator and an empty folder; call `write_archive` and `configure`."""
    with (
        contextlib.closing(SynapEmulator(SynapSettings())) as emulator,
        serve_in_thread(emulator) as server,
    ):
        stage = Stage(tmp_path, server)
        stage.configure()
        yield stage


@pytest.fixture
def fill() -> Callable[..., None]:
    """Write an archive of invented memories."""
    return write_archive


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"
