"""What tests of the engine rely on in the reference provider, beyond the conformance suite."""

import pytest

from memxfer.spi import Axis, Dimension, MemoryRecord, Outcome, Refused, Role, Scope, Skipped, StoreIdentity
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def make(request):
    """Make a provider over the test's own store."""
    name = request.node.nodeid

    def provider(**settings):
        return MemoryReferenceProvider(MemoryConfig(provider="memory", store=name, **settings))

    yield provider
    MemoryStore.forget(name)


def plain(index, user=None):
    return MemoryRecord(id=f"id-{index}", content=f"text {index}", scope=Scope(user=user))


async def test_connections_with_one_name_share_a_store(make):
    make().data.seed([plain(0)])
    assert make().data.records == [plain(0)]
    assert MemoryReferenceProvider(MemoryConfig(provider="memory", store="another")).data.records == []


async def test_forgotten_store_is_empty_next_time(make):
    make().data.seed([plain(0)])
    MemoryStore.forget(make().config.store)
    assert len(make().data) == 0


async def test_attempts_count_every_arrival_of_a_key(make):
    target = make(refuses=frozenset({"id-1"}))
    await target.connect(Role.TARGET)
    documents = [target.prepare(plain(index), f"key-{index}", {"a": 1}) for index in range(2)]
    await target.write(documents)
    await target.write(documents[:1])
    assert target.data.attempts == {"key-0": 2, "key-1": 1}
    assert target.data.keys == ["key-0"]
    assert [(row.writes, row.envelope) for row in target.data.rows()] == [(1, {"a": 1})]


async def test_job_leaves_its_marks(make):
    target = make()
    await target.connect(Role.TARGET)
    await target.begin(StoreIdentity("mem0", "x"))
    await target.finish()
    assert target.data.origins == [("mem0", "x")]
    assert target.data.finished == 1


async def test_record_that_changes_its_owner_moves_to_another_slice(make):
    target = make(split_by="user")
    await target.connect(Role.TARGET)
    await target.write([target.prepare(plain(0, "ann"), "key", {})])
    await target.write([target.prepare(plain(0, "bob"), "key", {})])
    await target.write([target.prepare(plain(1), "other", {})])
    assert target.data.parts() == ["user:bob", "shared"]
    assert [row.record.scope.user for row in target.data.rows("user:bob")] == ["bob"]
    assert list(target.data.rows("user:ann")) == []


@pytest.mark.parametrize(("unscoped", "kind"), [("undecided", Refused), ("skip", Skipped)])
async def test_record_without_a_required_owner_needs_a_decision(make, unscoped, kind):
    target = make(required_axes=frozenset({Axis.USER}), unscoped=unscoped)
    await target.connect(Role.TARGET)
    prepared = target.prepare(plain(0), "key", {})
    assert isinstance(prepared, kind)
    if isinstance(prepared, Refused):
        assert prepared.remedies == ('unscoped = "skip"',)
        assert prepared.error.code == "unscoped"


async def test_removed_record_is_gone_from_the_listing(make):
    source = make()
    source.data.seed(plain(index) for index in range(3))
    source.data.remove("id-1")
    await source.connect(Role.SOURCE)
    (partition,) = [partition async for partition in source.list_partitions()]
    page = await source.read_page(partition, None, 10)
    assert [record.id for record in page.records] == ["id-0", "id-2"]
    assert await source.get("id-1") is None
    assert await source.count() == 2


async def test_append_stores_every_time(make):
    target = make(client_key="append")
    await target.connect(Role.TARGET)
    document = target.prepare(plain(0), "key", {})
    for _ in range(3):
        (receipt,) = await target.write([document])
        assert receipt.outcome is Outcome.CREATED
    assert target.data.keys == ["key"] * 3
    assert len((await target.lookup(["key"]))["key"]) == 3


async def test_content_cannot_be_dropped():
    with pytest.raises(ValueError, match="content: every store keeps"):
        MemoryConfig(provider="memory", drops=frozenset({Dimension.CONTENT}))


async def test_location_on_the_command_line_is_a_store():
    assert MemoryConfig(**MemoryReferenceProvider.from_location("x")).store == "x"
    assert MemoryConfig(**MemoryReferenceProvider.from_location("")).store == "default"
