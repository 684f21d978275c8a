"""Qdrant, embedded and server.

Rows are listed by id with a keyset cursor. A server scrolls. The embedded engine sorts all ids for
every scroll (qdrant-client 1.20: 4,200 rows a second at pages of 100, of 20,000 rows), so there the
ids are sorted once and pages are fetched by id; the folder, or the copy of it, is ours alone.
"""

from __future__ import annotations

import sqlite3
import warnings
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from memxfer.spi import (
    AmbiguousError,
    AuthError,
    BatchRefusedError,
    ConfigError,
    FatalError,
    PrivateCopy,
    ProviderError,
    RateLimitedError,
    UnavailableError,
)
from memxfer_mem0.application import QdrantSettings
from memxfer_mem0.sdk import import_mem0, import_sdk
from memxfer_mem0.stores.base import (
    KEY,
    PROVIDER,
    Access,
    MissingStoreError,
    Place,
    Row,
    VectorStore,
    make_cursor,
    may_pass,
    parse_cursor,
)
from memxfer_mem0.stores.folders import (
    FolderContents,
    close_folder,
    copy_collection,
    not_in_use,
    open_copy,
    open_folder,
    read_folder,
)

__all__ = ["QdrantStore", "open_qdrant"]

_LARGE = 20_000
"""Points above which Qdrant itself advises against its embedded engine."""
_UPGRADE = (
    "making a collection rewrites the folder's meta.json in the form of the installed qdrant-client; an app "
    "with the older one that made this folder cannot open it afterwards, until it is upgraded too"
)


def open_qdrant(settings: QdrantSettings, access: Access) -> QdrantStore:
    """Open a collection; see `memxfer_mem0.stores.open_store`."""
    kind = ServerQdrantStore if settings.is_server else EmbeddedQdrantStore
    return kind(settings, access)


class QdrantStore(VectorStore):
    """What both kinds have in common."""

    def __init__(self, client: Any, settings: QdrantSettings, access: Access) -> None:
        self._client = client
        self._name = settings.collection_name
        self._models = import_sdk("qdrant_client.models")
        self._mem0 = self._open_for_writing(settings) if access is Access.WRITE else None
        self.dims = self._read_dims(self._name)
        if access is not Access.READ and self.dims not in (None, settings.embedding_model_dims):
            raise ConfigError(
                f"collection {self._name!r} holds vectors of {self.dims} numbers, the app's config says "
                f"embedding_model_dims: {settings.embedding_model_dims}"
            )

    def _open_for_writing(self, settings: QdrantSettings) -> Any:
        # Mem0's own class creates the collection as the app would, and adds keyword vectors if it can.
        kind = self._mem0_class(import_mem0("mem0.vector_stores.qdrant").Qdrant)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the embedded engine has no payload indexes
            return kind(
                collection_name=self._name,
                embedding_model_dims=settings.embedding_model_dims,
                client=self._client,
                on_disk=True,
            )

    def _mem0_class(self, kind: Any) -> Any:
        return kind

    def _read_dims(self, name: str) -> int | None:
        vectors = self._client.get_collection(name).config.params.vectors
        if isinstance(vectors, dict):
            vectors = vectors.get("")
        return getattr(vectors, "size", None)

    def get(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return those of `ids` that are there; see `VectorStore.get`."""
        wanted = [native for native in map(_native_id, ids) if native is not None]
        points = self._client.retrieve(self._name, ids=wanted, with_payload=True) if wanted else []
        return {row.id: row for row in map(_row, points)}

    def find(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return ids by document key; see `VectorStore.find`."""
        models = self._models
        condition = models.FieldCondition(key=KEY, match=models.MatchAny(any=list(keys)))
        found: dict[str, list[str]] = {}
        offset = None
        while True:
            points, offset = self._client.scroll(
                self._name,
                scroll_filter=models.Filter(must=[condition]),
                limit=1000,
                offset=offset,
                with_payload=[KEY],
            )
            for point in points:
                found.setdefault(point.payload[KEY], []).append(str(point.id))
            if offset is None:
                return found

    def count(self) -> int:
        """Return the exact number of points."""
        return int(self._client.count(self._name, exact=True).count)

    def upsert(self, rows: Sequence[Row], present: Mapping[str, Row]) -> None:
        """Store rows in one request; Qdrant replaces points of the same id."""
        del present
        assert self._mem0 is not None  # noqa: S101 - opened to write
        self._mem0.insert(
            vectors=[list(row.vector or ()) for row in rows],
            payloads=[row.payload for row in rows],
            ids=[_native_id(row.id) for row in rows],
        )

    def delete(self, ids: Sequence[str]) -> int:
        """Remove points; return how many were there."""
        there = [_native_id(found) for found in self.get(ids)]
        if there:
            self._client.delete(self._name, points_selector=self._models.PointIdsList(points=there))
        return len(there)

    def classify(self, error: Exception, operation: str) -> ProviderError | None:
        """Return what an error of qdrant-client, its HTTP layer or its SQLite means."""
        exceptions = import_sdk("qdrant_client.http.exceptions")
        if isinstance(error, exceptions.UnexpectedResponse):
            return _by_status(error, operation)
        if isinstance(error, exceptions.ResponseHandlingException):
            return _by_source(error, operation)
        if isinstance(error, sqlite3.Error | OSError):
            return _by_storage(error, operation)
        if isinstance(error, ValueError):
            reason = "Qdrant refuses a point: its id, vector or payload is not valid"
            return BatchRefusedError(reason, provider=PROVIDER, operation=operation, code="invalid")
        return None


class EmbeddedQdrantStore(QdrantStore):
    """A folder of the app's: read from a copy, and written so that the app's own client can open it."""

    def __init__(self, settings: QdrantSettings, access: Access) -> None:
        self._path, name = Path(settings.path or ""), settings.collection_name
        self.place = Place(name, f"embedded Qdrant, collection {name!r} in {self._path}", str(self._path))
        self._ids: list[tuple[str, int]] | None = None
        self._copy: PrivateCopy | None = None
        client = open_folder(self._path) if access is Access.WRITE else self._open_copy()
        self._is_open = True
        self._client = client
        try:
            super().__init__(client, settings, access)
        except BaseException:
            self.close()
            raise
        if self.count() > _LARGE:
            self.warnings = (f"Qdrant advises a server above {_LARGE:,} points; reading will take memory",)

    def _open_copy(self) -> Any:
        with not_in_use(self._path):
            contents = read_folder(self._path)
            if contents is not None:
                entities = f"{self.place.namespace}_entities"
                dims = contents.dims(entities)
                self.entities = (entities, dims) if dims else None
            if contents is None or self.place.namespace not in contents.names:
                raise self._missing(contents)
            copy = copy_collection(self._path, contents, self.place.namespace)
        try:
            client = open_copy(copy, self._path)
        except BaseException:
            copy.close()
            raise
        self._copy, self.copied = copy, copy.size
        real = contents.aliases.get(self.place.namespace, self.place.namespace)
        self.others = tuple(sorted(contents.collections.keys() - {real}))
        return client

    def _missing(self, contents: FolderContents | None) -> MissingStoreError:
        if contents is None:
            return MissingStoreError(
                f"vector_store.config.path: no embedded Qdrant store in {self._path}; give the folder the "
                "app uses (a relative path counts from the config file, then from the working folder)",
                self.place,
            )
        return MissingStoreError(
            f"vector_store.config.collection_name: no collection {self.place.namespace!r} in {self._path}; "
            f"there are: {', '.join(contents.names) or 'none'}",
            self.place,
            upgrade=_UPGRADE if contents.is_older else None,
            entities=self.entities,
        )

    def _mem0_class(self, kind: Any) -> Any:
        class Embedded(kind):  # type: ignore[misc]  # Mem0 has no types
            def _create_filter_indexes(self) -> None:
                """Make none, as Mem0 does in its own folder: asking rewrites meta.json."""

        return Embedded

    def page(self, cursor: str | None, limit: int, *, with_vectors: bool) -> tuple[list[Row], str | None]:
        """Return a page by id; see `VectorStore.page`."""
        ids = self._sorted_ids()
        start = 0 if cursor is None else bisect_right(ids, _order(parse_cursor(cursor)))
        chosen = [text or number for text, number in ids[start : start + limit]]
        points = self._client.retrieve(self._name, ids=chosen, with_payload=True, with_vectors=with_vectors)
        more = start + limit < len(ids)
        return [_row(point) for point in points], make_cursor(chosen[-1]) if more else None

    def _sorted_ids(self) -> list[tuple[str, int]]:
        if self._ids is None:
            points, _ = self._client.scroll(self._name, limit=max(1, self.count()), with_payload=False)
            self._ids = [_order(point.id) for point in points]
        return self._ids

    def close(self) -> None:
        """Give the folder back, so that the app can open it again, or remove the copy."""
        if not self._is_open:
            return
        self._is_open = False
        if self._copy is None:
            close_folder(self._path)
            return
        self._client.close()
        self._copy.close()


class ServerQdrantStore(QdrantStore):
    """A collection on a Qdrant server."""

    def __init__(self, settings: QdrantSettings, access: Access) -> None:
        qdrant = import_sdk("qdrant_client")
        client = qdrant.QdrantClient(**_server_arguments(settings), check_compatibility=False)
        self._client, name = client, settings.collection_name
        address = settings.url or f"{settings.host}:{settings.port}"
        bare = address.partition("://")[2] or address
        summary = f"Qdrant server {address}, collection {name!r}"
        self.place = Place(f"{bare.rstrip('/')}/{name}", summary)
        try:
            self._check(name, access)
            super().__init__(client, settings, access)
            if access is Access.WRITE:
                client.create_payload_index(self._name, field_name=KEY, field_schema="keyword")
        except ConfigError:
            client.close()
            raise
        except Exception as error:
            client.close()
            known = self.classify(error, "connect")
            if known is None:
                raise
            raise known from error

    def _check(self, name: str, access: Access) -> None:
        entities = f"{name}_entities"
        if access is Access.LOOK and self._client.collection_exists(entities):
            dims = self._read_dims(entities)
            self.entities = (entities, dims) if dims else None
        if access is not Access.WRITE and not self._client.collection_exists(name):
            raise MissingStoreError(
                f"vector_store.config.collection_name: no collection {name!r} on the Qdrant server",
                self.place,
                entities=self.entities,
            )

    def page(self, cursor: str | None, limit: int, *, with_vectors: bool) -> tuple[list[Row], str | None]:
        """Return a page of a scroll; see `VectorStore.page`."""
        after = None if cursor is None else parse_cursor(cursor)
        # The server begins at the offset itself; the row behind it was on the page before.
        points, _ = self._client.scroll(
            self._name, offset=after, limit=limit + 2, with_payload=True, with_vectors=with_vectors
        )
        if after is not None and points and points[0].id == after:
            points = points[1:]
        chosen = points[:limit]
        more = len(points) > limit
        return [_row(point) for point in chosen], make_cursor(chosen[-1].id) if more else None

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _server_arguments(settings: QdrantSettings) -> dict[str, Any]:
    given: dict[str, Any] = {
        "api_key": settings.api_key.get_secret_value() if settings.api_key else None,
        "url": settings.url,
        "https": settings.https,
    }
    if settings.host and settings.port:
        given |= {"host": settings.host, "port": settings.port}
    return {name: value for name, value in given.items() if value is not None}


def _order(point_id: str | int) -> tuple[str, int]:
    return ("", point_id) if isinstance(point_id, int) else (point_id, 0)


def _native_id(text: str) -> str | int | None:
    """Return the id in Qdrant's terms: a number or a UUID; `None` for what can be neither."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _row(point: Any) -> Row:
    vector = point.vector
    if isinstance(vector, dict):
        vector = vector.get("")
    numbers = tuple(vector) if isinstance(vector, list) and vector and isinstance(vector[0], float) else None
    return Row(str(point.id), point.payload, numbers)


def _by_status(error: Any, operation: str) -> ProviderError:
    status = error.status_code
    kind: type[ProviderError]
    if status in (401, 403):
        kind, reason = AuthError, "the Qdrant server refuses the key"
    elif status == 429:
        kind, reason = RateLimitedError, "the Qdrant server asks to slow down"
    elif status in (400, 422):
        kind, reason = BatchRefusedError, "the Qdrant server refuses the request"
    elif operation == "write":
        kind, reason = AmbiguousError, "the Qdrant server failed during a write"
    else:
        kind, reason = UnavailableError, "the Qdrant server failed"
    return kind(f"{reason} (status {status})", provider=PROVIDER, operation=operation, status=status)


def _by_storage(error: sqlite3.Error | OSError, operation: str) -> ProviderError:
    detail = str(error) if isinstance(error, sqlite3.Error) else error.strerror or type(error).__name__
    kind: type[ProviderError] = AmbiguousError
    if operation != "write":
        passes = not isinstance(error, sqlite3.Error) or may_pass(error)
        kind = UnavailableError if passes else FatalError
    return kind(f"embedded Qdrant failed in its storage ({detail})", provider=PROVIDER, operation=operation)


def _by_source(error: Any, operation: str) -> ProviderError:
    source = type(getattr(error, "source", error)).__name__
    if operation != "write" or source == "ConnectError":
        return UnavailableError(
            f"the Qdrant server does not answer ({source})", provider=PROVIDER, operation=operation
        )
    return AmbiguousError(
        f"the answer of the Qdrant server was lost ({source})", provider=PROVIDER, operation=operation
    )
