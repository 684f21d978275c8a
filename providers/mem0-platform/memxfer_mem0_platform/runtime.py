"""What an app asks of a project while it runs: the memories of one owner, and single ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from memxfer.spi import (
    Defect,
    Hit,
    MemoryRecord,
    Page,
    RecordError,
    Scope,
    UnsupportedOperationError,
    format_time,
    sanitise_record,
    without_nul,
)
from memxfer_mem0_platform.client import MAX_PAGE, Mem0PlatformClient
from memxfer_mem0_platform.config import Mem0PlatformConfig
from memxfer_mem0_platform.fields import OWN, SCOPE
from memxfer_mem0_platform.listing import Place
from memxfer_mem0_platform.mapping import decode
from memxfer_mem0_platform.wire import NAME

__all__ = ["Memories", "infers"]

_log = logging.getLogger(__name__)

_RAW = frozenset(("conversation", "document", "episode", "event", "message"))
"""Kinds of what was said or written, from which memories are made; a fact is one already."""
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


def infers(record: MemoryRecord, config: Mem0PlatformConfig) -> bool:
    """Tell whether Mem0 is to extract from what an app hands in, rather than keep it as it is.

    By the connection's `infer` for turns and raw text; `extensions["mem0"]["infer"]` of a record wins.

    Raises:
        RecordError: That is neither true nor false (`code="infer"`).
    """
    asked = record.extensions.get(OWN, {}).get("infer")
    if asked is None:
        return config.infer and (bool(record.messages) or record.kind in _RAW)
    if not isinstance(asked, bool):
        reason = "the option infer of mem0 is neither true nor false"
        raise RecordError(reason, provider=NAME, operation="prepare", code="infer")
    return asked


class Memories:
    """The memories of a project, as an app asks for them: what is expired or merged stays hidden.

    Ids are Mem0's own. A row that names another owner than asked for is left out, whatever the service
    thinks of its filter; one that names none is believed to be the filter's.

    Args:
        client: Makes the calls.
        now: Gives the time of day, aware.
    """

    def __init__(self, client: Mem0PlatformClient, *, now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now

    async def search(self, query: str, scope: Scope, limit: int) -> list[Hit]:
        """Return what fits a question, best first, at most `limit`; nothing for a question without text.

        Raises:
            ValueError: The scope names nobody, or everybody; `limit` is below 1.
            UnsupportedOperationError: It has axes that Mem0 has not.
        """
        filters = _filters(scope, limit)
        if not query.strip():
            return []
        found = await self._client.search(query, filters, limit)
        hits = [
            Hit(one, _score(row))
            for row, one in zip(found.rows, map(self._read, found.rows), strict=True)
            if isinstance(one, MemoryRecord)
        ]
        mine = [hit for hit in hits if _is_of(hit.memory.scope, scope)]
        self._tell(len(hits) - len(mine))
        return mine[:limit]

    async def page(self, scope: Scope, limit: int, cursor: str | None) -> Page:
        """Return one page of a scope, at most 200 memories.

        New memories do not shift later pages, as in a migration: the cursor has the moment of the first
        page, and what is dated later comes last. A list of one page costs one request.

        Raises:
            ValueError, UnsupportedOperationError: As for `search`.
            CursorExpiredError: The cursor is none of these.
        """
        whose, size = _filters(scope, limit), min(limit, MAX_PAGE)
        if cursor is None:
            whole = await self._client.scoped(whose, 1, size)
            if not whole.may_go_on(size):
                return self._page(whole.rows, scope, None)
        started = format_time(self._now())
        place = Place(is_later=False, offset=0, before=started) if cursor is None else Place.parse(cursor)
        number = place.page(size)
        answer = await self._client.scoped({"AND": [*whose["AND"], place.when()]}, number, size)
        following = place.after(size) if answer.may_go_on(size) else place.then()
        # With another `limit` than before, a page may begin with rows that were given already.
        rows = answer.rows[max(place.offset - (number - 1) * size, 0) :]
        return self._page(rows, scope, str(following) if following else None)

    async def update(self, memory_id: str, content: str) -> MemoryRecord | None:
        """Replace a memory's text, and nothing else of it; `None` if there is none of that id.

        Raises:
            RecordError: There is no text, or Mem0 refuses it.
            AmbiguousError: It may have happened; doing it again does no harm.
        """
        if not content.strip():
            raise RecordError("a memory needs a text", provider=NAME, operation="update", code="empty")
        answer = await self._client.update(memory_id, without_nul(content))
        if answer is None:
            return None
        if not isinstance(answer.get("memory"), str) or not isinstance(answer.get("id"), str):
            answer = await self._client.get(memory_id)  # the answer tells of the update, not of the memory
        return None if answer is None else self._decoded(answer)

    # -- rows ---------------------------------------------------------------------------------

    def _page(self, rows: Sequence[Any], scope: Scope, cursor: str | None) -> Page:
        read = [self._read(row) for row in rows]
        records = [one for one in read if isinstance(one, MemoryRecord)]
        mine = [one for one in records if _is_of(one.scope, scope)]
        self._tell(len(records) - len(mine))
        return Page(mine, cursor, defects=[one for one in read if isinstance(one, Defect)])

    def _read(self, row: Any) -> MemoryRecord | Defect:
        try:
            return self._decoded(row)
        except _UNREADABLE as error:
            reason = f"the row cannot be read as a memory ({type(error).__name__})"
            found = row.get("id") if isinstance(row, dict) else None
            defect = RecordError(reason, provider=NAME, operation="read", code="unreadable")
            return Defect(found if isinstance(found, str) else None, defect)

    def _decoded(self, row: Any) -> MemoryRecord:
        plain = {name: value for name, value in row.items() if name != "score"}
        return sanitise_record(decode(plain, None, now=self._now()))

    def _tell(self, others: int) -> None:
        if others:
            _log.warning("mem0 answered with %d memories of another owner; they are left out", others)


def _filters(scope: Scope, limit: int) -> dict[str, Any]:
    if limit < 1:
        raise ValueError("limit is below 1")
    if scope.tenant is not None or scope.group is not None:
        raise UnsupportedOperationError(
            "mem0 has no tenants and no groups, so it cannot tell theirs apart; leave them out of the scope",
            provider=NAME,
            operation="read",
        )
    named = {field: getattr(scope, axis) for axis, field in SCOPE.items() if getattr(scope, axis) is not None}
    if not named:
        raise ValueError("the scope names nobody; give a user, an agent, an app or a session")
    if any(value in ("", "*") or "\x00" in value for value in named.values()):
        raise ValueError("the scope has an empty id, or one with NUL, or *, which means everybody in mem0")
    return {"AND": [{field: value} for field, value in named.items()]}


def _is_of(scope: Scope, wanted: Scope) -> bool:
    """Tell whether a row's owner is the one asked for, as far as the row names it."""
    pairs = ((getattr(wanted, axis), getattr(scope, axis)) for axis in SCOPE)
    return all(asked is None or named is None or named == asked for asked, named in pairs)


def _score(row: Any) -> float | None:
    found = row.get("score")
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
