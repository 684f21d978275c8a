"""What a row becomes, whatever mem0ai wrote it; and rows that nobody should have written."""

from datetime import UTC, datetime

import pytest

from memxfer.spi import Message, RateLimitedError, RecordState, Scope, Version

pytestmark = pytest.mark.anyio


async def only(server, **settings):
    [record] = await server.records(**settings)
    return record


async def test_every_field_has_its_place(server):
    server.put(
        user_id="ann",
        agent_id="a",
        run_id="r",
        metadata={"topic": "tea", "text_lemmatized": "ann like tea"},
        actor_id="Ann",
        role="user",
        attributed_to="ann",
        expiration_date="2025-06-30",
        later_field=7,
    )
    record = await only(server)
    assert record.scope == Scope(user="ann", agent="a", session="r")
    assert record.metadata == {"topic": "tea"}
    assert record.provenance == {"actor_id": "Ann", "role": "user", "attributed_to": "ann"}
    assert record.created_at == datetime(2025, 3, 1, 8, 30, 15, 250_000, tzinfo=UTC)
    assert record.expires_at == datetime(2025, 7, 1, tzinfo=UTC)
    assert record.state is RecordState.EXPIRED
    assert record.extensions == {"mem0": {"later_field": 7}}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"role": "user"}, "message"),
        ({"role": "user", "attributed_to": "ann"}, "fact"),
        ({"memory_type": "procedural_memory"}, "procedure"),
        ({"metadata": {"memory_type": "procedural_memory"}}, "procedure"),
        ({}, "fact"),
    ],
    ids=str,
)
async def test_the_kind_follows_from_role_and_type(server, fields, kind):
    server.put(user_id="ann", **fields)
    assert (await only(server)).kind == kind


async def test_a_memory_of_a_run_with_a_role_is_a_turn_of_its_actor(server):
    server.put(user_id="ann", run_id="r", role="assistant", actor_id="Bot", memory="Tea?")
    record = await only(server)
    assert record.messages == (Message(role="assistant", content="Tea?", name="Bot", at=record.created_at),)
    assert record.provenance == {"role": "assistant", "actor_id": "Bot"}


@pytest.mark.parametrize(
    "fields",
    [
        {"run_id": "r"},
        {"role": "user"},
        {"run_id": "r", "role": "user", "attributed_to": "ann"},
        {"run_id": "r", "role": 7},
    ],
    ids=str,
)
async def test_no_speaker_is_invented_and_nobody_is_quoted_with_an_extract(server, fields):
    server.put(user_id="ann", **fields)
    assert (await only(server)).messages == ()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2024-01-31T22:00:00.5-08:00", datetime(2024, 2, 1, 6, 0, 0, 500_000, tzinfo=UTC)),
        ("2024-07-01T23:30:00-07:00", datetime(2024, 7, 2, 6, 30, tzinfo=UTC)),
        ("2024-01-31T22:00:00Z", datetime(2024, 1, 31, 22, tzinfo=UTC)),
    ],
)
async def test_times_of_earlier_versions_in_pacific_time_become_utc(server, text, at):
    server.put(user_id="ann", created_at=text, updated_at=text)
    record = await only(server)
    assert (record.created_at, record.updated_at) == (at, at)
    assert not record.extensions


async def test_a_time_without_zone_is_utc_and_says_so_and_no_time_is_kept_as_it_is(server):
    server.put(user_id="ann", created_at="2024-01-31T22:00:00", updated_at="yesterday")
    record = await only(server)
    assert record.created_at == datetime(2024, 1, 31, 22, tzinfo=UTC)
    assert record.updated_at is None
    assert record.extensions["mem0"] == {"updated_at": "yesterday", "zoneless": ["created_at"]}


async def test_what_memxfer_wrote_is_told_from_the_record_s_own(server):
    server.put(
        user_id="ann",
        metadata={"a": 1, "memxfer_key": "k", "memxfer": {"v": 1}, "memxfer_metadata": {"memxfer": "mine"}},
    )
    record = await only(server)
    assert record.metadata == {"a": 1, "memxfer": "mine"}
    assert record.extensions == {"memxfer": {"key": "k", "envelope": {"v": 1}}}


async def test_the_history_is_the_earlier_versions(server):
    [name] = server.put(user_id="ann", memory="third", updated_at="2025-03-03T00:00:00Z")
    server.note(name, "UPDATE", "second", "third", "2025-03-03T00:00:00Z")
    server.note(name, "ADD", None, "first")
    server.note(name, "UPDATE", "first", "second", "2025-03-02T00:00:00Z", actor_id="Bob")
    record = await only(server, history=True)
    born = datetime(2025, 3, 1, 8, 30, 15, 250_000, tzinfo=UTC)
    assert record.versions == (
        Version(content="first", at=born, event="ADD"),
        Version(
            content="second",
            at=datetime(2025, 3, 2, tzinfo=UTC),
            event="UPDATE",
            metadata={"actor_id": "Bob"},
        ),
    )
    assert not record.extensions
    provider = await server.connected(history=True)
    assert await provider.history(name) == record.versions
    assert await provider.get(name) == record


async def test_an_odd_or_missing_history_is_said(server):
    [odd, _] = server.put(2, user_id="ann")
    server.note(odd, "ADD", None, "another text")
    found = {one.id: one for one in await server.records(history=True)}
    assert found.pop(odd).extensions["mem0"] == {"history_mismatch": True}
    assert found.popitem()[1].extensions["mem0"] == {"history_missing": True}


async def test_without_history_nobody_asks_for_it(server):
    server.put(3, user_id="ann")
    await server.records(history=False)
    assert not [path for path in server.calls() if path.endswith("/history")]


async def test_a_page_s_histories_go_on_after_a_rate_limit(server):
    server.put(9, user_id="ann")
    provider = await server.connected(history=True)
    [partition] = [one async for one in provider.list_partitions()]
    server.break_with(match={"path_regex": ".*/history", "every": 4}, status=429)
    refusals = 0
    while refusals < 9:
        try:
            page = await provider.read_page(partition, None, 100)
        except RateLimitedError:
            refusals += 1
        else:
            break
    assert len(page.records) == 9
    asked = [path for path in server.calls() if path.endswith("/history")]
    assert len(asked) - server.emulator.faults.report()[0]["fired"] == 9


HOSTILE = [
    dict.fromkeys(("id", "memory", "metadata")),
    {"id": 7, "memory": "x"},
    {"id": "x", "memory": {"private": "locker"}},
    {"id": "y"},
    None,
    "locker",
    ["locker"],
]


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_hostile_rows_are_defects_and_cost_nobody_else(server, limit):
    [name] = server.put(user_id="ann")
    good = server.truth()[0]
    provider = await server.connected()
    [partition] = [one async for one in provider.list_partitions()]
    rows = [{**row, "user_id": "ann"} if isinstance(row, dict) else row for row in HOSTILE]
    server.break_with("/memories", body={"results": [*rows, good]}, status=200)
    records, defects, cursor, more = [], [], None, True
    while more:
        page = await provider.read_page(partition, cursor, limit)
        records, defects, cursor = [*records, *page.records], [*defects, *page.defects], page.next_cursor
        more = cursor is not None
    assert [one.id for one in records] == [name]
    assert len(defects) == len(HOSTILE)
    assert not any("locker" in str(one.error) for one in defects)


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": "text"},
        {"metadata": [1]},
        {"hash": 7},
        {"expiration_date": "soon"},
        {"memory_type": "odd"},
        {"created_at": 12},
    ],
    ids=str,
)
async def test_a_value_of_the_wrong_kind_is_kept_and_costs_nothing(server, fields):
    server.put(user_id="ann", **fields)
    [(name, value)] = fields.items()
    assert (await only(server)).extensions["mem0"][name] == value


async def test_a_number_is_the_id_that_the_server_lists_it_under(server):
    server.put(2, user_id=42)
    assert {one.scope.user for one in await server.records()} == {"42"}
