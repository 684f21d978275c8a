"""A store is not moved into itself, by whatever names one gets there."""

import pytest

from memxfer import migration
from memxfer.config import load_config
from memxfer.errors import ConfigError
from memxfer.migration import Options
from memxfer.migration.same_store import is_same_store
from memxfer.spi import ClientKey, StoreIdentity
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


@pytest.fixture
def config(ends, tmp_path):
    path = tmp_path / "memxfer.toml"
    path.write_text(
        "".join(
            f'[connections.{name}]\nprovider = "memory"\nstore = "{ends.source.name}"\n'
            for name in ("old", "other")
        )
        + '[connections.backup]\nprovider = "archive"\npath = "backup"\n'
    )
    return load_config(path)


@pytest.mark.parametrize("verb", [migration.migrate, migration.plan])
@pytest.mark.parametrize("target", ["old", "other"])
async def test_a_store_is_not_moved_into_itself(ends, config, state, verb, target):
    ends.seed(3)
    with pytest.raises(ConfigError, match="the same store") as caught:
        await verb("old", target, config=config, state_dir=state)
    assert ends.source.name in str(caught.value)
    assert len(ends.source) == 3
    assert ends.source.origins == []
    assert not list(state.glob("jobs/*"))


async def test_a_job_whose_target_became_its_source_is_not_gone_on_with(ends, state):
    ends.seed(2)
    await migration.migrate(ends.read(), ends.write(refuses={"r1"}), state_dir=state, job="j")
    with pytest.raises(ConfigError, match="the same store"):
        await migration.resume("j", state_dir=state, source=ends.read(), target=ends.read())


@pytest.mark.parametrize(
    "way", ["archive:backup", "archive:./backup/", "archive:link", "archive:x/../backup", "backup"]
)
async def test_an_archive_is_not_moved_into_itself_by_another_way(
    ends, config, state, tmp_path, monkeypatch, way
):
    ends.seed(3)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    await migration.migrate(ends.read(), f"archive:{tmp_path}/backup", config=config, state_dir=state)
    (tmp_path / "link").symlink_to("backup")
    manifest = (tmp_path / "backup" / "manifest.json").read_bytes()
    with pytest.raises(ConfigError, match="the same store"):
        await migration.migrate(f"archive:{tmp_path}/backup", way, config=config, state_dir=state)
    assert (tmp_path / "backup" / "manifest.json").read_bytes() == manifest


async def test_an_archive_goes_back_into_the_store_it_was_made_from_and_into_another_archive(
    ends, config, state, tmp_path
):
    ends.seed(3)
    first, second = f"archive:{tmp_path}/one", f"archive:{tmp_path}/two"
    await migration.migrate(ends.read(), first, config=config, state_dir=state)
    copied = await migration.migrate(first, second, config=config, state_dir=state)
    assert copied.counts.stored == 3
    for name in ("r0", "r1", "r2"):
        ends.source.remove(name)
    back = await migration.migrate(
        second, ends.read(), config=config, state_dir=state, options=Options(accept_loss=("all",))
    )
    assert back.counts.stored == 3


class Placed(MemoryReferenceProvider):
    """Says where it is, and is called by a namespace of the connection's choice."""

    def __init__(self, config, *, place, namespace="n"):
        super().__init__(config)
        self._there = place
        self._called = namespace

    def place(self):
        return self._there

    def store(self):
        return StoreIdentity("memory", self._called)


@pytest.mark.parametrize(
    ("source", "target", "is_same"),
    [
        (("a", "x"), ("a", "y"), True),
        (("a", "x"), ("b", "x"), False),
        ((None, "x"), ("b", "x"), True),
        ((None, "x"), (None, "y"), False),
    ],
)
def test_the_place_decides_where_both_ends_know_it(ends, source, target, is_same):
    made = [
        Placed(ends.read(client_key=ClientKey.NONE).config, place=place, namespace=namespace)
        for place, namespace in (source, target)
    ]
    assert is_same_store(*made) is is_same
