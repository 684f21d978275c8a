"""An app's Mem0, opened without Mem0: its vector store and its history database.

Until the first write a target is looked at only, as a source is, and what is missing of it is not made.

Everything here blocks and runs on the store's one thread. No LLM is ever built, and the embedder
only for writing.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from memxfer.spi import (
    AmbiguousError,
    BackendInfo,
    BatchRefusedError,
    ConfigError,
    Document,
    Outcome,
    ProviderError,
    RecordError,
    Role,
    WriteReceipt,
)
from memxfer_mem0.application import Application, PgvectorSettings, is_derived
from memxfer_mem0.embedding import AppEmbedder, Embedder, LocalEmbedder
from memxfer_mem0.history import Event, HistoryReader, HistoryWriter
from memxfer_mem0.mapping import Body
from memxfer_mem0.payload import KEY, is_typescript
from memxfer_mem0.stores import Access, Row, VectorStore, open_store
from memxfer_mem0.stores.base import PROVIDER, AbsentStore

__all__ = ["Mem0Client"]

_DIMS = 1536
"""What Mem0 takes where nothing says how long vectors are."""
_PYTHON, _TYPESCRIPT = "Mem0's Python SDK", "Mem0's TypeScript SDK"
_LOOKED_AT = 200
"""Rows that tell which SDK writes to a collection."""
_SPARE = 100 * 10**6
"""Bytes free on the disk of an embedded target below which a warning is given."""


class Mem0Client:
    """One open store.

    Args:
        application: The app's settings.
        role: What it is opened for; a target may be missing, and is made by the first write.
        local_embedder: Embed with the stand-in instead of the app's embedder.
        reuse_vectors: Keep vectors of the same model and size.
        upgrade: A write may bring the store into a form that an older app cannot open.
        trust_listing: Where only Mem0's own listing can be read, take it for all there is.

    Raises:
        ConfigError: A path, collection or setting is wrong, or the store is open in an app.
        UnavailableError, AuthError: A server does not answer, or refuses the key.
        ProviderNotInstalledError: A package is missing.
    """

    def __init__(
        self,
        application: Application,
        role: Role,
        *,
        local_embedder: bool,
        reuse_vectors: bool,
        upgrade: bool = False,
        trust_listing: bool = False,
    ) -> None:
        self._application = application
        self._reuse_vectors = reuse_vectors
        self._is_target = role is Role.TARGET
        self._may_upgrade = upgrade
        self._is_writing = False
        self._history: HistoryReader | None = None
        self._writer: HistoryWriter | None = None
        self._embedder: Embedder | None = None
        self._lacking: tuple[str, ...] = ()
        self.vectors: VectorStore = open_store(
            application.store,
            Access.LOOK if self._is_target else Access.READ,
            trust_listing=trust_listing,
        )
        try:
            if application.history is not None and application.history.is_file():
                self._history = HistoryReader(application.history)
            if self._is_target:
                self._embedder = self._open_embedder(local=local_embedder)
                self._check_entities(self._embedder.dims)
                self._lacking = self._history.check_writable() if self._history else ()
        except BaseException:
            self.close()
            raise

    def _open_embedder(self, *, local: bool) -> Embedder:
        settings = self._application
        dims = self.vectors.dims or getattr(settings.store, "embedding_model_dims", None)
        if local:
            return LocalEmbedder(dims or settings.embedder.dims or _DIMS)
        embedder = AppEmbedder(self._application.embedder)
        if dims is not None and embedder.dims not in (None, dims):
            raise ConfigError(
                f"{self._application.label}: the embedder gives vectors of {embedder.dims} numbers, the "
                f"collection holds vectors of {dims}"
            )
        return embedder

    def _check_entities(self, embedder: int | None) -> None:
        dims = self.vectors.dims or getattr(self._application.store, "embedding_model_dims", None) or embedder
        name, length = self.vectors.entities or ("", dims)
        if None not in (dims, length) and length != dims:
            raise ConfigError(
                f"collection {name!r} holds vectors of {length} numbers, the memories beside it have {dims}: "
                "Mem0 links entities there, and the app's next add would fail; remove that collection, which "
                "Mem0 makes anew, or choose another collection_name"
            )

    @property
    def knows_history(self) -> bool:
        """Whether earlier versions can be read, or written."""
        if self._is_target:
            return self._application.history is not None
        return self._history is not None and not self._history.is_empty

    @property
    def undecided_upgrade(self) -> str | None:
        """What a write would do to an older app, where nobody has agreed to it."""
        return None if self._may_upgrade else self.vectors.upgrade

    def info(self, role: Role) -> BackendInfo:
        """Return what there is, for people."""
        with self._speaking("connect"):
            rows = self.vectors.count()
            dialects = self._dialects()
        details = {"rows": str(rows), "dims": str(self.vectors.dims or "unknown")}
        if dialects:
            of_some = f" (first {_LOOKED_AT} rows)" if rows > _LOOKED_AT else ""
            details["dialect"] = " and ".join(dialects) + of_some
        warnings = [*self._application.warnings, *self.vectors.warnings]
        copied = sum(part.copied or 0 for part in (self.vectors, self._history) if part is not None)
        if copied:
            details["read_from"] = f"a private copy of {max(copied / 10**6, 0.1):,.1f} MB"
        if role is Role.SOURCE:
            details |= self._history_details()
            warnings += self._history_warnings(details)
            if others := [name for name in self.vectors.others if not is_derived(name)]:
                warnings.append(f"not read: other collections in the same folder: {', '.join(others)}")
            if rows == 0:
                warnings.append("the collection is empty; is it the one the app uses?")
        else:
            if self._history is not None and not self._history.is_empty:
                details["history_rows"] = str(self._history.count())  # tells of a damaged file too
            warnings += self._target_warnings()
            if _TYPESCRIPT in dialects:
                warnings.append(
                    "the collection has rows of Mem0's TypeScript SDK, and memxfer writes as the Python SDK: "
                    "check that the app finds the memories of one owner before you move all"
                )
        return BackendInfo(f"Mem0 on {self.vectors.place.summary}", tuple(warnings), details)

    def _dialects(self) -> list[str]:
        """Return which of Mem0's SDKs wrote the first rows."""
        rows, _ = self.vectors.page(None, _LOOKED_AT, with_vectors=False)
        payloads = [row.payload for row in rows if isinstance(row.payload, dict) and "data" in row.payload]
        return sorted({_TYPESCRIPT if is_typescript(payload) else _PYTHON for payload in payloads})

    def _target_warnings(self) -> list[str]:
        warnings = []
        if self.vectors.upgrade is not None:
            warnings.append(
                f"{self.vectors.upgrade}; upgrade = true on the connection agrees to that"
                if self.undecided_upgrade
                else self.vectors.upgrade
            )
        if self._lacking:
            warnings.append(
                f"the history table is one of an older Mem0, without {', '.join(self._lacking)}: versions "
                "are written without them"
            )
        if isinstance(self._embedder, LocalEmbedder):
            warnings.append(
                'embedder = "local" makes vectors without meaning: for rehearsals; embed again before use'
            )
        return [*warnings, *self._room_warnings()]

    def _room_warnings(self) -> list[str]:
        path = Path(self.vectors.place.path or "")
        there = next((folder for folder in (path, *path.parents) if folder.is_dir()), None)
        if not path.is_absolute() or there is None or isinstance(self._application.store, PgvectorSettings):
            return []
        free = shutil.disk_usage(there).free
        if free >= _SPARE:
            return []
        return [f"the disk of {path} has {free / 10**6:,.0f} MB free: a write may fill it"]

    def _history_details(self) -> dict[str, str]:
        if self._history is None or self._history.is_empty:
            return {"versions": "unknown"}
        return {"history_rows": str(self._history.count()), "deleted_memories": str(self._history.deleted())}

    def _history_warnings(self, details: dict[str, str]) -> list[str]:
        if "versions" in details and self._history is not None:
            file, names = self._application.history, ", ".join(self._history.unread) or "none"
            found = f"the history database {file} has none of Mem0's tables (it has: {names})"
            return [f"{found}: how many versions a memory had is unknown"]
        if "versions" in details:
            where = self._application.history or "kept in memory by the app"
            return [f"no history database ({where}): how many versions a memory had is unknown"]
        gone, unread = details["deleted_memories"], self._history.unread if self._history else ()
        told = []
        if gone != "0":
            told.append(
                f"{gone} deleted memories exist in the history only, as text without scope: they are not "
                "moved"
            )
        if unread:
            told.append(f"not read: tables of the history database that are not Mem0's: {', '.join(unread)}")
        return told

    # -- reading ------------------------------------------------------------------------------

    def page(
        self, cursor: str | None, limit: int, *, with_vectors: bool
    ) -> tuple[list[tuple[Row, list[Event] | None]], str | None]:
        """Return a page of rows in the order of ids, each with its history, and the next cursor."""
        with self._speaking("read"):
            rows, following = self.vectors.page(cursor, limit, with_vectors=with_vectors)
            events = self._events([row.id for row in rows])
        return [(row, None if events is None else events.get(row.id, [])) for row in rows], following

    def get(self, row_id: str) -> tuple[Row, list[Event] | None] | None:
        """Return one row with its history, or `None`."""
        with self._speaking("get"):
            row = self.vectors.get([row_id]).get(row_id)
            events = self._events([row_id])
        return None if row is None else (row, None if events is None else events.get(row_id, []))

    def events(self, memory_id: str) -> list[Event]:
        """Return everything the history says about one memory, oldest first."""
        with self._speaking("history"):
            return (self._events([memory_id]) or {}).get(memory_id, [])

    def _events(self, ids: Sequence[str]) -> dict[str, list[Event]] | None:
        if self._history is None or self._history.is_empty:
            return None
        return self._history.events(ids)

    def count(self) -> int:
        """Return the number of rows, those that are no memories included."""
        with self._speaking("count"):
            return self.vectors.count()

    # -- writing ------------------------------------------------------------------------------

    def find(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the ids of rows that carry these document keys."""
        with self._speaking("lookup"):
            return {key: tuple(sorted(ids)) for key, ids in self.vectors.find(keys).items()} if keys else {}

    def _open_for_writing(self) -> None:
        """Open the store itself in place of what was looked at; make what is missing of it."""
        if self._is_writing:
            return
        if self.undecided_upgrade is not None:
            raise ConfigError(f"{self.undecided_upgrade}; upgrade = true on the connection agrees to that")
        vectors = self._open_vectors()
        writer, history = None, self._history
        try:
            if self._application.history is not None:
                writer = HistoryWriter(self._application.history)
                history = HistoryReader(self._application.history, is_ours=True)
        except BaseException:
            _close(vectors, writer)
            raise
        looked = self.vectors, None if history is self._history else self._history
        self.vectors, self._history, self._writer, self._is_writing = vectors, history, writer, True
        _close(*looked)

    def _open_vectors(self) -> VectorStore:
        try:
            return open_store(self._application.store, Access.WRITE)
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ConfigError(
                f"{self.vectors.place.summary} cannot be opened for writing ({reason})"
            ) from error

    def write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        """Store documents; see `MemoryProvider.write`."""
        with self._speaking("connect"):
            self._open_for_writing()
        with self._speaking("write", may_have_happened=False):
            ids = dict.fromkeys(document.body.row.id for document in batch)
            present = self.vectors.get(list(ids))
        known = dict(present)
        verdicts = [self._judge(document, known) for document in batch]
        wanted = {
            document.body.row.id: document.body
            for document, receipt in zip(batch, verdicts, strict=True)
            if receipt.outcome in (Outcome.CREATED, Outcome.UPDATED)
        }
        rows = self._with_vectors([body.row for body in wanted.values()])
        self._add_history(batch, verdicts, known)
        if rows:
            try:
                with self._speaking("write"):
                    self.vectors.upsert(
                        rows, {row_id: row for row_id, row in present.items() if row_id in wanted}
                    )
            except AmbiguousError as error:
                return [_unknown(receipt, error) for receipt in verdicts]
            except BatchRefusedError:
                self._forget(verdicts)
                raise
        return verdicts

    def _judge(self, document: Document, known: dict[str, Row]) -> WriteReceipt:
        """Tell what becomes of a document, and remember it for the next of the same id in the batch."""
        row = document.body.row
        old = known.get(row.id)
        if old is None:
            known[row.id] = row
            return WriteReceipt(Outcome.CREATED, (row.id,))
        stored = old.payload if isinstance(old.payload, dict) else {}
        if self.vectors.same(stored, row.payload):
            return WriteReceipt(Outcome.PRESENT, (row.id,))
        if stored.get(KEY) == row.payload[KEY]:
            return WriteReceipt(Outcome.UPDATED, (row.id,))
        bare = {name: value for name, value in row.payload.items() if name != KEY}
        if KEY not in stored and self.vectors.same(stored, bare):
            return WriteReceipt(Outcome.PRESENT, (row.id,))
        return WriteReceipt(Outcome.REJECTED, (), error=_conflict())

    def _with_vectors(self, rows: Sequence[Row]) -> list[Row]:
        missing = [row for row in rows if not self._keeps(row)]
        if not missing:
            return list(rows)
        assert self._embedder is not None  # noqa: S101 - opened as a target
        made = self._embedder.vectors([row.payload["data"] for row in missing])
        fresh = {row.id: tuple(vector) for row, vector in zip(missing, made, strict=True)}
        return [replace(row, vector=fresh.get(row.id, row.vector)) for row in rows]

    def _keeps(self, row: Row) -> bool:
        if not self._reuse_vectors or row.vector is None:
            return False
        dims = self.vectors.dims or (self._embedder.dims if self._embedder else None)
        return len(row.vector) == dims

    def _add_history(
        self, batch: Sequence[Document], verdicts: Sequence[WriteReceipt], known: dict[str, Row]
    ) -> None:
        """Add the history first: a row of it without its memory does no harm, and a replay completes both."""
        if self._writer is None:
            return
        bodies: list[Body] = [
            document.body
            for document, receipt in zip(batch, verdicts, strict=True)
            if receipt.outcome is not Outcome.REJECTED and _is_ours(document, known)
        ]
        with self._speaking("write", may_have_happened=False):
            self._writer.add([row for body in bodies for row in body.history])

    def _forget(self, verdicts: Sequence[WriteReceipt]) -> None:
        """Take back the history of memories that were not created after all."""
        if self._writer is not None:
            created = [receipt for receipt in verdicts if receipt.outcome is Outcome.CREATED]
            self._writer.remove([target_id for receipt in created for target_id in receipt.target_ids])

    def delete(self, ids: Sequence[str]) -> int:
        """Remove rows and the history that memxfer wrote for them."""
        if isinstance(self.vectors, AbsentStore):
            return 0
        with self._speaking("connect"):
            self._open_for_writing()
        with self._speaking("delete"):
            removed = self.vectors.delete(ids)
            if self._writer is not None:
                self._writer.remove(ids)
        return removed

    # -- the rest -----------------------------------------------------------------------------

    @contextmanager
    def _speaking(self, operation: str, *, may_have_happened: bool = True) -> Any:
        """Turn vendors' errors into memxfer's."""
        try:
            yield
        except (ProviderError, ConfigError):
            raise
        except Exception as error:
            known = self.vectors.classify(error, operation if may_have_happened else "read")
            if known is None:
                raise
            raise known from error

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        _close(self._history, self._writer, self.vectors)
        self._history = self._writer = None


def _close(*parts: VectorStore | HistoryReader | HistoryWriter | None) -> None:
    for part in parts:
        if part is not None:
            part.close()


def _conflict() -> RecordError:
    return RecordError(
        "the store holds another memory under this id, which memxfer did not write; move into an empty "
        "collection, or delete that memory first",
        provider=PROVIDER,
        operation="write",
        code="conflict",
    )


def _is_ours(document: Document, known: dict[str, Row]) -> bool:
    """Tell whether the row is memxfer's own: one of the app's that says the same has its own history."""
    payload = known[document.body.row.id].payload
    return isinstance(payload, dict) and payload.get(KEY) == document.key


def _unknown(receipt: WriteReceipt, error: AmbiguousError) -> WriteReceipt:
    if receipt.outcome in (Outcome.CREATED, Outcome.UPDATED):
        return WriteReceipt(Outcome.UNKNOWN, (), error=error)
    return receipt
