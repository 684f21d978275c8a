"""Looking at a graph changes no file of it: each command and role, whatever state an app left it in."""

import hashlib
import logging
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memxfer.cli.app import build
from memxfer.spi import ConfigError, Role, StoreIdentity
from memxfer.testing.conformance.driver import opened, prepare_all, read_records
from memxfer_graphiti import GraphitiConfig, GraphitiProvider
from memxfer_graphiti.sdk import import_sdk

pytestmark = pytest.mark.anyio

STORES = Path(__file__).with_name("stores")
CONFIG = """
[connections.graph]
provider = "graphiti"
path = "graphs/source.kuzu"
unit = "episodes"
[connections.there]
provider = "graphiti"
path = "graphs/target.kuzu"
unscoped = "skip"
[connections.missing]
provider = "graphiti"
path = "graphs/missing.kuzu"
unscoped = "skip"
"""
KILLED = """
import os, sys, kuzu
connection = kuzu.Connection(kuzu.Database(sys.argv[1], buffer_pool_size=64 * 2**20))
connection.execute(
    "CREATE (:Episodic {uuid: 'late', group_id: 'ann', name: '', source: 'text', source_description: '', "
    "content: 'only in the log'})"
)
os._exit(9)
"""


def files_in(folder):
    """Name, content and time of change of every file."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
    }


def provider(path, **settings):
    return GraphitiProvider(GraphitiConfig(provider="graphiti", path=path, buffer_pool_mb=64, **settings))


async def look(path, role):
    """Do to a graph all that a plan does, and a look-up; return what can be read of episodes."""
    async with opened(lambda: provider(path, unit="episodes"), role) as it:
        await it.count()
        await it.get("late")
        if role is Role.SOURCE:
            return sorted(record.id for record in await read_records(it))
        return [*await it.lookup(["mx:a"]), *([] if await it.get("late") is None else ["late"])]


@pytest.fixture
def folder(tmp_path, empty_graph, monkeypatch):
    """A working folder with two graphs, whose logs a killed app left beside them."""
    graphs = tmp_path / "graphs"
    graphs.mkdir()
    (graphs / "source.kuzu").write_bytes(empty_graph)
    subprocess.run([sys.executable, "-c", KILLED, str(graphs / "source.kuzu")], check=False)
    for name in ("source.kuzu", "source.kuzu.wal"):
        (graphs / name.replace("source", "target")).write_bytes((graphs / name).read_bytes())
    (tmp_path / "memxfer.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEMXFER_CONFIG", raising=False)
    return graphs


@pytest.fixture
def cli():
    """Run the program in this process."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield lambda *arguments: CliRunner().invoke(build(), list(arguments))
    root.handlers[:], root.level = before
    logging.captureWarnings(False)


@pytest.mark.parametrize("target", ["there", "missing"])
def test_no_command_that_only_looks_changes_a_file(folder, cli, target):
    before = files_in(folder)
    assert sorted(before) == ["source.kuzu", "source.kuzu.wal", "target.kuzu", "target.kuzu.wal"]
    for command in (
        ("providers", "check", "graph", "--as", "source"),
        ("providers", "check", target, "--as", "target"),
        ("diff", "graph", target),
        ("plan", "graph", target),
        ("migrate", "graph", target, "--dry-run"),
    ):
        done = cli(*command)
        assert done.exit_code in (0, 3), (command, done.output)  # 3: nobody has agreed to losses yet
        assert files_in(folder) == before, command


@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
async def test_what_is_in_an_app_s_log_only_is_seen_and_the_log_stays(folder, role):
    before = files_in(folder)
    assert await look(folder / "target.kuzu", role) == ["late"]
    assert files_in(folder) == before


async def test_a_link_is_opened_as_the_app_opens_it_so_that_its_log_is_seen(folder, make_record):
    link = folder.parent / "app" / "link.kuzu"
    link.parent.mkdir()
    link.symlink_to(folder / "target.kuzu")
    with pytest.raises(ConfigError, match=r"a link to .* \(target\.kuzu\.wal\): name that file"):
        await look(link, Role.SOURCE)
    (folder / "target.kuzu.wal").rename(link.with_name("link.kuzu.wal"))
    assert await look(link, Role.SOURCE) == ["late"]
    async with opened(lambda: provider(link), Role.TARGET) as target:
        assert (target.store().namespace, target.store().place) == (
            "target.kuzu",
            str(folder / "target.kuzu"),
        )
        await target.write(prepare_all(target, [make_record(1, kind="message")]))
    assert len(await look(folder / "target.kuzu", Role.SOURCE)) == 2


# -- an app that was killed while it wrote its log into the file ------------------------------


@pytest.fixture
def half_written(tmp_path):
    """A graph in that state; see `stores/record.py`."""
    folder = tmp_path / "half"
    folder.mkdir()
    with tarfile.open(STORES / "half_checkpoint.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "graph.kuzu"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder that copies are made in."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


def test_kuzu_itself_cannot_read_it(half_written):
    with pytest.raises(RuntimeError, match="read-only mode"):
        import_sdk("kuzu").Database(half_written, read_only=True, buffer_pool_size=64 * 2**20)


@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
async def test_a_half_written_graph_is_read_from_a_copy_that_goes_again(half_written, temporary, role):
    before = files_in(half_written.parent)
    graph = provider(half_written)
    told = await graph.connect(role)
    assert any("private copy" in warning for warning in told.warnings)
    assert await graph.count() == 1
    assert (await graph.get("e1")).content == "Ann likes tea"
    assert len(list(temporary.iterdir())) == 1
    await graph.aclose()
    assert list(temporary.iterdir()) == []
    assert files_in(half_written.parent) == before


async def test_a_half_written_target_is_finished_by_the_first_write(half_written, temporary, make_record):
    async with opened(lambda: provider(half_written), Role.TARGET) as target:
        await target.write(prepare_all(target, [make_record(1, kind="fact")]))
        assert list(temporary.iterdir()) == []
    assert [one.name for one in half_written.parent.iterdir()] == [half_written.name]
    async with opened(lambda: provider(half_written), Role.SOURCE) as source:
        assert len(await read_records(source)) == 2


# -- targets ----------------------------------------------------------------------------------


async def test_a_target_is_opened_for_writing_by_the_first_write_only(graph, make_record):
    before = files_in(graph.path.parent)
    async with opened(graph.make, Role.TARGET) as target:
        documents = prepare_all(target, [make_record(1)])
        assert await target.lookup([documents[0].key]) == {}
        assert await target.delete([]) == 0
        assert files_in(graph.path.parent) == before
        await target.write(documents)
        assert files_in(graph.path.parent) != before
        assert len(await target.lookup([documents[0].key])) == 1


async def test_a_rollback_alone_opens_it_for_writing(graph, make_record):
    (written,) = await graph.write(make_record(1))
    async with opened(graph.make, Role.TARGET) as target:
        assert await target.delete(written.receipt.target_ids) == 1
    assert await graph.read() == []


async def test_a_graph_that_is_being_read_in_this_process_can_be_written_to(graph, make_record):
    async with opened(graph.make, Role.SOURCE) as source, opened(graph.make, Role.TARGET) as target:
        await target.write(prepare_all(target, [make_record(1)]))
        assert len(await read_records(source)) == 1


async def test_an_empty_file_is_no_source_and_a_target_that_is_made_by_the_first_write(tmp_path, make_record):
    path = tmp_path / "empty.kuzu"
    path.touch()
    with pytest.raises(ConfigError, match=r"it has no tables at all"):
        await provider(path).connect(Role.SOURCE)
    async with opened(lambda: provider(path), Role.TARGET) as target:
        assert await target.lookup(["mx:a"]) == {}
        assert path.stat().st_size == 0
        await target.write(prepare_all(target, [make_record(1)]))
    async with opened(lambda: provider(path), Role.SOURCE) as source:
        assert await source.count() == 1


@pytest.mark.parametrize("ending", ["wal", "shadow"])
async def test_a_target_is_not_made_beside_the_log_of_a_database_that_is_gone(tmp_path, ending):
    left = tmp_path / f"new.kuzu.{ending}"
    left.write_bytes(b"another database's")
    with pytest.raises(ConfigError, match=rf"new\.kuzu\.{ending} of another Kuzu database"):
        await provider(tmp_path / "new.kuzu").connect(Role.TARGET)
    assert list(tmp_path.iterdir()) == [left]


async def test_a_database_whose_maker_was_killed_half_way_is_completed(tmp_path, make_record):
    from memxfer_graphiti.engines.kuzu import _schema

    kuzu = import_sdk("kuzu")
    path = tmp_path / "half.kuzu"
    with kuzu.Database(path, buffer_pool_size=64 * 2**20) as database, kuzu.Connection(database) as it:
        it.execute(_schema().partition(";")[0])
    with pytest.raises(ConfigError, match=r"Community, Entity, RELATES_TO, RelatesToNode_.*it has Episodic"):
        await provider(path).connect(Role.SOURCE)
    async with opened(lambda: provider(path), Role.TARGET) as target:
        await target.begin(StoreIdentity("memory", "x"))
        await target.write(prepare_all(target, [make_record(1)]))
    async with opened(lambda: provider(path), Role.SOURCE) as source:
        assert await source.count() == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
@pytest.mark.parametrize("protected", ["file", "folder"])
async def test_a_target_that_may_not_be_written_to_is_refused_at_once_and_is_a_source(graph, protected):
    place = graph.path if protected == "file" else graph.path.parent
    before = place.stat().st_mode
    place.chmod(0o555)
    try:
        with pytest.raises(ConfigError, match=r"may not be written to|files cannot be made"):
            await graph.make().connect(Role.TARGET)
        assert await graph.read() == []
    finally:
        place.chmod(before)


# -- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
async def test_a_copy_that_was_cut_short_is_told_as_damaged(graph, empty_graph, role):
    graph.path.write_bytes(graph.path.read_bytes()[: len(empty_graph) // 2])
    before = files_in(graph.path.parent)
    with pytest.raises(ConfigError, match=r"Runtime exception.*damaged, or a copy of it was cut short"):
        await graph.make().connect(role)
    assert files_in(graph.path.parent) == before


@pytest.mark.parametrize("left", ["cut", "noise"])
async def test_a_damaged_log_costs_what_is_in_it_and_no_more(folder, left):
    log = folder / "target.kuzu.wal"
    log.write_bytes(log.read_bytes()[:100] if left == "cut" else b"\xff\x00" * 150)
    before = files_in(folder)
    assert await look(folder / "target.kuzu", Role.SOURCE) == []
    assert files_in(folder) == before


FULL = """
import asyncio, pathlib, resource, sys
from memxfer.spi import FatalError, MemoryRecord, Role, Scope
from memxfer.testing.conformance.driver import prepare_all
from memxfer_graphiti import GraphitiConfig, GraphitiProvider

async def main(path):
    target = GraphitiProvider(GraphitiConfig(provider="graphiti", path=path, buffer_pool_mb=64))
    await target.connect(Role.TARGET)
    records = [MemoryRecord(id=f"m{n}", content="secret " * 900, scope=Scope(user="ann")) for n in range(400)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    documents = prepare_all(target, records)
    print({(one.outcome.value, str(one.error)) for one in await target.write(documents)})
    try:
        await target.lookup([documents[0].key])
    except FatalError as error:
        print(error)
    await target.aclose()

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (0, "File too large"),
        pytest.param(3000, "only a part was taken; there is no room", marks=pytest.mark.slow),
    ],
)
async def test_a_batch_that_the_disk_does_not_take_is_in_doubt_and_the_next_call_says_why(
    graph, make_record, more, reason
):
    """Kuzu itself ends the process with SIGABRT once such a database is closed (0.11.3)."""
    command = [sys.executable, "-c", FULL, str(graph.path), str(graph.path.stat().st_size + more)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    batch, after = done.stdout.splitlines()
    assert batch.startswith("{('unknown', ")
    for told in (batch, after):
        assert f"Kuzu cannot read or write its files ({reason})" in told
    assert (done.returncode, "secret" in done.stdout) == (0, False)
    assert await graph.read() == []
    (written,) = await graph.write(make_record(1))
    assert written.is_stored
