import subprocess
import sys
import textwrap
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from memxfer.ledger import Change, FirstPlan, Ledger, State, StateFolder, create_ledger


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def now():
    return datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    """Where a new ledger is."""
    create_ledger(tmp_path / "ledger.sqlite")
    return tmp_path / "ledger.sqlite"


@pytest.fixture
async def ledger(path):
    opened = Ledger(path, window=0.0)
    yield opened
    opened.close()


@pytest.fixture
def fill():
    """Note `count` records of one new partition: the first half stored, the others open."""

    async def filled(ledger, count, *, at, name="all"):
        change = Change()
        row = ledger.add_partition(change, name)
        for number in range(count):
            seq = ledger.reserve()
            record_id = f"r{number}"
            ledger.intend(
                change, seq, partition=row.id, record_id=record_id, key=f"k{number}", digest=b"h" * 16
            )
            if number < count // 2:
                ledger.settle(change, seq, State.INTENT, State.STORED, at=at, target_ids=[f"t{number}"])
        await ledger.commit(change)
        return row

    return filled


@pytest.fixture
def folders(tmp_path):
    return StateFolder(tmp_path / "state")


@pytest.fixture
def begin(folders, now):
    """Begin a job that nobody runs; gives its folder."""

    def begun(job, text="{}"):
        with folders.claim(job) as folder:
            folder.begin(FirstPlan(job, "f" * 32, text, now), text)
        return folder

    return begun


@pytest.fixture
def python():
    """Run a piece of Python in another process; gives it as `subprocess.Popen`."""

    @contextmanager
    def running(code, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    return running
