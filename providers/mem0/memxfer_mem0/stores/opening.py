"""From settings to an open store."""

from __future__ import annotations

from collections.abc import Callable

from memxfer.spi import ConfigError
from memxfer_mem0.application import OtherSettings, StoreSettings, SupabaseSettings
from memxfer_mem0.stores.base import AbsentStore, Access, MissingStoreError, VectorStore
from memxfer_mem0.stores.chroma import ChromaStore
from memxfer_mem0.stores.faiss import FaissStore
from memxfer_mem0.stores.listed import ListedStore
from memxfer_mem0.stores.pgvector import PgvectorStore, SupabaseStore
from memxfer_mem0.stores.qdrant import QdrantStore, open_qdrant

__all__ = ["open_store"]

_NATIVE: dict[str, tuple[Callable[..., VectorStore], type[VectorStore]]] = {
    "qdrant": (open_qdrant, QdrantStore),
    "chroma": (ChromaStore, ChromaStore),
    "faiss": (FaissStore, FaissStore),
    "pgvector": (PgvectorStore, PgvectorStore),
}


def open_store(
    settings: StoreSettings | OtherSettings, access: Access, *, trust_listing: bool = False
) -> VectorStore:
    """Open the collection; to write, make it when it is missing, as Mem0 would.

    Otherwise nothing in it is changed: what a vendor's client would change is read from a copy. One that
    is looked at and is not there is an `AbsentStore`.

    Args:
        settings: Where it is.
        access: What for.
        trust_listing: Where only Mem0's own listing can be read, take it for all there is.

    Raises:
        MissingStoreError: There is none to read.
        ConfigError: It is locked by another process, damaged, or cannot be written by memxfer.
        UnavailableError, AuthError: A server does not answer, or refuses the key.
        ProviderNotInstalledError: The store's package is missing.
    """
    if settings.kind in _NATIVE:
        opening, kind = _NATIVE[settings.kind]
        try:
            return opening(settings, access)
        except MissingStoreError as error:
            if access is not Access.LOOK:
                raise
            return AbsentStore(error, max_batch=kind.max_batch)
    if access is not Access.READ:
        raise ConfigError(
            f"vector_store.provider {settings.kind}: mem0-oss writes to {', '.join(_NATIVE)} only; "
            "choose another target"
        )
    if isinstance(settings, SupabaseSettings):
        return SupabaseStore(settings, access)
    assert isinstance(settings, OtherSettings)  # noqa: S101 - tells the type checker what is left
    return ListedStore(settings, trust_listing=trust_listing)
