"""The Synap emulator's reading side: context, conversations, forgetting, scope deletes."""

from __future__ import annotations

import uuid

import pytest

from memxfer_synap.emulator import EMULATOR_API_KEY
from tests.providers.synap.emulator.conftest import OWNER


def ingest(api, *texts, **fields):
    documents = [
        {"document": text, "document_id": f"{fields.get('user_id', 'u1')}: {text}", **OWNER, **fields}
        for text in texts
    ]
    answer = api.post("/api/v1/memories/batch", json={"documents": documents}).json()
    assert answer["failed"] == 0, answer
    return answer["results"]


def fetch(api, level="user", **fields):
    ids = {"user": OWNER, "customer": {"customer_id": "c1"}, "client": {}, "conversation": {}}[level]
    answer = api.post(f"/v1/context/{level}/fetch", json={**ids, "max_results": 10, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def contents(body):
    return [item["content"] for item in body["context"]["items"]]


# --- context ---


def test_a_ranked_fetch_puts_the_best_match_first(api):
    ingest(api, "Oslo is cold. Tea is hot.", "She moved to Oslo.", "Nothing else.")
    body = fetch(api, search_query=["moved to Oslo"], response_shape="ranked")
    assert contents(body) == ["She moved to Oslo.", "Oslo is cold."]
    scores = [item["metadata"]["rank_score"] for item in body["context"]["items"]]
    assert scores == sorted(scores, reverse=True)
    assert [item["rank"] for item in body["context"]["items"]] == [1, 2]


def test_a_fetch_by_type_files_memories_under_their_lists(api):
    ingest(api, "The user prefers trains. Water is wet. She felt sad.")
    context = fetch(api, search_query=["user prefers water she felt"])["context"]
    assert {name: [item["content"] for item in items] for name, items in context.items()} == {
        "facts": ["Water is wet."],
        "preferences": ["The user prefers trains."],
        "episodes": [],
        "emotions": ["She felt sad."],
        "temporal_events": [],
    }
    only = fetch(api, search_query=["user prefers water"], types=["facts"])["context"]
    assert (len(only["facts"]), only["preferences"]) == (1, [])


def test_items_carry_metadata_date_and_the_queries_that_found_them(api):
    ingest(api, "Oslo is cold.", metadata={"a": 1}, document_created_at="2024-01-02T03:04:05+00:00")
    body = fetch(api, search_query=["oslo", "rome"], response_shape="ranked")
    [item] = body["context"]["items"]
    assert item["said_at"] == "2024-01-02T03:04:05+00:00"
    assert item["metadata"]["a"] == 1
    assert item["matched_queries"] == ["oslo"]


def test_a_user_s_fetch_tells_of_a_conversation_that_is_the_user_s(api):
    conversation_id = str(uuid.uuid4())
    turns = [{"role": "user", "content": "Oslo is cold."}]
    body = {"conversation_id": conversation_id, "transcript": turns, **OWNER}
    assert api.post("/v1/conversations/ingest", json=body).status_code == 200
    asked = {"search_query": ["oslo"], "conversation_id": conversation_id}
    told = fetch(api, **asked)["conversation_context"]
    assert told["summary"] == "A conversation that began with: Oslo is cold."
    assert "conversation_context" not in fetch(api, **asked, user_id="u2")
    assert "conversation_context" not in fetch(api, **asked, include_conversation_context=False)
    assert "conversation_context" not in fetch(api, **{**asked, "conversation_id": str(uuid.uuid4())})


@pytest.mark.parametrize("levels", ["isolated", "merged"])
def test_a_level_answers_for_itself_alone_or_with_those_above_as_it_is_set(api, server, levels):
    server.admin.configure(fetch_levels=levels)
    ingest(api, "Oslo of a user.")
    ingest(api, "Oslo of another user.", user_id="u2")
    ingest(api, "Oslo of a customer.", user_id=None)
    ingest(api, "Oslo of all.", user_id=None, customer_id=None)
    query = {"search_query": ["oslo"], "response_shape": "ranked"}
    ingest(api, "Oslo of another customer.", user_id=None, customer_id="c2")
    found = {level: set(contents(fetch(api, level, **query))) for level in ("user", "customer", "client")}
    own = {"user": {"Oslo of a user."}, "customer": {"Oslo of a customer."}, "client": {"Oslo of all."}}
    wider = {
        "user": set.union(*own.values()),
        "customer": own["customer"] | own["client"],
        "client": own["client"],
    }
    assert found == (own if levels == "isolated" else wider)


@pytest.mark.parametrize("ids", [{}, {"user_id": "u1"}, {"customer_id": "c1"}])
def test_a_user_fetch_needs_both_ids_on_b2b(api, ids):
    assert api.post("/v1/context/user/fetch", json={**ids, "search_query": ["x"]}).status_code == 400


def test_results_are_limited_and_absent_ones_are_empty(api):
    ingest(api, *(f"Fact about tea number {number}." for number in range(20)))
    assert len(contents(fetch(api, search_query=["tea"], response_shape="ranked", max_results=3))) == 3
    assert contents(fetch(api, search_query=["coffee"], response_shape="ranked")) == []
    assert "retrieval" not in fetch(api, search_query=["tea"])


def test_a_failed_retrieval_is_empty_and_says_so(api, server):
    ingest(api, "Tea is hot.")
    server.admin.configure(retrieval={"level": "failed", "code": "timeout"})
    body = fetch(api, search_query=["tea"], response_shape="ranked")
    assert (contents(body), body["retrieval"]["degraded"]) == ([], True)
    server.admin.configure(retrieval={"level": "partial"})
    assert len(contents(fetch(api, search_query=["tea"], response_shape="ranked"))) == 1


def test_memories_that_have_not_appeared_are_not_found(api, server):
    server.admin.configure(processing_delay_seconds=1000)
    ingest(api, "Tea is hot.")
    assert contents(fetch(api, search_query=["tea"], response_shape="ranked")) == []


def test_a_profile_exists_once_there_are_memories(api):
    path = "/v1/users/u1/profile?customer_id=c1"
    assert api.get(path).status_code == 404
    ingest(api, "Tea is hot.")
    assert api.get(path).json()["profile"]["overview"] == "Tea is hot."
    assert api.get("/v1/users/u1/profile").status_code == 400


# --- conversations ---

TURNS = [
    {"role": "user", "content": "I like tea.", "timestamp": "2024-01-01T00:00:00+00:00"},
    {"role": "assistant", "content": "Noted."},
]


def transcript(api, turns=TURNS, conversation_id="thread 7", **fields):
    body = {"conversation_id": conversation_id, "transcript": turns, **OWNER, **fields}
    return api.post("/v1/conversations/ingest", json=body)


def test_a_transcript_is_a_document_with_its_own_conversation(api, server):
    answer = transcript(api).json()
    assert (answer["status"], answer["turns_recorded"], answer["warnings"]) == ("queued", 2, [])
    assert answer["external_conversation_id"] == "thread 7"
    job = api.get(f"/api/v1/memories/status/{answer['ingestion_id']}").json()
    assert (job["status"], job["memories_created"]) == ("completed", 2)
    [entry] = server.admin.documents()
    assert (entry["origin"], entry["document"]["document"]) == (
        "transcript",
        "User: I like tea.\nAssistant: Noted.",
    )
    assert server.admin.summary()["conversations"] == 1


def test_the_same_transcript_again_is_a_duplicate(api, server):
    first, second = transcript(api).json(), transcript(api).json()
    assert (second["status"], second["ingestion_id"]) == ("duplicate", first["ingestion_id"])
    assert server.admin.summary()["documents"] == 1


def test_the_truth_tells_the_time_of_every_turn_and_how_often_it_came(api, server):
    for _ in range(2):
        conversation_id = transcript(api).json()["conversation_id"]
    [entry] = server.admin.documents()
    assert (entry["conversation_id"], entry["document_id"]) == (conversation_id, "thread 7")
    assert [(one["position"], one.get("timestamp")) for one in entry["turns"]] == [
        (1, "2024-01-01T00:00:00+00:00"),
        (2, None),
    ]
    assert (entry["times_stored"], entry["times_received"]) == (1, 2)


def test_a_document_is_no_transcript_in_the_truth_whatever_conversation_it_names(api, server):
    transcript(api, conversation_id=str(uuid.UUID(int=7)))
    ingest(api, "I like tea.", metadata={"conversation_id": str(uuid.UUID(int=7))})
    assert sorted("turns" in entry for entry in server.admin.documents()) == [False, True]


def test_another_transcript_under_the_same_id_is_a_conflict(api):
    transcript(api)
    answer = transcript(api, TURNS[:1])
    assert (answer.status_code, answer.json()["detail"]["code"]) == (409, "transcript_conflict")


def test_a_text_transcript_is_split_by_speaker(api):
    answer = transcript(api, "User: Hi.\nAgent Smith: Hello.\nno speaker").json()
    assert answer["warnings"] == ["No event time was supplied"]
    turns = api.get(f"/v1/conversations/{answer['conversation_id']}/messages").json()["turns"]
    assert [(turn["role"], turn["content"]) for turn in turns] == [
        ("user", "Hi."),
        ("assistant", "Hello."),
        ("user", "no speaker"),
    ]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"conversation_id": ""}, 422),
        ({"turns": []}, 422),
        ({"turns": [{"role": "tool", "content": "x"}]}, 422),
        ({"turns": [{"role": "user", "content": " \n"}]}, 422),
        ({"turns": [{"role": "user"}]}, 422),
        ({"turns": [{**TURNS[0], "timestamp": "once"}]}, 422),
        ({"turns": "a\x00b"}, 422),
        ({"turns": [{**TURNS[0], "speaker": "a\x00b"}]}, 422),
        ({"conversation_id": "a\x00b"}, 422),
        ({"metadata": {"a": "\x00"}}, 422),
        ({"conversation_type": "x" * 65}, 422),
        ({"metadata": {"a": "x" * 70_000}}, 422),
        ({"started_at": "once"}, 422),
        ({"customer_id": None}, 400),
    ],
)
def test_bad_transcripts_are_refused(api, server, fields, code):
    assert transcript(api, **fields).status_code == code
    assert server.admin.summary()["documents"] == 0


def test_a_conversation_fetch_knows_registered_conversations_only(api):
    conversation_id = transcript(api).json()["conversation_id"]
    ingest(api, "I like tea elsewhere.", metadata={"conversation_id": conversation_id})
    query = {"search_query": ["tea"], "response_shape": "ranked"}
    body = fetch(api, "conversation", conversation_id=conversation_id, **query)
    assert set(contents(body)) == {"I like tea.", "I like tea elsewhere."}
    assert len(body["conversation_context"]["recent_turns"]) == 2
    unknown = {"conversation_id": str(uuid.uuid4()), **query}
    assert api.post("/v1/context/conversation/fetch", json=unknown).status_code == 404
    assert api.post("/v1/context/conversation/fetch", json={"conversation_id": "thread 7"}).status_code == 422


def test_messages_register_a_conversation_and_page(api):
    conversation_id = str(uuid.uuid4())
    rows = [
        {"conversation_id": conversation_id, "role": "user", "content": f"m{n}", **OWNER} for n in range(5)
    ]
    answer = api.post(
        "/v1/conversations/messages/batch", json={"messages": [*rows, {**rows[0], "role": "tool"}]}
    )
    assert (answer.json()["succeeded"], answer.json()["failed"]) == (5, 1)
    assert answer.json()["results"][5]["index"] == 5
    one = api.post("/v1/conversations/messages", json={**rows[0], "content": "m5"}).json()
    assert one["conversation_id"] == conversation_id
    path = f"/v1/conversations/{conversation_id}/messages"
    page = api.get(path, params={"start": 4, "limit": 2}).json()["turns"]
    assert [(turn["position"], turn["content"]) for turn in page] == [(4, "m3"), (5, "m4")]
    assert api.get(f"/v1/conversations/{uuid.uuid4()}/messages").status_code == 404
    assert api.get(path, params={"start": "x"}).status_code == 422


def test_a_recorded_conversation_finds_what_its_user_has_and_nobody_else_s(api):
    conversation_id = str(uuid.uuid4())
    row = {"conversation_id": conversation_id, "role": "user", "content": "Hello.", **OWNER}
    api.post("/v1/conversations/messages", json=row).raise_for_status()
    query = {"conversation_id": conversation_id, "search_query": ["tea"], "response_shape": "ranked"}
    assert contents(fetch(api, "conversation", **query)) == []
    ingest(api, "I like tea.")
    ingest(api, "Tea of another user.", user_id="u2")
    assert contents(fetch(api, "conversation", **query)) == ["I like tea."]


# --- forgetting and deleting ---


def forget(api, description, **fields):
    return api.post("/api/v1/memories/forget", json={"description": description, **OWNER, **fields})


def test_forget_previews_and_deletes(api, server):
    ingest(api, "My old address is Main Street. Tea is hot.")
    preview = forget(api, "old address").json()
    assert preview["status"] == "preview"
    assert [one["content"] for one in preview["candidates"]] == ["My old address is Main Street."]
    assert server.admin.summary()["memories"] == 2
    done = forget(api, "old address", mode="direct").json()
    assert (done["status"], done["deleted_ids"]) == ("deleted", [preview["candidates"][0]["memory_id"]])
    assert server.admin.summary()["memories"] == 1
    assert forget(api, "old address", mode="direct").json()["status"] == "nothing_matches"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"description": "ab"}, 422),
        ({"user_id": None}, 400),
        ({"customer_id": None}, 400),
        ({"mode": "now"}, 422),
    ],
)
def test_forget_is_scoped_to_one_user(api, fields, code):
    body = {"description": "old address", **OWNER, **fields}
    assert api.post("/api/v1/memories/forget", json=body).status_code == code


def delete(api, scope="user", **fields):
    return api.post("/v1/data/delete", json={"scope": scope, **OWNER, **fields})


def test_a_dry_run_counts_and_changes_nothing(api, server):
    ingest(api, "One. Two.", "Three.")
    ingest(api, "Not mine.", user_id="u2")
    body = delete(api, dry_run=True).json()
    assert (body["status"], body["counts"]) == ("dry_run", {"documents": 2, "memories": 3})
    assert server.admin.summary()["documents"] == 3


def test_a_user_delete_removes_that_user_alone(api, server):
    ingest(api, "One. Two.", "Three.")
    ingest(api, "Not mine.", user_id="u2")
    transcript(api)
    body = delete(api, confirm="u1").json()
    assert (body["status"], body["fully_removed"], body["counts"]["documents"]) == ("complete", True, 3)
    assert [one["document_id"] for one in server.admin.documents()] == ["u2: Not mine."]
    assert server.admin.summary()["conversations"] == 0
    assert api.get(f"/v1/data/delete/{body['deletion_id']}").json() == body
    assert api.get("/v1/data/delete/unknown").status_code == 404


@pytest.mark.parametrize("policy", ["row_error", "echo", "conflict"])
def test_a_deleted_document_id_is_free_again(api, server, policy):
    server.admin.configure(duplicate_policy=policy)
    [first] = ingest(api, "One.")
    delete(api, confirm="u1")
    [again] = ingest(api, "One.")
    assert again["ingestion_id"] != first["ingestion_id"]
    [entry] = server.admin.documents()
    assert (entry["times_stored"], entry["times_received"]) == (1, 2)


def test_a_large_delete_asks_to_be_called_again(api, server):
    server.admin.configure(delete_cap=2)
    ingest(api, *(f"Fact {number}." for number in range(5)))
    calls = [delete(api, confirm="u1").json() for _ in range(3)]
    assert [call["continue"] for call in calls] == [True, True, False]
    assert server.admin.summary()["documents"] == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 400),
        ({"confirm": "u2"}, 400),
        ({"user_id": None, "confirm": "u1"}, 400),
        ({"instance_id": "inst_0000000000000000", "confirm": "u1"}, 403),
        ({"scope": "customer", "confirm": "c1"}, 403),
    ],
)
def test_a_delete_must_be_confirmed_and_allowed(api, server, fields, code):
    ingest(api, "One.")
    assert delete(api, **fields).status_code == code
    assert server.admin.summary()["documents"] == 1


def test_a_management_key_deletes_a_customer(api, server):
    server.admin.configure(keys=[{"key": EMULATOR_API_KEY, "management": True}])
    ingest(api, "One.")
    ingest(api, "Two.", user_id="u2")
    ingest(api, "Three.", user_id="u3", customer_id="c2")
    assert delete(api, "customer", confirm="c1").json()["counts"]["documents"] == 2
    assert server.admin.summary()["documents"] == 1


def test_a_conversation_delete_keeps_its_memories(api, server):
    conversation_id = transcript(api).json()["conversation_id"]
    body = delete(api, "conversation", conversation_id=conversation_id, confirm=conversation_id).json()
    assert (body["counts"], body["memories_kept"]) == ({"turns": 2}, True)
    assert api.get(f"/v1/conversations/{conversation_id}/messages").status_code == 404
    assert server.admin.summary()["documents"] == 1
