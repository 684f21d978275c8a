"""Every other vector store, through Mem0's own `list`: experimental.

Mem0 has no cursor, so all rows are read once and sorted by id; memory grows with the store. Several of
these stores cap or approximate the listing (a similarity query, 1,000 or 10,000 rows) and turn refusals
into an empty answer. So a listing is taken for the whole only where it has as many rows as the store
itself counts; where there is no exact count, only where the user says so, and never where it ends at the
store's limit or Mem0 logged a problem.

Opening makes nothing: Mem0's classes create a collection that is missing, which is stopped here. Those
that create or change more than that are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from memxfer.spi import AuthError, ConfigError, FatalError, PrivateCopy, ProviderError, UnavailableError
from memxfer_mem0.application import OtherSettings, install_line
from memxfer_mem0.sdk import import_mem0
from memxfer_mem0.stores.base import PROVIDER, Place, Row, VectorStore, slice_ids

__all__ = ["ListedStore"]

_ALL = 10**9
_MOST: Mapping[str, int] = {
    "azure_ai_search": 1_000,
    "elasticsearch": 10_000,
    "milvus": 16_384,
    "opensearch": 10_000,
    "pinecone": 10_000,
    "upstash_vector": 1_000,
    "vertex_ai_vector_search": 10_000,
}
"""Most rows of one answer, by the vendors' documentation: asked for more, they refuse or cut."""
_COUNTS: Mapping[str, Callable[[Any], int]] = {
    "elasticsearch": lambda store: int(store.client.count(index=store.collection_name)["count"]),
    "milvus": lambda store: int(
        store.client.query(store.collection_name, filter="", output_fields=["count(*)"])[0]["count(*)"]
    ),
    "opensearch": lambda store: int(store.client.count(index=store.collection_name)["count"]),
}
"""How to ask a store itself for its number of rows, by those clients that give it exactly."""
_REFUSED: Mapping[str, str] = {
    "baidu": "makes a database that is missing when it is opened",
    "cassandra": "makes a keyspace and a table that are missing when it is opened",
    "databricks": "makes a search endpoint that is missing when it is opened",
    "mongodb": "adds search indexes to the app's collection when it is opened",
    "oracledb": "adds a table and a vector index that are missing when it is opened",
    "redis": "makes the app's search index anew when it is opened",
    "s3_vectors": "makes a bucket that is missing when it is opened",
    "valkey": "makes a search index that is missing when it is opened",
    "weaviate": "leaves the field metadata out of its listing",
}
"""Stores that Mem0's class (mem0ai 2.2.1) cannot open without a change, or list without a loss."""
_LASTING = (AttributeError, LookupError, NotImplementedError, TypeError, ValueError)
"""An answer or a call of another shape than Mem0 expects: the next attempt ends the same."""
_PASSING = frozenset({408, 425, 429})
"""HTTP codes below 500 that ask to try again."""
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
    """A snapshot of what Mem0's `list` gives.

    Args:
        settings: The app's settings.
        trust_listing: Take it for all there is.

    Raises:
        ConfigError: The store is missing, cannot be opened without a change or listed without a loss, or
            does not count its rows and nobody said that its listing is to be trusted.
        AuthError, FatalError, UnavailableError: What the vendor's client said when it was opened.
    """

    is_experimental: ClassVar[bool] = True

    def __init__(self, settings: OtherSettings, *, trust_listing: bool) -> None:
        self._rows: dict[str, Row] | None = None
        self._ids: list[str] = []
        self._provider = settings.provider
        if settings.provider in _REFUSED:
            raise ConfigError(
                f"vector_store.provider: Mem0's class for {settings.provider} {_REFUSED[settings.provider]} "
                "(mem0ai 2.2.1), so it is not read; known to be read whole and unchanged: chroma, faiss, "
                "pgvector, qdrant, supabase"
            )
        if not trust_listing and settings.provider not in _COUNTS:
            raise ConfigError(_untrusted(settings.provider))
        name = f"{settings.provider}/{settings.collection_name}"
        summary = f"{settings.provider}, collection {settings.collection_name!r}"
        self.place = Place(name, summary, _where(settings))
        self._copy = _copy_of_file(settings)
        if self._copy is not None:
            self.copied = self._copy.size
            file = Path(str((settings.model_extra or {})["url"]))
            settings = settings.model_copy(update={"url": str(self._copy.path / file.name)})
        try:
            self._store = _open(settings)
            if self._copy is not None:  # milvus-lite 3 opens collections unloaded, and answers none of them
                self._store.client.load_collection(settings.collection_name)
        except Exception as error:
            self._release()
            known = self.classify(error, "connect")
            if known is None:
                raise
            raise known from None  # its text may quote the app's keys
        except BaseException:
            self._release()
            raise
        self.warnings = () if settings.provider in _COUNTS else (_experimental(settings.provider),)

    def _snapshot(self) -> dict[str, Row]:
        if self._rows is None:
            most = _MOST.get(self._provider, _ALL)
            with _listening() as problems:
                listed = _flat(self._store.list(filters=None, top_k=most))
            if problems:
                raise _incomplete(
                    f"Mem0 logged a problem while it listed {self._provider} ({problems[0]}): what it gave "
                    "is not the whole store"
                )
            self._check_whole(listed, most)
            self._rows = {str(point.id): Row(str(point.id), point.payload) for point in listed}
            self._ids = sorted(self._rows)
        return self._rows

    def _check_whole(self, listed: Sequence[Any], most: int) -> None:
        there = _COUNTS[self._provider](self._store) if self._provider in _COUNTS else None
        if there is None and len(listed) >= most:
            raise _incomplete(
                f"Mem0's listing of {self._provider} ends at {most:,} rows, and the store may hold more: "
                "it cannot be read whole this way"
            )
        distinct = len({str(point.id) for point in listed})
        if there is not None and distinct != there:
            raise _incomplete(
                f"Mem0's listing of {self._provider} has {distinct:,} of {there:,} rows: it cannot be read "
                "whole this way; if the app is writing to it, stop the app and try again"
            )

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
        """Return what an error of the vendor's means, by its HTTP code or Python's kind."""
        if isinstance(error, ProviderError | ConfigError):
            return None
        code = _http_code(error)
        reason = f"the vector store failed ({type(error).__name__}" + (f", HTTP {code})" if code else ")")
        kind: type[ProviderError] = UnavailableError
        if code in (401, 403):
            kind = AuthError
        elif isinstance(error, _LASTING) or (code is not None and 400 <= code < 500 and code not in _PASSING):
            kind = FatalError
        return kind(reason, provider=PROVIDER, operation=operation)

    def close(self) -> None:
        """Close the vendor's client, where it can be closed."""
        close = getattr(getattr(self._store, "client", None), "close", None)
        if callable(close):
            close()
        self._release()

    def _release(self) -> None:
        if self._copy is not None:
            self._copy.close()


def _incomplete(reason: str) -> FatalError:
    return FatalError(reason, provider=PROVIDER, operation="read", code="incomplete")


def _http_code(error: Exception) -> int | None:
    """Return the HTTP code that a vendor's error carries, under the names their clients have for it."""
    answer = getattr(error, "response", None)
    for holder, name in ((error, "status_code"), (error, "status"), (answer, "status_code")):
        code = getattr(holder, name, None)
        if isinstance(code, int) and 100 <= code < 600:
            return code
    return None


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


def _untrusted(provider: str) -> str:
    return (
        f"vector_store.provider: {provider} is read through Mem0's own listing, which may be cut off or "
        "approximate, and nothing tells whether it is whole. Compare the number of rows that a sample reads "
        "with the vendor's console; trust_listing = true on the connection takes the listing for the whole"
    )


def _copy_of_file(settings: OtherSettings) -> PrivateCopy | None:
    """Return a copy of the file of a Milvus Lite: opening it changes it, and makes it where it is missing."""
    url = (settings.model_extra or {}).get("url")
    if settings.provider != "milvus" or not isinstance(url, str) or "://" in url:
        return None
    file = Path(url)
    if not file.exists():
        raise ConfigError(f"vector_store.config.url: there is no Milvus Lite database {file}")
    return PrivateCopy(file.absolute().parent, what="the Milvus Lite database", names=[file.name])


def _open(settings: OtherSettings) -> Any:
    configs = import_mem0("mem0.vector_stores.configs")
    factory = import_mem0("mem0.utils.factory").VectorStoreFactory
    fields = settings.model_dump(exclude={"provider"})
    if settings.provider == "elasticsearch":
        fields["auto_create_index"] = False
    try:
        parsed = configs.VectorStoreConfig(provider=settings.provider, config=fields)
        module, _, name = factory.provider_to_class[settings.provider].rpartition(".")
        vendors = getattr(import_mem0(module), name)
        looking = type(name, (vendors,), {"create_col": _only_what_is_there(vendors, settings)})
        return looking(**parsed.config.model_dump())
    except ImportError:
        raise ConfigError(
            f"vector_store: Mem0 needs a package for {settings.provider} that is not installed; "
            f"{install_line(settings.provider)}"
        ) from None
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        # Neither the text nor the cause: both may quote the app's keys.
        kind = type(error).__name__
        wrong = _wrong_fields(error) if isinstance(error, ValidationError) else ""
        raise ConfigError(
            f"vector_store: Mem0 cannot open {settings.provider} with these settings ({wrong or kind})"
        ) from None


def _wrong_fields(error: ValidationError) -> str:
    """Return the fields that pydantic refuses, and its codes for why: neither holds a value."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return ", ".join(f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in found if one["loc"])


def _only_what_is_there(vendors: Any, settings: OtherSettings) -> Callable[..., Any]:
    """Return a `create_col` that takes a collection which is there, and makes none."""

    def create_col(self: Any, *args: Any, **options: Any) -> Any:
        there = [str(getattr(one, "name", one)) for one in self.list_cols() or ()]
        if settings.collection_name not in there:
            raise ConfigError(
                f"vector_store.config.collection_name: {settings.provider} has no collection "
                f"{settings.collection_name!r}; there are: {', '.join(sorted(there)) or 'none'}"
            )
        return vendors.create_col(self, *args, **options)

    return create_col


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Give the places in Mem0's code that log a problem meanwhile: its stores log refusals, and go on."""
    problems: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            problems.append(f"{record.name}, line {record.lineno}")  # never its text: it may quote a row

    ear, vendors = Ear(logging.WARNING), logging.getLogger("mem0.vector_stores")
    before = vendors.level, vendors.propagate
    vendors.addHandler(ear)
    vendors.setLevel(logging.WARNING)  # Mem0 is silenced elsewhere
    vendors.propagate = False
    try:
        yield problems
    finally:
        vendors.removeHandler(ear)
        vendors.setLevel(before[0])
        vendors.propagate = before[1]


def _flat(listed: Any) -> Sequence[Any]:
    """Unwrap `(rows, next)`, `[[rows]]` and flat lists: Mem0's stores answer in all three ways."""
    if not listed:
        return []
    first = listed[0]
    return list(first) if isinstance(first, list | tuple) else list(listed)
