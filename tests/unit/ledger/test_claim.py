"""A job's name belongs to one: who comes second is told, and who gives up leaves nothing."""

import os
import sqlite3
from contextlib import closing

import pytest

from memxfer.errors import ConfigError, JobExistsError, JobLockedError, JobNotFoundError, LedgerError
from memxfer.ledger import StateFolder

CLAIM = """
    import sys
    from memxfer.ledger import StateFolder
    from memxfer.errors import MemxferError
    sys.stdin.readline()
    try:
        with StateFolder(sys.argv[1]).claim("j1") as folder:
            print("mine", flush=True)
            sys.stdin.readline()
    except MemxferError as error:
        print(type(error).__name__, flush=True)
"""


@pytest.mark.parametrize("ending", [None, ValueError("the scan failed"), KeyboardInterrupt()])
def test_a_claim_that_began_no_job_leaves_nothing_not_even_the_state_folder(folders, ending):
    expected = pytest.raises(type(ending)) if ending else None
    if expected is None:
        with folders.claim("j1"):
            pass
    else:
        with expected, folders.claim("j1"):
            raise ending
    assert not folders.root.exists()


def test_what_stood_in_the_state_folder_before_stays(folders):
    folders.root.mkdir()
    with pytest.raises(ZeroDivisionError), folders.claim("j1"):
        raise ZeroDivisionError
    assert list(folders.root.iterdir()) == []


def test_a_name_is_taken_while_it_is_claimed_and_after_the_job_began(folders, begin):
    with folders.claim("j1"):
        with pytest.raises(JobLockedError, match="is being started or run by another process"):
            folders.check_free("j1")
        with pytest.raises(JobLockedError), folders.claim("j1"):
            pass
        with pytest.raises(JobNotFoundError, match="is being started"):
            folders.open("j1")
        with pytest.raises(JobLockedError):
            folders.remove("j1")
    begin("j1")
    with (
        pytest.raises(JobExistsError, match=r"'j1' is there already.*`memxfer resume j1` goes on"),
        folders.claim("j1"),
    ):
        pass
    assert folders.open("j1").exists()


@pytest.mark.parametrize(
    "left", ["ledger.sqlite", "plan.json", "residue", "events.jsonl", "ledger.sqlite-wal"]
)
def test_a_folder_with_anything_of_a_job_in_it_is_never_used_for_a_new_one(folders, begin, left):
    """A ledger without its plan, above all: what it knows is of another move."""
    folder = begin("j1")
    kept = folder.path / left
    kept.touch()
    for path in folder.path.iterdir():
        if path != kept:
            path.unlink()
    with pytest.raises(JobExistsError), folders.claim("j1"):
        pass
    assert kept.exists()
    folders.remove("j1")
    with folders.claim("j1"):
        pass


@pytest.mark.parametrize(
    "left", [(), ("lock",), ("lock", ".probe", "plan.tmp", "ledger.new", "ledger.new-journal")]
)
def test_a_name_of_which_a_killed_process_has_left_only_the_claim_is_free(folders, left, now, begin):
    path = folders.root / "jobs" / "j1"
    path.mkdir(parents=True)
    for name in left:
        (path / name).touch()

    with pytest.raises(JobNotFoundError, match=r"stopped before it began.*`memxfer jobs rm j1`"):
        folders.open("j1")
    folder = begin("j1")

    assert {file.name for file in folder.path.iterdir()} == {"lock", "plan.json", "ledger.sqlite"}


def test_of_many_processes_that_claim_one_name_at_once_one_gets_it(folders, python):
    from contextlib import ExitStack

    with ExitStack() as stack:
        processes = [stack.enter_context(python(CLAIM, folders.root)) for _ in range(6)]
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        told = [process.stdout.readline().strip() for process in processes]
        assert sorted(told) == ["JobLockedError"] * 5 + ["mine"]
        processes[told.index("mine")].communicate("\n")
    assert not folders.root.exists()


def test_a_claim_survives_that_others_give_up_the_name_under_its_hands(folders, monkeypatch):
    """Between making the folder and locking it, whoever held it may remove it again."""
    from memxfer.ledger import folder as module

    real, failures = module.hold, [2]

    def removed(path, **settings):
        if failures[0]:
            failures[0] -= 1
            path.parent.rmdir()
        return real(path, **settings)

    monkeypatch.setattr(module, "hold", removed)
    with folders.claim("j1") as folder:
        assert folder.path.is_dir()


@pytest.mark.parametrize(
    "spoil", ["no ledger", "empty plan", "ledger is a folder", "nothing but a lock", "foreign"]
)
def test_a_job_in_any_state_can_be_removed(folders, begin, spoil):
    folder = begin("j1")
    if spoil in ("no ledger", "ledger is a folder", "nothing but a lock"):
        folder.ledger_path.unlink()
    if spoil == "ledger is a folder":
        folder.ledger_path.mkdir()
    if spoil == "empty plan":
        folder.plan_path.write_bytes(b"")
    if spoil == "nothing but a lock":
        folder.plan_path.unlink()
    if spoil == "foreign":
        (folder.path / "deep").mkdir()
        (folder.path / "deep" / "file").touch()
    folders.remove("j1")
    assert not folder.path.exists()


def test_a_job_that_cannot_begin_for_a_full_disk_leaves_nothing(folders, begin, monkeypatch):
    def full(path, plan):
        raise LedgerError("full")

    monkeypatch.setattr("memxfer.ledger.folder.create_ledger", full)
    with pytest.raises(LedgerError):
        begin("j1")
    assert not folders.root.exists()


def test_a_state_folder_that_cannot_be_read_is_told_as_such(folders, monkeypatch):
    folders.root.mkdir()

    def refused(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refused)
    with pytest.raises(LedgerError, match=r"state cannot be read \(Permission denied\)"):
        folders.jobs()


def test_a_state_folder_on_a_read_only_disk_is_told_as_such(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(ConfigError, match=r"cannot be written \(Read-only file system\).*--state-dir"):
        StateFolder(tmp_path / "state").claim("j1").__enter__()


def test_the_ledger_of_a_new_job_holds_its_plan_from_the_first_moment(begin):
    folder = begin("j1", '{"a": 1}')
    with closing(sqlite3.connect(folder.ledger_path)) as ledger:
        assert ledger.execute("SELECT plan FROM plan").fetchall() == [('{"a": 1}',)]
