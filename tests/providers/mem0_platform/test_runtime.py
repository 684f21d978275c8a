"""What an app asks of the platform while it runs: through the provider, and through a client of memory."""

import logging
from datetime import UTC, datetime

import pytest

from memxfer.client import ClientSettings, MemoryClient
from memxfer.spi import (
    AmbiguousError,
    CursorExpiredError,
    ProviderError,
    RateLimitedError,
    RecordError,
    RecordState,
    Role,
    Scope,
    SupportsScopedList,
    SupportsSearch,
    SupportsUpdate,
    UnavailableError,
    UnsupportedOperationError,
)
from memxfer_mem0_platform import Mem0PlatformConfig, Mem0PlatformProvider

pytestmark = pytest.mark.anyio

ANN = Scope(user="ann")
LIST, SEARCH = "POST /v3/memories/", "POST /v3/memories/search/"
PRIVATE = "the locker code is forty-one seventy"
OWNERS = ["ann", "Ann", "ANN", "ann@x", "a/b", "ann ", "{}", "än"]


@pytest.fixture
async def app(platform):
    provider = platform.provider()
    await provider.connect(Role.APP)
    return provider


async def everything(provider, scope, limit):
    cursor, found = None, []
    while True:
        page = await provider.list_scoped(scope, limit=limit, cursor=cursor)
        found += page.records
        cursor = page.next_cursor
        if cursor is None:
            return found


# -- search -------------------------------------------------------------------------------------


async def test_a_search_gives_the_best_first_with_scores_and_ids_that_work(platform, app):
    platform.put(1, text="Ann likes green tea")
    platform.put(2, text="Ann likes trains")
    hits = await app.search("likes green tea", scope=ANN, limit=5)
    assert [hit.memory.content for hit in hits] == ["Ann likes green tea", "Ann likes trains"]
    assert [hit.score for hit in hits] == [1.0, pytest.approx(1 / 3)]
    assert await app.get(hits[0].memory.id) == hits[0].memory
    assert len(await app.search("likes", scope=ANN, limit=1)) == 1


async def test_the_operations_are_there_to_be_detected(app):
    assert isinstance(app, SupportsSearch)
    assert isinstance(app, SupportsScopedList)
    assert isinstance(app, SupportsUpdate)


async def test_a_question_without_text_finds_nothing_and_asks_nobody(platform, app):
    assert await app.search("  ", scope=ANN, limit=5) == []
    assert SEARCH not in platform.calls()


@pytest.mark.parametrize("owner", OWNERS)
async def test_nobody_sees_what_is_another_s(platform, app, owner):
    for name in OWNERS:
        platform.put(text=f"{name} likes tea", scope={"user_id": name})
    hits = await app.search("likes tea", scope=Scope(user=owner), limit=50)
    assert [hit.memory.content for hit in hits] == [f"{owner} likes tea"]
    assert [one.scope for one in await everything(app, Scope(user=owner), 3)] == [Scope(user=owner)]


async def test_every_axis_of_a_scope_counts(platform, app):
    platform.put(text="tea of s1", scope={"user_id": "ann", "run_id": "s1"})
    platform.put(text="tea of s2", scope={"user_id": "ann", "run_id": "s2"})
    platform.put(text="tea of all", scope={"user_id": "ann"})
    scope = Scope(user="ann", session="s1")
    assert [hit.memory.content for hit in await app.search("tea", scope=scope, limit=9)] == ["tea of s1"]
    assert [one.content for one in await everything(app, scope, 9)] == ["tea of s1"]
    assert len(await everything(app, ANN, 9)) == 3


@pytest.mark.parametrize("scope", [Scope(), Scope(user=""), Scope(user="*"), Scope(user="ann", agent="*")])
async def test_a_scope_of_everybody_is_refused(platform, app, scope):
    platform.put()
    with pytest.raises(ValueError, match="scope"):
        await app.search("tea", scope=scope, limit=5)
    with pytest.raises(ValueError, match="scope"):
        await app.list_scoped(scope, limit=5, cursor=None)
    assert not {LIST, SEARCH} & platform.calls().keys()


@pytest.mark.parametrize("more", [{"tenant": "acme"}, {"group": "team"}])
async def test_an_axis_that_mem0_cannot_tell_apart_is_refused(app, more):
    with pytest.raises(UnsupportedOperationError, match="leave them out"):
        await app.search("tea", scope=Scope(user="ann", **more), limit=5)


async def test_a_limit_below_one_is_refused(app):
    with pytest.raises(ValueError, match="limit"):
        await app.list_scoped(ANN, limit=0, cursor=None)


async def test_rows_of_others_are_left_out_whatever_the_filter_let_through(platform, app, caplog):
    caplog.set_level(logging.DEBUG)
    rows = [
        {"id": "1", "memory": "mine", "user_id": "ann"},
        {"id": "2", "memory": PRIVATE, "user_id": "bob"},
        {"id": "3", "memory": "unsaid"},
        {"memory": "no id", "user_id": "ann"},
    ]
    for path in ("/v3/memories/search/", "/v3/memories/"):
        platform.break_with(path, status=200, body={"results": rows})
        if "search" in path:
            found = [hit.memory for hit in await app.search("x", scope=ANN, limit=9)]
        else:
            page = await app.list_scoped(ANN, limit=9, cursor=None)
            found = page.records
            assert [defect.error.code for defect in page.defects] == ["unreadable"]
        assert [one.content for one in found] == ["mine", "unsaid"]
    assert "another owner" in caplog.text
    assert PRIVATE not in caplog.text


# -- list ---------------------------------------------------------------------------------------


async def test_a_short_list_is_one_request_and_shows_what_an_app_should_see(platform, app):
    platform.put(1, text="now")
    platform.put(2, text="replaced", replaced_by="x")
    platform.put(3, text="over", expiration_date="2020-01-01")
    platform.put(4, text="twin", merged=True)
    page = await app.list_scoped(ANN, limit=10, cursor=None)
    assert {one.content: one.state for one in page.records} == {
        "now": RecordState.ACTIVE,
        "replaced": RecordState.SUPERSEDED,
    }
    assert page.next_cursor is None
    assert platform.calls()[LIST] == 1


async def test_a_list_goes_on_in_another_process_and_new_memories_do_not_shift_it(platform, app):
    for number in range(7):
        platform.put(number)
    first = await app.list_scoped(ANN, limit=3, cursor=None)
    platform.put(text="newest", created_at=platform.emulator.now(), updated_at=platform.emulator.now())
    other = platform.provider()
    await other.connect(Role.APP)
    rest, cursor = [], first.next_cursor
    for limit in (2, 4, 3, 3, 3):  # a page may begin in the middle of another size's
        page = await other.list_scoped(ANN, limit=limit, cursor=cursor)
        rest += page.records
        cursor = page.next_cursor
        if cursor is None:
            break
    assert cursor is None
    texts = [one.content for one in (*first.records, *rest)]
    assert sorted(texts) == sorted([f"Ann likes tea number {number}." for number in range(7)] + ["newest"])


async def test_a_cursor_that_is_none_is_expired(app):
    with pytest.raises(CursorExpiredError):
        await app.list_scoped(ANN, limit=3, cursor="7")


# -- one memory ---------------------------------------------------------------------------------


async def test_an_update_replaces_the_text_and_nothing_else(platform, app):
    there = platform.put(metadata={"topic": "tea"}, expiration_date="2099-01-01")
    changed = await app.update(there.id, "Ann likes\0coffee")
    assert (changed.id, changed.content, changed.metadata) == (there.id, "Ann likes␀coffee", {"topic": "tea"})
    assert changed == await app.get(there.id)
    assert changed.expires_at == datetime(2099, 1, 2, tzinfo=UTC)
    assert changed.scope == ANN


@pytest.mark.parametrize("unknown", ["2f0c7c3e-0000-4000-8000-000000000000", "a/b", "", ".", ".."])
async def test_an_unknown_id_is_nothing(platform, app, unknown):
    platform.put()
    assert await app.get(unknown) is None
    assert await app.update(unknown, "text") is None
    assert await app.delete([unknown]) == 0
    assert len(platform.truth()) == 1


@pytest.mark.parametrize("above", ["", ".", ".."])
async def test_an_id_that_would_name_what_is_above_it_is_never_sent(platform, app, above):
    before = sum(platform.calls().values())
    assert await app.get(above) is await app.update(above, "text") is None
    assert await app.delete([above]) == 0
    assert sum(platform.calls().values()) == before


async def test_an_update_without_text_is_refused(platform, app):
    with pytest.raises(RecordError, match="text"):
        await app.update(platform.put().id, " ")


async def test_an_update_whose_answer_is_no_memory_is_read_again(platform, app):
    there = platform.put()
    path = f"/v1/memories/{there.id}/"
    platform.break_with(path, match={"method": "PUT"}, when="after", body={"message": "ok"}, status=200)
    assert (await app.update(there.id, "Ann likes coffee")).content == "Ann likes coffee"


async def test_a_lost_update_may_have_happened(platform, app, caplog):
    caplog.set_level(logging.DEBUG)
    there = platform.put()
    platform.break_with(f"/v1/memories/{there.id}/", match={"method": "PUT"}, when="after", close="eof")
    with pytest.raises(AmbiguousError) as caught:
        await app.update(there.id, PRIVATE)
    assert caught.value.operation == "update"
    assert PRIVATE not in f"{caught.value!r}{caplog.text}"


async def test_a_refused_update_is_no_missing_memory(platform, app):
    there = platform.put()
    platform.break_with(
        f"/v1/memories/{there.id}/", match={"method": "PUT"}, status=400, body={"error": "too long"}
    )
    with pytest.raises(RecordError, match="too long"):
        await app.update(there.id, "text")


async def test_an_app_gets_a_memory_with_one_request(platform, app):
    there = platform.put()
    before = sum(platform.calls().values())
    assert (await app.get(there.id)).content == there.text
    assert sum(platform.calls().values()) == before + 1


async def test_a_search_that_is_refused_or_lost_says_so_and_tells_nothing(platform, app, caplog):
    caplog.set_level(logging.DEBUG)
    for action, kind in (({"status": 429}, RateLimitedError), ({"close": "eof"}, UnavailableError)):
        platform.break_with("/v3/memories/search/", **action)
        with pytest.raises(kind) as caught:
            await app.search(PRIVATE, scope=ANN, limit=5)
        assert caught.value.operation == "search"
        assert PRIVATE not in f"{caught.value!r}{caplog.text}"


async def test_nothing_is_asked_of_a_provider_that_is_open_for_writing_alone(platform):
    target = await platform.target()
    with pytest.raises(ProviderError, match="not connected as a source"):
        await target.search("tea", scope=ANN, limit=5)


# -- the client ---------------------------------------------------------------------------------


def client(platform, outbox):
    config = Mem0PlatformConfig(**platform.settings())
    return MemoryClient(
        {"mem0": lambda: Mem0PlatformProvider(config)},
        outbox=outbox,
        settings=ClientSettings(timeout=5, drain=0),
    )


async def test_an_app_remembers_searches_lists_changes_and_forgets(platform, tmp_path):
    then = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
    async with client(platform, tmp_path / "outbox.sqlite") as memory:
        scope = Scope(user="ann", session="chat")
        said = [{"role": "user", "content": "I like green tea"}, {"role": "assistant", "content": "Fine"}]
        handle = await memory.ingest(messages=said, scope=scope, occurred_at=then)
        await memory.ingest(verbatim="Bob likes coffee", scope=Scope(user="bob"))
        assert await memory.flush(10)
        progress = await handle.progress()
        page = await memory.list_memories(scope)
        [hit] = await memory.search("green tea", scope=scope)
        package = await memory.package("green tea", scope=scope)
        changed = await memory.update(hit.memory.id, "Ann likes black tea")

        assert handle.document_id.startswith("turn_chat_")
        assert progress.target_ids == (hit.memory.id,)
        assert page.memories == (hit.memory,)
        assert hit.memory.created_at == then
        assert package.text == "- User: I like green tea\nAssistant: Fine"
        assert (await memory.get(hit.memory.id)).content == changed.content == "Ann likes black tea"
        assert await memory.delete(hit.memory.id)
        assert not await memory.delete(hit.memory.id)
        assert await memory.recall("tea", scope=Scope(user="nobody")) is not None
        assert await memory.recall("tea", scope=Scope()) is None
    assert platform.texts() == ["Bob likes coffee"]


async def test_an_operation_that_mem0_lacks_names_nobody(platform):
    class Plain(Mem0PlatformProvider):
        search = None

    config = Mem0PlatformConfig(**platform.settings())
    async with MemoryClient({"mem0": lambda: Plain(config)}) as memory:
        assert not memory.supports("search")
        with pytest.raises(UnsupportedOperationError, match="has no search"):
            await memory.search("tea", scope=ANN)
