"""From settings to an open store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from memxfer.spi import ConfigError
from memxfer_mem0.application import OtherSettings, StoreSettings
from memxfer_mem0.stores.base import VectorStore
from memxfer_mem0.stores.chroma import ChromaStore
from memxfer_mem0.stores.faiss import FaissStore
from memxfer_mem0.stores.listed import ListedStore
from memxfer_mem0.stores.pgvector import PgvectorStore
from memxfer_mem0.stores.qdrant import open_qdrant

__all__ = ["open_store"]

_NATIVE: dict[str, Callable[..., VectorStore]] = {
    "qdrant": open_qdrant,
    "chroma": ChromaStore,
    "faiss": FaissStore,
    "pgvector": PgvectorStore,
}


def open_store(settings: StoreSettings | OtherSettings, *, create: bool) -> VectorStore:
    """Open the collection; with `create`, make it when it is missing, as Mem0 would.

    Raises:
        ConfigError: It is missing, locked by another process, or cannot be written by memxfer.
        UnavailableError, AuthError: A server does not answer, or refuses the key.
        ProviderNotInstalledError: The store's package is missing.
    """
    native: Callable[..., Any] | None = _NATIVE.get(settings.kind)
    if native is not None:
        store: VectorStore = native(settings, create=create)
        return store
    if create:
        raise ConfigError(
            f"vector_store.provider {settings.kind}: mem0-oss writes to {', '.join(_NATIVE)} only; "
            "choose another target"
        )
    assert isinstance(settings, OtherSettings)  # noqa: S101 - tells the type checker what _NATIVE leaves
    return ListedStore(settings)
