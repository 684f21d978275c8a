"""`/api/v1/memories/*`: documents in, job status, memories out."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from memxfer.emulation import Answer, Call, Endpoint, RefusedError

from .documents import BATCH_DECODER, Document, DocumentError
from .extraction import text_of
from .forgetting import forget
from .ingest import EXISTS, conflict
from .store import Memory

if TYPE_CHECKING:
    from .emulator import SynapEmulator

_BASE = "/api/v1/memories"


class _Patch(msgspec.Struct):
    document: str | dict[str, Any]
    merge_strategy: Literal["replace", "append", "smart-merge"] = "smart-merge"


class _IdOnly(msgspec.Struct):
    document_id: str | None = None


_PATCH = msgspec.json.Decoder(_Patch)
_ID_ONLY = msgspec.json.Decoder(_IdOnly)


class MemoriesRoutes:
    """The routes that ingest documents and read, change and delete memories."""

    def __init__(self, emulator: SynapEmulator) -> None:
        self._emulator = emulator

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes; fixed names come before `{memory_id}`."""
        return [
            Endpoint("POST", f"{_BASE}/create", self._create),
            Endpoint("POST", f"{_BASE}/batch", self._batch),
            Endpoint("POST", f"{_BASE}/upload", self._upload),
            Endpoint("POST", f"{_BASE}/forget", lambda call: forget(self._emulator, call)),
            Endpoint("GET", f"{_BASE}/status/{{ingestion_id}}", self._status),
            Endpoint("GET", f"{_BASE}/{{memory_id}}", self._get),
            Endpoint("PATCH", f"{_BASE}/{{memory_id}}", self._patch),
            Endpoint("DELETE", f"{_BASE}/{{memory_id}}", self._delete),
        ]

    def _create(self, call: Call) -> Answer:
        self._emulator.ingest_calls["create_calls"] += 1
        return self._create_one(call, call.body)

    def _create_one(self, call: Call, raw: bytes) -> Answer:
        self._emulator.require_ready()
        ingest = self._emulator.ingest(call.identity)
        row = ingest.check(raw)
        if isinstance(row, DocumentError):
            raise RefusedError(row.status, row.message)
        [result] = ingest.store([row], [row.document_id])
        if result["error_message"] == EXISTS:
            raise RefusedError(409, conflict(result["document_id"]))
        return Answer(200, {name: value for name, value in result.items() if name != "error_message"})

    def _batch(self, call: Call) -> Answer:
        self._emulator.ingest_calls["batch_calls"] += 1
        self._emulator.require_ready()
        batch = call.decode(BATCH_DECODER)
        self._check_size(len(batch.documents))
        ingest = self._emulator.ingest(call.identity)
        rows = [ingest.check(raw) for raw in batch.documents]
        if batch.fail_fast:
            _refuse_first(rows)
        sent = [
            _ID_ONLY.decode(raw).document_id if isinstance(row, DocumentError) else row.document_id
            for row, raw in zip(rows, batch.documents, strict=True)
        ]
        results = ingest.store(rows, sent)
        failed = sum(row["status"] == "failed" for row in results)
        return Answer(
            200,
            {
                "batch_id": str(self._emulator.new_id()),
                "total": len(results),
                "succeeded": len(results) - failed,
                "failed": failed,
                "results": results,
            },
        )

    def _check_size(self, size: int) -> None:
        limit = self._emulator.settings.batch_documents
        if not 1 <= size <= limit:
            raise RefusedError(422, f"documents must have 1 to {limit} items, not {size}")

    def _upload(self, call: Call) -> Answer:
        """Store a file's bytes as text; no document_id and no date, as on the real route."""
        form = call.form()
        text = form.get("text") or form.get("file")
        if not text or not form.get("user_id"):
            raise RefusedError(422, "user_id and one of file or text are required")
        fields = {
            name: value.decode() for name, value in form.items() if name not in {"text", "file", "metadata"}
        }
        document = Document(
            document=text.decode("utf-8", "replace"),
            document_type=fields.get("document_type", "document"),
            user_id=fields["user_id"],
            customer_id=fields.get("customer_id"),
            mode=fields.get("mode", "long-range"),
            metadata=_object(form.get("metadata")),
        )
        return self._create_one(call, msgspec.json.encode(document))

    def _status(self, call: Call) -> Answer:
        ingestion_id = uuid_of(call.params, "ingestion_id")
        store = self._emulator.store
        seq = store.ids.seq_of_ingestion(ingestion_id)
        document = store.document(call.identity.instance_id, seq) if seq is not None else None
        if document is None:
            raise RefusedError(404, "Ingestion not found")
        return Answer(200, self._emulator.processing().job(document))

    def _get(self, call: Call) -> Answer:
        return Answer(200, self._emulator.processing().memory_json(self._memory(call)))

    def _patch(self, call: Call) -> Answer:
        memory = self._memory(call)
        patch = call.decode(_PATCH)
        content = _merged(memory.content, text_of(patch.document), patch.merge_strategy)
        if not content.strip():
            raise RefusedError(400, "document must not be empty")
        with self._emulator.store.state.transaction():
            self._emulator.store.change(memory, content, self._emulator.clock())
        return Answer(200, self._emulator.processing().memory_json(self._memory(call)))

    def _delete(self, call: Call) -> Answer:
        memory = self._memory(call)
        with self._emulator.store.state.transaction():
            self._emulator.store.delete(memory, self._emulator.clock())
        return Answer(200, {"memory_id": memory.memory_id, "deleted_at": self._emulator.now_iso()})

    def _memory(self, call: Call) -> Memory:
        memory_id = uuid_of(call.params, "memory_id")
        memory = self._emulator.processing().memory(call.identity.instance_id, memory_id)
        if memory is None:
            raise RefusedError(404, "Memory not found")
        return memory


def uuid_of(values: Mapping[str, Any], name: str) -> str:
    """Return a UUID in its usual spelling.

    Raises:
        RefusedError: 422, when it is none.
    """
    try:
        return str(uuid.UUID(str(values.get(name))))
    except ValueError as error:
        raise RefusedError(422, f"{name} must be a UUID") from error


def _refuse_first(rows: Sequence[object]) -> None:
    for index, row in enumerate(rows):
        if isinstance(row, DocumentError):
            raise RefusedError(400, {"message": row.message, "index": index})


def _merged(old: str, new: str, strategy: str) -> str:
    if strategy == "replace":
        return new
    if strategy == "smart-merge" and new in old:
        return old
    return f"{old} {new}".strip()


def _object(value: bytes | None) -> dict[str, Any] | None:
    if not value:
        return None
    try:
        return msgspec.json.decode(value, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise RefusedError(422, "metadata must be a JSON object") from error
