"""Probes of an archive: it keeps everything, and what was archived before stays as it was."""

import pytest

from memxfer import migration
from memxfer.archive import ArchiveReader
from memxfer.migration import ClaimVerdict
from memxfer.models import MemoryRecord, Scope
from memxfer_memory import MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "backup"


@pytest.fixture
def probe(tmp_path, folder):
    async def run():
        return await migration.probe(f"archive:{folder}", state_dir=tmp_path / "state")

    return run


@pytest.fixture
async def filled(tmp_path, folder):
    """Archive one memory of `memory:before`."""
    MemoryStore.named("before").seed([MemoryRecord(id="1", content="kept", scope=Scope(user="ann"))])
    await migration.migrate("memory:before", f"archive:{folder}", state_dir=tmp_path / "state")
    yield
    MemoryStore.forget("before")


def texts(folder):
    return [one.record.content for one in ArchiveReader(folder).records()]


async def test_a_new_archive_is_confirmed_and_empty_afterwards(probe, folder):
    report = await probe()
    assert (report.status, report.leftovers) == ("completed", ())
    verdicts = {claim.path: claim.verdict for claim in report.claims}
    assert ClaimVerdict.DOWNGRADED not in verdicts.values()
    assert verdicts["writing.client_key"] is ClaimVerdict.CONFIRMED
    assert verdicts["dimensions.versions.write"] is ClaimVerdict.CONFIRMED
    assert texts(folder) == []


@pytest.mark.usefixtures("filled")
async def test_what_was_archived_stays_and_so_does_where_it_came_from(probe, folder, tmp_path):
    report = await probe()
    assert (report.status, report.leftovers) == ("completed", ())
    assert [c for c in report.claims if c.verdict is ClaimVerdict.DOWNGRADED] == []
    assert texts(folder) == ["kept"]
    assert [str(origin) for origin in ArchiveReader(folder).origins] == ["memory:before"]
    info = await migration.check(f"archive:{folder}", state_dir=tmp_path / "state")
    assert info.details["origin"] == "memory:before"


async def test_an_archive_that_was_probed_first_knows_only_where_its_records_came_from(
    probe, folder, tmp_path
):
    await probe()
    MemoryStore.named("after").seed([MemoryRecord(id="1", content="moved", scope=Scope(user="ann"))])
    await migration.migrate("memory:after", f"archive:{folder}", state_dir=tmp_path / "state")
    MemoryStore.forget("after")
    info = await migration.check(f"archive:{folder}", state_dir=tmp_path / "state")
    assert info.details["origin"] == "memory:after"
    assert texts(folder) == ["moved"]
