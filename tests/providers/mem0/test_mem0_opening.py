"""Opening a store: what is missing, locked or wrong, and what memxfer leaves alone."""

import json
import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import portalocker
import pytest

from memxfer.spi import ConfigError, FatalError, ProviderError, ProviderNotInstalledError, Role
from memxfer_mem0 import Mem0OssConfig, Mem0OssProvider
from memxfer_mem0.sdk import import_mem0, import_sdk
from memxfer_mem0.stores.listed import _MOST

pytestmark = pytest.mark.anyio


def settings(**fields):
    return Mem0OssConfig.model_validate({"provider": "mem0-oss", **fields})


async def test_a_wrong_collection_is_an_error_and_creates_nothing(app):
    with app.library() as library:
        library.add("text")
    app.fields["collection_name"] = "memoires"

    with pytest.raises(ConfigError, match="memoires"):
        await app.info()

    app.fields["collection_name"] = "memories"
    assert len(await app.read()) == 1
    app.fields["collection_name"] = "memoires"
    with pytest.raises(ConfigError):
        await app.info()


async def test_the_error_for_a_wrong_collection_lists_the_right_ones(new_app):
    for kind in ("qdrant", "chroma", "faiss"):
        app = new_app(kind, kind)
        with app.library() as library:
            library.add("text")
        app.fields["collection_name"] = "memoires"
        with pytest.raises(ConfigError, match="there are: memories"):
            await app.info()


@pytest.mark.parametrize("kind", ["qdrant", "chroma", "faiss"])
async def test_a_missing_store_is_an_error_and_nothing_is_made(new_app, kind):
    app = new_app(kind, "app")

    with pytest.raises(
        ConfigError, match=rf"no (embedded Qdrant store|Chroma store|FAISS collection).* in {app.folder}"
    ):
        await app.info()

    assert not Path(app.fields["path"]).exists()


async def test_a_store_that_the_app_has_open_is_refused_with_the_way_out(qdrant_app):
    with qdrant_app.library() as library:
        library.add("text")
        with pytest.raises(ConfigError, match=r"stop the app, or copy the folder"):
            await qdrant_app.info()

    assert len(await qdrant_app.read()) == 1


async def test_a_store_that_another_process_has_open_is_refused(qdrant_app):
    with qdrant_app.library() as library:
        library.add("text")
    code = (
        "import sys; from qdrant_client import QdrantClient; client = QdrantClient(path=sys.argv[1]); "
        "print('open', flush=True); sys.stdin.read(); client.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, qdrant_app.fields["path"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(ConfigError, match="stop the app"):
            await qdrant_app.info()
        other.stdin.close()

    assert len(await qdrant_app.read()) == 1


async def test_a_config_without_on_disk_is_read_and_warned_about(qdrant_app):
    with qdrant_app.library() as library:
        library.add("text")
    del qdrant_app.fields["on_disk"]

    info = await qdrant_app.info()

    assert any("on_disk" in warning for warning in info.warnings)
    assert len(await qdrant_app.read()) == 1
    qdrant_app.fields["on_disk"] = True
    assert not any("on_disk" in warning for warning in (await qdrant_app.info()).warnings)


async def test_the_dims_in_the_config_do_not_matter_for_reading(qdrant_app):
    with qdrant_app.library() as library:
        library.add("text")
    qdrant_app.fields["embedding_model_dims"] = 1536

    assert len(await qdrant_app.read()) == 1


async def test_wrong_dims_refuse_a_target_before_anything_is_written(new_app):
    for kind in ("qdrant", "faiss", "pgvector"):
        app = new_app(kind, kind)
        with app.library() as library:
            library.add("text")
        app.fields["embedding_model_dims"] = 1536
        with pytest.raises(ConfigError, match=r"16 numbers.*1536"):
            await app.info(Role.TARGET, embedder="local")


async def test_two_connections_of_one_process_share_a_folder(new_app):
    source, target = new_app("qdrant", "app"), new_app("qdrant", "app", collection="copy")
    with source.library() as library:
        row_id = library.add("text")
    reading = await source.connected()
    writing = await target.connected(Role.TARGET)

    record = await reading.get(row_id)
    await writing.write([writing.prepare(record, "mx:k", {})])
    await reading.aclose()
    assert await writing.count() == 1
    await writing.aclose()

    assert (await target.read()).keys() == {row_id}


async def test_a_mem0_with_telemetry_in_this_process_does_not_lock_us_out(new_app, monkeypatch, tmp_path):
    main = import_mem0("mem0.memory.main")
    monkeypatch.setattr(main, "MEM0_TELEMETRY", True)
    monkeypatch.setattr(main, "mem0_dir", str(tmp_path / "mem0-home"))
    monkeypatch.setattr(main, "capture_event", lambda *args, **options: None)
    running, source, target = (new_app("qdrant", name) for name in ("running", "source", "target"))
    with source.library() as library:
        library.memory._telemetry_vector_store.client.close()
        row_id = library.add("text")

    with running.library() as library:
        lock = (tmp_path / "mem0-home" / "migrations_qdrant" / ".lock").open("r+")
        with lock, pytest.raises(portalocker.exceptions.LockException):
            portalocker.lock(lock, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        records = await source.read()
        receipts = await target.write(*records.values())
        library.memory._telemetry_vector_store.client.close()

    assert records.keys() == {row_id}
    assert receipts[0].outcome == "created"


def test_the_first_import_of_mem0_is_ours_and_quiet():
    code = (
        "import os\n"
        "from memxfer_mem0.sdk import import_mem0\n"
        "telemetry = import_mem0('mem0.memory.telemetry')\n"
        "print(telemetry.MEM0_TELEMETRY, os.path.isdir(os.path.expanduser('~/.mem0')))\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEM0")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "HOME": "/nonexistent", "MEM0_TELEMETRY": "True"},
    )

    assert done.stdout.split() == ["False", "False"]


def test_a_folder_that_the_user_chose_for_mem0_is_respected(tmp_path):
    code = "from memxfer_mem0.sdk import import_mem0\nprint(import_mem0('mem0.memory.setup').mem0_dir)\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MEM0_DIR": str(tmp_path)},
    )

    assert done.stdout.strip() == str(tmp_path)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "chromadb", None)

    with pytest.raises(ProviderNotInstalledError, match=r"memxfer\[mem0-chroma\]"):
        import_sdk("chromadb")


async def test_other_stores_are_read_through_mem0s_listing_and_marked(new_app, pages):
    from memxfer_mem0.application import OtherSettings
    from memxfer_mem0.stores.listed import ListedStore

    app = new_app("faiss", "app")
    with app.library() as library:
        ids = {library.add(f"text {n}") for n in range(30)}
    store = ListedStore(OtherSettings.model_validate({**app.fields, "provider": "faiss"}), trust_listing=True)

    rows, cursor = store.page(None, 20, with_vectors=False)
    more, end = store.page(cursor, 20, with_vectors=False)

    assert {row.id for row in (*rows, *more)} == ids
    assert (len(rows), end) == (20, None)
    assert store.count() == 30
    assert "experimental" in store.warnings[0]
    assert store.get([rows[0].id])[rows[0].id].payload["data"].startswith("text")
    store.close()


@pytest.mark.parametrize("kind", ["qdrant", "chroma", "faiss"])
async def test_other_collections_in_the_folder_are_said_not_to_be_read(new_app, kind):
    app = new_app(kind, "app")
    for name in ("notes", "memories_entities", "memories"):
        app.fields["collection_name"] = name
        with app.library() as library:
            library.add("text")

    info = await app.info()

    said = [warning for warning in info.warnings if warning.startswith("not read")]
    assert said == ["not read: other collections in the same folder: notes"]


def listed(app, **options):
    from memxfer_mem0.application import OtherSettings
    from memxfer_mem0.stores.listed import ListedStore

    return ListedStore(OtherSettings.model_validate({**app.fields, "provider": "faiss"}), **options)


async def test_a_listing_that_may_be_cut_off_is_not_read_until_it_is_trusted(new_app):
    with pytest.raises(ConfigError, match="trust_listing = true"):
        listed(new_app("faiss", "app"), trust_listing=False)


async def test_a_listing_that_ends_at_the_stores_limit_is_not_the_whole(new_app, monkeypatch):
    app = new_app("faiss", "app")
    with app.library() as library:
        for number in range(5):
            library.add(f"text {number}")
    monkeypatch.setitem(_MOST, "faiss", 5)

    with pytest.raises(FatalError, match="ends at 5 rows") as caught:
        listed(app, trust_listing=True).count()
    assert caught.value.code == "incomplete"
    monkeypatch.setitem(_MOST, "faiss", 6)
    assert listed(app, trust_listing=True).count() == 5


async def test_a_refusal_that_mem0_logs_and_passes_over_is_an_error(new_app, monkeypatch):
    """Mem0's classes for OpenSearch and others log what went wrong and return no rows."""
    app = new_app("faiss", "app")
    with app.library() as library:
        library.add("text")
    store = listed(app, trust_listing=True)

    def swallowed(**_):
        logging.getLogger("mem0.vector_stores.faiss").error("refused: %s", "hunter2")
        return []

    monkeypatch.setattr(store._store, "list", swallowed)

    with pytest.raises(FatalError, match=r"logged a problem .*mem0\.vector_stores\.faiss, line") as caught:
        store.count()
    assert "hunter2" not in str(caught.value)


async def test_a_missing_collection_is_not_made_by_mem0s_class(new_app, monkeypatch):
    app = new_app("faiss", "app")
    monkeypatch.setattr("mem0.vector_stores.faiss.FAISS.list_cols", lambda self: ["other"])

    with pytest.raises(ConfigError, match="no collection 'memories'; there are: other"):
        listed(app, trust_listing=True)
    assert not list((app.folder / "faiss").glob("*"))


@pytest.mark.parametrize("trust", [False, True])
async def test_a_milvus_lite_file_that_is_not_there_is_not_made(tmp_path, trust):
    file = tmp_path / "not-there.db"
    config = {"vector_store": {"provider": "milvus", "config": {"url": str(file)}}}

    with pytest.raises(ConfigError, match="no Milvus Lite database"):
        await Mem0OssProvider(settings(memory=config, trust_listing=trust)).connect(Role.SOURCE)
    assert not file.exists()


async def test_a_table_of_supabase_is_read_whole_by_its_ids(postgres, tmp_path, pages):
    """Mem0 itself lists at most 1,000 of them, by a similarity query."""
    psycopg = pytest.importorskip("psycopg")
    rows = [(f"{number:08d}-0000-4000-8000-000000000000", f"text {number}") for number in range(2_300)]
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("CREATE SCHEMA vecs")
        # As vecs 0.4 makes it.
        connection.execute(
            "CREATE TABLE vecs.memories (id varchar PRIMARY KEY, vec vector(3) NOT NULL, "
            "metadata jsonb NOT NULL DEFAULT '{}')"
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO vecs.memories VALUES (%s, '[1,2,3]', %s)",
                [
                    (
                        row_id,
                        json.dumps({"data": text, "user_id": "ann", "created_at": "2025-01-01T00:00:00Z"}),
                    )
                    for row_id, text in rows
                ],
            )
    fields = {"collection_name": "memories", "connection_string": postgres, "embedding_model_dims": 3}
    memory = {
        "vector_store": {"provider": "supabase", "config": fields},
        "history_db_path": str(tmp_path / "h.db"),
    }
    provider = Mem0OssProvider(settings(memory=memory, with_vectors=True))
    await provider.connect(Role.SOURCE)

    records, _ = await pages(provider, 700)

    assert {record.id: record.content for record in records} == dict(rows)
    assert records[0].embedding.vector == (1.0, 2.0, 3.0)
    assert (await provider.get(rows[7][0])).content == "text 7"
    assert await provider.count() == 2_300
    await provider.aclose()
    fields["collection_name"] = "x"
    with pytest.raises(ConfigError, match="no table 'x'"):
        await Mem0OssProvider(settings(memory=memory)).connect(Role.SOURCE)


async def test_other_stores_are_no_targets():
    config = {"vector_store": {"provider": "redis", "config": {"redis_url": "redis://127.0.0.1:9"}}}

    with pytest.raises(ConfigError, match="writes to qdrant, chroma, faiss, pgvector only"):
        await Mem0OssProvider(settings(memory=config)).connect(Role.TARGET)


async def test_an_unknown_store_is_named():
    config = {"vector_store": {"provider": "papyrus", "config": {"password": "hunter2"}}}

    with pytest.raises(ConfigError, match="papyrus") as caught:
        await Mem0OssProvider(settings(memory=config)).connect(Role.SOURCE)

    assert "hunter2" not in str(caught.value)


async def test_a_store_whose_package_is_missing_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensearchpy", None)
    monkeypatch.delitem(sys.modules, "mem0.vector_stores.opensearch", raising=False)
    fields = {"host": "127.0.0.1", "port": 9, "user": "x", "password": "hunter2"}
    config = {"vector_store": {"provider": "opensearch", "config": fields}}

    with pytest.raises(ConfigError, match="pip install opensearch-py") as caught:
        await Mem0OssProvider(settings(memory=config, trust_listing=True)).connect(Role.SOURCE)

    assert "hunter2" not in str(caught.value)


async def test_a_field_that_a_store_wants_is_named_without_its_value(tmp_path):
    config = {"vector_store": {"provider": "milvus", "config": {"url": 5, "token": "hunter2"}}}

    with pytest.raises(ConfigError, match=r"cannot open milvus .*url: string_type") as caught:
        await Mem0OssProvider(settings(memory=config, trust_listing=True)).connect(Role.SOURCE)

    assert "hunter2" not in str(caught.value)


async def test_nothing_works_before_connecting(qdrant_app):
    provider = qdrant_app.provider()

    for call in (provider.count, lambda: provider.get("x"), lambda: provider.lookup(["k"])):
        with pytest.raises(ProviderError, match="not connected"):
            await call()
    with pytest.raises(ProviderError, match="not connected"):
        provider.store()


async def test_neither_content_nor_secrets_are_logged(app, caplog):
    with app.library() as library:
        library.add("the launch code is 0000")
    with caplog.at_level(logging.DEBUG):
        for name in ("memxfer", "memxfer_mem0"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        await app.read()

    ours = [entry.getMessage() for entry in caplog.records if entry.name.startswith("memxfer")]
    assert "launch code" not in " ".join(ours)


async def test_a_history_that_is_no_database_is_named(qdrant_app):
    with qdrant_app.library() as library:
        library.add("text")
    qdrant_app.history.write_text("no database " * 500)

    with pytest.raises(ConfigError, match=r"history_db_path: .*history\.db"):
        await qdrant_app.info()


async def test_a_history_without_its_table_counts_as_none(qdrant_app):
    with qdrant_app.library() as library:
        library.add("text")
    qdrant_app.history.unlink()
    sqlite3.connect(qdrant_app.history).close()

    info = await qdrant_app.info()

    assert info.details["versions"] == "unknown"
