"""A ledger's file is made once; after that, what is not it is refused with what it is and what to do."""

import shutil
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest

from memxfer.errors import LedgerError
from memxfer.ledger import FirstPlan, Ledger, create_ledger, inspect
from memxfer.ledger.opening import reading

pytestmark = pytest.mark.anyio


def foreign(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as file:
        file.executescript("CREATE TABLE invoice (id INTEGER); PRAGMA user_version = 1;")


def cut(to):
    def damage(path):
        with path.open("r+b") as file:
            file.truncate(to)

    return damage


def replaced_by(content):
    def damage(path):
        path.unlink()
        path.write_bytes(content)

    return damage


def as_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "missing": (lambda path: path.unlink(), "has no ledger: .* is missing"),
    "empty": (replaced_by(b""), r"is an empty file \(0 bytes\)"),
    "one byte": (replaced_by(b"S"), "is not an SQLite file"),
    "text": (replaced_by(b"hello " * 5_000), "is not an SQLite file"),
    "zeros": (replaced_by(bytes(8_192)), "is not an SQLite file"),
    "magic only": (replaced_by(b"SQLite format 3\x00"), "is cut short"),
    "cut at a page": (cut(4_096), "is cut short: 4,096 of"),
    "cut within a page": (cut(9_999), "is cut short: 9,999 of"),
    "foreign database": (foreign, "memxfer did not write as a ledger"),
    "folder": (as_folder, "is a folder and not the ledger's file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_what_is_no_ledger_is_refused_by_what_it_is_and_stays_as_it_was(path, damage):
    spoil, told = DAMAGES[damage]
    spoil(path)
    before = path.read_bytes() if path.is_file() else None

    for use in (lambda: Ledger(path), lambda: inspect.counts(path), lambda: list(inspect.problems(path))):
        with pytest.raises(LedgerError, match=rf"{told}.*backup.*`memxfer jobs rm "):
            use()

    assert [file.name for file in path.parent.iterdir()] == ([path.name] if damage != "missing" else [])
    assert (path.read_bytes() if path.is_file() else None) == before


async def test_a_damage_that_is_met_while_reading_is_told_with_what_to_do(path, fill, now):
    ledger = Ledger(path)
    await fill(ledger, 2_000, at=now)
    ledger.close()
    pages = path.stat().st_size // 4_096
    with path.open("r+b") as file:
        for page in range(2, pages):
            file.seek(page * 4_096)
            file.write(bytes(4_096))

    with pytest.raises(LedgerError, match=r"is damaged \(.*\); put the file back from a backup"):
        list(inspect.problems(path))


async def test_a_ledger_is_made_with_its_plan_and_never_over_another(tmp_path, now):
    path = tmp_path / "j" / "ledger.sqlite"
    path.parent.mkdir()
    path.with_name("ledger.new").write_text("of a process that was killed")

    create_ledger(path, FirstPlan("j", "f" * 32, '{"a": 1}', now))

    assert inspect.last_plan(path) == '{"a": 1}'
    assert [file.name for file in path.parent.iterdir()] == ["ledger.sqlite"]
    with pytest.raises(LedgerError, match="is there already"):
        create_ledger(path, FirstPlan("j2", "e" * 32, "{}", now))
    assert inspect.last_plan(path) == '{"a": 1}'


async def test_a_ledger_that_cannot_be_made_is_told_with_where_else(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"cannot be made .*--state-dir"):
        create_ledger(tmp_path / "file" / "ledger.sqlite")


READ = """
    import os, sys
    from pathlib import Path
    from memxfer.ledger import JobFolder, inspect
    folder = JobFolder("j", Path(sys.argv[1]))
    inspect.counts, folder.is_running()
    if os.geteuid() == 0:
        os.setuid(65534)
    print(dict(inspect.counts(folder.ledger_path)), folder.is_running())
"""


@pytest.fixture
def read_only(tmp_path):
    """Copy a job's folder to where another user may read it and write nothing."""
    made = []

    def copied(folder):
        place = tmp_path.parent / f"{tmp_path.name}-read-only"
        shutil.copytree(folder, place)
        made.append(place)
        for file in place.iterdir():
            file.chmod(0o444)
        place.chmod(0o555)
        for parent in place.parents:
            if parent.owner() == tmp_path.owner() and not parent.stat().st_mode & 0o001:
                made.append((parent, parent.stat().st_mode))
                parent.chmod(parent.stat().st_mode | 0o011)
        return place

    yield copied
    for what in made:
        if isinstance(what, tuple):
            what[0].chmod(what[1])
        else:
            what.chmod(0o755)


@pytest.mark.parametrize("leaves_wal", [False, True])
async def test_a_ledger_is_read_in_a_folder_that_may_not_be_written(path, fill, now, read_only, leaves_wal):
    """Also the part of it that a killed run has left in the WAL."""
    ledger = Ledger(path)
    await fill(ledger, 10, at=now)
    (path.parent / "lock").touch()
    if not leaves_wal:
        ledger.close()
    path.with_name("ledger.sqlite-shm").unlink(missing_ok=True)
    place = read_only(path.parent)
    wal = place / "ledger.sqlite-wal"
    assert (wal.exists() and wal.stat().st_size > 0) is leaves_wal

    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READ), place], capture_output=True, text=True, check=False
    )

    assert found.stdout == "{'intent': 5, 'stored': 5} False\n", found.stderr[-500:]
    assert not (place / "ledger.sqlite-shm").exists()
    ledger.close()


async def test_an_error_of_sqlite_inside_a_block_is_told_with_what_it_means(path):
    with pytest.raises(LedgerError, match="damaged"), reading(path) as ledger:
        ledger.execute("SELECT * FROM nowhere")
