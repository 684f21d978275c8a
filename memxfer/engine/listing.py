"""Reading a source: partitions side by side, pages in order, and never quietly short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from memxfer.capabilities import Paging
from memxfer.engine.budget import ByteBudget
from memxfer.engine.calls import Caller
from memxfer.engine.control import RunControl, Stopped, side_by_side
from memxfer.engine.marks import Marks
from memxfer.errors import CursorExpiredError, MemxferError, ProviderError
from memxfer.ids import FORM_BYTES, record_digest
from memxfer.models import MemoryRecord, encode_record, sanitise_text
from memxfer.spi import Defect, Ignored, MemoryProvider, Page, Partition

__all__ = ["Listed", "ListedPage", "Listing", "Slice"]

S = TypeVar("S", bound="Slice")

_MOST_EMPTY_PAGES = 1_000
_MOST_RESTARTS = 3
_FIRST_GUESS = 256 * 1024
_FIRST_PAGE = 200
_SHARE = 4
_SMOOTHING = 4
_OBJECT_WEIGHT = 2
"""Bytes in memory per byte of canonical JSON, about: a decoded record is larger than its text."""
_KEPT_WEIGHT = _OBJECT_WEIGHT + 1
"""With the JSON itself kept beside it."""
"""How much of a digest is remembered of each record of a walk."""


@dataclass(slots=True)
class Slice:
    """A partition to be listed.

    Attributes:
        partition: The source's slice.
        cursor: Where to begin; `None`: at its start.
        pages: Pages read so far.
        most: Rows still wanted of it; `None`: all.
        is_done: It was read to its end.
    """

    partition: Partition
    cursor: str | None = None
    pages: int = 0
    most: int | None = None
    is_done: bool = False


class Listed(msgspec.Struct, frozen=True, gc=False):
    """A record as it came.

    Attributes:
        record: The record.
        size: Bytes it holds in memory, about.
        hash: Of all of it, with its mark: see `memxfer.ids.record_digest`.
        encoded: Its canonical JSON, where it is kept for the residue.
        is_rival: Another record of this id, owner and date came before it on a listing that shifts:
            whether this is a second record or a later form of the first cannot be told.
    """

    record: MemoryRecord
    size: int
    hash: bytes
    encoded: bytes = b""
    is_rival: bool = False

    @classmethod
    def of(cls, record: MemoryRecord, *, keeps: bool = False) -> Listed:
        """Weigh and hash `record`, and keep its encoded form on request."""
        encoded = encode_record(record)
        digest = record_digest(record, encoded)
        if keeps:
            return cls(record, len(encoded) * _KEPT_WEIGHT, digest, encoded)
        return cls(record, len(encoded) * _OBJECT_WEIGHT, digest)


@dataclass(frozen=True, slots=True)
class ListedPage:
    """A page, on its way through the engine.

    Attributes:
        records: The records, each once.
        cursor: Where this page began.
        next_cursor: Where the next begins; `None` at the partition's end.
        ignored: Rows that are not memories, each with its reason.
        defects: Rows that could not be read.
        size: Bytes held in the budget for it.
    """

    records: Sequence[Listed]
    cursor: str | None
    next_cursor: str | None
    ignored: Sequence[Ignored]
    defects: Sequence[Defect]
    size: int


class _Guard:
    """What one walk through a partition has seen, to notice a listing that turns in circles.

    Only the same record with the same content is a repeat. The same record with other content is
    another record, unless rows may come again (`is_shifting`): there it may have been edited between
    two pages.

    Args:
        remembers_all: Any row may come again. Where rows come in key order, only a page and the one
            before it can overlap; and the first, when a cursor leads back to the start.
        is_shifting: Rows may come again.
        began: When the walk began.
    """

    def __init__(self, *, remembers_all: bool, is_shifting: bool, began: datetime) -> None:
        self.cursors = Marks()
        self.empty = 0
        self.is_shifting = is_shifting
        self._began = began
        self._all = Marks() if remembers_all else None
        self._records = Marks()
        self._on_page: set[bytes] = set()
        self._first_page: set[bytes] = set()
        self._last_page: set[bytes] = set()
        self._page: set[bytes] = self._first_page

    def begin_page(self) -> None:
        """A page follows."""
        self._on_page = set()
        if self._page:
            self._last_page, self._page = self._page, set()

    def take(self, listed: Listed) -> Listed | None:
        """Return what is new in this walk, or `None` for a repeat, and remember it."""
        if self._is_repeated(listed.hash):
            return None
        if self._all is None or not listed.record.id:
            return listed
        mark = listed.hash[FORM_BYTES:]
        if self._records.add(mark):
            self._on_page.add(mark)
        if mark in self._on_page or not self.is_shifting:
            return listed
        if listed.record.updated_at is not None and listed.record.updated_at >= self._began:
            return None  # edited since its first form came: that one is moved
        return msgspec.structs.replace(listed, is_rival=True)

    def _is_repeated(self, form: bytes) -> bool:
        if self._all is not None:
            return not self._all.add(form)
        if form in self._page or form in self._last_page or form in self._first_page:
            return True
        self._page.add(form)
        return False

    def close(self) -> None:
        """Forget everything, and give back what it holds."""
        self.cursors.clear()
        self._records.clear()
        self._page = self._first_page = set()
        self._last_page = set()
        if self._all is not None:
            self._all.clear()


class Listing:
    """Lists a source.

    Args:
        source: A provider connected as source.
        caller: Makes the calls to it.
        budget: Bytes that may be on their way; the consumer releases each page's `size`.
        listers: Partitions read side by side.
        keeps_encoded: Keep each record's canonical JSON beside it.

    Attributes:
        aborted: Names of partitions given up, each with the reason.
        is_stable: Rows keep their place while others come and go.
    """

    def __init__(
        self,
        source: MemoryProvider[Any],
        caller: Caller,
        *,
        budget: ByteBudget,
        listers: int,
        keeps_encoded: bool = False,
    ) -> None:
        paging = source.capabilities().paging or Paging()
        self._source = source
        self._caller = caller
        self._budget = budget
        self._listers = listers
        self._keeps_encoded = keeps_encoded
        self._most = min(source.config.page_size or paging.max_page, paging.max_page)
        self._weight = float(_FIRST_GUESS) / _FIRST_PAGE
        self._active = 0
        self.is_stable = paging.is_stable
        self._remembers_all = paging.cursors_expire or not self.is_stable
        self._is_enough: Callable[[], bool] = lambda: False
        self.aborted: dict[str, str] = {}

    @property
    def control(self) -> RunControl:
        """Whether to go on."""
        return self._caller.control

    async def partitions(self) -> AsyncIterator[Partition]:
        """Give the source's partitions, each name once; where listing them fails for now, ask again.

        Raises:
            Stopped: The run is stopping.
            ProviderError: They cannot be listed, and no later try would help.
        """
        seen = Marks()
        listing = self._source.list_partitions()
        restarts = 0

        async def following() -> Partition | None:
            nonlocal listing, restarts
            try:
                while (partition := await anext(listing, None)) is not None and not seen.add(partition.name):
                    pass
            except ProviderError as error:
                # A generator that raised is over, and would look like the end of the list.
                listing = self._source.list_partitions()
                restarts += isinstance(error, CursorExpiredError)
                if isinstance(error, CursorExpiredError) and restarts < _MOST_RESTARTS:
                    return await following()
                raise
            return partition

        try:
            while (partition := await self._caller.read(following, is_paced=False)) is not None:
                yield partition
        finally:
            seen.clear()

    async def run(
        self,
        slices: AsyncIterator[S],
        deliver: Callable[[S, ListedPage], Awaitable[None]],
        *,
        restart: Callable[[S], Awaitable[None]] | None = None,
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        """Read every slice to its end, or until the run stops.

        Args:
            slices: What to list; drawn one at a time, so there may be many.
            deliver: Takes each page, in listing order within a slice.
            restart: Called before a slice is listed again from its start, because its cursor died.
            until: Tells that enough has been read.
        """
        drawing = asyncio.Lock()
        self._is_enough = until

        async def lister() -> None:
            while not self.control.is_stopping and not until():
                async with drawing:
                    item = await anext(slices, None)
                if item is None:
                    return
                self._active += 1
                try:
                    await self._walk(item, deliver, restart)
                finally:
                    self._active -= 1

        async with side_by_side() as group:
            for _ in range(self._listers):
                group.create_task(self._quietly(lister()))

    async def _quietly(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Stopped:
            return
        except MemxferError as error:
            self._caller.give_up(error)

    async def _walk(
        self,
        item: S,
        deliver: Callable[[S, ListedPage], Awaitable[None]],
        restart: Callable[[S], Awaitable[None]] | None,
    ) -> None:
        guard = self._guard()
        if item.cursor is not None:
            guard.cursors.add(item.cursor)
        try:
            for _ in range(_MOST_RESTARTS):
                try:
                    await self._pages(item, deliver, guard)
                except CursorExpiredError:
                    guard.cursors.clear()
                    if restart is not None:
                        await restart(item)
                        guard.close()
                    else:  # nobody matches the second walk against the first: what came then is left out
                        guard.is_shifting = True
                    item.cursor = None
                else:
                    return
            self.aborted[item.partition.name] = "its cursors expired again and again"
        except ProviderError as error:
            self.aborted[item.partition.name] = str(error)
        finally:
            guard.close()

    def _guard(self) -> _Guard:
        return _Guard(
            remembers_all=self._remembers_all,
            is_shifting=not self.is_stable,
            began=self._caller.clock.now(),
        )

    async def _pages(
        self, item: S, deliver: Callable[[S, ListedPage], Awaitable[None]], guard: _Guard
    ) -> None:
        while True:
            limit = self._page_size() if item.most is None else min(self._page_size(), item.most)
            held = await self._reserve(limit)
            try:
                page = await self._caller.read(
                    partial(self._source.read_page, item.partition, item.cursor, limit)
                )
                listed = self._weigh(page, item.cursor, guard)
                self._check(page, item, guard)
            except BaseException:
                await self._budget.release(held)
                raise
            # The page is in memory, whatever was guessed: replace the guess without waiting.
            await self._budget.release(held - listed.size)
            item.pages += 1
            await deliver(item, listed)
            item.is_done = page.next_cursor is None
            if item.is_done or self._is_enough():
                return
            item.cursor = page.next_cursor
            if item.most is not None:
                item.most -= len(page.records) + len(page.ignored) + len(page.defects)
                if item.most <= 0:
                    return

    def _page_size(self) -> int:
        """Return how many records to ask for: the pages of all listers fill a quarter of the budget."""
        share = self._budget.limit / (_SHARE * max(1, self._active))
        return max(1, min(self._most, round(share / self._weight)))

    async def _reserve(self, limit: int) -> int:
        held = round(limit * self._weight)
        await self._budget.acquire(held)
        if self.control.is_stopping:
            await self._budget.release(held)
            raise Stopped
        return held

    def _weigh(self, page: Page, cursor: str | None, guard: _Guard) -> ListedPage:
        guard.begin_page()
        came = (Listed.of(record, keeps=self._keeps_encoded) for record in page.records)
        records = [fresh for listed in came if (fresh := guard.take(listed)) is not None]
        total = sum(listed.size for listed in records)
        if records:
            self._weight += (total / len(records) - self._weight) / _SMOOTHING
        return ListedPage(records, cursor, page.next_cursor, page.ignored, page.defects, total)

    def _check(self, page: Page, item: Slice, guard: _Guard) -> None:
        name = item.partition.name
        if page.next_cursor is None:
            return
        if sanitise_text(page.next_cursor)[1]:
            raise ProviderError(
                f"partition {name}: the source gave a cursor that is not valid text; listing stopped there"
            )
        if page.next_cursor == item.cursor or not guard.cursors.add(page.next_cursor):
            raise ProviderError(
                f"partition {name}: the source gave the same cursor twice; listing stopped there"
            )
        guard.empty = 0 if page.records or page.ignored or page.defects else guard.empty + 1
        if guard.empty > _MOST_EMPTY_PAGES:
            raise ProviderError(
                f"partition {name}: {_MOST_EMPTY_PAGES} empty pages in a row; listing stopped there"
            )
