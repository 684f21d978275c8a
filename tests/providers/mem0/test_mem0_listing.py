"""Stores that are read through Mem0's own listing: what proves it whole, and what is refused.

Milvus Lite, opensearch-py and elasticsearch are no dependencies of memxfer: tests of them are skipped where
they are not installed. OpenSearch and Elasticsearch do not run here, so their clients talk to a stand-in
with the few requests that Mem0 makes, written from the vendors' API documentation.
"""

import ast
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from memxfer.spi import AuthError, ConfigError, FatalError, Role, UnavailableError
from memxfer_mem0 import Mem0OssConfig, Mem0OssProvider
from memxfer_mem0.application import OtherSettings
from memxfer_mem0.sdk import import_mem0
from memxfer_mem0.stores.listed import _COUNTS, _REFUSED, ListedStore
from memxfer_mem0.stores.opening import _NATIVE

pytestmark = pytest.mark.anyio

PAYLOAD = {"data": "likes tea", "user_id": "ann", "created_at": "2025-01-01T00:00:00+00:00"}


def provider_of(kind, folder, **fields):
    memory = {
        "vector_store": {"provider": kind, "config": {"collection_name": "memories", **fields}},
        "history_db_path": str(folder / "h.db"),
    }
    return Mem0OssProvider(Mem0OssConfig.model_validate({"provider": "mem0-oss", "memory": memory}))


@pytest.fixture
def faiss_rows(new_app):
    """Five rows of a real Mem0 class; its settings, to be read through `list`."""
    app = new_app("faiss", "app")
    with app.library() as library:
        for number in range(5):
            library.add(f"text {number}")
    return OtherSettings.model_validate({**app.fields, "provider": "faiss"})


# -- what proves a listing whole ----------------------------------------------------------------


async def test_a_listing_with_as_many_rows_as_the_store_counts_needs_no_trust(faiss_rows, monkeypatch):
    monkeypatch.setitem(_COUNTS, "faiss", lambda store: store.index.ntotal)

    store = ListedStore(faiss_rows, trust_listing=False)

    assert store.count() == 5
    assert store.warnings == ()


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("counted", [4, 7])
async def test_a_listing_of_another_length_than_the_store_counts_is_refused(
    faiss_rows, monkeypatch, counted, trust
):
    monkeypatch.setitem(_COUNTS, "faiss", lambda store: counted)

    with pytest.raises(FatalError, match=f"has 5 of {counted} rows") as caught:
        ListedStore(faiss_rows, trust_listing=trust).count()
    assert caught.value.code == "incomplete"


# -- opening makes nothing ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(_REFUSED))
async def test_a_store_that_opening_would_change_is_refused_with_the_reason(kind):
    settings = OtherSettings.model_validate({"provider": kind})

    with pytest.raises(ConfigError, match=re.escape(_REFUSED[kind])):
        ListedStore(settings, trust_listing=True)


def makers_in_constructors():
    """Return, by provider, the methods of Mem0's classes that make something while one is constructed.

    Read from the source, for most of the vendors' packages are not installed.
    """
    folder = Path(import_mem0("mem0.vector_stores.base").__file__).parent
    classes = import_mem0("mem0.utils.factory").VectorStoreFactory.provider_to_class
    found = {}
    for kind, dotted in classes.items():
        _, _, module, name = dotted.split(".")
        tree = ast.parse((folder / f"{module}.py").read_text())
        body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name).body
        methods = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
        found[kind] = {
            called
            for called in reached("__init__", methods)
            if called in methods and re.search("create|ensure", called)
        }
    return found


def reached(start, methods):
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in methods or name == "create_col":
            seen.add(name)
            continue
        seen.add(name)
        waiting += [
            node.func.attr
            for node in ast.walk(methods[name])
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "self"
        ]
    return seen


def test_mem0s_constructors_make_nothing_outside_the_method_that_is_stopped():
    found = makers_in_constructors()

    assert found["cassandra"] == {"_create_keyspace", "_create_table"}
    listed = {kind: made for kind, made in found.items() if kind not in {*_NATIVE, *_REFUSED, "supabase"}}
    # Elasticsearch's is left out by auto_create_index.
    assert {kind: made - {"create_col"} for kind, made in listed.items() if made - {"create_col"}} == {
        "elasticsearch": {"create_index"}
    }


# -- errors -------------------------------------------------------------------------------------


class VendorError(Exception):
    def __init__(self, status_code):
        super().__init__("secret detail")
        self.status_code = status_code


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (VendorError(401), AuthError),
        (VendorError(403), AuthError),
        (VendorError(400), FatalError),
        (VendorError(404), FatalError),
        (VendorError(429), UnavailableError),
        (VendorError(503), UnavailableError),
        (VendorError("N/A"), UnavailableError),
        (ConnectionError("secret detail"), UnavailableError),
        (KeyError("secret detail"), FatalError),
        (TypeError("secret detail"), FatalError),
    ],
)
async def test_errors_that_last_are_not_retried_as_passing_ones(faiss_rows, error, kind):
    store = ListedStore(faiss_rows, trust_listing=True)

    known = store.classify(error, "read")

    assert type(known) is kind
    assert "secret detail" not in str(known)


async def test_an_error_while_opening_is_classified_and_not_quoted(faiss_rows, monkeypatch):
    def refused(self):
        raise VendorError(403)

    empty = faiss_rows.model_copy(update={"collection_name": "other"})
    monkeypatch.setattr("mem0.vector_stores.faiss.FAISS.list_cols", refused)

    with pytest.raises(AuthError, match="HTTP 403") as caught:
        ListedStore(empty, trust_listing=True)
    assert "secret detail" not in str(caught.value)
    assert caught.value.operation == "connect"


# -- Milvus Lite --------------------------------------------------------------------------------


def files_of(path):
    found = sorted(one for one in [path, *path.rglob("*")] if one.is_file())
    return {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in found}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # pymilvus and milvus-lite deprecate things at import
async def test_a_milvus_lite_file_is_read_whole_and_left_alone(tmp_path, pages, monkeypatch):
    pytest.importorskip("pymilvus")
    pytest.importorskip("milvus_lite")
    file = tmp_path / "m.db"
    config = {"url": str(file), "token": "", "embedding_model_dims": 8}
    vendors = import_mem0("mem0.vector_stores.milvus").MilvusDB
    store = vendors(**config, collection_name="memories", metric_type="COSINE", db_name="")
    ids = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(1_500)]
    store.insert(vectors=[[0.1] * 8] * 1_500, payloads=[PAYLOAD] * 1_500, ids=ids)
    store.client.close()
    before = files_of(file)

    source = provider_of("milvus", tmp_path, **config)
    await source.connect(Role.SOURCE)
    records, _ = await pages(source, 400)
    await source.aclose()

    assert [record.id for record in records] == ids
    with pytest.raises(ConfigError, match="no collection 'other'; there are: memories"):
        await provider_of("milvus", tmp_path, **{**config, "collection_name": "other"}).connect(Role.SOURCE)
    monkeypatch.setitem(_COUNTS, "milvus", lambda store: 1_501)
    with pytest.raises(FatalError, match="has 1,500 of 1,501 rows"):
        await provider_of("milvus", tmp_path, **config).connect(Role.SOURCE)
    assert files_of(file) == before


# -- OpenSearch and Elasticsearch ---------------------------------------------------------------


class SearchServer:
    """An index `memories` of so many documents; `window` is the most that one search gives."""

    def __init__(self, rows, *, window=10_000, status=200):
        self.rows, self.window, self.status = rows, window, status
        self.seen = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                asked = json.loads(self.rfile.read(length) or b"{}")
                outer.seen.append(f"{self.command} {self.path.partition('?')[0]}")
                status, body = outer.reply(self.command, self.path.partition("?")[0], asked)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815 - the base class's names

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def reply(self, command, path, asked):
        if self.status != 200:
            return self.status, {"error": "secret detail"}
        if path == "/_alias":
            return 200, {"memories": {"aliases": {}}}
        if not path.startswith("/memories"):
            return 404, {"error": {"type": "index_not_found_exception"}, "status": 404}
        if path.endswith("/_count"):
            return 200, {"count": self.rows, "_shards": {"failed": 0}}
        if path.endswith("/_search"):
            if asked.get("size", 10) > self.window:
                return 400, {"error": {"type": "illegal_argument_exception"}, "status": 400}
            return 200, {"hits": {"hits": [hit(n) for n in range(min(self.rows, asked.get("size", 10)))]}}
        return 200, {"memories": {"aliases": {}}}

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def hit(number):
    row_id = f"{number:08d}-0000-4000-8000-000000000000"
    return {"_id": row_id, "_source": {"id": row_id, "payload": PAYLOAD, "metadata": PAYLOAD}}


@pytest.fixture
def search_server():
    servers = []

    def start(rows, **options):
        servers.append(SearchServer(rows, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def search_source(kind, server, folder, **fields):
    pytest.importorskip({"opensearch": "opensearchpy"}.get(kind, kind))
    port = server.server.server_address[1]
    address = {"host": "127.0.0.1", "user": "u", "password": "hunter2"}
    if kind == "elasticsearch":
        address["host"] = "http://127.0.0.1"
    return provider_of(
        kind, folder, **{**address, "port": port, "embedding_model_dims": 8, "use_ssl": False, **fields}
    )


both = pytest.mark.parametrize("kind", ["opensearch", "elasticsearch"])
quiet = pytest.mark.filterwarnings("ignore")  # of the vendors' clients


@both
@quiet
async def test_a_search_index_is_read_whole_by_its_count(kind, search_server, tmp_path, pages):
    server = search_server(1_200)
    source = search_source(kind, server, tmp_path)
    await source.connect(Role.SOURCE)
    records, _ = await pages(source)
    await source.aclose()

    assert len(records) == 1_200
    assert not [seen for seen in server.seen if seen.startswith("PUT")]


@both
@quiet
async def test_a_search_index_of_more_than_one_answer_is_refused(kind, search_server, tmp_path):
    server = search_server(10_001)

    with pytest.raises(FatalError, match="has 10,000 of 10,001 rows"):
        await search_source(kind, server, tmp_path).connect(Role.SOURCE)


@both
@quiet
async def test_a_search_that_is_refused_is_no_empty_index(kind, search_server, tmp_path):
    server = search_server(20, window=5)

    with pytest.raises(FatalError):
        await search_source(kind, server, tmp_path).connect(Role.SOURCE)


@both
@quiet
async def test_a_search_index_that_is_missing_is_an_error_and_is_not_made(kind, search_server, tmp_path):
    server = search_server(3)

    with pytest.raises((ConfigError, FatalError)):
        await search_source(kind, server, tmp_path, collection_name="other").connect(Role.SOURCE)
    assert not [seen for seen in server.seen if seen.startswith("PUT")]


@both
@quiet
async def test_a_search_server_that_refuses_the_password_is_told_as_that(kind, search_server, tmp_path):
    server = search_server(3, status=403)

    with pytest.raises(AuthError) as caught:
        await search_source(kind, server, tmp_path).connect(Role.SOURCE)
    assert "secret detail" not in str(caught.value)
