"""Vectors: the local stand-in, and the app's own embedder when it fails."""

import pytest

from memxfer.spi import BatchRefusedError, ConfigError, RateLimitedError, Role, UnavailableError
from memxfer_mem0.application import EmbedderSettings
from memxfer_mem0.embedding import AppEmbedder, LocalEmbedder

pytestmark = pytest.mark.anyio


def test_the_local_embedder_gives_the_same_unit_vectors_always():
    embedder = LocalEmbedder(32)
    one, again, other, empty = embedder.vectors(["two words", "two words", "three other words", ""])

    assert one == again == embedder.embed("two words", "add")
    assert one != other
    for vector in (one, other, empty):
        assert len(vector) == 32
        assert sum(value * value for value in vector) == pytest.approx(1.0)


async def test_an_embedder_without_its_key_is_a_config_error(qdrant_app, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    qdrant_app.config["embedder"]["config"].pop("api_key")

    with pytest.raises(ConfigError, match='embedder = "local"'):
        await qdrant_app.info(Role.TARGET)


async def test_an_embedder_of_other_dims_is_a_config_error(qdrant_app):
    qdrant_app.config["embedder"]["config"]["embedding_dims"] = 99

    with pytest.raises(ConfigError, match=r"99 numbers.*16"):
        await qdrant_app.info(Role.TARGET)


async def test_an_embedder_that_does_not_answer_stores_nothing(qdrant_app, make_record):
    provider = qdrant_app.provider()
    await provider.connect(Role.TARGET)
    document = provider.prepare(make_record(), "mx:k", {})

    with pytest.raises(UnavailableError):
        await provider.write([document])
    assert await provider.count() == 0
    await provider.aclose()

    assert qdrant_app.query("SELECT count(*) FROM history") == [(0,)]


@pytest.mark.parametrize(
    ("status", "kind"), [(429, RateLimitedError), (400, BatchRefusedError), (500, UnavailableError)]
)
def test_errors_of_an_embedder_are_classified_by_status(status, kind):
    class VendorError(Exception):
        status_code = status

    class Vendor:
        def embed_batch(self, texts, action):
            raise VendorError("secret")

    embedder = AppEmbedder(EmbedderSettings(config={"api_key": "unused"}))
    embedder._vendor = Vendor()

    with pytest.raises(kind) as caught:
        embedder.vectors(["text"])
    assert "secret" not in str(caught.value)
