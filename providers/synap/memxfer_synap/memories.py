"""What Synap's memories mean to an app: where they are looked for, and which records they are."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from memxfer.spi import (
    NUL_SIGN,
    ContextPackage,
    Hit,
    MemoryRecord,
    RecordError,
    Scope,
    Skipped,
    UnavailableError,
    Validity,
    parse_time,
)
from memxfer_synap.client.port import ContextAnswer, ContextQuery, FoundMemory
from memxfer_synap.config import SynapConfig
from memxfer_synap.mapping import Owner, owner_of
from memxfer_synap.metadata import conversation_keys

__all__ = [
    "EXCERPTS",
    "check_whole",
    "checked_text",
    "hits_of",
    "is_memory_id",
    "merged",
    "package_of",
    "query_of",
    "record_of",
    "wider_of",
]

_log = logging.getLogger(__name__)

EXCERPTS = "excerpts"
"""The category of quotes from documents: no memories, and no call knows their ids."""

_KINDS = {
    "facts": "fact",
    "preferences": "preference",
    "episodes": "episode",
    "emotions": "emotion",
    "temporal_events": "event",
    "temporal_event": "event",
    EXCERPTS: "document",
    "": "fact",
}
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch


def is_memory_id(text: str) -> bool:
    """Tell whether a text can be the id of a memory: Synap's are UUIDs."""
    return _is_uuid(text) is not None


def query_of(text: str, *, scope: Scope, limit: int, config: SynapConfig, is_b2c: bool) -> ContextQuery:
    """Return what to ask, where memories of that scope are: reading places a scope as writing does.

    A user: that user's, also where the scope names an agent or the like, which Synap does not tell apart;
    a session beside it makes the question one of that conversation. A session alone: that conversation's.

    Raises:
        ValueError: The scope names nobody, and the connection does not say whom it means then.
    """
    question = text.encode("utf-8", "replace").decode()  # half a character would not travel
    mode, session = config.read_mode, scope.session
    owner = owner_of(scope, config=config, is_b2c=is_b2c)
    if isinstance(owner, Owner):
        return ContextQuery(
            owner.level,
            question,
            limit,
            mode,
            owner.user_id,
            owner.customer_id,
            _conversation(session, owner.customer_id, owner.user_id) if session else None,
        )
    if session and not scope.user and not scope.tenant:
        conversation = _conversation(session, config.customer_id, None)
        return ContextQuery("conversation", question, limit, mode, conversation_id=conversation)
    if isinstance(owner, Skipped):
        raise ValueError("the scope names no user, and the connection leaves such memories out")  # noqa: TRY004
    raise ValueError(f"{owner.error}; name one in the scope")


def wider_of(asked: ContextQuery) -> list[ContextQuery]:
    """Return the same question at the levels above, the nearest first.

    A session is the user's: the wider questions have none.
    """
    if asked.level not in ("user", "customer"):
        return []
    client = replace(asked, level="client", user_id=None, customer_id=None, conversation_id=None)
    if asked.level == "customer" or not asked.customer_id:
        return [client]
    return [replace(client, level="customer", customer_id=asked.customer_id), client]


def merged(answers: Sequence[tuple[str, ContextAnswer]]) -> ContextAnswer:
    """Put the answers of several levels together: each memory once, best first, of equal ones the nearest.

    As the SDK's unified `fetch` (0.6.9) does it, by `rank_score`. A memory that several levels gave
    belongs to the widest of them: where levels are merged, the nearer ones read it too.

    Args:
        answers: Level and answer, the nearest level first.
    """
    found: dict[str, FoundMemory] = {}
    for level, answer in answers:
        for one in answer.found:
            found[one.memory_id] = replace(found.get(one.memory_id, one), level=level)
    _, nearest = answers[0]
    degraded = [answer.degraded for _, answer in answers if answer.degraded]
    ranked = sorted(found.values(), key=lambda one: float("inf") if one.score is None else -one.score)
    return replace(nearest, found=tuple(ranked), degraded=degraded[0] if degraded else None)


def _conversation(session: str, customer_id: str | None, user_id: str | None) -> str:
    return conversation_keys(session, customer_id, user_id)["conversation_id"]


def record_of(found: FoundMemory, scope: Scope) -> MemoryRecord:
    """Return a memory as a record.

    Args:
        found: The memory.
        scope: Whose it is, where that is known: no answer tells.
    """
    times = {name: _time(text) for name, text in found.times.items()}
    until = times.get("valid_until")
    return MemoryRecord(
        id=found.memory_id,
        content=found.content,
        kind=_KINDS.get(found.category, found.category),
        scope=scope,
        metadata=found.metadata,
        created_at=times.get("created_at") or times.get("extracted_at"),
        updated_at=times.get("updated_at"),
        occurred_at=times.get("said_at"),
        validity=Validity(valid_to=until) if until else None,
        confidence=found.confidence,
        extensions={"synap": found.others} if found.others else {},
    )


def hits_of(answer: ContextAnswer, asked: ContextQuery) -> list[Hit]:
    """Return the memories that a fetch found, best first; quotes are left out."""
    found = [
        Hit(record_of(one, _scope(asked, one.level)), one.score)
        for one in answer.found
        if one.category != EXCERPTS
    ]
    return found[: asked.limit]


def package_of(answer: ContextAnswer, asked: ContextQuery) -> ContextPackage:
    """Return what a fetch found as text: the conversation's summary, then memories and quotes, one a line."""
    memories = [record_of(one, _scope(asked, one.level)) for one in answer.found[: asked.limit]]
    return ContextPackage(_text(answer.summary, memories), tuple(memories), False, answer.correlation_id)


def check_whole(answer: ContextAnswer, *, is_empty: bool) -> None:
    """Tell an answer that is short because something failed from one where there is no more.

    Raises:
        UnavailableError: It is empty, and something failed (`code="degraded"`).
    """
    if answer.degraded is None:
        return
    if is_empty:
        raise UnavailableError(
            f"synap found nothing, and could not look everywhere ({answer.degraded})",
            provider="synap",
            operation="search",
            correlation_id=answer.correlation_id,
            code="degraded",
        )
    _log.warning(
        "synap could not look everywhere (%s, request %s); there may be more",
        answer.degraded,
        answer.correlation_id,
    )


def checked_text(content: str, limit: int) -> str:
    """Return the text that a memory is to have, as Synap takes it.

    Raises:
        RecordError: It is blank (`empty`), or has more bytes than `limit` (`too_large`).
    """
    text = content.replace("\x00", NUL_SIGN).encode("utf-8", "replace").decode()
    if not text.strip():
        raise _unfit("the memory would have no text; delete it instead", "empty")
    if len(text.encode()) > limit:
        raise _unfit(f"the text has more than document_bytes = {limit} bytes", "too_large")
    return text


def _unfit(message: str, code: str) -> RecordError:
    return RecordError(message, provider="synap", operation="update", code=code)


def _text(summary: str | None, memories: Sequence[MemoryRecord]) -> str:
    lines = "\n".join(f"- {memory.content}" for memory in memories)
    return "\n\n".join(part for part in (summary, lines) if part)


def _scope(asked: ContextQuery, level: str) -> Scope:
    """Return whose a memory is that a fetch of a level gave; without a level, whoever was asked about."""
    if level == "client":
        return Scope()
    return Scope(user=None if level == "customer" else asked.user_id, tenant=asked.customer_id)


def _time(text: str) -> datetime | None:
    try:
        return parse_time(text, assume_utc=True)
    except ValueError:
        return None
