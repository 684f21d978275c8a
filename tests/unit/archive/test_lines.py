"""Lines of an archive: framed from what is encoded already, and told apart by key and partition."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.archive import ArchivedRecord, ArchiveReader, ArchiveWriter, decode_line, encode_line
from memxfer.archive.line import frame_line, identity, identity_of
from memxfer.models import MemoryRecord, Scope, canonical_json, encode_record, sanitise_record

TEXT = st.text(max_size=20)
RECORDS = st.builds(
    lambda record_id, content, user, metadata, tags: sanitise_record(
        MemoryRecord(id=record_id, content=content, scope=Scope(user=user), metadata=metadata, tags=tags)
    ),
    TEXT,
    TEXT,
    st.none() | TEXT,
    st.dictionaries(TEXT, st.recursive(st.none() | st.floats() | TEXT, st.lists, max_leaves=4), max_size=3),
    st.lists(TEXT, max_size=2).map(tuple),
)


@given(TEXT, RECORDS)
def test_a_framed_line_is_the_encoded_line_byte_for_byte(key, record):
    assert frame_line(key, encode_record(record)) == encode_line(key, record)


@given(TEXT, RECORDS, TEXT)
def test_a_partition_stands_in_the_line_as_any_decoder_expects(key, record, partition):
    line = frame_line(key, encode_record(record), partition=partition)

    whole = ArchivedRecord(key=key, record=record, partition=partition)
    assert line == canonical_json(whole)
    assert decode_line(line) == whole
    assert identity_of(line) == identity(key, partition)


def test_a_full_record_is_framed_as_it_is_encoded(folder):
    record = folder.full()
    assert frame_line("k", encode_record(record)) == encode_line("k", record)


def test_one_key_in_two_partitions_is_two_lines_and_stays_so(folder):
    lines = [_line("k", "of a", "a"), _line("k", "of b", "b"), _line("k", "of none", "")]
    with folder.writer() as writer:
        writer.append(lines)
        writer.append([_line("k", "of b, later", "b")])
        assert (writer.records, writer.lines) == (3, 4)
    (folder.path / "index.sqlite").unlink()  # what it said is found again in the parts

    with folder.writer() as writer:
        assert writer.append(lines[:1]) == ["present"]
        assert (writer.records, writer.lines) == (3, 4)

    assert sorted(folder.contents()) == ["of a", "of b, later", "of none"]


def _line(key, content, partition):
    encoded = encode_record(MemoryRecord(id="r", content=content))
    return identity(key, partition), frame_line(key, encoded, partition=partition)


@pytest.mark.parametrize("finish", [False, True])
def test_the_writer_counts_what_counts_across_openings(folder, small_parts, finish):
    folder.write(*(folder.plain(index) for index in range(7)), finish=finish)
    with folder.writer() as writer:
        assert (writer.records, writer.lines) == (7, 7)
        writer.append([folder.line(folder.plain(1, "new")), folder.line(folder.plain(7))])
        writer.append([folder.line(folder.plain(7))])
        assert (writer.records, writer.lines) == (8, 9)
        assert writer.delete(["key-id-0", "key-id-1", "nobody"]) == 2
        assert writer.delete(["key-id-0"]) == 0
        assert writer.delete(["nobody"]) == 0
        assert (writer.records, writer.lines) == (6, 9)
    with folder.writer() as writer:
        assert (writer.records, writer.lines) == (6, 9)
        writer.append([folder.line(folder.plain(0))])
        assert (writer.records, writer.lines) == (7, 10)
    assert folder.reader().count() == 7


def test_single_lines_are_found_in_sealed_and_open_parts(folder, small_parts):
    folder.write(*(folder.plain(index) for index in range(7)))
    with folder.writer() as writer:
        writer.append([folder.line(folder.plain(index)) for index in (7, 8)])
        writer.append([folder.line(folder.plain(2, "new"))])
        writer.delete(["key-id-8"])

        found = writer.read([f"key-id-{index}" for index in (0, 2, 5, 7, 8, 99)])

    assert {key: decode_line(line).record.content for key, line in found.items()} == {
        "key-id-0": "text 0",
        "key-id-2": "new",
        "key-id-5": "text 5",
        "key-id-7": "text 7",
    }


def test_nothing_is_looked_for_where_nothing_is_asked(folder):
    with folder.writer() as writer:
        writer.append([folder.line(folder.plain(0))])
        assert writer.read([]) == {}


@pytest.mark.parametrize("left", ["nothing", "folder", "half a manifest"])
def test_a_crash_before_the_first_manifest_leaves_a_folder_that_can_be_used(folder, left):
    folder.path.mkdir()
    if left != "nothing":
        (folder.path / "records").mkdir()
    if left == "half a manifest":
        (folder.path / "manifest.json.new").write_text("{")

    folder.write(folder.plain(0))

    assert folder.contents() == ["text 0"]


def test_a_finished_archive_can_be_copied_and_read_without_its_index(folder, tmp_path):
    folder.write(folder.plain(0))
    copy = tmp_path / "copy"
    shutil.copytree(folder.path, copy, ignore=shutil.ignore_patterns("index.sqlite*", ".lock"))

    assert ArchiveReader(copy).count() == 1
    with ArchiveWriter(copy, now=lambda: folder.reader().manifest.created_at) as writer:
        assert writer.append([folder.line(folder.plain(0))]) == ["present"]
