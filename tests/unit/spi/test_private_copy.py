"""Copies that are read in place of a store: whole or not at all, private, and gone afterwards."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections import namedtuple

import pytest

from memxfer.errors import ConfigError
from memxfer.spi import PrivateCopy


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """The folder for copies; nothing else is in it."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.db").write_bytes(b"one")
    (folder / "inner" / "b.db").write_bytes(b"second")
    (folder / ".lock").touch()
    os.mkfifo(folder / "pipe")
    return folder


def names(copy):
    return sorted(str(path.relative_to(copy.path)) for path in copy.path.rglob("*") if path.is_file())


def test_a_copy_is_whole_private_and_gone_when_it_is_closed(store, scratch):
    copy = PrivateCopy(store, what="the store", leave=[".lock"])

    assert names(copy) == ["a.db", "inner/b.db"]
    assert copy.size == 9
    modes = {stat.S_IMODE(path.stat().st_mode) for path in scratch.rglob("*") if path.name != ".held"}
    assert modes <= {0o700, 0o600}
    (copy.path / "a.db").write_bytes(b"changed")
    assert (store / "a.db").read_bytes() == b"one"
    copy.close()
    copy.close()
    assert not list(scratch.iterdir())


def test_only_the_named_files_are_copied_and_missing_ones_are_left_out(store):
    copy = PrivateCopy(store, what="the store", names=["a.db", "a.db-wal", "inner"])
    assert names(copy) == ["a.db", "inner/b.db"]
    copy.close()


def test_a_copy_goes_with_its_last_user(store, scratch):
    copy = PrivateCopy(store, what="the store")
    assert list(scratch.iterdir())
    del copy
    assert not list(scratch.iterdir())


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(store, scratch):
    code = "import sys; from memxfer.spi import PrivateCopy; from pathlib import Path\n"
    code += "copy = PrivateCopy(Path(sys.argv[1]), what='the store'); print(copy.path, flush=True)\n"
    code += "sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(store)],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        child.stdout.readline()
        PrivateCopy(store, what="the store").close()
        assert len(list(scratch.iterdir())) == 1
        child.kill()
        child.wait()
        PrivateCopy(store, what="the store").close()
        assert not list(scratch.iterdir())


def test_too_little_room_is_said_before_anything_is_copied(store, scratch, monkeypatch):
    usage = namedtuple("usage", "total used free")(100, 92, 8)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ConfigError, match="set TMPDIR to a folder with room"):
        PrivateCopy(store, what="the store")
    assert not list(scratch.iterdir())


def test_a_store_that_keeps_changing_is_refused(store, scratch, monkeypatch):
    from memxfer.spi import private_copy

    original = private_copy._copy_file

    def changing(source, target):
        original(source, target)
        with source.open("ab") as stream:
            stream.write(b"x")

    monkeypatch.setattr(private_copy, "_copy_file", changing)
    monkeypatch.setattr(private_copy.time, "sleep", lambda _: None)
    with pytest.raises(ConfigError, match="being written to"):
        PrivateCopy(store, what="the store")
    assert not list(scratch.iterdir())


def test_a_file_that_cannot_be_read_is_named(store, scratch, monkeypatch):
    from memxfer.spi import private_copy

    def refused(source, _):
        raise PermissionError(13, "Permission denied", str(source))

    monkeypatch.setattr(private_copy, "_copy_file", refused)
    with pytest.raises(ConfigError, match=r"Permission denied: .*store"):
        PrivateCopy(store, what="the store")
    assert not list(scratch.iterdir())
