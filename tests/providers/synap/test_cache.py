"""The SDK's cache behind its guard: what it answers, and what it must not answer."""

from __future__ import annotations

import asyncio

import pytest
from maximem_synap.cache import CacheManager
from maximem_synap.models.enums import ContextScope
from pydantic import ValidationError

from memxfer.spi import ConfigError, MemoryRecord, Role, Scope, UnavailableError
from memxfer_synap import SynapConfig
from memxfer_synap.client.caching import GuardedCache
from memxfer_synap.client.port import ContextQuery
from memxfer_synap.emulator.settings import Retrieval

pytestmark = pytest.mark.anyio

ANN = Scope(user="ann")


@pytest.fixture
def transport():
    return "sdk"


@pytest.fixture
async def app(synap, tmp_path):
    async def connected(**settings):
        provider = synap.provider(**{"cache": "sqlite", "cache_path": tmp_path / "cache", **settings})
        await provider.connect(Role.APP)
        return provider

    return connected


async def say(provider, text, scope=ANN):
    record = MemoryRecord(id=text, content=text, scope=scope, created_at=provider.clock.now())
    await provider.write([provider.prepare(record, text, {})])


async def found(provider, scope=ANN, query="tea"):
    return [hit.memory.content for hit in await provider.search(query, scope=scope, limit=9)]


def fetches(synap):
    """Count fetches beyond those of connecting, which ask for the client's context."""
    return sum(call["path"] == "/v1/context/user/fetch" for call in synap.calls())


async def test_the_same_question_is_asked_once_and_answered_alike(app, synap):
    provider = await app()
    await say(provider, "Ann likes tea.")
    first = await provider.search("tea", scope=ANN, limit=9)
    assert await provider.search("tea", scope=ANN, limit=9) == first
    assert fetches(synap) == 1
    made = await provider.package("tea", scope=ANN, limit=9)
    assert (made.text, made.correlation_id) == ("- Ann likes tea.", None)
    await provider.search("tea", scope=ANN, limit=8)
    assert fetches(synap) == 2


async def test_without_the_setting_every_question_is_asked_and_nothing_is_written(app, synap, tmp_path):
    provider = await app(cache="off")
    await say(provider, "Ann likes tea.")
    assert await found(provider) == await found(provider)
    assert fetches(synap) == 2
    assert not (tmp_path / "cache").exists()


async def test_a_migration_has_no_cache(app, synap, tmp_path):
    provider = synap.provider(cache="sqlite", cache_path=tmp_path / "cache")
    await provider.connect(Role.TARGET)
    await provider.search("tea", scope=ANN, limit=9)
    assert not (tmp_path / "cache").exists()
    await provider.connect(Role.APP)  # the same provider, for an app now
    await say(provider, "Ann likes tea.")
    assert await found(provider) == await found(provider) == ["Ann likes tea."]
    assert fetches(synap) == 2


async def test_a_deleted_memory_is_not_served_again_by_any_process(app, synap):
    provider, other = await app(), await app()
    await say(provider, "Ann likes tea.")
    [hit] = await provider.search("tea", scope=ANN, limit=9)
    assert await found(other) == ["Ann likes tea."]
    assert fetches(synap) == 1  # the other one had it from the disk
    assert await provider.delete([hit.memory.id]) == 1
    assert await found(provider) == []
    assert await found(other) == []


async def test_a_changed_memory_is_not_served_as_it_was(app):
    provider = await app()
    await say(provider, "Ann likes tea.")
    [hit] = await provider.search("tea", scope=ANN, limit=9)
    await provider.update(hit.memory.id, "Ann likes tea no more.")
    assert await found(provider) == ["Ann likes tea no more."]


async def test_a_deletion_in_doubt_forgets_too(app, synap):
    provider = await app()
    await say(provider, "Ann likes tea.")
    [hit] = await provider.search("tea", scope=ANN, limit=9)
    synap.break_with("/api/v1/memories/", match={"method": "DELETE"}, when="after", close="eof")
    with pytest.raises(UnavailableError):
        await provider.delete([hit.memory.id])
    assert await found(provider) == []


async def test_an_answer_under_way_during_a_deletion_is_not_kept(app, synap, monkeypatch):
    provider = await app()
    await say(provider, "Ann likes tea.")
    [hit] = await provider.search("tea", scope=ANN, limit=9)
    transport = provider._client._sdk._http_transport
    post, answered, go_on = transport.post, asyncio.Event(), asyncio.Event()

    async def slow(*args, **kwargs):
        answer = await post(*args, **kwargs)
        answered.set()
        await go_on.wait()
        return answer

    monkeypatch.setattr(transport, "post", slow)
    late = asyncio.create_task(found(provider, query="likes tea"))
    await answered.wait()
    await provider.delete([hit.memory.id])
    go_on.set()
    assert await late == ["Ann likes tea."]  # it was asked before
    assert await found(provider, query="likes tea") == []


async def test_users_of_one_name_with_two_customers_do_not_share_answers(app):
    provider = await app()
    await say(provider, "Tea of acme's Ann.")
    await say(provider, "Tea of globex's Ann.", Scope(user="ann", tenant="globex"))
    assert await found(provider) == ["Tea of acme's Ann."]
    assert await found(provider, Scope(user="ann", tenant="globex")) == ["Tea of globex's Ann."]


@pytest.mark.parametrize("user", ["../../outside", "a/b", "x" * 300, "a\\b%_"])
async def test_odd_user_ids_name_no_files(app, user, tmp_path, synap):
    provider = await app()
    await say(provider, "Tea.", Scope(user=user))
    assert await found(provider, Scope(user=user)) == await found(provider, Scope(user=user)) == ["Tea."]
    assert fetches(synap) == 1
    assert [file for file in tmp_path.iterdir() if file.name != "cache"] == []
    names = {file.name for file in (tmp_path / "cache").rglob("*.db")} - {"client_cache.db"}
    assert names
    assert all(len(name) == 35 for name in names)


async def test_what_is_not_whole_is_not_kept(app, synap):
    provider = await app()
    await say(provider, "Ann likes tea.")
    synap.configure(retrieval=Retrieval(level="partial"))
    await found(provider)
    synap.configure()
    await found(provider)
    assert fetches(synap) == 2


async def test_what_is_deleted_leaves_the_disk(app, tmp_path):
    provider = await app()
    await say(provider, "Ann likes tea.")
    [hit] = await provider.search("tea", scope=ANN, limit=9)
    files = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert any(b"Ann likes tea" in file.read_bytes() for file in files)
    await provider.delete([hit.memory.id])
    files = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert not any(b"Ann likes tea" in file.read_bytes() for file in files)


async def test_a_cache_that_cannot_be_written_costs_no_answer(app, tmp_path):
    provider = await app()
    await say(provider, "Ann likes tea.")
    [home] = (tmp_path / "cache").iterdir()
    pointer = (home / "current").read_text()
    (home / pointer).write_text("a file where a folder should be")
    assert await found(provider) == ["Ann likes tea."]


async def test_a_folder_that_cannot_be_made_is_found_out_when_connecting(app, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ConfigError, match="cache_path"):
        await app()


def test_nothing_is_cached_outside_a_question_or_once_forgetting_failed(tmp_path, monkeypatch):
    cache = GuardedCache(
        tmp_path, lambda folder: CacheManager("c", storage_path=str(folder), instance_id="i")
    )
    question = ContextQuery("user", "tea", 9, "fast", "ann", "acme")
    args = (ContextScope.USER, "ann", "context")
    cache.set(*args, b"{}", query={"q": 1})
    assert cache.get(*args, query={"q": 1}) is None
    with cache.asking(question):
        cache.set(*args, b'{"items": []}', query={"q": 1})
        assert cache.get(*args, query={"q": 1}) == b'{"items": []}'

    def refuse(*_, **__):
        raise OSError("read-only")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    cache.drop()
    with cache.asking(question):
        assert cache.get(*args, query={"q": 1}) is None
    cache.close()


def test_the_cache_is_the_sdk_s():
    with pytest.raises(ValidationError, match="transport"):
        SynapConfig(provider="synap", api_key="k", transport="http", cache="sqlite")
    assert SynapConfig(provider="synap", api_key="k", transport="http", cache="off").cache == "off"
