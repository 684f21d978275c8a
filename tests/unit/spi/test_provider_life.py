"""The life of a provider, what authors may leave out, and rows too odd to tell their id."""

import pytest

from memxfer.errors import ConfigError, ProviderError, RecordError, UnsupportedOperationError
from memxfer.models import MemoryRecord
from memxfer.spi import Document, Partition, Refused, Role, Skipped, StoreIdentity, SystemClock
from memxfer.testing import ManualClock

pytestmark = pytest.mark.anyio

ALL = Partition(name="all")
RECORD = MemoryRecord(id="r1", content="text")
STORE = StoreIdentity("other", "main")


def test_a_provider_is_what_its_methods_make_it(opened, source, target):
    roles = [(kind.is_source(), kind.is_target()) for kind in (type(opened), type(source), type(target))]

    assert roles == [(False, False), (True, False), (False, True)]


async def test_connecting_twice_is_connecting(source):
    first = await source.connect(Role.SOURCE)

    assert await source.connect(Role.SOURCE) == first
    assert source.role is Role.SOURCE


async def test_a_closed_provider_is_not_ready_and_closes_twice(source):
    await source.connect(Role.SOURCE)

    await source.aclose()
    await source.aclose()

    with pytest.raises(ProviderError, match=r"not connected as a source; call connect\(Role.SOURCE\) first"):
        await source.read_page(ALL, None, 1)


async def test_a_target_is_told_where_from_and_when_all_is_durable(target):
    await target.connect(Role.TARGET)

    await target.begin(STORE)
    await target.finish()

    assert (target.begun, target.finished) == ((STORE,), 1)


async def test_begin_and_finish_are_optional_for_authors(source, target):
    class Plain(type(target)):
        _begin = type(source)._begin
        _finish = type(source)._finish

    plain = Plain(target.config)
    await plain.connect(Role.TARGET)
    await plain.begin(STORE)
    await plain.finish()

    assert (plain.begun, plain.finished) == ((), 0)


async def test_what_an_author_left_out_is_unsupported(opened):
    with pytest.raises(UnsupportedOperationError, match="tiny cannot be read from"):
        await opened._read_page(ALL, None, 1)
    with pytest.raises(UnsupportedOperationError, match="tiny cannot be read from"):
        opened._decode({}, ALL)
    with pytest.raises(UnsupportedOperationError, match="tiny cannot be written to"):
        opened._prepare(RECORD, "k", {})
    with pytest.raises(UnsupportedOperationError, match="tiny cannot be written to"):
        await opened._write([])
    assert opened._row_id({}) is None


def test_a_location_is_refused_with_the_block_to_write(opened):
    with pytest.raises(ConfigError, match=r"tiny:x names no connection.*\[connections.NAME\]"):
        type(opened).from_location("x")


def test_the_clock_is_the_one_given_and_else_the_machines(source):
    clock = ManualClock()

    assert type(source)(source.config, clock=clock).clock is clock
    assert isinstance(source.clock, SystemClock)


async def test_a_store_that_splits_gives_its_own_partitions(source):
    class Split(type(source)):
        async def partitions(self):
            for name in ("a", "b"):
                yield Partition(name=name)

    split = Split(source.config)
    await split.connect(Role.SOURCE)

    assert [partition.name async for partition in split.list_partitions()] == ["a", "b"]


@pytest.mark.parametrize("error", [IndexError("private"), ZeroDivisionError("private")])
async def test_any_way_to_stumble_over_a_row_costs_that_row_alone(source, error):
    source.rows = ({"id": "1", "content": "a"}, error, "marker", {"id": "2", "content": "b"})
    await source.connect(Role.SOURCE)

    page = await source.read_page(ALL, None, 10)

    assert [record.id for record in page.records] == ["1", "2"]
    assert (page.next_cursor, page.total, len(page.ignored), len(page.defects)) == ("next", 9, 1, 1)
    assert "private" not in str(page.defects[0].error)


async def test_a_row_too_odd_to_tell_its_id_is_a_defect_without_one(source):
    source.rows = ({"id": "7"}, {"content": "no id"}, 5)
    await source.connect(Role.SOURCE)

    page = await source.read_page(ALL, None, 10)

    assert [defect.id for defect in page.defects] == ["7", None, None]


async def test_an_error_that_is_not_about_the_row_is_not_hidden(source):
    source.rows = (ProviderError("everything is wrong"),)
    await source.connect(Role.SOURCE)

    with pytest.raises(ProviderError, match="everything is wrong"):
        await source.read_page(ALL, None, 10)


@pytest.mark.parametrize(
    "prepared",
    [
        Document(key="k", record_id="r", body=None, size=1, scope="user"),
        Skipped("unscoped"),
        Refused(RecordError("no"), remedies=("x = 1",)),
    ],
)
async def test_what_an_author_decided_is_left_as_it_is(target, prepared):
    target._prepare = lambda record, key, envelope: prepared
    await target.connect(Role.TARGET)

    assert target.prepare(RECORD, "k", {}) is prepared


@pytest.mark.parametrize(("missing", "documents"), [(1, 1), (1, 3), (-1, 2)])
async def test_receipts_too_few_or_too_many_are_an_error_not_a_guess(target, missing, documents):
    await target.connect(Role.TARGET)
    target.missing = missing
    batch = [target.prepare(RECORD, "k", {})] * documents

    with pytest.raises(ProviderError, match=rf"{documents - missing}\b.*\b{documents}\b"):
        await target.write(batch)
