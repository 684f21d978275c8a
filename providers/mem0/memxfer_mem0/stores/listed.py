"""Every other vector store, through Mem0's own `list`: experimental.

Mem0 has no cursor, so all rows are read once and sorted by id; memory grows with the store. Several
of these stores cap or approximate the listing (a similarity query, 1,000 or 10,000 rows), so compare
the number of rows with what the vendor's console shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from memxfer.spi import ConfigError, ProviderError, UnavailableError
from memxfer_mem0.application import OtherSettings, install_line
from memxfer_mem0.sdk import import_mem0
from memxfer_mem0.stores.base import PROVIDER, Place, Row, VectorStore, slice_ids

__all__ = ["ListedStore"]

_ALL = 10**9
_ADDRESSES = frozenset(
    {
        "cluster_url",
        "database",
        "db_name",
        "endpoint",
        "host",
        "path",
        "port",
        "redis_url",
        "uri",
        "url",
        "valkey_url",
    }
)


class ListedStore(VectorStore):
    """A snapshot of what Mem0's `list` gives."""

    is_experimental: ClassVar[bool] = True

    def __init__(self, settings: OtherSettings) -> None:
        self._rows: dict[str, Row] | None = None
        self._ids: list[str] = []
        self._store = _open(settings)
        name = f"{settings.provider}/{settings.collection_name}"
        summary = f"{settings.provider}, collection {settings.collection_name!r}"
        self.place = Place(name, summary, _where(settings))
        self.warnings = (_experimental(settings.provider),)

    def _snapshot(self) -> dict[str, Row]:
        if self._rows is None:
            listed = _flat(self._store.list(filters=None, top_k=_ALL))
            self._rows = {str(point.id): Row(str(point.id), point.payload) for point in listed}
            self._ids = sorted(self._rows)
        return self._rows

    def page(self, cursor: str | None, limit: int, *, with_vectors: bool) -> tuple[list[Row], str | None]:
        """Return a page of the snapshot; see `VectorStore.page`. Vectors cannot be read this way."""
        rows = self._snapshot()
        chosen, following = slice_ids(self._ids, cursor, limit)
        return [rows[row_id] for row_id in chosen], following

    def get(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return those of `ids` that are there; see `VectorStore.get`."""
        found = {row_id: self._store.get(row_id) for row_id in ids}
        return {row_id: Row(row_id, point.payload) for row_id, point in found.items() if point is not None}

    def count(self) -> int:
        """Return the number of rows of the snapshot."""
        return len(self._snapshot())

    def classify(self, error: Exception, operation: str) -> ProviderError | None:
        """Return any error of the vendor's as one that may pass: its kinds are not known here."""
        if isinstance(error, ProviderError | ConfigError):
            return None
        return UnavailableError(
            f"the vector store failed ({type(error).__name__})", provider=PROVIDER, operation=operation
        )

    def close(self) -> None:
        """Close the vendor's client, where it can be closed."""
        close = getattr(getattr(self._store, "client", None), "close", None)
        if callable(close):
            close()


def _where(settings: OtherSettings) -> str:
    """Return which server or folder this is, by the fields that Mem0's stores have for it; never a login."""
    found = {
        name: _bare(str(value))
        for name, value in (settings.model_extra or {}).items()
        if name in _ADDRESSES and isinstance(value, str | int)
    }
    where = ", ".join(f"{name} {found[name]}" for name in sorted(found))
    return f"{where}#{settings.collection_name}" if where else ""


def _bare(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else address


def _experimental(provider: str) -> str:
    return (
        f"reading {provider} is experimental: Mem0's listing of it may be capped or approximate; compare "
        "the number of rows with the vendor's"
    )


def _open(settings: OtherSettings) -> Any:
    configs = import_mem0("mem0.vector_stores.configs")
    factory = import_mem0("mem0.utils.factory").VectorStoreFactory
    fields = settings.model_dump(exclude={"provider"})
    try:
        parsed = configs.VectorStoreConfig(provider=settings.provider, config=fields)
        return factory.create(settings.provider, parsed.config)
    except ImportError:
        raise ConfigError(
            f"vector_store: Mem0 needs a package for {settings.provider} that is not installed; "
            f"{install_line(settings.provider)}"
        ) from None
    except (ValidationError, ValueError, TypeError) as error:
        # Neither the text nor the cause: both may quote the app's keys.
        kind = type(error).__name__
        raise ConfigError(
            f"vector_store: Mem0 cannot open {settings.provider} with these settings ({kind})"
        ) from None


def _flat(listed: Any) -> Sequence[Any]:
    """Unwrap `(rows, next)`, `[[rows]]` and flat lists: Mem0's stores answer in all three ways."""
    if not listed:
        return []
    first = listed[0]
    return list(first) if isinstance(first, list | tuple) else list(listed)
