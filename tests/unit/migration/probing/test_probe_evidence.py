"""What a probe keeps, for whom, and what it tells."""

import json

import pytest

from memxfer import migration
from memxfer.config import Config, Connection
from memxfer.errors import ConfigError
from memxfer.migration import StopSignal
from memxfer.spi import Role
from memxfer_memory import MemoryReferenceProvider

pytestmark = pytest.mark.anyio


def named(bench, **settings):
    settings = {"store": bench.store.name, **settings}
    return Config({"new": Connection("new", "memory", settings, "memxfer.toml")})


async def test_the_evidence_of_a_named_connection_is_kept_and_gone_by(bench):
    report = await bench.probe("new", config=named(bench, client_key="unknown"))
    kept = migration.evidence_of("new", config=named(bench), state_dir=bench.state)
    assert report.evidence_file == str(bench.state / "connections" / "new.json")
    assert kept.claims == report.claims
    assert (kept.provider, kept.namespace, kept.sdk) == ("memory", bench.store.name, None)
    text = (bench.state / "connections" / "new.json").read_text()
    assert "safe to delete" not in text
    assert report.owner not in text
    await migration.check(
        "new",
        config=named(bench, client_key="unknown"),
        role=Role.TARGET,
        state_dir=bench.state,
        observer=bench.told,
    )
    assert "writing.client_key is dedupe, declared unknown" in bench.told.notices[-1][1]


async def test_a_provider_object_and_a_location_keep_no_evidence(bench):
    reports = [await bench.probe(), await bench.probe(f"memory:{bench.store.name}")]
    assert [report.evidence_file for report in reports] == [None, None]
    assert not bench.state.exists()


async def test_a_probe_does_not_go_by_the_evidence_of_the_one_before(bench, claim_of):
    await bench.probe("new", config=named(bench, client_key="append"))
    report = await bench.probe("new", config=named(bench, client_key="upsert"))
    claim = claim_of(report, "writing.client_key")
    assert (claim.declared, claim.found) == ("upsert", "upsert")


async def test_a_state_folder_that_cannot_be_written_is_found_out_before_anything_is_sent(bench):
    bench.state.write_text("")
    with pytest.raises(ConfigError, match="--state-dir"):
        await bench.probe("new", config=named(bench))
    assert bench.store.attempts == {}


async def test_a_probe_that_ends_early_keeps_no_evidence(bench):
    stop = StopSignal()
    stop.request()
    report = await bench.probe("new", config=named(bench), stop=stop)
    assert (report.status, report.evidence_file) == ("interrupted", None)
    assert migration.evidence_of("new", config=named(bench), state_dir=bench.state) is None


async def test_a_setting_that_promises_more_than_was_seen_is_told_loudly(bench, monkeypatch):
    class Promising(MemoryReferenceProvider):
        claim_settings = {"writing.client_key": "client_key"}  # noqa: RUF012 - as authors write it

        def _store_again(self, document, row):
            return self._create(document)

    monkeypatch.setattr("memxfer.registry.provider_class", lambda _: Promising)
    await bench.probe("new", config=named(bench, client_key="upsert"))
    assert [text for text in bench.told.warnings if 'client_key = "upsert" is set' in text]


async def test_the_report_is_json_without_content(bench):
    report = await bench.probe()
    data = json.loads(report.model_dump_json())
    assert list(data) == [
        "connection",
        "provider",
        "namespace",
        "status",
        "probed_at",
        "sdk",
        "owner",
        "documents",
        "claims",
        "leftovers",
        "evidence_file",
    ]
    assert list(data["claims"][0]) == ["path", "declared", "found", "verdict", "note"]
    assert "jasmine" not in report.model_dump_json()
