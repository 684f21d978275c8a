"""The Synap emulator's inside: duplicates, the asynchronous pipeline, memories."""

from __future__ import annotations

import uuid

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer_synap.emulator.extraction import extract, outcome_of
from memxfer_synap.emulator.ids import IdScheme
from tests.providers.synap.emulator.conftest import BATCH, CREATE, OWNER, doc, send, status, stored

# --- duplicates ---


def copies(server):
    entry = stored(server)["d1"]
    return entry["times_stored"], entry["times_received"]


def test_update_replaces_the_document_and_its_memories(api, server):
    [old] = send(api, doc(text="Old text."))["results"]
    [old_memory] = status(api, old)["memory_ids"]
    [new] = send(api, doc(text="New text."))["results"]
    assert new["ingestion_id"] != old["ingestion_id"]
    assert copies(server) == (1, 2)
    assert stored(server)["d1"]["document"]["document"] == "New text."
    assert api.get(f"/api/v1/memories/{old_memory}").status_code == 404
    assert status(api, old)["memory_ids"] == [old_memory]
    assert api.get(f"/api/v1/memories/{status(api, new)['memory_ids'][0]}").json()["content"] == "New text."


def test_row_error_refuses_the_row(api, server):
    server.admin.configure(duplicate_policy="row_error")
    send(api, doc())
    body = send(api, doc("d0"), doc(text="New text."))
    assert [row["status"] for row in body["results"]] == ["queued", "failed"]
    assert body["results"][1]["error_message"] == "document_id already exists"
    assert copies(server) == (1, 2)
    assert stored(server)["d1"]["document"]["document"] != "New text."
    assert api.post(CREATE, json=doc()).status_code == 409


def test_conflict_refuses_the_whole_batch(api, server):
    server.admin.configure(duplicate_policy="conflict")
    send(api, doc())
    answer = api.post(BATCH, json={"documents": [doc("d0"), doc()]})
    assert (answer.status_code, answer.json()["detail"]["code"]) == (409, "document_conflict")
    assert (sorted(stored(server)), copies(server)) == (["d1"], (1, 2))


def test_echo_answers_with_the_first_ingestion(api, server):
    server.admin.configure(duplicate_policy="echo")
    [first] = send(api, doc())["results"]
    [second] = send(api, doc(text="New text."))["results"]
    assert (second["ingestion_id"], second["status"]) == (first["ingestion_id"], "queued")
    assert copies(server) == (1, 2)


def test_store_twice_stores_twice(api, server):
    server.admin.configure(duplicate_policy="store_twice")
    rows = [send(api, doc())["results"][0] for _ in range(3)]
    assert len({row["ingestion_id"] for row in rows}) == 3
    assert copies(server) == (3, 3)
    summary = server.admin.summary()
    assert (summary["documents"], summary["distinct_ids"], summary["stored_twice"]) == (3, 1, 1)


@pytest.mark.parametrize(
    ("policy", "answered", "times_stored"),
    [("update", 2, 1), ("row_error", 1, 1), ("echo", 2, 1), ("store_twice", 2, 2), ("conflict", None, 0)],
)
def test_equal_ids_in_one_batch_meet_each_other_in_order(api, server, policy, answered, times_stored):
    server.admin.configure(duplicate_policy=policy)
    answer = api.post(BATCH, json={"documents": [doc(text="First."), doc(text="Second.")]})
    assert answer.json().get("succeeded") == answered
    entry = stored(server).get("d1", {"times_stored": 0})
    assert entry["times_stored"] == times_stored
    if policy == "update":
        assert entry["document"]["document"] == "Second."


# --- the pipeline ---


def test_processing_takes_its_time_and_memories_appear_late(api, server, clock):
    server.admin.configure(processing_delay_seconds=8)
    [row] = send(api, doc())["results"]
    steps = []
    for wait in (0, 2, 5.9, 0.1):
        clock.now += wait
        job = status(api, row)
        steps.append(
            (job["status"], job["started_at"] is None, job["completed_at"] is None, job["memories_created"])
        )
    assert steps == [
        ("queued", True, True, 0),
        ("processing", False, True, 0),
        ("processing", False, True, 0),
        ("completed", False, False, 2),
    ]


def test_memories_cannot_be_read_before_they_appear(api, server, clock):
    [row] = send(api, doc())["results"]
    memory_id = status(api, row)["memory_ids"][0]
    server.admin.configure(processing_delay_seconds=5)
    assert api.get(f"/api/v1/memories/{memory_id}").status_code == 404
    clock.now += 5
    assert api.get(f"/api/v1/memories/{memory_id}").status_code == 200


def test_jitter_spreads_completion(api, server, clock):
    server.admin.configure(processing_jitter_seconds=10)
    rows = send(api, *(doc(f"d{number}") for number in range(50)))["results"]
    clock.now += 5
    done = sum(status(api, row)["status"] == "completed" for row in rows)
    assert 15 < done < 35
    clock.now += 5
    assert {status(api, row)["status"] for row in rows} == {"completed"}


@pytest.mark.parametrize(
    ("fields", "outcome", "memories"),
    [
        ({"metadata": {"synap_emulator": "no_memories"}}, "completed", 0),
        ({"text": "Nothing here [[no_memories]]. At all."}, "completed", 0),
        ({"text": "..."}, "completed", 0),
        ({"metadata": {"synap_emulator": "fail"}}, "failed", 0),
        ({"text": "One. Two. Three. [[partial]]"}, "partial_success", 2),
        ({"text": "One. Two.\nThree"}, "completed", 3),
        ({"text": "One! " * 80}, "completed", 50),
    ],
)
def test_a_document_yields_none_to_many_memories(api, server, fields, outcome, memories):
    job = status(api, send(api, doc(**fields))["results"][0])
    assert (job["status"], job["memories_created"], len(job["memory_ids"])) == (outcome, memories, memories)
    assert (job["error_message"] is None) == (outcome == "completed")
    assert server.admin.summary()["memories"] == memories == len(stored(server)["d1"]["memories"])


def test_unknown_jobs_and_memories_are_not_found(api):
    [row] = send(api, doc())["results"]
    other = str(uuid.uuid4())
    for path in (f"status/{other}", other, row["ingestion_id"], f"status/{row['ingestion_id'][:-1]}9"):
        assert api.get(f"/api/v1/memories/{path}").status_code == 404, path
    assert api.get("/api/v1/memories/status/no-uuid").status_code == 422


def test_ids_of_a_past_life_are_unknown_after_a_reset(api, server):
    [row] = send(api, doc())["results"]
    server.admin.reset()
    [again] = send(api, doc())["results"]
    assert again["ingestion_id"] != row["ingestion_id"]
    assert api.get(f"/api/v1/memories/status/{row['ingestion_id']}").status_code == 404


def memories(api, **fields):
    [row] = send(api, doc(**fields))["results"]
    return [api.get(f"/api/v1/memories/{one}").json() for one in status(api, row)["memory_ids"]]


def test_a_memory_has_a_type_and_its_source_but_no_metadata(api, server):
    first, second = memories(api, metadata={"a": 1})
    assert (first["memory_type"], first["content"]) == ("preference", "The user likes tea.")
    assert second["memory_type"] == "episode"
    assert first["source_document_id"] == "d1"
    assert "metadata" not in first
    server.admin.configure(source_document_id="internal")
    assert uuid.UUID(api.get(f"/api/v1/memories/{first['memory_id']}").json()["source_document_id"])


@pytest.mark.parametrize(
    ("strategy", "text", "content"),
    [
        ("replace", "New.", "New."),
        ("append", "New.", "The user likes tea. New."),
        ("smart-merge", "likes tea", "The user likes tea."),
        ("smart-merge", "New.", "The user likes tea. New."),
    ],
)
def test_a_memory_can_be_changed(api, clock, strategy, text, content):
    first, second = memories(api)
    clock.now += 1
    body = {"document": text, "merge_strategy": strategy}
    changed = api.patch(f"/api/v1/memories/{first['memory_id']}", json=body).json()
    assert changed["content"] == content
    assert changed["updated_at"] > changed["created_at"]
    assert api.get(f"/api/v1/memories/{first['memory_id']}").json() == changed
    assert api.get(f"/api/v1/memories/{second['memory_id']}").json() == second


def test_a_deleted_memory_is_gone_and_its_document_stays(api, server):
    first, second = memories(api)
    answer = api.delete(f"/api/v1/memories/{first['memory_id']}").json()
    assert answer["memory_id"] == first["memory_id"]
    assert api.delete(f"/api/v1/memories/{first['memory_id']}").status_code == 404
    assert api.get(f"/api/v1/memories/{first['memory_id']}").status_code == 404
    [left] = stored(server)["d1"]["memories"]
    assert left["memory_id"] == second["memory_id"]
    assert server.admin.summary()["memories"] == 1


def test_truth_walks_all_pages_in_order_of_id(api, server):
    for start in range(0, 300, 100):
        send(api, *(doc(f"d{number:03}") for number in reversed(range(start, start + 100))))
    path = f"{server.base_url}/_emulator/truth"
    pages = [httpx.get(path, params={"offset": offset, "limit": 70}).json() for offset in range(0, 350, 70)]
    assert {page["total"] for page in pages} == {300}
    ids = [one["document_id"] for page in pages for one in page["documents"]]
    assert ids == [f"d{number:03}" for number in range(300)]


def test_a_brief_truth_leaves_memories_out(api, server):
    send(api, doc())
    [entry] = server.admin.documents(brief=True)
    assert "memories" not in entry


def test_upload_takes_text_and_files(api, server):
    form = {**OWNER, "relationship_type": "b2b", "mode": "long-range", "metadata": '{"a": 1}'}
    by_text = api.post("/api/v1/memories/upload", data={**form, "text": "One. Two."})
    by_file = api.post("/api/v1/memories/upload", data=form, files={"file": ("n.txt", b"Three.")})
    assert [status(api, answer.json())["memories_created"] for answer in (by_text, by_file)] == [2, 1]
    assert api.post("/api/v1/memories/upload", data=form).status_code == 422


@given(st.text(max_size=300))
def test_extraction_yields_what_was_counted(text):
    count = outcome_of(text, None)[1]
    extracts = extract(text, count)
    assert len(extracts) == count
    assert all(one.content.strip() for one in extracts)
    assert extract(text, count) == extracts


@given(st.integers(0, 2**48 - 1), st.integers(0, 0xFFF))
def test_ids_read_back(seq, index):
    ids = IdScheme("0123456789abcde")
    assert ids.seq_of_ingestion(ids.ingestion(seq)) == seq
    assert ids.place_of_memory(ids.memory(seq, index).upper()) == (seq, index)
    assert ids.place_of_memory(ids.ingestion(seq)) is None
    assert IdScheme("f" * 15).place_of_memory(ids.memory(seq, index)) is None
