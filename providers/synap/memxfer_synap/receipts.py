"""From a batch's answer to one receipt per document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from memxfer.spi import (
    AmbiguousError,
    BatchRefusedError,
    Document,
    Outcome,
    ProviderError,
    RecordError,
    WriteReceipt,
)
from memxfer.transport import is_duplicate_text, redact
from memxfer_synap.client.port import BatchAnswer, Row, TranscriptAnswer

__all__ = ["receipt_of_transcript", "receipts_of", "rejected", "transcript_refused", "unknown"]

_FAILED = "failed"
_CONFLICT = 409


def receipts_of(batch: Sequence[Document], answer: BatchAnswer) -> list[WriteReceipt]:
    """Match rows to documents by `document_id`, in whatever order and number they came.

    A row with an ingestion id is accepted: `PENDING`. A failed row is `REJECTED`. A document that
    no row speaks for is `UNKNOWN`, unless the rows without an id must be it: as many of them as
    documents left over, all failed for the same reason.
    """
    rows: dict[str, Row] = {}
    for row in answer.rows:
        if row.document_id and _rank(row) > _rank(rows.get(row.document_id)):
            rows[row.document_id] = row
    nameless = [row for row in answer.rows if not row.document_id]
    missing = sum(document.key not in rows for document in batch)
    spare = nameless[0] if len(nameless) == missing and _agree(nameless) else None
    return [_receipt(rows.get(document.key, spare), answer.correlation_id) for document in batch]


def receipt_of_transcript(answer: TranscriptAnswer) -> WriteReceipt:
    """Return the receipt of a conversation that was taken: `PENDING`, also where Synap had it already.

    A duplicate says that this very transcript was handed in before, by an earlier try or job, not that
    anything was made of it: its ingestion tells whether it is stored, and as what.
    """
    if answer.ingestion_id is None:
        return unknown(_doubt("synap gave no handle to the conversation", "no_handle", answer.correlation_id))
    return WriteReceipt(
        Outcome.PENDING, ingestion_id=answer.ingestion_id, correlation_id=answer.correlation_id
    )


def transcript_refused(error: BatchRefusedError) -> WriteReceipt:
    """Return the receipt of a conversation that Synap refused; 409: it has another transcript of that id."""
    if error.status != _CONFLICT:
        return rejected(error)
    reason = RecordError(
        "synap holds another transcript under this conversation id, and a transcript cannot be changed: "
        "the conversation went on since it was moved, or another user's has the same id; "
        'move it with conversations = "documents", or under another session id',
        provider=error.provider,
        operation=error.operation,
        status=error.status,
        correlation_id=error.correlation_id,
        code="conflict",
    )
    return WriteReceipt(Outcome.REJECTED, error=reason, correlation_id=error.correlation_id)


def unknown(error: AmbiguousError) -> WriteReceipt:
    """Return the receipt of a document whose fate cannot be told."""
    return WriteReceipt(Outcome.UNKNOWN, error=error, correlation_id=error.correlation_id)


def rejected(error: ProviderError) -> WriteReceipt:
    """Return the receipt of a document refused for good."""
    reason = RecordError(
        str(error),
        provider=error.provider,
        operation=error.operation,
        status=error.status,
        correlation_id=error.correlation_id,
        code=error.code,
    )
    return WriteReceipt(Outcome.REJECTED, error=reason, correlation_id=error.correlation_id)


def _rank(row: Row | None) -> int:
    """Order the rows of one document: what was accepted outweighs what failed."""
    if row is None:
        return 0
    return 2 if row.status != _FAILED and row.ingestion_id else 1


def _agree(rows: Sequence[Row]) -> bool:
    reasons = Counter((row.status, is_duplicate_text(row.error_message or "")) for row in rows)
    return len(reasons) == 1 and rows[0].status == _FAILED


def _receipt(row: Row | None, correlation_id: str | None) -> WriteReceipt:
    if row is None:
        return unknown(_doubt("synap's answer does not mention the document", "no_row", correlation_id))
    if row.status == _FAILED:
        return _failed(row, correlation_id)
    if row.ingestion_id is None:
        return unknown(_doubt("synap gave no handle to the document", "no_handle", correlation_id))
    return WriteReceipt(Outcome.PENDING, ingestion_id=row.ingestion_id, correlation_id=correlation_id)


def _failed(row: Row, correlation_id: str | None) -> WriteReceipt:
    message = row.error_message or ""
    said = redact(message)
    error = RecordError(
        f"synap refused the document: {said or 'it does not say why'}",
        provider="synap",
        operation="write",
        correlation_id=correlation_id,
        code="duplicate" if is_duplicate_text(message) else "rejected",
    )
    return WriteReceipt(Outcome.REJECTED, error=error, correlation_id=correlation_id)


def _doubt(message: str, code: str, correlation_id: str | None) -> AmbiguousError:
    return AmbiguousError(
        message, provider="synap", operation="write", correlation_id=correlation_id, code=code
    )
