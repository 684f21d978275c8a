# ruff: noqa: S101 - asserting is what a test suite does
"""Whether a walk finds every record once, from whatever page it goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import cast

import pytest

from memxfer.errors import ProviderError
from memxfer.models import MemoryRecord
from memxfer.spi import Partition, Role, SupportsCount, SupportsDelete, SupportsGet
from memxfer.testing.conformance.basis import ConformanceBasis, Seed, requires
from memxfer.testing.conformance.driver import (
    AnyProvider,
    ProviderFactory,
    opened,
    read_partition,
    read_records,
    write_all,
)

__all__ = ["PagingTests"]


class PagingTests(ConformanceBasis):
    """Whether a walk finds every record once."""

    @requires("source")
    @pytest.mark.anyio
    @pytest.mark.parametrize("size", ["one", "some", "max"])
    async def test_walk_is_complete_and_disjoint(
        self, provider_factory: ProviderFactory, seed: Seed, size: str
    ) -> None:
        """Every record once, whatever the page size: look at cursors that skip or repeat at page borders."""
        records = self.records(self.suite_config.records)
        await seed(records)
        async with opened(provider_factory, Role.SOURCE) as source:
            found = await read_records(source, limit=self._limit(source, size))
        _assert_same(found, records)

    @requires("source")
    @pytest.mark.anyio
    async def test_page_is_not_longer_than_asked(self, provider_factory: ProviderFactory, seed: Seed) -> None:
        """`limit` bounds the rows of a page: memory is planned with it."""
        await seed(self.records(self.suite_config.records))
        async with opened(provider_factory, Role.SOURCE) as source:
            for partition in await _partitions(source):
                for page in await read_partition(source, partition, limit=self.suite_config.page_size):
                    rows = len(page.records) + len(page.defects) + len(page.ignored)
                    assert rows <= self.suite_config.page_size

    @requires("source")
    @pytest.mark.anyio
    async def test_walk_resumes_from_every_saved_cursor(
        self, provider_factory: ProviderFactory, seed: Seed
    ) -> None:
        """A cursor goes through the ledger into another process: no state of the instance may be needed."""
        records = self.records(self.suite_config.records)
        await seed(records)
        async with opened(provider_factory, Role.SOURCE) as source:
            walks = {
                partition.name: await read_partition(source, partition, limit=self.suite_config.page_size)
                for partition in await _partitions(source)
            }
        for name, pages in walks.items():
            for index, page in enumerate(pages[:-1], 1):
                cursor = json.loads(json.dumps(page.next_cursor))
                async with opened(provider_factory, Role.SOURCE) as source:
                    partition = {p.name: p for p in await _partitions(source)}[name]
                    rest = await read_partition(
                        source, partition, limit=self.suite_config.page_size, cursor=cursor
                    )
                expected = [record.id for later in pages[index:] for record in later.records]
                assert [record.id for later in rest for record in later.records] == expected

    @requires("source")
    @pytest.mark.anyio
    async def test_same_page_can_be_read_again(self, provider_factory: ProviderFactory, seed: Seed) -> None:
        """A call that failed on its way back is repeated: the cursor must not be used up."""
        await seed(self.records(self.suite_config.records))
        async with opened(provider_factory, Role.SOURCE) as source:
            partition = (await _partitions(source))[0]
            first = await source.read_page(partition, None, self.suite_config.page_size)
            again = await source.read_page(partition, None, self.suite_config.page_size)
            assert [record.id for record in again.records] == [record.id for record in first.records]
            if first.next_cursor:
                second = await source.read_page(partition, first.next_cursor, self.suite_config.page_size)
                again = await source.read_page(partition, first.next_cursor, self.suite_config.page_size)
                assert [record.id for record in again.records] == [record.id for record in second.records]

    @requires("source")
    @pytest.mark.anyio
    async def test_unknown_cursor_is_an_error(self, provider_factory: ProviderFactory, seed: Seed) -> None:
        """A cursor the backend does not know raises a `ProviderError`; starting over quietly would repeat."""
        await seed(self.records(self.suite_config.records))
        async with opened(provider_factory, Role.SOURCE) as source:
            partition = (await _partitions(source))[0]
            with pytest.raises(ProviderError):
                await source.read_page(partition, "no such cursor \U0001f937", self.suite_config.page_size)

    @requires("source", "target")
    @pytest.mark.anyio
    async def test_empty_store_gives_no_records(self, provider_factory: ProviderFactory) -> None:
        """No records, no error, and an end."""
        async with opened(provider_factory, Role.TARGET) as target:
            await write_all(target, [], pause=self.pause)
        async with opened(provider_factory, Role.SOURCE) as source:
            assert await read_records(source) == []

    @requires("source")
    @pytest.mark.anyio
    async def test_partitions_are_stable_and_unique(
        self, provider_factory: ProviderFactory, seed: Seed
    ) -> None:
        """The ledger files a slice's place under its name: the same names each time, as JSON."""
        await seed(self.records(self.suite_config.records))
        async with opened(provider_factory, Role.SOURCE) as source:
            first = await _partitions(source)
        async with opened(provider_factory, Role.SOURCE) as source:
            second = await _partitions(source)
        names = [partition.name for partition in first]
        assert len(set(names)) == len(names)
        assert sorted(names) == sorted(partition.name for partition in second)
        assert all(json.loads(json.dumps(dict(p.spec))) == dict(p.spec) for p in first)

    @requires("source")
    @pytest.mark.anyio
    async def test_totals_are_true(self, provider_factory: ProviderFactory, seed: Seed) -> None:
        """A total may be missing, but not wrong: the engine calls a short walk incomplete."""
        records = self.records(self.suite_config.records)
        await seed(records)
        async with opened(provider_factory, Role.SOURCE) as source:
            if isinstance(source, SupportsCount):
                counted = await cast("SupportsCount", source).count()
                assert counted == len(records)
            for partition in await _partitions(source):
                pages = await read_partition(source, partition, limit=self.suite_config.page_size)
                rows = sum(len(page.records) + len(page.defects) + len(page.ignored) for page in pages)
                totals = {partition.total, *(page.total for page in pages)} - {None}
                assert totals <= {rows}, f"partition {partition.name!r}"

    @requires("source", "target")
    @pytest.mark.anyio
    async def test_inserts_do_not_disturb_a_walk(self, provider_factory: ProviderFactory, seed: Seed) -> None:
        """`insert_safe` promises that rows which were there all along come exactly once."""
        records = self.records(self.suite_config.records)
        later = [self.record(1000 + index) for index in range(self.suite_config.page_size + 1)]
        await seed(records)
        async with opened(provider_factory, Role.SOURCE) as source:
            self._skip_unless(source, claim="insert_safe")
            partitions = await _partitions(source)
            firsts = [await source.read_page(p, None, self.suite_config.page_size) for p in partitions]
            async with opened(provider_factory, Role.TARGET) as target:
                await write_all(target, later, pause=self.pause)
            found = await self._rest(source, partitions, [page.next_cursor for page in firsts])
        found += [record for page in firsts for record in page.records]
        old = {record.content for record in records}
        _assert_same([record for record in found if record.content in old], records)

    @requires("source", "target", "delete", "lookup")
    @pytest.mark.anyio
    async def test_deletes_do_not_disturb_a_walk(self, provider_factory: ProviderFactory) -> None:
        """`delete_safe` promises that rows which stay come exactly once."""
        records = self.records(self.suite_config.records)
        async with opened(provider_factory, Role.TARGET) as target:
            written = await write_all(target, records, pause=self.pause)
        ids = {w.record.content: w.receipt.target_ids for w in written if w.receipt}
        async with opened(provider_factory, Role.SOURCE) as source:
            self._skip_unless(source, claim="delete_safe")
            partitions = await _partitions(source)
            firsts = [await source.read_page(p, None, self.suite_config.page_size) for p in partitions]
            gone = {record.content for page in firsts for record in page.records[:2]}
            async with opened(provider_factory, Role.TARGET) as target:
                await cast("SupportsDelete", target).delete([i for text in gone for i in ids[text]])
            found = await self._rest(source, partitions, [page.next_cursor for page in firsts])
        found += [record for page in firsts for record in page.records]
        stay = [record for record in records if record.content not in gone]
        _assert_same([record for record in found if record.content not in gone], stay)

    @requires("source", "get")
    @pytest.mark.anyio
    async def test_get_finds_what_the_listing_shows(
        self, provider_factory: ProviderFactory, seed: Seed
    ) -> None:
        """`get` takes the ids of the listing and gives the same record; an unknown id gives `None`."""
        await seed(self.records(3))
        async with opened(provider_factory, Role.SOURCE) as source:
            for record in await read_records(source):
                assert await cast("SupportsGet", source).get(record.id) == record
            assert await cast("SupportsGet", source).get(self.record_id(999)) is None

    def _limit(self, source: AnyProvider, size: str) -> int:
        paging = source.capabilities().paging
        most = paging.max_page if paging else 100
        return {"one": 1, "some": min(self.suite_config.page_size, most), "max": most}[size]

    def _skip_unless(self, source: AnyProvider, *, claim: str) -> None:
        if not self.suite_config.concurrent:
            pytest.skip("the store cannot be open for reading and writing at once")
        if not getattr(source.capabilities().paging, claim):
            pytest.skip(f"{source.name} does not claim {claim}")

    async def _rest(
        self, source: AnyProvider, partitions: Sequence[Partition], cursors: Sequence[str | None]
    ) -> list[MemoryRecord]:
        found: list[MemoryRecord] = []
        for partition, cursor in zip(partitions, cursors, strict=True):
            if cursor is not None:
                pages = await read_partition(
                    source, partition, limit=self.suite_config.page_size, cursor=cursor
                )
                found += [record for page in pages for record in page.records]
        return found


async def _partitions(source: AnyProvider) -> list[Partition]:
    return [partition async for partition in source.list_partitions()]


def _assert_same(found: Sequence[MemoryRecord], expected: Sequence[MemoryRecord]) -> None:
    counts = Counter(record.content for record in found)
    wanted = Counter(record.content for record in expected)
    assert not wanted - counts, "records are missing"
    assert not counts - wanted, "records come twice, or from nowhere"
    assert len({record.id for record in found}) == len(found), "two records have one id"
