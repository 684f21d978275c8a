"""Users, graphs, threads and entities are made once each, whatever was lost; and none is orphaned."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from memxfer.spi import AmbiguousError, Container, NotReadyError, Role
from memxfer_zep.containers import CONTAINER_BATCH

pytestmark = pytest.mark.anyio

USER = Container("user:ann", "user", spec={"user_id": "ann@example.org/7"})
GRAPH = Container("graph:job", "graph")
GROUP = Container("graph:team", "graph", spec={"group": "team"})
THREAD = Container("thread:ann/42", "thread", within="user:ann")
OTHER_THREAD = Container("thread:ann/43", "thread", within="user:ann")
NODE = Container("node:user:ann/tea", "node", within="user:ann", spec={"name": "tea"})

LOST = {"close": "eof", "when": "after"}


@pytest.fixture(autouse=True)
def _now(emulated):
    emulated.clock.now = time.time()


@pytest.fixture
async def fresh(zep):
    """Give a function that makes a new provider in a new process, with what the ledger would know."""

    async def make(*known, job="job", **settings):
        staging = zep.staging(await zep.target(**settings), job=job)
        for container in known:
            [made] = await staging.target.ensure([staging.wanted(container)])
            staging.ids[container.name] = made.target_id
        return staging

    return make


async def one(staging, container, **options):
    [made] = await staging.target.ensure([staging.wanted(container, **options)])
    return made


@pytest.mark.parametrize(
    ("container", "path", "kind", "known"),
    [
        (USER, "/api/v4/users", "user", ()),
        (GRAPH, "/api/v4/graphs", "graph", ()),
        (GROUP, "/api/v4/graphs", "graph", ()),
        (THREAD, "/api/v4/threads", "thread", (USER,)),
        (NODE, "/api/v4/graphs/[^/]+/nodes", "node", (USER,)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("remembers", [True, False], ids=["replayed", "forgotten"])
async def test_what_was_made_and_not_answered_is_found_by_another_process(
    zep, fresh, container, path, kind, known, remembers
):
    zep.configure(idempotency_seconds=3600 if remembers else 0)
    staging = await fresh(*known)
    before = zep.counts().get(kind, 0)
    since = staging.target.clock.now()
    zep.break_with(match={"method": "POST", "path_regex": path}, **LOST)
    with pytest.raises(AmbiguousError):
        await one(staging, container)
    zep.break_with("/nowhere", status=500)
    again = await fresh(*known)
    made = await one(again, container, tries=2, since=since)
    third = await one(await fresh(*known), container, tries=3, since=since)
    assert zep.counts()[kind] == before + 1
    assert made.is_new
    assert third.target_id == made.target_id


@pytest.mark.parametrize("container", [USER, GRAPH, THREAD, NODE], ids=lambda one: one.kind)
async def test_what_was_never_made_is_made_by_the_second_try(zep, fresh, container):
    known = () if container.within is None else (USER,)
    staging = await fresh(*known)
    before = zep.counts().get(container.kind, 0)
    made = await one(staging, container, tries=2)
    assert made.is_new
    assert zep.counts()[container.kind] == before + 1


async def test_a_refused_connection_made_nothing_and_says_so(zep, fresh):
    staging = await fresh()
    zep.break_with("/api/v4/users", status=429, retry_after="integer")
    with pytest.raises(Exception, match="429"):
        await one(staging, USER)
    assert "user" not in zep.counts()


# -- users --------------------------------------------------------------------------------------


async def test_a_user_that_exists_is_used_as_it_is(zep, fresh):
    uuid = zep.put("user", user_id="ann@example.org/7", metadata={"plan": "pro"})
    made = await one(await fresh(), USER)
    assert (made.is_new, made.target_id.split(":")[-1]) == (False, uuid)
    assert zep.truth("user")[0]["metadata"] == {"plan": "pro"}
    assert not (await one(await fresh(), USER, tries=2)).is_new


async def test_the_entity_of_a_user_is_zep_s_own(zep, fresh):
    staging = await fresh(USER)
    container = Container("node:user:ann", "user_node", within="user:ann")
    made = await one(staging, container)
    assert not made.is_new
    assert [node["uuid"] for node in zep.truth("node")] == [made.target_id.split(":")[-1]]


# -- graphs -------------------------------------------------------------------------------------


async def test_a_group_s_graph_is_used_again_by_a_later_job_and_a_job_s_own_is_not(zep, fresh):
    first = await one(await fresh(), GROUP)
    second = await one(await fresh(job="another"), GROUP)
    assert (first.is_new, second.is_new) == (True, False)
    assert first.target_id == second.target_id
    await one(await fresh(), GRAPH)
    await one(await fresh(job="another"), GRAPH)
    assert zep.counts()["graph"] == 3


async def test_a_graph_of_the_app_s_own_id_is_a_group_s(zep, fresh):
    uuid = zep.put("graph", graph_id="team", name="The team")
    zep.put("graph", name="team")  # a name alone proves nothing: names are not unique
    made = await one(await fresh(), GROUP)
    assert (made.is_new, made.target_id) == (False, f"graph:{uuid}")


# -- threads ------------------------------------------------------------------------------------


def minutes(count):
    return datetime.fromtimestamp(time.time(), UTC) + timedelta(minutes=count)


def thread_of(zep, staging, at, **fields):
    user = staging.ids["user:ann"].split(":")[-1]
    return zep.put("thread", user_uuid=user, created_at=at.isoformat(), **fields)


@pytest.mark.parametrize(
    ("since", "made_at", "is_adopted"),
    [(0, 0, True), (0, -1, True), (0, 9, True), (0, -3, False), (-20, 0, False)],
)
async def test_a_thread_is_adopted_only_if_it_was_made_when_the_lost_try_was(
    zep, fresh, since, made_at, is_adopted
):
    staging = await fresh(USER)
    lost = thread_of(zep, staging, minutes(made_at))
    made = await one(staging, THREAD, tries=2, since=minutes(since))
    assert (made.target_id.split(":")[-1] == lost) is is_adopted
    assert zep.counts()["thread"] == (1 if is_adopted else 2)


async def test_a_thread_with_messages_or_of_another_container_is_not_adopted(zep, fresh):
    staging = await fresh(USER)
    talked = thread_of(zep, staging, minutes(0))
    zep.put("message", thread_uuid=talked, role="user", content="hi")
    other = await one(staging, OTHER_THREAD)
    made = await one(staging, THREAD, tries=2, taken=frozenset({other.target_id}))
    assert made.target_id not in (other.target_id, f"thread:{talked}")
    assert zep.counts()["thread"] == 3


async def test_a_first_try_adopts_nothing(zep, fresh):
    staging = await fresh(USER)
    thread_of(zep, staging, minutes(0))
    await one(staging, THREAD)
    assert zep.counts()["thread"] == 2


# -- entities -----------------------------------------------------------------------------------


def nodes(count):
    return [
        Container(f"node:user:ann/{n}", "node", within="user:ann", spec={"name": f"n{n}"})
        for n in range(count)
    ]


async def test_a_hundred_entities_are_one_request_and_named_in_order(zep, fresh):
    staging = await fresh(USER)
    assert CONTAINER_BATCH == staging.target.container_batch == {"node": 100}
    made = await staging.target.ensure([staging.wanted(one) for one in nodes(100)])
    by_id = {node["uuid"]: node["name"] for node in zep.truth("node")}
    assert [by_id[one.target_id.split(":")[-1]] for one in made] == [f"n{n}" for n in range(100)]
    assert sum(call["path"].endswith("/nodes") for call in zep.calls()) == 1


async def test_of_a_half_known_batch_only_what_is_missing_is_made(zep, fresh):
    staging = await fresh(USER)
    wanted = nodes(4)
    first = await staging.target.ensure([staging.wanted(one) for one in wanted[:2]])
    again = await staging.target.ensure([staging.wanted(one, tries=2) for one in wanted])
    assert [one.target_id for one in again[:2]] == [one.target_id for one in first]
    assert zep.counts()["node"] == 1 + 4  # the user's own entity is the first


async def test_while_entities_are_still_being_made_a_second_try_waits(zep, fresh):
    zep.configure(task_seconds=30, idempotency_seconds=0)
    staging = await fresh(USER)
    since = staging.target.clock.now()
    made = await one(staging, NODE)
    assert (await staging.target.ingest_status(made.task)).state == "processing"
    for _ in range(2):
        with pytest.raises(NotReadyError):
            await one(staging, NODE, tries=2, since=since)
        zep.clock.now += 14
    zep.clock.now += 14
    again = await one(staging, NODE, tries=2, since=since)
    assert again.target_id == made.target_id
    assert zep.counts()["node"] == 2


async def test_a_name_over_the_limit_is_cut_and_kept_whole_beside_it(zep, fresh):
    staging = await fresh(USER)
    spec = {"name": "x" * 50, "full_name": "x" * 60}
    await one(staging, Container("node:user:ann/long", "node", within="user:ann", spec=spec))
    [node] = [node for node in zep.truth("node") if node["name"].startswith("x")]
    assert node["attributes"]["memxfer_name"] == "x" * 60


async def test_containers_need_a_target_that_is_connected(zep):
    provider = zep.provider()
    with pytest.raises(Exception, match="not connected as a target"):
        await provider.ensure([])
    await provider.connect(Role.TARGET)
    assert await provider.ensure([]) == []
