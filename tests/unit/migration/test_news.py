"""What a target tells by itself, later: it is noted in the job that it is about."""

import json
import sqlite3
from contextlib import closing

import pytest

from memxfer import migration
from memxfer.errors import JobLockedError
from memxfer.ledger import StateFolder
from memxfer.models import MemoryRecord, Scope
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def job(tmp_path):
    """A finished job of three memories into a target that stores later."""
    MemoryStore.named("news-from").seed(
        MemoryRecord(id=f"r{n}", content="x", scope=Scope(user="ann")) for n in range(3)
    )
    target = MemoryConfig(provider="memory", store="news-to", acknowledges="async")
    result = await migration.migrate(
        "memory:news-from", MemoryReferenceProvider(target), state_dir=tmp_path, job="j"
    )
    assert result.counts.stored == 3
    yield StateFolder(tmp_path).open("j")
    for name in ("news-from", "news-to"):
        MemoryStore.forget(name)


def handles(folder):
    return column(folder, "ingestion_id")


def target_ids(folder):
    return column(folder, "target_ids")


def column(folder, name):
    with closing(sqlite3.connect(folder.ledger_path)) as ledger:
        return [one for (one,) in ledger.execute(f"SELECT {name} FROM record ORDER BY seq")]


async def test_a_late_failure_is_a_failure_of_its_record(job, tmp_path):
    handle = handles(job)[1]

    assert await migration.note_failure(handle, "cannot read 'a private word'", state_dir=tmp_path) == "j"

    status = migration.status("j", state_dir=tmp_path)
    assert (status.counts.listed, status.counts.stored, status.counts.failed) == (3, 2, 1)
    assert status.status is migration.JobStatus.COMPLETED_WITH_FAILURES
    [failure] = migration.failures("j", state_dir=tmp_path)
    assert (failure.id, failure.code) == ("r1", "told_later")
    assert "private" not in failure.reason


async def test_what_was_made_of_it_before_it_failed_stays_known(job, tmp_path):
    before = target_ids(job)
    await migration.note_failure(handles(job)[2], "x", state_dir=tmp_path)
    assert all(before)
    assert target_ids(job) == before


async def test_told_again_or_about_nothing_of_ours_it_changes_nothing(job, tmp_path):
    handle = handles(job)[0]
    await migration.note_failure(handle, "x", state_dir=tmp_path)

    assert await migration.note_failure(handle, "x", state_dir=tmp_path) is None
    assert await migration.note_failure("somebody else's", "x", state_dir=tmp_path) is None
    assert migration.status("j", state_dir=tmp_path).counts.failed == 1


async def test_a_failure_of_what_a_running_job_counts_as_stored_has_to_be_told_again(job, tmp_path):
    with job.lock():
        with pytest.raises(JobLockedError):
            await migration.note_failure(handles(job)[0], "x", state_dir=tmp_path)
        assert await migration.note_failure("somebody else's", "x", state_dir=tmp_path) is None
    assert migration.status("j", state_dir=tmp_path).counts.failed == 0
    assert await migration.note_failure(handles(job)[0], "x", state_dir=tmp_path) == "j"


async def test_a_job_that_runs_asks_by_itself_about_what_it_has_not_seen_stored(job, tmp_path):
    with closing(sqlite3.connect(job.ledger_path)) as ledger, ledger:
        ledger.execute("UPDATE record SET state = 'accepted' WHERE id = 'r0'")
    with job.lock():
        assert await migration.note_failure(handles(job)[0], "x", state_dir=tmp_path) is None


async def test_a_warning_is_shown_by_every_job_that_runs_into_that_target_until_it_runs_anew(job, tmp_path):
    assert migration.note_warning("the key expires", provider="memory", state_dir=tmp_path) == []
    with job.lock():
        assert migration.note_warning("the key expires", provider="synap", state_dir=tmp_path) == []
        assert migration.note_warning("the key expires", provider="memory", state_dir=tmp_path) == ["j"]
        with (job.path / "events.jsonl").open("a") as events:
            events.write('{"event": "cut of')

    assert migration.status("j", state_dir=tmp_path).message == "The target warns: the key expires"

    with (job.path / "events.jsonl").open("a") as events:
        events.write("\n" + json.dumps({"event": "run_started"}) + "\n")
    assert migration.status("j", state_dir=tmp_path).message == ""
