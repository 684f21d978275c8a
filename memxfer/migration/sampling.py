"""Reading a sample: a little of many partitions says more about a store than all of the first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import islice

from memxfer.engine.listing import ListedPage, Listing, Slice

__all__ = ["read_sample"]

_MOST_SLICES = 256


async def read_sample(
    listing: Listing, take: Callable[[Slice, ListedPage], Awaitable[None]], *, missing: Callable[[], int]
) -> bool:
    """Read rows evenly from partitions spread over the whole source.

    Args:
        listing: The source's.
        take: Takes each page.
        missing: Tells how many rows are still wanted.

    Returns:
        Whether there is more in the source than was read.
    """
    chosen, is_part = await _choose(listing, min(_MOST_SLICES, missing()))
    unread = chosen
    while unread and missing() > 0 and not listing.control.is_stopping:
        share = -(-missing() // len(unread))
        for item in unread:
            item.most = share
        await listing.run(_each(unread), take, until=lambda: missing() <= 0)
        unread = [item for item in unread if not item.is_done and item.partition.name not in listing.aborted]
    return is_part or not all(item.is_done for item in chosen)


async def _choose(listing: Listing, most: int) -> tuple[list[Slice], bool]:
    """Return at most `2 * most` partitions, evenly spread, and whether others were left out."""
    chosen: list[Slice] = []
    step = 1
    number = 0
    async for partition in listing.partitions():
        if number % step == 0:
            chosen.append(Slice(partition))
        number += 1
        if len(chosen) > 2 * most:
            chosen = list(islice(chosen, 0, None, 2))
            step *= 2
    return chosen, len(chosen) < number


async def _each(items: Sequence[Slice]) -> AsyncIterator[Slice]:
    for item in items:
        yield item
