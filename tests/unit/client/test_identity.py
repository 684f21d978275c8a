"""An identity file counts while an app runs as it does for its backfill."""

import pytest

from memxfer.client import SyncMemoryClient
from memxfer.errors import ConfigError
from memxfer.models import Scope
from tests.unit.client.conftest import ANN

pytestmark = pytest.mark.anyio
ANNA = Scope(user="anna@example.org", tenant="acme")


@pytest.fixture
def people(backends, tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("user,agent,to_user,to_tenant\nann,,anna@example.org,acme\nann,robot,robot-of-ann,\n")
    backends.settings["one"] = {"identity": str(path)}
    return path


@pytest.mark.parametrize("outbox", [True, False])
async def test_what_an_app_writes_and_asks_for_is_of_the_mapped_owner(backends, people, outbox):
    async with backends.client("one", outbox=outbox) as memory:
        await memory.ingest(text="tea is green", scope=ANN)
        await memory.ingest(text="tea for a robot", scope=Scope(user="ann", agent="robot"))
        await memory.ingest(text="tea of bob", scope=Scope(user="bob"))
        assert await memory.flush(5)
        owners = {row.record.content: row.record.scope for row in backends.store("one").rows()}
        assert owners == {
            "tea is green": ANNA,
            "tea for a robot": Scope(user="robot-of-ann", agent="robot"),
            "tea of bob": Scope(user="bob"),
        }
        for scope in (ANN, ANNA):
            assert [hit.memory.content for hit in await memory.search("tea", scope=scope)] == ["tea is green"]
            assert (await memory.package("tea", scope=scope)).text == "- tea is green"
            assert (await memory.recall("tea", scope=scope)).text == "- tea is green"
            assert [one.content async for one in memory.each_memory(scope)] == ["tea is green"]
            page = await memory.list_memories(scope)
            assert [one.scope for one in page.memories] == [ANNA]
        assert not await memory.search("tea", scope=Scope(user="nobody"))
        assert (await memory.update(page.memories[0].id, "more tea")).content == "more tea"
        assert await memory.delete(page.memories[0].id)


async def test_a_swap_takes_the_file_of_the_new_one(backends, people):
    async with backends.swappable("two", "one", outbox=False) as memory:
        await memory.ingest(text="tea", scope=ANN)
        await memory.swap("one")
        await memory.ingest(text="tea", scope=ANN)
    scopes = [[row.record.scope for row in backends.store(name).rows()] for name in ("two", "one")]
    assert scopes == [[ANN], [ANNA]]


@pytest.mark.parametrize("text", [None, "user\nann\n", "user,to_user\nann,a\nann,b\n"])
async def test_a_file_that_leaves_a_doubt_is_told_at_the_start(backends, people, text):
    if text is None:
        people.unlink()
    else:
        people.write_text(text)
    with pytest.raises(ConfigError, match="identity file"):
        await backends.client("one").initialize()
    with pytest.raises(ConfigError, match="identity file"):
        SyncMemoryClient({"one": backends.factory("one")})


async def test_what_waits_for_a_connection_with_a_wrong_file_waits_on(backends, people, caplog):
    async with backends.client("two", "one") as memory:
        people.unlink()
        handle = await memory.ingest(text="tea", scope=ANN, provider="one")
        assert handle.is_kept
        assert not await memory.flush(0.1)
        assert await memory.recall("tea", scope=ANN, provider="one") is None
    assert "identity file" in caplog.text
    people.write_text("user,to_user\nann,anna\n")
    async with backends.client("two", "one") as memory:
        assert await memory.flush(5)
    assert [row.record.scope for row in backends.store("one").rows()] == [Scope(user="anna")]


async def test_the_prompt_of_the_guide_says_so_when_there_is_nothing(backends):
    async with backends.client(outbox=False) as memory:
        context = await memory.recall("tea", scope=ANN)
        assert context is not None
        assert not context
        await memory.ingest(text="tea", scope=ANN)
        assert await memory.recall("tea", scope=ANN)
