"""An app on an old Mem0, run by the Python of an environment that has it: no LLM, no network.

`python old_app.py write|read KIND FOLDER [FIELDS]` fills a store, or lists what the library sees in it,
and prints JSON. What it writes: memories of users, an agent and a session, with updates and a deletion.
`python old_app.py record KIND ZIPFILE` packs a filled store: so were those in `old_stores/` made.
"""

import inspect
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

DIMS = 8
COLLECTION = "memories"
TEXTS = (
    ("Ann likes green tea", {"user_id": "ann"}, {"topic": "tea"}),
    ("Bob lives in Oslo 🙂", {"user_id": "bob"}, {}),
    ("The deploy runs on Fridays", {"agent_id": "helper"}, {"n": 3}),
    ("Ann asked about trains", {"user_id": "ann", "run_id": "r1"}, {}),
    ("Bob has a cat", {"user_id": "bob"}, {}),
)


class Embedder:
    dims = DIMS

    class config:  # noqa: N801 - Mem0's name
        embedding_dims = DIMS

    def embed(self, text, *ignored, **more):
        return [1.0 + len(text), *(float(ord(letter) % 7) for letter in text[: DIMS - 1])]

    def embed_batch(self, texts, *ignored, **more):
        return [self.embed(text) for text in texts]


def fields_of(kind, folder, server):
    if kind == "pgvector":
        return {"collection_name": COLLECTION, "embedding_model_dims": DIMS, **server}
    fields = {"collection_name": COLLECTION, "path": str(Path(folder, kind))}
    if kind != "chroma":
        fields["embedding_model_dims"] = DIMS
    if kind == "qdrant":
        fields["on_disk"] = True
    return fields


def open_memory(kind, folder, fields):
    os.environ.update(
        MEM0_TELEMETRY="False", MEM0_DIR=str(Path(folder, "home")), HOME=folder, OPENAI_API_KEY="unused"
    )
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ[name] = "http://127.0.0.1:9"
    Path(folder, "home").mkdir(exist_ok=True)
    from mem0 import Memory
    from mem0.vector_stores.configs import VectorStoreConfig

    config = {
        "vector_store": {"provider": kind, "config": fields_of(kind, folder, fields)},
        "history_db_path": str(Path(folder, "history.db")),
    }
    is_first = not hasattr(VectorStoreConfig, "validate_and_create_config")  # before 0.1
    if is_first:
        config["vector_store"]["config"] = {"path": config["vector_store"]["config"]["path"]}
        config["collection_name"] = COLLECTION
        from mem0.utils.factory import EmbedderFactory

        EmbedderFactory.create = classmethod(lambda *arguments: Embedder())
    memory = Memory.from_config(config)
    memory.embedding_model = Embedder()
    return memory


def create(memory, text, scope, metadata):
    if "infer" in inspect.signature(memory.add).parameters:
        turn = [{"role": "user", "content": text}]
        return memory.add(turn, infer=False, metadata=dict(metadata), **scope)["results"][0]["id"]
    if hasattr(memory, "_create_memory"):
        return memory._create_memory(text, {text: Embedder().embed(text)}, {**metadata, **scope})
    return memory._create_memory_tool(text, {**metadata, **scope})


def write(memory):
    ids = [create(memory, *one) for one in TEXTS]
    memory.update(ids[1], "Bob lives in Bergen 🙂")
    memory.update(ids[1], "Bob lives in Berlin 🙂")
    memory.delete(ids[4])
    return ids


def read(memory, ids):
    """Return what the library has: the text by id, and the texts that it had before."""
    found = {}
    for one in ids:
        try:
            memory_of = memory.get(one)
        except IndexError:  # what Chroma's says for one that is not there
            memory_of = None
        if memory_of:
            known = {key: value for key, value in memory_of.items() if value is not None}
            found[one] = {"known": known, "history": [_event(row) for row in memory.history(one)]}
    return found


def _event(row):
    return {
        "old": row.get("old_memory", row.get("prev_value")),
        "new": row.get("new_memory", row.get("new_value")),
        "event": row["event"].upper(),
    }


def main(action, kind, folder, fields=None):
    if action == "record":
        return record(kind, folder)
    memory = open_memory(kind, folder, fields)
    file = Path(folder, "ids.json")
    if action == "write":
        file.write_text(json.dumps(write(memory)), encoding="utf-8")
    ids = json.loads(file.read_text(encoding="utf-8"))
    found = read(memory, ids)
    print("\n" + json.dumps(found, default=str))
    sys.stdout.flush()
    for part in ("client", "connection_pool", "conn"):
        close = getattr(getattr(memory.vector_store, part, None), "close", None)
        if close:
            close()
    return found


def record(kind, archive):
    """Pack a filled store, its history and what the library has into a ZIP file."""
    with tempfile.TemporaryDirectory() as folder:
        found = main("write", kind, folder)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for file in sorted(Path(folder).rglob("*")):
                if file.is_file() and file.relative_to(folder).parts[0] in (kind, "history.db"):
                    packed.write(file, file.relative_to(folder))
            packed.writestr("truth.json", json.dumps(found, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(json.loads, sys.argv[4:]))
