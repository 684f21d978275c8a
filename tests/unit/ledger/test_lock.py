"""One runner at a time, whom readers never keep from it."""

import errno
import fcntl
import threading

import pytest

from memxfer.errors import LedgerError
from memxfer.ledger import lock
from memxfer.ledger.lock import HeldElsewhereError, hold, is_held


@pytest.fixture
def file(tmp_path):
    return tmp_path / "lock"


def test_a_runner_keeps_out_another_of_its_own_process(file):
    with hold(file):
        assert is_held(file)
        with pytest.raises(HeldElsewhereError), hold(file):
            pass
        assert is_held(file)
    assert not is_held(file)


def test_a_look_makes_no_file_and_changes_none(file):
    assert not is_held(file)
    assert not file.exists()
    file.write_text("x")
    file.chmod(0o400)
    assert not is_held(file)
    assert file.read_text() == "x"


def test_a_runner_waits_for_a_reader_and_is_not_refused(file):
    file.touch()
    waits = []
    with file.open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)

        def waited(seconds):
            waits.append(seconds)
            if len(waits) == 3:
                fcntl.flock(reader, fcntl.LOCK_UN)

        with hold(file, sleep=waited):
            assert is_held(file)
    assert len(waits) == 3


def test_readers_in_a_tight_loop_never_make_a_runner_fail(file):
    file.touch()
    end = threading.Event()

    def look():
        while not end.is_set():
            is_held(file)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(200):
            with hold(file):
                assert is_held(file)
    finally:
        end.set()
        for reader in readers:
            reader.join()


def test_a_lock_whose_file_was_removed_is_not_held(file, monkeypatch):
    real = lock._take

    def removed(*arguments):
        real(*arguments)
        file.unlink()

    monkeypatch.setattr(lock, "_take", removed)
    with pytest.raises(FileNotFoundError), hold(file):
        pass
    with pytest.raises(FileNotFoundError), hold(file.parent / "nowhere" / "lock"):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_a_file_system_without_locks_is_told_as_such(file, monkeypatch, number):
    def refused(*_):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refused)
    with (
        pytest.raises(LedgerError, match=r"cannot be locked \(no locks here\).*local disk.*--state-dir"),
        hold(file),
    ):
        pass
    assert not is_held(file)


def test_a_lock_that_cannot_be_opened_is_told_as_such(file):
    file.mkdir()
    with pytest.raises(LedgerError, match="cannot be opened"), hold(file):
        pass
