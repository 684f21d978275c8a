"""What goes to the residue: all that the target does not hold whole, before it is sent, and nothing else."""

import errno

import pytest

from memxfer.archive.part import OpenPart
from memxfer.engine.control import StopCause
from memxfer.errors import RecordError
from memxfer.ledger import State
from memxfer.spi import ClientKey, Refused, Skipped
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio

SPECIAL = {"special": True}


def seed_mixed(job, record, count=20, *, every=3):
    """Records of which every third has what the target does not hold; returns their ids."""
    records = [
        record(f"r{number:04d}", metadata=SPECIAL if number % every == 0 else {}) for number in range(count)
    ]
    job.source.seed(records)
    return {one.id for one in records if one.metadata}


def ids(originals):
    return {record_id for record_id, _ in originals}


class Choosy(MemoryReferenceProvider):
    """Refuses and skips records by their text."""

    def prepare(self, record, key, envelope):
        if "refuse" in record.content:
            return Refused(RecordError("never", code="never"))
        if "skip" in record.content:
            return Skipped("unscoped")
        return super().prepare(record, key, envelope)


async def test_lossy_keeps_the_originals_of_what_is_not_whole_and_of_nothing_else(make_job, record):
    job = make_job(residue="lossy")
    special = seed_mixed(job, record)

    await job.run()

    originals = job.originals()
    assert ids(originals) == special
    assert list(originals.values()) == [one for one in job.source.records if one.metadata]
    job.check_complete()


async def test_full_keeps_every_original(make_job, record):
    job = make_job(residue="full")
    seed_mixed(job, record)

    await job.run()

    assert list(job.originals().values()) == job.source.records


@pytest.mark.parametrize("mode", ["lossy", None])
async def test_where_nothing_has_to_be_kept_there_is_no_folder(make_job, mode):
    job = make_job(residue=mode)
    job.seed(12)

    await job.run()

    assert not job.residue_path.exists()
    job.check_complete()


@pytest.mark.parametrize("mode", ["lossy", "full"])
async def test_what_is_refused_or_skipped_is_kept_and_what_is_filtered_is_not(make_job, record, mode):
    job = make_job(residue=mode, target_class=Choosy)
    job.source.seed(
        [record("r1", "refuse it"), record("r2", "skip it"), record("r3"), record("r4", "skip", user="bob")]
    )

    await job.run(where="user=alice")

    kept = {"r1", "r2"} | ({"r3"} if mode == "full" else set())
    assert ids(job.originals()) == kept
    assert job.state_of("r1") is State.REJECTED
    assert job.state_of("r2") is State.SKIPPED


async def test_a_sample_keeps_no_more_than_it_moves(make_job, record):
    job = make_job(residue="full")
    seed_mixed(job, record, 30)

    await job.run(sample=7)

    assert ids(job.originals()) == {row[0] for row in job.rows()}
    assert len(job.originals()) == 7


async def test_records_that_share_a_key_in_the_target_are_both_kept(make_job, record):
    job = make_job(residue="lossy", document_id="same:{user}")
    job.source.seed([record("r1", metadata=SPECIAL), record("r2", metadata=SPECIAL)])

    await job.run()

    assert len(job.target.keys) == 1
    assert list(job.originals().values()) == job.source.records


async def test_records_of_one_id_in_two_partitions_are_both_kept(make_job, record):
    job = make_job(residue="lossy", source_config={"max_page": 10, "split_by": "user"})
    twins = [record("r1", f"of {user}", user=user, metadata=SPECIAL) for user in ("alice", "bob")]
    job.source.seed(twins)

    await job.run()
    await job.run()

    originals = job.originals()
    assert len(originals) == 2
    assert sorted(one.content for one in originals.values()) == ["of alice", "of bob"]


async def test_a_record_without_an_id_is_refused_and_kept(make_job, record):
    job = make_job(residue="lossy")
    job.source.seed([record("", "nameless"), record("r1")])

    await job.run()

    [item] = job._archived()
    assert item.record.content == "nameless"
    assert item.key.startswith(f"mx:memory:{job.source.name}:unnamed-")
    assert job.state_of("") is State.REJECTED


# -- before it is sent --------------------------------------------------------------------------


def watching(job):
    """Return a target that notes which documents are written without an original on disk, and the notes."""
    missing = []

    class Watching(MemoryReferenceProvider):
        async def write(self, batch):
            kept = ids(job.originals())
            missing.extend(document.record_id for document in batch if document.record_id not in kept)
            return await super().write(batch)

    return Watching, missing


async def test_the_original_is_on_disk_when_its_document_is_sent(make_job, record):
    job = make_job(residue="full")
    job.target_class, missing = watching(job)
    seed_mixed(job, record, 60)

    await job.run()

    assert len(job.target.keys) == 60
    assert missing == []


async def test_a_residue_that_cannot_be_written_stops_the_run_before_anything_is_sent(
    make_job, record, monkeypatch
):
    job = make_job(residue="lossy")
    special = seed_mixed(job, record, every=1)

    with monkeypatch.context() as patch:
        patch.setattr(
            "memxfer.archive.part.os.fsync",
            lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")),
        )
        stopped = await job.run()

    assert stopped.cause is StopCause.LEDGER
    assert str(job.residue_path) in stopped.control.reason
    assert "No space left" in stopped.control.reason
    assert job.target.attempts == {}
    assert job.rows() == []

    await job.run()

    assert ids(job.originals()) == special
    job.check_complete()


async def test_a_disk_that_fills_up_in_the_middle_keeps_the_place(make_job, record, monkeypatch):
    job = make_job(residue="full")
    seed_mixed(job, record, 400)
    write, calls = OpenPart._write, []

    def fails_later(part, data):
        calls.append(part)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(part, data)

    with monkeypatch.context() as patch:
        patch.setattr(OpenPart, "_write", fails_later)
        stopped = await job.run()
    assert job.rows()
    assert len(job.rows()) < 400
    assert stopped.cause is StopCause.LEDGER
    assert ids(job.originals()) >= {row[0] for row in job.rows()}

    await job.run()

    assert ids(job.originals()) == set(job.source_ids())
    job.check_complete()


# -- again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("crash_at", [2, 4, 6, 9])
@pytest.mark.parametrize("mode", ["lossy", "full"])
async def test_after_a_crash_every_original_is_there_once(make_job, record, mode, crash_at, durable):
    job = make_job(residue=mode)
    special = seed_mixed(job, record)

    await job.run(crash_at=crash_at, durable=durable)
    known = {row[0] for row in job.rows() if row[1] != "stored" or mode == "full"}
    wanted = special if mode == "lossy" else set(job.source_ids())
    assert ids(job.originals()) >= known & wanted
    await job.run()

    assert ids(job.originals()) == wanted
    assert {one.id: one for one in job.originals().values()} == {
        one.id: one for one in job.source.records if one.id in wanted
    }
    job.check_complete()


async def test_a_record_that_changed_since_is_kept_in_its_new_form_alone(make_job, record):
    job = make_job(residue="lossy")
    job.source.seed([record("r1", "old", metadata=SPECIAL)])
    await stop_in_doubt(job)

    change(job, record("r1", "new", metadata=SPECIAL))
    await job.run()

    assert [one.content for one in job.originals().values()] == ["new"]
    job.check_complete()


async def test_a_record_that_is_whole_by_now_leaves_the_residue(make_job, record):
    job = make_job(residue="lossy")
    job.source.seed([record("r1", "old", metadata=SPECIAL), record("r2", metadata=SPECIAL)])
    await stop_in_doubt(job)

    change(job, record("r1", "new"))
    await job.run()

    assert ids(job.originals()) == {"r2"}
    job.check_complete()


async def test_a_record_whose_intent_was_taken_back_and_that_is_whole_by_now_leaves_too(make_job, record):
    job = make_job(residue="lossy")
    job.source.seed([record("r1", "old", metadata=SPECIAL)])
    paused = await job.run(target_faults=[Fault(FaultKind.AUTH)])
    assert (paused.cause, job.rows()) == (StopCause.AUTH, [])
    assert ids(job.originals()) == {"r1"}

    change(job, record("r1", "new"))
    await job.run()

    assert job.originals() == {}
    job.check_complete()


def change(job, new):
    job.source.remove(new.id)
    job.source.seed([new])


async def stop_in_doubt(job):
    """Send everything, and lose every answer until the run gives up."""
    paused = await job.run(target_faults=[Fault(FaultKind.AMBIGUOUS_BEFORE)])
    assert paused.cause is StopCause.UNAVAILABLE
    assert set(job.states()) == {"intent"}


# -- what the source has no more ----------------------------------------------------------------


@pytest.mark.parametrize("client_key", [ClientKey.UPSERT, ClientKey.DEDUPE, ClientKey.REJECT])
async def test_a_record_in_doubt_that_the_source_lost_is_settled_from_its_original(
    make_job, record, client_key
):
    job = make_job(residue="full", client_key=client_key)
    job.source.seed([record("r1"), record("r2")])
    await stop_in_doubt(job)

    job.source.remove("r1")
    await job.run(hide_target=["lookup"])

    assert job.state_of("r1") in (State.STORED, State.PRESENT)
    assert job.key("r1") in job.target.keys
    assert len(job.originals()) == 2


async def test_without_its_original_it_stays_uncertain(make_job, record):
    job = make_job(residue="lossy")
    job.source.seed([record("r1"), record("r2")])
    await stop_in_doubt(job)

    job.source.remove("r1")
    await job.run(hide_target=["lookup"])

    assert job.state_of("r1") is State.UNCERTAIN


async def test_an_original_in_another_form_than_was_sent_settles_nothing(make_job, record):
    job = make_job(residue="full")
    job.source.seed([record("r1", "old"), record("r2")])
    await stop_in_doubt(job)
    change(job, record("r1", "new"))
    paused = await job.run(target_faults=[Fault(FaultKind.AUTH)])
    assert paused.cause is StopCause.AUTH
    assert "new" in [one.content for one in job.originals().values()]

    job.source.remove("r1")
    await job.run(hide_target=["lookup"])

    assert job.state_of("r1") is State.UNCERTAIN
    assert job.key("r1") not in job.target.keys


async def test_a_target_that_can_be_asked_decides_and_nothing_is_sent_for_a_record_that_is_gone(
    make_job, record
):
    job = make_job(residue="full")
    job.source.seed([record("r1"), record("r2")])
    await stop_in_doubt(job)

    job.source.remove("r1")
    await job.run()

    assert job.state_of("r1") is State.GONE
    assert job.key("r1") not in job.target.keys
    assert ids(job.originals()) == {"r1", "r2"}, "it may be the only copy there is"


# -- bounds -------------------------------------------------------------------------------------


async def test_an_original_too_large_for_an_archive_is_refused_and_not_sent(make_job, record, monkeypatch):
    job = make_job(residue="lossy")
    monkeypatch.setattr("memxfer.engine.residue.MAX_LINE", 2_000)
    job.source.seed([record("r1", "x" * 3_000, metadata=SPECIAL), record("r2", "x" * 3_000)])

    await job.run()

    assert (job.state_of("r1"), job.problem_of("r1")) == (State.REJECTED, "too_large")
    assert job.state_of("r2") is State.STORED
    assert job.originals() == {}


async def test_the_encoded_original_counts_in_the_budget(make_job, record):
    sizes = {}
    for mode in ("full", None):
        job = make_job(residue=mode)
        job.source.seed([record("r1", "x" * 1_000)])
        run = await job.run()
        sizes[mode] = run.engine._listing._weight
    assert sizes["full"] > sizes[None]
