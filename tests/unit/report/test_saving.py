import os
import stat
import tempfile
from pathlib import Path

import pytest

from memxfer.errors import ConfigError
from memxfer.report.saving import check_place, save_text


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_file_is_its_owners_alone_and_replaces_what_was_there(tmp_path):
    file = tmp_path / "gaps.html"
    file.write_text("a much longer text of before")
    file.chmod(0o644)
    save_text(file, "ü\n")
    assert file.read_bytes() == "ü\n".encode()
    assert mode(file) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_what_was_there_stays_when_the_disk_is_full(tmp_path, monkeypatch):
    file = tmp_path / "gaps.html"
    file.write_text("before")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"gaps\.html cannot be written: No space left on device"):
        save_text(file, "after")
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_one(tmp_path):
    file, link = tmp_path / "real.md", tmp_path / "link.md"
    file.write_text("before")
    link.symlink_to(file)
    check_place(link)
    save_text(link, "after")
    assert link.is_symlink()
    assert file.read_text() == "after"


def test_a_good_place_is_left_as_it_is(tmp_path):
    there = tmp_path / "there.md"
    there.write_text("before")
    check_place(there)
    check_place(tmp_path / "new.md")
    assert list(tmp_path.iterdir()) == [there]
    assert there.read_text() == "before"


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is a folder; name a file in it"):
        check_place(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"a\.md cannot be written: there is no folder .*nowhere"):
        check_place(tmp_path / "nowhere" / "a.md")


def test_a_device_is_refused(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="is a device or a pipe"):
        check_place(pipe)


def test_a_place_that_cannot_be_written_to_is_refused_beforehand(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(ConfigError, match=r"a\.md cannot be written: Permission denied"):
        check_place(tmp_path / "a.md")
