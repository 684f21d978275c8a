"""Pages as Zep cuts them: opaque cursors bound to their listing, `items` and `next_cursor`."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from memxfer.emulation import Answer, Call, RefusedError

from .store import Place, Query

if TYPE_CHECKING:
    from .emulator import ZepEmulator

__all__ = ["Lister"]

_DEFAULT_SIZE = 50


class _Cursor(msgspec.Struct):
    listing: tuple[str, str | None, str, bool, str]
    place: tuple[Any, str] | None
    number: int
    at: float


_DECODER = msgspec.msgpack.Decoder(_Cursor)


class _Filter(msgspec.Struct, forbid_unknown_fields=True):
    property_name: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_]+$")]
    operator: Literal["in", "eq"]
    value: str | list[str]


class _Group(msgspec.Struct, forbid_unknown_fields=True):
    filters: Annotated[list[_Filter], msgspec.Meta(min_length=1, max_length=1)]
    type: Literal["and", "or"] = "and"


class _Filters(msgspec.Struct, forbid_unknown_fields=True):
    metadata_filters: _Group


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    filters: _Filters


class Lister:
    """Answers list calls.

    Args:
        emulator: Gives settings, store and time.
    """

    def __init__(self, emulator: ZepEmulator) -> None:
        self._emulator = emulator

    def answer(
        self,
        call: Call,
        kind: str,
        parent: str | None,
        *,
        sorts: tuple[str, ...],
        order: str = "desc",
        counts: bool = False,
    ) -> Answer:
        """Return one page.

        Args:
            call: The request; paging is in its query, filters and search in its body.
            kind: What is listed.
            parent: What it belongs to; `None`: everything of that kind.
            sorts: Values of `order_by` that the route takes, its default first.
            order: Its default direction.
            counts: Whether the page tells how many there are.

        Raises:
            RefusedError: 400 for a bad cursor, size, sort or filter.
        """
        query = replace(self._query(call, kind, parent, sorts, order), marks=self._marks(call, kind))
        cursor = self._cursor(call, query)
        size = self._size(call)
        number = cursor.number if cursor else 1
        place = Place(*cursor.place) if cursor and cursor.place else None
        store = self._emulator.store
        found = store.page(query, place, size + 1)
        if number in self._emulator.settings.empty_pages and found:
            return self._page(query, [], self._written(query, place, number + 1), counts)
        items = found[:size]
        if len(found) <= size:
            return self._page(query, [body for _, body in items], None, counts)
        answer = self._page(
            query, [body for _, body in items], self._written(query, items[-1][0], number + 1), counts
        )
        self._drift(query, items[0][0].uuid)
        return answer

    def _page(self, query: Query, bodies: list[bytes], cursor: str | None, counts: bool) -> Answer:
        page: dict[str, Any] = {"items": [msgspec.Raw(body) for body in bodies]}
        if cursor is not None:
            page["next_cursor"] = cursor
        if counts:
            page["total_size"] = self._emulator.store.count(query)
        return Answer(200, page)

    def _query(self, call: Call, kind: str, parent: str | None, sorts: tuple[str, ...], order: str) -> Query:
        order_by = call.query.get("order_by", sorts[0])
        direction = call.query.get("order", order)
        if order_by not in sorts:
            raise _bad("invalid_parameter", f"order_by must be one of {', '.join(sorts)}", "order_by")
        if direction not in ("asc", "desc"):
            raise _bad("invalid_parameter", "order must be asc or desc", "order")
        return Query(call.identity, kind, parent, order_by, direction == "desc")

    def _marks(self, call: Call, kind: str) -> tuple[str, tuple[str, ...]] | None:
        """Return the one filter that the emulator knows: metadata of facts and episodes, `in` or `eq`."""
        body = msgspec.json.decode(call.body) if call.body else {}
        asked = (
            {name: value for name, value in body.items() if value}
            if isinstance(body, Mapping)
            else {"": body}
        )
        if not asked:
            return None
        try:
            filters = msgspec.convert(asked, _Asked)
        except msgspec.ValidationError as error:
            raise _bad("unsupported_filter", "the emulator does not know this filter", min(asked)) from error
        if kind not in ("edge", "episode") or not self._emulator.settings.metadata_filters:
            raise _bad("unsupported_filter", "this list takes no filter on metadata", "metadata_filters")
        [wanted] = filters.filters.metadata_filters.filters
        values = wanted.value if isinstance(wanted.value, list) else [wanted.value]
        return wanted.property_name, tuple(values)

    def _size(self, call: Call) -> int:
        text = call.query.get("page_size", str(_DEFAULT_SIZE))
        settings = self._emulator.settings
        if not text.isdecimal() or int(text) < 1:
            raise _bad("invalid_parameter", "page_size must be a positive number", "page_size")
        if int(text) > settings.most_per_page and settings.oversized_pages == "reject":
            raise _bad(
                "invalid_parameter", f"page_size must be at most {settings.most_per_page}", "page_size"
            )
        return min(int(text), settings.most_per_page)

    def _cursor(self, call: Call, query: Query) -> _Cursor | None:
        text = call.query.get("cursor")
        if not text:
            return None
        try:
            cursor = _DECODER.decode(base64.urlsafe_b64decode(text.encode("ascii")))
        except (UnicodeEncodeError, binascii.Error, ValueError, msgspec.MsgspecError) as error:
            raise _bad("invalid_cursor", "the cursor is not valid", "cursor") from error
        life = self._emulator.settings.cursor_seconds
        is_dead = life is not None and self._emulator.clock() - cursor.at >= life
        if is_dead or cursor.listing != _listing(query):
            raise _bad("invalid_cursor", "the cursor has expired or belongs to another list", "cursor")
        return cursor

    def _written(self, query: Query, place: Place | None, number: int) -> str:
        after = (place.sort, place.uuid) if place else None
        cursor = _Cursor(_listing(query), after, number, self._emulator.clock())
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode()

    def _drift(self, query: Query, first: str) -> None:
        """Let others write meanwhile: one row more, or the first of this page gone."""
        store, drift = self._emulator.store, self._emulator.settings.drift
        if drift == "delete":
            store.remove(query.project, query.kind, first)
        elif drift == "insert":
            row = store.get(query.project, query.kind, first) or {}
            row |= {"uuid": str(uuid.uuid4())}
            store.add(query.project, query.kind, [row], now=self._emulator.clock())


def _listing(query: Query) -> tuple[str, str | None, str, bool, str]:
    return (query.kind, query.parent, query.order_by, query.is_descending, str(query.marks))


def _bad(code: str, message: str, param: str) -> RefusedError:
    return RefusedError(400, {"code": code, "message": message, "param": param})
