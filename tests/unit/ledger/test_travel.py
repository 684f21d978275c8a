"""A job's residue on its way: only files of a residue, private, and never where they do not belong."""

import errno
import gzip
import io
import os
import sqlite3
import stat
import tarfile
import tracemalloc
from contextlib import closing
from types import SimpleNamespace

import pytest

from memxfer.archive import is_archive_file
from memxfer.errors import ConfigError, LedgerError
from memxfer.ledger import Ledger, StateFolder


@pytest.fixture
def job(begin):
    return begin("j1")


def carried(*names, content=b"data"):
    return lambda _: [(name, len(content), lambda: io.BytesIO(content)) for name in names]


@pytest.fixture
async def worked(job, fill, now):
    """A job that has stored half of its eight records."""
    ledger = Ledger(job.ledger_path, window=0.0)
    await fill(ledger, 8, at=now)
    ledger.close()
    return job


PART = "records/part-00001.jsonl.gz"


def test_the_files_of_a_residue_travel_with_the_job(folders, job, tmp_path):
    folders.export("j1", tmp_path / "j1.tar.gz", residue=carried("manifest.json", PART))

    elsewhere = StateFolder(tmp_path / "elsewhere")
    elsewhere.import_(tmp_path / "j1.tar.gz", is_original=is_archive_file)

    residue = elsewhere.open("j1").residue_path
    assert (residue / "manifest.json").read_bytes() == (residue / PART).read_bytes() == b"data"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in elsewhere.root.rglob("*")}
    assert {mode for name, mode in modes.items() if "." in name} == {0o600}
    assert modes["residue"] == modes["records"] == 0o700


def test_the_residue_is_read_after_the_ledger(folders, job, tmp_path, monkeypatch):
    """What the copied ledger speaks of is in the residue by the time that is copied."""
    order = []
    monkeypatch.setattr("memxfer.ledger.travel._copy_ledger", lambda *_: order.append("ledger"))

    def residue(path):
        order.append("residue")
        assert path == job.residue_path
        return []

    folders.export("j1", tmp_path / "j1.tar.gz", residue=residue)

    assert order == ["ledger", "residue"]


def test_more_than_was_promised_is_not_taken_and_less_is_an_error(folders, job, tmp_path):
    folders.export("j1", tmp_path / "a.tar.gz", residue=lambda _: [(PART, 2, lambda: io.BytesIO(b"data"))])
    with tarfile.open(tmp_path / "a.tar.gz") as file:
        assert file.extractfile(f"j1/residue/{PART}").read() == b"da"

    with pytest.raises(ConfigError, match="cannot be written"):
        folders.export(
            "j1", tmp_path / "b.tar.gz", residue=lambda _: [(PART, 9, lambda: io.BytesIO(b"data"))]
        )
    assert not (tmp_path / "b.tar.gz").exists(), "half an export is worse than none"


@pytest.mark.parametrize(
    "name",
    [
        "residue/../../evil",
        "residue/records/../../../evil",
        "residue//etc/passwd",
        "residue/index.sqlite",
        "residue/records",
        "residue",
        "residue/evil.py",
        "residues/manifest.json",
        "residue/records/part-00001.jsonl.gz/x",
    ],
)
def test_anything_else_below_the_residue_is_refused_and_leaves_nothing(folders, job, tmp_path, name):
    file = _packed(tmp_path, {"plan.json": b"{}", "ledger.sqlite": b"x", name: b"evil"})

    with pytest.raises(ConfigError, match="not an exported job"):
        StateFolder(tmp_path / "elsewhere").import_(file, is_original=is_archive_file)

    assert not list(tmp_path.rglob("evil"))
    assert not (tmp_path / "elsewhere" / "jobs").exists()


def test_a_residue_is_refused_by_whoever_does_not_expect_one(tmp_path):
    file = _packed(tmp_path, {"plan.json": b"{}", "ledger.sqlite": b"x", "residue/manifest.json": b"{}"})

    with pytest.raises(ConfigError, match="not an exported job"):
        StateFolder(tmp_path / "elsewhere").import_(file)


def test_a_link_in_the_residues_place_is_refused(tmp_path):
    file = _packed(tmp_path, {"plan.json": b"{}", "ledger.sqlite": b"x"}, link="residue/manifest.json")

    with pytest.raises(ConfigError, match="not an exported job"):
        StateFolder(tmp_path / "elsewhere").import_(file, is_original=is_archive_file)


def test_files_without_number_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("memxfer.ledger.travel._MOST_FILES", 3)
    parts = {f"residue/records/part-{number:05d}.superseded": b"" for number in range(5)}
    file = _packed(tmp_path, {"plan.json": b"{}", "ledger.sqlite": b"x", **parts})

    with pytest.raises(ConfigError, match="larger than any"):
        StateFolder(tmp_path / "elsewhere").import_(file, is_original=is_archive_file)


def test_a_full_disk_is_told_as_such_when_a_job_comes_in(folders, job, tmp_path, monkeypatch):
    folders.export("j1", tmp_path / "j1.tar.gz", residue=carried(PART))
    elsewhere = StateFolder(tmp_path / "elsewhere")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("memxfer.ledger.travel.FileIO", full)
    with pytest.raises(ConfigError, match=r"plan.json cannot be written: No space left on device"):
        elsewhere.import_(tmp_path / "j1.tar.gz", is_original=is_archive_file)
    monkeypatch.undo()

    assert not (elsewhere.root / "jobs" / "j1").exists()


def _packed(tmp_path, files, *, link=""):
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for name, content in files.items():
            info = tarfile.TarInfo(f"j1/{name}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(f"j1/{link}")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(info)
    return path


# -- hostile files --------------------------------------------------------------------------------


def _tar(tmp_path, *pieces):
    path = tmp_path / "x.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        for piece in pieces:
            file.write(piece)
    return path


def _header(name, kind, size):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def _sparse_map(count):
    body = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    head = _header("j1/x", tarfile.XHDTYPE, len(body)) + body.ljust(512, b"\0")
    entries = b"%d\n" % count + b"1\n" * (2 * count)
    return head + _header("j1/plan.json", tarfile.REGTYPE, 2**30) + entries


HOSTILE = {
    "a long name": _header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 2**27) + bytes(2**27),
    "a long link": _header("././@LongLink", tarfile.GNUTYPE_LONGLINK, 2**27) + bytes(2**27),
    "extended headers": _header("j1/x", tarfile.XHDTYPE, 2**27) + bytes(2**27),
    "headers for all": _header("j1/x", tarfile.XGLTYPE, 2**27) + bytes(2**27),
    "headers without end": _header("j1/x", tarfile.XGLTYPE, 0) * 100_000,
    "a map of holes": _sparse_map(10**6),
    "an old map of holes": _header("j1/plan.json", tarfile.GNUTYPE_SPARSE, 2**20),
    "a size below zero": _header("j1/plan.json", tarfile.REGTYPE, -1024) + bytes(2**20),
    "a length below zero": _header("j1/x", tarfile.XHDTYPE, -1024) + bytes(2**20),
    "a number of many digits": _header("j1/x", tarfile.XHDTYPE, 20_480)
    + b"9" * 20_000
    + b" size=1\n".ljust(480, b"\0"),
    "one file twice": _header("j1/plan.json", tarfile.REGTYPE, 0) * 2,
    "a device": _header("j1/plan.json", tarfile.CHRTYPE, 0),
}


@pytest.mark.parametrize("pieces", HOSTILE.values(), ids=HOSTILE)
def test_headers_that_would_fill_the_memory_or_never_end_are_refused(tmp_path, pieces):
    file = _tar(tmp_path, pieces)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match="not an exported job") as caught:
            StateFolder(tmp_path / "elsewhere").import_(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20
    assert len(str(caught.value)) < len(str(file)) + 400
    assert not (tmp_path / "elsewhere" / "jobs").exists()


def test_a_job_that_unpacks_to_more_than_there_is_room_for_is_refused_before_it_is_unpacked(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("memxfer.ledger.travel.shutil.disk_usage", lambda _: SimpleNamespace(free=2**20))
    file = _packed(tmp_path, {"plan.json": b"{}", "ledger.sqlite": bytes(2**20)})
    with pytest.raises(ConfigError, match=r"no room.*1 MB are free"):
        StateFolder(tmp_path / "elsewhere").import_(file)
    assert not (tmp_path / "elsewhere" / "jobs").exists()


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(tmp_path, put):
    put(tmp_path / "x.tar.gz")
    with pytest.raises(ConfigError, match="no plain file"):
        StateFolder(tmp_path / "elsewhere").import_(tmp_path / "x.tar.gz")


def test_a_file_that_is_not_there_is_said_to_be(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        StateFolder(tmp_path / "elsewhere").import_(tmp_path / "x.tar.gz")


# -- room -----------------------------------------------------------------------------------------


def test_a_full_disk_is_told_before_a_job_begins(folders, job, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for use in (job.check_room, lambda: folders.claim("j2").__enter__(), lambda: job.write_plan("{}")):
        with pytest.raises(LedgerError, match=r"jobs/j[12] cannot be written \(No space left.*--state-dir"):
            use()

    assert not (job.path / ".probe").exists()
    assert job.plan_path.read_text() == "{}"


def test_looking_for_room_leaves_nothing_behind(job):
    before = sorted(job.path.iterdir())
    (job.path / ".probe").write_text("of a run that was killed")

    job.check_room()

    assert sorted(job.path.iterdir()) == before


def test_events_that_cannot_be_written_are_logged_and_stop_nobody(job, now, caplog):
    (job.path / "events.jsonl").mkdir()

    job.event("run_started", at=now, secret="s")

    assert "events.jsonl cannot be written" in caplog.text


CHANGED = {
    "text for a counter": "UPDATE count SET n = 'abc'",
    "a counter below zero": "UPDATE count SET n = -5 WHERE name = 'stored'",
    "a counter that counts nothing": "INSERT INTO count VALUES ('present', 3)",
    "records that are gone": "DELETE FROM record",
    "a state of no memxfer": "UPDATE record SET state = 'zzz'",
    "a number that would overflow": "UPDATE record SET seq = 9223372036854775807 WHERE seq = 8",
    "ids that are no list": "UPDATE record SET target_ids = '{'",
    "bytes for a cursor": "UPDATE partition SET cursor = x'00ff'",
    "a mark beyond the listing": "UPDATE partition SET mark = 99",
    "a time that is none": "UPDATE plan SET at = 'yesterday, about noon'",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON run BEGIN DELETE FROM problem; END",
    "a view for a table": "ALTER TABLE problem RENAME TO p; CREATE VIEW problem AS SELECT * FROM p",
    "a table more": "CREATE TABLE mine (x)",
    "a column more": "ALTER TABLE record ADD COLUMN mine TEXT",
    "a virtual table": "DROP TABLE meta; CREATE VIRTUAL TABLE meta USING fts5(name, value)",
    "another format": "PRAGMA user_version = 99",
}


@pytest.mark.anyio
@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
async def test_a_ledger_that_memxfer_did_not_write_is_not_taken_in(folders, worked, tmp_path, change):
    with closing(sqlite3.connect(worked.ledger_path)) as ledger:
        ledger.executescript(change)
    packed = tmp_path / "changed.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        for name in ("plan.json", "ledger.sqlite"):
            archive.add(worked.path / name, f"j1/{name}")
    elsewhere = StateFolder(tmp_path / "elsewhere")

    with pytest.raises(ConfigError, match=r"as memxfer wrote it: its ledger\.sqlite (has|holds) "):
        elsewhere.import_(packed)

    assert not elsewhere.jobs()


@pytest.mark.anyio
@pytest.mark.parametrize("content", [b"", b"x" * 4096, b"SQLite format 3\x00" + b"\xff" * 5000])
async def test_a_file_that_is_no_ledger_is_not_taken_in(folders, worked, tmp_path, content):
    worked.ledger_path.write_bytes(content)
    packed = tmp_path / "changed.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        for name in ("plan.json", "ledger.sqlite"):
            archive.add(worked.path / name, f"j1/{name}")
    elsewhere = StateFolder(tmp_path / "elsewhere")

    with pytest.raises(ConfigError, match=r"its ledger\.sqlite is "):
        elsewhere.import_(packed)

    assert not elsewhere.jobs()
