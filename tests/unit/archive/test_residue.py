"""The residue as an archive: made when needed, the same on repetition, loud when it cannot be written."""

import errno
import os
import sqlite3
import stat
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from memxfer.archive import ArchiveReader, Origin, ResidueArchive, decode_line, frame_line, identity
from memxfer.errors import LedgerError
from memxfer.models import MemoryRecord, encode_record

ORIGIN = Origin(provider="mem0-oss", namespace="memories")


def line(record_id, content="text", partition="all"):
    key = f"mx:mem0-oss:memories:{record_id}"
    encoded = encode_record(MemoryRecord(id=record_id, content=content))
    return identity(key, partition), frame_line(key, encoded, partition=partition)


def gone(record_id, partition="all"):
    return line(record_id, partition=partition)[0], None


@pytest.fixture
def root(tmp_path):
    return tmp_path / "residue"


@pytest.fixture
def opened(root):
    """Open the residue as one run of the job does."""

    @contextmanager
    def run(*, lines=0):
        residue = ResidueArchive(root, origin=ORIGIN, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        try:
            residue.open(lines=lines)
            yield residue
        finally:
            residue.close()

    return run


def contents(root):
    return {item.record.id: item.record.content for item in ArchiveReader(root).records()}


def test_there_is_no_folder_before_the_first_line(opened, root):
    with opened() as residue:
        assert residue.store([gone("a")]) == (0, 0)
        assert residue.read([gone("a")[0]]) == {}
        residue.finish()
        assert not residue.is_there

    assert not root.exists()


def test_what_is_stored_can_be_read_before_it_is_finished(opened, root):
    with opened() as residue:
        assert residue.store([line("a"), line("b")]) == (2, 2)
        assert residue.is_there
        assert not residue.had_lines
        reader = ArchiveReader(root)

    assert [(item.record.id, item.partition) for item in reader.records()] == [("a", "all"), ("b", "all")]
    assert reader.origins == [ORIGIN]
    assert any("never finished" in warning for warning in reader.warnings)


def test_the_same_lines_again_change_nothing_and_a_changed_one_replaces_the_old(opened, root):
    with opened() as residue:
        residue.store([line("a"), line("b")])
    with opened(lines=2) as residue:
        assert residue.had_lines
        assert residue.store([line("a"), line("b")]) == (2, 2)
        assert residue.store([line("a", "new")]) == (2, 3)

    assert contents(root) == {"a": "new", "b": "text"}


def test_of_one_record_the_last_word_of_a_group_counts(opened, root):
    with opened() as residue:
        residue.store([line("a", "old"), line("b"), line("a", "new"), gone("b")])

    assert contents(root) == {"a": "new"}


def test_an_older_form_is_taken_back_and_may_come_again(opened, root):
    with opened() as residue:
        residue.store([line("a"), line("b")])
    with opened(lines=2) as residue:
        assert residue.store([gone("a"), gone("never there")]) == (1, 2)
        assert contents(root) == {"b": "text"}
        assert residue.store([line("a", "back")]) == (2, 3)

    assert contents(root) == {"a": "back", "b": "text"}


def test_a_finished_residue_is_complete_and_goes_on_in_a_later_run(opened, root):
    with opened() as residue:
        residue.store([line("a")])
        residue.finish()
        residue.finish()
        first = ArchiveReader(root)
        residue.store([line("b")])
        residue.finish()
    with opened(lines=2) as residue:
        residue.store([line("c")])
        residue.finish()

    reader = ArchiveReader(root)
    assert first.is_complete
    assert reader.is_complete
    assert reader.warnings == []
    assert reader.origins == [ORIGIN]
    assert contents(root) == {"a": "text", "b": "text", "c": "text"}


def test_single_originals_can_be_had_back(opened):
    with opened() as residue:
        residue.store([line("a"), line("b"), line("a", "elsewhere", "other")])
        found = residue.read([line("a")[0], line("nobody")[0]])

    assert [decode_line(text).record.content for text in found.values()] == ["text"]


def test_a_residue_that_lacks_what_the_ledger_counts_is_refused(opened, root):
    with opened() as residue:
        residue.store([line("a")])

    with opened(lines=1):
        pass
    with pytest.raises(LedgerError, match=r"holds 1 of the 2 lines .* put the folder back"), opened(lines=2):
        pass
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    root.rmdir()
    with pytest.raises(LedgerError, match=r"holds 0 of the 1 lines"), opened(lines=1):
        pass


def test_a_torn_end_is_cut_off_and_the_lines_come_again(opened, root):
    with opened() as residue:
        residue.store([line("a")])
        residue.store([line("b")])
    part = root / "records" / "part-00001.jsonl.gz.open"
    with part.open("r+b") as file:
        file.truncate(part.stat().st_size - 3)

    with opened(lines=1) as residue:
        assert residue.store([line("a"), line("b")]) == (2, 2)

    assert contents(root) == {"a": "text", "b": "text"}


def test_only_its_owner_can_read_it(opened, root):
    with opened() as residue:
        residue.store([line("a")])
        residue.store([line("a", "new")])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
        residue.finish()

    assert {name: mode for name, mode in modes.items() if mode not in (0o600, 0o700)} == {}
    assert modes["residue"] == modes["records"] == 0o700


@pytest.mark.parametrize("broken", ["fsync", "mkdir", "index"])
def test_a_full_disk_is_told_with_the_folder_and_what_to_do(opened, root, monkeypatch, broken):
    full = OSError(errno.ENOSPC, "No space left on device")

    def fail(*_, **__):
        raise sqlite3.OperationalError("database or disk is full") if broken == "index" else full

    place, name = {
        "fsync": (os, "fsync"),
        "mkdir": (type(root), "mkdir"),
        "index": (sqlite3, "connect"),
    }[broken]
    with opened() as residue:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, fail)
            with pytest.raises(LedgerError) as raised:
                residue.store([line("a")])
        assert str(root) in str(raised.value)
        assert ("No space left" in str(raised.value)) or "disk is full" in str(raised.value)
        assert "--state-dir" in str(raised.value)
        assert "--residue off" in str(raised.value)

    with opened() as residue:  # once there is room again, it goes on
        assert residue.store([line("a")]) == (1, 1)
    assert contents(root) == {"a": "text"}


def test_a_disk_that_fills_up_in_mid_run_costs_nothing_that_was_stored(opened, root, monkeypatch):
    with opened() as residue:
        residue.store([line("a")])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
            with pytest.raises(LedgerError, match="cannot be used"):
                residue.store([line("b"), line("c")])

    with opened(lines=1) as residue:
        assert residue.store([line("b"), line("c")]) == (3, 3)
    assert set(contents(root)) == {"a", "b", "c"}


def test_a_writer_that_cannot_fold_its_index_in_lets_the_files_go_all_the_same(opened, monkeypatch):
    with opened() as residue:
        residue.store([line("a")])
        monkeypatch.setattr(
            "memxfer.archive.index.KeyIndex.flush",
            lambda *_, **__: (_ for _ in ()).throw(sqlite3.OperationalError("database or disk is full")),
        )
    monkeypatch.undo()

    with opened(lines=1) as residue:
        assert residue.store([line("a")]) == (1, 1)
