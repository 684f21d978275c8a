"""The vendor's own client writing to the emulator: signatures of 4.0.1 as they are used, and Zep's habits."""

import inspect
import time

import httpx
import pytest
from zep_cloud import AsyncZep
from zep_cloud.core.api_error import ApiError
from zep_cloud.types import AddMessage, EdgeInput, EdgeNodeRef, NodeInput

from memxfer_zep.emulator import EMULATOR_API_KEY, ZepEmulator

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _now(emulated):
    emulated.clock.now = time.time()


@pytest.fixture
async def sdk(zep):
    async with httpx.AsyncClient(trust_env=False) as http:
        yield AsyncZep(
            api_key=EMULATOR_API_KEY, base_url=f"{zep.url}/api/v4", httpx_client=http, max_retries=0
        )


@pytest.fixture
async def ann(sdk):
    return await sdk.user.create(user_id="ann")


def edge(source, target, fact="Ann likes tea", **fields):
    return EdgeInput(fact=fact, fact_name="LIKES", source_node=source, target_node=target, **fields)


def named(name):
    return EdgeNodeRef(name=name)


async def refusal(call):
    with pytest.raises(ApiError) as caught:
        await call
    error = caught.value.body.error
    assert error.request_id
    return caught.value.status_code, error.code, error.param


USED = {
    "user.create": {"user_id", "metadata", "idempotency_key"},
    "user.get_node": {"user_uuid"},
    "user.delete": {"user_uuid"},
    "graph.create": {"name", "description", "idempotency_key"},
    "graph.delete": {"graph_uuid"},
    "thread.create": {"user_uuid", "idempotency_key"},
    "thread.add_messages": {"thread_uuid", "messages", "idempotency_key"},
    "thread.delete": {"thread_uuid"},
    "graph.node.add": {"graph_uuid", "nodes", "idempotency_key"},
    "graph.node.delete": {"graph_uuid", "node_uuid"},
    "graph.edge.add": {"graph_uuid", "edges", "deduplicate", "idempotency_key"},
    "graph.edge.get": {"graph_uuid", "edge_uuid"},
    "graph.edge.delete": {"graph_uuid", "edge_uuid"},
    "graph.edge.list": {"graph_uuid", "filters", "cursor", "page_size", "order_by", "order"},
    "graph.episode.add": {"graph_uuid", "data", "type", "reference_time", "metadata", "idempotency_key"},
    "graph.episode.delete": {"graph_uuid", "episode_uuid"},
    "graph.episode.list": {"graph_uuid", "filters", "cursor", "page_size", "order_by", "order"},
    "task.get": {"task_uuid"},
    "task.list": {"type", "status", "cursor", "page_size"},
}


@pytest.mark.parametrize(("name", "parameters"), USED.items(), ids=USED.keys())
async def test_the_client_takes_what_it_is_given(sdk, name, parameters):
    found = sdk
    for part in name.split("."):
        found = getattr(found, part)
    assert parameters <= inspect.signature(found).parameters.keys()


async def test_nothing_can_be_given_an_id_or_a_date_of_creation(sdk):
    for model in (EdgeInput, NodeInput, AddMessage):
        assert not {"created_at", "id"} & model.model_fields.keys()
    assert (
        not {"thread_id", "metadata", "created_at"} & inspect.signature(sdk.thread.create).parameters.keys()
    )
    assert "graph_id" not in inspect.signature(sdk.graph.create).parameters


# -- making and removing ------------------------------------------------------------------------


async def test_a_user_id_is_taken_once(sdk, ann):
    assert await refusal(sdk.user.create(user_id="ann")) == (409, "conflict", None)
    assert (await sdk.user.lookup(user_id="ann")).uuid_ == ann.uuid_
    assert (await sdk.user.get_node(ann.uuid_)).name == "ann"


async def test_names_make_new_entities_for_every_fact_and_uuids_do_not(zep, sdk, ann):
    await sdk.graph.edge.add(ann.uuid_, edges=[edge(named("Ann"), named("Acme"))] * 2, deduplicate=False)
    assert zep.counts()["node"] == 1 + 4
    made = await sdk.graph.node.add(ann.uuid_, nodes=[NodeInput(name="Ann"), NodeInput(name="Acme")])
    ends = [EdgeNodeRef(uuid=one.uuid_) for one in made.nodes]
    await sdk.graph.edge.add(ann.uuid_, edges=[edge(*ends)] * 2, deduplicate=False)
    assert zep.counts()["node"] == 1 + 6
    assert zep.counts()["edge"] == 4


async def test_entities_and_facts_show_when_their_task_ends_and_can_be_used_then(zep, sdk, ann):
    zep.configure(task_seconds=10)
    made = await sdk.graph.node.add(ann.uuid_, nodes=[NodeInput(name="Ann"), NodeInput(name="Acme")])
    ends = [EdgeNodeRef(uuid=one.uuid_) for one in made.nodes]
    assert await refusal(sdk.graph.edge.add(ann.uuid_, edges=[edge(*ends)])) == (404, "not_found", None)
    assert (await sdk.task.get(made.task.uuid_)).status == "pending"
    zep.clock.now += 6
    assert (await sdk.task.get(made.task.uuid_)).status == "processing"
    assert [one.uuid_ for one in (await sdk.task.list(type="graph.add_nodes", status="processing")).items]
    zep.clock.now += 5
    assert (await sdk.task.get(made.task.uuid_)).status == "succeeded"
    added = await sdk.graph.edge.add(ann.uuid_, edges=[edge(*ends)])
    assert (await sdk.graph.edge.list(ann.uuid_)).items == []
    zep.clock.now += 11
    [found] = (await sdk.graph.edge.list(ann.uuid_)).items
    assert (found.uuid_, found.name) == (added.edges[0].uuid_, "LIKES")
    assert (await sdk.task.get(added.task.uuid_)).result.edges[0].edge_uuid == found.uuid_


async def test_a_fact_leaves_an_episode_with_its_metadata(zep, sdk, ann):
    await sdk.graph.edge.add(ann.uuid_, edges=[edge(named("a"), named("b"), metadata={"k": "v"})])
    [episode] = (await sdk.graph.episode.list(ann.uuid_)).items
    [found] = (await sdk.graph.edge.list(ann.uuid_)).items
    assert (episode.source, episode.metadata) == ("fact_triple", {"k": "v"})
    assert found.episode_uuids == [episode.uuid_]


async def test_an_episode_is_there_at_once_and_processed_later(zep, sdk, ann):
    zep.configure(task_seconds=10)
    made = await sdk.graph.episode.add(
        ann.uuid_, data="raw", type="text", reference_time="2024-01-01T00:00:00Z", metadata={"a": ["b", 1]}
    )
    [episode] = (await sdk.graph.episode.list(ann.graph_uuid)).items
    assert (episode.processed, episode.reference_time) == (False, "2024-01-01T00:00:00Z")
    zep.clock.now += 11
    assert (await sdk.task.get(made.task.uuid_)).result.episode_uuid == episode.uuid_
    assert (await sdk.graph.episode.get(ann.uuid_, episode.uuid_)).processed is True


async def test_messages_keep_their_order_and_are_episodes_too(zep, sdk, ann):
    thread = await sdk.thread.create(user_uuid=ann.uuid_)
    turns = [AddMessage(role="user", content=f"turn {n}") for n in range(30)]
    added = await sdk.thread.add_messages(thread.uuid_, messages=turns)
    listed = (await sdk.thread.list_messages(thread.uuid_)).items
    assert [one.uuid_ for one in listed] == [one.uuid_ for one in added.messages]
    assert [one.content for one in listed] == [one.content for one in turns]
    assert {one["source"] for one in zep.truth("episode")} == {"message"}
    assert zep.counts()["episode"] == 30


async def test_deletes_happen_when_their_task_ends_and_take_along_what_is_inside(zep, sdk, ann):
    thread = await sdk.thread.create(user_uuid=ann.uuid_)
    await sdk.thread.add_messages(thread.uuid_, messages=[AddMessage(role="user", content="hi")])
    await sdk.graph.episode.add(ann.uuid_, data="raw")
    await sdk.graph.edge.add(ann.uuid_, edges=[edge(named("a"), named("b"))])
    await sdk.task.list()
    zep.configure(task_seconds=10)
    await sdk.thread.delete(thread.uuid_)
    assert zep.counts()["message"] == 1
    zep.clock.now += 11
    assert {one["source"] for one in zep.truth("episode")} == {"text", "fact_triple"}
    assert "message" not in zep.counts()
    [found] = (await sdk.graph.edge.list(ann.uuid_)).items
    await sdk.graph.node.delete(ann.uuid_, found.source_node_uuid)
    zep.clock.now += 11
    assert "edge" not in zep.counts()
    await sdk.user.delete(ann.uuid_)
    zep.clock.now += 11
    assert zep.counts() == {}
    assert (await refusal(sdk.user.delete(ann.uuid_)))[:2] == (404, "not_found")


async def test_an_episode_takes_its_facts_along(zep, sdk, ann):
    await sdk.graph.edge.add(ann.uuid_, edges=[edge(named("a"), named("b"))])
    [episode] = (await sdk.graph.episode.list(ann.uuid_)).items
    await sdk.graph.episode.delete(ann.uuid_, episode.uuid_)
    assert "edge" not in zep.counts()


async def test_filters_on_metadata_find_facts_by_their_episode(zep, sdk, ann):
    for mark in ("one", "two"):
        await sdk.graph.edge.add(ann.uuid_, edges=[edge(named("a"), named("b"), mark, metadata={"k": mark})])
    asked = {
        "metadata_filters": {
            "type": "and",
            "filters": [{"property_name": "k", "operator": "in", "value": ["two"]}],
        }
    }
    assert [one.fact for one in (await sdk.graph.edge.list(ann.uuid_, filters=asked)).items] == ["two"]
    assert [one.content for one in (await sdk.graph.episode.list(ann.uuid_, filters=asked)).items] == ["two"]
    unknown = sdk.graph.edge.list(ann.uuid_, filters={"edge_types": ["LIKES"]})
    assert (await refusal(unknown))[:2] == (400, "unsupported_filter")


# -- the same request twice ---------------------------------------------------------------------


async def test_a_key_repeats_its_answer_until_it_is_forgotten(zep, sdk, ann):
    zep.configure(idempotency_seconds=60)
    first = await sdk.graph.episode.add(ann.uuid_, data="raw", idempotency_key="k")
    second = await sdk.graph.episode.add(ann.uuid_, data="raw", idempotency_key="k")
    assert second == first
    other = sdk.graph.episode.add(ann.uuid_, data="other", idempotency_key="k")
    assert (await refusal(other))[:2] == (409, "idempotency_conflict")
    assert zep.counts()["episode"] == 1
    zep.clock.now += 61
    await sdk.graph.episode.add(ann.uuid_, data="raw", idempotency_key="k")
    assert zep.counts()["episode"] == 2


async def test_a_refused_request_is_not_remembered(zep, sdk, ann):
    long = sdk.graph.episode.add(ann.uuid_, data="x" * 10_001, idempotency_key="k")
    assert (await refusal(long))[0] == 400
    zep.configure(episode_chars=20_000)
    assert (await sdk.graph.episode.add(ann.uuid_, data="x" * 10_001, idempotency_key="k")).episode.uuid_


async def test_what_is_there_twice_is_told(zep, sdk, ann):
    for _ in range(2):
        await sdk.graph.episode.add(ann.uuid_, data="raw", metadata={"memxfer_key": "k"})
        await sdk.graph.edge.add(
            ann.uuid_, edges=[edge(named("a"), named("b"), attributes={"memxfer_key": "k"})]
        )
    assert zep.emulator.summary()["doubled"] == {"edge": 1, "episode": 1}


# -- limits -------------------------------------------------------------------------------------

A, B = named("a"), named("b")
BAD_EDGES = {
    "long fact": (edge(A, B, "x" * 251), "fact"),
    "no fact": (edge(A, B, ""), "fact"),
    "nul": (edge(A, B, "a\0"), "fact"),
    "long end": (edge(named("x" * 51), B), "name"),
    "no end": (edge(EdgeNodeRef(), B), "name"),
    "eleven attributes": (edge(A, B, attributes={str(n): n for n in range(11)}), "attributes"),
    "a list": (edge(A, B, attributes={"a": [1]}), "attributes.a"),
    "null": (edge(A, B, attributes={"a": None}), "attributes.a"),
    "no time": (edge(A, B, valid_at="yesterday"), "valid_at"),
    "no zone": (edge(A, B, valid_at="2024-01-01T00:00:00"), "valid_at"),
    "a name in lower case": (
        EdgeInput(fact="x", fact_name="likes", source_node=A, target_node=B),
        "fact_name",
    ),
}


@pytest.mark.parametrize(("bad", "param"), BAD_EDGES.values(), ids=BAD_EDGES.keys())
async def test_one_bad_fact_refuses_the_whole_batch(zep, sdk, ann, bad, param):
    found = await refusal(sdk.graph.edge.add(ann.uuid_, edges=[edge(A, B), bad]))
    assert found == (400, "invalid_request", param)
    assert "edge" not in zep.counts()


BAD_CALLS = {
    "101 facts": (lambda sdk, ann: sdk.graph.edge.add(ann, edges=[edge(A, B)] * 101), "edges"),
    "no facts": (lambda sdk, ann: sdk.graph.edge.add(ann, edges=[]), "edges"),
    "101 entities": (lambda sdk, ann: sdk.graph.node.add(ann, nodes=[NodeInput(name="a")] * 101), "nodes"),
    "a long name": (lambda sdk, ann: sdk.graph.node.add(ann, nodes=[NodeInput(name="x" * 51)]), "name"),
    "a long episode": (lambda sdk, ann: sdk.graph.episode.add(ann, data="x" * 10_001), "data"),
    "nested metadata": (
        lambda sdk, ann: sdk.graph.episode.add(ann, data="x", metadata={"a": {"b": 1}}),
        "metadata.a",
    ),
    "deduplication": (
        lambda sdk, ann: sdk.graph.edge.add(ann, edges=[edge(A, B)], deduplicate=True),
        "deduplicate",
    ),
    "a long user id": (lambda sdk, ann: sdk.user.create(user_id="x" * 501), "user_id"),
}


@pytest.mark.parametrize(("call", "param"), BAD_CALLS.values(), ids=BAD_CALLS.keys())
async def test_what_is_over_a_limit_is_refused(sdk, ann, call, param):
    assert await refusal(call(sdk, ann.uuid_)) == (400, "invalid_request", param)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([AddMessage(role="user", content="x")] * 31, "messages"),
        ([AddMessage(role="user", content="x" * 4_097)], "content"),
        ([AddMessage(role="narrator", content="x")], "role"),
        ([AddMessage(role="user", content="x", uuid="11111111-1111-4111-8111-111111111111")], "uuid"),
        ([AddMessage(role="user", content="x", metadata={str(n): n for n in range(11)})], "metadata"),
    ],
    ids=["31", "long", "role", "uuid", "metadata"],
)
async def test_bad_messages_are_refused_as_a_whole(zep, sdk, ann, messages, param):
    thread = await sdk.thread.create(user_uuid=ann.uuid_)
    found = await refusal(sdk.thread.add_messages(thread.uuid_, messages=messages))
    assert found == (400, "invalid_request", param)
    assert "message" not in zep.counts()


async def test_projects_do_not_write_into_each_other(zep, sdk):
    zep.configure(keys=(EMULATOR_API_KEY, "other"))
    [theirs] = zep.emulator.seed("user", {"user_id": "ann"}, key="other")
    assert (await refusal(sdk.graph.episode.add(theirs, data="x")))[:2] == (404, "not_found")
    assert (await sdk.user.create(user_id="ann")).uuid_ != theirs


async def test_tasks_and_requests_survive_a_restart(tmp_path):
    first = ZepEmulator(state_path=tmp_path / "zep.sqlite")
    task = first.work.start(EMULATOR_API_KEY, "graph.add", [])
    first.close()
    again = ZepEmulator(state_path=tmp_path / "zep.sqlite")
    again.work.advance()
    assert again.work.get(EMULATOR_API_KEY, task["uuid"])["status"] == "succeeded"
    again.close()
