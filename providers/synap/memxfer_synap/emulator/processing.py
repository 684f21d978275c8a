"""The pipeline's clock: where a document stands is a function of when it was accepted, nothing runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .ingest import iso
from .settings import SynapSettings
from .store import Memory, StoredDocument, SynapStore

_ERRORS = {
    "failed": "Extraction failed",
    "partial_success": "Some parts of the document could not be processed",
}


@dataclass(frozen=True)
class Processing:
    """The state of the pipeline at one moment, under the settings of that moment."""

    store: SynapStore
    settings: SynapSettings
    now: float

    def done_at(self, document: StoredDocument) -> float:
        """Return when a document's processing ends: its delay, and a share of the jitter that is its own."""
        share = (document.seq * 2654435761 % 2**32) / 2**32
        settings = self.settings
        wait = settings.processing_delay_seconds + share * settings.processing_jitter_seconds
        return document.accepted_at + wait

    def status(self, document: StoredDocument) -> str:
        """Return queued (for a quarter of the time), processing, or the outcome."""
        done = self.done_at(document)
        if self.now >= done:
            return document.outcome
        return "processing" if self.now >= self._started_at(document) else "queued"

    def is_done(self, document: StoredDocument) -> bool:
        """Say whether a document's memories have appeared."""
        return self.now >= self.done_at(document)

    def memory(self, instance: str, memory_id: str) -> Memory | None:
        """Return a memory that has appeared and is not deleted."""
        memory = self.store.memory(instance, memory_id)
        return memory if memory and self.is_done(memory.source) else None

    def job(self, document: StoredDocument) -> dict[str, Any]:
        """Return the answer of a status request.

        A replaced or deleted document keeps its status and ids; asking for the memories gives 404.
        """
        status = self.status(document)
        is_done = self.is_done(document)
        return {
            "ingestion_id": self.store.ids.ingestion(document.seq),
            "document_id": document.document_id,
            "status": status,
            "queued_at": iso(document.accepted_at),
            "started_at": None if status == "queued" else iso(self._started_at(document)),
            "completed_at": iso(self.done_at(document)) if is_done else None,
            "memories_created": document.memories if is_done else 0,
            "memory_ids": self.store.memory_ids(document) if is_done else [],
            "error_message": _ERRORS.get(status),
        }

    def memory_json(self, memory: Memory) -> dict[str, Any]:
        """Return a memory as `memories.get` does: no metadata, no dates of the source."""
        source = memory.source
        internal = self.settings.source_document_id == "internal"
        return {
            "memory_id": memory.memory_id,
            "memory_type": memory.memory_type,
            "content": memory.content,
            "confidence": 0.9,
            "category": None,
            "subcategory": None,
            "created_at": iso(self.done_at(source)),
            "updated_at": iso(memory.updated_at) if memory.updated_at else None,
            "source_document_id": self.store.ids.ingestion(source.seq) if internal else source.document_id,
        }

    def _started_at(self, document: StoredDocument) -> float:
        return document.accepted_at + (self.done_at(document) - document.accepted_at) / 4
