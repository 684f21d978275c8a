"""FAISS: an index and a docstore in two files, `<collection>.faiss` and `<collection>.json`.

Reading takes the docstore alone, so neither faiss nor mem0 is needed for it (vectors aside). Stores
of Mem0 before 2.0 keep the docstore as a pickle; it is read with an unpickler that knows dates and numbers
of numpy, which apps put into metadata, and no other classes.
Writing replaces both files whole, as every insert of Mem0 does; rows that are replaced leave no stray
vector behind. There is no lock: a running app would overwrite what is written here.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any, Final

from memxfer.spi import AmbiguousError, BatchRefusedError, ConfigError, ProviderError
from memxfer_mem0.application import FaissSettings
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

__all__ = ["FaissStore"]


_UPGRADE = (
    "the docstore is a pickle of an older Mem0 and becomes JSON when memxfer writes; an app with that Mem0 "
    "reads the pickle and would not see what is written, until it is upgraded too"
)


_UNLOCKED = "FAISS has no lock: stop the app, or it will overwrite what is written"


_KNOWN_CLASSES: Final = frozenset(
    {
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "numpy.dtype",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
    }
)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _KNOWN_CLASSES:
            raise _ForeignClassError(f"{module}.{name}"[:100])
        # numpy 2 moved the module that numpy 1 wrote into its pickles.
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


class _ForeignClassError(pickle.UnpicklingError):
    """A pickle names a class; what it does when it is made is not known."""


def _plain(value: Any) -> Any:
    """Return what a pickle held, as JSON would have held it: dates as text, numbers of numpy as numbers."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, date | time):  # datetimes too
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.item() if type(value).__module__ == "numpy" else value


class FaissStore(VectorStore):
    """One collection's two files, held in memory."""

    max_batch = 1024

    def __init__(self, settings: FaissSettings, access: Access) -> None:
        folder = Path(settings.path or "")
        self._settings = settings
        self._index_file = folder / f"{settings.collection_name}.faiss"
        self._docs_file = folder / f"{settings.collection_name}.json"
        self._sorted: list[str] | None = None
        self._index: Any = None
        self._has_gaps = False
        self.dims = settings.embedding_model_dims
        self.place = Place(
            settings.collection_name,
            f"FAISS, collection {settings.collection_name!r} in {folder}",
            str(folder),
        )
        self._docs, self._order = self._load(folder, access)
        there = {file.stem for file in folder.glob("*.faiss")}
        self.others = tuple(sorted(there - {settings.collection_name}))
        if access is Access.READ:
            return
        self.warnings = (_UNLOCKED,)
        self._check_dims()
        self.entities = self._read_entities()
        if not self._docs_file.is_file():
            self.upgrade = _UPGRADE if self._docs_file.with_suffix(".pkl").is_file() else None
            if access is Access.WRITE:
                self._save()

    def _load(self, folder: Path, access: Access) -> tuple[dict[str, Any], list[str]]:
        old_file = self._docs_file.with_suffix(".pkl")
        try:
            if self._docs_file.is_file():
                content = json.loads(self._docs_file.read_text(encoding="utf-8"))
                docs, positions = content["docstore"], content["index_to_id"]
            elif old_file.is_file():
                with old_file.open("rb") as stream:
                    docs, positions = _PlainUnpickler(stream).load()
                docs = _plain(docs)
            elif self._index_file.is_file():
                raise ConfigError(
                    f"{self._index_file} has no docstore beside it ({self._docs_file.name} or "
                    f"{old_file.name}), and the texts are in that; restore it from a backup"
                )
            elif access is Access.WRITE:
                folder.mkdir(parents=True, exist_ok=True)
                return {}, []
            else:
                name = self._settings.collection_name
                raise MissingStoreError(_missing(folder, name), self.place, entities=self._read_entities())
            taken = sorted(positions, key=int)
            self._has_gaps = [int(at) for at in taken] != list(range(len(taken)))
            return docs, [positions[at] for at in taken]
        except (
            OSError,
            AttributeError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            pickle.UnpicklingError,
        ) as error:
            what = (
                f"it holds a {error}, which is no plain data"
                if isinstance(error, _ForeignClassError)
                else (f"it is damaged or cut short ({type(error).__name__})")
            )
            raise ConfigError(
                f"the docstore of {self._settings.collection_name!r} in {folder} cannot be read: {what}; "
                "restore it from a backup, or write it anew with the app"
            ) from error

    def _check_dims(self) -> None:
        index = self._open_index()
        if index.d != self.dims:
            raise ConfigError(
                f"collection {self._settings.collection_name!r} holds vectors of {index.d} numbers, the "
                f"app's config says embedding_model_dims: {self.dims}"
            )
        if not self._is_aligned(index):
            raise ConfigError(
                f"collection {self._settings.collection_name!r} holds {index.ntotal} vectors for "
                f"{len(self._order)} positions: Mem0 before 2.0 mixes them up when it updates or deletes, "
                "and nothing can be added without knowing which is whose; choose another collection, or let "
                "the app add its memories anew"
            )

    def _is_aligned(self, index: Any) -> bool:
        """Tell whether the docstore says whose each vector is."""
        return not self._has_gaps and len(self._order) == index.ntotal

    def _read_entities(self) -> tuple[str, int] | None:
        name = f"{self._settings.collection_name}_entities"
        file = self._index_file.with_name(f"{name}.faiss")
        return (name, self._read_index(file).d) if file.is_file() else None

    def _read_index(self, file: Path) -> Any:
        try:
            return import_sdk("faiss").read_index(str(file))
        except RuntimeError as error:
            raise ConfigError(
                f"{file} cannot be read as an index of FAISS: it is damaged; restore it from a backup"
            ) from error

    def _open_index(self) -> Any:
        if self._index is None:
            faiss = import_sdk("faiss")
            if self._index_file.is_file():
                self._index = self._read_index(self._index_file)
            else:
                self._index = self._new_index(faiss)
        return self._index

    def _new_index(self, faiss: Any) -> Any:
        is_product = self._settings.distance_strategy.lower() in ("inner_product", "cosine")
        return (faiss.IndexFlatIP if is_product else faiss.IndexFlatL2)(self.dims)

    def page(self, cursor: str | None, limit: int, *, with_vectors: bool) -> tuple[list[Row], str | None]:
        """Return a page by id; see `VectorStore.page`."""
        if self._sorted is None:
            self._sorted = sorted(self._docs)
        chosen, following = slice_ids(self._sorted, cursor, limit)
        vectors = self._vectors(chosen) if with_vectors else {}
        return [Row(row_id, self._docs[row_id], vectors.get(row_id)) for row_id in chosen], following

    def _vectors(self, ids: Sequence[str]) -> dict[str, tuple[float, ...]]:
        index, wanted = self._open_index(), set(ids)
        if not self._is_aligned(index):
            return {}
        # The last position of an id counts: Mem0 leaves the older vectors of an id in the index.
        last = {row_id: at for at, row_id in enumerate(self._order) if row_id in wanted and at < index.ntotal}
        return {row_id: tuple(index.reconstruct(at).tolist()) for row_id, at in last.items()}

    def get(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return those of `ids` that are there; see `VectorStore.get`."""
        return {row_id: Row(row_id, self._docs[row_id]) for row_id in ids if row_id in self._docs}

    def find(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return ids by document key; see `VectorStore.find`."""
        wanted, found = set(keys), dict[str, list[str]]()
        for row_id, payload in self._docs.items():
            key = payload.get(KEY) if isinstance(payload, dict) else None
            if key in wanted:
                found.setdefault(key, []).append(row_id)
        return found

    def count(self) -> int:
        """Return the number of rows."""
        return len(self._docs)

    def upsert(self, rows: Sequence[Row], present: Mapping[str, Row]) -> None:
        """Store rows and write both files."""
        self._drop(present)
        numpy, faiss = import_sdk_array(), import_sdk("faiss")
        vectors = numpy.array([row.vector for row in rows], dtype=numpy.float32)
        if self._normalises():
            faiss.normalize_L2(vectors)
        self._open_index().add(vectors)
        for row in rows:
            self._docs[row.id] = row.payload
            self._order.append(row.id)
        self._save()

    def _normalises(self) -> bool:
        strategy = self._settings.distance_strategy.lower()
        return strategy == "cosine" or (self._settings.normalize_L2 and strategy == "euclidean")

    def _drop(self, ids: Mapping[str, Row] | set[str]) -> None:
        index = self._open_index()
        keep = [at for at, row_id in enumerate(self._order) if row_id not in ids and at < index.ntotal]
        if len(keep) == len(self._order):
            return
        vectors = index.reconstruct_n(0, index.ntotal)[keep]
        index.reset()
        if keep:
            index.add(vectors)
        self._order = [self._order[at] for at in keep]

    def delete(self, ids: Sequence[str]) -> int:
        """Remove rows and their vectors, and write both files."""
        there = {row_id for row_id in ids if row_id in self._docs}
        if there:
            self._drop(there)
            for row_id in there:
                del self._docs[row_id]
            self._save()
        return len(there)

    def _save(self) -> None:
        self._sorted = None
        content = {"docstore": self._docs, "index_to_id": {str(n): i for n, i in enumerate(self._order)}}
        new_docs, new_index = (
            file.with_name(file.name + ".new") for file in (self._docs_file, self._index_file)
        )
        new_docs.write_text(json.dumps(content, indent=2), encoding="utf-8")
        import_sdk("faiss").write_index(self._open_index(), str(new_index))
        new_index.replace(self._index_file)
        new_docs.replace(self._docs_file)

    def classify(self, error: Exception, operation: str) -> ProviderError | None:
        """Return what an error of the file system, faiss or numpy means."""
        if isinstance(error, OSError | RuntimeError):
            reason = f"the FAISS files could not be read or written ({type(error).__name__})"
            return AmbiguousError(reason, provider=PROVIDER, operation=operation)
        if isinstance(error, ValueError | AssertionError | TypeError):
            reason = "FAISS refuses a row: its vector or payload is not valid"
            return BatchRefusedError(reason, provider=PROVIDER, operation=operation, code="invalid")
        return None

    def close(self) -> None:
        """Forget the files."""
        self._index = None


def import_sdk_array() -> Any:
    """Return numpy, which faiss brings along."""
    import numpy

    return numpy


def _missing(folder: Path, collection: str) -> str:
    known = sorted(file.stem for file in folder.glob("*.faiss"))
    return (
        f"vector_store.config: no FAISS collection {collection!r} in {folder}; "
        f"there are: {', '.join(known) or 'none'}"
    )
