"""Targets that accept first and store later."""

import msgspec
import pytest

from memxfer.engine.control import StopCause
from memxfer.errors import ProviderError, RecordError
from memxfer.spi import Capabilities, ClientKey, IngestState, IngestStatus, Outcome, WriteReceipt
from memxfer.testing import Fault, FaultKind, ManualClock
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio

ASYNC = {"max_batch": 5, "acknowledges": "async", "polls_until_stored": 3}


def answering(**statuses):
    """A target whose documents end as told, by record id; the others are stored."""

    class Answering(MemoryReferenceProvider):
        async def ingest_status(self, ingestion_id):
            task = self.data.tasks.get(ingestion_id)
            if task and task.document.record_id in statuses:
                return statuses[task.document.record_id]
            return await super().ingest_status(ingestion_id)

    return Answering


async def test_accepted_documents_are_asked_about_until_they_are_stored(job):
    job.target_config = ASYNC
    job.seed(12)
    run = await job.run()
    assert run.cause is None
    assert job.states() == {"stored": 12}
    job.check_complete()
    assert all(job.target_ids(record_id) for record_id in job.source_ids())
    assert run.engine.snapshot().phase == "settle"
    assert (run.engine.snapshot().done, run.engine.snapshot().total) == (12, 12)
    assert run.target.script.calls("ingest_status") == 36


async def test_without_settling_they_stay_accepted_and_a_later_run_asks(job):
    job.target_config = ASYNC
    job.seed(5)
    await job.run(settle=False)
    assert job.states() == {"accepted": 5}
    run = await job.run()
    assert job.states() == {"stored": 5}
    assert run.target.script.calls("write") == 0


async def test_however_many_are_accepted_each_is_asked_about_once_a_round(job, monkeypatch, record):
    monkeypatch.setattr("memxfer.engine.settling._CHUNK", 3)
    job.target_config = {**ASYNC, "refuses": frozenset({"r0002", "r0005"}), "content_bytes": 20}
    job.source.seed(record(f"huge-{number}", "x" * 21) for number in range(100))
    job.seed(12)
    run = await job.run()
    assert job.states() == {"stored": 10, "failed": 2, "rejected": 100}
    assert len(run.clock.slept) == 2, "three rounds"
    assert run.target.script.calls("ingest_status") == 36


async def test_the_pauses_begin_anew_when_something_has_moved(job):
    class Uneven(MemoryReferenceProvider):
        slow = None

        async def ingest_status(self, ingestion_id):
            task = self.data.tasks.get(ingestion_id)
            if Uneven.slow is None:
                Uneven.slow, task.polls_left = ingestion_id, 7
            return await super().ingest_status(ingestion_id)

    job.target_class = Uneven
    job.target_config = ASYNC
    job.seed(2)
    run = await job.run(poll_first=1.0, poll_most=60.0)
    assert job.states() == {"stored": 2}
    assert run.clock.slept == [1.0, 2.0, 1.0, 2.0, 4.0, 8.0]


async def test_the_pauses_grow_to_their_bound_while_nothing_moves_and_then_it_gives_up(job):
    job.target_class = answering(r0000=IngestStatus(IngestState.PROCESSING))
    job.target_config = ASYNC
    job.seed(1)
    run = await job.run(poll_first=1.0, poll_most=8.0, poll_patience=60.0)
    assert run.cause is None
    assert job.states() == {"accepted": 1}
    assert run.clock.slept[:5] == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert 60 < run.clock.monotonic() < 80


async def test_answers_are_told_as_they_come_and_not_when_all_have_been_asked(job):
    told = []

    class Watched(MemoryReferenceProvider):
        async def ingest_status(self, ingestion_id):
            now = self.watched.engine.snapshot()
            told.append((now.phase, now.done, now.asked, now.next_check))
            return await super().ingest_status(ingestion_id)

    async def watch(run):
        Watched.watched = run

    job.target_class = Watched
    job.target_config = {**ASYNC, "polls_until_stored": 1}
    job.seed(6)
    await job.run(during=watch, pollers=1)
    assert told == [("settle", number, number, None) for number in range(6)]


async def test_between_two_rounds_it_is_told_how_long_until_the_next(job):
    told = []

    class Watching(ManualClock):
        async def sleep(self, seconds):
            now = self.watched.engine.snapshot()
            if now.phase == "settle":
                told.append((now.done, now.total, now.asked, now.next_check))
            await super().sleep(seconds)

    clock = Watching()

    async def watch(run):
        clock.watched = run

    job.target_config = ASYNC
    job.seed(2)
    await job.run(during=watch, clock=clock, poll_first=4.0)
    assert told == [(0, 2, None, 4.0), (0, 2, None, 8.0)]


@pytest.mark.parametrize(
    ("status", "state", "code"),
    [
        (IngestStatus(IngestState.STORED, target_ids=("m1",)), "stored", None),
        (IngestStatus(IngestState.STORED), "failed", "no_memories"),
        (IngestStatus(IngestState.STORED, target_ids=("m1",), partial=True), "failed", "partial"),
        (
            IngestStatus(
                IngestState.STORED, target_ids=("m1",), partial=True, error=RecordError("half", code="x")
            ),
            "failed",
            "partial",
        ),
        (IngestStatus(IngestState.FAILED, error=RecordError("no", code="too_odd")), "failed", "too_odd"),
        (IngestStatus(IngestState.FAILED), "failed", "processing"),
        (IngestStatus(IngestState.GONE), "failed", "gone"),
    ],
)
async def test_every_end_is_told_as_it_is(job, status, state, code):
    job.target_class = answering(r0001=status)
    job.target_config = ASYNC
    job.seed(3)
    await job.run()
    assert job.state_of("r0001") == state
    assert job.problem_of("r0001") == code
    assert job.states()["stored"] + job.states()["failed"] == 3


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (Outcome.PENDING, None, "not_proven"),
        (Outcome.PENDING, IngestStatus(IngestState.STORED), "no_memories"),
        (Outcome.PENDING, IngestStatus(IngestState.FAILED, error=RecordError("no", code="odd")), "odd"),
        (Outcome.CREATED, None, "not_proven"),
        (Outcome.UPDATED, None, "not_proven"),
    ],
)
async def test_what_a_target_took_in_part_is_no_success_also_when_it_is_asked_in_a_later_run(
    job, outcome, status, code
):
    class Short(answering(**({"r0001": status} if status else {}))):
        async def _write(self, batch):
            receipts = await super()._write(batch)
            lacking = RecordError("3 of 7 were taken", code="some_word")
            return [
                msgspec.structs.replace(receipt, outcome=outcome, error=lacking)
                if document.record_id == "r0001"
                else receipt
                for document, receipt in zip(batch, receipts, strict=True)
            ]

    job.target_class = Short
    job.target_config = ASYNC
    job.seed(3)
    await job.run(settle=False)
    await job.run()
    assert job.states() == {"stored": 2, "failed": 1}
    assert (job.state_of("r0001"), job.problem_of("r0001")) == ("failed", code)


async def test_a_target_that_never_tells_ids_is_not_said_to_have_kept_nothing(job):
    class Silent(answering(r0000=IngestStatus(IngestState.STORED))):
        def _capabilities(self):
            known = super()._capabilities()
            writing = known.writing.model_copy(update={"reports_ids": False})
            return Capabilities(**{**dict(known), "writing": writing})

    job.target_class = Silent
    job.target_config = ASYNC
    job.seed(1)
    await job.run()
    assert job.states() == {"stored": 1}
    assert job.problem_of("r0000") is None


async def test_an_accepted_document_without_a_handle_is_uncertain(job):
    class NoHandle(MemoryReferenceProvider):
        async def _write(self, batch):
            return [WriteReceipt(Outcome.PENDING) for _ in batch]

    job.target_class = NoHandle
    job.seed(2)
    await job.run()
    assert job.states() == {"uncertain": 2}
    assert job.problem_of("r0000") == "no_handle"


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (FaultKind.AUTH, StopCause.AUTH),
        (FaultKind.UNAVAILABLE, StopCause.UNAVAILABLE),
    ],
)
async def test_a_stop_while_settling_keeps_what_is_known(job, kind, cause):
    job.target_config = {**ASYNC, "polls_until_stored": 1}
    job.seed(12)
    run = await job.run(target_faults=[Fault(kind, on="ingest_status", calls=range(4, 10**4))], pollers=1)
    assert run.cause is cause
    assert job.states() == {"stored": 3, "accepted": 9}
    await job.run()
    assert job.states() == {"stored": 12}
    job.check_complete()


async def test_an_unforeseen_error_of_a_status_question_comes_out_as_itself(job):
    class Broken(MemoryReferenceProvider):
        async def ingest_status(self, ingestion_id):
            raise ProviderError("no such route")

    job.target_class = Broken
    job.target_config = ASYNC
    job.seed(3)
    run = await job.run()
    assert run.cause is StopCause.FATAL
    assert run.control.reason == "no such route"
    assert job.states() == {"accepted": 3}


async def test_a_target_that_cannot_be_asked_leaves_them_accepted(job):
    job.target_config = ASYNC
    job.seed(3)
    run = await job.run(hide_target=("ingest_status",))
    assert run.cause is None
    assert job.states() == {"accepted": 3}


@pytest.mark.parametrize("client_key", [ClientKey.UPSERT, ClientKey.REJECT])
async def test_a_document_sent_again_after_a_crash_is_settled_once(job, client_key):
    job.client_key = client_key
    job.target_config = {**ASYNC, "polls_until_stored": 1}
    job.seed(5)
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(1,))])
    await job.run()
    assert job.states() == {"stored": 5}
    assert len(job.target) <= 5
