"""Whole moves, with the engine, to and from the platform."""

from datetime import UTC, datetime, timedelta

import pytest

from memxfer import migration
from memxfer.models import sanitise_record
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore
from tests.pairs.population import population

pytestmark = pytest.mark.anyio


@pytest.fixture
def source(record):
    """Give a source in memory of twenty records."""
    store = MemoryStore.named("mem0-platform-source")
    store.seed(record(number) for number in range(20))
    yield MemoryReferenceProvider(MemoryConfig(provider="memory", store="mem0-platform-source"))
    MemoryStore.forget("mem0-platform-source")


OPTIONS = migration.Options(accept_loss=("all",))


@pytest.mark.parametrize(
    "action",
    [
        {"close": "reset", "when": "after"},
        {"close": "eof", "when": "after"},
        {"status": 500, "when": "after"},
        {"cut": 20, "when": "after"},
        {"status": 502},
        {"preset": "rate_limited", "retry_after": "decimal", "retry_after_seconds": 0.01},
    ],
    ids=str,
)
@pytest.mark.parametrize("collapse", ["existing_id", "off"])
async def test_a_move_through_faults_stores_each_record_once(platform, source, tmp_path, action, collapse):
    platform.configure(collapse=collapse)
    platform.break_with(match={"every": 3, "times": 5}, **action)
    target = platform.provider(retry={"backoff": 0.01, "backoff_max": 0.02})
    result = await migration.migrate(source, target, state_dir=tmp_path, options=OPTIONS)
    assert result.counts.uncertain == result.counts.failed == 0
    assert result.counts.stored + result.counts.present == 20
    assert platform.emulator.faults.report()[0]["fired"] == 5
    assert platform.texts() == sorted(f"Ann likes tea number {number}." for number in range(20))
    assert {one["times_received"] for one in platform.truth()} == {1}


@pytest.mark.parametrize("collapse", ["existing_id", "off"])
async def test_a_plan_counts_what_the_run_then_does(platform, tmp_path, collapse):
    platform.configure(collapse=collapse)
    store = MemoryStore.named("mem0-platform-odd")
    store.seed(sanitise_record(one) for one in population(150))
    source = MemoryReferenceProvider(MemoryConfig(provider="memory", store="mem0-platform-odd"))
    target = platform.provider(unscoped="skip", undated="skip", widening="allow")
    try:
        plan = await migration.plan(source, target, options=OPTIONS)
        result = await migration.migrate(source, target, plan=plan, state_dir=tmp_path, options=OPTIONS)
    finally:
        MemoryStore.forget("mem0-platform-odd")
    counts, forecast = result.counts, plan.forecast
    assert forecast.listed == counts.listed == 150
    assert forecast.documents == counts.stored + counts.present
    assert sum(forecast.skipped.values()) == counts.skipped > 0
    assert sum(forecast.rejected.values()) == counts.rejected > 0
    assert counts.failed == counts.uncertain == counts.gone == 0
    assert counts.present == (1 if collapse == "existing_id" else 0)
    assert len(platform.truth()) == counts.stored


async def test_a_move_there_and_back_keeps_what_the_platform_has_fields_for(platform, source, tmp_path):
    await migration.migrate(source, platform.provider(), state_dir=tmp_path / "there", options=OPTIONS)
    back = MemoryReferenceProvider(MemoryConfig(provider="memory", store="mem0-platform-back"))
    try:
        result = await migration.migrate(
            platform.provider(), back, state_dir=tmp_path / "back", options=OPTIONS
        )
        assert result.counts.stored == result.counts.listed == 20
        found = {row.record.content: row.record for row in MemoryStore.named("mem0-platform-back").rows()}
    finally:
        MemoryStore.forget("mem0-platform-back")
    for row in MemoryStore.named("mem0-platform-source").rows():
        one = found[row.record.content]
        assert (one.scope, one.created_at, one.metadata) == (
            row.record.scope,
            row.record.created_at,
            row.record.metadata,
        )


async def test_a_move_from_a_store_that_drifts_leaves_nothing_out_that_stayed(platform, tmp_path):
    for number in range(60):
        platform.put(number, created_at=datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=number))
    platform.configure(inserts_between_pages=2)
    old = {one["id"] for one in platform.truth()}
    back = MemoryReferenceProvider(MemoryConfig(provider="memory", store="mem0-platform-drift"))
    try:
        source = platform.provider(page_size=10)
        result = await migration.migrate(source, back, state_dir=tmp_path, options=OPTIONS)
        moved = [row.record.id for row in MemoryStore.named("mem0-platform-drift").rows()]
    finally:
        MemoryStore.forget("mem0-platform-drift")
    assert old <= set(moved)
    assert len(moved) == len(set(moved)) == result.counts.stored
