"""Files: missing, foreign, in use by another process; and what opening one costs."""

import asyncio
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from pydantic import ValidationError

from memxfer.spi import ConfigError, ProviderNotInstalledError, Role, Scope, StoreIdentity
from memxfer.testing.conformance.driver import opened, prepare_all, read_records
from memxfer_graphiti import GraphitiConfig, GraphitiProvider, sdk
from memxfer_graphiti.engines.kuzu_file import KuzuFile

pytestmark = pytest.mark.anyio

HOLD = """
import kuzu, sys
database = kuzu.Database(sys.argv[1], read_only=sys.argv[2] == "reads", buffer_pool_size=64 * 2**20)
print("open", flush=True)
sys.stdin.read()
"""


def provider(path, **settings):
    return GraphitiProvider(GraphitiConfig(provider="graphiti", path=path, buffer_pool_mb=64, **settings))


@pytest.fixture
def held(graph):
    """Return a function that has another process open the graph, and that process."""
    running = []

    def hold(how):
        command = [sys.executable, "-c", HOLD, str(graph.path), how]
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(other)
        assert other.stdout.readline() == "open\n"
        return other

    yield hold
    for other in running:
        other.communicate()


@pytest.mark.parametrize(
    ("theirs", "ours"), [("writes", Role.SOURCE), ("writes", Role.TARGET), ("reads", Role.TARGET)]
)
async def test_a_file_that_another_process_has_open_is_refused_and_free_once_it_ends(
    graph, held, theirs, ours
):
    other = held(theirs)
    with pytest.raises(ConfigError, match="open in another process"):
        await graph.make().connect(ours)
    other.communicate()
    async with opened(graph.make, ours):
        pass


async def test_several_processes_may_read(graph, held):
    held("reads")
    assert await graph.read() == []


async def test_a_missing_source_is_an_error_and_is_not_made(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        await provider(tmp_path / "none.kuzu").connect(Role.SOURCE)
    assert list(tmp_path.iterdir()) == []


async def test_a_missing_target_is_made_with_graphiti_s_tables_and_not_before_a_job_begins(tmp_path):
    path = tmp_path / "new.kuzu"
    async with opened(lambda: provider(path), Role.TARGET) as target:
        assert await target.lookup(["mx:a"]) == {}
        assert await target.get("a") is None
        assert (await target.count(), await target.delete(["a"])) == (0, 0)
        assert list(tmp_path.iterdir()) == []
        await target.begin(StoreIdentity("memory", "x"))
    async with opened(lambda: provider(path), Role.SOURCE) as source:
        assert await source.count() == 0


async def test_a_target_in_a_folder_that_is_not_there_names_the_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"the folder .*nowhere does not exist"):
        await provider(tmp_path / "nowhere" / "g.kuzu").connect(Role.TARGET)


@pytest.mark.parametrize("role", Role)
async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, role):
    path = tmp_path / "notes.txt"
    path.write_text("nothing like a database")
    with pytest.raises(ConfigError, match="not a Kuzu database"):
        await provider(path).connect(role)
    assert path.read_text() == "nothing like a database"


@pytest.mark.parametrize("role", Role)
async def test_a_folder_is_no_database(tmp_path, role):
    with pytest.raises(ConfigError, match="not a Kuzu database"):
        await provider(tmp_path).connect(role)


@pytest.mark.parametrize("role", Role)
async def test_a_database_that_is_no_graph_of_graphiti_s_is_refused(tmp_path, role):
    kuzu = sdk.import_sdk("kuzu")
    path = tmp_path / "other.kuzu"
    with kuzu.Database(path, buffer_pool_size=64 * 2**20) as database, kuzu.Connection(database) as it:
        it.execute("CREATE NODE TABLE Person (name STRING PRIMARY KEY)")
    with pytest.raises(ConfigError, match="without Graphiti's tables"):
        await provider(path).connect(role)


async def test_connections_to_one_file_share_it_and_the_last_one_closes_it(graph, make_record):
    async with opened(graph.make, Role.SOURCE) as early:
        await graph.write(make_record(1))
        async with opened(graph.make, Role.SOURCE) as late:
            assert len(await read_records(late)) == 1
        assert len(await read_records(early)) == 1
        assert list(KuzuFile._shared) == [graph.path.resolve()]
    assert KuzuFile._shared == {}


async def test_a_file_that_is_opened_while_it_is_closed_is_whole(graph, make_record):
    for number in range(5):
        early, late = graph.make(), graph.make()
        await early.connect(Role.TARGET)
        await early.write(prepare_all(early, [make_record(number)]))
        await asyncio.gather(early.aclose(), late.connect(Role.SOURCE))
        assert len(await read_records(late)) == number + 1
        await late.aclose()
    assert KuzuFile._shared == {}


async def test_a_refused_file_is_given_back(tmp_path):
    with pytest.raises(ConfigError):
        await provider(tmp_path / "none.kuzu").connect(Role.SOURCE)
    assert KuzuFile._shared == {}


async def test_the_namespace_is_the_file_s_name_wherever_it_is(graph):
    async with opened(graph.make, Role.SOURCE) as source:
        assert source.store().namespace == "graph.kuzu"
        assert source.store().place.endswith("/graph.kuzu")
        assert Path(source.store().place).is_absolute()
    async with opened(lambda: graph.make(namespace="prod"), Role.SOURCE) as source:
        assert source.store().namespace == "prod"


async def test_a_group_that_is_not_there_is_named(graph, make_record):
    await graph.write(make_record(1, scope=Scope(user="ann")))
    with pytest.raises(ConfigError, match="'bob' has no facts"):
        await graph.make(groups={"ann", "bob"}).connect(Role.SOURCE)
    assert KuzuFile._shared == {}


async def test_an_error_of_kuzu_s_quotes_no_memory(graph, make_record, monkeypatch, caplog):
    from memxfer_graphiti.engines import kuzu

    monkeypatch.setattr(kuzu, "_SAVE_FACTS", "UNWIND $rows AS r RETURN timestamp(r.fact)")
    (written,) = await graph.write(make_record(content="the locker code is 4170"))
    error = written.receipt.error
    assert "Kuzu refused a query" in str(error)
    assert "4170" not in f"{error}{error.__cause__}{caplog.text}"


def test_a_location_is_a_file():
    settings = GraphitiProvider.from_location("./graph.kuzu")
    assert GraphitiConfig(**settings).path.name == "graph.kuzu"
    with pytest.raises(ConfigError, match="names no file"):
        GraphitiProvider.from_location("")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "needs path"),
        ({"path": ":memory:"}, "needs a file"),
        ({"path": "g.kuzu", "uri": "bolt://h:1"}, "uri is for a server"),
        ({"engine": "neo4j"}, "needs uri"),
        ({"engine": "neo4j", "uri": "bolt://h:1", "path": "g.kuzu"}, "path is for"),
        ({"path": "g.kuzu", "unit": "episodes", "current_only": True}, "current_only is for"),
        ({"path": "g.kuzu", "unit": ["facts", "episodes"]}, "unit"),
        ({"path": "g.kuzu", "groups": {""}}, "none of them empty"),
        ({"path": "g.kuzu", "unscoped": "anybody"}, "unscoped"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings, problem):
    with pytest.raises(ValidationError, match=problem):
        GraphitiConfig(provider="graphiti", **settings)


def test_settings_that_decide_are_part_of_a_plan():
    config = GraphitiConfig(
        provider="graphiti",
        path="g",
        unit="episodes",
        groups={"b", "a"},
        write="fact",
        unscoped="skip",
        group_is="app",
    )
    expected = {"unit": "episodes", "groups": "a, b", "write": "fact", "unscoped": "skip", "group_is": "app"}
    assert config.decisions() == expected


async def test_a_missing_package_names_the_extra(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "kuzu", None)
    with pytest.raises(ProviderNotInstalledError, match=r"memxfer\[graphiti\]"):
        await graph.make().connect(Role.SOURCE)


def test_the_vendors_are_imported_late_without_warnings_dotenv_or_telemetry(tmp_path):
    program = """
import os, sys, warnings
import dotenv.main
dotenv.main.find_dotenv = lambda *args, **options: sys.exit("looked for a .env file")
warnings.simplefilter("error")
import memxfer_graphiti
assert not {"kuzu", "graphiti_core", "neo4j"} & set(sys.modules)
from memxfer_graphiti.sdk import import_sdk
import_sdk("graphiti_core.driver.kuzu_driver")
assert os.environ["GRAPHITI_TELEMETRY_ENABLED"] == "false"
assert "PYTHON_DOTENV_DISABLED" not in os.environ
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_importing_changes_no_filter():
    before = list(warnings.filters)
    sdk.import_sdk("graphiti_core.driver.kuzu_driver")
    assert warnings.filters == before


KILLED = """
import asyncio, os, pathlib, sys
from memxfer.spi import MemoryRecord, Role, Scope, StoreIdentity
from memxfer.testing.conformance.driver import prepare_all
from memxfer_graphiti import GraphitiConfig, GraphitiProvider
from memxfer_graphiti.engines import kuzu

async def main():
    config = GraphitiConfig(provider="graphiti", path=pathlib.Path(sys.argv[1]), buffer_pool_mb=64)
    target = GraphitiProvider(config)
    await target.connect(Role.TARGET)
    records = [MemoryRecord(id=f"m-{n}", content=f"text {n}", scope=Scope(user="ann")) for n in range(40)]
    documents = prepare_all(target, records)
    await target.write(documents[:20])
    kuzu._commit = lambda file: os._exit(9)
    await target.write(documents[20:])

asyncio.run(main())
"""


@pytest.mark.parametrize("reads_first", [True, False])
async def test_a_process_that_is_killed_in_mid_batch_leaves_whole_batches(graph, make_record, reads_first):
    done = subprocess.run([sys.executable, "-c", KILLED, str(graph.path)], capture_output=True, check=False)
    assert done.returncode == 9, done.stderr
    if reads_first:
        assert len(await graph.read()) == 20
    records = [make_record(n, id=f"m-{n}", content=f"text {n}") for n in range(40)]
    written = await graph.write(*records)
    assert [one.receipt.outcome.value for one in written] == ["present"] * 20 + ["created"] * 20
    assert sorted(record.content for record in await graph.read()) == sorted(one.content for one in records)


INTERRUPTED = """
import asyncio, pathlib, sys
from memxfer.spi import MemoryRecord, Role, Scope, StoreIdentity
from memxfer.testing.conformance.driver import prepare_all
from memxfer_graphiti import GraphitiConfig, GraphitiProvider

async def main():
    config = GraphitiConfig(provider="graphiti", path=pathlib.Path(sys.argv[1]), buffer_pool_mb=64)
    target = GraphitiProvider(config)
    await target.connect(Role.TARGET)
    number = 0
    try:
        while True:
            made = (f"{number}-{n}" for n in range(50))
            records = [MemoryRecord(id=one, content="x", scope=Scope(user="a")) for one in made]
            await target.write(prepare_all(target, records))
            number += 1
            print(number, flush=True)
    finally:
        await target.aclose()

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


async def test_an_interrupt_ends_a_writer_and_leaves_whole_batches(graph):
    command = [sys.executable, "-c", INTERRUPTED, str(graph.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "1\n"
        running.send_signal(signal.SIGINT)
        told = running.communicate(timeout=30)[0]
    assert told.endswith("interrupted\n")
    count = len(await graph.read())
    assert count > 0
    assert count % 50 == 0
