"""Faults come when the script says so, do what they say, and nothing else changes."""

import pytest

from memxfer.spi import (
    AmbiguousError,
    AuthError,
    BatchRefusedError,
    CursorExpiredError,
    MemoryProvider,
    MemoryRecord,
    Outcome,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    Role,
    SupportsCount,
    SupportsGet,
    SupportsLookup,
    SupportsPartitions,
    UnavailableError,
)
from memxfer.testing import Fault, FaultKind, FaultScript, FaultyProvider, ManualClock, SimulatedCrashError
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

pytestmark = pytest.mark.anyio

ALL = "all"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(request):
    name = request.node.nodeid
    yield MemoryStore.named(name)
    MemoryStore.forget(name)


@pytest.fixture
def make(store, clock):
    def provider(*faults, **options):
        config = MemoryConfig(provider="memory", store=store.name)
        return FaultyProvider(MemoryReferenceProvider(config, clock=clock), faults, **options)

    return provider


@pytest.fixture
def source(make, store):
    """Open a source of ten records with faults in its pages."""
    store.seed(MemoryRecord(id=f"id-{index}", content="x") for index in range(10))

    async def opened(*kinds, **when):
        provider = make(*(Fault(kind, on="read_page", **when) for kind in kinds))
        await provider.connect(Role.SOURCE)
        return provider

    return opened


@pytest.fixture
def target(make):
    """Open a target with faults in its writes, and three documents for it."""

    async def opened(*kinds, **when):
        provider = make(*(Fault(kind, **when) for kind in kinds))
        await provider.connect(Role.TARGET)
        records = [MemoryRecord(id=f"id-{index}", content="x") for index in range(3)]
        return provider, [provider.prepare(record, f"key-{record.id}", {}) for record in records]

    return opened


async def page_of(provider, cursor=None, limit=4):
    (partition,) = [partition async for partition in provider.list_partitions()]
    return await provider.read_page(partition, cursor, limit)


def ids(page):
    return [record.id for record in page.records]


async def test_wrapper_looks_like_what_it_wraps(make):
    provider = make()
    inner = provider.inner
    assert isinstance(provider, MemoryProvider)
    assert (provider.name, provider.config_model) == (inner.name, inner.config_model)
    assert provider.is_source()
    assert provider.is_target()
    for protocol in (SupportsCount, SupportsGet, SupportsLookup, SupportsPartitions):
        assert isinstance(provider, protocol)
    await provider.connect(Role.SOURCE)
    assert provider.capabilities() == inner.capabilities()
    assert provider.store() == inner.store()
    await provider.aclose()
    assert inner.role is None


async def test_wrapper_of_a_target_is_no_source():
    class TargetAlone(MemoryReferenceProvider):
        _read_page = MemoryProvider._read_page
        lookup = None

    provider = FaultyProvider(TargetAlone(MemoryConfig(provider="memory")))
    assert not provider.is_source()
    assert provider.is_target()


async def test_operations_can_be_hidden(make):
    provider = make(hidden={"lookup", "get"})
    assert not isinstance(provider, SupportsLookup)
    assert not isinstance(provider, SupportsGet)
    assert isinstance(provider, SupportsCount)
    with pytest.raises(ValueError, match="cannot hide write"):
        make(hidden={"write"})


async def test_without_faults_nothing_is_changed(source, target, store):
    provider = await source()
    page = await page_of(provider)
    assert ids(page) == ["id-0", "id-1", "id-2", "id-3"]
    assert ids(await page_of(provider, page.next_cursor)) == ["id-4", "id-5", "id-6", "id-7"]
    writer, documents = await target()
    assert [receipt.outcome for receipt in await writer.write(documents)] == [Outcome.CREATED] * 3


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.RATE_LIMITED, RateLimitedError),
        (FaultKind.UNAVAILABLE, UnavailableError),
        (FaultKind.AUTH, AuthError),
        (FaultKind.QUOTA, QuotaExceededError),
        (FaultKind.BATCH_REFUSED, BatchRefusedError),
        (FaultKind.CRASH_BEFORE, SimulatedCrashError),
    ],
)
async def test_refused_write_stores_nothing(target, store, kind, error):
    provider, documents = await target(kind, calls=(1,))
    with pytest.raises(error):
        await provider.write(documents)
    assert len(store) == 0
    await provider.write(documents)
    assert len(store) == 3


async def test_rate_limit_says_how_long(target):
    provider, documents = await target(FaultKind.RATE_LIMITED, retry_after=7.5)
    with pytest.raises(RateLimitedError) as caught:
        await provider.write(documents)
    assert caught.value.retry_after == 7.5


@pytest.mark.parametrize(("kind", "stored"), [("ambiguous_before", 0), ("ambiguous_after", 3)])
async def test_lost_answer_leaves_the_outcome_unknown(target, store, kind, stored):
    provider, documents = await target(FaultKind(kind))
    receipts = await provider.write(documents)
    assert [receipt.outcome for receipt in receipts] == [Outcome.UNKNOWN] * 3
    assert all(isinstance(receipt.error, AmbiguousError) for receipt in receipts)
    assert len(store) == stored


async def test_crash_after_a_write_has_stored(target, store):
    provider, documents = await target(FaultKind.CRASH_AFTER)
    with pytest.raises(SimulatedCrashError):
        await provider.write(documents)
    assert len(store) == 3


async def test_dropped_receipt_is_an_adapters_bug(target, store):
    provider, documents = await target(FaultKind.DROPPED_RECEIPTS)
    with pytest.raises(ProviderError, match="2 receipts for 3 documents"):
        await provider.write(documents)
    assert len(store) == 3


async def test_one_rejected_document_leaves_the_others(target, store):
    provider, documents = await target(FaultKind.ONE_REJECTED)
    receipts = await provider.write(documents)
    assert [receipt.outcome for receipt in receipts] == [Outcome.REJECTED, Outcome.CREATED, Outcome.CREATED]
    assert store.keys == ["key-id-1", "key-id-2"]
    assert [receipt.outcome for receipt in await provider.write(documents[:1])] == [Outcome.REJECTED]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.DUPLICATED_ROWS, ["id-0", "id-0", "id-1", "id-2", "id-3"]),
        (FaultKind.REORDERED_ROWS, ["id-3", "id-2", "id-1", "id-0"]),
        (FaultKind.VANISHED_ROWS, ["id-0", "id-1", "id-2"]),
        (FaultKind.DEFECT_ROW, ["id-1", "id-2", "id-3"]),
    ],
)
async def test_rows_of_a_page_are_spoilt(source, kind, expected):
    provider = await source(kind)
    page = await page_of(provider)
    assert ids(page) == expected
    assert [defect.id for defect in page.defects] == (["id-0"] if kind is FaultKind.DEFECT_ROW else [])


async def test_repeated_cursor_is_the_one_just_used(source):
    provider = await source(FaultKind.REPEATED_CURSOR)
    first = await page_of(provider)
    second = await page_of(provider, first.next_cursor)
    assert second.next_cursor == first.next_cursor


async def test_empty_page_brings_a_fresh_cursor_and_loses_no_row(source, make):
    provider = await source(FaultKind.EMPTY_PAGE, calls=(1, 2, 4, 5))
    cursor, seen, cursors = None, [], []
    while True:
        page = await page_of(provider, cursor)
        seen += ids(page)
        cursor = page.next_cursor
        cursors.append(cursor)
        if cursor is None:
            break
    assert seen == [f"id-{index}" for index in range(10)]
    assert len(set(cursors)) == len(cursors) == 7
    fresh = make()
    await fresh.connect(Role.SOURCE)
    assert ids(await page_of(fresh, cursors[3])) == ["id-4", "id-5", "id-6", "id-7"]


async def test_expired_cursor_spares_the_first_page(source):
    provider = await source(FaultKind.CURSOR_EXPIRED)
    page = await page_of(provider)
    with pytest.raises(CursorExpiredError):
        await page_of(provider, page.next_cursor)


async def test_totals_lie_by_their_factor(source, make):
    provider = await source(FaultKind.LYING_TOTAL, factor=0.5)
    assert (await page_of(provider)).total == 2
    counter = make(Fault(FaultKind.LYING_TOTAL, on="count", factor=3))
    await counter.connect(Role.SOURCE)
    assert await counter.count() == 30


async def test_slow_call_takes_time_on_the_clock_alone(source, clock):
    provider = await source(FaultKind.SLOW, seconds=90)
    assert ids(await page_of(provider)) == ["id-0", "id-1", "id-2", "id-3"]
    assert clock.monotonic() == 90


async def test_any_operation_can_fail(make):
    provider = make(*(Fault(FaultKind.UNAVAILABLE, on=name) for name in ("connect", "lookup", "finish")))
    with pytest.raises(UnavailableError):
        await provider.connect(Role.TARGET)
    provider.role = Role.TARGET
    await provider.inner.connect(Role.TARGET)
    for call in (provider.lookup(["x"]), provider.finish()):
        with pytest.raises(UnavailableError):
            await call


async def test_faults_hit_the_calls_they_name():
    script = FaultScript([Fault(FaultKind.AUTH, calls=(2,)), Fault(FaultKind.SLOW, every=3)])
    for _ in range(6):
        script.next_call("write")
        script.next_call("read_page")
    assert script.happened == [
        ("write", 2, FaultKind.AUTH),
        ("write", 3, FaultKind.SLOW),
        ("write", 6, FaultKind.SLOW),
    ]
    assert script.calls("write") == 6


async def test_chance_is_the_same_for_the_same_seed():
    def hits(seed):
        script = FaultScript([Fault(FaultKind.UNAVAILABLE, chance=0.3)], seed=seed)
        return [number for number in range(1, 201) if script.next_call("write")]

    assert hits(1) == hits(1)
    assert hits(1) != hits(2)
    assert 30 < len(hits(1)) < 90
