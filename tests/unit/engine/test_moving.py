"""What a run without faults does."""

import pytest

from memxfer.models import MemoryRecord, Scope
from memxfer.spi import ClientKey, Partition
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


async def test_every_record_arrives_once_and_the_ledger_says_so(job):
    job.seed(57)
    run = await job.run()
    assert run.cause is None
    job.check_complete()
    assert job.states() == {"stored": 57}
    assert job.target.finished == 1


async def test_a_second_run_of_a_finished_job_reads_and_writes_nothing(job):
    job.seed(30)
    await job.run()
    again = await job.run()
    assert again.source.script.calls("read_page") == 0
    assert again.target.script.calls("write") == 0
    assert job.states() == {"stored": 30}


async def test_batches_span_partitions_and_are_as_large_as_the_target_takes(job):
    job.source_config = {"split_by": "user"}
    job.target_config = {"max_batch": 10}
    for number in range(40):
        job.seed(1, start=number, user=f"user-{number}")
    run = await job.run(writers=1)
    assert run.target.script.calls("write") == 4
    job.check_complete()


async def test_an_empty_source_is_a_finished_job(job):
    run = await job.run()
    assert run.cause is None
    assert job.states() == {}
    assert job.query("SELECT done FROM partition") == [(1,)]


async def test_only_selected_records_are_moved_and_the_others_are_counted(job, record):
    job.source.seed([record("a"), record("b", user="bob"), record("c", user="bob")])
    run = await job.run(where="user=bob")
    assert job.target.keys == [job.key("b"), job.key("c")]
    assert job.counters()["rows_filtered"] == 1
    assert run.engine.shortage is None


async def test_a_record_left_out_by_decision_is_skipped_and_named(job, record):
    job.target_config = {"max_batch": 5, "required_axes": frozenset({"user"}), "unscoped": "skip"}
    job.source.seed([record("a"), record("b", user=None)])
    await job.run()
    assert job.states() == {"stored": 1, "skipped": 1}
    assert job.problem_of("b") == "unscoped"


async def test_a_record_the_target_can_never_hold_is_rejected_without_a_call(job, record):
    job.target_config = {"content_bytes": 20}
    job.source.seed([record("a", "x" * 21), record("b", "short")])
    await job.run()
    assert job.states() == {"stored": 1, "rejected": 1}
    assert job.problem_of("a") == "too_large"
    assert job.target.keys == [job.key("b")]


async def test_a_record_without_a_value_for_the_key_is_rejected(job):
    job.document_id = "{tenant}-{id}"
    job.source.seed(
        [MemoryRecord(id="a", content="x", scope=Scope(tenant="t")), MemoryRecord(id="b", content="y")]
    )
    await job.run()
    assert job.state_of("b") == "rejected"
    assert job.problem_of("b") == "no_key"
    assert job.target.keys == ["t-a"]


async def test_a_record_the_adapter_cannot_map_is_rejected_and_costs_nobody_else(job, record):
    class Clumsy(MemoryReferenceProvider):
        def _prepare(self, record, key, envelope):
            if record.id == "b":
                raise KeyError("secret of the memory")
            return super()._prepare(record, key, envelope)

    job.target_class = Clumsy
    job.source.seed([record("a"), record("b"), record("c")])
    run = await job.run()
    assert run.cause is None
    assert job.states() == {"stored": 2, "rejected": 1}
    [(reason,)] = job.query("SELECT reason FROM problem")
    assert "KeyError" in reason
    assert "secret" not in reason


async def test_a_refused_document_fails_alone(job, record):
    job.target_config = {"refuses": frozenset({"b"})}
    job.source.seed([record("a"), record("b"), record("c")])
    await job.run()
    assert job.states() == {"stored": 2, "failed": 1}
    assert job.problem_of("b") == "refused"


async def test_two_records_under_one_key_leave_one_document_and_the_other_has_failed(job, record):
    job.document_id = "{user}"
    job.source.seed([record("a"), record("b"), record("c", user="bob")])
    await job.run()
    assert job.states()["failed"] == 1
    assert [job.problem_of(name) for name in "abc"].count("duplicate_key") == 1
    again = await job.run()
    assert again.cause is None
    assert job.states()["failed"] == 1


@pytest.mark.parametrize("client_key", [ClientKey.DEDUPE, ClientKey.UNKNOWN])
async def test_where_the_first_is_kept_the_record_that_came_second_is_in_conflict(job, record, client_key):
    job.client_key = client_key
    job.document_id = "{user}"
    job.source.seed([record("a"), record("b")])
    await job.run(writers=1)
    assert job.target.records[0].id == "a"
    assert job.state_of("a") == "stored"
    assert job.state_of("b") == "failed"
    assert job.problem_of("b") == "conflict"


async def test_under_reject_only_the_refused_twin_has_failed(job, record):
    job.client_key = ClientKey.REJECT
    job.document_id = "{user}"
    job.source.seed([record("a"), record("b")])
    await job.run(writers=1)
    assert job.state_of("a") == "stored"
    assert job.state_of("b") == "failed"
    assert job.problem_of("b") == "conflict"


@pytest.mark.parametrize("client_key", [ClientKey.NONE, ClientKey.APPEND])
async def test_where_the_target_keeps_both_twins_neither_has_failed(job, record, client_key):
    job.client_key = client_key
    job.document_id = "{user}"
    job.source.seed([record("a"), record("b")])
    await job.run()
    assert len(job.target) == 2
    assert job.states() == {"stored": 2}


async def test_a_twin_that_was_refused_does_not_cost_the_one_that_arrived_its_state(job, record):
    job.document_id = "{user}"
    job.target_config = {"refuses": frozenset({"b"})}
    job.source.seed([record("a"), record("b")])
    await job.run()
    assert job.state_of("a") == "stored"
    assert job.state_of("b") == "failed"
    assert job.problem_of("b") == "refused"


async def test_one_record_listed_by_two_partitions_is_no_collision(job, record):
    class Overlapping(MemoryReferenceProvider):
        async def partitions(self):
            for name in ("one", "two"):
                yield Partition(name)

        async def _read_page(self, partition, cursor, limit):
            return await super()._read_page(Partition("all"), cursor, limit)

    job.source_class = Overlapping
    job.source.seed([record("a")])
    await job.run(hide_source=("count",))
    assert set(job.states()) <= {"stored", "present"}
    assert len(set(job.target.keys)) == 1


async def test_progress_counts_earlier_runs_and_never_exceeds_what_was_listed(job, record):
    job.target_config = {"refuses": frozenset({"b"})}
    job.source.seed([record("a"), record("b"), record("c")])
    run = await job.run()
    seen = run.engine.snapshot()
    assert (seen.phase, seen.done, seen.total) in {("settle", 0, 0), ("move", 3, 3)}
    assert seen.failed == 1
    assert run.engine.finished == 3


async def test_progress_keeps_skipped_rejected_and_failed_apart_also_over_runs(job, record):
    job.target_config = {
        "required_axes": frozenset({"user"}),
        "unscoped": "skip",
        "refuses": frozenset({"c", "d"}),
        "content_bytes": 50,
    }
    job.source.seed([record("a"), record("b", "x" * 60), record("c"), record("d")])
    job.source.seed(record(f"nobody-{number}", user=None) for number in range(4))
    for _ in range(2):
        seen = (await job.run()).engine.snapshot()
        assert (seen.skipped, seen.rejected, seen.failed) == (4, 1, 2)
    assert job.states() == {"stored": 1, "skipped": 4, "rejected": 1, "failed": 2}
