"""Ordinary trouble of disks and folders, and archives made to hurt: told as such, never waited for."""

import errno
import gzip
import hashlib
import json
import os
import socket
import sqlite3
from pathlib import Path

import pytest

from memxfer.archive import layout, part, superseded
from memxfer.errors import ConfigError, FatalError, MemxferError

PART = "records/part-00001.jsonl.gz"


class SmallDisk:
    """Lets so many more bytes be written to the files of archives, and so many operations of the index."""

    def __init__(self, room, error=errno.ENOSPC):
        self.room = room
        self.error = error

    def take(self, count):
        if count > self.room:
            raise OSError(self.error, os.strerror(self.error))
        self.room -= count


class _File:
    def __init__(self, file, disk):
        self._file = file
        self._disk = disk

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, data):
        self._disk.take(len(data))
        return self._file.write(data)


@pytest.fixture
def disk(monkeypatch):
    """Put the files of archives on a disk whose room a test sets; enough at first."""
    small = SmallDisk(10**9)
    opened = layout.open_private

    def open_on_it(path, mode):
        file = opened(path, mode)
        if mode == "rb" or path.suffix == ".sqlite":
            return file
        return _File(file, small)

    for module in (layout, part, superseded):
        monkeypatch.setattr(module, "open_private", open_on_it)
    return small


def contents(folder):
    return {one.key: one.record.content for one in folder.reader().records()}


def lines_of(folder, numbers, version=1):
    return [folder.line(folder.plain(number, f"text {number} v{version}")) for number in numbers]


@pytest.mark.parametrize("room", [0, 40, 90, 200, 330, 360, 500, 700, 900, 1200, 1500])
def test_a_disk_that_fills_up_anywhere_is_told_and_sending_again_completes_the_archive(folder, disk, room):
    before = lines_of(folder, range(20))
    after = lines_of(folder, range(10, 30), 2)
    with folder.writer() as writer:
        writer.append(before)
    disk.room = room
    told = []
    for _ in range(2):  # still full when it is tried again
        try:
            with folder.writer() as writer:
                writer.append(after)
                writer.finish()
        except MemxferError as error:
            told.append(error)
    assert all(isinstance(error, FatalError) and error.code == "disk" for error in told)
    assert all("free some space" in str(error) and "No space left" in str(error) for error in told)
    disk.room = 10**9
    with folder.writer() as writer:
        writer.append(after)
        writer.finish()
    expected = {f"key-id-{n}": f"text {n} v{2 if n >= 10 else 1}" for n in range(30)}
    assert contents(folder) == expected
    assert folder.reader().is_complete
    assert room > 1000 or told


NUMBERS = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO]


@pytest.mark.parametrize("number", NUMBERS)
def test_what_the_system_says_is_passed_on_with_what_to_do(folder, disk, number):
    with folder.writer() as writer:
        disk.room, disk.error = 0, number
        with pytest.raises(FatalError, match=os.strerror(number)) as caught:
            writer.append(lines_of(folder, range(3)))
    assert "resume" in str(caught.value)
    assert str(folder.path) in str(caught.value)


def test_an_index_that_cannot_grow_is_the_disk_s_trouble_and_is_made_anew(folder, monkeypatch):
    with folder.writer() as writer:
        writer.append(lines_of(folder, range(5)))

        def full(*_arguments, **_named):
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(type(writer._index), "flush", full)
            with pytest.raises(FatalError, match=r"index\.sqlite: database or disk is full; free some space"):
                writer.delete(["key-id-1"])
    with folder.writer() as writer:
        writer.delete(["key-id-1"])
    assert len(contents(folder)) == 4


def test_a_folder_that_cannot_be_written_to_is_told(folder, monkeypatch):
    with folder.writer() as writer:
        writer.append(lines_of(folder, range(5)))
        writer.finish()

    def read_only(path, mode):
        if mode != "rb":
            raise PermissionError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, mode)

    opened = layout.open_private
    for module in (layout, part, superseded):
        monkeypatch.setattr(module, "open_private", read_only)
    with (
        pytest.raises(FatalError, match=r"Read-only file system.*let this user"),
        folder.writer() as writer,
    ):
        writer.append(lines_of(folder, range(9)))
    assert len(contents(folder)) == 5


def made(folder, count=5):
    with folder.writer() as writer:
        writer.append(lines_of(folder, range(count)))
        writer.finish()


def put_fifo(path):
    os.mkfifo(path)


def put_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket is short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


def put_folder(path):
    path.mkdir()


def put_device(path):
    path.symlink_to("/dev/zero")


ODD = [put_fifo, put_socket, put_folder, put_device]


@pytest.mark.parametrize("put", ODD)
@pytest.mark.parametrize(
    "name", [PART, "records/part-00001.superseded", "records/part-00002.jsonl.gz", "manifest.json", "records"]
)
def test_what_is_no_file_among_the_files_is_neither_read_nor_waited_for(folder, name, put):
    made(folder)
    path = folder.path / name
    if path.is_dir():
        path.rename(folder.path / "elsewhere")
    else:
        path.unlink(missing_ok=True)
    put(path)
    if name.startswith("records/part-00002"):
        manifest = folder.path / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"complete": true', '"complete": false'))
    with pytest.raises((FatalError, ConfigError), match=str(folder.path)) as caught:
        contents(folder)
    assert caught.value.__class__ in (FatalError, ConfigError)


WRITTEN = ["index.sqlite", "records/part-00001.superseded", "records/part-00002.jsonl.gz.open"]


@pytest.mark.parametrize("put", ODD)
@pytest.mark.parametrize("name", WRITTEN)
def test_a_writer_does_not_wait_for_them_either(folder, name, put):
    made(folder)
    (folder.path / name).unlink(missing_ok=True)
    put(folder.path / name)
    with pytest.raises((FatalError, ConfigError), match=str(folder.path)), folder.writer() as writer:
        writer.append(lines_of(folder, range(2, 9), 2))


def resealed(folder, data, **entry):
    """Put `data` in place of the part, and say of it in the manifest what a forger would."""
    (folder.path / PART).write_bytes(data)
    manifest = json.loads((folder.path / "manifest.json").read_text())
    manifest["parts"][0] |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **entry}
    (folder.path / "manifest.json").write_text(json.dumps(manifest))


def lines_in(folder):
    return gzip.decompress((folder.path / PART).read_bytes())


@pytest.mark.parametrize("claimed", [3, 9])
def test_a_part_that_has_other_lines_than_its_manifest_says_is_damaged(folder, claimed):
    made(folder)
    resealed(folder, (folder.path / PART).read_bytes(), lines=claimed)
    with pytest.raises(FatalError, match="lines"):
        contents(folder)


def test_millions_of_empty_lines_are_given_up_after_a_piece_of_them(folder):
    made(folder)
    raw = lines_in(folder) + b"\n" * 2**25
    resealed(folder, gzip.compress(raw, 1), raw_size=len(raw))
    with pytest.raises(FatalError, match="more lines"):
        contents(folder)


def test_empty_lines_without_end_in_a_part_that_no_manifest_lists_are_given_up_too(folder):
    made(folder)
    raw = lines_in(folder) + b"\n" * 2**25
    (folder.path / PART).write_bytes(gzip.compress(raw, 1))
    (folder.path / "manifest.json").unlink()
    with pytest.raises(FatalError, match="more lines"):
        contents(folder)


@pytest.mark.parametrize("claim", [{"raw_size": 2**30}, {"lines": 10**30}, {"lines": 10**6}])
def test_a_part_larger_than_any_is_refused_unread(folder, claim):
    made(folder)
    resealed(folder, (folder.path / PART).read_bytes(), **claim)
    with pytest.raises(ConfigError, match="damaged at"):
        folder.reader()


def test_more_lines_that_do_not_count_than_there_are_is_damage(folder):
    made(folder)
    resealed(folder, (folder.path / PART).read_bytes(), superseded=9)
    with pytest.raises(FatalError, match="takes more lines out of part-00001"):
        folder.reader()


def test_a_part_that_cannot_be_read_on_is_the_disk_s_trouble(folder, monkeypatch):
    made(folder)

    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    reader = folder.reader()
    with reader.stream(reader.parts[0]) as stream:
        monkeypatch.setattr(stream._inflater, "read", broken)
        with pytest.raises(FatalError, match="Input/output error"):
            stream.read(5, max_bytes=1000)
