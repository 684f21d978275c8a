"""Sources whose ids are not unique: each record is moved, or named among what was not."""

from datetime import UTC, datetime

import msgspec
import pytest

from memxfer.engine.control import StopCause
from memxfer.spi import ClientKey
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio

KEEPING_ONE = [ClientKey.UPSERT, ClientKey.DEDUPE, ClientKey.UNKNOWN, ClientKey.REJECT]
KEEPING_ALL = [ClientKey.NONE, ClientKey.APPEND]


def lodgers(record, kind):
    """Twenty records of ten ids: pairs in one page, in neighbouring pages, far apart, or of two owners."""
    ids = [f"r{number}" for number in range(10)]
    if kind == "two owners":
        return [record(one, f"{user} {one}", user=user) for user in ("ann", "bob") for one in ids]
    if kind == "one page":
        return [record(one, f"{one} {n}") for one in ids for n in (1, 2)]
    if kind == "neighbouring pages":
        halves = (ids[:5], ids[5:])
        return [record(one, f"{one} {n}") for half in halves for n in (1, 2) for one in half]
    return [record(one, f"{one} {n}") for n in (1, 2) for one in ids]


KINDS = ["two owners", "one page", "neighbouring pages", "far apart"]


@pytest.mark.parametrize("client_key", KEEPING_ALL)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split_by", ["none", "user"])
async def test_two_records_of_one_id_both_arrive_where_the_target_keeps_both(
    job, record, kind, client_key, split_by
):
    job.client_key = client_key
    job.source_config = {"max_page": 5, "split_by": split_by}
    job.source.seed(lodgers(record, kind))
    await job.run()
    assert job.states() == {"stored": 20}
    assert {one.content for one in job.target.records} == {one.content for one in job.source.records}


@pytest.mark.parametrize("client_key", KEEPING_ONE)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split_by", ["none", "user"])
async def test_two_records_of_one_id_are_both_accounted_for_where_the_target_keeps_one(
    job, record, kind, client_key, split_by
):
    job.client_key = client_key
    job.source_config = {"max_page": 5, "split_by": split_by}
    job.source.seed(lodgers(record, kind))
    await job.run()
    assert job.states() == {"stored": 10, "failed": 10}
    codes = {code for (code,) in job.query("SELECT code FROM problem")}
    assert codes == {"duplicate_key" if client_key is ClientKey.UPSERT else "conflict"}


async def test_a_template_with_the_records_hash_gives_each_a_key_of_its_own(job, record):
    job.document_id = "{id}:{hash}"
    job.source.seed(lodgers(record, "one page"))
    await job.run()
    assert job.states() == {"stored": 20}
    assert len(job.target) == 20


async def test_where_rows_shift_a_second_record_of_another_owner_or_date_arrives(job, record):
    job.client_key = ClientKey.NONE
    job.source_config = {"max_page": 5, "listing": "offset"}
    old, new = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)
    job.source.seed(
        [record("a", "1", created_at=old), record("b", "2"), *(record(f"x{n}") for n in range(7))]
    )
    job.source.seed([record("a", "3", created_at=new), record("b", "4", user="bob")])
    await job.run()
    assert job.states() == {"stored": 11}
    assert len(job.target) == 11


@pytest.mark.parametrize("client_key", [ClientKey.UPSERT, ClientKey.NONE])
async def test_where_rows_shift_what_may_be_an_edit_is_neither_sent_twice_nor_passed_over(
    job, record, client_key
):
    job.client_key = client_key
    job.source_config = {"max_page": 5, "listing": "offset"}
    job.source.seed([record("a", "1"), *(record(f"x{n}") for n in range(7)), record("a", "2")])
    await job.run()
    again = await job.run()
    assert again.cause is None
    assert job.states() == {"stored": 8, "rejected": 1}
    assert job.problem_of("a") == "duplicate_id"
    assert [one.content for one in job.target.records if one.id == "a"] == ["2"]


async def test_an_edit_that_moves_a_row_to_a_later_page_is_no_second_record(job, record):
    class Edited(MemoryReferenceProvider):
        reads = 0

        async def _read_page(self, partition, cursor, limit):
            page = await super()._read_page(partition, cursor, limit)
            Edited.reads += 1
            if Edited.reads == 1:
                row = page.rows[-1]
                edited = msgspec.structs.replace(row.record, content="edited", updated_at=self.clock.now())
                self.data.replace(row, edited)
                self.data.seed([record("new")])
            return page

    job.client_key = ClientKey.NONE
    job.source_class = Edited
    job.source_config = {"max_page": 5, "listing": "offset"}
    job.source.seed(record(f"r{n}") for n in range(12))
    await job.run()
    assert job.states() == {"stored": 13}
    assert len(job.target) == 13


@pytest.mark.parametrize("client_key", [ClientKey.NONE, ClientKey.UPSERT, ClientKey.REJECT])
@pytest.mark.parametrize("listing", ["keyset", "offset"])
@pytest.mark.parametrize("crash_at", range(1, 14, 2))
@pytest.mark.parametrize("durable", [True, False])
async def test_after_a_crash_each_of_two_records_of_one_id_is_found_again(
    job, record, client_key, listing, crash_at, durable
):
    job.client_key = client_key
    job.source_config = {"max_page": 3, "listing": listing}
    job.target_config = {"max_batch": 2}
    pairs = [record(f"r{n}", f"{user} {n}", user=user) for user in ("ann", "bob") for n in range(4)]
    job.source.seed(pairs)
    await job.run(crash_at=crash_at, durable=durable)
    await job.run()
    rows = job.query("SELECT id, count(*) FROM record GROUP BY id")
    assert rows == [(f"r{n}", 2) for n in range(4)]
    if client_key is ClientKey.NONE:
        assert set(job.states()) <= {"stored", "present"}
        assert sorted(one.content for one in job.target.records) == sorted(one.content for one in pairs)
    else:
        assert job.states()["failed"] == 4
        assert len(job.target) == 4


async def test_an_id_that_was_given_to_another_record_since_is_another_record(job, record):
    job.client_key = ClientKey.NONE
    job.source_config = {"max_page": 5, "listing": "offset"}
    job.source.seed(record(f"r{n}") for n in range(12))
    paused = await job.run(target_faults=[Fault(FaultKind.AUTH, calls=(3,))], writers=1)
    assert paused.cause is StopCause.AUTH
    [arrived, *_] = [name for name, state, *_ in job.rows() if state == "stored"]
    job.source.remove(arrived)
    job.source.seed([record(arrived, "another", user="bob")])
    await job.run()
    assert "another" in [one.content for one in job.target.records]
