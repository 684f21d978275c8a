"""Earlier versions: read in bulk from the history database, written so that a replay adds nothing."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from memxfer.spi import Level, MemoryRecord, Role, Version
from memxfer_mem0.history import HistoryReader, HistoryWriter
from memxfer_mem0.mapping import history_rows

pytestmark = pytest.mark.anyio
AT = datetime(2025, 1, 1, tzinfo=UTC)


async def test_versions_are_the_earlier_states_oldest_first(app):
    with app.library() as library:
        row_id = library.add("one", name="Ann", metadata={"created_at": "2024-01-01T00:00:00+00:00"})
        library.memory.update(row_id, text="two")
        library.memory.update(row_id, text="two")
        library.memory.update(row_id, text="three")
        untouched = library.add("other")

    records = await app.read()

    versions = records[row_id].versions
    assert [(version.content, version.event) for version in versions] == [
        ("one", "ADD"),
        ("two", "UPDATE"),
        ("two", "UPDATE"),
    ]
    assert versions[0].at == datetime(2024, 1, 1, tzinfo=UTC)
    assert versions[0].at < versions[1].at < versions[2].at < records[row_id].updated_at
    assert records[row_id].content == "three"
    assert records[row_id].extensions == {}
    assert records[untouched].versions == ()


async def test_the_order_is_that_of_the_rows_not_of_their_dates(qdrant_app):
    with qdrant_app.library() as library:
        row_id = library.add("one")
        library.memory.update(row_id, text="two")
        library.memory.update(row_id, text="three")
    qdrant_app.query("UPDATE history SET updated_at = '2020-01-01T00:00:00-08:00' WHERE new_memory = 'two'")

    versions = (await qdrant_app.read())[row_id].versions

    assert [version.content for version in versions] == ["one", "two"]
    assert versions[1].at == datetime(2020, 1, 1, 8, tzinfo=UTC)


async def test_a_text_that_the_history_does_not_know_is_flagged_and_true(qdrant_app):
    with qdrant_app.library() as library:
        row_id = library.add("one")
    qdrant_app.query("UPDATE history SET new_memory = 'zero'")

    record = (await qdrant_app.read())[row_id]

    assert record.content == "one"
    assert record.extensions["mem0"]["history_mismatch"] is True
    assert [version.content for version in record.versions] == ["zero"]


async def test_without_a_history_the_versions_are_unknown_and_not_one(qdrant_app):
    with qdrant_app.library() as library:
        row_id = library.add("one")
    qdrant_app.history.unlink()

    provider = qdrant_app.provider()
    info = await provider.connect(Role.SOURCE)
    record = await provider.get(row_id)
    capabilities = provider.capabilities()
    await provider.aclose()

    assert info.details["versions"] == "unknown"
    assert any("unknown" in warning for warning in info.warnings)
    assert capabilities.channel("versions").read is Level.NONE
    assert record.versions == ()
    assert not qdrant_app.history.exists()


async def test_a_memory_of_which_a_shared_history_knows_nothing_is_marked(qdrant_app):
    with qdrant_app.library() as library:
        known, unknown = library.add("one"), library.add("two")
    qdrant_app.query("DELETE FROM history WHERE memory_id = ?", unknown)

    records = await qdrant_app.read()

    assert records[unknown].extensions["mem0"] == {"history_missing": True}
    assert records[known].extensions == {}


async def test_deleted_memories_are_counted_and_not_exported(qdrant_app):
    with qdrant_app.library() as library:
        kept, gone = library.add("kept"), library.add("gone")
        library.memory.delete(gone)

    info = await qdrant_app.info()
    provider = await qdrant_app.connected()
    told = await provider.history(gone)
    await provider.aclose()

    assert info.details["deleted_memories"] == "1"
    assert any(warning.startswith("1 deleted") for warning in info.warnings)
    assert (await qdrant_app.read()).keys() == {kept}
    assert [(version.event, version.content) for version in told] == [("ADD", "gone"), ("DELETE", None)]


def test_the_whole_history_is_grouped_without_an_index(tmp_path):
    path = tmp_path / "history.db"
    writer = HistoryWriter(path)
    rows = [
        (f"{v}-{m}", f"m{m}", None, f"{m}:{v}", "ADD", None, None, 0, None, None)
        for v in range(3)
        for m in range(2000)
    ]
    writer.add(rows)
    writer.close()
    reader = HistoryReader(path)
    statements = []
    reader._index.set_trace_callback(statements.append)

    for start in range(0, 2000, 500):
        events = reader.events([f"m{m}" for m in range(start, start + 500)])
        assert all(
            [event.new for event in events[f"m{m}"]] == [f"{m}:{v}" for v in range(3)]
            for m in range(start, start + 500)
        )
    reader.close()

    assert sum("INSERT" in statement for statement in statements) == 1


def test_rows_that_come_while_we_read_are_seen(tmp_path):
    path = tmp_path / "history.db"
    writer = HistoryWriter(path)
    writer.add([("1", "m", None, "one", "ADD", None, None, 0, None, None)])
    reader = HistoryReader(path)
    assert len(reader.events(["m"])["m"]) == 1

    writer.add([("2", "m", "one", "two", "UPDATE", None, None, 0, None, None)])

    assert [event.new for event in reader.events(["m"])["m"]] == ["one", "two"]
    reader.close()
    writer.close()


def test_an_old_table_without_speakers_is_read(tmp_path):
    path = tmp_path / "history.db"
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TABLE history "
        "(id TEXT, memory_id TEXT, old_memory TEXT, new_memory TEXT, event TEXT, created_at TEXT)"
    )
    db.execute("INSERT INTO history VALUES ('1', 'm', 'zero', 'one', 'UPDATE', '2023-01-01')")
    db.commit()
    db.close()
    reader = HistoryReader(path)

    event = reader.events(["m"])["m"][0]
    reader.close()

    assert (event.old, event.new, event.updated_at, event.role) == ("zero", "one", None, None)


def test_the_reader_cannot_write(tmp_path):
    HistoryWriter(tmp_path / "history.db").close()
    reader = HistoryReader(tmp_path / "history.db")

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._index.execute("DELETE FROM app.history")
    reader.close()


def test_rows_follow_from_the_record_alone():
    record = MemoryRecord(
        id="x",
        content="three",
        created_at=AT,
        updated_at=AT,
        versions=(Version(content="one", at=AT), Version(content="two", at=AT, event="EDIT")),
    )

    rows, again = history_rows(record, "t"), history_rows(record, "t")

    assert rows == again
    assert [(row[2], row[3], row[4]) for row in rows] == [
        (None, "one", "ADD"),
        ("one", "two", "EDIT"),
        ("two", "three", "UPDATE"),
    ]
    assert len({row[0] for row in rows}) == 3


async def test_versions_of_another_backend_are_told_by_mem0(app, make_record):
    record = make_record(versions=(Version(content="one", at=AT, event="ADD"), Version(content="two", at=AT)))

    (receipt,) = await app.write(record)

    with app.library() as library:
        told = library.memory.history(receipt.target_ids[0])
    assert [(row["event"], row["old_memory"], row["new_memory"]) for row in told] == [
        ("ADD", None, "one"),
        ("UPDATE", "one", "two"),
        ("UPDATE", "two", record.content),
    ]


async def test_a_replay_adds_no_history(app, make_record):
    records = [make_record(n, versions=(Version(content="before", at=AT, event="ADD"),)) for n in range(5)]
    await app.write(*records)
    first = app.query("SELECT * FROM history ORDER BY rowid")

    await app.write(*records)

    assert app.query("SELECT * FROM history ORDER BY rowid") == first
    assert len(first) == 10


async def test_deleting_removes_our_history_and_leaves_the_apps(app, make_record):
    (receipt,) = await app.write(make_record())
    with app.library() as library:
        library.memory.update(receipt.target_ids[0], text="changed by the app")
        library.add("the app's own")
    provider = await app.connected(Role.TARGET)

    assert await provider.delete(receipt.target_ids) == 1
    assert await provider.delete(receipt.target_ids) == 0
    await provider.aclose()

    assert sorted(row[0] for row in app.query("SELECT event FROM history")) == ["ADD", "UPDATE"]
    assert len(await app.read()) == 1


TYPESCRIPT_TABLE = (
    "CREATE TABLE memory_history (id INTEGER PRIMARY KEY AUTOINCREMENT, memory_id TEXT NOT NULL, "
    "previous_value TEXT, new_value TEXT, action TEXT NOT NULL, created_at TEXT, updated_at TEXT, "
    "is_deleted INTEGER DEFAULT 0)"
)
TYPESCRIPT_ROW = (
    "INSERT INTO memory_history (memory_id, previous_value, new_value, action, created_at, updated_at) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)


def typescript_history(path, *rows):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(TYPESCRIPT_TABLE)
        db.executemany(TYPESCRIPT_ROW, rows)


async def test_the_history_of_the_typescript_sdk_is_read_with_its_deletions(qdrant_app):
    with qdrant_app.library() as library:
        row_id = library.add("works remotely")
    qdrant_app.history.unlink()
    day = "2025-04-01T00:00:00.000Z"
    typescript_history(
        qdrant_app.history,
        (row_id, None, "works in an office", "ADD", day, None),
        (row_id, "works in an office", "works remotely", "UPDATE", day, "2025-05-02T10:00:00.000Z"),
        ("gone", None, "likes rain", "ADD", day, None),
        ("gone", "likes rain", None, "DELETE", day, day),
    )

    info = await qdrant_app.info()
    record = (await qdrant_app.read())[row_id]

    assert [version.content for version in record.versions] == ["works in an office"]
    assert record.versions[0].at == datetime(2025, 4, 1, tzinfo=UTC)
    assert (info.details["history_rows"], info.details["deleted_memories"]) == ("4", "1")


async def test_a_file_with_the_tables_of_both_sdks_gives_both_histories(qdrant_app):
    with qdrant_app.library() as library:
        python, typescript = library.add("one"), library.add("two")
        library.memory.update(python, "one and a half")
    qdrant_app.query("DELETE FROM history WHERE memory_id = ?", typescript)
    typescript_history(
        qdrant_app.history,
        (typescript, None, "zero", "ADD", None, None),
        (typescript, "zero", "two", "UPDATE", None, None),
    )

    records = await qdrant_app.read()

    assert [version.content for version in records[python].versions] == ["one"]
    assert [version.content for version in records[typescript].versions] == ["zero"]


async def test_tables_that_are_not_read_are_named(qdrant_app):
    with qdrant_app.library() as library:
        library.add("one")
    with closing(sqlite3.connect(qdrant_app.history)) as db, db:
        db.execute("CREATE TABLE audit (x)")
    assert any("audit" in warning for warning in (await qdrant_app.info()).warnings)

    with closing(sqlite3.connect(qdrant_app.history)) as db, db:
        db.execute("DROP TABLE history")
    info = await qdrant_app.info()
    assert info.details["versions"] == "unknown"
    assert any("none of Mem0's tables (it has: audit)" in warning for warning in info.warnings)


async def test_a_check_says_which_sdks_wrote_the_rows(qdrant_app):
    with qdrant_app.library() as library:
        library.add("one")
        library.put(
            {"data": "two", "userId": "bob", "createdAt": "2025-04-01T00:00:00.000Z"},
            row_id="6d0f1f1e-4d1e-4d0f-8f5e-0a1b2c3d4e5f",
        )
    info = await qdrant_app.info()
    assert info.details["dialect"] == "Mem0's Python SDK and Mem0's TypeScript SDK"


async def test_a_check_of_many_rows_says_that_it_looked_at_the_first(qdrant_app, monkeypatch):
    monkeypatch.setattr("memxfer_mem0.client._LOOKED_AT", 1)
    with qdrant_app.library() as library:
        library.add("one")
        library.add("two")
    assert (await qdrant_app.info()).details["dialect"] == "Mem0's Python SDK (first 1 rows)"
