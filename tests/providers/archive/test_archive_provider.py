"""What the archive provider adds to the codec: keys, origins, cursors, groups, faults of single lines."""

import asyncio
import json
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from memxfer import migration
from memxfer.archive import ArchiveReader, ArchiveWriter, encode_line
from memxfer.ids import DEFAULT_TEMPLATE, KeyTemplate
from memxfer.spi import (
    ConfigError,
    CursorExpiredError,
    FatalError,
    MemoryRecord,
    Outcome,
    Refused,
    Role,
    Scope,
    StoreIdentity,
    Version,
)
from memxfer_archive import ArchiveConfig, ArchiveProvider
from memxfer_archive.client import PageReader
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

pytestmark = pytest.mark.anyio

MEM0 = StoreIdentity("mem0-oss", "memories")
ZEP = StoreIdentity("zep", "project")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def make(tmp_path):
    """Make a provider over the test's archive."""

    def provider(**settings):
        return ArchiveProvider(ArchiveConfig(provider="archive", path=tmp_path / "backup", **settings))

    return provider


@pytest.fixture
def write(make):
    """Write records as if they came from a store, and finish unless told not to."""

    async def run(*records, origin=MEM0, finish=True):
        target = make()
        await target.connect(Role.TARGET)
        if origin:
            await target.begin(origin)
        documents = [target.prepare(record, key_for(record, origin), {}) for record in records]
        receipts = await target.write(documents)
        if finish:
            await target.finish()
        await target.aclose()
        return receipts

    return run


def key_for(record, origin=MEM0):
    store = origin or StoreIdentity("x", "y")
    return KeyTemplate(DEFAULT_TEMPLATE, provider=store.provider, namespace=store.namespace).key(record)


def plain(index):
    return MemoryRecord(id=f"id-{index}", content=f"text {index}")


async def read(source, limit=100):
    pages = []
    async for partition in source.list_partitions():
        cursor = None
        while True:
            page = await source.read_page(partition, cursor, limit)
            pages.append(page)
            cursor = page.next_cursor
            if cursor is None:
                break
    return pages


async def test_source_passes_for_the_store_it_was_made_from(make, write):
    await write(plain(0))
    source = make()
    await source.connect(Role.SOURCE)
    assert replace(source.store(), place="") == MEM0
    (record,) = (await read(source))[0].records
    assert key_for(record, source.store()) == key_for(plain(0), MEM0)
    await source.aclose()


async def test_archive_of_unknown_origin_is_its_own_store(make, write):
    await write(plain(0), origin=None)
    source, target = make(), make()
    await source.connect(Role.SOURCE)
    await target.connect(Role.TARGET)
    assert source.store() == target.store()
    assert source.store().provider == "archive"
    await source.aclose()
    await target.aclose()


async def test_archive_of_several_stores_needs_a_choice(make, write):
    await write(plain(0), origin=MEM0)
    await write(plain(0), plain(1), origin=ZEP)
    with pytest.raises(ConfigError, match='origin = "mem0-oss:memories", origin = "zep:project"'):
        await make().connect(Role.SOURCE)
    with pytest.raises(ConfigError, match="nothing from 'letta:x'"):
        await make(origin="letta:x").connect(Role.SOURCE)
    for origin, count in ((MEM0, 1), (ZEP, 2)):
        source = make(origin=f"{origin.provider}:{origin.namespace}")
        await source.connect(Role.SOURCE)
        assert replace(source.store(), place="") == origin
        assert sum(len(page.records) for page in await read(source)) == count == await source.count()
        await source.aclose()


async def test_identity_of_a_new_archive_is_fixed_when_it_is_planned(make):
    plan, run = make(), make()
    await plan.connect(Role.TARGET)
    await run.connect(Role.TARGET)
    assert plan.store() == run.store()


async def test_finished_archive_reads_without_warnings_and_an_open_one_with(make, write):
    await write(plain(0), finish=False)
    source = make()
    assert "never finished" in (await source.connect(Role.SOURCE)).warnings[0]
    await source.aclose()
    await write(plain(0))
    assert (await source.connect(Role.SOURCE)).warnings == ()
    await source.aclose()


async def test_receipts_tell_new_changed_and_present_apart(make, write):
    changed = MemoryRecord(id="id-1", content="text 1", versions=(Version(content="older"),))
    await write(plain(0), plain(1))
    receipts = await write(plain(0), changed, plain(2))
    assert [receipt.outcome for receipt in receipts] == [Outcome.PRESENT, Outcome.UPDATED, Outcome.CREATED]
    assert [receipt.target_ids for receipt in receipts] == [
        ("mx:mem0-oss:memories:id-0",),
        ("mx:mem0-oss:memories:id-1",),
        ("mx:mem0-oss:memories:id-2",),
    ]


async def test_writers_side_by_side_share_syncs_and_lose_nothing(make, monkeypatch):
    target = make()
    await target.connect(Role.TARGET)
    await target.begin(MEM0)
    appends = []
    original = ArchiveWriter.append_records

    def counted(self, batch):
        appends.append(len(batch))
        return original(self, batch)

    monkeypatch.setattr(ArchiveWriter, "append_records", counted)
    documents = [target.prepare(plain(index), key_for(plain(index)), {}) for index in range(320)]
    batches = [documents[start : start + 10] for start in range(0, 320, 10)]
    answers = await asyncio.gather(*(target.write(batch) for batch in batches))
    await target.finish()
    await target.aclose()
    assert all(receipt.outcome is Outcome.CREATED for receipts in answers for receipt in receipts)
    assert [r.target_ids[0] for receipts in answers for r in receipts] == [d.key for d in documents]
    assert sum(appends) == 320
    assert len(appends) < len(batches)


async def test_cancelled_writer_does_not_take_the_others_along(make):
    target = make()
    await target.connect(Role.TARGET)
    await target.begin(MEM0)
    documents = [target.prepare(plain(index), key_for(plain(index)), {}) for index in range(2)]
    given_up = asyncio.create_task(target.write(documents[:1]))
    kept = asyncio.create_task(target.write(documents[1:]))
    await asyncio.sleep(0)
    given_up.cancel()
    assert [receipt.outcome for receipt in await kept] == [Outcome.CREATED]
    await target.aclose()


async def test_failing_disk_reaches_every_writer(make, monkeypatch):
    target = make()
    await target.connect(Role.TARGET)
    await target.begin(MEM0)

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("memxfer.archive.part.os.fsync", fail)
    documents = [target.prepare(plain(index), key_for(plain(index)), {}) for index in range(2)]
    results = await asyncio.gather(
        *(target.write([document]) for document in documents), return_exceptions=True
    )
    assert [type(result) for result in results] == [FatalError, FatalError]
    monkeypatch.undo()
    await target.aclose()


async def test_line_that_is_no_record_costs_itself_alone(tmp_path, make):
    full = b'{"key": "k2", "record": {"id": "broken-id", "content": 7}}'
    lines = [
        b"not json",
        full,
        b'{"key":"k3","record":{"id":"n","content":"naive","created_at":"2024-01-01T00:00:00"}}',
    ]
    with ArchiveWriter(tmp_path / "backup", now=make().clock.now) as writer:
        writer.append(
            [("k0", encode_line("k0", plain(0))), *((f"k{n}", line) for n, line in enumerate(lines, 1))]
        )
        writer.finish()
    source = make()
    await source.connect(Role.SOURCE)
    (page,) = await read(source)
    assert [record.content for record in page.records] == ["text 0"]
    assert [defect.id for defect in page.defects] == ["part-00001, line 2", "broken-id", "n"]
    assert all("naive" not in str(defect.error) for defect in page.defects)
    await source.aclose()


async def test_deeply_nested_line_is_a_defect(tmp_path, make):
    bomb = (
        b'{"key":"k","record":{"id":"deep","content":"","metadata":{"a":'
        + b"[" * 100_000
        + b"]" * 100_000
        + b"}}}"
    )
    with ArchiveWriter(tmp_path / "backup", now=make().clock.now) as writer:
        writer.append([("k", bomb), ("k0", encode_line("k0", plain(0)))])
        writer.finish()
    source = make()
    await source.connect(Role.SOURCE)
    (page,) = await read(source)
    assert [record.content for record in page.records] == ["text 0"]
    assert len(page.defects) == 1
    await source.aclose()


async def test_record_longer_than_a_line_may_be_is_refused(make, monkeypatch):
    monkeypatch.setattr("memxfer_archive.provider.MAX_LINE", 100)
    target = make()
    await target.connect(Role.TARGET)
    prepared = target.prepare(MemoryRecord(id="1", content="x" * 200), "key", {})
    assert isinstance(prepared, Refused)
    assert prepared.error.code == "too_large"


async def test_pages_of_a_part_come_from_one_stream(make, write, monkeypatch):
    await write(*(plain(index) for index in range(50)))
    opened = []
    original = ArchiveReader.stream

    def counted(self, part, **place):
        opened.append(part.name)
        return original(self, part, **place)

    monkeypatch.setattr(ArchiveReader, "stream", counted)
    source = make()
    await source.connect(Role.SOURCE)
    pages = await read(source, limit=3)
    assert len(pages) == 17
    assert opened == ["part-00001"]
    await source.aclose()


async def test_damaged_page_closes_its_stream(make, write, tmp_path):
    await write(plain(0))
    archive = ArchiveReader(tmp_path / "backup")
    pages = PageReader(archive, archive.parts)
    with pytest.raises(ValueError, match="no part"):
        pages.page("part-00009", None, 5)
    assert pages._streams == {}


RESUME = """
    import asyncio, json, sys
    from memxfer.spi import Role
    from memxfer_archive import ArchiveConfig, ArchiveProvider

    async def main():
        source = ArchiveProvider(ArchiveConfig(provider="archive", path=sys.argv[1]))
        await source.connect(Role.SOURCE)
        (partition,) = [partition async for partition in source.list_partitions()]
        page = await source.read_page(partition, sys.argv[2], 100)
        print(json.dumps([record.id for record in page.records]))
        await source.aclose()

    asyncio.run(main())
"""


async def test_cursor_works_in_another_process(make, write, tmp_path):
    await write(*(plain(index) for index in range(9)))
    source = make()
    await source.connect(Role.SOURCE)
    (partition,) = [partition async for partition in source.list_partitions()]
    page = await source.read_page(partition, None, 4)
    await source.aclose()
    command = [sys.executable, "-c", textwrap.dedent(RESUME), str(tmp_path / "backup"), page.next_cursor]
    output = await asyncio.to_thread(subprocess.check_output, command)
    assert json.loads(output) == [f"id-{index}" for index in range(4, 9)]


@pytest.mark.parametrize("cursor", ["nonsense", "7.0.0", "0.999999.3"])
async def test_cursor_of_another_archive_has_expired(make, write, cursor):
    await write(plain(0))
    source = make()
    await source.connect(Role.SOURCE)
    (partition,) = [partition async for partition in source.list_partitions()]
    with pytest.raises(CursorExpiredError, match="list it again"):
        await source.read_page(partition, cursor, 4)
    await source.aclose()


async def test_deleted_documents_are_not_read(make, write):
    await write(plain(0), plain(1))
    target = make()
    await target.connect(Role.TARGET)
    assert await target.lookup([key_for(plain(0)), "other"]) == {key_for(plain(0)): (key_for(plain(0)),)}
    assert await target.delete([key_for(plain(0)), "other"]) == 1
    await target.finish()
    await target.aclose()
    source = make()
    await source.connect(Role.SOURCE)
    assert [record.id for page in await read(source) for record in page.records] == ["id-1"]
    assert await source.count() == 1
    await source.aclose()


async def test_missing_archive_is_a_config_error(make):
    with pytest.raises(ConfigError, match="no archive at"):
        await make().connect(Role.SOURCE)


async def test_location_on_the_command_line_is_a_folder(tmp_path):
    fields = ArchiveProvider.from_location("./backup")
    assert str(ArchiveConfig(**fields).path) == "backup"
    with pytest.raises(ConfigError, match="names no folder"):
        ArchiveProvider.from_location("")


# -- ids that are not unique --------------------------------------------------------------------


def lodgers(count=10):
    """Two records for each id: of two owners, or of two dates."""
    dates = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2)]
    return [
        MemoryRecord(
            id=f"r{n}",
            content=f"{turn} of r{n}",
            scope=Scope(user=("ann", "bob")[turn] if n % 2 else "ann"),
            created_at=dates[turn],
        )
        for turn in (0, 1)
        for n in range(count)
    ]


async def moved(source, target, folder, job):
    return await migration.migrate(source, target, state_dir=folder, job=job)


@pytest.mark.parametrize("split_by", ["none", "user"])
async def test_two_records_of_one_id_survive_the_way_into_an_archive_and_back(make, tmp_path, split_by):
    there = MemoryStore.named(f"lodging-{split_by}")
    back = MemoryStore.named(f"returned-{split_by}")
    there.seed(lodgers())
    source = MemoryReferenceProvider(
        MemoryConfig(provider="memory", store=there.name, split_by=split_by, max_page=3)
    )
    target = MemoryReferenceProvider(MemoryConfig(provider="memory", store=back.name, client_key="none"))
    try:
        first = await moved(source, make(), tmp_path / "state", "there")
        again = await moved(source, make(), tmp_path / "state", "there-again")
        assert (first.counts.stored, again.counts.present) == (20, 20)
        returned = await moved(make(), target, tmp_path / "state", "back")
        assert returned.counts.stored == 20
        assert sorted(one.content for one in back.records) == sorted(one.content for one in there.records)
    finally:
        MemoryStore.forget(there.name)
        MemoryStore.forget(back.name)


async def test_an_edited_record_takes_the_place_of_its_older_form_and_of_no_other(make, write):
    first, second = lodgers(1)
    await write(first, second)
    edited = msgspec.structs.replace(first, content="edited", updated_at=datetime(2025, 1, 1, tzinfo=UTC))
    [receipt] = await write(edited)
    assert receipt.outcome is Outcome.UPDATED
    source = make()
    await source.connect(Role.SOURCE)
    records = [record for page in await read(source) for record in page.records]
    await source.aclose()
    assert sorted(one.content for one in records) == sorted(["edited", second.content])


async def test_two_of_one_id_are_told_apart_also_without_the_index_and_after_a_deletion(
    make, write, tmp_path
):
    first, second = lodgers(1)
    [[one], [other]] = [await write(record) for record in (first, second)]
    assert (one.outcome, other.outcome) == (Outcome.CREATED, Outcome.CREATED)
    assert one.target_ids == (key_for(first),)
    (tmp_path / "backup" / "index.sqlite").unlink()
    assert [one.outcome for one in await write(second, first)] == [Outcome.PRESENT, Outcome.PRESENT]
    target = make()
    await target.connect(Role.TARGET)
    assert await target.delete(one.target_ids) == 1
    await target.aclose()
    again = await write(second, first)
    assert [one.outcome for one in again] == [Outcome.PRESENT, Outcome.CREATED]
    assert [one.target_ids for one in again] == [other.target_ids, one.target_ids]
    assert ArchiveReader(tmp_path / "backup").count() == 2


async def test_an_archive_of_an_earlier_release_is_written_on_without_doubling(make, write, tmp_path):
    first, second = lodgers(1)
    with ArchiveWriter(tmp_path / "backup", now=lambda: datetime(2026, 1, 1, tzinfo=UTC)) as writer:
        writer.append([(key_for(first), encode_line(key_for(first), first))])
        writer.finish()
    edited = msgspec.structs.replace(first, content="edited")
    outcomes = [one.outcome for one in await write(second, edited)]
    assert outcomes == [Outcome.CREATED, Outcome.UPDATED]
    assert ArchiveReader(tmp_path / "backup").count() == 2
