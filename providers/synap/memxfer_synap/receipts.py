"""From a batch's answer to one receipt per document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from memxfer.spi import (
    AmbiguousError,
    BatchRefusedError,
    Document,
    IngestState,
    IngestStatus,
    Outcome,
    ProviderError,
    RecordError,
    WriteReceipt,
)
from memxfer.transport import is_duplicate_text, redact
from memxfer_synap.client.port import BatchAnswer, Job, Row, TranscriptAnswer

__all__ = [
    "receipt_of_transcript",
    "receipts_of",
    "rejected",
    "status_of",
    "transcript_refused",
    "unknown",
]

_STORED = ("completed", "partial_success")

_REFUSED = frozenset({"failed", "rejected", "error"})
"""Words for a row that was not taken: SDK 0.6.9 documents `failed` alone."""
_CONFLICT = 409


def receipts_of(batch: Sequence[Document], answer: BatchAnswer) -> list[WriteReceipt]:
    """Match rows to documents by `document_id`, in whatever order and number they came.

    A row with an ingestion id of its own is accepted: `PENDING`. A failed row is `REJECTED`. A document that
    no row speaks for is `UNKNOWN`, unless the rows without an id must be it: as many of them as
    documents left over, all failed for the same reason. So are documents that share an ingestion id:
    its status would tell about one of them at most.
    """
    rows: dict[str, Row] = {}
    for row in answer.rows:
        if row.document_id and _rank(row) > _rank(rows.get(row.document_id)):
            rows[row.document_id] = row
    nameless = [row for row in answer.rows if not row.document_id]
    missing = sum(document.key not in rows for document in batch)
    spare = nameless[0] if len(nameless) == missing and _agree(nameless) else None
    shared = _shared_handles(rows[document.key] for document in batch if document.key in rows)
    return [
        _receipt(rows.get(document.key, spare), answer.correlation_id, shared=shared) for document in batch
    ]


def receipt_of_transcript(answer: TranscriptAnswer, *, sent: int, names: Sequence[str]) -> WriteReceipt:
    """Return the receipt of a conversation that was taken: `PENDING`, also where Synap had it already.

    A duplicate says that this very transcript was handed in before, by an earlier try or job, not that
    anything was made of it: its ingestion tells whether it is stored, and as what. It counts 0 new turns.
    Of any other transcript, Synap has to say that it recorded as many turns as were sent: a conversation
    that has turns already keeps those (SDK 0.6.9, `TranscriptIngestResponse.warnings`). Where it recorded
    fewer, the receipt has an error, because the answer does not tell which.

    Args:
        answer: What Synap answered.
        sent: How many turns the transcript has.
        names: The ids under which the conversation was sent.
    """
    if answer.names and not any(_same_id(one, name) for one in answer.names for name in names):
        message = "synap's answer is about another conversation"
        return unknown(_doubt(message, "other_conversation", answer.correlation_id))
    if answer.ingestion_id is None:
        return unknown(_doubt("synap gave no handle to the conversation", "no_handle", answer.correlation_id))
    return WriteReceipt(
        Outcome.PENDING,
        ingestion_id=answer.ingestion_id,
        error=_unrecorded(answer, sent),
        correlation_id=answer.correlation_id,
    )


def _unrecorded(answer: TranscriptAnswer, sent: int) -> RecordError | None:
    recorded = answer.recorded
    is_repeat = answer.status == "duplicate" and not recorded
    if is_repeat or (recorded is not None and recorded >= sent):
        return None
    many = "an unknown number" if recorded is None else str(max(recorded, 0))
    return RecordError(
        f"synap recorded {many} of the {sent} turns of this conversation and does not say which, so this "
        'record may be missing; move the conversation with conversations = "documents"',
        provider="synap",
        operation="write",
        correlation_id=answer.correlation_id,
        code="turns_not_recorded",
    )


def _same_id(one: str, other: str) -> bool:
    return one == other or one.casefold() == other.casefold()


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


def status_of(job: Job, *, asked: str) -> IngestStatus:
    """Return how far a document is.

    Args:
        job: What Synap answered.
        asked: The ingestion id that was asked about.
    """
    if job.ingestion_id is not None and not _same_id(job.ingestion_id, asked):
        return IngestStatus(IngestState.PROCESSING)
    if job.status == "failed":
        failed = _job_error(job, "synap could not process the document", "extraction_failed")
        return IngestStatus(IngestState.FAILED, job.memory_ids, error=failed)
    if job.status not in _STORED:
        return IngestStatus(IngestState.PROCESSING, job.memory_ids)
    error = _shortfall(job)
    return IngestStatus(IngestState.STORED, job.memory_ids, error=error, partial=error is not None)


def _shortfall(job: Job) -> RecordError | None:
    """Return what is not right with a document that Synap has processed."""
    if job.status == "partial_success":
        return _job_error(job, "synap processed a part of the document alone", "partial")
    if job.created and job.created > 0 and not job.memory_ids:
        many = f"synap made {job.created} memories of the document and gave no ids of them"
        return RecordError(
            f"{many}; they cannot be verified or removed by id",
            provider="synap",
            operation="ingest_status",
            correlation_id=job.correlation_id,
            code="partial",
        )
    return None


def _job_error(job: Job, what: str, code: str) -> RecordError:
    said = redact(job.error_message)
    return RecordError(
        f"{what}: {said or 'it does not say why'}",
        provider="synap",
        operation="ingest_status",
        correlation_id=job.correlation_id,
        code=code,
    )


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
    return 2 if not _is_refused(row) and row.ingestion_id else 1


def _is_refused(row: Row) -> bool:
    """Tell whether a row was not taken: it says so, or has a reason and no handle to ask about."""
    return row.status.lower() in _REFUSED or bool(row.error_message and not row.ingestion_id)


def _shared_handles(rows: Iterable[Row]) -> frozenset[str]:
    counts = Counter(row.ingestion_id for row in rows if row.ingestion_id and not _is_refused(row))
    return frozenset(handle for handle, count in counts.items() if count > 1)


def _agree(rows: Sequence[Row]) -> bool:
    reasons = Counter((row.status, is_duplicate_text(row.error_message or "")) for row in rows)
    return len(reasons) == 1 and _is_refused(rows[0])


def _receipt(row: Row | None, correlation_id: str | None, *, shared: frozenset[str]) -> WriteReceipt:
    if row is None:
        return unknown(_doubt("synap's answer does not mention the document", "no_row", correlation_id))
    if _is_refused(row):
        return _failed(row, correlation_id)
    if not row.ingestion_id:
        return unknown(_doubt("synap gave no handle to the document", "no_handle", correlation_id))
    if row.ingestion_id in shared:
        message = "synap gave several documents of a batch the same handle"
        return unknown(_doubt(message, "shared_handle", correlation_id))
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
