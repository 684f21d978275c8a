"""Partitions and records that go from the source between two runs: each has an end, none holds up others."""

import pytest

from memxfer.engine.control import StopCause
from memxfer.errors import AuthError, ProviderError, RecordError, UnavailableError
from memxfer.ledger import State
from memxfer.spi import ClientKey
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio

SENT = [FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER]


@pytest.fixture
def owners(job, record):
    """Three owners; the job dies while the records of all of them are under way."""
    job.source_config = {"split_by": "user", "max_page": 3}
    job.source.seed(record(f"{user}-{n}", user=user) for user in ("ann", "bob", "cay") for n in range(5))
    return job


async def die(job, kind=FaultKind.CRASH_AFTER, **options):
    run = await job.run(target_faults=[Fault(kind, calls=(1,))], **options)
    assert run.crashed
    return {record_id for record_id, state, _, _ in job.rows() if state == State.INTENT}


def remove(job, user):
    for n in range(5):
        job.source.remove(f"{user}-{n}")


@pytest.mark.parametrize("listing", ["keyset", "offset"])
@pytest.mark.parametrize("kind", SENT)
async def test_what_was_under_way_in_a_partition_that_vanished_has_an_end(owners, kind, listing):
    owners.source_config["listing"] = listing
    in_doubt = await die(owners, kind)
    remove(owners, "ann")

    for _ in range(2):
        run = await owners.run()
        assert run.cause is None
        assert (run.engine.aborted, run.unfinished, list(run.engine.vanished)) == (
            {},
            (),
            ["user:ann"],
        )
        assert State.INTENT not in owners.states()

    ann = {one for one in in_doubt if one.startswith("ann")}
    assert ann
    for one in ann:
        is_there = owners.key(one) in owners.target.keys
        assert owners.state_of(one) == (State.PRESENT if is_there else State.GONE)
    assert {owners.key(f"{user}-{n}") for user in ("bob", "cay") for n in range(5)} <= set(owners.target.keys)


async def test_one_that_comes_back_is_read_on_from_its_place(owners, record):
    await die(owners)
    remove(owners, "ann")
    await owners.run()
    owners.source.seed(record(f"ann-{n}", user="ann") for n in range(5))

    run = await owners.run()

    assert run.engine.vanished == ()
    assert {owners.key(one) for one in owners.source_ids()} == set(owners.target.keys)
    assert len(owners.rows()) == 15
    assert State.INTENT not in owners.states()


async def test_a_record_of_a_vanished_partition_that_can_be_read_by_its_id_is_sent(owners, record):
    class Renaming(MemoryReferenceProvider):
        async def get(self, record_id):
            return record(record_id, user="ann")

    in_doubt = await die(owners, FaultKind.CRASH_BEFORE)
    remove(owners, "ann")
    owners.source_class = Renaming

    await owners.run()

    for one in in_doubt:
        assert owners.state_of(one) in {State.STORED, State.PRESENT}
        assert owners.target.keys.count(owners.key(one)) == 1


async def test_where_the_target_cannot_be_asked_what_vanished_is_uncertain(owners):
    owners.client_key = ClientKey.NONE
    in_doubt = await die(owners)
    remove(owners, "ann")

    await owners.run(hide_target=("lookup",), on_uncertain="resend")

    ann = {one for one in in_doubt if one.startswith("ann")}
    assert {owners.state_of(one) for one in ann} == {State.UNCERTAIN}


async def test_a_source_without_any_partition_left_ends_the_job_too(owners):
    await die(owners, FaultKind.CRASH_BEFORE)
    for user in ("ann", "bob", "cay"):
        remove(owners, user)

    run = await owners.run()

    assert [(name,) for name in run.engine.vanished] == owners.query(
        "SELECT name FROM partition WHERE NOT done"
    )
    assert run.engine.vanished
    assert owners.states()[State.GONE]
    assert State.INTENT not in owners.states()


async def test_a_partition_that_was_read_to_its_end_may_vanish(owners):
    await owners.run()
    remove(owners, "bob")

    run = await owners.run()

    assert run.engine.vanished == ()
    assert run.unfinished == ()


# -- one record that cannot be read by its id ---------------------------------------------------


def hiding(error, bad="r0002"):
    """A source that lists nothing more, gives records by id, and fails for one of them."""

    class Hiding(MemoryReferenceProvider):
        asked = 0

        async def _read_page(self, partition, cursor, limit):
            page = await super()._read_page(partition, cursor, limit)
            return type(page)([], None)

        async def get(self, record_id):
            Hiding.asked += 1
            if record_id == bad and isinstance(error, Exception):
                raise error
            return await super().get(record_id) if record_id != bad else error

    return Hiding


LASTING = [
    RecordError("the row is broken", code="broken"),
    ProviderError("500 for this one, whatever one asks"),
    KeyError("text of the memory"),
    object(),
]


@pytest.mark.parametrize("error", LASTING, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", SENT)
async def test_a_record_that_cannot_be_read_by_its_id_costs_no_other(job, error, kind):
    job.seed(10)
    job.target_config = {"max_batch": 10}
    await job.run(target_faults=[Fault(kind, calls=(1,))])
    assert job.states() == {State.INTENT: 10}
    job.source_class = hiding(error)

    run = await job.run(hide_source=("count",))

    assert run.cause is None
    assert len(job.target) == (10 if kind is FaultKind.CRASH_AFTER else 9)
    if kind is FaultKind.CRASH_AFTER:
        assert job.states() == {State.PRESENT: 10}
        return
    assert job.states() == {State.STORED: 9, State.FAILED: 1}
    assert job.state_of("r0002") == State.FAILED
    [(reason,)] = job.query("SELECT reason FROM problem")
    assert reason.startswith("the source does not list it and cannot give it by its id: ")
    assert "text of" not in reason


async def test_it_is_uncertain_where_nobody_can_tell_whether_it_was_sent(job):
    job.seed(4)
    await job.run(target_faults=[Fault(FaultKind.CRASH_AFTER, calls=(1,))])
    job.source_class = hiding(RecordError("the row is broken", code="broken"))

    run = await job.run(hide_source=("count",), hide_target=("lookup",))

    assert run.cause is None
    assert job.states() == {State.PRESENT: 3, State.UNCERTAIN: 1}


async def test_it_is_sent_from_its_original_where_the_job_has_one(job):
    job.residue = "full"
    job.seed(4)
    await job.run(target_faults=[Fault(FaultKind.CRASH_BEFORE, calls=(1,))])
    job.source_class = hiding(RecordError("the row is broken", code="broken"))

    await job.run(hide_source=("count",))

    assert job.states() == {State.STORED: 4}


@pytest.mark.parametrize(
    ("error", "cause"),
    [(UnavailableError("503"), StopCause.UNAVAILABLE), (AuthError("revoked"), StopCause.AUTH)],
)
async def test_a_source_that_does_not_answer_keeps_the_place(job, error, cause):
    job.seed(4)
    job.source_config["retry"] = {"attempts": 3}
    await job.run(target_faults=[Fault(FaultKind.CRASH_BEFORE, calls=(1,))])
    job.source_class = hiding(error)

    run = await job.run(hide_source=("count",))

    assert run.cause is cause
    assert State.INTENT in job.states()
    job.source_class = hiding(None, bad="")
    await job.run(hide_source=("count",))
    assert job.states() == {State.STORED: 4}
