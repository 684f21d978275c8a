"""Stores that old versions of Mem0 wrote, with the clients of their time: read whole, and left alone.

The slow tests run the old libraries themselves, offline, in environments of their own below
`$MEMXFER_OLD_ENVIRONMENTS` (default `~/.cache/memxfer-test`), which are made once. The quick ones read
recorded stores (`old_stores/`), made by `old_app.py` with those libraries.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from memxfer.spi import ConfigError, Outcome, Role, Scope, parse_time
from memxfer_mem0 import Mem0OssConfig, Mem0OssProvider

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
DIMS = 8
_OLD_OPENAI = ("openai<1.60", "httpx<0.28", "posthog<4", "numpy<2")
MATRIX = {
    "0.0.9": (("qdrant-client==1.9.1", *_OLD_OPENAI), ("qdrant",)),
    "0.1.29": (
        ("qdrant-client==1.12.1", "chromadb==0.5.20", "psycopg2-binary", *_OLD_OPENAI),
        ("qdrant", "chroma", "pgvector"),
    ),
    # Its Chroma store cannot make a collection.
    "0.1.60": (
        ("qdrant-client==1.13.2", "psycopg2-binary", "posthog<4", "numpy<2.3"),
        ("qdrant", "pgvector"),
    ),
    "0.1.107": (
        ("qdrant-client==1.14.2", "chromadb==1.0.12", "faiss-cpu==1.11.0", "psycopg2-binary", "numpy<2.3"),
        ("qdrant", "chroma", "faiss", "pgvector"),
    ),
    "0.1.114": (
        (
            "qdrant-client==1.14.3",
            "chromadb==1.0.15",
            "faiss-cpu==1.11.0.post1",
            "psycopg2-binary",
            "numpy<2.3",
        ),
        ("qdrant", "chroma", "faiss", "pgvector"),
    ),
    "1.0.0": (
        ("qdrant-client==1.15.1", "chromadb==1.1.1", "faiss-cpu==1.12.0", "psycopg[binary,pool]"),
        ("qdrant", "chroma", "faiss", "pgvector"),
    ),
    "2.0.0": (
        ("qdrant-client==1.17.0", "chromadb==1.5.5", "faiss-cpu==1.13.2", "psycopg[binary,pool]"),
        ("qdrant", "chroma", "faiss", "pgvector"),
    ),
}
"""By version of mem0ai: what else is installed, and the stores it has."""
CASES = [(version, kind) for version, (_, kinds) in MATRIX.items() for kind in kinds]
UPGRADED = {(version, "chroma") for version in ("0.1.29", "0.1.107", "0.1.114", "1.0.0")}
"""What a write brings into a form that its app may not open."""
MIXED_UP = {(version, "faiss") for version in ("0.1.107", "0.1.114", "1.0.0")}
"""What an update or deletion leaves with vectors that nobody knows the owner of."""
_NATIVE = {"data", "user_id", "agent_id", "run_id", "created_at", "updated_at", "hash", "role"}


def environment(version):
    """Return the Python of an environment that has this Mem0; make it once, or skip."""
    home = os.environ.get("MEMXFER_OLD_ENVIRONMENTS") or Path.home() / ".cache" / "memxfer-test"
    folder = Path(home) / f"mem0ai-{version}"
    if not (folder / ".done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        wanted = [f"mem0ai=={version}", *MATRIX[version][0]]
        done = subprocess.run(
            [folder / "bin" / "python", "-m", "pip", "install", "-q", *wanted],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"mem0ai {version} cannot be installed: {done.stderr.strip()[-200:]}")
        (folder / ".done").touch()
    return str(folder / "bin" / "python")


class OldApp:
    """An app on an old Mem0: its folder, its library, and our provider on them."""

    def __init__(self, version, kind, folder, server=None):
        self.version, self.kind, self.folder, self.server = version, kind, folder, server

    def run(self, action):
        """Have the library write or read; return what it has, by id."""
        arguments = [action, self.kind, str(self.folder), *([json.dumps(self.server)] if self.server else [])]
        done = subprocess.run(
            [environment(self.version), str(HERE / "old_app.py"), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    def provider(self, **changes):
        fields = {"collection_name": "memories"}
        if self.kind == "pgvector":
            fields |= self.server
        else:
            fields["path"] = str(self.folder / self.kind)
        if self.kind != "chroma":
            fields["embedding_model_dims"] = DIMS
        if self.kind == "qdrant":
            fields["on_disk"] = True
        memory = {
            "vector_store": {"provider": self.kind, "config": fields},
            "history_db_path": str(self.folder / "history.db"),
        }
        settings = {"provider": "mem0-oss", "memory": memory, **changes}
        return Mem0OssProvider(Mem0OssConfig.model_validate(settings))

    async def info(self, role, **changes):
        provider = self.provider(**changes)
        try:
            return await provider.connect(role)
        finally:
            await provider.aclose()


def told(known):
    """Return what a library says of a memory, as a record has it."""
    nested = known.get("metadata") or {}
    flat = {**nested, **known}  # before 0.1 all was in `metadata`
    return {
        "content": known.get("memory", known.get("text")),
        "scope": Scope(user=flat.get("user_id"), agent=flat.get("agent_id"), session=flat.get("run_id")),
        "created_at": _moment(flat.get("created_at")),
        "updated_at": _moment(flat.get("updated_at")),
        "metadata": {name: value for name, value in nested.items() if name not in _NATIVE},
    }


def _moment(value):
    return (
        datetime.fromtimestamp(value, UTC) if isinstance(value, int) else parse_time(value) if value else None
    )


def check(records, truth):
    """Compare what was read with what the library has."""
    assert records.keys() == truth.keys()
    for row_id, seen in truth.items():
        record, expected = records[row_id], told(seen["known"])
        assert {name: getattr(record, name) for name in expected} == expected
        if "DELETE" in {row["event"] for row in seen["history"]}:
            continue  # the library says that it deleted it, and has it still (FAISS)
        if "DELETE" in {row["event"] for row in seen["history"]}:
            continue  # FAISS: the library says that it deleted it, and has it still
        earlier = [(version.content, version.event) for version in record.versions]
        assert earlier == [(row["new"], row["event"]) for row in seen["history"][:-1]]
        assert "history_mismatch" not in record.extensions.get("mem0", {})


async def read_all(app, pages):
    provider = app.provider()
    info = await provider.connect(Role.SOURCE)
    records, ignored = await pages(provider)
    await provider.aclose()
    assert ignored == 0
    return info, {record.id: record for record in records}


async def check_as_target(app):
    """Look at it as a target: it is refused, or asks for a decision, or neither."""
    case = (app.version, app.kind)
    refusals = {("0.0.9", "qdrant"): r"Mem0 before 0\.1"} | dict.fromkeys(MIXED_UP, r"Mem0 before 2\.0")
    if case in refusals:
        with pytest.raises(ConfigError, match=refusals[case]):
            await app.info(Role.TARGET, embedder="local")
    else:
        info = await app.info(Role.TARGET, embedder="local")
        assert any("upgrade = true" in warning for warning in info.warnings) is (case in UPGRADED)


RECORDED = (
    "mem0ai-0.0.9-qdrant-client-1.9.1",
    "mem0ai-1.0.0-qdrant-client-1.15.1",
    "mem0ai-0.1.114-chromadb-1.0.15",
    "mem0ai-1.0.0-faiss",
)


@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_store_is_read_whole_and_left_as_it_is(tmp_path, pages, tree, name):
    with zipfile.ZipFile(HERE / "old_stores" / f"{name}.zip") as packed:
        packed.extractall(tmp_path)
    truth = json.loads((tmp_path / "truth.json").read_text())
    kind = next(kind for kind in ("qdrant", "chroma", "faiss") if (tmp_path / kind).is_dir())
    app = OldApp(name.split("-")[1], kind, tmp_path)
    before = tree(tmp_path)

    info, records = await read_all(app, pages)
    check(records, truth)
    await check_as_target(app)

    assert tree(tmp_path) == before
    assert ("read_from" in info.details) is (kind != "faiss")


@pytest.fixture
def server(request):
    """Return a function that makes a database and gives the fields that every version takes."""

    def make(version, name):
        import psycopg

        address = request.getfixturevalue("postgres")
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        own = address.replace("/postgres?", f"/{name}?")
        with psycopg.connect(own, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")  # which the first versions leave to others
        if not version.startswith("0."):
            return {"connection_string": own}
        parts = urlsplit(address)
        host = parse_qs(parts.query).get("host", [parts.hostname])[0]
        return {"dbname": name, "user": parts.username, "password": "unused", "host": host, "port": 5432}

    return make


@pytest.mark.slow
@pytest.mark.parametrize(("version", "kind"), CASES, ids=lambda value: value)
async def test_an_old_store_is_read_whole_and_the_old_library_still_opens_it(
    tmp_path, server, pages, tree, version, kind
):
    fields = server(version, f"old_{version.replace('.', '_')}") if kind == "pgvector" else None
    app = OldApp(version, kind, tmp_path, fields)
    truth = app.run("write")
    before = tree(tmp_path)

    info, records = await read_all(app, pages)
    check(records, truth)
    assert info.details["deleted_memories"] == "1"
    await check_as_target(app)
    assert tree(tmp_path) == before
    if version != "0.0.9":  # it removes the folder that it opens
        assert app.run("read") == truth


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "kind"),
    [case for case in CASES if case[0] != "0.0.9" and case not in UPGRADED | MIXED_UP],
    ids=lambda value: value,
)
async def test_what_is_added_to_an_old_store_is_seen_by_the_old_library(
    tmp_path, server, make_record, version, kind
):
    fields = server(version, f"new_{version.replace('.', '_')}") if kind == "pgvector" else None
    app = OldApp(version, kind, tmp_path, fields)
    truth = app.run("write")
    provider = app.provider(embedder="local")
    await provider.connect(Role.TARGET)
    record = make_record(1, scope=Scope(user="ann"))
    (receipt,) = await provider.write([provider.prepare(record, "mx:1", {})])
    await provider.aclose()
    assert receipt.outcome is Outcome.CREATED
    ids = json.loads((tmp_path / "ids.json").read_text())
    (tmp_path / "ids.json").write_text(json.dumps([*ids[:-1], *receipt.target_ids, ids[-1]]))

    seen = app.run("read")

    new = seen.pop(receipt.target_ids[0])
    assert seen == truth
    assert told(new["known"])["content"] == record.content
    assert [row["new"] for row in new["history"]] == [record.content]
