"""Sources that lie, and stores of a shape nobody expects: the report stays right and bounded."""

import tracemalloc

import pytest

from memxfer import migration
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import Capabilities, Channel, Dimension, Level
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore
from tests.pairs.conftest import TARGETS
from tests.pairs.population import ODD, record

MIB = 2**20


def reading(kind=MemoryReferenceProvider, **settings):
    return kind(MemoryConfig(provider="memory", store="full", **settings))


def lines(report, dimension):
    return [line for line in report.dimensions if line.dimension == dimension]


@pytest.mark.anyio
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("target", [target for target in TARGETS if not target.startswith("mem0")])
async def test_one_odd_memory_alone_is_judged_without_a_crash(pairs, name, target):
    source = await pairs.source("memory", [record(name, 0, **ODD[name])])

    report = await migration.diff(source, pairs.target(target))

    assert report.scanned == 1
    assert not any(line.contradiction for line in report.dimensions)


@pytest.mark.anyio
async def test_a_memory_of_ten_megabytes_blocks_where_it_is_too_large_and_passes_elsewhere(pairs):
    big = record("big", 0, content="word " * (2 * MIB))
    source = await pairs.source("archive", [big, record("small", 1)])

    blocked = await migration.diff(source, pairs.target("synap"))
    passed = await migration.diff(source, pairs.target("archive"))

    (line,) = [line for line in lines(blocked, "content") if line.blocking]
    assert (line.records, passed.blocking) == (1, False)


class Hiding(MemoryReferenceProvider):
    """Counts rows that it never gives."""

    async def count(self) -> int:
        return await super().count() + 7


@pytest.mark.anyio
async def test_a_source_that_hides_rows_is_found_out_by_its_own_count():
    MemoryStore.named("full").seed([record("plain", 0)])

    report = await migration.diff(reading(Hiding), MemoryReferenceProvider(MemoryConfig(provider="memory")))

    (line,) = lines(report, "listing")
    assert (line.verdict, line.records) == ("at_risk", 7)
    assert "7 more rows than it gave" in line.consequence
    MemoryStore.forget("full")


class Denying(MemoryReferenceProvider):
    """Gives tags, and says that it never does."""

    def _capabilities(self) -> Capabilities:
        made = super()._capabilities()
        return made.model_copy(
            update={"dimensions": {**made.dimensions, Dimension.TAGS: Channel(write=Level.NATIVE)}}
        )


@pytest.mark.anyio
async def test_an_adapter_that_declares_less_than_it_gives_is_contradicted():
    MemoryStore.named("full").seed([record("tags", 0, tags=("a",))])

    report = await migration.diff(reading(Denying), MemoryReferenceProvider(MemoryConfig(provider="memory")))

    assert [line.dimension for line in report.dimensions if line.contradiction] == ["tags"]
    MemoryStore.forget("full")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("owners", "most"), [(20_000, 20 * MIB), pytest.param(100_000, 64 * MIB, marks=pytest.mark.slow)]
)
async def test_very_many_owners_with_one_record_each_stay_bounded(pairs, owners, most):
    many = [
        MemoryRecord(id=f"r{n}", content=f"text {n}", scope=Scope(user=f"user {n}")) for n in range(owners)
    ]
    MemoryStore.named("full").seed(many)
    tracemalloc.start()

    plan = await migration.plan(reading(), pairs.target("archive"))

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert plan.forecast is not None
    assert [(one.records, one.owners) for one in plan.forecast.places] == [(owners, owners)]
    assert peak < most
