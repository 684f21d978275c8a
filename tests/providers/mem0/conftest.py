"""The four vector stores as an app would configure them, and the real Mem0 to fill them."""

import hashlib
import json
import logging
import sqlite3
import warnings
from datetime import UTC, datetime

import pytest

from memxfer.spi import MemoryRecord, Partition, Role, Scope
from memxfer_mem0 import Mem0OssConfig, Mem0OssProvider
from memxfer_mem0.application import load_application
from memxfer_mem0.embedding import LocalEmbedder
from memxfer_mem0.sdk import import_mem0
from memxfer_mem0.stores import Access, open_store

DIMS = 16
KINDS = ("qdrant", "chroma", "faiss", "pgvector")
ALL = Partition(name="all")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def _vendor_noise():
    """Deprecations inside the vendors' packages are theirs; ours stay errors."""
    # chromadb, posthog, faiss (SWIG) and pgserver deprecate things at import or in every call.
    with warnings.catch_warnings():
        for module in ("chromadb", "faiss", "importlib", "mem0", "posthog", "pgserver", "qdrant_client"):
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=rf"{module}(\.|$)")
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*(SwigPy|swigvarlink).*")
        yield


@pytest.fixture(autouse=True)
def _quiet_mem0(caplog):
    caplog.set_level(logging.CRITICAL, logger="mem0")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """Start a throw-away Postgres with pgvector on a socket in a temporary folder; give its address."""
    pgserver = pytest.importorskip("pgserver", reason="no wheels above CPython 3.12")
    server = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    server.psql("ALTER SYSTEM SET fsync = off;")
    server.psql("SELECT pg_reload_conf();")
    yield server.get_uri()
    server.cleanup()


class Library:
    """The real `mem0.Memory` on an app's dict, with the local embedder; closes what Mem0 leaves open."""

    def __init__(self, config):
        self.memory = import_mem0("mem0").Memory.from_config(json.loads(json.dumps(config)))
        self.memory.embedding_model = LocalEmbedder(DIMS)
        self._hurry()

    def _hurry(self):
        """Do not wait for the disk: Mem0 commits twice per memory."""
        databases = [self.memory.db.connection]
        if hasattr(self.memory.vector_store, "is_local"):
            collections = self.memory.vector_store.client._client.collections
            databases += [collection.storage.storage for collection in collections.values()]
        for database in databases:
            database.execute("PRAGMA synchronous=OFF")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        store = self.memory.vector_store
        for part in (getattr(store, "client", None), getattr(store, "connection_pool", None)):
            if part is not None:
                part.close()
        self.memory.close()

    def add(self, text, *, name=None, role="user", **options):
        """Add one raw memory; return its id."""
        if not {"user_id", "agent_id", "run_id"} & options.keys():
            options["user_id"] = "u"
        turn = {"role": role, "content": text, **({"name": name} if name else {})}
        return self.memory.add([turn], infer=False, **options)["results"][0]["id"]

    def put(self, payload, *, row_id):
        """Put a hand-made row past the library."""
        self.memory.vector_store.insert(vectors=[[0.5] * DIMS], payloads=[payload], ids=[row_id])


class App:
    """An app's Mem0: its dict, its files, the library on them, and our provider on them."""

    def __init__(self, kind, folder, config):
        self.kind = kind
        self.folder = folder
        self.config = config
        self.history = folder / "history.db"

    @property
    def fields(self):
        return self.config["vector_store"]["config"]

    def settings(self, **changes):
        return Mem0OssConfig.model_validate({"provider": "mem0-oss", "memory": self.config, **changes})

    def provider(self, **changes):
        return Mem0OssProvider(self.settings(**changes))

    def library(self):
        return Library(self.config)

    async def connected(self, role=Role.SOURCE, **changes):
        provider = self.provider(**({"embedder": "local"} if role is Role.TARGET else {}), **changes)
        await provider.connect(role)
        return provider

    async def writing(self):
        """Return a target whose store is open for writing, though nothing was written."""
        provider = await self.connected(Role.TARGET)
        await provider._worker.run(provider._client._open_for_writing)
        return provider

    def make(self, **fields):
        """Make the store as a first write does, with other fields if wanted; nothing is in it."""
        settings = load_application(self.settings()).store.model_copy(update=fields)
        open_store(settings, Access.WRITE).close()

    async def read(self, **changes):
        """Open the store, read everything, close it; return the records by id."""
        provider = await self.connected(**changes)
        try:
            return {found.id: found for found in (await walk(provider))[0]}
        finally:
            await provider.aclose()

    async def write(self, *records, envelope=None, **changes):
        """Write records; return the receipts."""
        provider = await self.connected(Role.TARGET, **changes)
        try:
            return await provider.write(
                [provider.prepare(one, key_of(one), envelope or {}) for one in records]
            )
        finally:
            await provider.aclose()

    async def delete(self, *ids):
        """Delete memories of a target; return how many were there."""
        provider = await self.connected(Role.TARGET)
        try:
            return await provider.delete(ids)
        finally:
            await provider.aclose()

    async def info(self, role=Role.SOURCE, **changes):
        provider = self.provider(**changes)
        try:
            return await provider.connect(role)
        finally:
            await provider.aclose()

    def query(self, statement, *values):
        """Ask the history database itself."""
        db = sqlite3.connect(self.history)
        try:
            found = db.execute(statement, values).fetchall()
            db.commit()
            return found
        finally:
            db.close()


async def walk(provider, limit=1000):
    """Read everything; return records, and how many rows were ignored."""
    records, ignored, cursor = [], 0, None
    while True:
        page = await provider.read_page(ALL, cursor, limit)
        assert not page.defects
        records += page.records
        ignored += len(page.ignored)
        cursor = page.next_cursor
        if cursor is None:
            return records, ignored


def tree(folder):
    """Return all that is in a folder: content and time of each file, time of each folder in it.

    A folder's time tells of files that came and went again.
    """
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None,
        )
        for path in (folder, *folder.rglob("*"))
    }


def key_of(record):
    return f"mx:test:{record.id}"


def make_app(kind, folder, *, address=None, collection="memories"):
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"collection_name": collection}
    if kind == "pgvector":
        name = "t" + hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        create_database(address, name)
        fields |= {
            "connection_string": address.replace("/postgres?", f"/{name}?"),
            "embedding_model_dims": DIMS,
        }
    else:
        fields["path"] = str(folder / kind)
        if kind != "chroma":
            fields["embedding_model_dims"] = DIMS
        if kind == "qdrant":
            fields["on_disk"] = True
    vendor = {"api_key": "unused-secret-key", "openai_base_url": "http://127.0.0.1:9/v1"}
    config = {
        "vector_store": {"provider": kind, "config": fields},
        "llm": {"provider": "openai", "config": dict(vendor)},
        "embedder": {"provider": "openai", "config": {"embedding_dims": DIMS, **vendor}},
        "history_db_path": str(folder / "history.db"),
    }
    return App(kind, folder, config)


def create_database(address, name):
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchall():
            connection.execute(f'CREATE DATABASE "{name}"')


@pytest.fixture
def new_app(request, tmp_path):
    """Make apps by store and name."""

    def make(kind, name, **options):
        address = request.getfixturevalue("postgres") if kind == "pgvector" else None
        return make_app(kind, tmp_path / name, address=address, **options)

    return make


@pytest.fixture(params=KINDS)
def app(request, new_app):
    """An app on each of the four stores; nothing is in it yet."""
    return new_app(request.param, "app")


@pytest.fixture
def qdrant_app(new_app):
    return new_app("qdrant", "app")


@pytest.fixture(name="tree")
def _tree():
    """Return a function that tells all that is in a folder."""
    return tree


@pytest.fixture
def pages():
    """Return a function that walks a provider to its end."""
    return walk


@pytest.fixture
def make_record():
    """Return a function that makes records of another backend's."""

    def make(number=1, **fields):
        at = datetime(2025, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
        defaults = {
            "id": f"mem-{number}",
            "content": f"likes tea number {number}",
            "scope": Scope(user="alice"),
            "created_at": at,
            "updated_at": at,
        }
        return MemoryRecord(**{**defaults, **fields})

    return make
