"""Taking documents in: validation row by row, duplicate policies, one transaction per batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from memxfer.emulation import RefusedError

from .documents import DOCUMENT_DECODER, Accepted, DocumentError, accept
from .settings import Caller, SynapSettings
from .store import SynapStore

EXISTS = "document_id already exists"
_Row = Accepted | DocumentError


class Ingest:
    """One request's documents on their way into the store.

    Rows are taken in order, as if each came in its own request: the second of two equal ids in a batch
    meets the first one.

    Args:
        store: Where they go.
        settings: Limits and the duplicate policy.
        caller: Whose they are.
        now: When the request came, epoch seconds.
    """

    def __init__(self, store: SynapStore, settings: SynapSettings, caller: Caller, now: float) -> None:
        self._store = store
        self._settings = settings
        self._caller = caller
        self._now = now
        self._queued_at = iso(now)
        self._next = store.last_seq
        self._known: dict[str, list[int]] = {}
        self._new: list[tuple[int, str, Accepted]] = []
        self._replaced: list[int] = []
        self._repeats: list[str] = []

    def check(self, raw: bytes | msgspec.Raw) -> _Row:
        """Validate one document; an invalid one is returned as its error."""
        try:
            document = DOCUMENT_DECODER.decode(raw)
            return accept(self._caller, self._settings, document, bytes(raw))
        except DocumentError as error:
            return error
        except (msgspec.DecodeError, RecursionError) as error:
            raise RefusedError(422, f"A document is not valid: {error}") from error

    def store(self, rows: Sequence[_Row], document_ids: Sequence[str | None]) -> list[dict[str, Any]]:
        """Commit the valid rows and return one result row for each, in order.

        Args:
            rows: Checked documents.
            document_ids: The ids that the client sent, also for rows that failed.

        Raises:
            RefusedError: 409 for all, under the `conflict` policy, or 402 when credits run out.
        """
        require_credits(self._store, self._settings, sum(isinstance(row, Accepted) for row in rows))
        self._look_up(rows)
        results = [self._take(row, sent) for row, sent in zip(rows, document_ids, strict=True)]
        if self._repeats and self._settings.duplicate_policy == "conflict":
            self._commit_repeats()
            raise RefusedError(409, conflict(self._repeats[0]))
        self._commit()
        return results

    def _look_up(self, rows: Sequence[_Row]) -> None:
        keys = [row.document_id for row in rows if isinstance(row, Accepted) and row.document_id]
        if keys and self._settings.duplicate_policy != "store_twice":
            self._known = self._store.live_seqs(self._caller.instance_id, keys)

    def _take(self, row: _Row, sent: str | None) -> dict[str, Any]:
        if isinstance(row, DocumentError):
            return self._failed(sent, row.message)
        known = self._known.get(row.document_id or "")
        policy = self._settings.duplicate_policy
        if not known or policy == "store_twice":
            return self._stored(row)
        if policy == "update":
            self._replaced += known
            return self._stored(row)
        self._repeats.append(row.document_id or "")
        if policy == "echo":
            return self._result(self._store.ids.ingestion(known[-1]), row.document_id, "queued")
        return self._failed(row.document_id, EXISTS)

    def _stored(self, row: Accepted) -> dict[str, Any]:
        self._next += 1
        ingestion_id = self._store.ids.ingestion(self._next)
        document_id = row.document_id or f"doc_{ingestion_id}"
        self._new.append((self._next, document_id, row))
        self._known[document_id] = [self._next]
        return self._result(ingestion_id, document_id, "queued")

    def _failed(self, document_id: str | None, message: str) -> dict[str, Any]:
        self._next += 1
        refused = self._store.ids.failed(self._next)
        ingestion_id = None if self._settings.null_ids_in_failed_rows else refused
        return self._result(ingestion_id, document_id or f"doc_{refused}", "failed", message)

    def _result(
        self, ingestion_id: str | None, document_id: str | None, status: str, message: str | None = None
    ) -> dict[str, Any]:
        return {
            "ingestion_id": ingestion_id,
            "document_id": document_id,
            "status": status,
            "queued_at": self._queued_at,
            "error_message": message,
        }

    def _commit(self) -> None:
        store = self._store
        instance = self._caller.instance_id
        with store.state.transaction():
            store.add(instance, self._now, self._new, self._replaced)
            store.note_repeats(instance, self._repeats)
            charge(store, self._settings, len(self._new))
        store.last_seq = self._next

    def _commit_repeats(self) -> None:
        with self._store.state.transaction():
            self._store.note_repeats(self._caller.instance_id, self._repeats)


def require_credits(store: SynapStore, settings: SynapSettings, documents: int) -> None:
    """Check that so many documents can be paid.

    Raises:
        RefusedError: 402; nothing of the request is stored then.
    """
    if settings.credits is None:
        return
    balance = settings.credits - store.number("charged")
    needed = documents * settings.credits_per_document
    if balance < needed:
        raise RefusedError(402, insufficient(balance, needed))


def charge(store: SynapStore, settings: SynapSettings, documents: int) -> None:
    """Book so many documents, where credits are counted; in a transaction."""
    if settings.credits is not None and documents:
        store.add_to("charged", documents * settings.credits_per_document)


def conflict(document_id: str) -> dict[str, Any]:
    """Return the detail of a 409 for a known document id."""
    return {"code": "document_conflict", "message": EXISTS, "document_id": document_id}


def insufficient(balance: float, needed: float) -> dict[str, Any]:
    """Return the detail of a 402."""
    return {
        "error": "insufficient_credits",
        "message": "This account has run out of credits",
        "reason": "insufficient_credits",
        "balance_credits": balance,
        "minimum_required_credits": needed,
        "manage_url": "https://example.invalid/billing",
    }


def iso(at: float) -> str:
    """Return epoch seconds as ISO 8601 with offset."""
    return datetime.fromtimestamp(at, UTC).isoformat()
