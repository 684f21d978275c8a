"""The source, on the four stores filled by the real library."""

import hashlib
import json
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from memxfer.spi import (
    CursorExpiredError,
    Level,
    Partition,
    Role,
    Scope,
    StoreIdentity,
    SupportsCount,
    SupportsGet,
    SupportsHistory,
)
from memxfer_mem0 import Mem0OssProvider

pytestmark = pytest.mark.anyio
ALL = Partition(name="all")
MISSING = "00000000-0000-4000-8000-000000000000"


async def test_every_row_arrives_whatever_its_scope_and_however_many_there_are(app):
    with app.library() as library:
        ids = {library.add(f"text {n}", user_id=f"u{n % 3}") for n in range(40)}
        ids |= {library.add("of an agent alone", agent_id="a1"), library.add("of a run alone", run_id="r1")}

    records = await app.read()

    assert records.keys() == ids
    scopes = [record.scope for record in records.values()]
    assert all(scope in scopes for scope in (Scope(user="u2"), Scope(agent="a1"), Scope(session="r1")))


async def test_more_rows_than_a_listing_of_mem0_gives_are_all_read(qdrant_app):
    with qdrant_app.library() as library:
        ids = {library.add(f"text {n}") for n in range(300)}

    assert (await qdrant_app.read()).keys() == ids


async def test_a_record_says_what_mem0_says(app):
    with app.library() as library:
        row_id = library.add(
            "Ünïcode 🙂",
            user_id="u",
            agent_id="a",
            run_id="r",
            name="Ann",
            role="assistant",
            metadata={
                "created_at": "2024-05-01T10:00:00.123456-07:00",
                "topic": "x",
                "n": 3,
                "f": 0.5,
                "ok": True,
            },
        )
        mem0 = library.memory.get(row_id)

    record = (await app.read())[row_id]

    assert record.content == mem0["memory"]
    assert record.kind == "message"
    assert record.scope == Scope(user="u", agent="a", session="r")
    assert record.metadata == mem0["metadata"] == {"topic": "x", "n": 3, "f": 0.5, "ok": True}
    assert record.created_at == datetime(2024, 5, 1, 17, 0, 0, 123456, tzinfo=UTC)
    assert record.updated_at == datetime.fromisoformat(mem0["updated_at"])
    assert record.provenance == {"role": "assistant", "actor_id": "Ann"}
    assert record.versions == ()


async def test_pages_of_every_size_are_complete_and_disjoint(app, pages):
    with app.library() as library:
        for n in range(9):
            library.add(f"text {n}")
    provider = await app.connected()

    whole, _ = await pages(provider)
    for limit in range(1, 12):
        records, _ = await pages(provider, limit)
        assert [record.id for record in records] == [record.id for record in whole]
    assert len({record.id for record in whole}) == 9
    await provider.aclose()


async def test_a_cursor_goes_on_in_a_new_provider(app):
    with app.library() as library:
        for n in range(7):
            library.add(f"text {n}")
    provider = await app.connected()
    first = await provider.read_page(ALL, None, 3)
    await provider.aclose()

    later = await app.connected()
    second = await later.read_page(ALL, first.next_cursor, 100)
    await later.aclose()

    assert len(first.records) == 3
    assert len({record.id for record in (*first.records, *second.records)}) == 7
    assert second.next_cursor is None


async def test_a_cursor_of_another_backend_restarts_the_listing(app):
    with app.library() as library:
        library.add("text")
    provider = await app.connected()
    for cursor in ("page 2", "[]", '{"after": null}'):
        with pytest.raises(CursorExpiredError):
            await provider.read_page(ALL, cursor, 10)
    await provider.aclose()


async def test_count_get_and_history_answer_for_single_memories(app):
    with app.library() as library:
        row_id = library.add("first")
        library.memory.update(row_id, text="second")
        library.add("other")
    provider = await app.connected()

    assert isinstance(provider, SupportsCount | SupportsGet | SupportsHistory)
    assert await provider.count() == 2
    record = await provider.get(row_id)
    assert record.content == "second"
    assert [version.content for version in await provider.history(row_id)] == ["first"]
    assert await provider.get(MISSING) is None
    assert await provider.get("no uuid at all") is None
    await provider.aclose()


async def test_reading_changes_nothing(qdrant_app):
    with qdrant_app.library() as library:
        library.add("text")
    files = [
        qdrant_app.history,
        qdrant_app.folder / "qdrant/meta.json",
        qdrant_app.folder / "qdrant/collection/memories/storage.sqlite",
    ]
    before = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]

    await qdrant_app.read()

    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == before
    assert not list(qdrant_app.folder.glob("history.db-*"))


async def test_the_app_can_open_its_store_again_after_we_closed_it(qdrant_app):
    with qdrant_app.library() as library:
        library.add("text")
    await qdrant_app.read()

    with qdrant_app.library() as library:
        assert len(library.memory.get_all(filters={"user_id": "u"})["results"]) == 1


async def test_an_empty_collection_is_read_and_pointed_out(app):
    with app.library() as library:
        library.memory.vector_store.delete(library.add("text"))

    provider = app.provider()
    info = await provider.connect(Role.SOURCE)
    page = await provider.read_page(ALL, None, 10)
    await provider.aclose()

    assert (list(page.records), page.next_cursor) == ([], None)
    assert any("empty" in warning for warning in info.warnings)


async def test_vectors_are_read_when_asked_for(app):
    with app.library() as library:
        row_id = library.add("two words")
        expected = library.memory.embedding_model.embed("two words")

    without, with_them = await app.read(), await app.read(with_vectors=True)

    assert without[row_id].embedding is None
    assert with_them[row_id].embedding.dims == 16
    assert with_them[row_id].embedding.vector == pytest.approx(expected, abs=1e-6)


async def test_the_store_is_named_by_its_collection_not_by_its_machine(app):
    with app.library() as library:
        library.add("text")
    provider = await app.connected()
    named = await app.connected(namespace="prod")

    expected = "memories"
    if app.kind == "pgvector":
        expected = f"{app.fields['connection_string'].partition('?')[0].rpartition('/')[2]}/memories"
    place = provider.store().place
    assert provider.store() == StoreIdentity("mem0-oss", expected, place)
    assert str(app.folder) not in provider.store().namespace
    assert named.store() == StoreIdentity("mem0-oss", "prod", place)
    if app.kind == "pgvector":
        assert re.fullmatch(r"/.*:\d+#.*/memories", place)
    else:
        assert place == f"{Path(app.fields['path']).resolve()}#memories"
    await provider.aclose()
    await named.aclose()


async def test_capabilities_say_how_far_the_claims_go(app):
    with app.library() as library:
        library.add("text")
    provider = await app.connected()
    capabilities = provider.capabilities()
    await provider.aclose()

    assert capabilities.paging.style == "keyset"
    assert capabilities.paging.max_page >= 1000
    assert capabilities.channel("metadata").write is Level.NATIVE
    assert capabilities.channel("versions").read is Level.NATIVE


def test_the_package_is_imported_without_any_vendor():
    code = (
        "import sys, memxfer_mem0; "
        "print([m for m in ('mem0','qdrant_client','chromadb','faiss','psycopg','yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


async def test_reading_imports_no_mem0_and_needs_no_key(tmp_path, qdrant_app):
    with qdrant_app.library() as library:
        library.add("text")
    file = tmp_path / "app.json"
    config = json.loads(json.dumps(qdrant_app.config))
    del config["llm"], config["embedder"]
    file.write_text(json.dumps(config))
    code = (
        "import asyncio, sys\n"
        "from memxfer_mem0 import *\n"
        "from memxfer.spi import *\n"
        "async def main():\n"
        f"    provider = Mem0OssProvider(Mem0OssConfig(provider='mem0-oss', config_file={str(file)!r}))\n"
        "    await provider.connect(Role.SOURCE)\n"
        "    page = await provider.read_page(Partition('all'), None, 10)\n"
        "    await provider.aclose()\n"
        "    print(len(page.records), 'mem0' in sys.modules)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["1", "False"]


async def test_closing_twice_or_without_connecting_is_fine(qdrant_app):
    provider = qdrant_app.provider()
    await provider.aclose()
    with qdrant_app.library() as library:
        library.add("text")
    await provider.connect(Role.SOURCE)
    await provider.connect(Role.SOURCE)
    await provider.aclose()
    await provider.aclose()

    assert isinstance(provider, Mem0OssProvider)
    assert len(await qdrant_app.read()) == 1


async def test_a_cursor_goes_on_when_its_own_row_is_gone(app):
    with app.library() as library:
        for n in range(6):
            library.add(f"text {n}")
    provider = await app.connected()
    first = await provider.read_page(ALL, None, 3)
    await provider.aclose()
    target = await app.connected(Role.TARGET)
    await target.delete([first.records[-1].id])
    await target.aclose()

    later = await app.connected()
    second = await later.read_page(ALL, first.next_cursor, 10)
    await later.aclose()

    assert len(second.records) == 3
    assert not {record.id for record in first.records} & {record.id for record in second.records}


async def test_every_call_on_a_store_runs_on_its_one_thread_and_not_on_the_loop(app, monkeypatch):
    with app.library() as library:
        library.add("text")
    provider = await app.connected()
    threads = []
    store = provider._client.vectors
    for name in ("page", "get", "count", "close"):
        real = getattr(store, name)

        def noted(*args, real=real, **options):
            threads.append(threading.current_thread())
            return real(*args, **options)

        monkeypatch.setattr(store, name, noted)

    async with anyio.create_task_group() as group:
        for call in (provider.count, provider.count):
            group.start_soon(call)
        group.start_soon(provider.get, MISSING)
        group.start_soon(provider.read_page, ALL, None, 1)
    await provider.aclose()

    assert len(threads) >= 5
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()
