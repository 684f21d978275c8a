"""Rows that a reader trips over: markers, numbers as ids, values that are no JSON, old files."""

import json
import pathlib
import pickle
from datetime import UTC, date, datetime, timedelta

import numpy
import pytest

from memxfer.spi import (
    ConfigError,
    Partition,
    RecordState,
    Role,
)

pytestmark = pytest.mark.anyio
ALL = Partition(name="all")
MISSING = "00000000-0000-4000-8000-000000000000"


async def test_rows_that_are_no_memories_are_ignored_and_counted(app, pages):
    with app.library() as library:
        row_id = library.add("text")
        library.put({"user_id": "x", "type": "user_identity"}, row_id=MISSING)
    provider = await app.connected()

    records, ignored = await pages(provider)

    assert [record.id for record in records] == [row_id]
    assert ignored == 1
    assert await provider.get(MISSING) is None
    await provider.aclose()


async def test_integer_ids_of_hand_made_points_become_text(qdrant_app, pages):
    with qdrant_app.library() as library:
        for number in (12, 3, 200):
            library.put({"data": f"point {number}", "user_id": 5}, row_id=number)
        library.add("text")
    provider = await qdrant_app.connected()

    for limit in (1, 2, 10):
        records, _ = await pages(provider, limit)
        assert [record.id for record in records][:3] == ["3", "12", "200"]
        assert len(records) == 4
    record = await provider.get("12")
    assert (record.content, record.scope.user) == ("point 12", "5")
    await provider.aclose()


async def test_values_that_json_cannot_carry_are_tagged_and_cost_nothing(qdrant_app):
    with qdrant_app.library() as library:
        library.put(
            {
                "data": "a\ud800b\x00",
                "user_id": "u",
                "n": float("nan"),
                "big": 2**70,
                "deep": {"s": "\udfff"},
            },
            row_id=MISSING,
        )

    record = (await qdrant_app.read())[MISSING]

    assert record.content == "a\\ud800b\x00"
    assert record.metadata["n"] == {"$memxfer": "number", "raw": "nan"}
    assert record.metadata["deep"] == {"s": "\\udfff"}
    assert set(record.sanitised) >= {"metadata.n", "metadata.big", "metadata.deep.s"}


async def test_a_row_that_cannot_be_read_never_costs_its_page(qdrant_app):
    with qdrant_app.library() as library:
        row_id = library.add("fine")
        library.put({"data": {"not": "text"}, "user_id": "u"}, row_id=MISSING)
    provider = await qdrant_app.connected()

    page = await provider.read_page(ALL, None, 10)
    await provider.aclose()

    assert [record.id for record in page.records] == [row_id]
    assert [defect.id for defect in page.defects] == [MISSING]
    assert "not" not in str(page.defects[0].error).split()[-1]


async def test_expired_rows_are_read_as_expired(app):
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    with app.library() as library:
        old = library.add("old", expiration_date=yesterday.isoformat())
        ahead = library.add("ahead", expiration_date="2999-12-31")

    records = await app.read()

    assert records[old].state is RecordState.EXPIRED
    assert records[old].expires_at == datetime(*yesterday.timetuple()[:3], tzinfo=UTC) + timedelta(days=1)
    assert records[ahead].state is RecordState.ACTIVE
    assert records[ahead].expires_at == datetime(3000, 1, 1, tzinfo=UTC)


async def test_what_mem0_derives_is_not_exported(qdrant_app):
    with qdrant_app.library() as library:
        row_id = library.add("text")
        library.memory.entity_store.insert(
            vectors=[[0.1] * 16], payloads=[{"data": "Ann", "entity_type": "PERSON"}], ids=[MISSING]
        )

    assert (await qdrant_app.read()).keys() == {row_id}


async def test_an_old_pickled_docstore_of_faiss_is_read_as_plain_data(new_app):
    app = new_app("faiss", "app")
    with app.library() as library:
        row_id = library.add("text")
    docs = app.folder / "faiss/memories.json"
    content = json.loads(docs.read_text())
    positions = {int(place): one for place, one in content["index_to_id"].items()}
    docs.with_suffix(".pkl").write_bytes(pickle.dumps((content["docstore"], positions)))
    docs.unlink()

    assert (await app.read()).keys() == {row_id}
    assert not docs.exists()


async def test_a_pickle_that_would_run_code_is_refused(new_app):
    app = new_app("faiss", "app")
    with app.library() as library:
        library.add("text")
    docs = app.folder / "faiss/memories.json"
    docs.unlink()
    docs.with_suffix(".pkl").write_bytes(pickle.dumps((pathlib.PurePosixPath("x"), {})))

    with pytest.raises(ConfigError, match=r"holds a pathlib\S*PurePosixPath, which is no plain data"):
        await app.info()


async def test_dates_and_numbers_of_numpy_in_a_pickle_are_read_as_json_would_hold_them(new_app):
    app = new_app("faiss", "app")
    with app.library() as library:
        row_id = library.add("text")
    docs = app.folder / "faiss/memories.json"
    content = json.loads(docs.read_text())
    content["docstore"][row_id] |= {
        "seen": datetime(2025, 3, 1, 12, tzinfo=UTC),
        "day": date(2025, 3, 1),
        "after": timedelta(minutes=2),
        "weight": numpy.float32(0.5),
        "visits": [numpy.int64(7)],
        "numpy": {"flag": numpy.bool_(True)},
    }
    pickled = pickle.dumps((content["docstore"], {0: row_id}), protocol=3)
    old = pickled.replace(b"numpy._core.", b"numpy.core.")  # as numpy 1 wrote it
    assert old != pickled
    for data in (pickled, old):
        docs.unlink(missing_ok=True)
        docs.with_suffix(".pkl").write_bytes(data)
        metadata = (await app.read())[row_id].metadata
        assert metadata == {
            "seen": "2025-03-01T12:00:00+00:00",
            "day": "2025-03-01",
            "after": 120.0,
            "weight": 0.5,
            "visits": [7],
            "numpy": {"flag": True},
        }


@pytest.mark.parametrize("role", Role)
async def test_an_index_without_its_docstore_is_named(new_app, role):
    app = new_app("faiss", "app")
    with app.library() as library:
        library.add("text")
    (app.folder / "faiss/memories.json").unlink()

    with pytest.raises(ConfigError, match=r"memories\.faiss has no docstore beside it \(memories\.json or"):
        await app.info(role)


async def test_a_docstore_that_is_cut_short_is_named(new_app):
    app = new_app("faiss", "app")
    with app.library() as library:
        library.add("text")
    docs = app.folder / "faiss/memories.json"
    docs.write_text(docs.read_text()[:100])

    with pytest.raises(ConfigError, match="damaged or cut short"):
        await app.info()


async def test_rows_of_two_dialects_and_of_another_tool_are_each_told(qdrant_app, pages):
    typescript, foreign = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2))
    with qdrant_app.library() as library:
        python = library.add("python")
        library.put(
            {"data": "typescript", "userId": "bob", "createdAt": "2025-04-01T00:00:00Z"}, row_id=typescript
        )
        library.put({"page_content": "another tool's", "metadata": {}}, row_id=foreign)
    provider = await qdrant_app.connected()

    records, ignored = await pages(provider)
    await provider.aclose()

    owners = {record.id: record.scope.user for record in records}
    assert owners.keys() == {python, typescript}
    assert owners[typescript] == "bob"
    assert ignored == 1


async def test_a_row_of_the_typescript_sdk_keeps_its_owner_when_the_python_library_updates_it(qdrant_app):
    """The library leaves `userId` and `createdAt` as they are, and adds `created_at` as null."""
    row_id = "00000000-0000-4000-8000-000000000001"
    with qdrant_app.library() as library:
        library.put({"data": "old", "userId": "bob", "createdAt": "2025-04-01T00:00:00Z"}, row_id=row_id)
        library.memory.update(row_id, "new")

    record = (await qdrant_app.read())[row_id]

    assert (record.content, record.scope.user, record.metadata) == ("new", "bob", {})
    assert record.created_at == datetime(2025, 4, 1, tzinfo=UTC)
    assert record.updated_at is not None
