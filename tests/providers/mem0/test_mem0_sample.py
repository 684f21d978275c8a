"""The sample store, as a demonstration finds it."""

import json
from collections import Counter

import pytest

from memxfer.spi import ConfigError, RecordState, Role
from memxfer_mem0 import Mem0OssConfig, Mem0OssProvider
from memxfer_mem0.sample import write_sample_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample_store(tmp_path_factory.mktemp("sample") / "app", count=200)


async def test_the_sample_has_everything_a_demonstration_needs(sample, pages):
    provider = Mem0OssProvider(Mem0OssConfig(provider="mem0-oss", config_file=sample))
    info = await provider.connect(Role.SOURCE)
    records, ignored = await pages(provider, 64)
    await provider.aclose()

    assert (len(records), ignored) == (200, 0)
    assert Counter(record.kind for record in records).keys() == {"fact", "message", "procedure"}
    assert len({record.scope.user for record in records} - {None}) == 8
    assert len({record.scope.agent for record in records} - {None}) == 3
    assert any(record.scope.user is None for record in records)
    assert {len(record.versions) for record in records} == {0, 1, 2}
    assert any(record.state is RecordState.EXPIRED for record in records)
    assert max(len(record.content.encode()) for record in records) > 60_000
    assert {record.created_at.year for record in records} == {2024, 2025, 2026}
    assert any(isinstance(record.metadata.get("source"), dict) for record in records)
    assert any("actor_id" in record.provenance for record in records)
    assert len({record.metadata.get("language") for record in records}) > 5
    assert any("🙂" in record.content or "🍜" in record.content for record in records)
    assert not any(record.extensions for record in records)
    assert info.details["deleted_memories"] == "3"


def test_the_config_is_the_apps_and_moves_with_its_folder(sample):
    config = json.loads(sample.read_text())

    assert config["vector_store"]["config"]["path"] == "qdrant"
    assert config["history_db_path"] == "history.db"


def test_a_sample_is_never_written_over_another_store(sample):
    with pytest.raises(ConfigError, match="holds a Mem0 store already"):
        write_sample_store(sample.parent)


def test_a_sample_too_small_for_its_contents_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="at least 50"):
        write_sample_store(tmp_path, count=10)
