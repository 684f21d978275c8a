"""Folders of jobs: one run at a time, files that travel, files that lie."""

import gzip
import io
import json
import os
import sqlite3
import stat
import tarfile
from contextlib import closing

import pytest

from memxfer.errors import ConfigError, JobLockedError, JobNotFoundError, LedgerError
from memxfer.ledger import Change, Ledger, State, StateFolder, inspect

LOCK = """
    import sys
    from memxfer.ledger import StateFolder
    with StateFolder(sys.argv[1]).open("j1").lock():
        print("locked", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def job(begin):
    return begin("j1", '{"job": "j1"}')


def test_a_new_job_is_readable_by_its_user_alone(folders):
    with folders.claim("j1") as folder:
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert stat.S_IMODE(folders.root.stat().st_mode) == 0o700
        assert not folder.exists()


def claimed(folders):
    def claim(job):
        with folders.claim(job):
            pass

    return claim


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "../x", "/etc", "a\\b", "-x", ".hidden", "a b", "ä", "a\n", "x" * 129, "a\x00"],
)
def test_a_name_that_is_no_plain_word_is_no_job(folders, name):
    for use in (claimed(folders), folders.open, folders.check_free, folders.remove):
        with pytest.raises(ConfigError, match="cannot be a job's name"):
            use(name)
    assert not folders.root.exists()


def test_a_state_folder_that_cannot_be_is_a_config_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--state-dir"):
        claimed(StateFolder(tmp_path / "file" / "state"))("j1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_state_folder_is_a_config_error(tmp_path):
    (tmp_path / "state").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match="--state-dir"):
        claimed(StateFolder(tmp_path / "state"))("j1")


def test_a_job_that_is_not_there_is_named(folders):
    with pytest.raises(JobNotFoundError, match="'j1'"):
        folders.open("j1")
    assert not folders.check_free("j1").exists()
    assert folders.jobs() == []


def test_jobs_are_listed_by_name_and_strangers_are_not(folders, job, begin):
    begin("a0")
    (folders.root / "jobs" / "stopped-before-it-began").mkdir()
    (folders.root / "jobs" / "not a job").mkdir()
    (folders.root / "jobs" / "file").write_text("")
    assert [folder.job for folder in folders.jobs()] == ["a0", "j1", "stopped-before-it-began"]


def test_a_plan_is_written_whole_and_replaces_the_old_one(job):
    job.write_plan('{"job": "j2 ä"}')
    assert json.loads(job.plan_path.read_text(encoding="utf-8")) == {"job": "j2 ä"}
    assert not job.plan_path.with_suffix(".tmp").exists()


def test_events_are_lines_of_json(job, now):
    job.event("run_started", at=now, run=1)
    job.event("run_ended", at=now, text='a "quoted"\nä')
    lines = [json.loads(line) for line in (job.path / "events.jsonl").read_text("utf-8").splitlines()]
    assert lines[0] == {"at": "2026-01-01T00:00:00Z", "event": "run_started", "run": 1}
    assert lines[1]["text"] == 'a "quoted"\nä'


# -- one run at a time --------------------------------------------------------------------------


def test_two_runs_of_one_job_at_once_are_one_too_many(folders, job, python):
    with python(LOCK, folders.root) as other:
        assert other.stdout.readline() == "locked\n"
        assert job.is_running()
        with pytest.raises(JobLockedError, match="another process"), job.lock():
            pass
        with pytest.raises(JobLockedError):
            folders.remove("j1")
        other.communicate("\n")
        assert not job.is_running()
        with job.lock():
            pass


def test_a_process_that_was_killed_holds_nothing(folders, job, python):
    with python(LOCK, folders.root) as other:
        assert other.stdout.readline() == "locked\n"
        other.kill()
        other.wait()
        with job.lock():
            assert job.is_running()


def test_the_lock_is_let_go_when_the_run_fails(job):
    with pytest.raises(ZeroDivisionError), job.lock():
        raise ZeroDivisionError
    assert not job.is_running()


def test_removing_takes_the_folder_and_nothing_else(folders, job, begin):
    begin("j2")
    folders.remove("j1")
    assert not job.path.exists()
    assert [folder.job for folder in folders.jobs()] == ["j2"]


# -- travelling ---------------------------------------------------------------------------------


def test_a_job_travels_to_another_machine(folders, job, tmp_path, now):
    job.event("run_started", at=now)
    file = tmp_path / "j1.tar.gz"
    folders.export("j1", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    elsewhere = StateFolder(tmp_path / "elsewhere")
    assert elsewhere.import_(file) == "j1"
    copy = elsewhere.open("j1")
    assert copy.plan_path.read_text() == job.plan_path.read_text()
    assert (copy.path / "events.jsonl").read_text() == (job.path / "events.jsonl").read_text()
    Ledger(copy.ledger_path).close()


@pytest.mark.anyio
async def test_a_running_job_exports_what_is_durable_at_that_moment(folders, job, tmp_path, fill, now):
    ledger = Ledger(job.ledger_path)
    await fill(ledger, 10, at=now)
    with job.lock():
        folders.export("j1", tmp_path / "j1.tar.gz")
    await fill(ledger, 10, at=now, name="later")
    ledger.close()
    elsewhere = StateFolder(tmp_path / "elsewhere")
    elsewhere.import_(tmp_path / "j1.tar.gz")
    assert inspect.counts(elsewhere.open("j1").ledger_path)[State.STORED] == 5


def test_an_export_overwrites_nothing(folders, job, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ConfigError, match="cannot be written"):
        folders.export("j1", tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"
    with pytest.raises(ConfigError, match="cannot be written"):
        folders.export("j1", tmp_path / "no" / "such" / "folder")


def test_a_damaged_ledger_does_not_export(folders, job, tmp_path):
    job.ledger_path.write_bytes(b"no database at all, whatever its name says" * 100)
    with pytest.raises(LedgerError):
        folders.export("j1", tmp_path / "j1.tar.gz")
    job.ledger_path.unlink()
    with pytest.raises(LedgerError):
        folders.export("j1", tmp_path / "j1.tar.gz")
    assert not (tmp_path / "j1.tar.gz").exists()


def test_an_import_replaces_no_job(folders, job, tmp_path):
    folders.export("j1", tmp_path / "j1.tar.gz")
    with pytest.raises(ConfigError, match="already"):
        folders.import_(tmp_path / "j1.tar.gz")
    assert job.exists()


def member(name, content=b"{}", *, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    info.type = kind
    info.linkname = link
    return info, content


def archive(path, *members):
    with tarfile.open(path, "w:gz") as file:
        for info, content in members:
            file.addfile(info, io.BytesIO(content))
    return path


PLAN, LEDGER = member("j1/plan.json"), member("j1/ledger.sqlite")


@pytest.mark.parametrize(
    "members",
    [
        [],
        [PLAN],
        [LEDGER],
        [PLAN, LEDGER, member("j1/../../evil")],
        [PLAN, LEDGER, member("../j1/events.jsonl")],
        [PLAN, LEDGER, member("/etc/passwd")],
        [member("../plan.json"), member("../ledger.sqlite")],
        [member("a/b/plan.json"), member("a/b/ledger.sqlite")],
        [member("plan.json"), member("ledger.sqlite")],
        [PLAN, member("j2/ledger.sqlite")],
        [PLAN, LEDGER, member("j1/extra.py")],
        [PLAN, LEDGER, member("j1/lock")],
        [PLAN, LEDGER, member("j1/", kind=tarfile.DIRTYPE)],
        [PLAN, member("j1/ledger.sqlite", kind=tarfile.SYMTYPE, link="/etc/passwd")],
        [PLAN, member("j1/ledger.sqlite", kind=tarfile.LNKTYPE, link="j1/plan.json")],
        [PLAN, LEDGER, member("j1/events.jsonl", kind=tarfile.FIFOTYPE)],
        [PLAN, LEDGER, member("j1/events.jsonl", kind=tarfile.CHRTYPE)],
        [member("\x1b[31m/plan.json"), member("\x1b[31m/ledger.sqlite")],
    ],
)
def test_an_archive_of_anything_but_one_job_is_refused_and_leaves_nothing(folders, tmp_path, members):
    file = archive(tmp_path / "x.tar.gz", *members)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="not an exported job"):
        folders.import_(file)
    assert folders.jobs() == []
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before] == []


def test_an_archive_with_something_behind_it_is_refused(folders, job, tmp_path):
    folders.export("j1", tmp_path / "j1.tar.gz")
    raw = gzip.decompress((tmp_path / "j1.tar.gz").read_bytes())
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(raw + bytes(2**21)))
    with pytest.raises(ConfigError, match="something follows"):
        StateFolder(tmp_path / "elsewhere").import_(tmp_path / "x.tar.gz")


def test_an_archive_that_claims_to_be_huge_is_refused(folders, tmp_path):
    info, _ = member("j1/ledger.sqlite")
    info.size = 2**40
    plan = PLAN[0].tobuf() + b"{}".ljust(512, b"\0")
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(plan + info.tobuf()))
    with pytest.raises(ConfigError, match="not an exported job"):
        folders.import_(tmp_path / "x.tar.gz")
    assert folders.jobs() == []


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "flipped", "plain tar", "missing"])
def test_a_damaged_archive_is_refused_and_leaves_nothing(folders, job, tmp_path, damage):
    with closing(sqlite3.connect(job.ledger_path)) as ledger, ledger:
        ledger.execute("INSERT INTO meta VALUES ('noise', ?)", (os.urandom(50_000).hex(),))
    good = tmp_path / "good.tar.gz"
    folders.export("j1", good)
    raw = good.read_bytes()
    bad = tmp_path / "bad.tar.gz"
    middle = len(raw) // 2
    contents = {
        "text": b"hello",
        "empty": b"",
        "cut": raw[:middle],
        "flipped": raw[:middle]
        + bytes(byte ^ 255 for byte in raw[middle : middle + 64])
        + raw[middle + 64 :],
        "plain tar": gzip.decompress(raw),
    }
    if damage in contents:
        bad.write_bytes(contents[damage])
    elsewhere = StateFolder(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be read" if damage == "missing" else "not an exported job"):
        elsewhere.import_(bad)
    assert elsewhere.jobs() == []
    assert not (elsewhere.root / "jobs" / "j1").exists()


def test_an_import_cut_short_leaves_no_half_of_a_job(folders, job, tmp_path, monkeypatch):
    folders.export("j1", tmp_path / "j1.tar.gz")
    elsewhere = StateFolder(tmp_path / "elsewhere")
    real = tarfile.TarFile.extractfile

    def failing(self, info):
        if info.name.endswith("ledger.sqlite"):
            raise OSError(28, "No space left on device")
        return real(self, info)

    monkeypatch.setattr(tarfile.TarFile, "extractfile", failing)
    with pytest.raises(ConfigError):
        elsewhere.import_(tmp_path / "j1.tar.gz")
    assert not (elsewhere.root / "jobs" / "j1").exists()


@pytest.mark.anyio
async def test_an_empty_change_is_a_barrier(job):
    ledger = Ledger(job.ledger_path)
    change = Change()
    ledger.set_meta(change, "a", "1")
    ledger.commit(change)
    await ledger.commit(Change())
    assert ledger.meta("a") == "1"
    ledger.close()
