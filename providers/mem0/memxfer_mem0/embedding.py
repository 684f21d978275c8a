"""From text to vectors, on the target side only: reading a store needs no embedder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Protocol

from memxfer.spi import (
    AuthError,
    BatchRefusedError,
    ConfigError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    UnavailableError,
)
from memxfer_mem0.application import EmbedderSettings
from memxfer_mem0.sdk import import_mem0
from memxfer_mem0.stores.base import PROVIDER

__all__ = ["AppEmbedder", "Embedder", "LocalEmbedder"]


class Embedder(Protocol):
    """What turns texts into vectors."""

    model: str | None

    @property
    def dims(self) -> int | None:
        """Length of the vectors, where known."""
        ...

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector per text, in order."""
        ...


class LocalEmbedder:
    """A stand-in without network or model: signed hashes of words. It has no sense of meaning.

    For rehearsals, tests and samples; a store filled with it must be embedded again before use. It
    has the methods of Mem0's embedders as well, so that it can be put into a `mem0.Memory`.

    Args:
        dims: Length of the vectors.
    """

    model: str | None = "memxfer/local"

    def __init__(self, dims: int) -> None:
        self._dims = dims
        self.config = SimpleNamespace(embedding_dims=dims, model=self.model)

    @property
    def dims(self) -> int:
        """Length of the vectors."""
        return self._dims

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one unit vector per text; the same text always has the same one."""
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        values = [0.0] * self._dims
        for word in text.casefold().split() or [""]:
            digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
            number = int.from_bytes(digest, "big")
            values[number % self._dims] += 1.0 if number >> 63 else -1.0
        length = math.sqrt(sum(value * value for value in values))
        if length == 0.0:
            return [1.0] + [0.0] * (self._dims - 1)
        return [value / length for value in values]

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        """Return one vector, as Mem0 asks for it."""
        del memory_action
        return self._vector(text)

    def embed_batch(self, texts: Sequence[str], memory_action: str | None = None) -> list[list[float]]:
        """Return many vectors, as Mem0 asks for them."""
        del memory_action
        return self.vectors(texts)


class AppEmbedder:
    """The embedder of the app's own config, built by Mem0.

    Raises:
        ConfigError: Mem0 cannot build it: a key or a package is missing.
    """

    def __init__(self, settings: EmbedderSettings) -> None:
        factory = import_mem0("mem0.utils.factory").EmbedderFactory
        self.model = settings.model
        try:
            self._vendor = factory.create(settings.provider, settings.config or {}, None)
        except Exception as error:  # noqa: BLE001 - any vendor's class; its text may quote a key
            raise ConfigError(
                f"the app's embedder {settings.provider} cannot be built ({type(error).__name__}); give it "
                'its key, or rehearse with embedder = "local"'
            ) from None
        client = getattr(self._vendor, "client", None)
        if client is not None and hasattr(client, "max_retries"):
            client.max_retries = 0  # the engine retries

    @property
    def dims(self) -> int | None:
        """Length of its vectors, where its config says so."""
        value = getattr(getattr(self._vendor, "config", None), "embedding_dims", None)
        return value if isinstance(value, int) else None

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector per text.

        Raises:
            AuthError, QuotaExceededError, RateLimitedError, UnavailableError: As the vendor says.
            BatchRefusedError: It refuses one of the texts.
        """
        try:
            found = self._vendor.embed_batch(list(texts), "add")
        except Exception as error:
            raise _classify(error) from error
        return [list(vector) for vector in found]


_BY_STATUS: dict[int, type[ProviderError]] = {
    400: BatchRefusedError,
    401: AuthError,
    402: QuotaExceededError,
    403: AuthError,
    413: BatchRefusedError,
    422: BatchRefusedError,
    429: RateLimitedError,
}


def _classify(error: Any) -> ProviderError:
    status = getattr(error, "status_code", None)
    kind = _BY_STATUS.get(status, UnavailableError) if isinstance(status, int) else UnavailableError
    detail = f"status {status}" if isinstance(status, int) else type(error).__name__
    return kind(f"the app's embedder failed ({detail})", provider=PROVIDER, operation="embed")
