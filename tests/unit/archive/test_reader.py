"""Reading archives, damaged and hostile ones included."""

import gzip
import json

import pytest

from memxfer.archive import ArchiveReader
from memxfer.errors import ConfigError, FatalError, RecordError


def edit_manifest(folder, **changes):
    path = folder.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def manifest(folder):
    return json.loads((folder.path / "manifest.json").read_text())


def test_missing_folder_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="no archive at"):
        ArchiveReader(tmp_path / "nowhere")


def test_folder_with_other_things_is_a_config_error(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not a memxfer archive"):
        ArchiveReader(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "has version 2; this memxfer reads version 1"),
        ({"format": "tar"}, "not the manifest of a memxfer archive"),
        ({"id": 3}, "damaged at 'id'"),
        ({"parts": [{"number": 1}]}, "damaged at 'parts.0.lines'"),
        ({"records": -1}, "damaged at 'records'"),
    ],
)
def test_manifest_of_another_kind_is_a_config_error(folder, changes, message):
    folder.write(folder.plain(0))
    edit_manifest(folder, **changes)
    with pytest.raises(ConfigError, match=message):
        folder.reader()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", "\ufffd" * 9, '{"format": "memxfer-archive"' + "[" * 9_999]
)
def test_manifest_that_is_none_is_a_config_error(folder, text):
    folder.write(folder.plain(0))
    (folder.path / "manifest.json").write_text(text)
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        folder.reader()


def test_part_listed_twice_is_refused(folder):
    folder.write(folder.plain(0))
    edit_manifest(folder, parts=manifest(folder)["parts"] * 2)
    with pytest.raises(ConfigError, match="listed twice"):
        folder.reader()


def test_unknown_fields_of_the_same_version_are_ignored(folder):
    folder.write(folder.plain(0))
    edit_manifest(folder, colour="green")
    assert folder.contents() == ["text 0"]


def test_missing_part_is_named(folder):
    folder.write(folder.plain(0))
    folder.part().unlink()
    with pytest.raises(FatalError, match=r"part-00001\.jsonl\.gz is missing; copy the archive again"):
        folder.reader()


def test_part_of_another_size_is_named_at_once(folder):
    folder.write(folder.plain(0))
    folder.part().write_bytes(folder.part().read_bytes() + b"x")
    with pytest.raises(FatalError, match=r"part-00001\.jsonl\.gz has \d+ bytes; the manifest says"):
        folder.reader()


def test_part_of_another_content_is_refused_before_its_first_record(folder):
    folder.write(folder.plain(0))
    size = folder.part().stat().st_size
    for text in ("evil", "worse"):
        data = gzip.compress(f'{{"key":"k","record":{{"id":"1","content":"{text}"}}}}\n'.encode())
        data = data[:size].ljust(size, b"\0")
        folder.part().write_bytes(data)
        with pytest.raises(FatalError, match="sha256 differs"):
            folder.contents()


def test_symbolic_links_are_refused(folder, tmp_path):
    folder.write(folder.plain(0))
    folder.part().rename(tmp_path / "elsewhere.gz")
    folder.part().symlink_to(tmp_path / "elsewhere.gz")
    with pytest.raises(ConfigError, match="symbolic link"):
        folder.reader()


def test_linked_folder_of_parts_is_refused(folder, tmp_path):
    folder.write(folder.plain(0))
    (folder.path / "records").rename(tmp_path / "elsewhere")
    (folder.path / "records").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="symbolic link"):
        folder.reader()


@pytest.mark.parametrize("text", [b"0\n", b"0\n1\n2\n", b"zero\n"])
def test_list_of_superseded_lines_must_be_the_one_that_was_counted(folder, text):
    folder.write(*(folder.plain(index) for index in range(4)))
    folder.write(folder.plain(0, "new"), folder.plain(1, "new"))
    (folder.path / "records" / "part-00001.superseded").write_bytes(text)
    with pytest.raises(FatalError, match="superseded"):
        folder.contents()


def test_lines_taken_out_while_reading_are_no_damage(folder, small_parts):
    folder.write(*(folder.plain(index) for index in range(4)))
    reader = folder.reader()
    with folder.writer() as writer:
        writer.delete(["key-id-3"])
        assert [item.record.content for item in reader.records()] == ["text 0", "text 1", "text 2"]
        writer.finish()
    assert [item.record.content for item in reader.records()] == ["text 0", "text 1", "text 2"]


def test_line_that_is_no_record_is_named(folder):
    with folder.writer() as writer:
        writer.append([folder.line(folder.plain(0)), ("bad", b'{"key": "bad", "record": 7}')])
        writer.finish()
    with pytest.raises(RecordError, match="line 2 of part-00001 is not a record"):
        folder.contents()


def test_unfinished_archive_is_read_with_a_warning(folder, small_parts):
    folder.write(*(folder.plain(index) for index in range(5)), finish=False)
    reader = folder.reader()
    assert "never finished" in reader.warnings[0]
    assert [item.record.content for item in reader.records()] == [f"text {index}" for index in range(5)]
    assert reader.count() == 5


def test_archive_without_its_manifest_is_read_with_a_warning(folder, small_parts):
    folder.write(*(folder.plain(index) for index in range(5)))
    (folder.path / "manifest.json").unlink()
    reader = folder.reader()
    assert "never finished" in reader.warnings[0]
    assert reader.count() == 5
    assert folder.reader().archive_id == reader.archive_id
    assert reader.archive_id.startswith("unnamed-")


def test_strange_parts_of_a_finished_archive_are_not_read(folder):
    folder.write(folder.plain(0))
    folder.part(7).write_bytes(gzip.compress(b'{"key":"k","record":{"id":"1","content":"smuggled"}}\n'))
    reader = folder.reader()
    assert folder.contents() == ["text 0"]
    assert "part-00007" in reader.warnings[0]


def test_empty_archive_has_no_records(folder):
    folder.writer().close()
    assert folder.contents() == []
    assert folder.reader().count() == 0
    assert folder.reader().warnings == []
