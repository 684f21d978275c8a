"""Probes of an embedded Qdrant: the app's own memories and their history stay as they are."""

import json

import pytest

from memxfer import migration
from memxfer.config import Config, Connection
from memxfer.migration import ClaimVerdict

pytestmark = pytest.mark.anyio


@pytest.fixture
def lowered():
    def find(report):
        return {c.path: c.found for c in report.claims if c.verdict is ClaimVerdict.DOWNGRADED}

    return find


async def test_every_promise_is_confirmed_and_the_apps_memories_stay(qdrant_app, make_record, lowered):
    await qdrant_app.write(make_record(1), make_record(2))
    before = await qdrant_app.read(), qdrant_app.query("SELECT * FROM history ORDER BY id")
    report = await migration.probe(qdrant_app.provider(embedder="local"))
    assert (report.status, report.leftovers, lowered(report)) == ("completed", (), {})
    found = {claim.path: claim.found for claim in report.claims}
    assert found["writing.client_key"] == "upsert"
    assert found["writing.backdates"] == "microsecond"
    assert found["operations.lookup"] == found["operations.get"] == found["operations.delete"] == "yes"
    assert found["dimensions.tags.write"] == "envelope"
    assert found["dimensions.versions.write"] is not None
    assert (await qdrant_app.read(), qdrant_app.query("SELECT * FROM history ORDER BY id")) == before


async def test_it_is_probed_as_a_named_connection_too(qdrant_app, tmp_path, lowered):
    file = tmp_path / "app.json"
    file.write_text(json.dumps(qdrant_app.config))
    block = {"config_file": str(file), "embedder": "local"}
    config = Config({"app": Connection("app", "mem0-oss", block, "memxfer.toml")})
    report = await migration.probe("app", config=config, state_dir=tmp_path / "state")
    assert (report.status, lowered(report)) == ("completed", {})
    assert migration.evidence_of("app", config=config, state_dir=tmp_path / "state").claims == report.claims
    assert await qdrant_app.read() == {}


async def test_a_store_that_loses_microseconds_is_found_out(qdrant_app, monkeypatch, lowered):
    from memxfer_mem0 import provider as module

    encode = module.encode

    def blunt(record, **more):
        body = encode(record, **more)
        payload = body.row.payload
        payload["created_at"] = payload["created_at"].replace(".123456", "")
        return body

    monkeypatch.setattr(module, "encode", blunt)
    report = await migration.probe(qdrant_app.provider(embedder="local"))
    assert lowered(report) == {"writing.backdates": "second", "dimensions.created_at.write": "lossy"}
