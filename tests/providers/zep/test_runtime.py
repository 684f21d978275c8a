"""What an app asks of Zep while it runs: through the provider."""

import logging
import time
import uuid

import pytest

from memxfer.spi import (
    AmbiguousError,
    ConfigError,
    CursorExpiredError,
    ProviderError,
    RateLimitedError,
    RecordError,
    RecordState,
    Role,
    Scope,
    SupportsGet,
    SupportsPackage,
    SupportsScopedList,
    SupportsSearch,
    SupportsUpdate,
    UnavailableError,
    UnsupportedOperationError,
)

pytestmark = pytest.mark.anyio

ANN = Scope(user="ann")
PRIVATE = "the locker code is forty-one seventy"
OWNERS = ["ann", "Ann", "ANN", "ann@x", "a/b", "ann ", "{}", "än"]
ENDED = "2020-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def _now(emulated):
    emulated.clock.now = time.time()


@pytest.fixture
async def app(zep):
    return await connected(zep)


@pytest.fixture
def graph(zep):
    return zep.user(user_id="ann")[1]


async def connected(zep, **settings):
    provider = zep.provider(**settings)
    await provider.connect(Role.APP)
    return provider


def put(zep, graph, *facts, **fields):
    """Put facts in; return their ids as an app knows them."""
    uuids = zep.put("edge", *({"graph_uuid": graph, "fact": fact, **fields} for fact in facts))
    return [f"fact:{graph}:{one}" for one in uuids]


def asked(zep, part):
    return [call["path"] for call in zep.calls() if part in call["path"]]


async def everything(provider, scope, limit):
    cursor, found = None, []
    while True:
        page = await provider.list_scoped(scope, limit=limit, cursor=cursor)
        found += page.records
        cursor = page.next_cursor
        if cursor is None:
            return found


# -- search and list ----------------------------------------------------------------------------


async def test_a_search_gives_the_best_first_with_scores_and_ids_that_work(zep, app, graph):
    tea, _ = put(zep, graph, "Ann likes green tea", "Ann likes trains")
    hits = await app.search("likes green tea", scope=ANN, limit=5)
    assert [hit.memory.content for hit in hits] == ["Ann likes green tea", "Ann likes trains"]
    assert [hit.score for hit in hits] == [1.0, pytest.approx(1 / 3)]
    assert hits[0].memory.id == tea
    assert hits[0].memory.scope == ANN
    assert await app.get(tea) == hits[0].memory
    assert len(await app.search("likes", scope=ANN, limit=1)) == 1


async def test_a_user_is_looked_up_once(zep, app, graph):
    put(zep, graph, "Ann likes tea")
    for _ in range(3):
        assert len(await app.search("tea", scope=ANN, limit=5)) == 1
    assert len(asked(zep, "/users/lookup")) == 1


async def test_more_than_fifty_are_never_asked_for(zep, app, graph):
    put(zep, graph, *(f"tea number {number}" for number in range(60)))
    assert len(await app.search("tea", scope=ANN, limit=60)) == 50


async def test_a_question_without_text_finds_nothing_and_asks_nobody(zep, app):
    assert await app.search(" ", scope=ANN, limit=5) == []
    assert not asked(zep, "/search/")


@pytest.mark.parametrize("owner", OWNERS)
async def test_nobody_sees_what_is_another_s(zep, app, owner):
    for name in OWNERS:
        put(zep, zep.user(user_id=name)[1], f"{name} likes tea")
    put(zep, zep.put("graph", graph_id=owner, name=owner), "the group likes tea")
    scope = Scope(user=owner)
    hits = await app.search("likes tea", scope=scope, limit=50)
    assert [(hit.memory.content, hit.memory.scope) for hit in hits] == [(f"{owner} likes tea", scope)]
    assert [one.content for one in await everything(app, scope, 3)] == [f"{owner} likes tea"]
    assert f"{owner} likes tea" in (await app.package("likes tea", scope=scope, limit=5)).text
    group = await app.search("likes tea", scope=Scope(group=owner), limit=50)
    assert [(hit.memory.content, hit.memory.scope) for hit in group] == [
        ("the group likes tea", Scope(group=owner))
    ]


async def test_a_user_goes_by_user_id_or_without_one_by_uuid(zep, app):
    nameless, graph = zep.user()
    named, other = zep.user(user_id="bob")
    put(zep, graph, "nameless likes tea")
    put(zep, other, "bob likes tea")
    assert len(await app.search("tea", scope=Scope(user=nameless), limit=5)) == 1
    assert await app.search("tea", scope=Scope(user=named), limit=5) == []
    # the graph of a user is nobody's group
    zep.put("graph", uuid=other, type="user", user_uuid=named)
    assert await app.search("tea", scope=Scope(group=other), limit=5) == []


async def test_nobody_that_zep_knows_has_no_memories(app):
    nobody = Scope(user="nobody", session="s")
    assert await app.search("tea", scope=nobody, limit=5) == []
    assert (await app.list_scoped(nobody, limit=5, cursor=None)).records == []
    for query in ("tea", ""):
        assert (await app.package(query, scope=nobody, limit=5)).text == ""


@pytest.mark.parametrize("scope", [Scope(), Scope(session="s"), Scope(user=""), Scope(user="a\0b")])
async def test_a_scope_of_nobody_is_refused(zep, app, graph, scope):
    put(zep, graph, "Ann likes tea")
    with pytest.raises(ValueError, match="scope"):
        await app.search("tea", scope=scope, limit=5)
    with pytest.raises(ValueError, match="scope"):
        await app.list_scoped(scope, limit=5, cursor=None)
    with pytest.raises(ValueError, match="scope"):
        await app.package("tea", scope=scope, limit=5)


@pytest.mark.parametrize("axis", ["agent", "app", "tenant", "group"])
async def test_an_axis_that_zep_cannot_tell_apart_is_refused(app, axis):
    with pytest.raises(UnsupportedOperationError, match="out of the scope"):
        await app.search("tea", scope=Scope(user="ann", **{axis: "x"}), limit=5)


async def test_a_limit_below_one_is_refused(app):
    with pytest.raises(ValueError, match="limit"):
        await app.list_scoped(ANN, limit=0, cursor=None)


async def test_ended_facts_are_marked_or_left_out(zep, app, graph):
    put(zep, graph, "Ann likes tea")
    [old] = put(zep, graph, "Ann liked tea", invalid_at=ENDED)
    states = {one.content: one.state for one in await everything(app, ANN, 9)}
    assert states == {"Ann likes tea": RecordState.ACTIVE, "Ann liked tea": RecordState.SUPERSEDED}
    current = await connected(zep, current_only=True)
    assert [one.content for one in await everything(current, ANN, 9)] == ["Ann likes tea"]
    assert len(await current.search("tea", scope=ANN, limit=9)) == 1
    assert len((await current.package("tea", scope=ANN, limit=9)).memories) == 1
    assert (await current.get(old)).state is RecordState.SUPERSEDED


async def test_a_list_goes_on_in_another_process(zep, app, graph):
    facts = [f"fact {number}" for number in range(7)]
    put(zep, graph, *facts)
    zep.put("edge", graph_uuid=graph, scope="episodic")
    first = await app.list_scoped(ANN, limit=3, cursor=None)
    other = await connected(zep)
    rest, cursor = [], first.next_cursor
    while cursor:
        page = await other.list_scoped(ANN, limit=3, cursor=cursor)
        rest, cursor = [*rest, *page.records], page.next_cursor
    assert sorted(one.content for one in (*first.records, *rest)) == facts
    assert len(await everything(app, ANN, 500)) == 7


async def test_a_cursor_of_another_list_is_expired(zep, app, graph):
    put(zep, graph, "one", "two")
    put(zep, zep.user(user_id="bob")[1], "three", "four")
    page = await app.list_scoped(ANN, limit=1, cursor=None)
    for cursor in (page.next_cursor, "nonsense"):
        with pytest.raises(CursorExpiredError):
            await app.list_scoped(Scope(user="bob"), limit=1, cursor=cursor)


async def test_a_user_that_was_made_anew_is_found_again(zep, app, graph):
    put(zep, graph, "old tea")
    assert len(await app.search("tea", scope=ANN, limit=5)) == 1
    zep.emulator.reset()
    assert await app.search("tea", scope=ANN, limit=5) == []
    put(zep, zep.user(user_id="ann")[1], "new tea")
    [hit] = await app.search("tea", scope=ANN, limit=5)
    assert hit.memory.content == "new tea"


async def test_rows_that_make_no_sense_cost_themselves_alone(zep, app, graph):
    rows = [{"uuid": str(uuid.uuid4()), "fact": "fine"}, {"fact": "no uuid"}, {"uuid": "x"}]
    zep.break_with(f"/api/v4/graphs/{graph}/", status=200, body={"items": rows})
    assert [hit.memory.content for hit in await app.search("x", scope=ANN, limit=9)] == ["fine"]
    page = await app.list_scoped(ANN, limit=9, cursor=None)
    assert [one.content for one in page.records] == ["fine"]
    assert [(one.id, one.error.code) for one in page.defects] == [(None, "unreadable"), ("x", "unreadable")]


# -- texts for prompts --------------------------------------------------------------------------


async def test_a_question_gets_zep_s_own_text_and_the_facts_in_it(zep, app, graph):
    tea, _ = put(zep, graph, "Ann likes green tea", "Ann drinks tea", valid_at="2025-01-01T00:00:00Z")
    package = await app.package("green tea", scope=Scope(user="ann", session="s"), limit=1)
    assert package.text.startswith(
        "<FACTS>\n- Ann likes green tea (2025-01-01T00:00:00Z - present)\n- Ann dr"
    )
    assert [one.id for one in package.memories] == [tea]
    assert not package.is_cut
    assert await app.get(tea) == package.memories[0]


async def test_a_session_without_a_question_gets_the_text_of_its_thread(zep, app):
    user, graph = zep.user(user_id="ann")
    put(zep, graph, "Ann likes green tea", "Ann likes trains")
    for session, said in (("s1", "about tea"), ("s2", "about trains")):
        thread = zep.put("thread", user_uuid=user)
        marks = {"memxfer_key": session, "memxfer_session": session}
        zep.put("message", thread_uuid=thread, role="user", content=said, metadata=marks)
    for _ in range(2):
        package = await app.package("", scope=Scope(user="ann", session="s2"), limit=5)
        assert "trains" in package.text
        assert "tea" not in package.text
    assert len(asked(zep, "/episodes/list")) == 1
    assert (await app.package("", scope=Scope(user="ann", session="s3"), limit=5)).text == ""
    assert (await app.package("", scope=ANN, limit=5)).text == ""
    zep.configure(metadata_filters=False)
    assert (await app.package("", scope=Scope(user="ann", session="s1"), limit=5)).text == ""


async def test_a_thread_of_another_session_is_not_taken_for_this_one_s(zep, app):
    user, graph = zep.user(user_id="ann")
    put(zep, graph, "Ann likes tea")
    thread = zep.put("thread", user_uuid=user)
    zep.put("message", thread_uuid=thread, role="user", content="tea")
    row = {"uuid": thread, "thread_uuid": thread, "metadata": {"memxfer_session": "s2"}}
    zep.break_with(f"/api/v4/graphs/{graph}/episodes/list", status=200, body={"items": [row]})
    assert (await app.package("", scope=Scope(user="ann", session="s1"), limit=5)).text == ""
    assert "tea" in (await app.package("", scope=Scope(user="ann", session="s2"), limit=5)).text


# -- one memory ---------------------------------------------------------------------------------


async def test_an_update_replaces_the_text_and_nothing_else(zep, app, graph):
    [tea] = put(zep, graph, "Ann likes tea", attributes={"topic": "tea"}, name="LIKES", valid_at=ENDED)
    before = await app.get(tea)
    changed = await app.update(tea, "Ann likes\0coffee")
    assert (changed.id, changed.content) == (tea, "Ann likes␀coffee")
    assert (changed.metadata, changed.validity) == ({"topic": "tea"}, before.validity)
    assert changed == await app.get(tea)
    for text in ("Ann likes tea", "Ann likes\0coffee"):  # nothing is answered from memory
        assert (await app.update(tea, text)).content == text.replace("\0", "␀")


async def test_facts_of_a_hyperedge_change_together(zep, app, graph):
    one, two = put(zep, graph, "Ann and Bob like tea", "Ann and Bob like tea", hyperedge_uuid="h1")
    await app.update(one, "Ann and Bob like coffee")
    assert (await app.get(two)).content == "Ann and Bob like coffee"


async def test_what_an_app_was_not_given_is_no_memory(zep, app, graph):
    user, _ = zep.user(user_id="bob")
    there = str(uuid.uuid4())
    for unknown in (
        "",
        "x",
        there,
        f"fact:{graph}:{there}",
        "fact:1:2",
        f"user:{graph}:{user}",
        f"graph:{graph}",
    ):
        assert await app.get(unknown) is None
        assert await app.update(unknown, "text") is None
        assert await app.delete([unknown]) == 0
    assert len(zep.truth("user")) == 2


async def test_a_fact_of_another_graph_is_not_found_under_this_one(zep, app, graph):
    [tea] = put(zep, zep.user(user_id="bob")[1], "Bob likes tea")
    elsewhere = f"fact:{graph}:{tea.rsplit(':', 1)[1]}"
    assert await app.get(elsewhere) is None
    assert await app.update(elsewhere, "text") is None
    assert await app.delete([elsewhere]) == 0


async def test_episodes_are_got_and_deleted_and_not_changed(zep, app, graph):
    episode = f"episode:{graph}:{zep.put('episode', graph_uuid=graph, content='raw', source='text')}"
    assert (await app.get(episode)).content == "raw"
    with pytest.raises(UnsupportedOperationError, match="facts alone"):
        await app.update(episode, "text")
    assert await app.delete([episode]) == 1
    assert await app.get(episode) is None


@pytest.mark.parametrize(("text", "code"), [(" ", "empty"), ("x" * 251, "too_large")])
async def test_a_text_that_is_no_fact_is_refused(zep, app, graph, text, code):
    [tea] = put(zep, graph, "Ann likes tea")
    with pytest.raises(RecordError) as caught:
        await app.update(tea, text)
    assert caught.value.code == code


async def test_whose_a_fact_is_shows_without_a_search_before(zep, graph):
    user, bobs = zep.user(user_id="bob")
    group = zep.put("graph", name="team", description="memxfer 0123")
    theirs = zep.put("graph", graph_id="kb")
    ids = [*put(zep, bobs, "b", user_uuid=user), *put(zep, group, "g"), *put(zep, theirs, "t")]
    app = await connected(zep)
    scopes = [(await app.get(one)).scope for one in ids]
    assert scopes == [Scope(user="bob"), Scope(group="team"), Scope(group="kb")]
    hits = await app.search("g", scope=Scope(group="team"), limit=5)
    assert [hit.memory.id for hit in hits] == [ids[1]]


# -- failures and roles -------------------------------------------------------------------------


async def test_what_fails_is_classified_and_tells_nothing(zep, app, graph, caplog):
    caplog.set_level(logging.DEBUG)
    [tea] = put(zep, graph, "Ann likes tea")
    for action, kind in (({"status": 429}, RateLimitedError), ({"close": "eof"}, UnavailableError)):
        for path, call in (
            ("/search/edges", lambda: app.search(PRIVATE, scope=ANN, limit=5)),
            ("/context", lambda: app.package(PRIVATE, scope=ANN, limit=5)),
        ):
            zep.break_with(f"/api/v4/graphs/{graph}{path}", **action)
            with pytest.raises(kind) as caught:
                await call()
            assert PRIVATE not in f"{caught.value!r}{caplog.text}"
    zep.break_with(f"/api/v4/graphs/{graph}/edges/", match={"method": "PATCH"}, when="after", close="eof")
    with pytest.raises(AmbiguousError) as caught:
        await app.update(tea, PRIVATE)
    assert PRIVATE not in f"{caught.value!r}{caplog.text}"
    assert (await app.get(tea)).content == PRIVATE


async def test_a_graph_for_a_whole_job_is_nothing_for_an_app(zep):
    with pytest.raises(ConfigError, match="graph-per-job"):
        await connected(zep, container="graph-per-job")


async def test_get_is_there_for_apps_and_not_in_moves(zep, app):
    kinds = (SupportsSearch, SupportsScopedList, SupportsUpdate, SupportsPackage, SupportsGet)
    assert all(isinstance(app, kind) for kind in kinds)
    source = await zep.connected()
    assert not isinstance(source, SupportsGet)
    assert type(source).__name__ == "ZepProvider"
    await source.aclose()
    await source.connect(Role.APP)
    assert isinstance(source, SupportsGet)


async def test_nothing_is_asked_of_a_provider_that_is_open_for_writing_alone(zep):
    target = await zep.target()
    with pytest.raises(ProviderError, match="not connected as a source"):
        await target.search("tea", scope=ANN, limit=5)
