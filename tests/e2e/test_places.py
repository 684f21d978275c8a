"""A job is about the stores it was begun with, not about others of the same name."""

import shutil
from pathlib import Path

import pytest

from memxfer import migration
from memxfer.errors import FingerprintMismatchError
from memxfer.models import MemoryRecord, Scope
from memxfer.spi import Role
from memxfer_archive import ArchiveProvider
from memxfer_archive.config import ArchiveConfig
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def archive(path):
    return ArchiveProvider(ArchiveConfig(provider="archive", path=path))


def memory(name):
    return MemoryReferenceProvider(MemoryConfig(provider="memory", store=name))


@pytest.fixture
async def archived(tmp_path):
    """Two archives of one store, with different records."""
    for name, ids in (("a", ("r1", "r2")), ("b", ("r3",))):
        MemoryStore.forget("places")
        MemoryStore.named("places").seed(MemoryRecord(id=i, content=i, scope=Scope(user="ann")) for i in ids)
        await migration.migrate(
            memory("places"), archive(tmp_path / name), state_dir=tmp_path / "first", job=f"make-{name}"
        )
    yield tmp_path
    MemoryStore.forget("places")
    MemoryStore.forget("places-target")


async def test_two_archives_of_one_store_have_one_namespace_and_two_places(archived):
    stores = []
    for name in ("a", "b"):
        source = archive(archived / name)
        await source.connect(Role.SOURCE)
        stores.append(source.store())
        await source.aclose()
    assert stores[0].namespace == stores[1].namespace == "places"
    assert [store.place for store in stores] == [str(archived / "a"), str(archived / "b")]


async def test_a_resume_against_another_archive_of_the_same_store_is_refused(archived):
    """Its records are others: the job would say that it is completed, without them."""
    state, target = archived / "state", memory("places-target")
    first = await migration.migrate(archive(archived / "a"), target, state_dir=state, job="j")
    assert first.counts.stored == 2

    with pytest.raises(FingerprintMismatchError, match=r"another store of the same name.*--moved"):
        await migration.resume("j", state_dir=state, source=archive(archived / "b"), target=target)


async def test_a_store_that_was_moved_goes_on_when_that_is_said_and_then_without(archived):
    state, target = archived / "state", memory("places-target")
    await migration.migrate(archive(archived / "a"), target, state_dir=state, job="j")
    shutil.move(archived / "a", archived / "moved")
    (archived / "link").symlink_to(archived / "moved")

    with pytest.raises(FingerprintMismatchError):
        await migration.resume("j", state_dir=state, source=archive(archived / "moved"), target=target)
    for source, moved in (
        (archived / "moved", True),
        (archived / "moved", False),
        (archived / "link", False),
    ):
        again = await migration.resume(
            "j", state_dir=state, source=archive(source), target=target, moved=moved
        )
        assert again.counts.stored == 2
    assert len(MemoryStore.named("places-target")) == 2


async def test_a_relative_path_leads_to_the_same_store(archived, monkeypatch):
    state, target = archived / "state", memory("places-target")
    await migration.migrate(archive(archived / "a"), target, state_dir=state, job="j")
    monkeypatch.chdir(archived / "b")

    again = await migration.resume("j", state_dir=state, source=archive(Path("../a")), target=target)
    assert again.counts.stored == 2
