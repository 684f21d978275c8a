"""Reading what Synap answers, whoever asked: leniently, and never quoting a memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from memxfer.spi import (
    AmbiguousError,
    BatchRefusedError,
    FatalError,
    NotReadyError,
    ProviderError,
    UnavailableError,
)
from memxfer.transport import error_for_status, is_duplicate_text, redact, retry_after
from memxfer_synap.client.port import BatchAnswer, Job, Row, TranscriptAnswer, WhoAmI

__all__ = [
    "NAME",
    "Answer",
    "is_instance_id",
    "read_batch",
    "read_created",
    "read_job",
    "read_transcript",
    "read_whoami",
    "refusal",
]

NAME = "synap"

_CONFLICT = 409
is_instance_id = re.compile(r"inst_[0-9a-fA-F]{16}").fullmatch
_is_client_id = re.compile(r"[!-~]{1,128}").fullmatch


class _Batch(msgspec.Struct):
    results: list[Row]


_batch = msgspec.json.Decoder(_Batch)
"""The usual answer, at a third of the cost; rows of other shapes are read one by one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    correlation_id: str | None = None
    operation: str = ""

    def json(self) -> Any:
        """Return the body; `None` when it is no JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


def read_whoami(answer: Answer) -> WhoAmI:
    """Read `GET /api/v1/auth/whoami`.

    The ids go into headers, keys and plans, so they have to look like ids: an instance is `inst_` and 16 hex
    digits (SDK 0.6.9 takes no other), an account at most 128 printable characters without blanks.

    Raises:
        FatalError: It is no Synap that answers.
    """
    body = answer.json()
    instance_id = _text(body.get("instance_id")) if isinstance(body, dict) else None
    client_id = (_text(body.get("client_id")) or "") if isinstance(body, dict) else ""
    if not isinstance(body, dict) or not instance_id or not is_instance_id(instance_id):
        raise FatalError(
            "what answers is not Synap: it does not name the key's instance; check base_url",
            code="not_synap",
            **_details(answer, status=answer.status),
        )
    known_client = client_id if _is_client_id(client_id) else ""
    return WhoAmI(known_client, instance_id, _text(body.get("user_context_isolation")))


def read_batch(answer: Answer) -> BatchAnswer:
    """Read the 200 of `POST /api/v1/memories/batch`.

    Raises:
        AmbiguousError: It cannot be read. The documents may have been stored.
    """
    try:
        return BatchAnswer(tuple(_batch.decode(answer.body).results), answer.correlation_id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = answer.json()
    results = body.get("results") if isinstance(body, dict) else None
    if not isinstance(results, list):
        raise AmbiguousError(
            "synap took the batch, but its answer cannot be read",
            code="unreadable_answer",
            **_details(answer, status=answer.status),
        )
    return BatchAnswer(tuple(_row(row) for row in results if isinstance(row, dict)), answer.correlation_id)


def read_created(answer: Answer, *, sent_id: str) -> BatchAnswer:
    """Read the 200 of `POST /api/v1/memories/create`, the one row of a batch without the batch.

    Args:
        answer: The answer.
        sent_id: The `document_id` that was sent; a row that names none can be about nothing else.

    Raises:
        AmbiguousError: It cannot be read. The document may have been stored.
    """
    body = answer.json()
    if not isinstance(body, dict) or not body.keys() & {"ingestion_id", "status"}:
        raise AmbiguousError(
            "synap took the document, but its answer cannot be read",
            code="unreadable_answer",
            **_details(answer, status=answer.status),
        )
    row = _row(body)
    named = row if body.get("document_id") is not None else msgspec.structs.replace(row, document_id=sent_id)
    return BatchAnswer((named,), answer.correlation_id)


def read_transcript(answer: Answer) -> TranscriptAnswer:
    """Read the 200 of `POST /v1/conversations/ingest`.

    Raises:
        AmbiguousError: It cannot be read. The conversation may have been stored.
    """
    body = answer.json()
    status = _text(body.get("status")) if isinstance(body, dict) else None
    if not isinstance(body, dict) or status is None:
        raise AmbiguousError(
            "synap took the transcript, but its answer cannot be read",
            code="unreadable_answer",
            **_details(answer, status=answer.status),
        )
    names = (_text(body.get(name)) for name in ("conversation_id", "external_conversation_id"))
    return TranscriptAnswer(
        _text(body.get("ingestion_id")),
        status.lower(),
        answer.correlation_id,
        _whole(body.get("turns_recorded")),
        tuple(name for name in names if name),
    )


def read_job(answer: Answer) -> Job:
    """Read the 200 of `GET /api/v1/memories/status/{id}`.

    Raises:
        UnavailableError: It cannot be read.
    """
    body = answer.json()
    status = _text(body.get("status")) if isinstance(body, dict) else None
    if not isinstance(body, dict) or not status:
        raise unreadable(answer)
    found = body.get("memory_ids")
    memory_ids = tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()
    return Job(
        status.lower(),
        memory_ids,
        _text(body.get("error_message")) or "",
        answer.correlation_id,
        _text(body.get("ingestion_id")),
        _whole(body.get("memories_created")),
    )


def unreadable(answer: Answer) -> UnavailableError:
    """Return the error for a read whose answer makes no sense; asking again may help."""
    return UnavailableError(
        "synap's answer cannot be read", code="unreadable_answer", **_details(answer, status=answer.status)
    )


def refusal(answer: Answer, *, is_write: bool, now: datetime) -> ProviderError:
    """Return the error for an answer that is no success; only 200 and 204 are.

    Beyond the common table: 409 `instance_not_ready` is a `NotReadyError` with its wait, 409
    `instance_build_failed` a `FatalError`, and a 429 or 402 with a reason stops the job.

    Args:
        answer: The answer.
        is_write: Whether doing it twice would do it twice.
        now: The time of day, aware; for `Retry-After`.
    """
    body = answer.json()
    fields = _fields(body)
    said = _message(body, fields)
    if answer.status == _CONFLICT and fields.get("code", fields.get("error")) == "instance_not_ready":
        return _not_ready(answer, fields, now)
    if answer.status == _CONFLICT and fields.get("code", fields.get("error")) == "instance_build_failed":
        message = "this Synap instance could not be built; rebuild it in the dashboard, or ask Synap"
        return FatalError(message, code="instance_build_failed", **_details(answer, status=_CONFLICT))
    error = error_for_status(
        answer.status,
        is_write=is_write,
        now=now,
        headers=answer.headers,
        text=redact(said),
        reason=_text(fields.get("reason")) or _text(fields.get("error")),
        **_details(answer),
    )
    if isinstance(error, BatchRefusedError) and is_duplicate_text(f"{said} {fields.get('code', '')}"):
        error.code = "duplicate"
    return error


def _not_ready(answer: Answer, fields: Mapping[str, Any], now: datetime) -> NotReadyError:
    hint = fields.get("retry_after_seconds")
    wait = hint if isinstance(hint, int | float) else retry_after(answer.headers, now=now)
    return NotReadyError(
        "this Synap instance is still being built (new ones take 15 to 20 minutes)",
        retry_after=wait,
        code="instance_not_ready",
        **_details(answer, status=_CONFLICT),
    )


def _details(answer: Answer, **more: Any) -> dict[str, Any]:
    return {
        "provider": NAME,
        "operation": answer.operation,
        "correlation_id": answer.correlation_id,
        **more,
    }


def _fields(body: Any) -> dict[str, Any]:
    """Return an error's fields, whether they stand at the top or under `detail`."""
    if not isinstance(body, dict):
        return {}
    detail = body.get("detail")
    return {**body, **detail} if isinstance(detail, dict) else body


def _message(body: Any, fields: Mapping[str, Any]) -> str:
    detail = fields.get("detail")
    if isinstance(detail, list):  # FastAPI's list of what is wrong; `input` quotes the document
        return "; ".join(str(one.get("msg", "")) for one in detail if isinstance(one, dict))
    for text in (detail, fields.get("message"), fields.get("error")):
        if isinstance(text, str):
            return text
    return body if isinstance(body, str) else ""


def _row(row: Mapping[str, Any]) -> Row:
    return Row(
        _text(row.get("document_id")),
        _text(row.get("ingestion_id")),
        _text(row.get("status")) or "",
        _text(row.get("error_message")),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
