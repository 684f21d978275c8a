"""Reading what Synap remembers: context fetches, single memories; what is asked, and what the answers say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from memxfer.spi import AmbiguousError, ProviderError, UnavailableError
from memxfer_synap.client.answers import NAME, Answer
from memxfer_synap.client.port import ContextAnswer, ContextQuery, FoundMemory

__all__ = [
    "FETCH_PATHS",
    "REPLACE",
    "context_of",
    "fetch_body",
    "memory_of",
    "read_context",
    "read_memory",
]

FETCH_PATHS = {
    level: f"/v1/context/{level}/fetch" for level in ("user", "customer", "client", "conversation")
}
REPLACE = "replace"
"""The merge strategy that leaves nothing of the old text; the default of SDK 0.6.9 is `smart-merge`."""

_LISTS = ("facts", "preferences", "episodes", "emotions", "temporal_events")
_REASONS = ("timeout", "overloaded", "unavailable", "internal")
_TIMES = ("said_at", "extracted_at", "created_at", "updated_at", "valid_until")
_READ = frozenset({"id", "item_id", "memory_id", "category", "context_type", "memory_type", "content"}) | {
    "rank",
    "rank_score",
    "confidence",
    "metadata",
    "matched_queries",
    *_TIMES,
}


def fetch_body(asked: ContextQuery) -> dict[str, Any]:
    """Return the JSON that SDK 0.6.9 sends for a ranked fetch with one question."""
    ids = {
        "user": {"user_id": asked.user_id, "customer_id": asked.customer_id},
        "customer": {"customer_id": asked.customer_id},
    }.get(asked.level, {})
    return {
        **ids,
        "conversation_id": asked.conversation_id,
        "search_query": [asked.text],
        "max_results": asked.limit,
        "types": ["all"],
        "mode": asked.mode,
        "response_shape": "ranked",
    }


def read_context(answer: Answer) -> ContextAnswer:
    """Read the 200 of `POST /v1/context/{level}/fetch`.

    Raises:
        UnavailableError: It cannot be read.
    """
    body = answer.json()
    context = body.get("context") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(context, dict):
        raise _unreadable(answer, is_write=False)
    beside = {name: body[name] for name in ("retrieval", "conversation_context") if name in body}
    return context_of({**context, **beside}, answer.correlation_id)


def context_of(context: Mapping[str, Any], correlation_id: str | None) -> ContextAnswer:
    """Return what a context says, ranked or by type: a server before 0.6 sends no `items`."""
    items = context.get("items")
    rows = items if isinstance(items, list) else list(_merged(context))
    found = (_item(row) for row in rows if isinstance(row, dict))
    summary = _object(context.get("conversation_context")).get("summary")
    return ContextAnswer(
        tuple(one for one in found if one is not None),
        summary if isinstance(summary, str) and summary.strip() else None,
        _degraded(context.get("retrieval")),
        correlation_id,
    )


def read_memory(answer: Answer, *, is_write: bool = False) -> FoundMemory:
    """Read the 200 of `GET` or `PATCH /api/v1/memories/{id}`.

    Raises:
        UnavailableError: It cannot be read.
        AmbiguousError: It cannot be read, and the memory was changed all the same.
    """
    body = answer.json()
    found = memory_of(body) if isinstance(body, dict) else None
    if found is None:
        raise _unreadable(answer, is_write=is_write)
    return found


def memory_of(row: Mapping[str, Any]) -> FoundMemory | None:
    """Return a memory; `None` for what has no id or no text."""
    memory_id = row.get("memory_id") or row.get("id") or row.get("item_id")
    content = row.get("content") or row.get("summary") or row.get("context")
    if not isinstance(memory_id, str) or not isinstance(content, str):
        return None
    metadata = _object(row.get("metadata"))
    score = _number(metadata.get("rank_score"))
    category = row.get("memory_type") or row.get("category") or row.get("context_type")
    kept = _READ - {"category"} if row.get("memory_type") else _READ  # a get has a category beside its type
    return FoundMemory(
        memory_id,
        category if isinstance(category, str) else "",
        content,
        _number(row.get("rank_score")) if score is None else score,
        _number(row.get("confidence")),
        {name: value for name, value in metadata.items() if name != "rank_score"},
        {name: row[name] for name in _TIMES if isinstance(row.get(name), str)},
        {name: value for name, value in row.items() if name not in kept and value is not None},
    )


def _item(row: Mapping[str, Any]) -> FoundMemory | None:
    """Return an item of a fetch; a chunk is an excerpt, whatever list it came in (SDK 0.6.9)."""
    return memory_of({**row, "category": "excerpts"} if row.get("source") == "chunks" else row)


def _merged(context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the items of the five lists, best first, as SDK 0.6.9 does it."""
    rows = [
        {**row, "category": name}
        for name in _LISTS
        for row in context.get(name) or ()
        if isinstance(row, dict)
    ]
    yield from sorted(rows, key=_by_score)


def _by_score(row: Mapping[str, Any]) -> float:
    score = _number(_object(row.get("metadata")).get("rank_score"))
    return float("inf") if score is None else -score


def _degraded(retrieval: Any) -> str | None:
    """Return why a retrieval was not whole; on a whole one there is no such block (SDK 0.6.9)."""
    if not isinstance(retrieval, dict) or retrieval.get("degraded") is False:
        return None
    code = retrieval.get("code")
    return code if code in _REASONS else "unknown"


def _unreadable(answer: Answer, *, is_write: bool) -> ProviderError:
    kind = AmbiguousError if is_write else UnavailableError
    return kind(
        "synap's answer cannot be read",
        provider=NAME,
        operation=answer.operation,
        status=answer.status,
        correlation_id=answer.correlation_id,
        code="unreadable_answer",
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
