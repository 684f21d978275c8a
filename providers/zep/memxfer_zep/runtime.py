"""What an app asks of a project while it runs: the facts of one user or group, and single ones.

Zep addresses a fact by its graph and its uuid, so the ids that an app sees name both (`TargetId`).
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from memxfer.spi import (
    ContextPackage,
    Defect,
    Hit,
    Ignored,
    MemoryRecord,
    Page,
    RecordError,
    Role,
    Scope,
    UnsupportedOperationError,
    sanitise_record,
    without_nul,
)
from memxfer_zep.answers import GONE
from memxfer_zep.config import NAME, ZepConfig
from memxfer_zep.mapping import Row, record_of
from memxfer_zep.partitions import MAX_PAGE
from memxfer_zep.places import Place, Places, is_uuid
from memxfer_zep.targets import TargetId

if TYPE_CHECKING:
    from memxfer_zep.client import ZepClient

__all__ = ["Memories", "fitted", "is_memory"]

T = TypeVar("T")

_MOST_FOUND: Final = 50
"""Rows of the largest page of a search (vendor's reference of API v4)."""
_OF_SEARCH: Final = ("score", "relevance", "selection_rank")
_LISTINGS: Final[Mapping[str, str]] = {"fact": "facts", "episode": "episodes"}
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


def fitted(kind: type[T], role: Role) -> type[T]:
    """Return a provider's class as it is in a role: with `get` for an app, without it in a move.

    The ids of a move are uuids alone, and Zep gets nothing by those: every graph would have to be asked.
    A protocol counts a method that is `None` as absent.
    """
    whole: Any = getattr(kind, "with_get", kind)
    return cast("type[T]", whole if role is Role.APP else _without_get(whole))


@functools.cache
def _without_get(kind: type[Any]) -> type[Any]:
    body = {"__module__": kind.__module__, "__doc__": kind.__doc__, "get": None, "with_get": kind}
    return type(kind.__name__, (kind,), body)


class Memories:
    """The facts of a project, as an app asks for them.

    Args:
        client: Makes the calls.
        config: The connection's settings.
        now: Gives the time of day.
    """

    def __init__(self, client: ZepClient, config: ZepConfig, *, now: Callable[[], datetime]) -> None:
        self._client = client
        self._config = config
        self._now = now
        self._places = Places(client)

    async def search(self, query: str, scope: Scope, limit: int) -> list[Hit]:
        """Return the facts that fit a question, best first, at most `limit` and 50.

        Raises:
            ValueError: The scope names nobody; `limit` is below 1.
            UnsupportedOperationError: It has axes that Zep has not.
        """
        _check(scope, limit)
        if not query.strip():
            return []
        size = min(limit, _MOST_FOUND)

        async def found(place: Place) -> list[Hit]:
            page = await self._client.search_facts(place.graph, query, size)
            read = [(row, self._read(row, place)) for row in page.rows]
            return [Hit(one, _score(row)) for row, one in read if isinstance(one, MemoryRecord)]

        return (await self._in_place(scope, found) or [])[:limit]

    async def page(self, scope: Scope, limit: int, cursor: str | None) -> Page:
        """Return one page of facts, at most 100, in order of uuid.

        Raises:
            CursorExpiredError: Begin the list again.
            ValueError, UnsupportedOperationError: As for `search`.
        """
        _check(scope, limit)

        async def found(place: Place) -> Page:
            raw = await self._client.rows("facts", place.graph, cursor, min(limit, MAX_PAGE))
            read = [self._read(row, place) for row in raw.rows]
            return Page(
                [one for one in read if isinstance(one, MemoryRecord)],
                raw.next_cursor,
                ignored=[one for one in read if isinstance(one, Ignored)],
                defects=[one for one in read if isinstance(one, Defect)],
            )

        return await self._in_place(scope, found) or Page([])

    async def package(self, query: str, scope: Scope, limit: int) -> ContextPackage:
        """Return Zep's text for a question; without one, its text for the session.

        Raises:
            ValueError, UnsupportedOperationError: As for `search`.
        """
        _check(scope, limit)
        if not query.strip():
            return await self._of_session(scope)

        async def found(place: Place) -> ContextPackage:
            answer = await self._client.context(place.graph, query)
            results = answer.body.get("results")
            rows = results.get("edges") if isinstance(results, dict) else None
            read = [self._read(row, place) for row in rows or ()]
            return ContextPackage(
                str(answer.body.get("context") or ""),
                tuple(one for one in read if isinstance(one, MemoryRecord))[:limit],
                bool(answer.body.get("truncated")),
                answer.request_id,
            )

        package = await self._in_place(scope, found)
        return ContextPackage("") if package is None else package

    async def _of_session(self, scope: Scope) -> ContextPackage:
        session = scope.session
        if session is None or scope.user is None:
            return ContextPackage("")

        async def found(place: Place) -> ContextPackage:
            thread = await self._places.thread(place.graph, session)
            if thread is None:
                return ContextPackage("")
            answer = await self._client.thread_context(thread)
            return ContextPackage(str(answer.body.get("context") or ""), correlation_id=answer.request_id)

        package = await self._in_place(scope, found)
        return ContextPackage("") if package is None else package

    # -- one memory ---------------------------------------------------------------------------

    async def get(self, record_id: str) -> MemoryRecord | None:
        """Return a fact or an episode, whether it has ended or not; `None` if there is none of that id."""
        target = _memory(record_id)
        if target is None:
            return None
        read = self._client.edge if target.kind == "fact" else self._client.episode
        body = await read(target.place, target.uuid)
        return None if body is None else await self._whole(body, target)

    async def update(self, record_id: str, content: str) -> MemoryRecord | None:
        """Replace the text of a fact; return it, `None` if there is none of that id.

        Raises:
            UnsupportedOperationError: It is an episode, which Zep does not change.
            RecordError: There is no text, or too much, or Zep refuses it.
            AmbiguousError: It may have happened; again does no harm.
        """
        target = _memory(record_id)
        if target is None:
            return None
        if target.kind != "fact":
            raise UnsupportedOperationError(
                "zep changes facts alone; delete the episode and hand in another",
                provider=NAME,
                operation="update",
            )
        self._check_text(content)
        body = await self._client.writes.update_fact(target.place, target.uuid, without_nul(content))
        if body is None:
            return None
        return await self._whole(body, target) if body.get("fact") else await self.get(record_id)

    def _check_text(self, content: str) -> None:
        most = self._config.fact_chars
        if not content.strip():
            raise RecordError("a memory needs a text", provider=NAME, operation="update", code="empty")
        if len(content) > most:
            reason = f"it is too long: Zep takes {most} characters for a fact"
            raise RecordError(reason, provider=NAME, operation="update", code="too_large")

    async def _whole(self, body: Mapping[str, Any], target: TargetId) -> MemoryRecord | None:
        place = await self._places.of_graph(target.place, body.get("user_uuid"))
        found = self._decoded(body, place, target.kind, current_only=False)
        return found if isinstance(found, MemoryRecord) else None

    # -- rows ---------------------------------------------------------------------------------

    async def _in_place(self, scope: Scope, ask: Callable[[Place], Awaitable[T]]) -> T | None:
        """Ask where the memories of an owner are; a place that is gone meanwhile is looked for anew."""
        place = await self._places.of(scope)
        if place is None:
            return None
        try:
            return await ask(place)
        except RecordError as error:
            if error.code != GONE:
                raise
        self._places.forget(scope)
        again = await self._places.of(scope)
        return None if again is None or again.graph == place.graph else await ask(again)

    def _read(self, row: Any, place: Place) -> MemoryRecord | Ignored | Defect:
        try:
            return self._decoded(row, place, "fact", current_only=self._config.current_only)
        except _UNREADABLE as error:
            reason = f"the row cannot be read as a memory ({type(error).__name__})"
            found = row.get("uuid") if isinstance(row, dict) else None
            defect = RecordError(reason, provider=NAME, operation="read", code="unreadable")
            return Defect(found if isinstance(found, str) else None, defect)

    def _decoded(
        self, row: Mapping[str, Any], place: Place, kind: str, *, current_only: bool
    ) -> MemoryRecord | Ignored:
        body = {name: value for name, value in row.items() if name not in _OF_SEARCH}
        record = record_of(
            Row(body), _LISTINGS[kind], place.owner, now=self._now(), current_only=current_only
        )
        if isinstance(record, Ignored):
            return record
        identifier = str(TargetId(kind, place.graph, record.id))
        return sanitise_record(msgspec.structs.replace(record, id=identifier))


def _check(scope: Scope, limit: int) -> None:
    """Refuse what names nobody, and what Zep cannot tell from others."""
    if limit < 1:
        raise ValueError("limit is below 1")
    strange = [axis for axis in ("agent", "app", "tenant") if getattr(scope, axis) is not None]
    if strange:
        raise UnsupportedOperationError(
            f"zep has no {' and no '.join(strange)} to tell memories apart by; leave it out of the scope",
            provider=NAME,
            operation="read",
        )
    if scope.user is not None and scope.group is not None:
        raise UnsupportedOperationError(
            "zep keeps a memory by user or by group, not by both; leave one out of the scope",
            provider=NAME,
            operation="read",
        )
    owner = scope.user if scope.user is not None else scope.group
    if owner is None:
        raise ValueError("the scope names neither a user nor a group")
    if not owner.strip() or "\0" in owner:
        raise ValueError("the scope has an empty id, or one with NUL")


def _memory(record_id: str) -> TargetId | None:
    """Read the id of a memory; `None` for what is none, users and graphs included."""
    target = TargetId.parse(record_id)
    if target is None or target.kind not in _LISTINGS:
        return None
    return target if is_uuid(target.place) and is_uuid(target.uuid) else None


def is_memory(record_id: str) -> bool:
    """Tell whether an id can be one that an app was given: of a fact or an episode."""
    return _memory(record_id) is not None


def _score(row: Any) -> float | None:
    found = row.get("score") if isinstance(row, dict) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
