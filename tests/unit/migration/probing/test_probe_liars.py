"""Probes of backends that do not do what they say: found out, and nothing of the user's is touched."""

import pytest

from memxfer.errors import AmbiguousError
from memxfer.spi import Outcome, WriteReceipt
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


class TargetOnly(MemoryReferenceProvider):
    @classmethod
    def is_source(cls):
        return False


class ForgetsIds(MemoryReferenceProvider):
    async def _write(self, batch):
        return [WriteReceipt(receipt.outcome) for receipt in await super()._write(batch)]


async def test_receipts_without_ids_are_found_out_and_the_look_up_cleans_up(bench, lowered):
    report = await bench.probe(bench.provider(ForgetsIds))
    assert lowered(report) == {"writing.reports_ids": "false"}
    assert bench.is_as_before


class SlowLookup(MemoryReferenceProvider):
    """Finds what was written a while ago."""

    async def lookup(self, keys):
        if self.clock.monotonic() < 3:
            return {}
        return await super().lookup(keys)


async def test_a_look_up_that_finds_later_than_it_says_is_not_relied_on(bench, lowered, claim_of):
    report = await bench.probe(bench.provider(SlowLookup))
    assert lowered(report) == {"operations.lookup": "no"}
    assert "only 3 s later" in claim_of(report, "operations.lookup").note
    assert bench.is_as_before


async def test_a_look_up_that_finds_everything_deletes_nothing_of_the_users(bench, lowered):
    class FindsAll(MemoryReferenceProvider):
        async def lookup(self, keys):
            return dict.fromkeys(keys, ("mem-00000001",))  # the user's own record

    report = await bench.probe(bench.provider(FindsAll))
    assert lowered(report) == {"operations.lookup": "no"}
    assert bench.is_as_before


async def test_a_look_up_that_finds_too_much_beside_what_is_there_is_not_relied_on(bench, lowered):
    class FindsMore(MemoryReferenceProvider):
        async def lookup(self, keys):
            return dict.fromkeys(keys, ("mem-00000001",)) | await super().lookup(keys)

    report = await bench.probe(bench.provider(FindsMore))
    assert lowered(report) == {"operations.lookup": "no"}
    assert bench.is_as_before


async def test_a_look_up_nobody_could_try_deletes_nothing_of_the_users(bench):
    class FindsAll(MemoryReferenceProvider):
        async def _write(self, batch):
            raise AmbiguousError("the answer was lost")

        async def lookup(self, keys):
            return dict.fromkeys(keys, ("mem-00000001",))

    report = await bench.probe(bench.provider(FindsAll))
    assert bench.is_as_before
    assert report.status == "completed"


async def test_a_receipt_that_names_something_older_deletes_nothing_of_the_users(bench):
    class NamesAnother(MemoryReferenceProvider):
        def _settle(self, document):
            return WriteReceipt(Outcome.PRESENT, target_ids=("mem-00000001",))

    report = await bench.probe(bench.provider(NamesAnother))
    assert bench.is_as_before
    assert ["left alone" in left.reason for left in report.leftovers] == [True] * len(report.leftovers)


async def test_what_a_liar_leaves_behind_is_named(bench, lowered):
    class DeletesNothing(MemoryReferenceProvider):
        async def delete(self, target_ids):
            return len(target_ids)

    report = await bench.probe(bench.provider(DeletesNothing))
    assert lowered(report) == {"operations.delete": "no", "writing.rollback": "none"}
    left = {one for leftover in report.leftovers for one in leftover.target_ids}
    there = {row.target_id for row in bench.store.rows() if row.record != bench.own}
    assert there
    assert there <= left
    assert {leftover.key for leftover in report.leftovers} == set(bench.store.keys)
    assert len(bench.told.warnings) == len(report.leftovers)


@pytest.mark.parametrize("hidden", [(), ("lookup",)])
async def test_what_stays_in_a_target_alone_shows_in_the_look_up_or_in_deleting_again(bench, hidden, lowered):
    class DeletesNothing(TargetOnly):
        async def delete(self, target_ids):
            return len(target_ids)

    report = await bench.probe(bench.faulty(hidden=hidden, kind=DeletesNothing))
    assert {leftover.key for leftover in report.leftovers} == set(bench.store.keys)
    assert lowered(report) == {"operations.delete": "no", "writing.rollback": "none"}


async def test_a_record_that_came_from_nowhere_is_a_leftover(bench):
    class WritesWhilePreparing(MemoryReferenceProvider):
        def _prepare(self, record, key, envelope):
            self.data.insert(record)
            return super()._prepare(record, key, envelope)

    report = await bench.probe(bench.provider(WritesWhilePreparing))
    assert "" in {leftover.key for leftover in report.leftovers}
