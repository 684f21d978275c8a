"""What is left after a crash: everything that was promised, once, and nothing that was not."""

import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from memxfer.archive import Appended
from memxfer.errors import FatalError

CREATED, UPDATED, PRESENT = Appended.CREATED, Appended.UPDATED, Appended.PRESENT


def crash(folder, *batches):
    """Write batches and die: nothing is closed, finished or flushed."""
    writer = folder.writer()
    for batch in batches:
        writer.append([folder.line(record) for record in batch])
    writer._part.close()
    writer._index._database.close()
    writer._file_lock.release()


def test_torn_end_is_cut_at_the_last_whole_batch(folder):
    crash(folder, [folder.plain(0), folder.plain(1)], [folder.plain(2)])
    path = folder.part(is_open=True)
    whole = path.read_bytes()
    crash(folder, [folder.plain(3), folder.plain(4)])
    torn = path.read_bytes()
    for size in range(len(whole), len(torn)):
        path.write_bytes(torn[:size])
        assert folder.contents() == ["text 0", "text 1", "text 2"], size
        with folder.writer() as writer:
            assert path.read_bytes() == whole
            assert writer.find(["key-id-2", "key-id-3"]) == {"key-id-2"}


def test_garbage_after_a_power_loss_is_cut(folder):
    crash(folder, [folder.plain(0)])
    path = folder.part(is_open=True)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 4096)
    assert folder.contents() == ["text 0"]
    assert folder.write(folder.plain(0), folder.plain(1)) == [PRESENT, CREATED]
    assert folder.contents() == ["text 0", "text 1"]


def test_repeated_run_after_a_crash_stores_nothing_twice(folder, small_parts):
    records = [folder.plain(index) for index in range(8)]
    crash(folder, records[:5], records[5:7])
    assert folder.write(*records) == [PRESENT] * 7 + [CREATED]
    assert folder.contents() == [record.content for record in records]
    assert folder.reader().is_complete


@pytest.mark.parametrize("damage", ["missing", "garbage", "another archive's", "older"])
def test_index_is_made_again(folder, small_parts, tmp_path, damage):
    index = folder.path / "index.sqlite"
    folder.write(folder.plain(0), folder.plain(1))
    shutil.copy(index, tmp_path / "old.sqlite")
    folder.write(*(folder.plain(index) for index in range(2, 9)), folder.plain(0, "changed"))
    for path in folder.path.glob("index.sqlite*"):
        path.unlink()
    if damage == "garbage":
        index.write_bytes(b"no database at all" * 500)
    elif damage == "older":
        shutil.copy(tmp_path / "old.sqlite", index)
    elif damage == "another archive's":
        other = type(folder)(tmp_path / "other")
        other.write(folder.plain(3, "changed"), folder.plain(99))
        shutil.copy(other.path / "index.sqlite", index)
    outcomes = folder.write(
        folder.plain(0, "changed"), folder.plain(3), folder.plain(4, "new"), folder.plain(99)
    )
    assert outcomes == [PRESENT, PRESENT, UPDATED, CREATED]
    assert sorted(folder.contents()) == sorted(
        ["changed", "text 1", "text 2", "text 3", "new", "text 5", "text 6", "text 7", "text 8", "text 99"]
    )


def test_crash_between_a_changed_line_and_its_mark_is_made_good(folder, monkeypatch):
    folder.write(folder.plain(0), folder.plain(1))
    with monkeypatch.context() as patched:
        patched.setattr("memxfer.archive.writer.mark_superseded", lambda *place: None)
        crash(folder, [folder.plain(0, "new")])
    assert folder.contents() == ["text 0", "text 1", "new"]
    assert folder.write(folder.plain(0, "new")) == [PRESENT]
    assert folder.contents() == ["text 1", "new"]
    assert folder.reader().count() == 2


def test_crash_between_a_deletion_and_its_mark_is_made_good(folder, monkeypatch):
    folder.write(folder.plain(0), folder.plain(1))
    with monkeypatch.context() as patched:
        patched.setattr("memxfer.archive.writer.mark_superseded", lambda *place: None)
        with folder.writer() as writer:
            writer.delete(["key-id-0"])
    with folder.writer() as writer:
        writer.delete(["key-id-0"])
        writer.finish()
    assert folder.contents() == ["text 1"]
    assert folder.write(folder.plain(0)) == [CREATED]


def test_torn_list_of_superseded_lines_is_made_good(folder):
    folder.write(*(folder.plain(index) for index in range(30)))
    crash(folder, [folder.plain(25, "new")])
    marks = folder.path / "records" / "part-00001.superseded"
    assert marks.read_bytes() == b"25\n"
    marks.write_bytes(b"2")
    assert folder.write(folder.plain(3, "newer")) == [UPDATED]
    assert sorted(marks.read_bytes().split()) == [b"25", b"3"]
    assert folder.reader().count() == 30


def test_sealed_parts_that_no_manifest_lists_are_taken_in(folder, small_parts):
    records = [folder.plain(index) for index in range(10)]
    crash(folder, records[:3], records[3:6], records[6:7])
    for path in folder.path.glob("index.sqlite*"):
        path.unlink()
    folder.write(*records)
    reader = folder.reader()
    assert [part.entry.lines for part in reader.parts] == [3, 3, 3, 1]
    for part in reader.parts:
        reader.verify(part)


@pytest.mark.parametrize("damage", ["missing", "shorter"])
def test_writing_to_a_damaged_archive_is_refused(folder, damage):
    folder.write(folder.plain(0))
    data = folder.part().read_bytes()
    folder.part().unlink()
    if damage == "shorter":
        folder.part().write_bytes(data[:-1])
    with pytest.raises(FatalError, match="part-00001"):
        folder.writer()
    folder.part().write_bytes(data)
    assert folder.write(folder.plain(0)) == [PRESENT]


KILLED = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from memxfer.archive import ArchiveWriter, encode_line
    from memxfer.models import MemoryRecord

    import memxfer.archive.part, memxfer.archive.index
    memxfer.archive.part._LINES = 40
    memxfer.archive.index._FLUSH = 60
    writer = ArchiveWriter(Path(sys.argv[1]), now=lambda: datetime.now(UTC))
    for start in range(0, 10**9, 7):
        numbers = range(start, start + 7)
        records = [MemoryRecord(id=str(n), content=f"text {n}") for n in numbers]
        # Numbers from half way back come again with another text.
        records += [MemoryRecord(id=str(n), content="again") for n in (start // 2, start // 2 + 1)]
        keyed = [(f"key-{record.id}", record) for record in records]
        writer.append([(key, encode_line(key, record)) for key, record in keyed])
        print(start, flush=True)
"""


def test_killed_process_keeps_what_it_promised(folder):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(folder.path)]
    for lines in (1, 9, 23, 40):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            promised = [int(process.stdout.readline()) for _ in range(lines)]
            process.send_signal(signal.SIGKILL)
        with folder.writer() as writer:
            writer.finish()
        records = {}
        for item in folder.reader().records():
            assert item.key not in records, "a key is there twice"
            records[item.key] = item.record.content
        last = promised[-1]
        assert set(records) >= {f"key-{number}" for number in range(last + 7)}
        assert records[f"key-{last // 2}"] == "again"
        assert folder.reader().count() == len(records)


def test_sealed_part_that_was_exchanged_is_read_again(folder, small_parts, tmp_path):
    crash(folder, [folder.plain(index) for index in range(4)])
    other = type(folder)(tmp_path / "other")
    other.write(*(folder.plain(index, f"other text {index}") for index in (0, 7, 8)))
    shutil.copy(other.part(), folder.part())
    assert folder.write(folder.plain(1), folder.plain(7, "other text 7")) == [CREATED, PRESENT]
    assert folder.contents() == ["other text 0", "other text 7", "other text 8", "text 3", "text 1"]


def test_index_that_is_ahead_of_the_parts_is_made_again(folder, tmp_path):
    crash(folder, [folder.plain(0)])
    shutil.copytree(folder.path, tmp_path / "earlier")
    folder.write(folder.plain(1), finish=False)
    shutil.copy(tmp_path / "earlier" / "records" / folder.part(is_open=True).name, folder.part(is_open=True))
    assert folder.write(folder.plain(0), folder.plain(1)) == [PRESENT, CREATED]
    assert folder.contents() == ["text 0", "text 1"]


def test_line_without_a_key_does_not_stop_recovery(folder, monkeypatch):
    monkeypatch.setattr("memxfer.archive.index._FLUSH", 2)
    writer = folder.writer()
    writer.append([("bad", b"not json"), *(folder.line(folder.plain(index)) for index in range(5))])
    writer._part.close()
    writer._index._database.close()
    writer._file_lock.release()
    for path in folder.path.glob("index.sqlite*"):
        path.unlink()
    assert folder.write(*(folder.plain(index) for index in range(6))) == [PRESENT] * 5 + [CREATED]
