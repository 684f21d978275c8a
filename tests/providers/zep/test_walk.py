"""Walks through a project: whose, in which slices, and what befalls a listing under way."""

import json

import pytest

from memxfer.spi import AuthError, ConfigError, CursorExpiredError, RateLimitedError, RecordError, Scope
from memxfer.testing.conformance.driver import read_partition

pytestmark = pytest.mark.anyio


async def names(provider):
    return [partition.name async for partition in provider.list_partitions()]


async def test_an_account_without_users_has_nothing_and_no_error(zep):
    for unit in ("facts", "episodes", "messages", "summaries"):
        assert await zep.records(unit=unit) == []


async def test_users_and_standalone_graphs_are_slices_named_by_uuid(zep):
    user, graph = zep.user(user_id="a/b?c@example.org")
    anonymous, other = zep.user()
    standalone = zep.put("graph", name="docs")
    legacy = zep.put("graph", graph_id="kb", name="docs")
    for number, parent in enumerate((graph, other, standalone, legacy)):
        zep.facts(parent, 1, fact=f"fact {number}")
    provider = await zep.connected()
    assert set(await names(provider)) == {
        f"user:{user}",
        f"user:{anonymous}",
        f"graph:{standalone}",
        f"graph:{legacy}",
    }
    found = {record.content: record for record in await zep.records()}
    assert [found[f"fact {n}"].scope for n in range(4)] == [
        Scope(user="a/b?c@example.org"),
        Scope(user=anonymous),
        Scope(group=standalone),
        Scope(group="kb"),
    ]
    assert found["fact 0"].extensions["zep"]["user_uuid"] == user
    assert found["fact 3"].extensions["zep"]["graph_name"] == "docs"


async def test_graphs_of_users_come_once_even_where_they_are_listed_as_graphs(zep):
    zep.configure(lists_user_graphs=True)
    _, graph = zep.user()
    zep.facts(graph, 3)
    assert len(await zep.records()) == 3


async def test_partitions_are_listed_as_they_are_asked_for(zep):
    zep.put("user", *({"user_id": f"u{n}"} for n in range(250)))
    provider = await zep.connected()
    listing = provider.list_partitions()
    await anext(listing)
    await listing.aclose()
    assert [call["path"] for call in zep.calls()].count("/api/v4/users/list") == 1
    assert len(await names(provider)) == 250


async def test_messages_come_by_thread_with_the_app_s_ids(zep):
    user, _ = zep.user(user_id="ann")
    thread = zep.put("thread", user_uuid=user, thread_id="chat/1")
    orphan = zep.put("thread")
    zep.put("message", thread_uuid=thread, role="user", content="hi")
    zep.put("message", thread_uuid=orphan, role="user", content="anybody?")
    found = {record.content: record for record in await zep.records(unit="messages")}
    assert found["hi"].scope == Scope(user="ann", session="chat/1")
    assert found["anybody?"].scope == Scope(session=orphan)


async def test_a_thread_of_ten_thousand_messages_comes_whole_and_in_order(zep):
    user, _ = zep.user()
    thread = zep.put("thread", user_uuid=user)
    rows = [
        {
            "thread_uuid": thread,
            "role": "user",
            "content": f"turn {n}",
            "created_at": f"2025-01-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}.000001Z",
        }
        for n in range(10_000)
    ]
    zep.emulator.seed("message", *rows)
    pages = await zep.pages(unit="messages")
    assert [record.content for page in pages for record in page.records] == [
        f"turn {n}" for n in range(10_000)
    ]
    assert {page.total for page in pages} == {10_000}


async def test_summaries_are_three_lists_of_a_user_and_two_of_a_graph(zep):
    _, graph = zep.user()
    standalone = zep.put("graph")
    for parent in (graph, standalone):
        zep.put("node", graph_uuid=parent, name="Ann", summary="likes tea")
        zep.put("node", graph_uuid=parent, name="no summary")
        zep.put("document_summary", graph_uuid=parent, summary="a text")
    zep.put("thread_summary", graph_uuid=graph, summary="a talk", thread_uuid="t-1")
    provider = await zep.connected(unit="summaries")
    assert len(await names(provider)) == 5
    ignored = [row for page in await zep.pages(unit="summaries") for row in page.ignored]
    assert [(row.reason, row.harmless) for row in ignored] == [("no_summary", True)] * 2
    assert {row.id for row in ignored} == {row["uuid"] for row in zep.truth("node") if not row.get("summary")}
    assert sorted(record.kind for record in await zep.records(unit="summaries")) == [
        "entity",
        "entity",
        "summary",
        "summary",
        "summary",
    ]


# -- whose --------------------------------------------------------------------------------------


async def test_users_and_graphs_can_be_chosen_by_either_id(zep):
    ann, graph = zep.user(user_id="ann")
    _, other = zep.user(user_id="bob")
    standalone = zep.put("graph", graph_id="kb")
    for number, parent in enumerate((graph, other, standalone)):
        zep.facts(parent, 1, fact=str(number))

    async def contents(**settings):
        return sorted([record.content for record in await zep.records(**settings)])

    assert await contents() == ["0", "1", "2"]
    assert await contents(users=["ann", ann]) == ["0"]
    assert await contents(graphs=["kb"]) == ["2"]
    assert await contents(users=["bob"], graphs=[standalone]) == ["1", "2"]


async def test_messages_of_chosen_users_are_asked_for_by_user(zep):
    for name in ("ann", "bob"):
        user, _ = zep.user(user_id=name)
        zep.put("message", thread_uuid=zep.put("thread", user_uuid=user), role="user", content=name)
    [record] = await zep.records(unit="messages", users=["bob"])
    assert (record.content, record.scope.user) == ("bob", "bob")


@pytest.mark.parametrize(
    "settings", [{"users": ["nobody"]}, {"graphs": ["11111111-1111-4111-8111-111111111111"]}]
)
async def test_a_chosen_name_that_is_not_there_is_said_and_not_passed_over(zep, settings):
    with pytest.raises(ConfigError, match="no such"):
        await zep.records(**settings)


# -- what befalls a listing ---------------------------------------------------------------------


async def test_an_empty_page_in_the_middle_does_not_end_the_walk(zep):
    _, graph = zep.user()
    zep.facts(graph, 30)
    zep.configure(empty_pages=[1, 3])
    pages = await zep.pages(limit=10)
    assert [len(page.records) for page in pages] == [0, 10, 0, 10, 10]
    assert len(await zep.records()) == 30


@pytest.mark.parametrize("drift", ["insert", "delete"])
async def test_rows_that_come_and_go_between_pages_disturb_nobody(zep, drift):
    _, graph = zep.user()
    uuids = zep.facts(graph, 60)
    zep.configure(drift=drift)
    found = [record.id for record in await zep.records(limit=7)]
    assert found == sorted(set(found))  # by uuid, which never changes
    assert set(uuids) <= set(found)


async def test_a_dead_cursor_is_said_to_be_dead_and_the_list_can_be_begun_again(zep):
    _, graph = zep.user()
    zep.facts(graph, 20)
    zep.configure(cursor_seconds=60)
    provider = await zep.connected()
    [partition] = [one async for one in provider.list_partitions()]
    first = await provider.read_page(partition, None, 10)
    zep.clock.now += 61
    with pytest.raises(CursorExpiredError):
        await provider.read_page(partition, first.next_cursor, 10)
    assert sum(len(page.records) for page in await read_partition(provider, partition, limit=10)) == 20


async def test_a_graph_that_is_not_found_while_its_user_is_there_is_an_error_and_no_end(zep):
    _, graph = zep.user()
    zep.facts(graph, 20)
    provider = await zep.connected()
    [partition] = [one async for one in provider.list_partitions()]
    first = await provider.read_page(partition, None, 10)
    zep.break_with("/api/v4/graphs", preset="not_found")
    with pytest.raises(RecordError) as caught:
        await provider.read_page(partition, first.next_cursor, 10)
    assert (caught.value.code, caught.value.status) == ("not_found", 404)


@pytest.mark.parametrize("kind", ["user", "graph", "thread"])
async def test_what_was_deleted_under_the_walk_ends_there_and_is_told(zep, caplog, kind):
    user, graph = zep.user()
    if kind == "thread":
        gone = zep.put("thread", user_uuid=user)
        zep.put("message", *({"thread_uuid": gone, "content": f"turn {n}"} for n in range(20)))
    else:
        gone, parent = (user, graph) if kind == "user" else (zep.put("graph"),) * 2
        zep.facts(parent, 20)
    provider = await zep.connected(unit="messages" if kind == "thread" else "facts")
    partition = {one.name: one async for one in provider.list_partitions()}[f"{kind}:{gone}"]
    first = await provider.read_page(partition, None, 10)
    zep.emulator.store.remove("zep_emulator_key", kind, gone)
    last = await provider.read_page(partition, first.next_cursor, 10)
    assert (len(first.records), len(last.records), last.next_cursor) == (10, 0, None)
    assert f"{kind}:{gone} was deleted" in caplog.text


async def test_a_listing_of_users_that_is_refused_goes_on_where_it_was(zep):
    zep.put("user", *({"user_id": f"u{n}"} for n in range(350)))
    provider = await zep.connected()
    zep.break_with("/api/v4/users/list", match={"every": 2}, status=429, retry_after="integer")
    refusals, found = 0, []
    while not found:
        try:
            found = await names(provider)
        except RateLimitedError:
            refusals += 1
    assert len(set(found)) == len(found) == 350
    assert refusals == 3  # begun from the start each time, it would never have got beyond the first page
    zep.emulator.faults = type(zep.emulator.faults)()
    zep.user(user_id="late")
    assert len(await names(provider)) == 351


async def test_a_listing_of_users_that_goes_in_a_circle_is_given_up(zep):
    zep.break_with("/api/v4/users/list", status=200, body={"items": [], "next_cursor": "round"})
    provider = await zep.connected()
    with pytest.raises(Exception, match="same cursor"):
        await names(provider)


async def test_a_row_that_cannot_be_read_costs_itself_alone(zep):
    _, graph = zep.user()
    uuids = zep.facts(graph, 2)
    broken = zep.put("node", graph_uuid=graph, episode_uuids=5, summary="odd")
    zep.put("node", graph_uuid=graph, summary="fine")
    zep.put("edge", graph_uuid=graph, name="NO_FACT")
    pages = await zep.pages()
    assert {record.id for page in pages for record in page.records} == set(uuids)
    [defect] = [defect for page in pages for defect in page.defects]
    assert defect.error.code == "unreadable"
    # the SDK's models refuse this page as a whole; its rows are read without them
    contents = {record.id: record for record in await zep.records(unit="summaries")}
    assert len(contents) == 2
    assert contents[broken].extensions["zep"]["episode_uuids"] == 5


async def test_the_sdk_s_models_change_nothing(zep):
    """Unknown fields, nulls and odd numbers come as they were sent."""
    _, graph = zep.user()
    attributes = {"uuid_": "x", "n": 1e300, "none": None, "deep": json.loads("[" * 60 + "]" * 60)}
    zep.facts(graph, 1, attributes=attributes, of_tomorrow={"uuid": 1})
    [record] = await zep.records()
    assert record.metadata == attributes
    assert record.extensions["zep"]["of_tomorrow"] == {"uuid": 1}


async def test_a_fact_gets_its_episodes_metadata_when_asked_for(zep):
    _, graph = zep.user()
    episodes = [
        zep.put("episode", graph_uuid=graph, content="raw", metadata={f"k{n}": n}, thread_uuid="t-1")
        for n in range(3)
    ]
    zep.facts(graph, 5, episode_uuids=[*episodes, "11111111-1111-4111-8111-111111111111"])
    assert {json.dumps(record.metadata) for record in await zep.records()} == {"{}"}
    before = len(zep.calls())
    found = await zep.records(fact_episodes=2)
    assert all(record.metadata == {"k0": 0, "k1": 1} for record in found)
    assert found[0].provenance["thread_uuids"] == ["t-1"]
    asked = [call for call in zep.calls()[before:] if "/episodes/" in call["path"]]
    assert len(asked) == 2  # each episode once, however many facts it has
    assert len((await zep.records(fact_episodes=4))[0].metadata) == 3  # one of them is gone


async def test_a_page_whose_episodes_are_refused_in_the_middle_goes_on_where_it_was(zep):
    _, graph = zep.user()
    for number in range(4):
        episode = zep.put("episode", graph_uuid=graph, content="raw", metadata={"n": number})
        zep.facts(graph, 1, episode_uuids=[episode])
    provider = await zep.connected(fact_episodes=1)
    [partition] = [one async for one in provider.list_partitions()]
    zep.break_with(match={"path_regex": ".*/episodes/.*", "every": 2}, status=429)
    refusals, page = 0, None
    while page is None:
        try:
            page = await provider.read_page(partition, None, 10)
        except RateLimitedError:
            refusals += 1
    assert sorted(record.metadata["n"] for record in page.records) == [0, 1, 2, 3]
    assert refusals == 3


async def test_a_key_that_dies_under_the_walk_is_an_auth_error(zep):
    zep.user()
    provider = await zep.connected()
    [partition] = [one async for one in provider.list_partitions()]
    zep.configure(keys=["another"])
    with pytest.raises(AuthError):
        await provider.read_page(partition, None, 10)
