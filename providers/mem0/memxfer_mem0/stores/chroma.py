"""Chroma: a folder, a server, or its cloud.

A listing with limit and offset is not in the order of ids (chromadb 1.5.9), so all ids are read and
sorted once and pages are fetched by id. Metadata is flat: a row that memxfer writes keeps nested
values as JSON text and names them in `memxfer_json`.

A client brings the database of a folder up to its own version when it opens it, and older clients than
that then fail on it (1.0 and 1.1 panic), so a folder that is only read is copied first.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from memxfer.spi import (
    AmbiguousError,
    AuthError,
    BatchRefusedError,
    ConfigError,
    FatalError,
    PrivateCopy,
    ProviderError,
    UnavailableError,
)
from memxfer_mem0.application import ChromaSettings
from memxfer_mem0.sdk import import_sdk
from memxfer_mem0.stores.base import (
    KEY,
    PROVIDER,
    Access,
    MissingStoreError,
    Place,
    Row,
    VectorStore,
    slice_ids,
)

__all__ = ["ChromaStore", "is_flat"]

_DATABASE: Final = "chroma.sqlite3"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UPGRADE: Final = (
    "the installed chromadb changes this folder's database into its own form when it writes; an app with the "
    "older chromadb that made it may not open it afterwards, until it is upgraded too"
)
_NESTED = "memxfer_json"
_MAX_INT = 2**63


class ChromaStore(VectorStore):
    """A collection of Chroma's."""

    def __init__(self, settings: ChromaSettings, access: Access) -> None:
        self._chromadb = import_sdk("chromadb")
        self._ids: list[str] | None = None
        self._copy: PrivateCopy | None = None
        self._client: Any = None
        self.place = _place(settings)
        try:
            self._connect(settings, access)
            self._collection = self._open(settings.collection_name, access)
            self.dims = _dims(self._collection)
        except BaseException as error:
            self.close()
            known = self._refused(error, settings)
            if known is None:
                raise
            raise known from error

    def _connect(self, settings: ChromaSettings, access: Access) -> None:
        path = settings.path if self.place.path is not None else None
        if path is None or access is Access.WRITE:
            self._client = _connect(self._chromadb, settings, path=settings.path)
            return
        if not (Path(path) / _DATABASE).is_file():
            raise MissingStoreError(f"vector_store.config.path: no Chroma store in {path}", self.place)
        self._copy = PrivateCopy(Path(path), what="the Chroma store", names=_files(Path(path)))
        self.copied = self._copy.size
        before = self._migrations(path)
        self._client = _connect(self._chromadb, settings, path=str(self._copy.path))
        self.upgrade = _UPGRADE if self._migrations(path) != before else None

    def _migrations(self, path: str) -> set[tuple[Any, ...]]:
        """Return which forms the copied database has been brought into."""
        assert self._copy is not None  # noqa: S101 - copied before
        try:
            with closing(sqlite3.connect(self._copy.path / _DATABASE)) as database:
                return set(database.execute("SELECT dir, version, hash FROM migrations"))
        except sqlite3.Error as error:
            raise ConfigError(
                f"{Path(path) / _DATABASE} cannot be read as a database of Chroma's ({error}): it is "
                "damaged, or another program's; restore it from a backup"
            ) from error

    def _open(self, name: str, access: Access) -> Any:
        if access is Access.WRITE:
            return self._client.get_or_create_collection(name=name, embedding_function=None)
        if access is Access.LOOK:
            self.entities = self._read_entities(f"{name}_entities")
        if self.place.path:
            there = (collection.name for collection in self._client.list_collections())
            self.others = tuple(sorted(set(there) - {name}))
        try:
            return self._client.get_collection(name=name, embedding_function=None)
        except self._chromadb.errors.NotFoundError as error:
            known = sorted(collection.name for collection in self._client.list_collections())
            raise MissingStoreError(
                f"vector_store.config.collection_name: no collection {name!r} in this Chroma store; "
                f"there are: {', '.join(known) or 'none'}",
                self.place,
                upgrade=self.upgrade,
                entities=self.entities,
            ) from error

    def _read_entities(self, name: str) -> tuple[str, int] | None:
        try:
            dims = _dims(self._client.get_collection(name=name, embedding_function=None))
        except self._chromadb.errors.NotFoundError:
            return None
        return None if dims is None else (name, dims)

    def _refused(self, error: BaseException, settings: ChromaSettings) -> Exception | None:
        """Return what an error at opening means; `None` for one that says it itself."""
        if isinstance(error, ConfigError):
            return None
        if isinstance(error, self._chromadb.errors.InvalidArgumentError):
            return ConfigError(
                f"vector_store.config: Chroma does not take these settings; is {settings.collection_name!r} "
                "a name it allows (3 to 512 letters, digits, dots, dashes)?"
            )
        if isinstance(error, OSError) and self.place.path is not None:
            return ConfigError(f"the Chroma store in {settings.path} cannot be read ({error.strerror})")
        # A panic of its Rust part is no Exception.
        if self._copy is not None and (isinstance(error, Exception) or _is_panic(error)):
            return ConfigError(
                f"Chroma cannot open a copy of the store in {settings.path} ({type(error).__name__}): it is "
                "damaged, or of a version of chromadb that the installed one cannot read; open it with the "
                "app's chromadb"
            )
        return self.classify(error, "connect") if isinstance(error, Exception) else None

    def page(self, cursor: str | None, limit: int, *, with_vectors: bool) -> tuple[list[Row], str | None]:
        """Return a page by id; see `VectorStore.page`."""
        if self._ids is None or cursor is None:
            self._ids = sorted(self._collection.get(include=[])["ids"])
        chosen, following = slice_ids(self._ids, cursor, limit)
        rows = self._rows(chosen, with_vectors=with_vectors)
        return [rows[row_id] for row_id in chosen if row_id in rows], following

    def get(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return those of `ids` that are there; see `VectorStore.get`."""
        return self._rows(ids, with_vectors=False)

    def _rows(self, ids: Sequence[str], *, with_vectors: bool) -> dict[str, Row]:
        if not ids:  # an empty list would mean every row
            return {}
        include = ["metadatas", "embeddings"] if with_vectors else ["metadatas"]
        found = self._collection.get(ids=list(ids), include=include)
        vectors = found["embeddings"] if with_vectors else [None] * len(found["ids"])
        return {
            row_id: Row(row_id, unflatten(payload), None if vector is None else tuple(map(float, vector)))
            for row_id, payload, vector in zip(found["ids"], found["metadatas"], vectors, strict=True)
        }

    def find(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return ids by document key; see `VectorStore.find`."""
        answer = self._collection.get(where={KEY: {"$in": list(keys)}}, include=["metadatas"])
        found: dict[str, list[str]] = {}
        for row_id, payload in zip(answer["ids"], answer["metadatas"], strict=True):
            found.setdefault(payload[KEY], []).append(row_id)
        return found

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._collection.count())

    def upsert(self, rows: Sequence[Row], present: Mapping[str, Row]) -> None:
        """Store rows; Chroma's `add` would keep an old row of the same id, its `upsert` that row's fields."""
        self._collection.upsert(
            ids=[row.id for row in rows],
            embeddings=[list(row.vector or ()) for row in rows],
            metadatas=[self._replacing(row, present.get(row.id)) for row in rows],
        )

    def _replacing(self, row: Row, old: Row | None) -> dict[str, Any]:
        flat = flatten(row.payload)
        stale = flatten(old.payload).keys() - flat.keys() if old and isinstance(old.payload, dict) else ()
        return {**dict.fromkeys(stale), **flat}

    def same(self, stored: Any, wanted: dict[str, Any]) -> bool:
        """Tell whether a stored payload is what `wanted` becomes when it is flattened and read again."""
        return bool(stored == unflatten(flatten(wanted)))

    def delete(self, ids: Sequence[str]) -> int:
        """Remove rows; return how many were there."""
        there = list(self.get(ids))
        if there:
            self._collection.delete(ids=there)
        return len(there)

    def classify(self, error: Exception, operation: str) -> ProviderError | None:
        """Return what an error of chromadb or its HTTP layer means."""
        name = type(error).__name__
        if name in ("AuthorizationError", "ChromaAuthError", "ForbiddenError"):
            return AuthError("Chroma refuses the key", provider=PROVIDER, operation=operation)
        if isinstance(error, ValueError | TypeError) or name == "InvalidArgumentError":
            if operation == "connect":
                return UnavailableError(
                    f"Chroma cannot be opened ({name})", provider=PROVIDER, operation=operation
                )
            reason = "Chroma refuses a row: its id, vector or metadata is not valid"
            return BatchRefusedError(reason, provider=PROVIDER, operation=operation, code="invalid")
        if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in _FAMILY:
            return None
        if self._copy is not None:  # nobody else has it: the same call fails again
            reason = f"Chroma cannot read a copy of the store ({name}): it is damaged"
            return FatalError(reason, provider=PROVIDER, operation=operation)
        kind = AmbiguousError if operation == "write" else UnavailableError
        return kind(f"Chroma failed ({name})", provider=PROVIDER, operation=operation)

    def close(self) -> None:
        """Let go of the client, and of the copy; the app's own client in this process stays open."""
        if self._client is not None:
            self._client.close()
        if self._copy is not None:
            self._copy.close()


_FAMILY = ("chromadb", "httpx", "sqlite3")


def _files(folder: Path) -> list[str]:
    """Return what in a folder is Chroma's: the database and a folder for each index, named by a UUID."""
    indexes = [entry.name for entry in folder.iterdir() if _UUID.fullmatch(entry.name)]
    return [_DATABASE, f"{_DATABASE}-wal", f"{_DATABASE}-journal", *indexes]


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"


def _dims(collection: Any) -> int | None:
    vectors = collection.get(limit=1, include=["embeddings"])["embeddings"]
    return len(vectors[0]) if vectors is not None and len(vectors) else None


def _connect(chromadb: Any, settings: ChromaSettings, *, path: str | None) -> Any:
    # The settings are those of mem0.vector_stores.chroma: Chroma allows one set per folder and process.
    if settings.is_cloud:
        key = settings.api_key.get_secret_value() if settings.api_key else None
        return chromadb.CloudClient(api_key=key, tenant=settings.tenant, database="mem0")
    options = chromadb.config.Settings(anonymized_telemetry=False)
    if settings.is_server:
        options.chroma_server_host = settings.host
        options.chroma_server_http_port = settings.port
        options.chroma_api_impl = "chromadb.api.fastapi.FastAPI"
    if path or not settings.is_server:
        options.persist_directory = path
    options.is_persistent = True
    return chromadb.Client(options)


def _place(settings: ChromaSettings) -> Place:
    name = settings.collection_name
    if settings.is_cloud:
        return Place(f"{settings.tenant}/{name}", f"Chroma Cloud, collection {name!r}")
    if settings.is_server:
        address = f"{settings.host}:{settings.port}"
        return Place(f"{address}/{name}", f"Chroma server {address}, collection {name!r}")
    return Place(name, f"Chroma, collection {name!r} in {settings.path}", settings.path)


def flatten(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Chroma takes: values it would refuse, drop or change become JSON text."""
    nested = sorted(key for key, value in payload.items() if not is_flat(key, value))
    if not nested:
        return dict(payload)
    flat = {key: value for key, value in payload.items() if key not in nested}
    packed = {key: payload[key] for key in nested if key.startswith("chroma:")}
    plain = {key: json.dumps(payload[key], ensure_ascii=False) for key in nested if key not in packed}
    # Its own prefix is refused as a key, so such fields travel inside the list of names.
    return {
        **flat,
        **plain,
        _NESTED: json.dumps({"keys": sorted(plain), "values": packed}, ensure_ascii=False),
    }


def unflatten(payload: Any) -> Any:
    """Return the payload that `flatten` was given; one without its mark comes back as it is."""
    if not isinstance(payload, dict) or _NESTED not in payload:
        return payload
    try:
        mark = json.loads(payload[_NESTED])
        restored = {key: json.loads(payload[key]) for key in mark["keys"] if key in payload}
        rest = {key: value for key, value in payload.items() if key != _NESTED}
        return {**rest, **restored, **mark["values"]}
    except (ValueError, KeyError, TypeError):
        return payload


def is_flat(key: str, value: Any) -> bool:
    """Tell whether Chroma holds a value as it is."""
    if key.startswith("chroma:"):
        return False
    if isinstance(value, bool | str):
        return True
    if isinstance(value, int):
        return -_MAX_INT <= value < _MAX_INT
    return isinstance(value, float) and math.isfinite(value)
