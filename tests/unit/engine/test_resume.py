"""Crash, resume with another ledger object, and sources that changed in between."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from memxfer.engine.control import StopCause
from memxfer.engine.engine import Shortage
from memxfer.spi import ClientKey, Partition, RawPage
from memxfer.testing import Fault, FaultKind, SimulatedCrashError
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio

SAFE = [ClientKey.UPSERT, ClientKey.DEDUPE, ClientKey.REJECT, ClientKey.NONE]


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("client_key", SAFE)
async def test_a_crash_at_any_commit_loses_nothing_and_stores_nothing_twice(make_job, client_key, durable):
    crash_at = 1
    while True:
        job = make_job(client_key=client_key, source_config={"max_page": 4}, target_config={"max_batch": 3})
        job.seed(14)
        run = await job.run(crash_at=crash_at, durable=durable)
        if not run.crashed:
            break
        job.check_counters()
        job.source.remove("r0013")
        if not job.query("SELECT 1 FROM partition WHERE done"):
            job.seed(2, start=20)
        again = await job.run()
        assert again.cause is None
        job.check_complete()
        assert set(job.target.keys) <= {job.key(f"r{n:04d}") for n in range(22)}
        crash_at += 1
    assert crash_at > 8


@pytest.mark.parametrize("kind", [FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER])
@pytest.mark.parametrize("client_key", SAFE)
async def test_a_crash_at_any_call_loses_nothing_and_stores_nothing_twice(make_job, client_key, kind):
    for operation in ("read_page", "write"):
        for call in range(1, 5):
            job = make_job(
                client_key=client_key, source_config={"max_page": 4}, target_config={"max_batch": 3}
            )
            job.seed(14)
            fault = Fault(kind, on=operation, calls=(call,))
            faults = {"source_faults": [fault]} if operation == "read_page" else {"target_faults": [fault]}
            run = await job.run(writers=2, **faults)
            assert run.crashed
            again = await job.run()
            assert again.cause is None
            job.check_complete()


async def test_what_is_before_the_watermark_is_not_listed_again(job):
    job.seed(50)
    await job.run(target_faults=[Fault(FaultKind.CRASH_BEFORE, calls=(6,))], writers=1)
    assert job.query("SELECT cursor, mark FROM partition") == [("20", 20)]
    again = await job.run()
    assert again.source.script.calls("read_page") == 3
    job.check_complete()


async def test_the_watermark_never_passes_a_document_that_is_not_settled(job):
    job.client_key = ClientKey.APPEND
    job.seed(40)
    faults = [Fault(FaultKind.CRASH_BEFORE, calls=(2,))]
    await job.run(target_faults=faults, writers=1)
    [(cursor, mark)] = job.query("SELECT cursor, mark FROM partition")
    open_seqs = [seq for (seq,) in job.query("SELECT seq FROM record WHERE state = 'intent'")]
    assert open_seqs
    assert min(open_seqs) > mark
    assert cursor is None or int(cursor) <= 10
    await job.run()
    job.check_complete()


async def test_records_set_aside_are_counted_once_however_often_a_run_crashes(make_job):
    for crash_at in range(1, 12):
        job = make_job(source_config={"max_page": 4}, target_config={"max_batch": 3, "content_bytes": 13})
        job.seed(14)
        for name in ("r0002", "r0005", "r0006", "r0009"):
            [row] = [row for row in job.source.rows() if row.record.id == name]
            job.source.replace(row, type(row.record)(id=name, content="far too long for it"))
        await job.run(crash_at=crash_at)
        await job.run()
        assert job.states()["rejected"] == 4, crash_at
        assert job.states()["stored"] + job.states()["present"] == 10, crash_at


async def test_a_second_crash_never_makes_the_first_ones_open_records_new(job):
    """Stop takes page one back, a crash leaves page two open, the next run dies on page two again."""
    job.client_key = ClientKey.NONE
    job.source_config = {"max_page": 5}
    job.seed(10)

    class Selective(MemoryReferenceProvider):
        async def _write(self, batch):
            return await super()._write(batch)

    job.target_class = Selective
    first = [Fault(FaultKind.AUTH, calls=(1,)), Fault(FaultKind.CRASH_AFTER, calls=(2,))]
    await job.run(target_faults=first, writers=2)
    await job.run(target_faults=[Fault(FaultKind.CRASH_BEFORE, on="write", calls=(1, 2))], writers=1)
    await job.run(target_faults=[Fault(FaultKind.CRASH_BEFORE, on="write", calls=(2,))], writers=1)
    await job.run()
    job.check_complete()


async def test_old_open_records_after_new_ones_stay_behind_the_watermark(job, record):
    """New rows come before open ones in the listing: their page passes first, the open ones may not."""

    class NewestFirst(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            rows = [row for row in self.data.rows() if row.sequence < int(cursor or 10**6)][::-1]
            return RawPage(rows[:2], str(rows[1].sequence) if len(rows) > 2 else None)

    class PageOneFirst(MemoryReferenceProvider):
        async def lookup(self, keys):
            while job.query("SELECT cursor FROM partition") == [(None,)]:
                await asyncio.sleep(0)
            raise SimulatedCrashError

    job.source_class = NewestFirst
    job.client_key = ClientKey.NONE
    job.target_config = {"max_batch": 2}
    job.source.seed([record("old-1"), record("old-2")])
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(1,))])
    job.source.seed([record("new-1"), record("new-2")])
    job.target_class = PageOneFirst
    assert (await job.run()).crashed
    assert job.query("SELECT cursor, mark FROM partition") == [("3", 0)]
    assert job.states() == {"intent": 2, "stored": 2}
    job.target_class = MemoryReferenceProvider
    await job.run()
    job.check_complete()
    assert job.states() == {"stored": 2, "present": 2}


# -- sources that change ------------------------------------------------------------------------


async def test_rows_inserted_between_runs_are_moved_too(job):
    job.seed(20)
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(2,))])
    job.seed(5, start=30)
    await job.run()
    job.check_complete()
    assert len(job.target) == 25


@pytest.mark.parametrize("client_key", [ClientKey.UPSERT, ClientKey.APPEND])
async def test_positions_that_shifted_between_runs_repeat_no_record(job, client_key):
    job.client_key = client_key
    job.source_config = {"max_page": 5, "listing": "offset"}
    job.seed(20)
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(3,))], writers=1)
    assert job.query("SELECT cursor FROM partition") == [("10",)]
    job.seed(7, start=100)  # newest first: everything moves seven places down
    await job.run()
    keys = job.target.keys
    assert len(keys) == len(set(keys))
    ids = [row[0] for row in job.rows()]
    assert len(ids) == len(set(ids))
    assert "failed" not in job.states()


async def test_rows_reordered_between_runs_are_matched_by_id(job):
    job.client_key = ClientKey.APPEND
    job.seed(20)
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(2,))])
    run = await job.run(source_faults=[Fault(FaultKind.REORDERED_ROWS, on="read_page")])
    assert run.cause is None
    job.check_complete()


@pytest.mark.parametrize(
    ("kind", "lookup", "state"),
    [
        (FaultKind.CRASH_BEFORE, True, "gone"),
        (FaultKind.CRASH_AFTER, True, "present"),
        (FaultKind.CRASH_BEFORE, False, "uncertain"),
        (FaultKind.CRASH_AFTER, False, "uncertain"),
    ],
)
async def test_an_open_record_deleted_on_the_source_is_settled_honestly(job, kind, lookup, state):
    hidden = () if lookup else ("lookup",)
    job.seed(3)
    await job.run(target_faults=[Fault(kind, calls=(1,))])
    job.source.remove("r0001")
    run = await job.run(hide_target=hidden)
    assert run.cause is None
    assert job.state_of("r0001") == state
    assert job.states().total() == 3
    assert "intent" not in job.states()
    assert run.engine.aborted == {}


async def test_gone_is_said_only_after_the_horizon_of_the_look_up(job):
    class Eventual(MemoryReferenceProvider):
        lookup_visibility = 7.0

    job.target_class = Eventual
    job.seed(3)
    await job.run(target_faults=[Fault(FaultKind.CRASH_BEFORE, calls=(1,))])
    job.source.remove("r0001")
    run = await job.run()
    assert job.state_of("r0001") == "gone"
    assert 7.0 in run.clock.slept


async def test_gone_is_never_said_on_the_word_of_a_look_up_that_sees_finished_tasks_only(job):
    job.target_config = {"acknowledges": "async"}
    job.seed(3)
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(1,))])
    job.source.remove("r0001")
    await job.run(settle=False)
    assert job.state_of("r0001") == "uncertain"


@pytest.mark.parametrize("hidden", [(), ("get",)])
async def test_an_open_record_the_listing_does_not_show_is_read_by_id_where_that_works(job, hidden):
    job.seed(3)
    await job.run(target_faults=[Fault(FaultKind.CRASH_BEFORE, calls=(1,))])
    run = await job.run(source_faults=[Fault(FaultKind.VANISHED_ROWS, on="read_page")], hide_source=hidden)
    assert job.state_of("r0002") == ("gone" if hidden else "stored")
    assert run.control.cause is None


async def test_an_open_record_that_the_user_now_leaves_out_is_uncertain(job, record):
    job.source.seed([record("a"), record("b", user=None)])
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(1,))])
    job.target_config = {"required_axes": frozenset({"user"}), "unscoped": "skip"}
    await job.run()
    assert job.state_of("b") == "uncertain"
    assert job.problem_of("b") == "unscoped"
    assert job.state_of("a") == "present"


async def test_an_open_record_that_does_not_decode_any_more_is_uncertain(job):
    job.seed(3)
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(1,))])
    await job.run(source_faults=[Fault(FaultKind.DEFECT_ROW, on="read_page")])
    assert job.state_of("r0000") == "uncertain"
    assert job.states() == {"uncertain": 1, "present": 2}


async def test_a_partition_that_is_done_may_vanish(job, record):
    job.source_config = {"split_by": "user"}
    job.source.seed([record("a", user="ann"), record("b", user="bob")])
    await job.run()
    job.source.remove("a")
    run = await job.run()
    assert run.engine.aborted == {}


async def test_partitions_that_appear_later_are_moved_by_the_next_run(job, record):
    job.source_config = {"split_by": "user"}
    job.source.seed([record("a", user="ann")])
    await job.run()
    job.source.seed([record("b", user="bob")])
    await job.run()
    job.check_complete()


async def test_a_partition_named_twice_is_listed_once(job):
    class Stuttering(MemoryReferenceProvider):
        async def partitions(self):
            yield Partition("all")
            yield Partition("all")

    job.source_class = Stuttering
    job.seed(5)
    run = await job.run()
    assert run.cause is None
    job.check_complete()


async def test_a_partition_name_that_utf8_cannot_carry_is_no_obstacle(job):
    class Odd(MemoryReferenceProvider):
        async def partitions(self):
            yield Partition("all\ud800")

        async def _read_page(self, partition, cursor, limit):
            assert partition.name == "all\ud800"
            return await super()._read_page(Partition("all"), cursor, limit)

    job.source_class = Odd
    job.seed(12)
    await job.run(source_faults=[Fault(FaultKind.CRASH_BEFORE, on="read_page", calls=(2,))])
    run = await job.run()
    assert run.cause is None
    assert run.engine.aborted == {}
    job.check_complete()


# -- dead cursors -------------------------------------------------------------------------------


@pytest.mark.parametrize("client_key", [ClientKey.UPSERT, ClientKey.APPEND])
@pytest.mark.parametrize("call", [2, 3, 4])
async def test_a_dead_cursor_starts_the_partition_again_and_repeats_no_record(job, client_key, call):
    job.client_key = client_key
    job.seed(45)
    run = await job.run(source_faults=[Fault(FaultKind.CURSOR_EXPIRED, on="read_page", calls=(call,))])
    assert run.cause is None
    assert run.engine.aborted == {}
    job.check_complete()
    assert set(job.target.attempts.values()) == {1}
    assert job.states() == {"stored": 45}


async def test_rows_left_out_are_counted_once_when_a_partition_starts_again(job, record):
    job.source_config = {"max_page": 2}
    job.source.seed(record(f"r{n}", user="bob" if n % 2 else "ann") for n in range(8))
    faults = [
        Fault(FaultKind.CURSOR_EXPIRED, on="read_page", calls=(3,)),
        Fault(FaultKind.LYING_TOTAL, on="count", factor=1.2),
    ]
    run = await job.run(where="user=bob", source_faults=faults)
    assert job.counters()["rows_filtered"] == 4
    assert run.engine.shortage == Shortage(counted=9, listed=8)


async def test_a_cursor_that_died_between_runs_starts_the_partition_again(job):
    job.client_key = ClientKey.APPEND
    job.seed(45)
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(4,))], writers=1)
    run = await job.run(source_faults=[Fault(FaultKind.CURSOR_EXPIRED, on="read_page", calls=(1,))])
    assert ("read_page", 1, FaultKind.CURSOR_EXPIRED) in run.source.script.happened
    assert run.source.script.calls("read_page") == 6
    assert run.cause is None
    job.check_complete()


async def test_a_crash_during_the_second_walk_forgets_nothing(make_job):
    for crash_at in range(2, 30, 3):
        job = make_job(client_key=ClientKey.APPEND)
        job.seed(45)
        await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(4,))], writers=1)
        expired = [Fault(FaultKind.CURSOR_EXPIRED, on="read_page", calls=(1,))]
        await job.run(source_faults=expired, crash_at=crash_at)
        await job.run()
        job.check_complete()


async def test_cursors_that_die_again_and_again_make_the_partition_incomplete(job):
    job.seed(45)
    run = await job.run(source_faults=[Fault(FaultKind.CURSOR_EXPIRED, on="read_page")])
    assert "again and again" in run.engine.aborted["all"]
    assert run.cause is None
    again = await job.run()
    assert again.engine.aborted == {}
    job.check_complete()


async def test_a_dead_cursor_after_a_full_sample_does_not_hang(job, record):
    job.source_config = {"split_by": "user", "max_page": 2}
    job.source.seed(record(f"r{n:02d}", user=f"u{n % 3}") for n in range(30))
    run = await job.run(sample=3, source_faults=[Fault(FaultKind.CURSOR_EXPIRED, on="read_page")], listers=3)
    assert run.cause is None
    assert job.states() == {"stored": 3}


# -- samples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [1, 7, 10, 11])
async def test_a_sample_stops_at_its_number_and_the_rest_can_follow(job, sample):
    job.client_key = ClientKey.APPEND
    job.seed(30)
    await job.run(sample=sample)
    assert job.states() == {"stored": sample}
    run = await job.run()
    assert run.cause is None
    job.check_complete()
    assert len(job.target) == 30


@pytest.mark.parametrize("kind", [FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER])
@pytest.mark.parametrize("call", [1, 2])
async def test_a_sample_that_crashed_ends_with_its_number_and_nothing_open(job, kind, call):
    job.client_key = ClientKey.APPEND
    job.seed(30)
    await job.run(sample=7, target_faults=[Fault(kind, calls=(call,))])
    run = await job.run(sample=7)
    assert run.cause is None
    assert job.states().total() == 7
    assert "intent" not in job.states()
    assert len(job.target) == 7


async def test_a_resumed_sample_reads_no_further_than_it_must(job):
    job.seed(200)
    await job.run(sample=7, target_faults=[Fault(FaultKind.CRASH_BEFORE, calls=(2,))])
    run = await job.run(sample=7, buffer_bytes=1)
    assert job.states().total() == 7
    assert run.source.script.calls("read_page") < 30


async def test_a_finished_sample_is_left_as_it_is(job):
    job.seed(30)
    await job.run(sample=7)
    run = await job.run(sample=7)
    assert run.target.script.calls("write") == 0
    assert job.states() == {"stored": 7}


async def test_a_fatal_source_keeps_the_place(job):
    job.seed(30)
    run = await job.run(source_faults=[Fault(FaultKind.AUTH, on="read_page", calls=(2,))])
    assert run.cause is StopCause.AUTH
    await job.run()
    job.check_complete()


async def test_the_dead_cursor_error_of_the_store_itself_is_understood(job):
    job.seed(30)
    job.client_key = ClientKey.APPEND
    await job.run(target_faults=[Fault(FaultKind.CRASH_BEFORE, calls=(4,))], writers=1)
    assert job.query("SELECT cursor FROM partition") == [("10",)]
    with closing(sqlite3.connect(job.path)) as ledger, ledger:
        ledger.execute("UPDATE partition SET cursor = 'not a cursor'")
    run = await job.run()
    assert run.cause is None
    job.check_complete()
