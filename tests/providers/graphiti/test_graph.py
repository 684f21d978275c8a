"""The provider on a real Kuzu file, beside the real graphiti-core: each trap of the two, tried."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from memxfer.spi import (
    Message,
    Outcome,
    RecordState,
    Relation,
    Role,
    Scope,
    Validity,
    stable_uuid,
)
from memxfer.testing.conformance.driver import key_of, opened, read_partition, read_records
from memxfer_graphiti.engines import kuzu as kuzu_engine
from memxfer_graphiti.sdk import import_sdk

pytestmark = pytest.mark.anyio

AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
INDIA = timezone(timedelta(hours=5, minutes=30))
TEA = Relation(subject="Ann", predicate="LIKES", object="Tea")


def entity(uuid, group="ann", **fields):
    from graphiti_core.nodes import EntityNode

    return EntityNode(uuid=uuid, name=fields.pop("name", uuid), group_id=group, created_at=AT, **fields)


def edge(uuid, *, group="ann", source="n1", target="n2", **fields):
    from graphiti_core.edges import EntityEdge

    defaults = {"name": "LIKES", "fact": f"fact {uuid}", "created_at": AT}
    return EntityEdge(
        uuid=uuid, group_id=group, source_node_uuid=source, target_node_uuid=target, **{**defaults, **fields}
    )


async def save(driver, *rows):
    for row in rows:
        await row.save(driver)


# -- what Graphiti wrote ----------------------------------------------------------------------


async def test_facts_that_graphiti_saved_are_read(graph, graphiti):
    ended = {"valid_at": AT, "invalid_at": AT + timedelta(1), "expired_at": AT + timedelta(microseconds=1)}
    rows = (
        entity("n1", name="Ann", labels=["Person"]),
        entity("n2", name="Tea"),
        edge("e1", attributes={"strength": {"deep": [1]}}, episodes=["p1"], **ended),
        edge("e2", group="", reference_time=AT),
    )
    await graphiti(lambda driver: save(driver, *rows))
    second, first = await graph.read()
    assert (first.id, first.content, first.scope) == ("e1", "fact e1", Scope(user="ann"))
    assert first.metadata == {"strength": {"deep": [1]}}
    assert first.provenance == {"episode_uuids": ["p1"]}
    assert first.validity == Validity(
        recorded_at=AT,
        valid_from=AT,
        valid_to=AT + timedelta(1),
        invalidated_at=AT + timedelta(microseconds=1),
    )
    assert first.state is RecordState.SUPERSEDED
    assert first.relations[0].attributes == {"subject_labels": ["Person"]}
    assert (second.id, second.scope, second.occurred_at) == ("e2", Scope(), AT)
    assert second.state is RecordState.ACTIVE


async def test_a_group_without_facts_is_an_empty_page_where_graphiti_raises(graph, graphiti):
    from graphiti_core.edges import EntityEdge
    from graphiti_core.errors import GroupsEdgesNotFoundError

    with pytest.raises(GroupsEdgesNotFoundError):
        await graphiti(lambda driver: EntityEdge.get_by_group_ids(driver, ["ann"], limit=5))
    async with opened(graph.make, Role.SOURCE) as source:
        (partition,) = [one async for one in source.list_partitions()]
        page = await source.read_page(partition, None, 5)
    assert (list(page.records), page.next_cursor) == ([], None)


async def test_only_current_facts_if_wanted(graph, graphiti):
    ends = [{}, {"invalid_at": AT}, {"expired_at": AT}, {"invalid_at": datetime(2999, 1, 1, tzinfo=UTC)}]
    rows = [edge(f"e{number}", **fields) for number, fields in enumerate(ends)]
    await graphiti(lambda driver: save(driver, entity("n1"), entity("n2"), *rows))
    assert [record.id for record in await graph.read(current_only=True)] == ["e3", "e0"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"current_only": True}, {"e1": ("ended", True)}),
        ({"unit": "summaries"}, {"n1": ("no_summary", True), "n2": ("no_summary", False)}),
    ],
)
async def test_rows_that_are_no_memories_say_why(graph, graphiti, settings, expected):
    nodes = (entity("n1"), entity("n2", attributes={"age": 7}))
    await graphiti(lambda driver: save(driver, *nodes, edge("e1", invalid_at=AT), edge("e2")))
    async with opened(lambda: graph.make(**settings), Role.SOURCE) as source:
        walks = [await read_partition(source, one, limit=5) async for one in source.list_partitions()]
    ignored = [row for pages in walks for page in pages for row in page.ignored]
    assert {row.id: (row.reason, row.harmless) for row in ignored} == expected


async def test_episodes_and_summaries_that_graphiti_saved_are_read(graph, graphiti):
    import_sdk("graphiti_core")
    from graphiti_core.nodes import CommunityNode, EpisodeType, EpisodicNode

    common = {"group_id": "ann", "created_at": AT}
    episodes = [
        EpisodicNode(
            uuid=f"p-{source.value}",
            name="chat",
            source=source,
            source_description="web",
            content="user: hi",
            valid_at=AT - timedelta(1),
            **common,
        )
        for source in EpisodeType
    ]
    community = CommunityNode(uuid="c1", name="Drinks", summary="all of them", name_embedding=[0.5], **common)
    entities = (entity("n1"), entity("n2", name="Tea", summary="a drink", labels=["Drink"]))
    await graphiti(lambda driver: save(driver, *episodes, community, *entities))
    found = await graph.read(unit="episodes")
    assert [(record.id, record.kind) for record in found] == [
        ("p-text", "episode"),
        ("p-message", "message"),
        ("p-json", "episode"),
    ]
    found = await graph.read(unit="summaries")
    assert [(one.kind, one.content, one.tags) for one in found] == [
        ("entity", "Tea: a drink", ("Drink",)),
        ("summary", "Drinks: all of them", ()),
    ]


async def test_a_graph_of_100_groups_is_one_listing(graph, graphiti):
    rows = [edge(f"e{number:03}", group=f"g{number}") for number in range(100)]
    await graphiti(lambda driver: save(driver, entity("n1"), entity("n2"), *rows))
    async with opened(graph.make, Role.SOURCE) as source:
        assert [(one.name, one.total) async for one in source.list_partitions()] == [("facts", 100)]
        assert len({record.scope.user for record in await read_records(source, limit=7)}) == 100


async def test_only_some_groups_by_their_id_or_their_owners(graph, make_record):
    users = ["ann", "a/b", "cid"]
    await graph.write(*(make_record(n, scope=Scope(user=user)) for n, user in enumerate(users)))
    found = await graph.read(groups={"ann", "a/b"})
    assert {record.scope.user for record in found} == {"ann", "a/b"}
    async with opened(lambda: graph.make(groups={"ann"}), Role.SOURCE) as source:
        assert await source.count() == 1
        assert await source.get(stable_uuid(key_of(make_record(2)))) is None


# -- what memxfer wrote -----------------------------------------------------------------------


async def test_graphiti_reads_what_memxfer_wrote(graph, graphiti, make_record):
    from graphiti_core.edges import EntityEdge
    from graphiti_core.nodes import EntityNode, EpisodicNode

    times = Validity(
        valid_from=AT.astimezone(INDIA),
        valid_to=AT + timedelta(1),
        recorded_at=AT - timedelta(1),
        invalidated_at=AT + timedelta(microseconds=1),
    )
    fact = make_record(1, relations=(TEA,), validity=times, metadata={"topic": "tea"}, created_at=AT)
    turn = make_record(2, kind="message", messages=(Message(role="user", content="x"),), occurred_at=AT)
    await graph.write(fact, turn)

    async def look(driver):
        saved = await EntityEdge.get_by_uuid(driver, stable_uuid(key_of(fact)))
        ends = await EntityNode.get_by_uuids(driver, [saved.source_node_uuid, saved.target_node_uuid])
        return saved, ends, await EpisodicNode.get_by_group_ids(driver, ["ann"], limit=10)

    saved, ends, episodes = await graphiti(look)
    assert (saved.fact, saved.name, saved.group_id) == (fact.content, "LIKES", "ann")
    found = [value.replace(tzinfo=UTC) for value in (saved.valid_at, saved.invalid_at, saved.expired_at)]
    assert found == [AT, AT + timedelta(1), AT + timedelta(microseconds=1)]
    assert saved.created_at.replace(tzinfo=UTC) == AT - timedelta(1)
    assert saved.attributes["topic"] == "tea"
    assert {node.name for node in ends} == {"Ann", "Tea"}
    assert [(one.content, one.source.value) for one in episodes] == [(turn.content, "message")]


async def test_graphiti_itself_reports_an_edge_without_ends_as_saved_and_memxfer_does_not_read_it(
    graph, graphiti
):
    await graphiti(lambda driver: save(driver, entity("n1"), edge("e1")))
    assert await graph.read() == []


def without_tea(facts, nodes_of=kuzu_engine.nodes_of):
    return [one for one in nodes_of(facts) if one[0].name != "Tea"]


@pytest.mark.parametrize(
    ("part", "broken"),
    [
        ("nodes_of", without_tea),
        ("_TIE", kuzu_engine._TIE.replace("CREATE", "WHERE m.name <> 'Tea' CREATE")),
    ],
)
async def test_a_fact_without_its_ends_is_rejected_and_leaves_nothing(
    graph, make_record, monkeypatch, part, broken
):
    lost = make_record(1, relations=(TEA,))
    kept = make_record(2)
    monkeypatch.setattr(kuzu_engine, part, broken)
    first, second = await graph.write(lost, kept)
    assert (first.receipt.outcome, first.receipt.error.code) == (Outcome.REJECTED, "not_stored")
    assert second.receipt.outcome is Outcome.CREATED
    assert graph.ask("MATCH (e:RelatesToNode_) RETURN e.fact") == [[kept.content]]


async def test_a_node_of_another_group_is_no_end_for_a_fact(graph, graphiti, make_record):
    uuid = "7f3c0d2e-0000-4000-8000-000000000001"
    await graphiti(lambda driver: save(driver, entity(uuid, group="bob", name="Bob's", summary="private")))
    mine = msgspec.structs.replace(TEA, subject_id=uuid)
    (written,) = await graph.write(make_record(1, relations=(mine,)))
    assert written.receipt.error.code == "not_stored"
    assert await graph.read() == []


async def test_a_node_of_the_same_group_is_used_and_not_changed(graph, graphiti, make_record):
    uuid = "7f3c0d2e-0000-4000-8000-000000000001"
    await graphiti(lambda driver: save(driver, entity(uuid, name="Ann Smith", summary="a person")))
    relation = msgspec.structs.replace(TEA, subject_id=uuid)
    found = await graph.back(make_record(1, relations=(relation,)))
    assert found.relations == (relation,)
    assert graph.ask("MATCH (n:Entity {uuid: $u}) RETURN n.name, n.summary", u=uuid) == [
        ["Ann Smith", "a person"]
    ]


async def test_times_keep_their_microseconds_and_their_moment(graph, make_record):
    moments = {
        "valid_from": datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        "valid_to": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        "recorded_at": AT.astimezone(INDIA),
        "invalidated_at": datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    }
    record = make_record(validity=Validity(**moments), created_at=AT, state=RecordState.SUPERSEDED)
    found = await graph.back(record)
    assert found.validity == record.validity
    assert kuzu_engine._stamp(AT.astimezone(INDIA)) == "2024-05-06 07:08:09.123456"
    assert graph.ask("MATCH (e:RelatesToNode_) RETURN e.valid_at, e.created_at") == [
        [moments["valid_from"].replace(tzinfo=None), AT.replace(tzinfo=None)]
    ]


@pytest.mark.parametrize("write", ["fact", "episode"])
@pytest.mark.parametrize(
    "text", ["", "a\0b", "\u202eevil \u2028", "'}) DETACH DELETE n //", "\\n $rows", "x" * 3_000_000]
)
async def test_odd_texts_come_back_as_they_were(graph, make_record, text, write):
    record = make_record(
        content=text,
        id="a/b c?",
        scope=Scope(user="ann@example.org/x y", session=text[:50]),
        metadata={"text": text[:50], text[:50]: None},
        relations=(Relation(subject=text[:50], predicate=text[:50], object="o"),),
        created_at=AT,
    )
    found = await graph.back(record, write=write, unit=f"{write}s")
    assert found == msgspec.structs.replace(record, id=found.id)


async def test_a_rollback_takes_back_all_that_memxfer_made_and_nothing_else(graph, graphiti, make_record):
    uuid = "7f3c0d2e-0000-4000-8000-000000000001"
    await graphiti(lambda driver: save(driver, entity(uuid), entity("n1"), entity("n2"), edge("e1")))
    before = graph.ask("MATCH (n) RETURN n.uuid ORDER BY n.uuid")
    tied = msgspec.structs.replace(TEA, subject_id=uuid)
    written = await graph.write(
        make_record(1), make_record(2), make_record(3, relations=(tied,)), make_record(4, kind="message")
    )
    ids = [target_id for one in written for target_id in one.receipt.target_ids]
    async with opened(graph.make, Role.TARGET) as target:
        assert await target.delete([*ids, "unknown"]) == 4
        assert await target.delete(ids) == 0
    assert graph.ask("MATCH (n) RETURN n.uuid ORDER BY n.uuid") == before
