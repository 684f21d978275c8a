"""kill -9 of an app that talks: every turn that was acknowledged is in the target once, with its own time."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from dateutil.parser import isoparse

from memxfer.emulation import serve_in_thread
from memxfer_synap.emulator import SynapEmulator, SynapSettings

from ._chatting_app import BEGAN, CONVERSATIONS

APP = Path(__file__).parent / "_chatting_app.py"


class App:
    """One life of the app, and what it acknowledged."""

    def __init__(self, outbox: Path, url: str, first: int, last: int, taken: set[int]) -> None:
        self.taken = taken
        self.process = subprocess.Popen(
            [sys.executable, str(APP), str(outbox), url, str(first), str(last)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.reached = threading.Event()
        self.goal = len(taken) + 10**9
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):
                    self.taken.add(int(line))
                if len(self.taken) >= self.goal:
                    self.reached.set()
        self.reached.set()

    def kill_after(self, more: int) -> bool:
        """Kill it once it has acknowledged `more` turns; `False` when it ended before."""
        self.goal = len(self.taken) + more
        self.reached.wait(120)
        ended = self.process.poll() is not None
        self.process.kill()
        self.process.wait()
        self.reader.join()
        return not ended

    def wait(self) -> None:
        assert self.process.wait(300) == 0
        self.reader.join()


def talk_with_kills(tmp_path: Path, *, turns: int, kills: int, seed: int) -> tuple[set[int], dict[str, dict]]:
    """Say turns in an app that is killed again and again; return what it acknowledged, and the truth."""
    chance = random.Random(seed)
    emulator = SynapEmulator(SynapSettings(duplicate_policy="update"))
    taken: set[int] = set()
    killed = 0
    with serve_in_thread(emulator) as server:
        while killed < kills:
            first = next(number for number in range(turns + 1) if number not in taken)
            app = App(tmp_path / "outbox.sqlite", server.base_url, first, turns, taken)
            killed += app.kill_after(chance.randrange(1, max(2, (turns * 3) // (2 * kills))))
            if len(taken) >= turns:
                break
        first = next(number for number in range(turns + 1) if number not in taken)
        App(tmp_path / "outbox.sqlite", server.base_url, first, turns, taken).wait()
        truth = {one["document_id"]: one for one in server.admin.documents()}
    emulator.close()
    assert killed >= min(kills, 2)
    return taken, truth


def check(taken: set[int], truth: dict[str, dict], *, turns: int) -> None:
    assert taken == set(range(turns))
    assert len(truth) == turns
    for number in range(turns):
        found = truth[f"turn_talk-{number % CONVERSATIONS}_{number // CONVERSATIONS}"]
        said = BEGAN + timedelta(seconds=number, microseconds=number)
        assert found["times_stored"] == 1
        assert f"turn {number}" in found["document"]["document"]
        assert isoparse(found["document"]["document_created_at"]) == said


@pytest.mark.timeout(240)
def test_a_few_kills_of_a_talking_app_lose_no_turn_and_store_none_twice(tmp_path) -> None:
    taken, truth = talk_with_kills(tmp_path, turns=600, kills=4, seed=7)
    check(taken, truth, turns=600)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_50_kills_over_20000_turns(tmp_path) -> None:
    taken, truth = talk_with_kills(tmp_path, turns=20_000, kills=50, seed=2026)
    check(taken, truth, turns=20_000)
