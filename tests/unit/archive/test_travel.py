"""Copies of an archive taken while somebody writes to it: each is an archive of its own."""

import threading
from datetime import UTC, datetime

import pytest

from memxfer.archive import ArchiveReader, ArchiveWriter, is_archive_file, snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def copy(files, root):
    for name, size, opened in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened() as content:
            path.write_bytes(content.read(size))
    return ArchiveReader(root)


def ids(reader):
    return [item.record.id for item in reader.records()]


def test_where_there_is_no_archive_there_is_nothing_to_take(tmp_path):
    assert snapshot(tmp_path / "nowhere") == []
    assert snapshot(tmp_path) == []


def test_a_finished_archive_is_taken_whole_without_its_index(folder, small_parts, tmp_path):
    folder.write(*(folder.plain(index) for index in range(7)))
    folder.write(folder.plain(1, "new"))

    files = snapshot(folder.path)
    reader = copy(files, tmp_path / "copy")

    assert all(is_archive_file(name) for name, _, _ in files)
    assert "index.sqlite" not in {name for name, _, _ in files}
    assert reader.is_complete
    assert reader.warnings == []
    assert sorted(ids(reader)) == [f"id-{index}" for index in range(7)]


def test_what_is_written_after_the_snapshot_is_not_in_it(folder, small_parts, tmp_path):
    with folder.writer() as writer:
        writer.append([folder.line(folder.plain(index)) for index in range(5)])
        files = snapshot(folder.path)
        # the open part grows, is sealed under another name, and a line of it is replaced
        writer.append([folder.line(folder.plain(index)) for index in range(5, 9)])
        writer.append([folder.line(folder.plain(4, "new"))])
        writer.finish()

    reader = copy(files, tmp_path / "copy")

    assert ids(reader) == [f"id-{index}" for index in range(5)]
    assert not reader.is_complete
    assert reader.count() == 5


@pytest.mark.timeout(60)
def test_every_copy_taken_of_a_busy_archive_reads_and_holds_what_was_durable(folder, small_parts, tmp_path):
    written = []
    done = threading.Event()

    def work():
        with folder.writer() as writer:
            for number in range(150):
                index = number % 40  # later lines replace earlier ones
                writer.append([folder.line(folder.plain(index, f"text {number}"))])
                written.append(index)
                if number % 50 == 49:
                    writer.finish()
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    copies = 0
    while not done.is_set() or not copies:
        before = set(written)
        files = snapshot(folder.path)
        if not files:
            continue
        root = tmp_path / f"copy-{copies}"
        copy(files, root)
        # A line may be there together with the one it has just replaced: whoever goes on sees to that.
        ArchiveWriter(root, now=lambda: NOW).close()
        found = ids(ArchiveReader(root))
        copies += 1
        assert len(found) == len(set(found))
        assert before <= {int(name.removeprefix("id-")) for name in found}
    thread.join()

    assert copies > 1


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "records/part-00001.jsonl.gz",
        "records/part-00001.jsonl.gz.open",
        "records/part-123456789.superseded",
    ],
)
def test_files_of_an_archive_are_known_by_their_names(name):
    assert is_archive_file(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "index.sqlite",
        ".lock",
        "manifest.json.new",
        "manifest.json\n",
        "records",
        "records/",
        "records/../manifest.json",
        "../manifest.json",
        "/manifest.json",
        "records/part-1.jsonl.gz",
        "records/part-00001.jsonl",
        "records/part-00001.jsonl.gz.open/x",
        "records/part-00001.superseded.py",
        "manifestxjson",
    ],
)
def test_anything_else_is_not(name):
    assert not is_archive_file(name)
