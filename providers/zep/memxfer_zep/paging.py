"""Walking a list of Zep's from its first page to its last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from memxfer.spi import ProviderError, RawPage
from memxfer_zep.config import NAME

__all__ = ["rows_of"]

_PAGE: Final = 100


async def rows_of(fetch: Callable[[str | None, int], Awaitable[RawPage]]) -> AsyncIterator[dict[str, Any]]:
    """Give the rows of a listing, page by page; what is no row is left out.

    Args:
        fetch: Gets a page by its cursor and size.

    Raises:
        ProviderError: The listing goes in a circle.
    """
    cursor: str | None = None
    seen: set[str] = set()
    while True:
        page = await fetch(cursor, _PAGE)
        for row in page.rows:
            if isinstance(row, dict):
                yield row
        cursor = page.next_cursor
        if cursor is None:
            return
        if cursor in seen:
            raise ProviderError("zep gives the same cursor again and again", provider=NAME, operation="read")
        seen.add(cursor)
