"""Graphs of other versions of graphiti-core and of Kuzu, and graphs that somebody has altered."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from memxfer.spi import (
    ConfigError,
    Dimension,
    FatalError,
    Ignored,
    Outcome,
    Partition,
    ProviderError,
    Role,
    Scope,
    Validity,
)
from memxfer.testing.conformance.driver import opened, prepare_all, read_records
from memxfer_graphiti import GraphitiConfig, GraphitiProvider
from memxfer_graphiti.engines.kuzu_file import KuzuFile

pytestmark = pytest.mark.anyio

AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
NO_SAGAS = ("DROP TABLE HAS_EPISODE", "DROP TABLE NEXT_EPISODE", "DROP TABLE Saga")
NO_TIME = "ALTER TABLE RelatesToNode_ DROP reference_time"
SCHEMAS = {
    "0.19 to 0.27": (*NO_SAGAS, NO_TIME),
    "0.28": (NO_TIME,),
    "0.29 to 0.31": (),
}
FACT = """
CREATE (:Entity {uuid: 'n1', group_id: 'ann', name: 'Ann', labels: ['Entity', 'Person'], summary: 'a tester'})
-[:RELATES_TO]->(:RelatesToNode_ {
    uuid: 'e1', group_id: 'ann', name: 'LIKES', fact: 'Ann likes tea', episodes: ['p1'],
    attributes: '{"strength": 3}', created_at: timestamp('2024-05-06 07:08:09.123456')})
-[:RELATES_TO]->(:Entity {uuid: 'n2', group_id: 'ann', name: 'Tea', labels: ['Entity'], summary: ''})
"""
EPISODE = """
CREATE (:Episodic {
    uuid: 'p1', group_id: 'ann', name: 'chat', source: 'text', source_description: 'web',
    content: 'I like tea', created_at: timestamp('2024-05-06 07:08:09.123456')})
"""
COMMUNITY = "CREATE (:Community {uuid: 'c1', group_id: 'ann', name: 'Drinks', summary: 'all of them'})"
ROWS = (FACT, EPISODE, COMMUNITY)


def columns_of(graph):
    """All tables and columns."""
    tables = sorted(row[0] for row in graph.ask("CALL show_tables() RETURN name"))
    return {name: [row[1] for row in graph.ask(f"CALL table_info('{name}') RETURN *")] for name in tables}


async def told(graph, role, **settings):
    """The warnings of a connection."""
    one = graph.make(**settings)
    try:
        return "\n".join((await one.connect(role)).warnings)
    finally:
        await one.aclose()


@pytest.fixture(params=SCHEMAS)
def old_graph(request, graph):
    """A graph that graphiti-core of that version made, with one row of each table."""
    graph.version = request.param
    graph.alter(*SCHEMAS[request.param], *ROWS)
    return graph


async def test_a_graph_of_any_version_is_read_whole_and_said_to_be_old(old_graph):
    (fact,) = await old_graph.read()
    assert (fact.id, fact.content, fact.scope, fact.occurred_at) == (
        "e1",
        "Ann likes tea",
        Scope(user="ann"),
        None,
    )
    assert (fact.metadata, fact.provenance) == ({"strength": 3}, {"episode_uuids": ["p1"]})
    assert fact.relations[0].attributes == {"subject_labels": ["Person"]}
    (episode,) = await old_graph.read(unit="episodes")
    assert (episode.content, episode.created_at) == ("I like tea", AT)
    assert {one.content for one in await old_graph.read(unit="summaries")} == {
        "Ann: a tester",
        "Drinks: all of them",
    }
    is_old = old_graph.version != "0.29 to 0.31"
    for role in (Role.SOURCE, Role.TARGET):
        assert ("graphiti-core before 0.29" in await told(old_graph, role)) is is_old
    assert "before 0.29" not in await told(old_graph, Role.SOURCE, unit="episodes")
    assert "before 0.29" not in await told(old_graph, Role.TARGET, write="episode")


async def test_a_graph_of_any_version_takes_everything_and_keeps_its_tables(old_graph, make_record):
    before = columns_of(old_graph)
    validity = Validity(valid_from=AT, recorded_at=AT)
    record = make_record(1, validity=validity, occurred_at=AT, created_at=AT, tags=("t",))
    plain = make_record(2, kind="fact", created_at=AT)
    turn = make_record(3, kind="message", occurred_at=AT, created_at=AT)
    written = await old_graph.write(record, plain, turn)
    assert {one.receipt.outcome for one in written} == {Outcome.CREATED}
    again = await old_graph.write(record, plain, turn)
    assert {one.receipt.outcome for one in again} == {Outcome.PRESENT}
    found = {one.content: one for one in await old_graph.read()}
    assert (found[record.content].occurred_at, found[record.content].tags) == (AT, ("t",))
    assert found[plain.content].occurred_at is None
    assert columns_of(old_graph) == before


async def test_only_a_fact_that_says_when_it_occurred_is_changed_for_an_old_graph(old_graph, make_record):
    is_old = old_graph.version != "0.29 to 0.31"
    records = [
        make_record(1, kind="fact", occurred_at=AT, created_at=AT),
        make_record(2, kind="fact", created_at=AT),
        make_record(3, kind="message", occurred_at=AT, created_at=AT),
    ]
    async with opened(old_graph.make, Role.TARGET) as target:
        changes = [document.changes for document in prepare_all(target, records)]
        assert changes == [("no_reference_time",) if is_old else (), (), ()]
        assert target.capabilities().changes["no_reference_time"].dimension is Dimension.OCCURRED_AT


# -- altered graphs ---------------------------------------------------------------------------


async def test_columns_of_an_app_s_own_are_carried_or_named(graph, make_record):
    graph.alter(
        *ROWS,
        "ALTER TABLE RelatesToNode_ ADD confidence DOUBLE",
        "ALTER TABLE RelatesToNode_ ADD seen TIMESTAMP[]",
        "ALTER TABLE RelatesToNode_ ADD other_embedding FLOAT[]",
        "ALTER TABLE RelatesToNode_ ADD `two words` STRING",
        "ALTER TABLE Episodic ADD day DATE",
        "MATCH (e:RelatesToNode_) SET e.confidence = 0.5, e.seen = [timestamp('2024-05-06')]",
        "MATCH (e:Episodic) SET e.day = date('2024-05-06')",
    )
    (fact,) = await graph.read()
    assert fact.extensions["graphiti"]["columns"] == {"confidence": 0.5, "seen": ["2024-05-06T00:00:00Z"]}
    (episode,) = await graph.read(unit="episodes")
    assert episode.extensions["graphiti"] == {"name": "chat", "columns": {"day": "2024-05-06"}}
    warnings = await told(graph, Role.SOURCE)
    assert "does not know (confidence, seen): they are carried in extensions.graphiti.columns" in warnings
    assert "not read: other_embedding FLOAT[], two words STRING" in warnings
    mine = make_record(1, created_at=AT)
    await graph.write(mine)
    assert [one.extensions for one in await graph.read() if one.content == mine.content] == [{}]
    assert graph.ask("MATCH (e:RelatesToNode_ {uuid: 'e1'}) RETURN e.confidence") == [[0.5]]


async def test_a_column_that_only_some_need_is_missed_by_those(graph, make_record):
    graph.alter(*ROWS, "ALTER TABLE RelatesToNode_ DROP fact", "ALTER TABLE RelatesToNode_ DROP valid_at")
    with pytest.raises(ConfigError, match=r"no facts can be read.* missing: RelatesToNode_\.fact; "):
        await graph.make().connect(Role.SOURCE)
    for settings in ({}, {"write": "fact"}):
        with pytest.raises(
            ConfigError, match=r"RelatesToNode_ has no column fact \(STRING\); .* valid_at \(TIME"
        ):
            await graph.make(**settings).connect(Role.TARGET)
    assert [one.content for one in await graph.read(unit="episodes")] == ["I like tea"]
    (written,) = await graph.write(make_record(1), write="episode")
    assert written.is_stored


async def test_other_columns_are_read_as_empty_and_named(graph):
    graph.alter(
        *ROWS,
        "ALTER TABLE RelatesToNode_ DROP expired_at",
        "ALTER TABLE RelatesToNode_ DROP attributes",
        "ALTER TABLE Entity DROP labels",
        "ALTER TABLE Episodic DROP entity_edges",
    )
    (fact,) = await graph.read()
    assert (fact.content, fact.metadata, fact.relations[0].attributes) == ("Ann likes tea", {}, {})
    assert "RelatesToNode_ has no attributes, expired_at: read as empty" in await told(graph, Role.SOURCE)
    assert "has no entity_edges" in await told(graph, Role.SOURCE, unit="episodes")


async def test_a_graph_whose_owners_are_gone_is_not_read_as_nobody_s(graph):
    graph.alter(*ROWS, "ALTER TABLE Episodic DROP group_id")
    with pytest.raises(ConfigError, match=r"Episodic\.group_id"):
        await graph.make(unit="episodes").connect(Role.SOURCE)


async def test_a_column_of_another_type_is_read_and_not_written_to(graph):
    graph.alter(
        "ALTER TABLE Episodic DROP created_at",
        "ALTER TABLE Episodic ADD created_at STRING",
        FACT,
        "CREATE (:Episodic {uuid: 'p1', group_id: 'ann', content: 'x'})",
        "MATCH (e:Episodic) SET e.created_at = '2024-05-06T07:08:09.123456Z'",
    )
    (episode,) = await graph.read(unit="episodes")
    assert episode.created_at == AT
    with pytest.raises(ConfigError, match=r"Episodic\.created_at is STRING, not TIMESTAMP"):
        await graph.make().connect(Role.TARGET)


async def test_tables_that_change_under_a_reader_end_it_at_once_and_name_the_column(graph, make_record):
    await graph.write(make_record(1))
    async with opened(graph.make, Role.SOURCE) as source:
        file, _ = KuzuFile._shared[graph.path.resolve()]
        await file.run(
            lambda: (file._close(), file._open(file.path, 64, read_only=False), file.query(NO_TIME))
        )
        with pytest.raises(FatalError, match="Cannot find property reference_time for e"):
            await read_records(source)


@pytest.mark.parametrize(
    ("cypher", "shown"),
    [
        ("RETURN timestamp('hunter2')", "Conversion exception"),
        ("MATCH (e:Episodic {uuid: 'hunter2'}) RETURN hunter2(e)", "function HUNTER2 does not exist"),
        ("MATCH (e:Hunter2) RETURN e", "Table Hunter2 does not exist"),
        ("RETURN 'hunter2", "Parser exception"),
    ],
)
async def test_of_kuzu_s_errors_the_kind_and_the_names_are_shown_and_no_value(graph, cypher, shown):
    async with opened(graph.make, Role.SOURCE):
        file, _ = KuzuFile._shared[graph.path.resolve()]
        with pytest.raises(ProviderError) as caught:
            await file.run(file.query, cypher)
    assert shown in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


# -- rows that are no memories ----------------------------------------------------------------


async def test_rows_that_are_no_memories_say_why(graph):
    graph.alter(
        *ROWS,
        "CREATE (:Episodic {uuid: 'p2', group_id: 'ann', name: '', source: 'fact_triple', content: 'x'})",
        "CREATE (:RelatesToNode_ {uuid: 'e2', group_id: 'ann', name: 'LIKES', fact: 'nobody likes it'})",
        "MATCH (n:Entity {uuid: 'n1'}) CREATE (n)-[:RELATES_TO]->(:RelatesToNode_ {uuid: 'e3', fact: ''})",
        "MATCH (e:RelatesToNode_ {uuid: 'e1'}) SET e.expired_at = timestamp('2024-06-01')",
    )
    found = {
        "facts": [
            Ignored("missing_end", "e3"),
            Ignored("missing_end", "e2"),
            Ignored("ended", "e1", harmless=True),
        ],
        "episodes": [Ignored("fact_source", "p2", harmless=True)],
        "summaries": [Ignored("no_summary", "n2", harmless=True)],
    }
    for unit, expected in found.items():
        make = partial(graph.make, unit=unit, current_only=unit == "facts")
        async with opened(make, Role.SOURCE) as source:
            rows = [
                (partition, row)
                async for partition in source.list_partitions()
                for row in (await source._read_page(partition, None, 100)).rows
            ]
            assert await source.count() == len(rows)
            ignored = [source._decode(row, partition) for partition, row in rows]
        assert [one for one in ignored if isinstance(one, Ignored)] == expected


async def test_a_row_with_an_empty_uuid_is_counted_as_unreadable_and_does_not_vanish(graph):
    graph.alter("CREATE (:Episodic {uuid: '', group_id: 'ann', content: 'x'})", EPISODE)
    async with opened(lambda: graph.make(unit="episodes"), Role.SOURCE) as source:
        first = await source.read_page(Partition("episodes"), None, 1)
        second = await source.read_page(Partition("episodes"), first.next_cursor, 1)
        assert [one.id for one in first.records] == ["p1"]
        assert [defect.error.code for defect in second.defects] == ["unreadable"]
        assert await source.count() == 2


# -- Kuzu -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "use"), [(37, "kuzu==0.9.0"), (38, r"kuzu==0\.10\.1"), (40, "the Kuzu that wrote it")]
)
@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
async def test_a_file_of_another_storage_version_is_told_with_both(graph, version, use, role):
    content = graph.path.read_bytes()
    graph.path.write_bytes(content[:4] + version.to_bytes(8, "little") + content[12:])
    with pytest.raises(
        ConfigError, match=rf"storage version {version}, this one reads 39\. Export it with {use}"
    ):
        await graph.make().connect(role)


async def test_the_folder_of_an_older_kuzu_is_told_with_its_version(tmp_path, graph):
    folder = tmp_path / "folder.kuzu"
    folder.mkdir()
    (folder / "catalog.kz").write_bytes(b"KUZU" + (38).to_bytes(8, "little") + bytes(8))
    for role in (Role.SOURCE, Role.TARGET):
        with pytest.raises(ConfigError, match=r"storage version 38, .*kuzu==0\.10\.1"):
            await graph.make("folder.kuzu").connect(role)


# -- the real old versions --------------------------------------------------------------------

APP = """
import asyncio, datetime, os, sys, warnings
warnings.simplefilter("ignore")
os.environ["GRAPHITI_TELEMETRY_ENABLED"] = "false"
from graphiti_core.driver.kuzu_driver import KuzuDriver
from graphiti_core.edges import EntityEdge
from graphiti_core.nodes import EntityNode, EpisodeType, EpisodicNode

at = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456)
common = {"group_id": "ann", "created_at": at}
rows = [
    EntityNode(uuid="n1", name="Ann", labels=["Person"], summary="a tester", name_embedding=[0.5], **common),
    EntityNode(uuid="n2", name="Tea", name_embedding=[0.5], **common),
    EntityEdge(uuid="e1", name="LIKES", fact="Ann likes tea", source_node_uuid="n1", target_node_uuid="n2",
               fact_embedding=[0.5], attributes={"strength": 3}, valid_at=at, episodes=["p1"], **common),
    EpisodicNode(uuid="p1", name="chat", source=EpisodeType.text, source_description="web",
                 content="I like tea", valid_at=at, entity_edges=["e1"], **common),
]

async def main():
    driver = KuzuDriver(sys.argv[1])
    if sys.argv[2] == "write":
        for row in rows:
            await row.save(driver)
    else:
        edges = await EntityEdge.get_by_group_ids(driver, ["ann"])
        episodes = await EpisodicNode.get_by_group_ids(driver, ["ann"])
        print(sorted(one.fact for one in edges), sorted(one.content for one in episodes))
    driver.db.close()

asyncio.run(main())
"""


def laid_over(*requirements):
    """Return a folder with other versions of packages, for PYTHONPATH; made once, or the test is skipped."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "memxfer-tests"
    folder = cache / "-".join(requirement.replace("==", "_") for requirement in requirements)
    if not (folder / ".whole").exists():
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--target",
            folder,
            *requirements,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{' '.join(requirements)} cannot be installed here")
        (folder / ".whole").touch()
    return folder


def run_app(overlay, *arguments, program=APP):
    environment = {**os.environ, "PYTHONPATH": str(overlay)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "version",
    [
        "0.19.0",
        "0.20.4",
        "0.22.0",
        "0.23.1",
        "0.24.3",
        "0.25.5",
        "0.26.3",
        "0.27.1",
        "0.28.2",
        "0.29.3",
        "0.30.2",
    ],
)
async def test_a_graph_of_a_real_old_graphiti_is_read_and_written_to(tmp_path, version, make_record):
    overlay = laid_over(f"graphiti-core=={version}", "diskcache==5.6.3")
    path = tmp_path / "old.kuzu"
    run_app(overlay, path, "write")

    def provider(**settings):
        return GraphitiProvider(GraphitiConfig(provider="graphiti", path=path, buffer_pool_mb=64, **settings))

    found = {}
    for unit in ("facts", "episodes", "summaries"):
        async with opened(partial(provider, unit=unit), Role.SOURCE) as source:
            found[unit] = await read_records(source)
    (fact,), (episode,), (summary,) = found.values()
    assert (fact.content, fact.metadata, fact.validity.valid_from) == ("Ann likes tea", {"strength": 3}, AT)
    assert (episode.content, episode.occurred_at, summary.content) == ("I like tea", AT, "Ann: a tester")
    records = [
        make_record(1, content="from elsewhere", kind="fact", created_at=AT, occurred_at=AT),
        make_record(2, content="said elsewhere", kind="message", created_at=AT),
    ]
    async with opened(provider, Role.TARGET) as target:
        receipts = await target.write(prepare_all(target, records))
    assert {one.outcome for one in receipts} == {Outcome.CREATED}
    read = run_app(overlay, path, "read")
    assert read == "['Ann likes tea', 'from elsewhere'] ['I like tea', 'said elsewhere']\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "problem"),
    [("0.9.0", "version 37"), ("0.10.1", "version 38"), ("0.11.0", None), ("0.11.2", None)],
)
async def test_a_graph_of_a_real_old_kuzu_is_read_or_told(tmp_path, version, problem):
    from memxfer_graphiti.engines.kuzu import _schema

    program = "import kuzu, sys; c = kuzu.Connection(kuzu.Database(sys.argv[1])); c.execute(sys.argv[2])"
    path = tmp_path / "old.kuzu"
    run_app(laid_over(f"kuzu=={version}"), path, _schema(), program=program)
    config = GraphitiConfig(provider="graphiti", path=path, buffer_pool_mb=64, unit="episodes")
    if problem:
        with pytest.raises(ConfigError, match=f"storage {problem}, this one reads 39"):
            await GraphitiProvider(config).connect(Role.SOURCE)
    else:
        async with opened(lambda: GraphitiProvider(config), Role.SOURCE) as source:
            assert await read_records(source) == []
