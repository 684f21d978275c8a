"""`--scan N`: a little of many partitions."""

from typing import ClassVar

import pytest

from memxfer import migration
from memxfer.errors import CursorExpiredError
from memxfer.models import MemoryRecord, Scope
from memxfer_memory import MemoryReferenceProvider


def seed(ends, sizes):
    for user, size in enumerate(sizes):
        ends.source.seed(
            MemoryRecord(id=f"{user}-{n}", content="x", scope=Scope(user=f"u{user}")) for n in range(size)
        )


async def sample(ends, wanted, **settings):
    source = ends.read(split_by="user", **settings)
    options = migration.Options(scan=wanted)
    seen = []
    decode = source._decode
    source._decode = lambda row, partition: (seen.append(partition.name), decode(row, partition))[1]
    report = await migration.diff(source, ends.write(), options=options)
    return report, seen


@pytest.mark.anyio
async def test_a_sample_comes_from_all_partitions_alike(ends):
    seed(ends, [100] * 10)

    report, seen = await sample(ends, 50)

    assert (report.scanned, report.total, report.sample) == (50, 1_000, True)
    assert {seen.count(name) for name in set(seen)} == {5}
    assert len(set(seen)) == 10


@pytest.mark.anyio
async def test_small_partitions_are_made_up_for_by_large_ones(ends):
    seed(ends, [1, 1, 1, 1, 200])

    report, seen = await sample(ends, 100)

    assert report.scanned == 100
    assert sorted(seen.count(name) for name in set(seen)) == [1, 1, 1, 1, 96]


@pytest.mark.anyio
async def test_a_sample_larger_than_the_store_is_the_store(ends):
    seed(ends, [3, 4])

    report, _ = await sample(ends, 50)

    assert (report.scanned, report.total, report.sample) == (7, 7, False)
    assert {line.estimate for line in report.dimensions} == {None}


@pytest.mark.anyio
async def test_more_partitions_than_records_wanted_are_met_evenly_and_not_all_read(ends):
    seed(ends, [1] * 500)

    report, seen = await sample(ends, 20)

    places = sorted(int(name.rpartition("u")[2]) for name in set(seen))
    assert (report.scanned, report.sample) == (20, True)
    assert places[0] < 100
    assert places[-1] > 300


@pytest.mark.anyio
async def test_counts_of_a_sample_are_extrapolated(ends):
    seed(ends, [50, 50])

    report, _ = await sample(ends, 10)

    (users,) = [line for line in report.dimensions if line.dimension == "user"]
    assert (users.records, users.estimate) == (10, 100)


class Forgetful(MemoryReferenceProvider):
    """Loses a cursor once, in the middle of a walk."""

    lost: ClassVar = False

    def _capabilities(self):
        made = super()._capabilities()
        return made.model_copy(update={"paging": made.paging.model_copy(update={"cursors_expire": True})})

    async def _read_page(self, partition, cursor, limit):
        if cursor is not None and not type(self).lost:
            type(self).lost = True
            raise CursorExpiredError("gone", provider="memory", operation="read")
        return await super()._read_page(partition, cursor, limit)


@pytest.mark.anyio
async def test_a_cursor_that_dies_in_the_scan_counts_nothing_twice(ends):
    seed(ends, [30])
    Forgetful.lost = False

    report = await migration.diff(ends.read(kind=Forgetful, max_page=10), ends.write())

    assert Forgetful.lost
    assert (report.scanned, report.blocking) == (30, False)
