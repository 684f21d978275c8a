"""Commands that write nothing: no file of a store changes, comes or goes, whatever it is opened for."""

import gc
import json
import pickle
import shutil
import sqlite3
import warnings
from pathlib import Path

import pytest

from memxfer import migration
from memxfer.errors import DecisionRequiredError
from memxfer.migration import Options
from memxfer.spi import ConfigError, FatalError, Outcome, Role, UnavailableError
from memxfer_mem0.history import HistoryReader, HistoryWriter
from memxfer_mem0.stores import folders

pytestmark = pytest.mark.anyio

EMBEDDED = ("qdrant", "chroma", "faiss")
_OLD_TABLE = (
    "CREATE TABLE history (id TEXT PRIMARY KEY, memory_id TEXT, old_memory TEXT, new_memory TEXT, "
    "new_value TEXT, event TEXT, created_at DATETIME, updated_at DATETIME, is_deleted INTEGER)"
)


async def check_source(source, target, state):
    await migration.check(source, role=Role.SOURCE, state_dir=state)


async def check_target(source, target, state):
    await migration.check(target, role=Role.TARGET, state_dir=state)


async def diff(source, target, state):
    assert (await migration.diff(source, target, state_dir=state)).scanned == 2


async def plan(source, target, state):
    assert (await migration.plan(source, target, state_dir=state)).report.scanned == 2


async def dry_run(source, target, state):
    await migration.migrate(
        source, target, state_dir=state, options=Options(dry_run=True, accept_loss=("all",))
    )


COMMANDS = (check_source, check_target, diff, plan, dry_run)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
@pytest.mark.parametrize("exists", [True, False], ids=["there", "missing"])
@pytest.mark.parametrize("kind", EMBEDDED)
async def test_what_writes_nothing_changes_no_file(
    new_app, make_record, tmp_path, kind, exists, command, tree
):
    source, target = new_app(kind, "source"), new_app(kind, "target")
    await source.write(make_record(1), make_record(2))
    if exists:
        await target.write(make_record(3))
    before = tree(source.folder), tree(target.folder)

    await command(source.provider(), target.provider(embedder="local"), tmp_path / "state")

    assert (tree(source.folder), tree(target.folder)) == before


async def test_a_missing_table_is_not_made_by_looking(new_app, make_record):
    target = new_app("pgvector", "target")
    provider = await target.connected(Role.TARGET)

    assert (await provider.count(), await provider.lookup(["k"])) == (0, {})
    assert await provider.delete(["x"]) == 0
    await provider.aclose()
    with pytest.raises(ConfigError, match="no table"):
        await target.info()


async def test_a_missing_target_is_told_and_made_by_its_first_write(app, make_record):
    provider = app.provider(embedder="local")
    info = await provider.connect(Role.TARGET)
    assert any("the first write makes it" in warning for warning in info.warnings)
    assert info.details["rows"] == "0"
    assert not app.history.exists()

    (receipt,) = await provider.write([provider.prepare(make_record(1), "mx:1", {})])
    found = await provider.lookup(["mx:1"]), await provider.count(), len(await provider.history("mem-1"))
    await provider.aclose()

    assert receipt.outcome is Outcome.CREATED
    assert found == ({"mx:1": receipt.target_ids}, 1, 0)
    assert app.history.exists()
    assert len(await app.read()) == 1


async def test_a_target_that_an_app_has_open_is_refused_before_anything_is_read(qdrant_app, make_record):
    await qdrant_app.write(make_record(1))
    for collection in ("memories", "others"):
        with qdrant_app.library():
            qdrant_app.fields["collection_name"] = collection
            with pytest.raises(ConfigError, match="open in an app"):
                await qdrant_app.info(Role.TARGET, embedder="local")
            qdrant_app.fields["collection_name"] = "memories"


async def test_a_target_that_an_app_opens_after_it_was_looked_at_is_not_written(qdrant_app, make_record):
    await qdrant_app.write(make_record(1))
    provider = await qdrant_app.connected(Role.TARGET)
    document = provider.prepare(make_record(2), "mx:2", {})
    with qdrant_app.library(), pytest.raises(ConfigError, match="open in an app"):
        await provider.write([document])
    (receipt,) = await provider.write([document])
    await provider.aclose()

    assert receipt.outcome is Outcome.CREATED


async def test_an_app_may_start_while_its_store_is_read(qdrant_app, make_record, pages):
    await qdrant_app.write(make_record(1))
    provider = await qdrant_app.connected()
    with qdrant_app.library() as library:
        library.add("text")
    records, _ = await pages(provider)
    await provider.aclose()

    assert len(records) == 1
    assert len(await qdrant_app.read()) == 2


@pytest.mark.parametrize("kind", ["qdrant", "chroma"])
async def test_what_is_read_is_a_copy_and_it_goes(new_app, make_record, kind):
    app = new_app(kind, "app")
    await app.write(make_record(1))
    provider = app.provider()
    info = await provider.connect(Role.SOURCE)
    copy = provider._client.vectors._copy.path
    assert "private copy" in info.details["read_from"]
    assert copy.is_dir()
    assert str(app.folder) in provider.store().place

    await provider.aclose()

    assert not copy.exists()


async def test_only_the_collection_that_is_read_is_copied(new_app, make_record):
    app, other = new_app("qdrant", "app"), new_app("qdrant", "app", collection="other")
    await app.write(make_record(1))
    await other.write(make_record(2))
    provider = await app.connected()
    copy = provider._client.vectors._copy.path

    assert [path.name for path in (copy / "collection").iterdir()] == ["memories"]
    await provider.aclose()


async def test_an_alias_of_a_collection_is_read(qdrant_app, make_record):
    await qdrant_app.write(make_record(1))
    meta = qdrant_app.folder / "qdrant" / "meta.json"
    content = json.loads(meta.read_text())
    content["aliases"] = {"current": "memories"}
    meta.write_text(json.dumps(content))
    qdrant_app.fields["collection_name"] = "current"

    assert len(await qdrant_app.read()) == 1


# -- the history database ------------------------------------------------------------------------


def killed_app(file, mode):
    """Leave a history as an app does that is killed: its last rows are in the file beside it."""
    running = file.with_name("running.db")
    shutil.copy(file, running)
    db = sqlite3.connect(running)
    db.execute(f"PRAGMA journal_mode = {mode}")
    db.execute("PRAGMA cache_spill = ON")
    db.execute("PRAGMA cache_size = 1")
    db.execute("BEGIN")
    db.executemany(
        "INSERT INTO history (id, memory_id, new_memory, event) VALUES (?, 'm', ?, 'ADD')",
        [(f"killed-{n}", "x" * 3000) for n in range(50)],
    )
    if mode == "WAL":
        db.commit()
    for name in ("running.db", "running.db-wal", "running.db-journal"):
        if (file.parent / name).exists():
            shutil.copy(file.parent / name, file.parent / name.replace("running", file.stem))
    db.rollback()
    db.close()
    running.unlink()


@pytest.mark.parametrize(("mode", "rows"), [("WAL", 51), ("DELETE", 1)])
async def test_what_a_killed_app_left_is_read_and_left_as_it_is(qdrant_app, make_record, mode, rows, tree):
    await qdrant_app.write(make_record(1))
    killed_app(qdrant_app.history, mode)
    beside = qdrant_app.history.with_name(f"history.db-{'wal' if mode == 'WAL' else 'journal'}")
    assert beside.exists()
    before = tree(qdrant_app.folder)

    info = await qdrant_app.info()

    assert info.details["history_rows"] == str(rows)
    assert tree(qdrant_app.folder) == before


async def test_a_history_that_is_not_damaged_is_read_where_it_is(qdrant_app, make_record):
    await qdrant_app.write(make_record(1))
    reader = HistoryReader(qdrant_app.history)

    assert (reader.copied, reader.count()) == (None, 1)
    reader.close()


async def test_a_history_table_of_an_older_mem0_gets_the_columns_that_it_has(qdrant_app, make_record):
    db = sqlite3.connect(qdrant_app.history)
    db.execute(_OLD_TABLE)
    db.close()
    info = await qdrant_app.info(Role.TARGET, embedder="local")
    (receipt,) = await qdrant_app.write(make_record(1))

    assert any("without actor_id, role" in warning for warning in info.warnings)
    assert receipt.outcome is Outcome.CREATED
    assert qdrant_app.query("SELECT memory_id, new_memory, event FROM history") == [
        (receipt.target_ids[0], "likes tea number 1", "ADD")
    ]


async def test_a_history_table_of_somebody_else_is_named_before_anything_is_written(qdrant_app):
    db = sqlite3.connect(qdrant_app.history)
    db.execute("CREATE TABLE history (url TEXT, visits INTEGER)")
    db.close()

    with pytest.raises(ConfigError, match=r"history\.db has no column id"):
        await qdrant_app.info(Role.TARGET, embedder="local")
    with pytest.raises(ConfigError, match="has no column id"):
        HistoryWriter(qdrant_app.history)


# -- what lasts, and what passes -----------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
async def test_a_damaged_history_is_no_passing_trouble(qdrant_app, make_record, role):
    await qdrant_app.write(*(make_record(n) for n in range(200)))
    content = bytearray(qdrant_app.history.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    qdrant_app.history.write_bytes(content)

    with pytest.raises(ConfigError, match=r"history_db_path: .*history\.db .*malformed"):
        await qdrant_app.info(role, embedder="local")


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("qdrant", "collection/memories/storage.sqlite"),
        ("qdrant", "meta.json"),
        ("chroma", "chroma.sqlite3"),
        ("faiss", "memories.json"),
    ],
)
@pytest.mark.parametrize("role", [Role.SOURCE, Role.TARGET])
@pytest.mark.parametrize("damage", [b"\x00" * 5000, b"no such thing"], ids=["zeros", "text"])
async def test_a_damaged_store_is_named_at_once_and_left_alone(
    new_app, make_record, kind, file, role, damage, tree
):
    app = new_app(kind, "app")
    await app.write(make_record(1))
    (app.folder / kind / file).write_bytes(damage)
    before = tree(app.folder)

    with pytest.raises(ConfigError, match=str(app.folder)):
        await app.info(role, **({"embedder": "local"} if role is Role.TARGET else {}))

    assert tree(app.folder) == before
    with (
        warnings.catch_warnings()
    ):  # qdrant-client leaves a damaged file open (1.20); Python 3.13 warns of it
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def test_a_damaged_index_of_faiss_is_named(new_app, make_record):
    app = new_app("faiss", "app")
    await app.write(make_record(1))
    (app.folder / "faiss" / "memories.faiss").write_bytes(b"nothing")

    with pytest.raises(ConfigError, match=r"memories\.faiss cannot be read"):
        await app.info(Role.TARGET, embedder="local")
    assert len(await app.read()) == 1


async def test_a_locked_storage_may_pass_and_a_missing_table_lasts(qdrant_app, make_record, tmp_path):
    await qdrant_app.write(make_record(1))
    provider = await qdrant_app.connected()
    one, other = sqlite3.connect(tmp_path / "db"), sqlite3.connect(tmp_path / "db", timeout=0)
    with pytest.raises(sqlite3.Error) as missing:
        other.execute("SELECT text FROM nowhere")
    one.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.Error) as locked:
        other.execute("BEGIN EXCLUSIVE")
    one.close()
    other.close()
    classify = provider._client.vectors.classify
    found = [type(classify(caught.value, "read")) for caught in (missing, locked)]
    await provider.aclose()

    assert found == [FatalError, UnavailableError]


# -- the shape of a target -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qdrant", "faiss", "pgvector"])
@pytest.mark.parametrize("exists", [True, False], ids=["there", "missing"])
async def test_entities_of_another_length_refuse_a_target(new_app, kind, exists):
    app = new_app(kind, "app")
    app.make(collection_name="memories_entities", embedding_model_dims=8)
    if exists:
        app.make()

    with pytest.raises(ConfigError, match=r"memories_entities.* 8 numbers.* 16"):
        await app.info(Role.TARGET, embedder="local")


async def test_a_table_without_its_payload_is_refused(new_app):
    import psycopg

    app = new_app("pgvector", "app")
    with psycopg.connect(app.fields["connection_string"]) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("CREATE TABLE memories (id uuid PRIMARY KEY, vector vector(16))")

    with pytest.raises(ConfigError, match="no column payload"):
        await app.info(Role.TARGET, embedder="local")


# -- stores of older packages --------------------------------------------------------------------


def age(folder):
    """Make a Qdrant folder's list of collections one of an older client."""
    meta = folder / "meta.json"
    content = json.loads(meta.read_text())
    for config in content["collections"].values():
        del config["metadata"]
        config["init_from"] = None
    meta.write_text(json.dumps(content))
    return meta.read_bytes()


async def test_memories_added_to_an_older_qdrant_folder_leave_its_list_as_it_is(qdrant_app, make_record):
    await qdrant_app.write(make_record(1))
    old = age(qdrant_app.folder / "qdrant")
    (receipt,) = await qdrant_app.write(make_record(2))

    assert receipt.outcome is Outcome.CREATED
    assert (qdrant_app.folder / "qdrant" / "meta.json").read_bytes() == old


async def test_a_new_collection_in_an_older_qdrant_folder_needs_a_decision(
    new_app, make_record, tmp_path, tree
):
    source, app = new_app("faiss", "source"), new_app("qdrant", "app")
    await source.write(make_record(1))
    await app.write(make_record(1))
    age(app.folder / "qdrant")
    app.fields["collection_name"] = "new"
    before = tree(app.folder)
    info = await app.info(Role.TARGET, embedder="local")
    report = await migration.diff(source.provider(), app.provider(embedder="local"), state_dir=tmp_path / "s")
    with pytest.raises(DecisionRequiredError) as caught:
        await migration.migrate(source.provider(), app.provider(embedder="local"), state_dir=tmp_path / "s")
    assert tree(app.folder) == before

    assert any("upgrade = true" in warning for warning in info.warnings)
    assert report.blocking
    assert any("upgrade = true" in remedy for remedy in caught.value.remedies)
    provider = app.provider(embedder="local", upgrade=True)
    result = await migration.migrate(
        source.provider(), provider, state_dir=tmp_path / "s", options=Options(accept_loss=("all",))
    )
    assert result.status == "completed"
    assert folders.read_folder(app.folder / "qdrant").names == ["memories", "new"]


async def test_a_write_past_the_decision_is_refused(qdrant_app, make_record):
    await qdrant_app.write(make_record(1))
    provider = await qdrant_app.connected(Role.TARGET)
    document = provider.prepare(make_record(2), "mx:2", {})
    provider._client.vectors.upgrade = "the form changes"

    with pytest.raises(ConfigError, match="upgrade = true"):
        await provider.write([document])
    assert provider.prepare(make_record(2), "mx:2", {}).remedies == ("upgrade = true",)
    await provider.aclose()


def to_pickle(app, *, gap=False):
    """Make a FAISS store one of Mem0 before 2.0; with a gap, one that was updated."""
    file = app.folder / "faiss" / "memories.json"
    content = json.loads(file.read_text())
    positions = {int(at) + (1 if gap else 0): row_id for at, row_id in content["index_to_id"].items()}
    file.with_suffix(".pkl").write_bytes(pickle.dumps((content["docstore"], positions)))
    file.unlink()


async def test_a_pickled_docstore_becomes_json_only_when_that_is_agreed_to(new_app, make_record, tree):
    app = new_app("faiss", "app")
    await app.write(make_record(1))
    to_pickle(app)
    before = tree(app.folder)
    info = await app.info(Role.TARGET, embedder="local")
    with pytest.raises(ConfigError, match="pickle of an older Mem0"):
        await app.delete("x")
    assert tree(app.folder) == before

    (receipt,) = await app.write(make_record(2), upgrade=True)

    assert any("upgrade = true" in warning for warning in info.warnings)
    assert receipt.outcome is Outcome.CREATED
    assert len(await app.read()) == 2


async def test_vectors_that_nobody_knows_the_owner_of_are_not_read_as_anybodys(new_app, make_record):
    app = new_app("faiss", "app")
    await app.write(make_record(1), make_record(2))
    assert all(record.embedding for record in (await app.read(with_vectors=True)).values())
    to_pickle(app, gap=True)

    assert not any(record.embedding for record in (await app.read(with_vectors=True)).values())
    with pytest.raises(ConfigError, match="mixes them up"):
        await app.info(Role.TARGET, embedder="local")


async def test_a_table_that_is_dropped_meanwhile_is_no_passing_trouble(new_app, make_record):
    import psycopg

    app = new_app("pgvector", "app")
    await app.write(make_record(1))
    provider = await app.writing()
    document = provider.prepare(make_record(2), "mx:2", {})
    with psycopg.connect(app.fields["connection_string"], autocommit=True) as connection:
        connection.execute("DROP TABLE memories")

    for call in (provider.count(), provider.write([document])):
        with pytest.raises(FatalError, match="UndefinedTable"):
            await call
    await provider.aclose()


@pytest.mark.parametrize("kind", ["qdrant", "chroma"])
async def test_a_folder_that_cannot_be_read_is_named(new_app, make_record, monkeypatch, kind):
    app = new_app(kind, "app")
    await app.write(make_record(1))

    def forbidden(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", forbidden)

    with pytest.raises(ConfigError, match="read"):
        await app.info()


@pytest.mark.parametrize(
    ("aliases", "collections", "message"),
    [
        ({"current": "gone"}, {}, "there are: memories$"),
        ({"current": "../../other"}, {"../../other": {}}, "not the name of a folder"),
    ],
    ids=["dangling", "outside"],
)
async def test_an_alias_that_leads_nowhere_or_out_of_the_folder_is_refused(
    qdrant_app, make_record, tree, aliases, collections, message
):
    await qdrant_app.write(make_record(1))
    meta = qdrant_app.folder / "qdrant" / "meta.json"
    content = json.loads(meta.read_text())
    meta.write_text(
        json.dumps({"collections": {**content["collections"], **collections}, "aliases": aliases})
    )
    qdrant_app.fields["collection_name"] = "current"
    before = tree(qdrant_app.folder)

    with pytest.raises(ConfigError, match=message):
        await qdrant_app.info()
    assert tree(qdrant_app.folder) == before


async def test_a_folder_without_its_lock_is_read_and_gets_none(qdrant_app, make_record, tree):
    await qdrant_app.write(make_record(1))
    (qdrant_app.folder / "qdrant" / ".lock").unlink()
    before = tree(qdrant_app.folder)

    assert len(await qdrant_app.read()) == 1
    await qdrant_app.info(Role.TARGET, embedder="local")
    assert tree(qdrant_app.folder) == before


async def test_two_targets_that_nobody_made_yet_are_made_by_whoever_writes_first(new_app, make_record):
    one, other = new_app("qdrant", "app"), new_app("qdrant", "app", collection="other")
    first, second = await one.connected(Role.TARGET), await other.connected(Role.TARGET)
    third = await one.connected(Role.TARGET)
    for provider in (first, second, third):
        (receipt,) = await provider.write([provider.prepare(make_record(1), "mx:1", {})])
        expected = Outcome.PRESENT if provider is third else Outcome.CREATED
        assert receipt.outcome is expected
    for provider in (first, second, third):
        await provider.aclose()

    assert (len(await one.read()), len(await other.read())) == (1, 1)


async def test_a_disk_that_is_almost_full_is_told_before_a_write(qdrant_app, monkeypatch):
    real = shutil.disk_usage(qdrant_app.folder)
    monkeypatch.setattr("memxfer_mem0.client.shutil.disk_usage", lambda path: real._replace(free=5_000_000))

    info = await qdrant_app.info(Role.TARGET, embedder="local")

    assert any("has 5 MB free" in warning for warning in info.warnings)
