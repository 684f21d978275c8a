"""The vendor's own client against the emulator, without memxfer between them."""

import os
from collections import Counter
from datetime import UTC, datetime

import httpx
import pytest

from memxfer_mem0_platform.emulator import EMULATOR_API_KEY, Mem0PlatformEmulator
from memxfer_mem0_platform.emulator.rows import Memory

ANYBODY = {"OR": [{axis: "*"} for axis in ("user_id", "agent_id", "app_id", "run_id")]}


@pytest.fixture
def vendor(platform):
    assert os.environ["MEM0_TELEMETRY"] == "False"
    import mem0

    with httpx.Client(timeout=5, trust_env=False) as http:
        yield mem0.MemoryClient(api_key=EMULATOR_API_KEY, host=platform.url, client=http)


@pytest.fixture
def errors():
    import mem0.exceptions

    return mem0.exceptions


def add(vendor, text, **fields):
    return vendor.add([{"role": "user", "content": text}], **{"user_id": "ann", "infer": False, **fields})


def listed(vendor, filters=ANYBODY, **fields):
    return vendor.get_all(filters=filters, page=1, page_size=200, **fields)["results"]


def ids(rows):
    return {row["id"] for row in rows}


def test_it_says_what_it_is(platform):
    answer = httpx.get(f"{platform.url}/v1/ping/", trust_env=False)
    assert "emulator, built from public documentation" in answer.headers["x-emulator"]
    assert answer.status_code == 401


def test_a_wrong_key_is_refused(platform):
    import mem0

    with httpx.Client() as http, pytest.raises(ValueError, match="Invalid API key"):
        mem0.MemoryClient(api_key="wrong", host=platform.url, client=http)


def test_an_add_without_inference_is_stored_at_once_and_cut_to_seconds(vendor):
    made = add(vendor, "Ann likes tea", timestamp=1_700_000_000, run_id="r1", metadata={"a": {"b": [1]}})
    assert (made["status"], made["results"][0]["event"]) == ("SUCCEEDED", "ADD")
    [row] = listed(vendor)
    assert row["id"] == made["results"][0]["id"]
    assert row["created_at"] == "2023-11-14T22:13:20+00:00"
    assert (row["session_id"], row["metadata"]) == ("r1", {"a": {"b": [1]}})
    assert "run_id" not in row


def test_an_add_with_inference_is_queued_and_visible_later(platform, vendor):
    platform.configure(event_seconds=3600)
    queued = vendor.add("Ann likes tea", user_id="ann")
    assert queued.keys() == {"message", "status", "event_id"}
    assert listed(vendor) == []
    platform.configure(event_seconds=0)
    event = vendor.client.get(f"/v1/event/{queued['event_id']}/").json()
    assert event["status"] == "SUCCEEDED"
    assert ids(listed(vendor)) == {event["results"][0]["id"]}


def test_system_messages_and_messages_without_text_are_dropped(vendor):
    made = vendor.add(
        [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": [{"type": "image_url"}]},
            {"role": "assistant", "content": "Ann likes tea"},
        ],
        user_id="ann",
        infer=False,
    )
    assert [one["data"]["memory"] for one in made["results"]] == ["Ann likes tea"]


@pytest.mark.parametrize(
    "fields",
    [
        {"user_id": None},
        {"metadata": ["no object"]},
        {"timestamp": 1.5},
        {"expiration_date": "tomorrow"},
        {"metadata": {"nul": "\0"}},
    ],
    ids=str,
)
def test_bad_adds_are_refused(vendor, errors, fields):
    with pytest.raises(errors.ValidationError):
        add(vendor, "Ann likes tea", **fields)
    assert listed(vendor) == []


def test_the_same_text_in_one_scope_is_one_memory(platform, vendor):
    first = add(vendor, "Ann likes tea")["results"][0]
    again = add(vendor, "Ann likes tea", metadata={"other": 1})["results"][0]
    other = add(vendor, "Ann likes tea", run_id="r1")["results"][0]
    assert (again["id"], again["event"]) == (first["id"], "NONE")
    assert other["id"] != first["id"]
    platform.configure(collapse="empty")
    assert add(vendor, "Ann likes tea")["results"] == []
    assert Counter(one["times_received"] for one in platform.truth()) == {3: 1, 1: 1}


def test_wildcards_match_those_that_have_the_field_and_no_others(platform, vendor):
    for axis in ("user_id", "agent_id", "app_id", "run_id"):
        platform.put(scope={axis: "x"}, text=axis)
    assert [row["memory"] for row in listed(vendor, {"user_id": "*"})] == ["user_id"]
    assert {row["memory"] for row in listed(vendor)} == {"user_id", "agent_id", "app_id", "run_id"}


def test_expired_and_merged_rows_are_hidden_and_superseded_ones_are_not(platform, vendor):
    platform.put(1, expiration_date="2025-06-01")
    platform.put(2, merged=True)
    platform.put(3, replaced_by="x")
    platform.put(4)
    assert [len(listed(vendor, **flags)) for flags in ({}, {"show_expired": True})] == [2, 3]
    assert len(listed(vendor, show_expired=True, include_merged=True)) == 4
    assert len(listed(vendor, latest_only=True)) == 1


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"AND": [{"user_id": "ann"}, {"created_at": {"lte": "2025-01-31T00:00:00Z"}}]}, "old"),
        ({"AND": [{"user_id": "ann"}], "OR": [{"user_id": "nobody"}]}, "new old"),
        ({"user_id": {"in": ["bob", "cat"]}}, "bob"),
        ({"AND": [{"user_id": "*"}, {"NOT": [{"user_id": "ann"}]}]}, "bob"),
        ({"AND": [{"user_id": "*"}, {"metadata": {"k": "v"}}]}, "new"),
        ({"AND": [{"user_id": "*"}, {"metadata": {"k": {"ne": "v"}}}]}, "bob old"),
        ({"AND": [{"user_id": "ann"}, {"created_at": {"gt": "2025-01-31"}}]}, "new"),
        ({"user_id": "*", "created_at": {"gte": "2025-02-01", "lt": "2025-02-02"}}, "new"),
        ({"user_id": "*", "categories": {"in": ["food", "x"]}}, "new"),
        ({"user_id": "*", "categories": {"contains": "x"}}, ""),
        ({"user_id": "*", "keywords": {"icontains": "OB"}}, "bob"),
        ({"user_id": {"ne": "ann"}}, "bob"),
        ({"user_id": {"icontains": "B"}, "memory_ids": []}, ""),
    ],
    ids=str,
)
def test_filters(platform, vendor, filters, expected):
    platform.put(text="old", created_at=datetime(2025, 1, 1, tzinfo=UTC))
    platform.put(
        text="new", created_at=datetime(2025, 2, 1, tzinfo=UTC), metadata={"k": "v"}, categories=["food"]
    )
    platform.put(text="bob", scope={"user_id": "bob"})
    assert {row["memory"] for row in listed(vendor, filters)} == set(expected.split())


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"created_at": {"gt": "2025-01-01"}},
        {"NOT": [{"user_id": "ann"}]},
        {"user_id": "ann", "color": "red"},
        {"AND": [{"user_id": "ann"}, {"metadata": {"n": {"gt": 1}}}]},
        {"AND": ["ann"]},
        {"AND": {"user_id": "ann"}},
        {"user_id": {"like": "a"}},
        {"user_id": "ann", "created_at": {"gt": "soon"}},
    ],
    ids=str,
)
def test_filters_without_an_entity_or_with_unknown_fields_are_refused(platform, vendor, errors, filters):
    platform.put()
    with pytest.raises(errors.ValidationError):
        listed(vendor, filters)


def test_pages_are_cut_to_the_largest_and_end_in_a_404(platform, vendor, errors):
    platform.configure(max_page_size=2)
    for number in range(3):
        platform.put(number)
    first = vendor.get_all(filters=ANYBODY, page=1, page_size=200)
    assert (first["count"], len(first["results"]), first["previous"]) == (3, 2, None)
    assert first["next"].startswith(platform.url)
    assert vendor.get_all(filters=ANYBODY, page=2, page_size=200)["next"] is None
    with pytest.raises(errors.MemoryNotFoundError, match="Invalid page"):
        vendor.get_all(filters=ANYBODY, page=3, page_size=200)


def test_a_store_that_moves_between_pages_repeats_and_skips_rows(platform, vendor):
    stored = {platform.put(number).id for number in range(40)}
    platform.configure(inserts_between_pages=3, deletes_between_pages=5)
    seen = []
    for page in range(1, 10):
        answer = vendor.get_all(filters=ANYBODY, page=page, page_size=10)
        seen += [row["id"] for row in answer["results"]]
        if not answer["next"]:
            break
    summary = platform.admin.summary()
    assert summary["drift_inserted"] == 3 * (page - 1)
    left = {one["id"] for one in platform.truth()} & stored
    assert left - set(seen), "deletes make the listing skip rows"
    platform.configure(inserts_between_pages=4, deletes_between_pages=0)
    again = [
        row["id"]
        for number in (1, 2)
        for row in vendor.get_all(filters=ANYBODY, page=number, page_size=10)["results"]
    ]
    assert len(again) > len(set(again)), "inserts make it repeat them"


def test_entities_come_in_pages_and_the_client_reads_the_first(platform, vendor):
    platform.configure(max_page_size=2)
    for name in ("a", "b", "c"):
        platform.put(scope={"user_id": name})
    assert [one["name"] for one in vendor.users()["results"]] == ["a", "b"]
    page = vendor.client.get("/v1/entities/", params={"page": 2, "page_size": 100}).json()
    assert (page["count"], page["next"], page["results"][0]["type"]) == (3, None, "user")


def test_one_memory_can_be_read_changed_and_deleted_and_has_a_history(vendor, errors):
    [made] = add(vendor, "Ann likes tea")["results"]
    assert vendor.get(made["id"])["lifecycle_state"] == "active"
    vendor.update(made["id"], text="Ann likes coffee", metadata={"n": 1}, expiration_date="2099-01-01")
    vendor.update(made["id"], expiration_date=None)
    assert vendor.get(made["id"])["expiration_date"] is None
    vendor.delete(made["id"])
    with pytest.raises(errors.MemoryNotFoundError):
        vendor.get(made["id"])
    events = vendor.history(made["id"])
    assert [(one["event"], one["new_memory"]) for one in events] == [
        ("ADD", "Ann likes tea"),
        ("UPDATE", "Ann likes coffee"),
        ("UPDATE", "Ann likes coffee"),
        ("DELETE", None),
    ]
    every = vendor.client.get("/v1/memories/events/", params={"page": 1, "limit": 100}).json()
    assert [one["id"] for one in every["results"]] == [one["id"] for one in reversed(events)]


def test_batches_change_and_delete_by_id_alone(platform, vendor, errors):
    made = [platform.put(number) for number in range(3)]
    vendor.batch_update([{"memory_id": one.id, "text": f"new {one.id}"} for one in made[:2]])
    vendor.batch_delete([{"memory_id": one.id} for one in made[1:]])
    assert platform.texts() == [f"new {made[0].id}"]
    with pytest.raises(errors.ValidationError):
        vendor.batch_delete([{"memory_id": "x"}] * 1001)


def test_deleting_by_scope_wants_a_scope_it_understands(platform, vendor, errors):
    platform.put()
    platform.put(scope={"user_id": "bob"})
    for wrong in ({}, {"filters": {"user_id": "bob"}}):
        with pytest.raises(errors.ValidationError):
            vendor.delete_all(**wrong)
    vendor.delete_all(user_id="bob")
    vendor.delete_users(user_id="ann")
    assert platform.truth() == []


def test_an_entity_has_a_listing_of_its_own(platform, vendor):
    platform.put(scope={"agent_id": "a/b"}, text="tea")
    platform.put(scope={"agent_id": "other"})
    rows = vendor.client.get("/v1/memories/agent/a%2Fb/", params={"page": 1}).json()
    assert [row["memory"] for row in rows["results"]] == ["tea"]
    assert vendor.client.get("/v1/memories/cat/a/").status_code == 404


def test_rows_can_be_asked_for_by_field(platform, vendor):
    made = platform.put()
    assert listed(vendor, fields=["id"]) == [{"id": made.id}]


def test_a_search_calls_the_run_by_its_name(platform, vendor):
    platform.put(scope={"user_id": "ann", "run_id": "r"}, text="Ann likes tea")
    [found] = vendor.search("who likes tea", filters={"user_id": "ann"})["results"]
    assert found["run_id"] == "r"


def test_a_refusal_by_rate_carries_the_wait(platform, vendor, errors):
    platform.configure(rate_limit={"per_minute": 1, "burst": 1})
    vendor.get_all(filters=ANYBODY, page=1, page_size=1)
    with pytest.raises(errors.RateLimitError) as caught:
        vendor.get_all(filters=ANYBODY, page=1, page_size=1)
    assert caught.value.debug_info["retry_after"] > 0
    assert caught.value.debug_info["x_ratelimit_limit"] == "1000"


def test_an_add_whose_answer_is_lost_is_stored(platform, vendor, errors):
    platform.break_with(close="reset", when="after")
    with pytest.raises(errors.NetworkError):
        add(vendor, "Ann likes tea")
    assert platform.texts() == ["Ann likes tea"]


def test_what_is_stored_outlives_the_process(tmp_path):
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    first = Mem0PlatformEmulator(state_path=tmp_path / "state.sqlite")
    made = first.put(Memory("", "Ann likes tea", {"user_id": "ann"}, moment, moment))
    first.close()
    second = Mem0PlatformEmulator(state_path=tmp_path / "state.sqlite")
    assert second.store.get(made.id) == made
    assert [one["history"] for one in second.truth(0, 10, brief=False)["documents"]] == [["ADD"]]
    second.clear()
    assert second.summary()["documents"] == 0
    second.close()
