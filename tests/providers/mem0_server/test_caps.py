"""The listing's cap: everything is read, or nothing is begun."""

from collections import Counter

import pytest

from memxfer import migration
from memxfer.errors import MemxferError
from memxfer.spi import FatalError, RateLimitedError, Role
from memxfer_archive import ArchiveConfig, ArchiveProvider
from memxfer_mem0_server.emulator.settings import EMULATOR_USER_KEY

pytestmark = pytest.mark.anyio


async def assert_complete(server, **settings):
    found = Counter(record.id for record in await server.records(**settings))
    assert found == Counter(row["id"] for row in server.truth())


async def test_999_memories_of_one_user_are_read_in_one_request(server):
    server.put(999, user_id="ann")
    await assert_complete(server)
    assert server.calls().count("/memories") == 3  # the preflight, what has no scope, the user


@pytest.mark.parametrize("count", [1000, 1001])
async def test_a_user_that_fills_an_answer_is_refused_with_the_remedy(server, count):
    server.put(count, user_id="ann")
    with pytest.raises(FatalError, match=rf"user ann .*{count} memories.*mem0-oss.*Postgres") as caught:
        await server.names()
    assert caught.value.code == "over_cap"


async def test_a_user_whose_agents_are_small_is_read_by_agent(server):
    server.put(700, user_id="ann", agent_id="a")
    server.put(800, user_id="ann", agent_id="b")
    assert set(await server.names()) == {"agent:a", "agent:b"}
    await assert_complete(server)


async def test_a_user_with_memories_of_no_agent_or_run_is_refused(server):
    server.put(700, user_id="ann", agent_id="a")
    server.put(800, user_id="ann")
    with pytest.raises(FatalError, match="has 1500 memories, of which agents, users and runs give 700"):
        await server.names()


async def test_large_users_of_large_agents_are_read_by_both(server):
    for user in ("ann", "bob"):
        for agent in ("a", "b"):
            server.put(600, user_id=user, agent_id=agent)
    assert set(await server.names()) == {
        '{"agent":"a","user":"ann"}',
        '{"agent":"b","user":"ann"}',
        '{"agent":"a","user":"bob"}',
        '{"agent":"b","user":"bob"}',
    }
    await assert_complete(server, limit=70)


async def test_three_axes_are_intersected_where_two_are_not_enough(server):
    for run in ("r", "s"):
        for user, agent, count in (("ann", "a", 600), ("ann", "b", 500), ("bob", "a", 500)):
            server.put(count, user_id=user, agent_id=agent, run_id=run)
    assert '{"agent":"a","session":"r","user":"ann"}' in await server.names()
    await assert_complete(server)


async def test_one_agent_of_many_small_users_needs_no_slice_of_its_own(server):
    for number in range(5):
        server.put(300, user_id=f"u{number}", agent_id="shop")
    assert set(await server.names()) == {f"user:u{number}" for number in range(5)}
    await assert_complete(server)


async def test_a_memory_of_several_owners_comes_once(server):
    server.put(3, user_id="ann", agent_id="a", run_id="r")
    server.put(2, agent_id="a", run_id="r")
    server.put(1, run_id="r")
    await assert_complete(server, limit=2)
    ignored = [row for page in await server.pages() for row in page.ignored]
    assert {(row.reason, row.harmless) for row in ignored} == {("listed_elsewhere", True)}
    assert {row.id for row in ignored} <= {row["id"] for row in server.truth()}


async def test_a_store_as_large_as_the_scan_of_entities_is_refused(server):
    for number in range(11):
        server.put(950, user_id=f"u{number}")
    with pytest.raises(FatalError, match=r"10000 memories or more.*mem0-oss") as caught:
        await server.names()
    assert caught.value.code == "over_cap"


async def test_a_scan_that_two_axes_hide_is_noticed_too(server):
    for number in range(6):
        server.put(950, user_id=f"u{number}")
        server.put(950, run_id=f"r{number}")
    with pytest.raises(FatalError, match="10000 memories or more"):
        await server.names()


async def test_many_memories_of_two_axes_are_no_full_scan(server):
    for number in range(6):
        server.put(900, user_id=f"u{number}", run_id=f"r{number}")
    await assert_complete(server)


async def test_a_user_that_grows_after_the_survey_is_refused_and_not_cut(server):
    server.put(999, user_id="ann")
    provider = await server.connected()
    [partition] = [one async for one in provider.list_partitions()]
    server.put(1, user_id="ann")
    with pytest.raises(FatalError, match="has grown to 1000"):
        await provider.read_page(partition, None, 100)


async def test_a_listing_shorter_than_the_server_s_own_count_is_refused(server):
    server.put(5, user_id="ann")
    provider = await server.connected()
    [partition] = [one async for one in provider.list_partitions()]
    server.break_with("/memories", body={"results": server.truth()[:3]}, status=200)
    with pytest.raises(FatalError, match="lists 3 memories of user:ann, and counts 5"):
        await provider.read_page(partition, None, 100)


async def test_memories_deleted_since_the_survey_are_no_shortage(server):
    names = server.put(5, user_id="ann")
    provider = await server.connected()
    [partition] = [one async for one in provider.list_partitions()]
    server.emulator.store.remove(names[0])
    assert len((await provider.read_page(partition, None, 100)).records) == 4


async def test_an_update_moves_a_row_out_of_the_window_but_not_out_of_the_walk(server):
    names = server.put(30, user_id="ann")
    provider = await server.connected()
    [partition] = [one async for one in provider.list_partitions()]
    first = await provider.read_page(partition, None, 10)
    server.emulator.store.put({**server.emulator.store.get(names[3]), "memory": "changed"})
    again = await server.connected()  # as another process would go on
    rest = await again.read_page(partition, first.next_cursor, 1000)
    assert {one.id for one in (*first.records, *rest.records)} == set(names)


async def test_memories_without_any_owner_are_a_slice_of_their_own(server):
    server.put(2)
    server.put(2, user_id="ann")
    assert await server.names() == ["user:ann", "unscoped"]
    await assert_complete(server)


async def test_memories_without_owner_among_too_many_are_refused(server):
    server.put(1)
    for number in range(2):
        server.put(700, user_id=f"u{number}")
    with pytest.raises(FatalError, match="without user, agent and run"):
        await server.names()


async def test_a_server_on_qdrant_is_named_in_the_preflight_and_never_read_as_empty(server):
    server.put(3, user_id="ann")
    server.configure(store="qdrant")
    provider = server.provider()
    info = await provider.connect(Role.SOURCE)
    assert "Qdrant" in info.warnings[0]
    with pytest.raises(FatalError, match="lists no user") as caught:
        await anext(provider.list_partitions())
    assert caught.value.code == "entities_missing"


async def test_a_key_that_is_no_admin_s_reads_and_the_preflight_says_what_it_may_not_see(server):
    server.put(3, user_id="ann")
    info = await server.provider(api_key=EMULATOR_USER_KEY).connect(Role.SOURCE)
    assert "admin" in info.warnings[0]
    await assert_complete(server, api_key=EMULATOR_USER_KEY)


async def test_a_survey_that_a_rate_limit_cuts_short_goes_on_where_it_was(server):
    for number in range(5):
        server.put(300, user_id=f"u{number}", agent_id="shop")
    provider = await server.connected()
    server.break_with("/memories", match={"every": 3}, status=429)
    names, refusals = [], 0
    while not names and refusals < 10:
        try:
            names = [one.name async for one in provider.list_partitions()]
        except RateLimitedError:
            refusals += 1
    assert len(names) == 5
    assert 0 < refusals < 10


async def test_a_refused_server_moves_nothing(server, tmp_path):
    server.put(20, user_id="bob")
    server.put(1000, user_id="ann")
    target = ArchiveProvider(ArchiveConfig(provider="archive", path=tmp_path / "out"))
    with pytest.raises(MemxferError, match=r"user ann .*mem0-oss"):
        await migration.migrate(
            server.provider(),
            target,
            state_dir=tmp_path / "state",
            options=migration.Options(accept_loss=("all",)),
        )
    assert not list(tmp_path.glob("out/**/*.gz"))
