import contextlib
import json
import shutil
import sqlite3

import pytest

from memxfer import migration
from memxfer.errors import ConfigError, JobExistsError, JobLockedError, JobNotFoundError, LedgerError
from memxfer.ledger import StateFolder, create_ledger
from memxfer.migration import JobStatus

pytestmark = pytest.mark.anyio


@pytest.fixture
async def moved(ends, state):
    """A job called `move` that moved three records, one of them in vain."""
    ends.seed(3)
    return await migration.migrate(ends.read(), ends.write(refuses={"r1"}), state_dir=state, job="move")


@pytest.mark.parametrize("verb", [migration.status, migration.failures, migration.remove_job])
def test_an_unknown_job_is_told_with_where_to_look(state, verb):
    with pytest.raises(
        JobNotFoundError, match=r"no job 'gone' in .*state; `memxfer jobs list` shows the jobs"
    ):
        verb("gone", state_dir=state)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 129, "a b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(state, name):
    with pytest.raises(ConfigError, match="cannot be a job's name"):
        migration.status(name, state_dir=state)


def test_a_state_folder_that_is_not_there_has_no_jobs(state):
    assert migration.list_jobs(state) == []


async def test_a_list_tells_each_job_in_one_line(moved, state):
    (job,) = migration.list_jobs(state)

    assert (job.job, job.source, job.target, job.status) == (
        "move",
        "memory",
        "memory",
        JobStatus.COMPLETED_WITH_FAILURES,
    )
    assert (job.listed, job.stored, job.running) == (3, 2, False)
    assert job.created_at.endswith("Z")


async def test_status_adds_up_the_time_and_keeps_the_losses(moved, state):
    now = migration.status("move", state_dir=state)

    assert (now.status, now.counts, now.documents, now.resent, now.losses) == (
        moved.status,
        moved.counts,
        moved.documents,
        moved.resent,
        moved.losses,
    )
    assert now.seconds == pytest.approx(moved.seconds, abs=0.01)


async def test_a_job_travels_to_another_folder_whole(moved, state, tmp_path):
    file, elsewhere = tmp_path / "job.tar.gz", tmp_path / "elsewhere"

    migration.export_job("move", file, state_dir=state)
    name = migration.import_job(file, state_dir=elsewhere)

    assert name == "move"
    there, here = (migration.status("move", state_dir=folder) for folder in (elsewhere, state))
    assert there.model_dump() == here.model_dump()
    assert list(migration.failures("move", state_dir=elsewhere)) == list(
        migration.failures("move", state_dir=state)
    )


async def test_nothing_is_overwritten_on_the_way(moved, state, tmp_path):
    file = tmp_path / "job.tar.gz"
    migration.export_job("move", file, state_dir=state)
    before = file.read_bytes()

    with pytest.raises(ConfigError, match=r"job.tar.gz cannot be written"):
        migration.export_job("move", file, state_dir=state)
    with pytest.raises(ConfigError, match=r"job 'move' is in .* already"):
        migration.import_job(file, state_dir=state)

    assert file.read_bytes() == before


async def test_a_removed_job_is_forgotten_and_the_target_keeps_what_it_has(moved, state, ends):
    migration.remove_job("move", state_dir=state)

    assert migration.list_jobs(state) == []
    assert len(ends.target) == 2


async def test_what_a_running_job_sends_is_in_flight_and_in_doubt_once_the_run_has_died(moved, state):
    with contextlib.closing(sqlite3.connect(StateFolder(state).open("move").ledger_path)) as ledger:
        ledger.execute("UPDATE record SET state = 'intent' WHERE state IN ('stored', 'failed')")
        ledger.execute("UPDATE count SET n = 0 WHERE name IN ('stored', 'failed')")
        ledger.execute("INSERT OR REPLACE INTO count (name, n) VALUES ('intent', 3)")
        ledger.commit()

    def told():
        counts = migration.status("move", state_dir=state).counts
        named = {failure.state for failure in migration.failures("move", state_dir=state)}
        return {name: n for name, n in counts.model_dump().items() if n}, named

    with StateFolder(state).open("move").lock():
        assert told() == ({"listed": 3, "in_flight": 3}, {"in_flight"})
    assert told() == ({"listed": 3, "uncertain": 3}, {"uncertain"})


async def test_a_running_job_is_told_as_running_and_not_removed(moved, state):
    with StateFolder(state).open("move").lock():
        assert migration.status("move", state_dir=state).status is JobStatus.RUNNING
        assert [job.running for job in migration.list_jobs(state)] == [True]
        with pytest.raises(JobLockedError, match="being run by another process"):
            migration.remove_job("move", state_dir=state)


async def test_a_run_that_never_ended_is_told_as_interrupted(moved, state):
    with sqlite3.connect(StateFolder(state).open("move").ledger_path) as ledger:
        ledger.execute("UPDATE run SET status = NULL")
    ledger.close()

    assert migration.status("move", state_dir=state).status is JobStatus.INTERRUPTED


@pytest.mark.parametrize("text", [b"{}", b"\xff\xfe", b"", b" \n", None])
async def test_a_lost_plan_is_told_and_written_anew_from_the_ledger(moved, state, ends, notes, text):
    """plan.json can be lost; the ledger's copy cannot without the ledger."""
    path = StateFolder(state).open("move").plan_path
    before = path.read_bytes()
    path.unlink()
    if text is not None:
        path.write_bytes(text)

    assert (
        "plan.json" in (now := migration.status("move", state_dir=state)).message
        or "the plan of job" in now.message
    )
    assert "`memxfer resume move` writes it anew" in now.message
    assert [job.source for job in migration.list_jobs(state)] == ["memory"]
    with pytest.raises(JobExistsError):
        await migration.migrate(ends.read(), ends.write(), state_dir=state, job="move")
    again = await migration.resume(
        "move", state_dir=state, source=ends.read(), target=ends.write(), observer=notes
    )

    assert again.counts == moved.counts
    assert path.read_bytes() == before
    assert ["written anew from the ledger's copy" in told for _, told in notes.notices] == [True]


async def test_a_job_whose_plan_was_lost_is_exported_with_the_ledgers_copy(moved, state, tmp_path):
    before = migration.status("move", state_dir=state)
    StateFolder(state).open("move").plan_path.unlink()

    migration.export_job("move", tmp_path / "j.tar.gz", state_dir=state)
    migration.import_job(tmp_path / "j.tar.gz", state_dir=tmp_path / "there")

    assert migration.status("move", state_dir=tmp_path / "there").model_dump() == before.model_dump()


async def test_a_plan_of_another_version_is_refused_and_not_overwritten(moved, state):
    path = StateFolder(state).open("move").plan_path
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    before = path.read_bytes()

    with pytest.raises(LedgerError, match="another version of memxfer"):
        await migration.resume("move", state_dir=state)
    assert path.read_bytes() == before


async def test_a_job_whose_ledger_is_lost_is_refused_listed_and_removed(moved, state, ends):
    """Going on without it would store everything twice."""
    folder = StateFolder(state).open("move")
    for file in folder.path.glob("ledger.sqlite*"):
        file.unlink()
    before = len(ends.target)

    (job,) = migration.list_jobs(state)

    assert (job.status, job.source, job.listed, job.stored) == (JobStatus.FAILED, "memory", 0, 0)
    with pytest.raises(LedgerError, match=r"no ledger.*`memxfer jobs rm move`"):
        migration.status("move", state_dir=state)
    with pytest.raises(LedgerError, match="no ledger"):
        await migration.resume("move", state_dir=state, source=ends.read(), target=ends.write())
    with pytest.raises(JobExistsError):
        await migration.migrate(ends.read(), ends.write(), state_dir=state, job="move")
    assert not folder.ledger_path.exists()
    assert len(ends.target) == before
    migration.remove_job("move", state_dir=state, with_residue=True)
    assert migration.list_jobs(state) == []


@pytest.mark.parametrize("other", ["another job of the same move", "a job of another move", "no job at all"])
async def test_the_ledger_of_another_job_is_refused(moved, state, ends, other):
    folder = StateFolder(state).open("move")
    folder.ledger_path.unlink()
    if other == "no job at all":
        create_ledger(folder.ledger_path)
    else:
        where = "user=alice" if other == "a job of another move" else None
        options = migration.Options(where=where)
        await migration.migrate(ends.read(), ends.write(), state_dir=state, job="next", options=options)
        shutil.copy(StateFolder(state).open("next").ledger_path, folder.ledger_path)
    before = len(ends.target)

    with pytest.raises(LedgerError, match=r"holds no plan|belongs to another job") as told:
        await migration.resume("move", state_dir=state, source=ends.read(), target=ends.write())
    assert "`memxfer jobs rm move`" in str(told.value)
    with pytest.raises(LedgerError):
        migration.status("move", state_dir=state)
    assert len(ends.target) == before


async def test_a_job_stopped_before_it_began_is_listed_and_its_name_is_free(state, ends):
    ends.seed(3)
    (state / "jobs" / "early").mkdir(parents=True)
    (state / "jobs" / "early" / "lock").touch()

    (job,) = migration.list_jobs(state)
    assert (job.job, job.status, job.source, job.running) == ("early", JobStatus.INTERRUPTED, "?", False)
    with pytest.raises(JobNotFoundError, match="stopped before it began"):
        await migration.resume("early", state_dir=state)
    result = await migration.migrate(ends.read(), ends.write(), state_dir=state, job="early")
    assert result.counts.stored == 3


async def test_a_damaged_ledger_is_listed_as_failed(moved, state):
    folder = StateFolder(state).open("move")
    for file in folder.path.glob("ledger.sqlite*"):
        file.write_bytes(b"not a database at all" * 100)

    assert [job.status for job in migration.list_jobs(state)] == [JobStatus.FAILED]


async def test_the_plan_on_disk_names_ends_and_nothing_of_the_memories(moved, state):
    text = StateFolder(state).open("move").plan_path.read_text()

    assert json.loads(text)["source"]["provider"] == "memory"
    assert "text 0" not in text
