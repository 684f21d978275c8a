"""Whole moves out of Zep: into an archive, and into Synap's emulator; at five requests a minute, too."""

import contextlib
from collections import Counter
from datetime import UTC, datetime

import pytest

from memxfer import migration
from memxfer.emulation import serve_in_thread
from memxfer.errors import MemxferError
from memxfer.spi import RecordState, Role
from memxfer.testing import ManualClock
from memxfer.testing.conformance.driver import opened, read_records
from memxfer_archive import ArchiveConfig, ArchiveProvider
from memxfer_synap import SynapConfig, SynapProvider
from memxfer_synap.emulator import EMULATOR_API_KEY, SynapEmulator
from memxfer_zep.emulator import EMULATOR_API_KEY as EMULATOR_KEY

pytestmark = pytest.mark.anyio

ACCEPT = migration.Options(accept_loss=("all",))
ENDED = {"invalid_at": "2024-06-01T00:00:00Z", "expired_at": "2024-06-02T00:00:00.000001Z"}


@pytest.fixture
def populated(zep):
    """Three users with ten facts each, three of them ended; a standalone graph with five facts."""
    for name in ("ann@example.org", "a/b", None):
        _, graph = zep.user(**({"user_id": name} if name else {}))
        zep.facts(graph, 7, valid_at="2024-01-01T00:00:00Z", attributes={"topic": "tea"}, name="LIKES")
        ends = {"source_node_name": "A", "target_node_name": "B"}
        zep.facts(graph, 3, valid_at="2023-01-01T00:00:00Z", **ends, **ENDED)
    zep.facts(zep.put("graph", graph_id="kb"), 5)
    return zep


def archive(folder, *, clock=None):
    return ArchiveProvider(ArchiveConfig(provider="archive", path=folder), clock=clock)


def lines(result):
    return {(line.dimension, line.verdict): line.records for line in result.losses}


async def test_an_archive_gets_everything(populated, tmp_path):
    result = await migration.migrate(
        populated.provider(), archive(tmp_path / "out"), state_dir=tmp_path / "state", options=ACCEPT
    )
    assert (result.status, result.counts.listed, result.counts.stored) == ("completed", 35, 35)
    async with opened(lambda: archive(tmp_path / "out"), Role.SOURCE) as copy:
        found = {record.id: record for record in await read_records(copy)}
    assert found == {record.id: record for record in await populated.records()}
    states = Counter(record.state for record in found.values())
    assert states == {RecordState.ACTIVE: 26, RecordState.SUPERSEDED: 9}


async def test_synap_gets_everything_and_the_report_counts_what_has_ended(populated, tmp_path):
    with contextlib.closing(SynapEmulator()) as emulator, serve_in_thread(emulator) as server:
        config = SynapConfig(
            provider="synap",
            api_key=EMULATOR_API_KEY,
            base_url=server.base_url,
            transport="http",
            customer_id="acme",
            unscoped="customer",
        )
        result = await migration.migrate(
            populated.provider(), SynapProvider(config), state_dir=tmp_path / "state", options=ACCEPT
        )
        documents = list(server.admin.documents(brief=True))
    assert result.status == "completed"
    assert result.counts.listed == len(documents) == 35
    assert result.counts.stored == 35
    losses = lines(result)
    assert losses["validity", "at_risk"] == 9
    assert losses["validity", "enveloped"] == 35
    assert losses["inactive", "approximated"] == 9
    assert losses["relations", "enveloped"] == 9
    assert not any(line.contradiction for line in result.losses)
    owners = Counter(one["scope"].get("user_id") for one in documents)
    assert (owners["ann@example.org"], owners["a/b"]) == (10, 10)


async def test_only_current_facts_leave_nothing_at_risk(populated, tmp_path):
    source = populated.provider(current_only=True)
    result = await migration.migrate(
        source, archive(tmp_path / "out"), state_dir=tmp_path / "state", options=ACCEPT
    )
    assert (result.status, result.counts.listed, result.counts.stored) == ("completed", 26, 26)


@pytest.mark.parametrize("unit", ["episodes", "messages", "summaries"])
async def test_no_unit_carries_what_it_declared_absent(zep, tmp_path, unit):
    user, graph = zep.user(user_id="ann")
    thread = zep.put("thread", user_uuid=user, thread_id="chat")
    zep.put("message", thread_uuid=thread, role="user", name="Ann", content="hi", metadata={"a": 1})
    zep.put("episode", graph_uuid=graph, content="{}", source="json", document_id="d", processed=True)
    zep.put("episode", graph_uuid=graph, content="Ann LIKES tea", source="fact_triple")
    zep.put("node", graph_uuid=graph, summary="s", name="Ann", labels=["Person"], attributes={"age": 7})
    zep.put("thread_summary", graph_uuid=graph, summary="s", thread_uuid=thread)
    report = await migration.diff(zep.provider(unit=unit), archive(tmp_path / "out"))
    assert report.scanned == {"episodes": 2, "messages": 1, "summaries": 2}[unit]
    assert not any(line.contradiction for line in report.dimensions)


async def test_at_five_requests_a_minute_the_engine_waits_and_gets_everything(populated, tmp_path):
    clock = ManualClock(datetime(2025, 11, 24, tzinfo=UTC))
    populated.emulator.clock = lambda: clock.now().timestamp()
    try:
        populated.configure(quota_calls=2)
        result = await migration.migrate(
            populated.provider(clock=clock, page_size=5),
            archive(tmp_path / "out", clock=clock),
            state_dir=tmp_path / "state",
            options=ACCEPT,
        )
    finally:
        populated.emulator.clock = populated.clock
    assert (result.status, result.counts.listed, result.counts.stored) == ("completed", 35, 35)
    calls = Counter(call["outcome"] for call in populated.calls())
    assert calls[429] > 0
    assert clock.monotonic() > 60 * (calls[200] - 3) / 5 - 12  # as slow as the account is


async def test_a_job_whose_cursor_died_goes_on_without_loss_or_repetition(populated, tmp_path):
    populated.break_with("/api/v4/graphs/", match={"nth": 4}, preset="invalid_cursor")
    result = await migration.migrate(
        populated.provider(page_size=3),
        archive(tmp_path / "out"),
        state_dir=tmp_path / "state",
        options=ACCEPT,
    )
    assert (result.status, result.counts.listed, result.counts.stored) == ("completed", 35, 35)


async def test_a_graph_that_zep_cannot_find_stops_the_job_with_its_name(populated, tmp_path):
    populated.break_with("/api/v4/graphs", match={"nth": 9}, preset="not_found")
    with pytest.raises(MemxferError, match="cannot be listed"):
        await migration.migrate(
            populated.provider(page_size=3),
            archive(tmp_path / "out"),
            state_dir=tmp_path / "state",
            options=ACCEPT,
        )


async def test_a_user_deleted_in_the_middle_costs_nobody_else(populated, tmp_path):
    users = [
        one["uuid"]
        for one in populated.emulator.truth(0, 99, brief=True)["documents"]
        if one["kind"] == "user"
    ]
    plan = await migration.plan(populated.provider(), archive(tmp_path / "out"), options=ACCEPT)
    populated.emulator.store.remove(EMULATOR_KEY, "user", users[0])
    result = await migration.migrate(
        populated.provider(), archive(tmp_path / "out"), plan=plan, state_dir=tmp_path / "state"
    )
    assert (result.counts.listed, result.counts.stored) == (25, 25)
