"""Whole moves with the engine, to an archive."""

import pytest

from memxfer import migration
from memxfer.spi import Role
from memxfer.testing.conformance.driver import opened, read_records
from memxfer_archive import ArchiveConfig, ArchiveProvider

pytestmark = pytest.mark.anyio

ACCEPT = migration.Options(accept_loss=("all",))


def archive(folder):
    return ArchiveProvider(ArchiveConfig(provider="archive", path=folder))


@pytest.fixture
def populated(server):
    """Twelve memories of Ann and of agents, each with a history."""
    names = [
        *server.put(5, user_id="ann", agent_id="a", metadata={"topic": "tea"}),
        *server.put(4, agent_id="a", run_id="r"),
        *server.put(3, run_id="r", expiration_date="2025-06-30", role="user"),
    ]
    for name in names:
        text = server.emulator.store.get(name)["memory"]
        server.note(name, "ADD", None, "before", "2025-02-01T00:00:00Z")
        server.note(name, "UPDATE", "before", text)
    return server


async def test_an_archive_gets_everything_with_its_history(populated, tmp_path):
    source = populated.provider(history=True)
    result = await migration.migrate(
        source, archive(tmp_path / "out"), state_dir=tmp_path / "state", options=ACCEPT
    )
    assert (result.status, result.counts.listed, result.counts.stored) == ("completed", 12, 12)
    assert not any(line.contradiction for line in result.losses)
    async with opened(lambda: archive(tmp_path / "out"), Role.SOURCE) as copy:
        found = {record.id: record for record in await read_records(copy)}
    assert found == {record.id: record for record in await populated.records(history=True)}
    assert all(len(record.versions) == 1 for record in found.values())


@pytest.mark.parametrize(
    "action",
    [
        {"status": 429, "retry_after": "decimal", "retry_after_seconds": 0.01},
        {"status": 502},
        {"close": "reset"},
        {"malformed": True, "when": "after"},
    ],
    ids=str,
)
async def test_a_move_through_faults_stores_each_record_once(populated, tmp_path, action):
    populated.break_with("/", match={"every": 4}, **action)
    source = populated.provider(history=True, page_size=3, retry={"backoff": 0.01, "backoff_max": 0.02})
    result = await migration.migrate(
        source, archive(tmp_path / "out"), state_dir=tmp_path / "state", options=ACCEPT
    )
    assert (result.status, result.counts.listed, result.counts.stored) == ("completed", 12, 12)
    assert populated.emulator.faults.report()[0]["fired"] > 3


async def test_a_split_user_of_1500_arrives_whole(server, tmp_path):
    server.put(700, user_id="ann", agent_id="a")
    server.put(800, user_id="ann", agent_id="b")
    result = await migration.migrate(
        server.provider(), archive(tmp_path / "out"), state_dir=tmp_path / "state", options=ACCEPT
    )
    assert (result.status, result.counts.stored) == ("completed", 1500)
