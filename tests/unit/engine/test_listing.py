"""Reading a source: circles, empty pages, short listings, failing partitions."""

from functools import partial
from typing import ClassVar

import pytest

from memxfer.engine.control import StopCause
from memxfer.engine.engine import Shortage
from memxfer.engine.marks import Marks
from memxfer.errors import AuthError, ProviderError, UnavailableError
from memxfer.models import MemoryRecord
from memxfer.spi import Partition, RawPage
from memxfer.testing import Fault, FaultKind
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


async def test_a_repeated_cursor_gives_the_partition_up_and_keeps_what_came(job):
    job.seed(40)
    run = await job.run(source_faults=[Fault(FaultKind.REPEATED_CURSOR, on="read_page", calls=(3,))])
    assert run.cause is None
    assert "same cursor twice" in run.engine.aborted["all"]
    assert job.states() == {"stored": 20}
    again = await job.run()
    assert again.engine.aborted == {}
    job.check_complete()


async def test_cursors_that_turn_in_a_larger_circle_are_noticed(job):
    class Circle(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            place = int(cursor or 0)
            return RawPage(self.data.after("all", place, 1), str((place + 1) % 4))

    job.source_class = Circle
    job.seed(10)
    run = await job.run()
    assert "same cursor twice" in run.engine.aborted["all"]


async def test_one_partition_given_up_costs_the_others_nothing(job, record):
    class Broken(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            if partition.name == "user:bob":
                raise ProviderError("500 whatever one asks")
            return await super()._read_page(partition, cursor, limit)

    job.source_class = Broken
    job.source_config = {"split_by": "user"}
    job.source.seed([record("a", user="ann"), record("b", user="bob"), record("c", user="cay")])
    run = await job.run()
    assert run.engine.aborted == {"user:bob": "500 whatever one asks"}
    assert job.states() == {"stored": 2}


async def test_a_thousand_empty_pages_in_a_row_are_read(job):
    job.seed(5)
    faults = [Fault(FaultKind.EMPTY_PAGE, on="read_page", calls=range(1, 1001))]
    run = await job.run(source_faults=faults)
    assert run.engine.aborted == {}
    job.check_complete()


async def test_one_more_gives_the_partition_up(job):
    job.seed(5)
    run = await job.run(source_faults=[Fault(FaultKind.EMPTY_PAGE, on="read_page")])
    assert "empty pages" in run.engine.aborted["all"]
    assert run.source.script.calls("read_page") == 1001


async def test_pages_of_rows_that_are_no_memories_are_not_empty(job):
    class Markers(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            place = int(cursor or 0)
            return RawPage([None], str(place + 1) if place < 1005 else None)

        def _decode(self, row, partition):
            return None

        async def count(self):
            return 1006

    job.source_class = Markers
    run = await job.run()
    assert run.engine.aborted == {}
    assert job.counters()["rows_ignored"] == job.counters()["ignored/not_a_memory"] == 1006
    assert run.engine.shortage is None


@pytest.mark.parametrize("listing", ["keyset", "offset"])
async def test_a_row_listed_twice_is_moved_once(job, listing):
    job.source_config = {"max_page": 5, "listing": listing}
    job.seed(12)
    await job.run(source_faults=[Fault(FaultKind.DUPLICATED_ROWS, on="read_page")])
    job.check_complete()
    assert job.states() == {"stored": 12}


async def test_a_listing_shorter_than_the_source_says_is_never_complete(job):
    job.seed(12)
    run = await job.run(source_faults=[Fault(FaultKind.LYING_TOTAL, on="count", factor=2)])
    assert run.engine.shortage == Shortage(counted=24, listed=12)
    assert job.states() == {"stored": 12}


async def test_rows_that_one_listing_left_out_are_noticed_by_the_count_and_listed_again(job):
    job.seed(12)
    run = await job.run(source_faults=[Fault(FaultKind.VANISHED_ROWS, on="read_page", calls=(2,))])
    assert run.engine.shortage is None
    job.check_complete()


async def test_rows_that_no_listing_shows_are_noticed_by_the_count(job):
    job.seed(12)
    faults = [Fault(FaultKind.VANISHED_ROWS, on="read_page", calls=range(2, 20, 2))]
    run = await job.run(source_faults=faults)
    assert run.engine.shortage == Shortage(counted=12, listed=11)


async def test_rows_deleted_while_listing_are_not_missed(job):
    job.seed(12)

    async def delete(run):
        job.source.remove("r0011")

    run = await job.run(during=delete)
    assert run.engine.shortage is None


async def test_without_a_count_nothing_is_said_about_completeness(job):
    job.seed(3)
    run = await job.run(hide_source=("count",))
    assert run.engine.shortage is None
    assert run.engine.snapshot().total in (None, 0)


async def test_the_count_of_the_first_run_is_kept(job):
    job.seed(12)
    await job.run(source_faults=[Fault(FaultKind.CRASH_BEFORE, on="read_page", calls=(1,))])
    assert job.query("SELECT value FROM meta WHERE name = 'source_count'") == [("12",)]
    await job.run()
    job.seed(3, start=50)
    run = await job.run()
    assert job.query("SELECT value FROM meta WHERE name = 'source_count'") == [("12",)]
    assert run.engine.shortage is None, "rows that came after the job are not missing from it"


async def test_a_row_that_does_not_decode_is_rejected_by_its_id_and_costs_nobody_else(job):
    job.seed(12)
    await job.run(source_faults=[Fault(FaultKind.DEFECT_ROW, on="read_page", calls=(1,))])
    assert job.state_of("r0000") == "rejected"
    assert job.problem_of("r0000") == "unreadable"
    assert job.states() == {"stored": 11, "rejected": 1}


async def test_a_row_without_any_id_is_named_by_its_place_and_counted_once(make_job):
    class Nameless(MemoryReferenceProvider):
        def _decode(self, row, partition):
            if row.record.id == "r0003":
                raise KeyError("text of the memory")
            return row.record

    for crash_at in (4, 6, 8):
        job = make_job(source_class=Nameless, source_config={"max_page": 5})
        job.seed(12)
        await job.run(crash_at=crash_at)
        await job.run()
        assert job.states()["rejected"] == 1
        assert job.states()["stored"] + job.states()["present"] == 11
        [(name,)] = job.query("SELECT id FROM record WHERE state = 'rejected'")
        assert name.startswith("unreadable row 0 of all")
        assert job.query("SELECT reason FROM problem") == [("the row cannot be read as a memory (KeyError)",)]


@pytest.mark.parametrize("odd", ["\ud800", "a\x00b", "x" * 5000, "ä:%/日本"])
async def test_odd_ids_and_errors_are_kept_and_stop_nothing(job, record, odd):
    class Odd(MemoryReferenceProvider):
        def _decode(self, row, partition):
            if row.record.id == "bad":
                raise ValueError(odd)
            return row.record

        def _row_id(self, row):
            return row.record.id + odd

    job.source_class = Odd
    job.source.seed([record("bad"), record(odd), record("c")])
    run = await job.run()
    assert run.cause is None
    assert job.states() == {"stored": 2, "rejected": 1}


async def test_a_record_with_fields_of_the_wrong_type_is_a_defect_of_its_own(job, record):
    job.source.seed([record("a"), MemoryRecord(id=5, content="x"), MemoryRecord(id="c", content=None)])
    run = await job.run()
    assert run.cause is None
    assert job.states() == {"stored": 1, "rejected": 2}


# -- listing partitions -------------------------------------------------------------------------


def failing(error, times):
    class Failing(MemoryReferenceProvider):
        failures = 0

        async def partitions(self):
            yield Partition("user:ann")
            if Failing.failures < times:
                Failing.failures += 1
                raise error
            yield Partition("user:bob")

    return Failing


async def test_partitions_that_fail_to_list_for_now_are_asked_for_again(job, record):
    job.source_config = {"split_by": "user"}
    job.source_class = failing(UnavailableError("503"), 2)
    job.source.seed([record("a", user="ann"), record("b", user="bob")])
    run = await job.run()
    assert run.cause is None
    assert run.engine.aborted == {}
    job.check_complete()


async def test_partitions_that_never_list_pause_the_job(job, record):
    job.source_config = {"split_by": "user"}
    job.source_class = failing(UnavailableError("503"), 10**6)
    job.source.seed([record("a", user="ann"), record("b", user="bob")])
    run = await job.run()
    assert run.cause is StopCause.UNAVAILABLE


async def test_a_key_revoked_while_partitions_are_listed_is_an_auth_stop(job, record):
    job.source_class = failing(AuthError("revoked"), 10**6)
    job.source.seed([record("a", user="ann")])
    run = await job.run()
    assert run.cause is StopCause.AUTH


async def test_an_error_without_a_remedy_while_partitions_are_listed_names_itself(job):
    job.source_class = failing(ProviderError("partitions are broken"), 10**6)
    run = await job.run()
    assert run.cause is StopCause.FATAL
    assert run.control.reason == "partitions are broken"


# -- circles and memory -------------------------------------------------------------------------


@pytest.fixture
def forgetful(monkeypatch):
    """A walk remembers ten texts in memory; the others are in its temporary file."""
    monkeypatch.setattr("memxfer.engine.listing.Marks", partial(Marks, most=10))


def circling(lead, length, *, rows=1):
    """A listing whose cursors turn in a circle of `length` pages after `lead` pages."""

    class Circling(MemoryReferenceProvider):
        reads: ClassVar = 0

        async def _read_page(self, partition, cursor, limit):
            type(self).reads += 1
            place = int(cursor or 0)
            following = place + 1 if place + 1 < lead + length else lead
            return RawPage(self.data.after("all", place, rows), str(following))

    return Circling


@pytest.mark.parametrize("listing", ["keyset", "offset"])
@pytest.mark.parametrize(("lead", "length"), [(0, 2), (1, 1), (3, 9), (0, 11), (5, 60), (40, 30), (97, 3)])
async def test_a_circle_of_any_length_ends_at_once_and_repeats_nothing(job, forgetful, listing, lead, length):
    job.source_class = circling(lead, length)
    job.source_config = {"listing": listing}
    job.seed(lead + length)

    run = await job.run(hide_source=("count",))

    assert "same cursor twice" in run.engine.aborted["all"]
    assert job.source_class.reads <= lead + length + 1
    assert set(job.target.attempts.values()) <= {1}
    assert len({row[0] for row in job.rows()}) == len(job.rows())


async def test_a_circle_back_to_where_a_run_went_on_is_noticed_too(job, forgetful):
    job.source_class = circling(0, 30)
    job.seed(30)
    await job.run(source_faults=[Fault(FaultKind.CRASH_BEFORE, on="read_page", calls=(25,))], writers=1)
    job.source_class = circling(0, 30)

    run = await job.run(hide_source=("count",))

    assert "same cursor twice" in run.engine.aborted["all"]
    assert len({row[0] for row in job.rows()}) == len(job.rows())


async def test_rows_repeated_far_behind_are_moved_once(job, forgetful):
    class Repeating(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            place = int(cursor or 0)
            rows = self.data.after("all", place % 40, 2)
            return RawPage(rows, str(place + 2) if place < 78 else None)

    job.source_class = Repeating
    job.source_config = {"listing": "offset"}
    job.seed(40)

    run = await job.run()

    assert run.cause is None
    assert job.states() == {"stored": 40}


async def test_partitions_named_twice_far_apart_are_listed_once(job, forgetful, record):
    class Stuttering(MemoryReferenceProvider):
        async def partitions(self):
            for _ in range(2):
                async for partition in super().partitions():
                    yield partition

    job.source_class = Stuttering
    job.source_config = {"split_by": "user"}
    job.source.seed(record(f"r{n}", user=f"user {n}") for n in range(30))

    run = await job.run()

    assert run.source.script.calls("read_page") == 30
    job.check_complete()


async def test_a_restart_after_a_dead_cursor_forgets_what_the_first_walk_saw(job, forgetful):
    job.source_config = {"max_page": 2, "listing": "offset"}
    job.seed(30)

    run = await job.run(source_faults=[Fault(FaultKind.CURSOR_EXPIRED, on="read_page", calls=(2, 9))])

    assert run.engine.aborted == {}
    job.check_complete()


async def test_a_cursor_that_is_no_text_gives_the_partition_up(job):
    class Odd(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            return RawPage(self.data.after("all", 0, 1), "\ud800")

    job.source_class = Odd
    job.seed(3)

    run = await job.run(hide_source=("count",))

    assert run.cause is None
    assert "not valid text" in run.engine.aborted["all"]


async def test_partition_names_that_utf8_cannot_carry_are_kept_apart(job, record):
    names = dict(zip(("\ud800", "\ud801", "\\ud800"), ("ann", "bob", "cay"), strict=True))

    class Odd(MemoryReferenceProvider):
        async def partitions(self):
            for name in names:
                yield Partition(name)

        async def _read_page(self, partition, cursor, limit):
            return await super()._read_page(Partition(f"user:{names[partition.name]}"), cursor, limit)

    job.source_class = Odd
    job.source.seed(record(f"{user}-{n}", user=user) for user in names.values() for n in range(3))

    for _ in range(2):
        run = await job.run()
        assert (run.cause, run.unfinished) == (None, ())
    job.check_complete()
    assert job.states() == {"stored": 9}
