"""Stores on a server: addressing, paging, and what their failures mean.

No Qdrant server runs offline: the paging runs on qdrant-client's in-memory engine behind the same
interface, failures on a socket that answers as a server would.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import qdrant_client

from memxfer.spi import (
    AuthError,
    ConfigError,
    Outcome,
    RateLimitedError,
    Role,
    StoreIdentity,
    UnavailableError,
)
from memxfer_mem0 import Mem0OssConfig, Mem0OssProvider
from memxfer_mem0.sdk import import_mem0

pytestmark = pytest.mark.anyio


def provider_of(kind, history, **fields):
    memory = {
        "vector_store": {"provider": kind, "config": {"collection_name": "memories", **fields}},
        "history_db_path": str(history),
    }
    return Mem0OssProvider(
        Mem0OssConfig.model_validate({"provider": "mem0-oss", "memory": memory, "embedder": "local"})
    )


@pytest.fixture
def engine(monkeypatch):
    """One in-memory engine behind every server address; gives the arguments of the last connection."""
    import_mem0("mem0.vector_stores.qdrant")  # or Mem0 would keep our client for all later tests
    client = qdrant_client.QdrantClient(":memory:")
    seen = {}

    def connect(**arguments):
        seen.clear()
        seen.update(arguments)
        return client

    monkeypatch.setattr(qdrant_client, "QdrantClient", connect)
    monkeypatch.setattr(client, "close", lambda: None)
    yield seen
    monkeypatch.undo()
    client.close()


@pytest.fixture
def answering():
    """Return a function that starts a server which gives every request the same status."""
    servers = []

    def start(status):
        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = b'{"status": {"error": "secret detail"}}'
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - the base class's names

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        servers.append((server, thread))
        return server.server_address[1]

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.filterwarnings(
    "ignore:Payload indexes have no effect:UserWarning"
)  # the in-memory engine has none
async def test_a_server_is_written_and_paged_completely(engine, tmp_path, make_record, pages):
    target = provider_of("qdrant", tmp_path / "h.db", host="h", port=6333, embedding_model_dims=8)
    await target.connect(Role.TARGET)
    records = [make_record(n, metadata={"n": [n]}) for n in range(11)]
    receipts = await target.write([target.prepare(one, f"mx:{one.id}", {}) for one in records])
    found = await target.lookup(["mx:mem-3"])
    await target.aclose()
    source = provider_of("qdrant", tmp_path / "h.db", host="h", port=6333)
    await source.connect(Role.SOURCE)

    assert {receipt.outcome for receipt in receipts} == {Outcome.CREATED}
    assert found == {"mx:mem-3": receipts[3].target_ids}
    whole, _ = await pages(source)
    assert len(whole) == 11
    for limit in range(1, 13):
        records, _ = await pages(source, limit)
        assert [record.id for record in records] == [record.id for record in whole]
    assert source.store() == StoreIdentity("mem0-oss", "h:6333/memories")
    await source.aclose()


async def test_a_wrong_collection_on_a_server_is_not_created(engine, tmp_path):
    provider = provider_of("qdrant", tmp_path / "h.db", url="https://q.example:6333/", api_key="hunter2")

    with pytest.raises(ConfigError, match="no collection 'memories' on the Qdrant server"):
        await provider.connect(Role.SOURCE)

    assert engine["url"] == "https://q.example:6333/"
    assert engine["api_key"] == "hunter2"


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthError), (403, AuthError), (429, RateLimitedError), (503, UnavailableError)]
)
async def test_a_servers_refusals_are_classified_and_not_quoted(answering, tmp_path, status, kind):
    provider = provider_of("qdrant", tmp_path / "h.db", host="127.0.0.1", port=answering(status))

    with pytest.raises(kind) as caught:
        await provider.connect(Role.SOURCE)

    assert "secret detail" not in str(caught.value)
    assert caught.value.operation == "connect"


@pytest.mark.parametrize("kind", ["qdrant", "chroma", "pgvector"])
async def test_a_server_that_is_not_there_is_unavailable(tmp_path, kind):
    fields = {"host": "127.0.0.1", "port": 9}
    if kind == "pgvector":
        fields |= {"user": "u", "password": "hunter2"}
    provider = provider_of(kind, tmp_path / "h.db", **fields)

    with pytest.raises(UnavailableError) as caught:
        await provider.connect(Role.SOURCE)

    assert "hunter2" not in str(caught.value)


async def test_a_lost_connection_to_postgres_is_unknown_on_a_write_and_may_pass_on_a_read(
    new_app, make_record
):
    app = new_app("pgvector", "app")
    await app.write(make_record(1))
    provider = await app.writing()
    document = provider.prepare(make_record(2), "mx:2", {})
    store = provider._client.vectors
    upsert = store.upsert

    def cut_then_upsert(rows, present):
        store._connection.close()
        upsert(rows, present)

    store.upsert = cut_then_upsert
    (receipt,) = await provider.write([document])
    with pytest.raises(UnavailableError):
        await provider.count()
    await provider.aclose()

    assert receipt.outcome is Outcome.UNKNOWN
    assert receipt.error.operation == "write"


async def test_a_table_that_is_not_mem0s_is_refused(new_app):
    import psycopg

    app = new_app("pgvector", "app")
    with psycopg.connect(app.fields["connection_string"]) as connection:
        connection.execute("CREATE TABLE memories (id int)")

    with pytest.raises(ConfigError, match="not one of Mem0's"):
        await app.info()


async def test_a_table_whose_name_postgres_made_small_is_told(new_app):
    """mem0ai before it quoted names: CREATE TABLE MyNotes makes mynotes."""
    import psycopg

    app = new_app("pgvector", "app")
    app.fields["collection_name"] = "MyNotes"
    with psycopg.connect(app.fields["connection_string"]) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("CREATE TABLE MyNotes (id uuid PRIMARY KEY, vector vector(16), payload jsonb)")
        connection.execute("CREATE TABLE others (id uuid)")

    with pytest.raises(
        ConfigError, match=r"no table 'MyNotes' .*there is 'mynotes'.*collection_name: mynotes"
    ):
        await app.info()
    app.fields["collection_name"] = "notes"
    with pytest.raises(ConfigError, match=r"no table 'notes' .*there are: mynotes$"):
        await app.info()
    app.fields["collection_name"] = "mynotes"
    assert (await app.info()).details["rows"] == "0"


async def test_postgres_parts_and_addresses_name_the_same_store(new_app, make_record):
    import psycopg

    app = new_app("pgvector", "app")
    await app.write(make_record(1))
    parts = psycopg.conninfo.conninfo_to_dict(app.fields["connection_string"])
    app.fields.clear()
    app.fields.update(
        collection_name="memories",
        host=parts["host"],
        user=parts["user"],
        password="",
        dbname=parts["dbname"],
    )

    provider = await app.connected()
    count, name = await provider.count(), provider.store().namespace
    await provider.aclose()

    assert (count, name) == (1, f"{parts['dbname']}/memories")
