"""A Qdrant collection most of whose rows hold no text where Mem0 keeps it: never a clean end unsaid."""

from __future__ import annotations

import json
import uuid
import warnings

import pytest

from memxfer.cli import exits

BORN = "2025-01-01T00:00:00Z"


def fill_qdrant(stage, *, memories: int, others: int) -> None:
    """Write an app's collection: rows with their text under `data`, and others with it under `memory`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        qdrant_client = pytest.importorskip("qdrant_client")
    models = qdrant_client.models
    client = qdrant_client.QdrantClient(path=str(stage.folder / "qdrant"))
    client.create_collection(
        "mem0", vectors_config=models.VectorParams(size=8, distance=models.Distance.COSINE)
    )
    fields = ["data"] * memories + ["memory"] * others
    points = [
        models.PointStruct(
            id=str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))),  # both kinds mixed
            vector=[0.1] * 8,
            payload={field: f"text {number}", "user_id": "ann", "created_at": BORN, "updated_at": BORN},
        )
        for number, field in enumerate(fields)
    ]
    client.upsert("mem0", points)
    client.close()
    config = {"collection_name": "mem0", "path": "qdrant", "on_disk": True, "embedding_model_dims": 8}
    app = {"vector_store": {"provider": "qdrant", "config": config}, "history_db_path": "history.db"}
    (stage.folder / "mem0.json").write_text(json.dumps(app))
    toml = (stage.folder / "memxfer.toml").read_text()
    source = f'provider = "mem0-oss"\nconfig_file = "{stage.folder / "mem0.json"}"'
    (stage.folder / "memxfer.toml").write_text(toml.replace('provider = "archive"\npath = "source"', source))


def test_40_rows_without_a_text_stop_the_move_and_are_told_by_every_verb(stage) -> None:
    fill_qdrant(stage, memories=2, others=40)

    code, found, _ = stage.run("diff", "old", "new", "--fail-on", "lost")
    assert code == exits.DECISION
    assert (found["rows"], found["scanned"], sum(found["ignored"].values())) == (42, 2, 40)
    lines = [line for line in found["dimensions"] if line["dimension"] == "ignored"]
    assert sum(line["records"] for line in lines) == 40
    assert all(line["verdict"] == "lost" and line["samples"] for line in lines)

    code, error, _ = stage.run("migrate", "old", "new", "--yes", "--job", "j")
    assert (code, error["error"]["code"]) == (exits.DECISION, "decision_required")
    assert "40 rows of old are ignored" in error["error"]["message"]
    assert "--accept-loss ignored" in error["error"]["remedy"]
    assert stage.truth()["received"] == 0

    process = stage.start("migrate", "old", "new", "--yes", "--job", "j")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == exits.DECISION
    assert "40    rows beside them are ignored" in out

    code, done, _ = stage.run("migrate", "old", "new", "--yes", "--job", "j", "--accept-loss", "ignored")
    assert code == exits.CLEAN
    assert (done["counts"]["stored"], sum(done["ignored"].values())) == (2, 40)
    assert stage.run("status", "j")[1]["ignored"] == done["ignored"]


def test_a_collection_of_such_rows_alone_is_never_a_clean_end(stage) -> None:
    fill_qdrant(stage, memories=0, others=40)

    assert stage.run("migrate", "old", "new", "--yes", "--job", "j")[0] == exits.DECISION
    code, result, _ = stage.run("migrate", "old", "new", "--yes", "--job", "j", "--accept-loss", "all")
    assert (code, result["status"]) == (exits.INCOMPLETE, "incomplete")
    assert sum(result["ignored"].values()) == 40


def test_each_is_counted_once_after_kills(stage) -> None:
    fill_qdrant(stage, memories=300, others=200)
    toml = stage.folder / "memxfer.toml"
    toml.write_text(
        toml.read_text().replace("[connections.new]", "page_size = 25\n\n[connections.new]\nbatch_size = 10")
    )
    stage.server.admin.configure(latency_seconds=0.02)
    words = ("migrate", "old", "new", "--job", "j", "--yes", "--accept-loss", "all")
    for more in (60, 120):
        process = stage.start(*words, "-q")
        assert stage.kill_when(process, lambda more=more: stage.truth()["received"] >= more), stage.last_words
        words = ("resume", "j")

    code, done, err = stage.run(*words)

    assert code == exits.CLEAN, err
    assert sum(done["ignored"].values()) == 200
    assert done["counts"]["listed"] == 300
    assert stage.truth()["distinct_ids"] == 300
