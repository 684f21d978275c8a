"""What an app asks of Synap while it runs, on both transports, against the emulator."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime

import msgspec
import pytest

from memxfer.spi import (
    AmbiguousError,
    MemoryRecord,
    Message,
    RecordError,
    Scope,
    SupportsDelete,
    SupportsGet,
    SupportsPackage,
    SupportsScopedList,
    SupportsSearch,
    SupportsUpdate,
    UnavailableError,
)
from memxfer_synap.client.answers import Answer
from memxfer_synap.client.contexts import context_of, fetch_body, read_context, read_memory
from memxfer_synap.client.port import ContextAnswer, ContextQuery, FoundMemory
from memxfer_synap.emulator import context_routes
from memxfer_synap.emulator.settings import Retrieval
from memxfer_synap.memories import hits_of, package_of
from tests.providers.synap.conftest import say

pytestmark = pytest.mark.anyio

ANN = Scope(user="ann")
AT = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def found(provider, query, scope=ANN, limit=10):
    return [hit.memory.content for hit in await provider.search(query, scope=scope, limit=limit)]


# -- what it has --------------------------------------------------------------------------------


async def test_all_operations_but_listing_are_there(app):
    provider = await app()
    for operation in (SupportsSearch, SupportsGet, SupportsUpdate, SupportsDelete, SupportsPackage):
        assert isinstance(provider, operation)
    assert not isinstance(provider, SupportsScopedList)


# -- search -------------------------------------------------------------------------------------


async def test_a_search_gives_memories_best_first_with_what_synap_tells_of_them(app):
    provider = await app()
    await say(provider, "Ann likes green tea.", metadata={"topic": "drinks"}, number=1)
    await say(provider, "Ann went to a tea house. Bikes are fast.")
    first, second = await provider.search("likes green tea", scope=ANN, limit=10)
    assert (first.memory.content, second.memory.content) == (
        "Ann likes green tea.",
        "Ann went to a tea house.",
    )
    assert first.score > second.score
    assert (first.memory.kind, second.memory.kind) == ("preference", "episode")
    assert first.memory.occurred_at == AT
    assert first.memory.metadata == {"topic": "drinks", "document_id": "d1"}
    assert first.memory.scope == Scope(user="ann", tenant="acme")
    assert first.memory.confidence == 0.9
    assert first.memory.extensions["synap"]["source"] == "memories"
    assert (await provider.get(first.memory.id)).content == first.memory.content


async def test_the_limit_is_kept_and_nothing_asked_finds_nothing_without_a_request(app, synap):
    provider = await app()
    await say(provider, "Tea one. Tea two. Tea three.")
    assert len(await found(provider, "tea", limit=2)) == 2
    asked = len(synap.calls())
    assert await found(provider, " \n") == []
    assert await found(provider, "tea", limit=0) == []
    assert (await provider.package("", scope=ANN, limit=3)).text == ""
    assert len(synap.calls()) == asked


async def test_nobody_s_memories_are_shown_to_another(app):
    provider = await app()
    users = ["ann", "Ann", "ann@x", "a/b", "a", "../ann", "ann\\x", "%", "änn"]
    for user in users:
        await say(provider, f"Tea of {user.encode().hex()}.", scope=Scope(user=user))
    await say(provider, "Tea of another customer.", scope=Scope(user="ann", tenant="globex"))
    await say(provider, "Tea of the customer.", scope=Scope(tenant="acme"))
    shared = "Tea of the customer."
    for user in users:
        own = {f"Tea of {user.encode().hex()}.", shared}
        assert set(await found(provider, "tea", Scope(user=user))) == own
    assert await found(provider, "tea", Scope(user="ann", tenant="globex")) == ["Tea of another customer."]
    assert await found(provider, "tea", Scope(tenant="acme")) == [shared]
    assert await found(provider, "tea", Scope(user="nobody")) == [shared]
    assert await found(provider, "tea", Scope(user="nobody", tenant="globex")) == []


async def test_a_b2c_instance_is_asked_without_a_customer(app, synap):
    synap.configure(isolation="equals_customer")
    provider = await app(customer_id=None)
    await say(provider, "Ann likes tea.", scope=Scope(user="ann", tenant="ignored"))
    assert await found(provider, "tea") == ["Ann likes tea."]


@pytest.mark.parametrize("settings", [{}, {"unscoped": "skip"}])
async def test_a_scope_that_names_nobody_is_refused(app, settings):
    provider = await app(**settings)
    with pytest.raises(ValueError, match="no user"):
        await provider.search("tea", scope=Scope(), limit=5)
    with pytest.raises(ValueError, match="no user"):
        await provider.package("tea", scope=Scope(agent="a1"), limit=5)


@pytest.mark.parametrize("levels", ["isolated", "merged"])
@pytest.mark.parametrize("unscoped", ["customer", "client", "assign:bob"])
async def test_where_nobody_s_memories_are_written_they_are_read_and_by_whom_they_are_shared_with(
    app, synap, unscoped, levels
):
    synap.configure(fetch_levels=levels)
    provider = await app(unscoped=unscoped)
    await say(provider, "Tea of nobody.", scope=Scope(agent="a1"))
    assert await found(provider, "tea", Scope()) == ["Tea of nobody."]
    assert await found(provider, "tea", ANN) == ([] if unscoped == "assign:bob" else ["Tea of nobody."])
    stranger = Scope(user="ann", tenant="globex")
    assert await found(provider, "tea", stranger) == (["Tea of nobody."] if unscoped == "client" else [])


# -- levels -------------------------------------------------------------------------------------

LEVELS = {
    "Green tea of Ann.": Scope(user="ann", tenant="acme"),
    "Green tea of the customer.": Scope(tenant="acme"),
    "Green tea of everybody.": Scope(),
}


async def say_at_each_level(app):
    writer = await app(unscoped="client")
    for text, scope in LEVELS.items():
        await say(writer, text, scope=scope)
    await say(writer, "Green tea of Bob.", scope=Scope(user="bob"))
    await say(writer, "Green tea of globex.", scope=Scope(tenant="globex"))


@pytest.mark.parametrize("levels", ["isolated", "merged"])
async def test_a_user_is_asked_with_the_levels_above_and_each_memory_is_told_once_as_whose_it_is(
    app, synap, levels
):
    synap.configure(fetch_levels=levels)
    await say_at_each_level(app)
    provider = await app()
    hits = await provider.search("green tea", scope=ANN, limit=10)
    assert {hit.memory.content: hit.memory.scope for hit in hits} == LEVELS
    assert len(hits) == len({hit.memory.id for hit in hits}) == 3
    made = await provider.package("green tea", scope=ANN, limit=10)
    assert sorted(made.text.splitlines()) == sorted(f"- {text}" for text in LEVELS)
    assert len(await provider.search("green tea", scope=ANN, limit=2)) == 2
    best, *_ = await provider.search("tea of everybody", scope=ANN, limit=3)
    assert best.memory.content == "Green tea of everybody."
    assert len(await provider.search("green tea", scope=Scope(tenant="acme"), limit=10)) == 2
    assert len(await provider.search_level("green tea", scope=ANN, limit=10)) == (
        3 if levels == "merged" else 1
    )


async def test_a_synap_that_is_said_to_merge_is_asked_once(app, synap):
    synap.configure(fetch_levels="merged")
    await say_at_each_level(app)
    provider = await app(fetch_levels="merged")
    before = len(synap.calls())
    assert sorted(await found(provider, "green tea")) == sorted(LEVELS)
    assert len(synap.calls()) == before + 1


async def test_on_b2c_a_user_is_asked_with_what_is_everybody_s(app, synap):
    synap.configure(isolation="equals_customer")
    provider = await app(customer_id=None, unscoped="client")
    for user in ("ann", "bob", None):
        await say(provider, f"Tea of {user}.", scope=Scope(user=user))
    assert sorted(await found(provider, "tea", ANN)) == ["Tea of None.", "Tea of ann."]


@pytest.mark.parametrize("level", ["customer", "client"])
async def test_a_wider_level_that_cannot_be_read_is_told_and_never_passed_over_in_silence(
    app, synap, caplog, level
):
    provider = await app()
    synap.break_with(f"/v1/context/{level}/fetch", status=429)
    with pytest.raises(UnavailableError, match="a wider level was not read: RateLimitedError"):
        await provider.search("tea", scope=ANN, limit=5)
    await say(provider, "Ann likes tea.")
    caplog.set_level(logging.WARNING)
    assert await found(provider, "tea") == ["Ann likes tea."]
    assert "a wider level was not read" in caplog.text


async def test_the_user_s_own_level_has_to_answer(app, synap):
    await say_at_each_level(app)
    provider = await app()
    synap.break_with("/v1/context/user/fetch", status=503)
    with pytest.raises(UnavailableError):
        await provider.search("tea", scope=ANN, limit=5)


async def test_a_b2b_user_without_a_customer_cannot_be_asked_for(app):
    provider = await app(customer_id=None)
    with pytest.raises(ValueError, match="B2B"):
        await provider.search("tea", scope=ANN, limit=5)


async def test_the_mode_of_reading_is_fast_or_as_the_connection_says(app, monkeypatch):
    asked = []
    for settings in ({}, {"read_mode": "accurate"}, {"mode": "long-range"}):
        provider = await app(fetch_levels="merged", **settings)
        client = provider._connected()
        fetch = client.fetch
        monkeypatch.setattr(
            client, "fetch", lambda query, fetch=fetch: asked.append(query.mode) or fetch(query)
        )
        await provider.search("tea", scope=ANN, limit=1)
    assert asked == ["fast", "accurate", "fast"]


async def test_both_transports_ask_the_same(synap, app, monkeypatch):
    """What goes over the wire is what the SDK sends, byte for byte the same JSON."""
    bodies = []
    decoder = context_routes._DECODER

    class Spy:
        def decode(self, body):
            bodies.append(msgspec.json.decode(body))
            return decoder.decode(body)

    monkeypatch.setattr(context_routes, "_DECODER", Spy())
    provider = await app(fetch_levels="merged")
    session = str(uuid.uuid4())
    bodies.clear()
    await provider.search("tea", scope=Scope(user="ann", session=session), limit=7)
    await provider.search("tea", scope=Scope(tenant="acme"), limit=7)
    await provider.search("tea", scope=Scope(session=session), limit=7)
    conversation = {"conversation_id": session}
    assert [{name: body.get(name) for name in body if name not in _FETCH} for body in bodies] == [
        {"user_id": "ann", "customer_id": "acme", **conversation},
        {"customer_id": "acme", "conversation_id": None},
        conversation,
    ]
    user = fetch_body(ContextQuery("user", "tea", 7, "fast", "ann", "acme", session))
    assert {name: bodies[0][name] for name in _FETCH} == {name: user[name] for name in _FETCH}


_FETCH = ("search_query", "max_results", "types", "mode", "response_shape")


async def test_an_empty_answer_of_a_search_that_failed_is_an_error_with_the_request_s_id(app, synap, caplog):
    provider = await app()
    await say(provider, "Ann likes tea.")
    synap.configure(retrieval=Retrieval(level="failed", code="timeout"))
    for ask in (provider.search, provider.package):
        with pytest.raises(UnavailableError, match="timeout") as caught:
            await ask("tea", scope=ANN, limit=5)
        assert caught.value.code == "degraded"
        assert caught.value.correlation_id
    synap.configure(retrieval=Retrieval(level="partial", code="overloaded"))
    caplog.set_level(logging.WARNING)
    assert await found(provider, "tea") == ["Ann likes tea."]
    assert "overloaded" in caplog.text
    assert "tea" not in caplog.text


async def test_failures_are_told_apart_and_name_no_question(app, synap):
    provider = await app()
    synap.break_with("/v1/context/user/fetch", status=503)
    with pytest.raises(UnavailableError) as caught:
        await provider.search("secret tea", scope=ANN, limit=5)
    assert caught.value.operation == "search"
    assert "secret" not in str(caught.value)
    synap.break_with("/v1/context/user/fetch", status=200, body={"odd": 1})
    with pytest.raises(UnavailableError, match="cannot be read"):
        await provider.search("tea", scope=ANN, limit=5)
    synap.break_with("/v1/context/user/fetch", when="after", close="eof")
    with pytest.raises(UnavailableError):
        await provider.search("tea", scope=ANN, limit=5)


# -- get, update, delete ------------------------------------------------------------------------


async def test_a_memory_is_changed_and_removed_by_the_id_that_search_gave(app):
    provider = await app()
    await say(provider, "Ann likes tea.")
    [hit] = await provider.search("tea", scope=ANN, limit=5)
    changed = await provider.update(hit.memory.id, "Ann likes coffee\x00.")
    assert changed.content == "Ann likes coffee\u2400."
    assert changed.updated_at is not None
    assert (await provider.get(hit.memory.id)).content == changed.content
    assert await found(provider, "coffee") == [changed.content]
    assert await provider.delete([hit.memory.id]) == 1
    assert await provider.delete([hit.memory.id]) == 0
    assert await provider.get(hit.memory.id) is None
    assert await provider.update(hit.memory.id, "again") is None


@pytest.mark.parametrize("memory_id", [UNKNOWN, "m1", "", "../status/x", "a/b"])
async def test_what_is_no_memory_s_id_is_not_there(app, memory_id):
    provider = await app()
    assert await provider.get(memory_id) is None
    assert await provider.update(memory_id, "text") is None
    assert await provider.delete([memory_id]) == 0


async def test_a_text_that_synap_cannot_take_is_refused_before_it_is_sent(app):
    provider = await app(document_bytes=10)
    with pytest.raises(RecordError) as caught:
        await provider.update(UNKNOWN, "  ")
    assert caught.value.code == "empty"
    with pytest.raises(RecordError) as caught:
        await provider.update(UNKNOWN, "ä" * 6)
    assert caught.value.code == "too_large"


async def test_an_update_whose_answer_is_lost_is_in_doubt(app, synap):
    provider = await app()
    await say(provider, "Ann likes tea.")
    [hit] = await provider.search("tea", scope=ANN, limit=5)
    synap.break_with("/api/v1/memories/", match={"method": "PATCH"}, when="after", close="eof")
    with pytest.raises(AmbiguousError):
        await provider.update(hit.memory.id, "Ann likes coffee.")
    assert await found(provider, "coffee") == ["Ann likes coffee."]


# -- packages -----------------------------------------------------------------------------------


async def test_a_package_is_text_and_says_what_it_is_made_of(app):
    provider = await app()
    await say(provider, "Ann likes tea. Ann went to a tea house.")
    made = await provider.package("tea house", scope=ANN, limit=10)
    assert made.text == "- Ann went to a tea house.\n- Ann likes tea."
    assert [memory.content for memory in made.memories] == ["Ann went to a tea house.", "Ann likes tea."]
    assert made.correlation_id
    assert not made.is_cut


async def test_a_conversation_s_summary_comes_first_and_only_its_owner_gets_it(synap, app):
    target = await synap.connected(conversations="transcript")
    turn = {"messages": (Message(role="user", content="I like tea."),), "kind": "message"}
    session = Scope(user="ann", session="s1")
    part = target.prepare(
        MemoryRecord(id="t1", content="I like tea.", scope=session, created_at=AT, **turn), "t1", {}
    )
    [whole] = target.join([part])
    await target.write([whole.document])
    provider = await app()
    made = await provider.package("tea", scope=session, limit=5)
    assert made.text == "A conversation that began with: I like tea.\n\n- I like tea."
    assert (await provider.package("tea", scope=ANN, limit=5)).text == "- I like tea."
    assert (await provider.package("tea", scope=Scope(user="bob", session="s1"), limit=5)).text == ""


async def test_a_session_alone_is_that_conversation_and_an_unknown_one_is_empty(synap, app):
    target = await synap.connected(conversations="transcript")
    session = str(uuid.uuid4())
    record = MemoryRecord(
        id="t1",
        content="I like tea.",
        kind="message",
        scope=Scope(user="ann", session=session),
        created_at=AT,
        messages=(Message(role="user", content="I like tea."),),
    )
    [whole] = target.join([target.prepare(record, "t1", {})])
    await target.write([whole.document])
    provider = await app()
    assert await found(provider, "tea", Scope(session=session)) == ["I like tea."]
    assert await found(provider, "tea", Scope(session=str(uuid.uuid4()))) == []


def test_quotes_are_in_packages_and_not_among_hits():
    quote = FoundMemory("c1", "excerpts", "a quote")
    answer = ContextAnswer((quote, FoundMemory("m1", "facts", "a fact")))
    asked = ContextQuery("user", "x", 5, "fast", "ann")
    assert [hit.memory.content for hit in hits_of(answer, asked)] == ["a fact"]
    made = package_of(answer, asked)
    assert made.text == "- a quote\n- a fact"
    assert [memory.kind for memory in made.memories] == ["document", "fact"]


def test_an_answer_by_type_is_put_in_order_and_odd_items_are_left_out():
    answer = context_of(
        {
            "facts": [
                {"id": "m1", "content": "low", "metadata": {"rank_score": 0.1}, "said_at": "2025-01-02"},
                {"id": "c1", "content": "quote", "source": "chunks", "metadata": {"rank_score": 0.5}},
                {"content": "no id"},
                {"id": "m9"},
                "odd",
            ],
            "preferences": [
                {"id": "m2", "content": "high", "category": "food", "metadata": {"rank_score": 0.9}}
            ],
            "episodes": [{"id": "m3", "summary": "unscored"}],
            "retrieval": {"degraded": True, "code": "secret words"},
        },
        "r1",
    )
    assert [(one.memory_id, one.category, one.content) for one in answer.found] == [
        ("m2", "preferences", "high"),
        ("c1", "excerpts", "quote"),
        ("m1", "facts", "low"),
        ("m3", "episodes", "unscored"),
    ]
    assert answer.degraded == "unknown"


@pytest.mark.parametrize("body", [b"[]", b"<", b'{"context": 1}', b'{"content": "no id"}'])
def test_answers_that_make_no_sense_are_told_apart_by_what_was_asked(body):
    answer = Answer(200, {}, body, "r1", "update")
    for read, kind in (
        (read_context, UnavailableError),
        (read_memory, UnavailableError),
        (lambda one: read_memory(one, is_write=True), AmbiguousError),
    ):
        with pytest.raises(kind, match="cannot be read") as caught:
            read(answer)
        assert caught.value.correlation_id == "r1"


async def test_nothing_but_what_an_app_asked_for_is_sent(app, synap):
    provider = await app()
    connecting = len(synap.calls())
    await say(provider, "Ann likes tea.")
    [hit] = await provider.search("tea", scope=Scope(user="ann", session=str(uuid.uuid4())), limit=5)
    await provider.get(hit.memory.id)
    await provider.update(hit.memory.id, "Ann likes coffee.")
    await provider.delete([hit.memory.id])
    await provider.aclose()
    memory = f"/api/v1/memories/{hit.memory.id}"
    assert sorted((call["method"], call["path"]) for call in synap.calls()[connecting:]) == [
        ("DELETE", memory),
        ("GET", memory),
        ("PATCH", memory),
        ("POST", "/api/v1/memories/batch"),
        ("POST", "/v1/context/client/fetch"),
        ("POST", "/v1/context/customer/fetch"),
        ("POST", "/v1/context/user/fetch"),
    ]
