"""kill -9 over a residue: at no moment is anything sent without its original, and none is there twice."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from memxfer.archive import ArchiveReader

RECORDS, KILLS = 1_200, 4
ALL_RECORDS, ALL_KILLS = 20_000, 60
CONSENT = ("--accept-loss", "all", "--yes")

FORGETFUL = '''
"""An archive that keeps no tags, and takes its time."""

import asyncio

import msgspec

from memxfer_archive import ArchiveProvider
from memxfer.spi import Channel, Dimension, Level


class Forgetful(ArchiveProvider):
    name = "forgetful"

    def _capabilities(self):
        found = super()._capabilities()
        none = Channel(read=Level.NATIVE, write=Level.NONE)
        return found.model_copy(update={"dimensions": {**found.dimensions, Dimension.TAGS: none}})

    def _prepare(self, record, key, envelope):
        return super()._prepare(msgspec.structs.replace(record, tags=()), key, envelope)

    async def _write(self, batch):
        await asyncio.sleep(DELAY)
        return await super()._write(batch)
'''
FULL_DISK = """
# Every write of a part of a residue fails, as on a full disk.
import errno

from memxfer.archive.part import OpenPart

write = OpenPart._write


def full(part, data):
    if "residue" in str(part.path):
        raise OSError(errno.ENOSPC, "No space left on device")
    write(part, data)


OpenPart._write = full
"""
CONFIG = """
[connections.old]
provider = "archive"
path = "source"
[connections.new]
provider = "forgetful:Forgetful"
path = "target"
batch_size = 10
"""


class Place:
    """A folder with a source of which every third record has what the target does not keep."""

    def __init__(self, stage, fill, *, records, delay):
        self.stage = stage
        self.folder = stage.folder

        def make(number):
            record = stage.make(number)
            return record if number % 3 else msgspec.structs.replace(record, tags=("kept", f"t{number}"))

        fill(self.folder / "source", records, make=make)
        (self.folder / "forgetful.py").write_text(FORGETFUL.replace("DELAY", str(delay)))
        (self.folder / "memxfer.toml").write_text(CONFIG)
        self.source = {
            item.record.id: item.record for item in ArchiveReader(self.folder / "source").records()
        }
        self.special = {record.id for record in self.source.values() if record.tags}

    @property
    def residue(self) -> Path:
        return self.folder / ".memxfer" / "jobs" / "j" / "residue"

    def originals(self):
        """What the residue holds by id; every line a key of its own and equal to the source's record."""
        if not (self.residue / "manifest.json").exists():
            return {}
        items = list(ArchiveReader(self.residue).records())
        assert len({item.key for item in items}) == len(items), "an original is there twice"
        assert all(item.key == f"mx:mem0-oss:stage:{item.record.id}" for item in items)
        assert all(item.record == self.source[item.record.id] for item in items)
        return {item.record.id: item.record for item in items}

    def target(self):
        path = self.folder / "target"
        if not (path / "manifest.json").exists():
            return {}
        return {item.record.id: item.record for item in ArchiveReader(path).records()}

    def ledger_ids(self):
        path = self.folder / ".memxfer" / "jobs" / "j" / "ledger.sqlite"
        if not path.exists():
            return set()
        with contextlib.closing(sqlite3.connect(path)) as ledger:
            try:
                return {row[0] for row in ledger.execute("SELECT id FROM record")}
            except sqlite3.OperationalError:
                return set()  # killed before its tables were made

    def move_with_kills(self, *words, kills, seed, wanted):
        """Kill -9 at random moments; after each, check that nothing got ahead of its original."""
        chance = random.Random(seed)
        begin = ("migrate", "old", "new", "--job", "j", *CONSENT, *words)
        killed = 0
        while killed < kills:
            begun = (self.folder / ".memxfer/jobs/j/plan.json").exists()
            process = self.stage.start(*(("resume", "j") if begun else begin), "-q")
            goal = len(self.ledger_ids()) + chance.randrange(len(self.source) * 2 // (3 * kills))
            pause = time.monotonic() + chance.uniform(0.0, 0.05)
            if not self.stage.kill_when(process, lambda goal=goal, pause=pause: self._is_time(goal, pause)):
                break
            killed += 1
            kept = set(self.originals())
            assert self.ledger_ids() & wanted <= kept, "an intent came before its original"
            assert set(self.target()) & wanted <= kept, "a document came before its original"
        code, result, err = self.stage.run("resume", "j")
        assert code == 0, err
        assert result["counts"]["listed"] == len(self.source)
        assert result["residue"] == len(wanted)
        assert set(self.originals()) == wanted
        assert ArchiveReader(self.residue).is_complete
        return killed

    def _is_time(self, goal, pause):
        return len(self.ledger_ids()) >= goal and time.monotonic() >= pause


@pytest.fixture
def place(stage, fill):
    def made(*, records=RECORDS, delay=0.1):
        return Place(stage, fill, records=records, delay=delay)

    return made


@pytest.mark.parametrize("mode", ["lossy", "full"])
def test_a_few_kills_leave_every_original_once_and_it_moves_on_whole(place, mode):
    here = place()
    wanted = here.special if mode == "lossy" else set(here.source)

    killed = here.move_with_kills("--residue", mode, kills=KILLS, seed=7, wanted=wanted)

    assert killed == KILLS, here.stage.last_words
    assert set(here.target()) == set(here.source)
    assert here.source == {**here.target(), **here.originals()}
    code, _, err = here.stage.run(
        "migrate", f"archive:{here.residue}", "archive:./onward", "--job", "on", "--yes"
    )
    assert code == 0, err
    onward = list(ArchiveReader(here.folder / "onward").records())
    assert {item.record.id: item.record for item in onward} == {name: here.source[name] for name in wanted}
    assert {item.key for item in onward} == {f"mx:mem0-oss:stage:{name}" for name in wanted}
    assert not (here.folder / ".memxfer/jobs/on/residue").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", ["lossy", "full"])
def test_60_kills_over_20000_records_leave_every_original_once(place, mode):
    here = place(records=ALL_RECORDS, delay=0.05)
    wanted = here.special if mode == "lossy" else set(here.source)

    killed = here.move_with_kills("--residue", mode, kills=ALL_KILLS, seed=2026, wanted=wanted)

    print(f"\n{mode}: {killed} kills, {len(here.originals()):,} originals")
    assert killed == ALL_KILLS
    assert here.source == {**here.target(), **here.originals()}


def test_a_target_that_rewrites_everything_leaves_every_original(stage, fill):
    fill(stage.folder / "source", 120)
    stage.configure(transport="http")

    code, result, err = stage.run("migrate", "old", "new", "--job", "j", *CONSENT)

    source = {item.record.id: item.record for item in ArchiveReader(stage.folder / "source").records()}
    kept = list(ArchiveReader(stage.folder / ".memxfer/jobs/j/residue").records())
    assert code == 0, err
    assert result["residue"] == 120
    assert {item.record.id: item.record for item in kept} == source


def test_a_job_with_originals_is_removed_only_on_purpose(place):
    here = place(records=30, delay=0)
    here.stage.run("migrate", "old", "new", "--job", "j", *CONSENT)

    asked = here.stage.start("jobs", "rm", "j")
    _, question = asked.communicate(timeout=60)

    assert asked.returncode != 0
    assert "originals of 10 records" in question
    assert "memxfer migrate archive:" in question
    assert len(here.originals()) == 10
    assert here.stage.run("jobs", "rm", "j", "--yes")[0] == 0
    assert not here.residue.exists()


def test_a_full_disk_stops_the_run_with_the_folder_named_and_nothing_sent(place):
    here = place(records=300, delay=0)
    whole = (here.folder / "forgetful.py").read_text()
    (here.folder / "forgetful.py").write_text(whole + FULL_DISK)
    process = here.stage.start("migrate", "old", "new", "--job", "j", *CONSENT)
    out, _ = process.communicate(timeout=60)

    assert process.returncode == 5
    assert ".memxfer/jobs/j/residue" in out
    assert "No space left on device" in out
    assert "--state-dir" in out
    assert here.target() == {}
    assert here.stage.run("status", "j")[1]["counts"]["stored"] == 0
    (here.folder / "forgetful.py").write_text(whole)
    code, _, err = here.stage.run("resume", "j")
    assert code == 0, err
    assert set(here.originals()) == here.special
    assert here.source == {**here.target(), **here.originals()}
