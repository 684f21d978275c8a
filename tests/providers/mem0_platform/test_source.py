"""The platform as a source: everything once, whoever it belongs to, in whatever state."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from memxfer.spi import (
    CursorExpiredError,
    FatalError,
    Partition,
    RateLimitedError,
    RecordError,
    RecordState,
    Scope,
    UnavailableError,
)
from tests.providers.mem0_platform.conftest import BORN

pytestmark = pytest.mark.anyio

ALL = Partition(name="all")
HISTORY = "GET /v1/memories/{memory_id}/history/"
EVENTS = "GET /v1/memories/events/"
LIST = "POST /v3/memories/"


async def walk(source, limit=200):
    """Return the pages of every partition."""
    pages = []
    async for partition in source.list_partitions():
        cursor = None
        while True:
            page = await source.read_page(partition, cursor, limit)
            pages.append(page)
            cursor = page.next_cursor
            if cursor is None:
                break
    return pages


async def records(source, limit=200):
    pages = await walk(source, limit)
    assert not [page.defects for page in pages if page.defects]
    return [record for page in pages for record in page.records]


@pytest.fixture
def everybody(platform):
    """Memories of every kind of scope, and of every state."""
    for axes in ("u", "a", "p", "r", "ua", "ap", "pr", "uapr"):
        names = {"u": "user_id", "a": "agent_id", "p": "app_id", "r": "run_id"}
        platform.put(text=axes, scope={names[axis]: "x" for axis in axes})
    platform.put(text="expired", expiration_date="2025-06-01")
    platform.put(text="merged", merged=True, replaced_by="other")
    platform.put(text="superseded", replaced_by="other")
    return {one["memory"] for one in platform.truth()}


@pytest.mark.parametrize("scopes", ["filter", "entities"])
@pytest.mark.parametrize("limit", [1, 3, 200])
async def test_everything_comes_once_hidden_rows_too(platform, everybody, scopes, limit):
    source = await platform.source(scopes=scopes)
    assert Counter(record.content for record in await records(source, limit)) == Counter(everybody)
    assert await source.count() == len(everybody)


async def test_scopes_and_states_are_read(platform, everybody):
    found = {record.content: record for record in await records(await platform.source())}
    assert found["uapr"].scope == Scope(user="x", agent="x", app="x", session="x")
    assert found["r"].scope == Scope(session="x")
    assert (found["superseded"].state, found["superseded"].superseded_by) == (
        RecordState.SUPERSEDED,
        "other",
    )
    assert found["expired"].state is RecordState.EXPIRED
    assert found["expired"].expires_at == datetime(2025, 6, 2, tzinfo=UTC)
    assert found["u"].state is RecordState.ACTIVE


async def test_the_walk_of_entities_leaves_out_what_an_earlier_axis_has(platform, everybody):
    source = await platform.source(scopes="entities")
    partitions = [one async for one in source.list_partitions()]
    assert {one.name for one in partitions} == {"user:x", "user:ann", "agent:x", "app:x", "session:x"}
    pages = await walk(source)
    ignored = [row for page in pages for row in page.ignored]
    assert {(row.reason, row.harmless) for row in ignored} == {("listed_elsewhere", True)}
    ids = [record.id for page in pages for record in page.records]
    assert len(ids) == len(set(ids))
    assert {row.id for row in ignored} <= set(ids)


async def test_an_entity_that_is_called_like_the_wildcard_gives_its_own_alone(platform):
    platform.put(text="starred", scope={"user_id": "*"})
    platform.put(text="other", scope={"user_id": "ann"})
    found = [record.content for record in await records(await platform.source(scopes="entities"))]
    assert sorted(found) == ["other", "starred"]


async def test_entities_beyond_the_first_page_are_walked(platform):
    platform.configure(max_page_size=2)
    for number in range(7):
        platform.put(scope={"user_id": f"u{number}"})
    assert len(await records(await platform.source(scopes="entities"))) == 7


async def test_a_small_entity_costs_one_listing(platform):
    platform.put()
    source = await platform.source(scopes="entities", history=False)
    await records(source)
    assert platform.calls()[LIST] == 1


async def test_memories_dated_in_the_future_are_not_left_out(platform):
    platform.put(text="soon", created_at=datetime(2090, 1, 1, tzinfo=UTC))
    platform.put(text="past")
    assert sorted(one.content for one in await records(await platform.source(), 1)) == ["past", "soon"]


# -- while it is listed -------------------------------------------------------------------------


async def test_rows_that_appear_while_it_is_listed_do_not_shift_the_pages(platform):
    old = {platform.put(number).id for number in range(40)}
    source = await platform.source(history=False)
    platform.configure(inserts_between_pages=3)
    found = [record.id for record in await records(source, 10)]
    assert platform.admin.summary()["drift_inserted"] > 0
    assert Counter(one for one in found if one in old) == Counter(old)


async def test_rows_that_disappear_make_it_skip_none_twice_and_a_second_walk_finds_the_rest(platform):
    """Page numbers cannot do better, and the source says so; the engine's closing sweep is a second walk."""
    for number in range(40):
        platform.put(number)
    source = await platform.source(history=False)
    assert source.capabilities().paging.delete_safe is False
    platform.configure(deletes_between_pages=4)
    first = [record.id for record in await records(source, 10)]
    platform.configure(deletes_between_pages=0)
    left = {one["id"] for one in platform.truth()}
    assert left - set(first), "the emulator did not drift"
    assert len(first) == len(set(first))
    assert left <= set(first) | {record.id for record in await records(source, 10)}


async def test_a_page_past_the_end_is_the_end(platform):
    made = [platform.put(number) for number in range(6)]
    source = await platform.source()
    page = await source.read_page(ALL, None, 3)
    for one in made[:5]:
        platform.emulator.store.delete(one, at=BORN)
    rest = await source.read_page(ALL, page.next_cursor, 3)
    assert (list(rest.records), rest.defects) == ([], [])
    assert (await source.read_page(ALL, rest.next_cursor, 3)).next_cursor is None


async def test_a_cursor_goes_on_in_another_process_even_with_other_pages(platform):
    for number in range(23):
        platform.put(number, created_at=BORN + timedelta(days=number))
    first = await platform.source()
    page = await first.read_page(ALL, None, 10)
    found = [record.id for record in page.records]
    second = await platform.source()
    cursor = page.next_cursor
    while cursor is not None:
        page = await second.read_page(ALL, cursor, 4)
        found += [record.id for record in page.records]
        cursor = page.next_cursor
    assert set(found) == {one["id"] for one in platform.truth()}


async def test_a_cursor_that_is_none_begins_again(platform):
    source = await platform.source()
    for cursor in ("2", "settled:x@now", "settled:1@2025-01-01T00:00:00Z; DROP"):
        with pytest.raises(CursorExpiredError):
            await source.read_page(ALL, cursor, 5)


async def test_a_service_that_refuses_the_filter_names_the_way_out(platform):
    platform.configure(wildcard_or=False)
    platform.put()
    source = await platform.source()
    with pytest.raises(FatalError, match='scopes = "entities"') as caught:
        await source.read_page(ALL, None, 5)
    assert caught.value.status == 400
    assert len(await records(await platform.source(scopes="entities"))) == 1


async def test_a_wrong_path_is_not_an_empty_store(platform):
    source = await platform.source()
    platform.break_with("/v3/memories/", status=404, body={"detail": "Not Found"})
    with pytest.raises(FatalError, match="base_url"):
        await source.read_page(ALL, None, 5)


# -- earlier versions ---------------------------------------------------------------------------


def changed(platform, number, *texts):
    memory = platform.put(number, text=texts[0])
    for place, text in enumerate(texts[1:], 1):
        platform.emulator.store.change(memory, text=text, at=BORN + timedelta(days=place))
    return memory


async def test_versions_are_read_in_bulk(platform):
    for number in range(120):
        changed(platform, number, f"first {number}", f"second {number}", f"third {number}")
    source = await platform.source()
    found = await records(source, 50)
    assert {tuple(one.content for one in record.versions) for record in found} == {
        (f"first {number}", f"second {number}") for number in range(120)
    }
    assert [one.event for one in found[0].versions] == ["ADD", "UPDATE"]
    assert found[0].versions[1].at == BORN + timedelta(days=1)
    assert not any(record.extensions for record in found)
    assert platform.calls()[EVENTS] == 4
    assert HISTORY not in platform.calls()


async def test_where_the_service_does_not_list_history_each_memory_is_asked(platform):
    platform.configure(has_events=False)
    for number in range(5):
        changed(platform, number, f"first {number}", f"second {number}")
    found = await records(await platform.source())
    assert all(len(record.versions) == 1 for record in found)
    assert platform.calls()[HISTORY] == 5


async def test_a_memory_that_changed_after_the_bulk_is_asked_again(platform):
    memory = changed(platform, 1, "first")
    source = await platform.source()
    await records(source)
    platform.emulator.store.change(memory, text="second", at=BORN + timedelta(days=1))
    [record] = await records(source)
    assert [one.content for one in record.versions] == ["first"]
    assert platform.calls()[HISTORY] == 1


async def test_history_can_be_left_out(platform):
    changed(platform, 1, "first", "second")
    source = await platform.source(history=False)
    [record] = await records(source)
    assert record.versions == ()
    assert not {EVENTS, HISTORY} & platform.calls().keys()


async def test_a_bulk_that_fails_goes_on_where_it_failed(platform):
    for number in range(250):
        changed(platform, number, f"text {number}")
    source = await platform.source()
    platform.break_with("/v1/memories/events/", match={"nth": 2}, status=503)
    with pytest.raises(UnavailableError):
        await source.read_page(ALL, None, 10)
    assert len((await source.read_page(ALL, None, 10)).records) == 10
    assert platform.calls()[EVENTS] == 4


async def test_a_page_of_single_questions_ends_under_a_tight_rate_limit(platform):
    platform.configure(has_events=False)
    for number in range(30):
        changed(platform, number, f"text {number}")
    source = await platform.source()
    platform.configure(rate_limit={"per_minute": 1, "burst": 12})
    refusals = 0
    page = None
    while page is None:
        try:
            page = await source.read_page(ALL, None, 30)
        except RateLimitedError:
            refusals += 1
            platform.configure(rate_limit={"per_minute": 1 + refusals, "burst": 12})
    assert (len(page.records), refusals > 1) == (30, True)


async def test_a_deleted_memory_still_has_its_history(platform):
    memory = changed(platform, 1, "first", "second")
    platform.emulator.store.delete(memory, at=BORN + timedelta(days=9))
    source = await platform.source()
    assert await source.get(memory.id) is None
    versions = await source.history(memory.id)
    assert [one.content for one in versions] == ["first", "second", None]
    assert await source.history("never was") == ()


async def test_one_memory_is_read_as_it_is_listed(platform):
    memory = changed(platform, 1, "first", "second")
    source = await platform.source()
    [listed] = await records(source)
    assert await source.get(memory.id) == listed
    assert await source.history(memory.id) == listed.versions


async def test_a_listing_without_a_count_leaves_the_count_to_the_project(platform):
    platform.put()
    source = await platform.source()
    platform.break_with("/v3/memories/", status=200, body=[])
    assert await source.count() == 1
    platform.break_with("/v1/stats/", status=200, body={})
    assert await (await platform.source()).count() == 1
    with pytest.raises(UnavailableError):
        await (await platform.source(scopes="entities")).count()


@pytest.mark.parametrize("status", [400, 404])
async def test_an_id_that_is_none_names_no_memory(platform, status):
    source = await platform.source()
    assert await source.get("") is None
    platform.break_with("/v1/memories/", status=status)
    assert await source.get("not an id") is None
    platform.break_with("/v1/memories/", status=409)
    with pytest.raises(RecordError):
        await source.get("a")
    platform.break_with("/v1/memories/", status=200, body=[1])
    with pytest.raises(UnavailableError):
        await source.get("a")


# -- odd rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        [{"id": "1", "memory": "tea", "user_id": "ann", "created_at": "2024-05-01T01:00:00-07:00"}],
        {
            "results": [
                {"id": "1", "memory": "tea", "user_id": "ann", "created_at": "2024-05-01T01:00:00-07:00"}
            ]
        },
        {
            "memories": [
                {"id": "1", "memory": "tea", "user_id": "ann", "created_at": "2024-05-01T01:00:00-07:00"}
            ]
        },
        {
            "count": 1,
            "next": None,
            "results": [{"id": "1", "memory": "tea", "user_id": "ann", "created_at": "2024-05-01T08:00:00Z"}],
        },
    ],
    ids=["bare list", "results", "memories", "envelope"],
)
async def test_answers_of_every_version_are_read(platform, body):
    source = await platform.source(history=False)
    platform.break_with("/v3/memories/", status=200, body=body)
    page = await source.read_page(ALL, None, 200)
    [record] = page.records
    assert (record.content, record.scope.user) == ("tea", "ann")
    assert record.created_at == datetime(2024, 5, 1, 8, tzinfo=UTC)


async def test_a_full_page_that_does_not_say_whether_there_is_more_is_followed(platform):
    rows = [{"id": str(number), "memory": "tea", "user_id": "ann"} for number in range(2)]
    source = await platform.source(history=False)
    platform.break_with("/v3/memories/", status=200, body=rows)
    assert (await source.read_page(ALL, None, 2)).next_cursor.startswith("settled:2@")
    for other in (1, 3):  # a service without pages gives everything each time
        assert (await source.read_page(ALL, None, other)).next_cursor.startswith("later:0@")


async def test_a_row_that_does_not_read_costs_nobody_else(platform):
    rows = [
        {"id": "1", "memory": "tea"},
        {"id": "2", "memory": None},
        {"id": 3, "memory": "number"},
        {"memory": "no id"},
        "a string",
        None,
        {"id": "7", "memory": "kept", "created_at": "yesterday", "metadata": [1], "user_id": 5},
        {"id": "8", "memory": "year one", "created_at": "0001-01-01T00:00:00+14:00"},
    ]
    source = await platform.source()
    platform.break_with("/v3/memories/", status=200, body=rows)
    page = await source.read_page(ALL, None, 200)
    assert [record.id for record in page.records] == ["1", "7", "8"]
    assert [one.id for one in page.defects] == ["2", None, None, None, None]
    odd = page.records[1]
    assert odd.scope == Scope(user="5")
    own = odd.extensions["mem0"]
    assert (own["created_at"], own["metadata"], own["user_id"]) == ("yesterday", [1], 5)
    assert page.records[2].extensions["mem0"]["created_at"] == "0001-01-01T00:00:00+14:00"


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ({"status": 200, "body": "later"}, UnavailableError),
        ({"status": 200, "body": {"count": 1}}, UnavailableError),
        ({"malformed": True, "when": "after"}, UnavailableError),
        ({"cut": 10, "when": "after"}, UnavailableError),
        ({"status": 503}, UnavailableError),
        ({"status": 408}, UnavailableError),
        ({"close": "reset"}, UnavailableError),
        ({"status": 302, "headers": {"location": "/x"}}, FatalError),
        ({"preset": "rate_limited"}, RateLimitedError),
    ],
    ids=str,
)
async def test_a_page_that_fails_is_an_error_of_its_kind(platform, action, kind):
    source = await platform.source(history=False)
    platform.put()
    platform.break_with("/v3/memories/", **action)
    with pytest.raises(kind):
        await source.read_page(ALL, None, 5)
    platform.mend()
    assert len((await source.read_page(ALL, None, 5)).records) == 1
