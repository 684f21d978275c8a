"""What the template methods of a provider promise, whatever its author does."""

import msgspec
import pytest

from memxfer.errors import ProviderError, RecordError, UnsupportedOperationError
from memxfer.models import MemoryRecord
from memxfer.spi import Ignored, Partition, RawPage, Refused, Role, StoreIdentity
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def make(request):
    store = MemoryStore.named(request.node.nodeid)

    async def made(kind=MemoryReferenceProvider, role=Role.SOURCE):
        provider = kind(MemoryConfig(provider="memory", store=store.name))
        await provider.connect(role)
        return provider

    made.store = store
    yield made
    MemoryStore.forget(store.name)


def decoding(function):
    class Decoding(MemoryReferenceProvider):
        async def _read_page(self, partition, cursor, limit):
            return RawPage(["a", "b", "c"], None, total=3)

        def _decode(self, row, partition):
            return function(row)

        def _row_id(self, row):
            return f"id-{row}"

    return Decoding


@pytest.mark.parametrize(
    "error",
    [
        ValueError("text of the memory"),
        TypeError("text of the memory"),
        KeyError("text of the memory"),
        AttributeError("text of the memory"),
        OverflowError("text of the memory"),
        RecursionError("text of the memory"),
        msgspec.ValidationError("text of the memory"),
    ],
)
async def test_a_row_that_does_not_decode_costs_only_itself_and_is_never_quoted(make, error):
    def decode(row):
        if row == "b":
            raise error
        return MemoryRecord(id=row, content="x")

    page = await (await make(decoding(decode))).read_page(Partition("all"), None, 10)
    assert [record.id for record in page.records] == ["a", "c"]
    [defect] = page.defects
    assert defect.id == "id-b"
    assert defect.error.code == "unreadable"
    assert type(error).__name__ in str(defect.error)
    assert "text of the memory" not in str(defect.error)


async def test_the_authors_own_refusal_of_a_row_is_kept(make):
    def decode(row):
        raise RecordError("encrypted", code="encrypted")

    page = await (await make(decoding(decode))).read_page(Partition("all"), None, 10)
    assert {defect.error.code for defect in page.defects} == {"encrypted"}


async def test_rows_that_are_no_memories_are_given_each_with_its_reason_and_id(make):
    page = await (await make(decoding(lambda row: None))).read_page(Partition("all"), None, 10)
    assert (page.records, page.total) == ([], 3)
    assert page.ignored == [Ignored("not_a_memory", f"id-{row}") for row in "abc"]

    telling = decoding(lambda row: Ignored("marker", f"own-{row}", harmless=row == "b"))
    page = await (await make(telling)).read_page(Partition("all"), None, 10)
    assert [(row.reason, row.id, row.harmless) for row in page.ignored] == [
        ("marker", "own-a", False),
        ("marker", "own-b", True),
        ("marker", "own-c", False),
    ]


@pytest.mark.parametrize("reason", ["", "Text of the memory", "x" * 61, "a-b", "é", "a\n"])
async def test_a_reason_that_is_no_word_is_not_passed_on(make, reason):
    page = await (await make(decoding(lambda row: Ignored(reason)))).read_page(Partition("all"), None, 10)
    assert {row.reason for row in page.ignored} == {"not_a_memory"}


async def test_reasons_made_from_what_rows_hold_have_an_end(make):
    numbers = iter(range(1000))
    provider = await make(decoding(lambda row: Ignored(f"r_{next(numbers)}")))
    pages = [await provider.read_page(Partition("all"), None, 10) for _ in range(100)]
    reasons = {row.reason for page in pages for row in page.ignored}
    assert len(reasons) == 51
    assert "not_a_memory" in reasons


async def test_the_id_of_an_ignored_row_can_be_stored_and_shown(make):
    page = await (await make(decoding(lambda row: Ignored("marker", "\ud800" + "x" * 999)))).read_page(
        Partition("all"), None, 10
    )
    assert {row.id for row in page.ignored} == {("\\ud800" + "x" * 999)[:200]}


async def test_records_come_in_a_form_that_json_can_carry(make):
    provider = await make(decoding(lambda row: MemoryRecord(id=row, content="\ud800")))
    page = await provider.read_page(Partition("all"), None, 10)
    assert [record.content for record in page.records] == ["\\ud800"] * 3
    assert page.records[0].sanitised == ("content",)


async def test_a_record_the_author_refuses_is_a_value_and_no_exception(make):
    class Refusing(MemoryReferenceProvider):
        def _prepare(self, record, key, envelope):
            raise RecordError("never", code="odd")

    prepared = (await make(Refusing, Role.TARGET)).prepare(MemoryRecord(id="a", content="x"), "k", {})
    assert isinstance(prepared, Refused)
    assert prepared.error.code == "odd"


async def test_too_few_receipts_are_a_bug_of_the_provider(make):
    class Losing(MemoryReferenceProvider):
        async def _write(self, batch):
            return []

    provider = await make(Losing, Role.TARGET)
    document = provider.prepare(MemoryRecord(id="a", content="x"), "k", {})
    with pytest.raises(ProviderError, match="0 receipts for 1 documents"):
        await provider.write([document])


async def test_nothing_works_before_connect_or_in_the_other_role(make):
    provider = await make()
    record = MemoryRecord(id="a", content="x")
    with pytest.raises(ProviderError, match="connect"):
        provider.prepare(record, "k", {})
    with pytest.raises(ProviderError, match="connect"):
        await provider.write([])
    with pytest.raises(ProviderError, match="connect"):
        await provider.begin(StoreIdentity("p", "n"))
    with pytest.raises(ProviderError, match="connect"):
        await provider.finish()
    await provider.aclose()
    await provider.aclose()
    with pytest.raises(ProviderError, match="connect"):
        await provider.read_page(Partition("all"), None, 10)
    with pytest.raises(ProviderError, match="connect"):
        _ = [partition async for partition in provider.list_partitions()]


async def test_a_one_way_provider_says_so_when_it_is_asked_for_the_other_way(make):
    class SourceOnly(MemoryReferenceProvider):
        _write = MemoryReferenceProvider.__mro__[1]._write

    class TargetOnly(MemoryReferenceProvider):
        _read_page = MemoryReferenceProvider.__mro__[1]._read_page

    assert (SourceOnly.is_source(), SourceOnly.is_target()) == (True, False)
    assert (TargetOnly.is_source(), TargetOnly.is_target()) == (False, True)
    with pytest.raises(UnsupportedOperationError, match="source only"):
        await make(SourceOnly, Role.TARGET)
    with pytest.raises(UnsupportedOperationError, match="target only"):
        await make(TargetOnly, Role.SOURCE)


async def test_a_store_that_does_not_split_is_one_partition(make):
    class Whole(MemoryReferenceProvider):
        partitions = None

    provider = await make(Whole)
    assert [partition.name async for partition in provider.list_partitions()] == ["all"]
