"""Facts with validity: out of Zep, through an archive, into Graphiti; and into Synap."""

from datetime import UTC, datetime, timedelta

import pytest

from memxfer import migration
from memxfer.emulation import serve_in_thread
from memxfer_archive import ArchiveConfig, ArchiveProvider
from memxfer_graphiti import GraphitiConfig, GraphitiProvider
from memxfer_graphiti.sdk import import_sdk
from memxfer_synap import SynapConfig, SynapProvider
from memxfer_synap.emulator import EMULATOR_API_KEY, SynapEmulator
from memxfer_zep import ZepConfig, ZepProvider
from memxfer_zep.emulator import EMULATOR_API_KEY as ZEP_KEY
from memxfer_zep.emulator import ZepEmulator

COUNTS = [600, pytest.param(5_000, marks=pytest.mark.slow)]
BEGAN = datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
TIMES = ("valid_at", "invalid_at", "created_at", "expired_at")
ACCEPT = migration.Options(accept_loss=("all",))


@pytest.fixture
def anyio_backend():
    return "asyncio"


def fact(number, graph):
    """A fact with times of its own, to the microsecond; every fifth has ended, every tenth is superseded."""
    at = BEGAN + timedelta(minutes=number, microseconds=number)
    row = {
        "fact": f"fact number {number}",
        "graph_uuid": graph,
        "name": "LIKES",
        "source_node_name": f"person {number % 50}",
        "target_node_name": f"thing {number % 70}",
        "valid_at": at,
        "created_at": at + timedelta(days=1, microseconds=3),
    }
    if number % 5 == 0:
        row["invalid_at"] = at + timedelta(days=30, microseconds=5)
    if number % 10 == 0:
        row["expired_at"] = at + timedelta(days=31, microseconds=7)
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


@pytest.fixture(params=COUNTS)
def count(request):
    return request.param


@pytest.fixture
def zep(count):
    emulator = ZepEmulator()
    with serve_in_thread(emulator) as server:
        graphs = []
        for name in ("ann@example.org", "bob/b", "cy"):
            [user] = emulator.seed("user", {"user_id": name})
            graphs.append(emulator.store.get(ZEP_KEY, "user", user)["graph_uuid"])
        emulator.seed("edge", *(fact(number, graphs[number % 3]) for number in range(count)))
        yield ZepProvider(ZepConfig(provider="zep", api_key=ZEP_KEY, base_url=server.base_url))
    emulator.close()


def times_in(path):
    """The four times of each fact, as Kuzu has them."""
    kuzu = import_sdk("kuzu")
    with kuzu.Database(path) as database, kuzu.Connection(database) as connection:
        rows = connection.execute(
            "MATCH (e:RelatesToNode_) RETURN e.fact, e.valid_at, e.invalid_at, e.created_at, e.expired_at"
        )
        return [(text, *(at and at.replace(tzinfo=UTC) for at in times)) for text, *times in rows]


def written(row):
    return tuple(datetime.fromisoformat(row[name]) if name in row else None for name in TIMES)


@pytest.mark.anyio
async def test_all_four_times_of_each_fact_arrive_to_the_microsecond(zep, count, tmp_path):
    def archive():
        return ArchiveProvider(ArchiveConfig(provider="archive", path=tmp_path / "backup"))

    graph = GraphitiConfig(provider="graphiti", path=tmp_path / "graph.kuzu", buffer_pool_mb=64)
    first = await migration.migrate(zep, archive(), state_dir=tmp_path / "state", options=ACCEPT)
    second = await migration.migrate(
        archive(), GraphitiProvider(graph), state_dir=tmp_path / "state", options=ACCEPT
    )

    assert (first.status, first.counts.stored) == ("completed", count)
    assert (second.status, second.counts.stored) == ("completed", count)
    found = times_in(tmp_path / "graph.kuzu")
    assert len(found) == count
    expected = {row["fact"]: written(row) for row in (fact(number, "") for number in range(count))}
    assert {text: tuple(times) for text, *times in found} == expected


@pytest.mark.anyio
@pytest.mark.parametrize("current_only", [False, True])
async def test_into_synap_facts_that_have_ended_are_counted_and_left_out_by_policy(
    zep, count, tmp_path, current_only
):
    ended = count // 5
    moved = count - ended if current_only else count
    source = ZepProvider(zep.config.model_copy(update={"current_only": current_only}))
    emulator = SynapEmulator()
    with serve_in_thread(emulator) as server:
        settings = {"api_key": EMULATOR_API_KEY, "base_url": server.base_url, "customer_id": "acme"}
        target = SynapProvider(SynapConfig(provider="synap", transport="http", **settings))
        result = await migration.migrate(source, target, state_dir=tmp_path / "state", options=ACCEPT)
        documents = sum(one["times_stored"] for one in server.admin.documents(brief=True))
    emulator.close()

    assert (result.counts.stored, documents) == (moved, moved)
    at_risk = {line.dimension: line.records for line in result.losses if line.verdict == "at_risk"}
    assert at_risk.get("validity") == (None if current_only else ended)
