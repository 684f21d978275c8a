"""What is sent to servers, against faked clients: no server is run here, so this proves no more than that."""

from datetime import UTC, datetime

import pytest

from memxfer.spi import (
    AmbiguousError,
    AuthError,
    ConfigError,
    Relation,
    Role,
    Scope,
    UnavailableError,
    Validity,
)
from memxfer.testing.conformance.driver import opened, prepare_all, read_records
from memxfer_graphiti import GraphitiConfig, GraphitiProvider
from memxfer_graphiti.engines import servers

pytestmark = pytest.mark.anyio

AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
TEA = Relation(subject="Ann", predicate="LIKES", object="Tea")


class PasswordError(Exception):
    pass


class Faked:
    """Notes what it is asked, and answers as if every fact and episode sent were there."""

    def __init__(self, config, database):
        self.database = database
        self.asked = []
        self.changed = []
        self.facts = {}
        self.episodes = {}
        self.nodes = {}
        self.fails = None
        self.is_open = True
        Faked.last = self

    async def ask(self, cypher, params):
        self.asked.append((cypher, params))
        if self.fails:
            raise self.fails
        rows = self._facts() if "RELATES_TO" in cypher else [dict(row) for row in self.episodes.values()]
        if "count(" in cypher:
            return [{"rows": len(rows)}]
        if "uuids" in params:
            rows = [row for row in rows if row["uuid"] in params["uuids"]]
        elif params.get("cursor"):
            rows = [row for row in rows if row["uuid"] < params["cursor"]]
        return sorted(rows, key=lambda row: row["uuid"], reverse=True)

    def _facts(self):
        return [
            {
                **row,
                "attributes": dict(row),
                "source_name": self.nodes[row["source_uuid"]]["name"],
                "target_name": self.nodes[row["target_uuid"]]["name"],
                "source_labels": ["Entity"],
                "n": row["source_uuid"],
                "m": row["target_uuid"],
            }
            for row in self.facts.values()
        ]

    async def change(self, statements):
        self.changed.append(statements)
        if self.fails:
            raise self.fails
        return [self._do(cypher, params) for cypher, params in statements]

    def _do(self, cypher, params):
        table = {
            servers._SAVE_FACTS: self.facts,
            servers._SAVE_EPISODES: self.episodes,
            servers._SAVE_NODES: self.nodes,
        }.get(cypher)
        if table is None:
            return []
        table.update({row["uuid"]: row for row in params["rows"]})
        return [{"uuid": row["uuid"]} for row in params["rows"]] if table is not self.nodes else []

    def refusal(self, error):
        return True if isinstance(error, PasswordError) else None

    async def close(self):
        self.is_open = False


@pytest.fixture(params=["neo4j", "falkordb"])
def make(request, monkeypatch):
    monkeypatch.setattr(servers, "Neo4jSession", Faked)
    monkeypatch.setattr(servers, "FalkorSession", Faked)
    if request.param == "falkordb":  # Graphiti's list of its indices needs a package that is not there
        monkeypatch.setattr(servers.ServerEngine, "_build_indices", _nothing)

    def provider(**settings):
        config = GraphitiConfig(
            provider="graphiti",
            engine=request.param,
            uri="redis://graphs:7000",
            password="hidden",
            **settings,
        )
        return GraphitiProvider(config)

    return provider


async def _nothing(self):
    """There are no indices to make."""


@pytest.fixture
def is_falkor(make):
    return make().config.engine == "falkordb"


async def test_rows_go_flat_and_come_back(make, make_record, is_falkor):
    record = make_record(
        relations=(TEA,),
        metadata={"topic": "tea", "deep": {"a": [1]}},
        validity=Validity(valid_from=AT),
        scope=Scope(user="a/b"),
    )
    async with opened(make, Role.TARGET) as target:
        await target.write(prepare_all(target, [record]))
        session = Faked.last
        (row,) = session.facts.values()
        assert (row["topic"], "deep" in row, isinstance(row["memxfer"], str)) == ("tea", False, True)
        assert row["valid_at"] == ("2024-05-06T07:08:09.123456Z" if is_falkor else AT)
        found = await target.get(row["uuid"])
        assert (found.metadata, found.validity, found.relations, found.scope) == (
            record.metadata,
            record.validity,
            record.relations,
            record.scope,
        )
    assert not session.is_open


async def test_falkordb_s_cursor_keeps_out_of_the_index(make, make_record, is_falkor):
    records = [make_record(number) for number in range(5)]
    async with opened(make, Role.TARGET) as target:
        await target.write(prepare_all(target, records))
        full = Faked.last
    async with opened(make, Role.SOURCE) as source:
        Faked.last.facts, Faked.last.nodes = full.facts, full.nodes
        assert len(await read_records(source, limit=2)) == 5
        paged = [cypher for cypher, params in Faked.last.asked if params.get("cursor")]
    assert paged
    for cypher in paged:
        assert ("toLower(e.uuid) < $cursor" in cypher) is is_falkor
        assert ("WHERE e.uuid < $cursor" in cypher) is not is_falkor


async def test_a_batch_is_one_change_with_the_ends_first(make, make_record):
    async with opened(make, Role.TARGET) as target:
        batch = prepare_all(target, [make_record(1, relations=(TEA,)), make_record(2, kind="message")])
        await target.write(batch)
        statements = Faked.last.changed[-1]
        wanted = [servers._DROP_FACTS, servers._SAVE_NODES, servers._SAVE_FACTS, servers._SAVE_EPISODES]
        assert [cypher for cypher, _ in statements] == wanted
        again = await target.write(batch)
        assert {receipt.outcome.value for receipt in again} == {"present"}
        assert Faked.last.changed[-1] is statements


async def test_only_a_neo4j_target_gets_graphiti_s_indices(make, is_falkor):
    for role, wanted in ((Role.SOURCE, 0), (Role.TARGET, 0 if is_falkor else 31)):
        async with opened(make, role):
            queries = [cypher for statements in Faked.last.changed for cypher, _ in statements]
            assert len(queries) == wanted
            assert all(query.strip().startswith("CREATE") for query in queries)


async def test_a_rollback_names_facts_episodes_and_lone_ends(make, make_record):
    async with opened(make, Role.TARGET) as target:
        batch = prepare_all(target, [make_record(1, relations=(TEA,)), make_record(2, kind="message")])
        written = await target.write(batch)
        ids = [target_id for receipt in written for target_id in receipt.target_ids]
        assert await target.delete([*ids, "unknown"]) == 2
        facts, episodes, ends = Faked.last.changed[-1]
        assert (facts[0], facts[1]["uuids"]) == (servers._DROP_FACTS, [*ids, "unknown"])
        assert episodes[0] == servers._DROP_EPISODES
        assert set(ends[1]["uuids"]) == set(Faked.last.nodes)


async def test_a_fact_that_the_server_does_not_name_is_rejected(make, make_record, monkeypatch):
    async with opened(make, Role.TARGET) as target:
        monkeypatch.setattr(Faked, "_do", lambda self, cypher, params: [])
        (receipt,) = await target.write(prepare_all(target, [make_record(1)]))
        assert receipt.error.code == "not_stored"


async def test_an_answer_that_is_lost_is_unknown(make, make_record):
    async with opened(make, Role.TARGET) as target:
        lost = OSError("gone, with the memory in its text")

        async def change(statements):
            raise lost

        Faked.last.change = change
        (receipt,) = await target.write(prepare_all(target, [make_record(1)]))
        assert isinstance(receipt.error, AmbiguousError)
        assert "memory in its text" not in str(receipt.error)


@pytest.mark.parametrize(("error", "kind"), [(PasswordError(), AuthError), (OSError(), UnavailableError)])
async def test_a_server_that_refuses_or_is_silent_is_told_apart(make, monkeypatch, error, kind):
    async def ask(self, cypher, params):
        raise error

    monkeypatch.setattr(Faked, "ask", ask)
    with pytest.raises(kind):
        await make().connect(Role.SOURCE)
    assert not Faked.last.is_open


async def test_host_and_database_name_the_store_and_it_says_that_it_is_untested(make):
    provider = make(database="memories")
    info = await provider.connect(Role.SOURCE)
    assert provider.store().namespace == "graphs:7000/memories"
    assert any("Kuzu only" in warning for warning in info.warnings)
    assert "hidden" not in repr(provider.config)
    await provider.aclose()


async def test_an_address_without_a_host_is_an_error(make):
    with pytest.raises(ConfigError, match="names no host"):
        await GraphitiProvider(make().config.model_copy(update={"uri": "graphs"})).connect(Role.SOURCE)


async def test_neo4j_s_own_client_says_that_nobody_answers(free_port):
    config = GraphitiConfig(provider="graphiti", engine="neo4j", uri=f"bolt://127.0.0.1:{free_port}")
    provider = GraphitiProvider(config)
    with pytest.raises(UnavailableError):
        await provider.connect(Role.SOURCE)
    await provider.aclose()
