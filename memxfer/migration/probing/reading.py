"""Finding a probe's records again, in a store that may hold millions of others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

from memxfer.engine.calls import Caller
from memxfer.errors import ProviderError
from memxfer.migration.probing.sending import Sent
from memxfer.models import MemoryRecord, canonical_json, sanitise_record
from memxfer.spi import MemoryProvider, Page, Paging, Partition, SupportsCount, SupportsGet

__all__ = ["MOST_ROWS", "ReadBack", "Reader"]

MOST_ROWS = 5_000
"""Rows that a probe lists at most to find its own; a larger store is asked by id alone."""

_MOST_PAGES = 500


@dataclass(slots=True)
class ReadBack:
    """What a connection shows of a probe's records.

    Attributes:
        records: Those found.
        is_complete: The store was listed to its end: what is not among them is not there.
        problem: Why nothing could be seen; empty if something was.
        get_works: Whether `get` gave what it should; `None`: there is none, or nothing to ask it for.
        get_problem: What was wrong with it.
    """

    records: list[MemoryRecord] = field(default_factory=list)
    is_complete: bool = False
    problem: str = ""
    get_works: bool | None = None
    get_problem: str = ""


class Reader:
    """Reads a probe's records back through a connection opened as a source.

    Args:
        source: The connection.
        caller: Makes the calls.
        token: What every record of the probe carries, in its text and its owner.
    """

    def __init__(self, source: MemoryProvider[Any], caller: Caller, *, token: str) -> None:
        self._source = source
        self._caller = caller
        self._token = token.encode()

    async def read(self, sent: Sequence[Sent]) -> ReadBack:
        """Look for the records of documents that were sent.

        Raises:
            Stopped: The probe has to end.
        """
        found = ReadBack()
        try:
            await self._list(found)
            if isinstance(self._source, SupportsGet):
                await self._get(self._source, sent, found)
        except ProviderError as error:
            found.problem = f"reading back failed: {error}"
        if found.records:
            found.problem = ""
        elif not found.problem:
            found.problem = "what was written is not among what this connection lists"
        return found

    # -- by listing ---------------------------------------------------------------------------

    async def _list(self, found: ReadBack) -> None:
        rows = await self._count()
        if rows is not None and rows > MOST_ROWS:
            found.problem = f"the store holds {rows:,} records: too many to look for those of the probe"
            return
        seen = pages = 0
        async with aclosing(self._pages()) as listing:
            async for page in listing:
                found.records += [record for record in page.records if self._is_ours(record)]
                seen += len(page.records) + len(page.ignored) + len(page.defects)
                pages += 1
                if seen > MOST_ROWS or pages > _MOST_PAGES:
                    found.problem = f"those of the probe are not among the first {seen:,} records"
                    return
        found.is_complete = True

    async def _count(self) -> int | None:
        source = self._source
        return await self._caller.read(source.count) if isinstance(source, SupportsCount) else None

    async def _pages(self) -> AsyncGenerator[Page, None]:
        listing = cast("AsyncGenerator[Partition, None]", self._source.list_partitions())
        async with aclosing(listing) as partitions:
            async for partition in partitions:
                cursor: str | None = None
                while True:
                    page = await self._page(partition, cursor)
                    yield page
                    if page.next_cursor is None or page.next_cursor == cursor:
                        break
                    cursor = page.next_cursor

    async def _page(self, partition: Partition, cursor: str | None) -> Page:
        paging = self._source.capabilities().paging or Paging()
        size = min(self._source.config.page_size or paging.max_page, paging.max_page)
        return await self._caller.read(lambda: self._source.read_page(partition, cursor, size))

    def _is_ours(self, record: MemoryRecord) -> bool:
        return self._token in canonical_json(record)

    # -- by id --------------------------------------------------------------------------------

    async def _get(self, source: SupportsGet, sent: Sequence[Sent], found: ReadBack) -> None:
        """Ask for records by id; where they were listed, compare, and where not, take what is ours."""
        if found.records:
            found.get_works, found.get_problem = await self._agrees(source, found.records)
        else:
            await self._collect(source, sent, found)
        if found.get_works and await self._ask(source, str(uuid4())) is not None:
            found.get_works, found.get_problem = False, "it gives a record for an id that does not exist"

    async def _agrees(self, source: SupportsGet, records: Sequence[MemoryRecord]) -> tuple[bool, str]:
        texts: dict[str, set[str]] = {}
        for record in records:
            texts.setdefault(record.id, set()).add(record.content)
        for record_id, contents in texts.items():
            given = await self._ask(source, record_id)
            if given is None or given.content not in contents:
                return False, "it does not give what the listing shows"
        return True, ""

    async def _collect(self, source: SupportsGet, sent: Sequence[Sent], found: ReadBack) -> None:
        ids = dict.fromkeys(one for item in sent if item.is_stored for one in (item.record.id, *item.ids))
        for record_id in ids:
            record = await self._ask(source, record_id)
            if record is not None and self._is_ours(record) and record not in found.records:
                found.records.append(record)
                found.get_works = True

    async def _ask(self, source: SupportsGet, record_id: str) -> MemoryRecord | None:
        record = await self._caller.read(lambda: source.get(record_id))
        return None if record is None else sanitise_record(record)
