"""The emulator's side of what an app asks: searches, texts for prompts and changes, through the SDK."""

import time

import httpx
import pytest
from zep_cloud import AsyncZep
from zep_cloud.core.api_error import ApiError

from memxfer_zep.emulator import EMULATOR_API_KEY

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _now(emulated):
    emulated.clock.now = time.time()


@pytest.fixture
def graph(zep):
    return zep.user(user_id="ann")[1]


def put(zep, graph, *facts, **fields):
    return zep.put("edge", *({"graph_uuid": graph, "fact": fact, **fields} for fact in facts))


@pytest.fixture
async def sdk(zep):
    async with httpx.AsyncClient(trust_env=False) as http:
        yield AsyncZep(
            api_key=EMULATOR_API_KEY, base_url=f"{zep.url}/api/v4", httpx_client=http, max_retries=0
        )


async def test_the_sdk_reads_the_emulator_s_searches_and_texts(zep, sdk, graph):
    put(zep, graph, "Ann likes green tea", "Ann likes tea")
    found = await sdk.graph.search_edges(graph, query="green tea", page_size=1)
    assert [(one.fact, one.score) for one in found.items] == [("Ann likes green tea", 1.0)]
    block = await sdk.graph.get_context(graph, query="green tea", include_results=True, max_characters=20)
    assert block.truncated
    assert len(block.context) == 20
    assert [one.selection_rank for one in block.results.edges] == [1, 2]
    assert block.results.episodes == []
    assert (await sdk.graph.get_context(graph, query="green tea")).results is None


async def test_the_emulator_refuses_what_zep_would(zep, sdk, graph):
    [edge] = put(zep, graph, "Ann likes tea")
    for call in (
        sdk.graph.search_edges(graph, query=" "),
        sdk.graph.search_edges(graph, query="tea", page_size=51),
        sdk.graph.edge.update(graph, edge, fact="x" * 251),
    ):
        with pytest.raises(ApiError) as caught:
            await call
        assert caught.value.status_code == 400


async def test_attributes_are_merged_and_null_removes_one(zep, sdk, graph):
    tea = put(zep, graph, "Ann likes tea", attributes={"a": 1, "b": 2})[0]
    changed = await sdk.graph.edge.update(graph, tea, attributes={"b": None, "c": 3})
    assert (changed.fact, changed.attributes) == ("Ann likes tea", {"a": 1, "c": 3})


async def test_a_fact_is_found_once_its_task_has_ended(zep, sdk, graph):
    zep.configure(task_seconds=60)
    node = {"name": "x"}
    await sdk.graph.edge.add(
        graph,
        edges=[{"fact": "Ann likes tea", "fact_name": "LIKES", "source_node": node, "target_node": node}],
    )
    assert (await sdk.graph.search_edges(graph, query="tea")).items == []
    zep.clock.now += 61
    [found] = (await sdk.graph.search_edges(graph, query="tea")).items
    assert found.user_uuid == zep.truth("user")[0]["uuid"]
