"""The vendor's own client against the emulator: paths, shapes and errors are those that it expects."""

import importlib.metadata
import subprocess
import sys

import httpx
import pytest
from zep_cloud import AsyncZep
from zep_cloud.core.api_error import ApiError

from memxfer.spi import ConfigError, ProviderNotInstalledError, Role
from memxfer_zep.emulator import EMULATOR_API_KEY, ZepEmulator

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sdk(zep):
    async with httpx.AsyncClient(trust_env=False) as http:
        yield AsyncZep(
            api_key=EMULATOR_API_KEY, base_url=f"{zep.url}/api/v4", httpx_client=http, max_retries=0
        )


def test_the_client_is_the_version_that_was_read():
    assert importlib.metadata.version("zep-cloud") == "4.0.1"


async def test_every_list_answers_pages_that_the_sdk_reads(zep, sdk):
    user, graph = zep.user(user_id="ann")
    thread = zep.put("thread", user_uuid=user, thread_id="t1")
    zep.put("message", thread_uuid=thread, role="user", content="hello")
    standalone = zep.put("graph", name="docs")
    for kind in ("edge", "node", "thread_summary", "document_summary"):
        zep.put(kind, graph_uuid=graph, fact="x", summary="y")
    lists = {
        "users": await sdk.user.list(),
        "threads": await sdk.thread.list(user_uuid=user),
        "messages": await sdk.thread.list_messages(thread),
        "graphs": await sdk.graph.list(),
        "episodes": await sdk.graph.episode.list(graph),
        "edges": await sdk.graph.edge.list(graph),
        "nodes": await sdk.graph.node.list(graph),
        "thread_summaries": await sdk.graph.thread_summary.list(graph),
        "document_summaries": await sdk.graph.document_summary.list(graph),
    }
    assert {name: len(page.items) for name, page in lists.items()} == dict.fromkeys(lists, 1)
    assert {name for name, page in lists.items() if page.response.total_size == 1} == {
        "users",
        "threads",
        "messages",
        "graphs",
    }
    assert lists["graphs"].items[0].uuid_ == standalone
    assert lists["nodes"].items[0].episode_uuids_truncated is False
    assert not any(page.has_next for page in lists.values())


async def test_gets_and_lookups_find_what_is_there(zep, sdk):
    user, graph = zep.user(user_id="a/b@example.org")
    episode = zep.put("episode", graph_uuid=graph, content="raw", source="text")
    standalone = zep.put("graph", graph_id="kb")
    assert (await sdk.user.get(user)).user_id == "a/b@example.org"
    assert (await sdk.user.lookup(user_id="a/b@example.org")).uuid_ == user
    assert (await sdk.graph.lookup(graph_id="kb")).uuid_ == standalone
    assert (await sdk.graph.episode.get(user, episode)).content == "raw"  # a user's uuid stands for the graph
    assert (await sdk.project.get()).uuid_


async def test_a_message_is_an_episode_of_its_user_s_graph_too(zep, sdk):
    user, graph = zep.user()
    thread = zep.put("thread", user_uuid=user)
    zep.put("message", thread_uuid=thread, role="assistant", name="Bo", content="hi")
    [episode] = (await sdk.graph.episode.list(graph)).items
    assert (episode.source, episode.role_name, episode.thread_uuid) == ("message", "Bo", thread)


async def test_pages_go_by_cursor_and_hold_a_hundred_at_most(zep, sdk):
    _, graph = zep.user()
    zep.facts(graph, 230)
    first = await sdk.graph.edge.list(graph, page_size=500, order_by="uuid", order="asc")
    second = await sdk.graph.edge.list(
        graph, page_size=100, order_by="uuid", order="asc", cursor=first.response.next_cursor
    )
    assert len(first.items) == len(second.items) == 100
    assert max(one.uuid_ for one in first.items) < min(one.uuid_ for one in second.items)
    assert len([one async for one in await sdk.graph.edge.list(graph)]) == 230
    zep.configure(oversized_pages="reject")
    with pytest.raises(ApiError) as caught:
        await sdk.graph.edge.list(graph, page_size=101)
    assert caught.value.status_code == 400


async def test_facts_without_a_date_sort_as_1970(zep, sdk):
    _, graph = zep.user()
    for number, moment in enumerate(("2020-01-01T00:00:00Z", None, "1960-01-01T00:00:00Z")):
        zep.put("edge", graph_uuid=graph, fact=str(number), **({"valid_at": moment} if moment else {}))
    found = (await sdk.graph.edge.list(graph, order_by="valid_at", order="asc")).items
    assert [one.fact for one in found] == ["2", "1", "0"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"order": "desc"}, "invalid_cursor"),
        ({"cursor": "junk"}, "invalid_cursor"),
        ({"order_by": "fact"}, "invalid_parameter"),
    ],
)
async def test_a_cursor_belongs_to_its_list_alone(zep, sdk, change, code):
    _, graph = zep.user()
    zep.facts(graph, 3)
    asked = {"page_size": 1, "order_by": "uuid", "order": "asc"}
    cursor = (await sdk.graph.edge.list(graph, **asked)).response.next_cursor
    with pytest.raises(ApiError) as caught:
        await sdk.graph.edge.list(graph, **{**asked, "cursor": cursor, **change})
    assert (caught.value.status_code, caught.value.body.error.code) == (400, code)


@pytest.mark.parametrize(
    ("identifier", "status", "code"),
    [("legacy-id", 400, "invalid_identifier"), ("11111111-1111-4111-8111-111111111111", 404, "not_found")],
)
async def test_ids_that_are_none_or_unknown_are_told_apart(zep, sdk, identifier, status, code):
    with pytest.raises(ApiError) as caught:
        await sdk.graph.edge.list(identifier)
    assert (caught.value.status_code, caught.value.body.error.code) == (status, code)
    assert caught.value.body.error.request_id


async def test_projects_do_not_see_each_other(zep, sdk):
    zep.configure(keys=(EMULATOR_API_KEY, "other"))
    zep.emulator.seed("user", {"user_id": "theirs"}, key="other")
    assert (await sdk.user.list()).items == []


async def test_rate_headers_are_on_every_answer_and_retry_after_on_refusals(zep):
    zep.configure(rate_limit={"per_minute": 5, "burst": 1})
    headers = {"authorization": f"Api-Key {EMULATOR_API_KEY}"}
    async with httpx.AsyncClient(base_url=zep.url, headers=headers, trust_env=False) as http:
        taken, refused = await http.get("/api/v4/project"), await http.get("/api/v4/project")
    assert (taken.status_code, refused.status_code) == (200, 429)
    assert taken.headers["x-ratelimit-limit"] == refused.headers["x-ratelimit-limit"] == "5"
    assert taken.headers["x-ratelimit-remaining"] == "4"
    assert taken.headers["x-ratelimit-increment"] == "1"
    assert "retry-after" not in taken.headers
    assert int(refused.headers["retry-after"]) == 12
    assert refused.json()["error"]["code"] == "rate_limited"


async def test_a_spent_quota_drops_the_account_to_five_a_minute(zep, sdk):
    zep.configure(quota_calls=3)
    for _ in range(3):
        await sdk.project.get()
    await sdk.project.get()
    with pytest.raises(ApiError) as caught:
        await sdk.project.get()
    assert caught.value.status_code == 429
    assert caught.value.headers["x-ratelimit-limit"] == "5"


async def test_the_admin_api_and_the_seed_route_show_and_take_everything(zep):
    headers = {"authorization": f"Api-Key {EMULATOR_API_KEY}"}
    async with httpx.AsyncClient(base_url=zep.url, trust_env=False) as http:
        assert (await http.post("/_seed", json={"kind": "user", "rows": [{}]})).status_code == 401
        seeded = await http.post(
            "/_seed", json={"kind": "user", "rows": [{"user_id": "ann"}]}, headers=headers
        )
        refused = await http.post("/_seed", json={"kind": "wish", "rows": []}, headers=headers)
        truth = (await http.get("/_emulator/truth")).json()
        assert (await http.get("/_emulator/truth?summary=1")).json()["user"] == 1
    assert refused.status_code == 422
    assert [(one["kind"], one["uuid"]) for one in truth["documents"]] == [("user", *seeded.json()["uuids"])]
    assert "emulator" in seeded.headers["x-emulator"]


def test_what_is_stored_survives_a_restart(tmp_path):
    first = ZepEmulator(state_path=tmp_path / "zep.sqlite")
    [uuid_] = first.seed("user", {"user_id": "ann"})
    first.close()
    again = ZepEmulator(state_path=tmp_path / "zep.sqlite")
    assert [one["uuid"] for one in again.truth(0, 10, brief=False)["documents"]] == [uuid_]
    again.close()


# -- the SDK inside the provider ----------------------------------------------------------------


def test_importing_the_provider_imports_no_sdk_and_no_http_client():
    program = (
        "import sys, memxfer_zep; memxfer_zep.ZepProvider.config_model.model_fields;"
        "bad = {'zep_cloud', 'httpx', 'aiohttp'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_a_missing_sdk_names_the_extra(zep, monkeypatch):
    monkeypatch.setitem(sys.modules, "zep_cloud", None)
    with pytest.raises(ProviderNotInstalledError, match=r"memxfer\[zep\]"):
        await zep.provider().connect(Role.SOURCE)


async def test_an_sdk_of_v3_is_refused_with_the_remedy(zep, monkeypatch):
    monkeypatch.setitem(sys.modules, "zep_cloud.lookup", None)
    with pytest.raises(ConfigError, match=r"zep-cloud>=4\.0\.1,<5"):
        await zep.provider().connect(Role.SOURCE)


async def test_the_environment_of_the_sdk_does_not_lead_it_astray(zep, monkeypatch):
    monkeypatch.setenv("ZEP_API_KEY", "another")
    monkeypatch.setenv("ZEP_API_URL", "http://127.0.0.1:9")
    provider = await zep.connected()
    assert provider.store().provider == "zep"


async def test_nothing_is_sent_twice_by_the_sdk(zep):
    _, graph = zep.user()
    zep.facts(graph, 1)
    provider = await zep.connected()
    [partition] = [one async for one in provider.list_partitions()]
    zep.break_with("/api/v4/graphs", status=503)
    with pytest.raises(Exception, match="503"):
        await provider.read_page(partition, None, 10)
    assert zep.emulator.faults.report()[0]["seen"] == 1
