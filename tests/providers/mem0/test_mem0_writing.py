"""The target, on the four stores, read back by the real library."""

import hashlib
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from memxfer.spi import (
    Document,
    Embedding,
    Message,
    Outcome,
    RecordState,
    Refused,
    Role,
    Scope,
    Skipped,
    SupportsDelete,
    SupportsLookup,
    stable_uuid,
)
from memxfer_mem0.embedding import LocalEmbedder
from memxfer_mem0.stores.chroma import flatten, unflatten

pytestmark = pytest.mark.anyio
UUID_ID = "7f3c1e9a-5d7b-4f7e-9a53-2f0f6a1b2c3d"


async def test_a_record_becomes_a_memory_that_mem0_reads(app, make_record):
    record = make_record(
        id=UUID_ID,
        content="Ünïcode 🙂",
        scope=Scope(user="u", agent="a", session="r"),
        metadata={"topic": "x", "n": 3},
        created_at=datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC),
        updated_at=datetime(2024, 6, 1, 12, 0, 0, 654321, tzinfo=UTC),
    )

    (receipt,) = await app.write(record)

    assert (receipt.outcome, receipt.target_ids) == (Outcome.CREATED, (UUID_ID,))
    with app.library() as library:
        memory = library.memory.get(UUID_ID)
        found = library.memory.search("Ünïcode 🙂", filters={"user_id": "u"}, threshold=0.0)["results"]
    assert memory["memory"] == "Ünïcode 🙂"
    assert memory["created_at"] == "2024-05-01T12:00:00.123456+00:00"
    assert memory["updated_at"] == "2024-06-01T12:00:00.654321+00:00"
    assert (memory["user_id"], memory["agent_id"], memory["run_id"]) == ("u", "a", "r")
    assert memory["hash"] == hashlib.md5("Ünïcode 🙂".encode()).hexdigest()
    assert memory["metadata"] == {"topic": "x", "n": 3, "memxfer_key": f"mx:test:{UUID_ID}"}
    assert [row["id"] for row in found] == [UUID_ID]


async def test_an_id_that_is_no_uuid_becomes_one_made_from_the_key(app, make_record):
    (receipt,) = await app.write(make_record(1))

    assert receipt.target_ids == (stable_uuid("mx:test:mem-1"),)
    assert UUID(receipt.target_ids[0])


async def test_writing_twice_stores_once(app, make_record):
    records = [make_record(n) for n in range(20)]
    first = await app.write(*records)
    second = await app.write(*records)

    assert {receipt.outcome for receipt in first} == {Outcome.CREATED}
    assert {receipt.outcome for receipt in second} == {Outcome.PRESENT}
    assert [receipt.target_ids for receipt in first] == [receipt.target_ids for receipt in second]
    assert len(await app.read()) == 20


async def test_a_changed_record_replaces_what_was_written_under_its_key(app, make_record):
    old, _ = await app.write(make_record(metadata={"a": 1, "b": [1]}), make_record(2))
    (new,) = await app.write(make_record(content="changed", metadata={"c": {"d": 2}}))

    assert new.outcome is Outcome.UPDATED
    assert new.target_ids == old.target_ids
    records = await app.read(with_vectors=True)
    assert len(records) == 2
    assert records[new.target_ids[0]].content == "changed"
    assert records[new.target_ids[0]].metadata == {"c": {"d": 2}}
    assert records[new.target_ids[0]].embedding.vector == pytest.approx(
        LocalEmbedder(16).vectors(["changed"])[0], abs=1e-6
    )


async def test_a_replaced_row_leaves_no_stray_vector_in_faiss(new_app, make_record):
    app = new_app("faiss", "app")
    await app.write(make_record(1), make_record(2))
    await app.write(make_record(1, content="changed"))

    with app.library() as library:
        assert library.memory.vector_store.index.ntotal == 2
        found = library.memory.search("changed", filters={"user_id": "alice"}, threshold=0.0)["results"]
    assert found[0]["memory"] == "changed"
    docs = json.loads((app.folder / "faiss/memories.json").read_text())
    assert sorted(docs["index_to_id"].values()) == sorted(docs["docstore"])


async def test_a_memory_of_the_app_under_the_same_id_is_never_overwritten(app, make_record):
    with app.library() as library:
        row_id = library.add("the app's own")
    refused, fine = await app.write(make_record(id=row_id), make_record(2))

    assert (refused.outcome, refused.error.code) == (Outcome.REJECTED, "conflict")
    assert fine.outcome is Outcome.CREATED
    records = await app.read()
    assert records[row_id].content == "the app's own"
    assert records[row_id].versions == ()


async def test_writing_a_store_back_into_itself_changes_nothing(app):
    with app.library() as library:
        row_id = library.add("text", metadata={"topic": "x"})
        library.memory.update(row_id, text="newer")
    before = await app.read()
    rows = app.query("SELECT * FROM history")

    receipts = await app.write(*before.values())

    assert [receipt.outcome for receipt in receipts] == [Outcome.PRESENT]
    assert await app.read() == before
    assert app.query("SELECT * FROM history")[: len(rows)] == rows


async def test_two_records_with_one_id_in_one_batch_do_not_overwrite_each_other(app, make_record):
    provider = await app.connected(Role.TARGET)
    first = provider.prepare(make_record(id=UUID_ID, content="one"), "mx:a", {})
    second = provider.prepare(make_record(id=UUID_ID, content="two"), "mx:b", {})
    receipts = await provider.write([first, second])
    await provider.aclose()

    assert [receipt.outcome for receipt in receipts] == [Outcome.CREATED, Outcome.REJECTED]
    assert (await app.read())[UUID_ID].content == "one"


async def test_lookup_finds_what_was_written_by_key(app, make_record):
    receipts = await app.write(make_record(1), make_record(id=UUID_ID))
    provider = await app.connected(Role.TARGET)
    found = await provider.lookup(["mx:test:mem-1", f"mx:test:{UUID_ID}", "mx:test:other"])
    nothing = await provider.lookup([])
    supported = isinstance(provider, SupportsLookup) and isinstance(provider, SupportsDelete)
    await provider.aclose()

    assert found == {"mx:test:mem-1": receipts[0].target_ids, f"mx:test:{UUID_ID}": (UUID_ID,)}
    assert nothing == {}
    assert supported
    assert provider.lookup_visibility == "immediate"


async def test_deleting_takes_back_what_was_written(app, make_record):
    with app.library() as library:
        own = library.add("the app's own")
    receipts = await app.write(*(make_record(n) for n in range(5)))
    ids = [target_id for receipt in receipts for target_id in receipt.target_ids]
    provider = await app.connected(Role.TARGET)
    removed = await provider.delete([*ids, "not there"])
    await provider.finish()
    await provider.aclose()

    assert removed == 5
    assert (await app.read()).keys() == {own}
    assert app.query("SELECT count(*) FROM history") == [(1,)]


async def test_a_batch_as_large_as_declared_is_taken(app, make_record):
    provider = await app.connected(Role.TARGET)
    size = provider.capabilities().writing.max_batch
    documents = [provider.prepare(make_record(n), f"mx:{n}", {}) for n in range(size)]
    receipts = await provider.write(documents)
    await provider.aclose()

    assert size >= 256
    assert {receipt.outcome for receipt in receipts} == {Outcome.CREATED}
    assert len(await app.read()) == size


async def test_what_mem0_has_no_field_for_comes_back_as_it_was(app, make_record):
    record = make_record(
        kind="preference",
        metadata={
            "user_id": "not the scope",
            "data": "not the text",
            "memxfer_key": "not the key",
            "nested": {"a": [1, {"b": None}]},
            "nothing": None,
            "empty": [],
            "mixed": [1, "a"],
            "big": 2**62,
            "chroma:x": "reserved",
        },
        provenance={"role": "assistant", "index": 4, "url": "https://example.org"},
        expires_at=datetime(2031, 1, 1, tzinfo=UTC),
    )

    (receipt,) = await app.write(record, envelope={"v": 1, "tags": ["a"]})
    read = (await app.read())[receipt.target_ids[0]]

    assert read.metadata == record.metadata
    assert read.provenance == record.provenance
    assert read.kind == "preference"
    assert read.expires_at == record.expires_at
    assert read.scope == record.scope
    assert (read.created_at, read.updated_at, read.versions) == (record.created_at, record.updated_at, ())
    assert read.extensions == {
        "memxfer": {"key": "mx:test:mem-1", "envelope": {"v": 1, "tags": ["a"]}},
    }


async def test_turns_survive_in_every_store_as_rows_of_a_run_or_beside_the_text(app, make_record):
    at = datetime(2025, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
    said = make_record(
        1,
        content="Tea?",
        kind="message",
        scope=Scope(user="ann", session="r"),
        created_at=at,
        messages=(Message(role="user", content="Tea?", name="Ann", at=at),),
        provenance={"role": "user", "actor_id": "Ann"},
    )
    talk = make_record(
        2,
        content="A talk",
        messages=(
            Message(role="user", content="Tea?", at=at),
            Message(role="tool", content="none", metadata={"n": [1, None]}),
        ),
    )

    receipts = await app.write(said, talk)
    read = await app.read()

    found = [read[receipt.target_ids[0]] for receipt in receipts]
    assert [record.messages for record in found] == [said.messages, talk.messages]
    assert [record.metadata for record in found] == [said.metadata, talk.metadata]
    assert found[0].provenance == said.provenance


@pytest.mark.parametrize("kind", ["fact", "message", "procedure", "episode", "summary", "my own kind"])
async def test_every_kind_survives(qdrant_app, make_record, kind):
    plain, spoken = make_record(1, kind=kind), make_record(2, kind=kind, provenance={"role": "user"})

    await qdrant_app.write(plain, spoken)

    assert {record.kind for record in (await qdrant_app.read()).values()} == {kind}


@pytest.mark.parametrize(
    ("expires_at", "day"),
    [
        (datetime(2030, 3, 2, tzinfo=UTC), "2030-03-01"),
        (datetime(2030, 3, 2, 0, 0, 1, tzinfo=UTC), "2030-03-02"),
        (datetime(2030, 3, 2, 23, 59, tzinfo=UTC), "2030-03-02"),
    ],
)
async def test_an_expiry_becomes_the_last_day_on_which_it_holds(qdrant_app, make_record, expires_at, day):
    (receipt,) = await qdrant_app.write(make_record(expires_at=expires_at))

    with qdrant_app.library() as library:
        assert library.memory.get(receipt.target_ids[0])["expiration_date"] == day


async def test_a_record_without_dates_gets_none(qdrant_app, make_record):
    (receipt,) = await qdrant_app.write(make_record(created_at=None, updated_at=None))

    record = (await qdrant_app.read())[receipt.target_ids[0]]
    assert (record.created_at, record.updated_at) == (None, None)
    assert record.extensions.keys() == {"memxfer"}


async def test_a_record_without_an_owner_waits_for_a_decision(qdrant_app, make_record):
    nobody = make_record(scope=Scope(app="shop"))
    for decision, expected in ((None, Refused), ("skip", Skipped), ("assign:team", Document)):
        provider = await qdrant_app.connected(Role.TARGET, unscoped=decision)
        prepared = provider.prepare(nobody, "mx:k", {})
        await provider.aclose()
        assert isinstance(prepared, expected)
        if decision is None:
            assert prepared.error.code == "unscoped"
            assert any("skip" in remedy for remedy in prepared.remedies)
        if decision == "assign:team":
            assert prepared.body.row.payload["user_id"] == "team"


@pytest.mark.parametrize("user", ["a b", "", " ", "tab\tbed"])
async def test_an_owner_that_mem0_would_not_take_is_refused(qdrant_app, make_record, user):
    provider = await qdrant_app.connected(Role.TARGET)
    prepared = provider.prepare(make_record(scope=Scope(user=user)), "mx:k", {})
    await provider.aclose()

    assert prepared.error.code == "scope_id"
    assert prepared.remedies == ()


async def test_a_nul_is_refused_where_postgres_would_fail_and_kept_elsewhere(app, make_record):
    provider = await app.connected(Role.TARGET)
    prepared = provider.prepare(make_record(content="a\x00b"), "mx:k", {})
    await provider.aclose()

    if app.kind == "pgvector":
        assert prepared.error.code == "nul"
    else:
        (receipt,) = await app.write(make_record(content="a\x00b"))
        assert (await app.read())[receipt.target_ids[0]].content == "a\x00b"


async def test_huge_and_empty_texts_are_stored_word_for_word(app, make_record):
    texts = {"", "x" * 300_000, "\n \t", "🙂" * 5000}
    await app.write(*(make_record(n, content=text) for n, text in enumerate(texts)))

    assert {record.content for record in (await app.read()).values()} == texts


async def test_vectors_of_the_same_model_are_kept_when_asked(app, make_record):
    vector = tuple(LocalEmbedder(16).vectors(["something else"])[0])
    kept = make_record(1, embedding=Embedding(vector=vector, model="memxfer/local", dims=16))
    other_model = make_record(2, embedding=Embedding(vector=vector, model="openai/x", dims=16))
    other_size = make_record(3, embedding=Embedding(vector=vector[:8], model="memxfer/local", dims=8))

    await app.write(kept, other_model, other_size, reuse_vectors=True)
    read = {
        record.content: record.embedding.vector for record in (await app.read(with_vectors=True)).values()
    }

    assert read[kept.content] == pytest.approx(vector, abs=1e-6)
    for again in (other_model, other_size):
        assert read[again.content] == pytest.approx(LocalEmbedder(16).vectors([again.content])[0], abs=1e-6)


async def test_vectors_are_made_again_by_default(qdrant_app, make_record):
    vector = tuple(LocalEmbedder(16).vectors(["something else"])[0])
    record = make_record(embedding=Embedding(vector=vector, model="memxfer/local", dims=16))

    await qdrant_app.write(record)
    (read,) = (await qdrant_app.read(with_vectors=True)).values()

    assert read.embedding.vector == pytest.approx(LocalEmbedder(16).vectors([record.content])[0], abs=1e-6)


async def test_a_target_of_mem0s_own_making_serves_the_app(app, make_record):
    await app.write(make_record())

    with app.library() as library:
        added = library.add("the app's own", user_id="alice")
        listed = library.memory.get_all(filters={"user_id": "alice"})["results"]
    assert {row["id"] for row in listed} == {added, stable_uuid("mx:test:mem-1")}
    assert len(await app.read()) == 2


async def test_a_store_moves_to_another_and_back_without_a_difference(app, new_app):
    there = new_app("qdrant" if app.kind != "qdrant" else "faiss", "there")
    back = new_app(app.kind, "back")
    with app.library() as library:
        row_id = library.add(
            "one", user_id="u", name="Ann", metadata={"created_at": "2024-05-01T17:00:00+00:00", "topic": "x"}
        )
        library.memory.update(row_id, text="two", metadata={"n": 1})
        library.add("old", agent_id="a", expiration_date="2025-02-01")
        library.put(
            {"data": "by hand", "user_id": 7, "hash": "odd", "text_lemmatized": "hand", "memory_type": "core",
             "created_at": "2023-04-01 10:00:00", "role": "user", "attributed_to": "user"},
            row_id=UUID_ID,
        )  # fmt: skip
    first = await app.read()

    await there.write(*first.values())
    second = await there.read()
    await back.write(*second.values())
    third = await back.read()

    assert len(first) == 3
    assert without_books(second) == without_books(third) == first
    columns = "memory_id, old_memory, new_memory, event, updated_at, actor_id, role"
    told = [one.query(f"SELECT {columns} FROM history ORDER BY memory_id, rowid") for one in (app, back)]
    assert told[0] == told[1]
    with back.library() as library:
        payload = library.memory.vector_store.get(UUID_ID).payload
    assert {name: value for name, value in payload.items() if not name.startswith("memxfer")} == {
        "data": "by hand", "user_id": 7, "hash": "odd", "text_lemmatized": "hand", "memory_type": "core",
        "created_at": "2023-04-01 10:00:00", "role": "user", "attributed_to": "user",
    }  # fmt: skip
    assert first[row_id].versions[0].content == "one"
    assert [record.state for record in first.values()].count(RecordState.EXPIRED) == 1


def without_books(records):
    import msgspec

    return {
        record_id: msgspec.structs.replace(
            record, extensions={name: own for name, own in record.extensions.items() if name != "memxfer"}
        )
        for record_id, record in records.items()
    }


def test_chroma_gets_flat_values_and_gives_back_nested_ones():
    payload = {
        "data": "x", "n": None, "l": ["a"], "d": {"a": [1]}, "f": float("inf"), "i": 2**70, "b": True,
        "chroma:document": "q",
    }  # fmt: skip

    flat = flatten(payload)

    assert unflatten(flat) == payload
    assert all(isinstance(value, str | int | float | bool) for value in flat.values())
    assert flatten({"data": "x", "n": 1}) == {"data": "x", "n": 1}
    assert unflatten({"data": "x", "memxfer_json": "not ours"}) == {"data": "x", "memxfer_json": "not ours"}
