"""What a writer promises: whole records, once each, on disk, for the owner's eyes alone."""

import errno
import gzip
import json
import os
import stat

import msgspec
import pytest

from memxfer.archive import Appended, Origin, create_archive
from memxfer.errors import ConfigError, FatalError
from memxfer.models import MemoryRecord

CREATED, UPDATED, PRESENT = Appended.CREATED, Appended.UPDATED, Appended.PRESENT


def test_every_field_comes_back_equal(folder):
    sent = folder.full()
    assert not [
        name
        for name in MemoryRecord.__struct_fields__
        if getattr(sent, name) == getattr(MemoryRecord(id="", content=""), name)
    ], "the sample leaves a field at its default"
    folder.write(sent)
    assert [item.record for item in folder.reader().records()] == [sent]


def test_line_is_canonical_json_that_any_tool_can_read(folder):
    folder.write(folder.full(), folder.plain(1))
    with gzip.open(folder.part(), "rt", encoding="utf-8") as lines:
        first, second = (json.loads(line) for line in lines)
    assert first["key"] == "key-id-0"
    assert first["record"]["scope"]["extra"] == {"region": "eu"}
    assert second == {"key": "key-id-1", "record": {"content": "text 1", "id": "id-1"}}


def test_repeated_lines_are_stored_once(folder):
    assert folder.write(folder.plain(0), folder.plain(1)) == [CREATED, CREATED]
    assert folder.write(folder.plain(1), folder.plain(2)) == [PRESENT, CREATED]
    assert folder.contents() == ["text 0", "text 1", "text 2"]


def test_changed_line_takes_the_place_of_the_old_one(folder, small_parts):
    folder.write(*(folder.plain(index) for index in range(7)))
    assert folder.write(folder.plain(1, "new")) == [UPDATED]
    assert folder.contents() == ["text 0", "text 2", "text 3", "text 4", "text 5", "text 6", "new"]
    assert folder.reader().count() == 7
    assert folder.reader().manifest.records == 7


def test_last_of_several_lines_of_one_key_in_one_batch_counts(folder):
    lines = [folder.plain(0, "a"), folder.plain(0, "b"), folder.plain(0, "b"), folder.plain(0, "a")]
    assert folder.write(*lines) == [CREATED, UPDATED, PRESENT, UPDATED]
    assert folder.contents() == ["a"]
    assert folder.reader().count() == 1


def test_same_id_under_two_keys_is_two_records(folder):
    with folder.writer() as writer:
        writer.append([folder.line(folder.plain(0), "store-a"), folder.line(folder.plain(0), "store-b")])
        writer.finish()
    assert [item.key for item in folder.reader().records()] == ["store-a", "store-b"]


def test_deleted_key_is_gone_and_can_come_back(folder):
    folder.write(folder.plain(0), folder.plain(1))
    with folder.writer() as writer:
        assert writer.delete(["key-id-0", "no such key"]) == 1
        assert writer.delete(["key-id-0"]) == 0
        assert writer.find(["key-id-0", "key-id-1", "no such key"]) == {"key-id-1"}
        writer.finish()
    assert folder.contents() == ["text 1"]
    assert folder.write(folder.plain(0)) == [CREATED]
    assert folder.contents() == ["text 1", "text 0"]


def test_parts_are_sealed_when_full(folder, small_parts):
    folder.write(*(folder.plain(index) for index in range(7)), finish=False)
    assert folder.part(1).exists()
    assert folder.part(2).exists()
    assert folder.part(3, is_open=True).exists()


def test_part_is_sealed_at_its_bytes_too(folder, monkeypatch):
    monkeypatch.setattr("memxfer.archive.part._RAW", 1_000)
    folder.write(*(folder.plain(index, "x" * 400) for index in range(6)))
    assert folder.part(2).exists()
    assert len(folder.contents()) == 6


def test_line_longer_than_a_part_is_stored(folder, monkeypatch):
    monkeypatch.setattr("memxfer.archive.part._RAW", 1_000)
    folder.write(folder.plain(0), folder.plain(1, "x" * 5_000), folder.plain(2))
    assert [len(content) for content in folder.contents()] == [6, 5_000, 6]


def test_finishing_twice_changes_nothing(folder):
    folder.write(folder.plain(0))
    before = (folder.path / "manifest.json").read_bytes()
    with folder.writer() as writer:
        writer.finish()
        writer.finish()
    assert (folder.path / "manifest.json").read_bytes() == before


def test_closing_twice_is_harmless(folder):
    writer = folder.writer()
    writer.close()
    writer.close()
    assert folder.contents() == []


def test_archive_is_not_complete_while_it_is_written(folder):
    folder.write(folder.plain(0))
    assert folder.reader().is_complete
    folder.write(folder.plain(1), finish=False)
    assert not folder.reader().is_complete


def test_second_writer_is_turned_away(folder):
    with folder.writer(), pytest.raises(ConfigError, match="another process is writing"):
        folder.writer()
    folder.writer().close()


def test_files_are_for_their_owner_alone(folder):
    before = os.umask(0o022)
    try:
        folder.write(*(folder.plain(index) for index in range(3)))
        folder.write(folder.plain(0, "changed"), folder.plain(9), finish=False)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder.path, *folder.path.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_full_disk_leaves_the_archive_as_it_was(folder, monkeypatch):
    with folder.writer() as writer:
        writer.append([folder.line(folder.plain(0))])

        def no_space(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("memxfer.archive.part.os.fsync", no_space)
            with pytest.raises(FatalError, match="No space left"):
                writer.append([folder.line(folder.plain(1))])
        assert writer.append([folder.line(folder.plain(1))]) == [CREATED]
        writer.finish()
    assert folder.contents() == ["text 0", "text 1"]


def test_change_of_origin_begins_a_new_part(folder):
    mem0, zep = Origin(provider="mem0", namespace="m"), Origin(provider="zep", namespace="z")
    with folder.writer() as writer:
        writer.begin(mem0)
        writer.append([folder.line(folder.plain(0))])
        writer.begin(mem0)
        writer.append([folder.line(folder.plain(1))])
        writer.begin(zep)
        writer.append([folder.line(folder.plain(2))])
        writer.finish()
    assert [(part.origin, part.entry.records) for part in folder.reader().parts] == [(mem0, 2), (zep, 1)]


def test_origin_of_an_unfinished_archive_is_known(folder, small_parts):
    mem0 = Origin(provider="mem0", namespace="m")
    with folder.writer() as writer:
        writer.begin(mem0)
        writer.append([folder.line(folder.plain(index)) for index in range(4)])
    assert folder.reader().origins == [mem0]
    folder.write(folder.plain(5))
    assert folder.reader().origins == [mem0]


def test_archive_keeps_its_id(folder):
    folder.write(folder.plain(0))
    first = folder.reader().archive_id
    folder.write(folder.plain(1))
    assert folder.reader().archive_id == first


@pytest.mark.parametrize("what", ["file", "folder with other things"])
def test_place_that_holds_something_else_is_refused(folder, what):
    if what == "file":
        folder.path.write_text("mine")
    else:
        folder.path.mkdir()
        (folder.path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="new or empty"):
        folder.writer()
    assert sorted(path.name for path in folder.path.parent.rglob("*") if path.is_file()) in (
        ["backup"],
        ["thesis.txt"],
    )


def test_creating_an_archive_twice_keeps_the_first(folder):
    now = folder.full().created_at
    assert create_archive(folder.path, now=now) == create_archive(folder.path, now=now)


def test_same_lines_make_the_same_part(folder, tmp_path):
    folder.write(folder.plain(0), folder.plain(1))
    other = type(folder)(tmp_path / "other")
    other.write(folder.plain(0), folder.plain(1))
    assert folder.part().read_bytes() == other.part().read_bytes()


def test_envelope_is_kept_beside_the_record(folder):
    with folder.writer() as writer:
        line = msgspec.json.encode({"key": "k", "record": {"id": "1", "content": "c"}, "envelope": {"a": 1}})
        writer.append([("k", line)])
        writer.finish()
    assert next(iter(folder.reader().records())).envelope == {"a": 1}
