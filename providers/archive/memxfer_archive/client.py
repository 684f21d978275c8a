"""The archive's files, off the event loop: reading page by page, writing in groups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple, TypeVar

from memxfer.archive import (
    START,
    Appended,
    ArchivePart,
    ArchiveReader,
    ArchiveWriter,
    Origin,
    PartStream,
    Place,
)
from memxfer.spi import FatalError

__all__ = ["GroupWriter", "PageReader", "Row", "tool_name"]

T = TypeVar("T")

_PAGE_BYTES = 8 * 1024 * 1024


def tool_name() -> str:
    """Return what stands in a manifest as the program that wrote it."""
    try:
        return f"memxfer {version('memxfer')}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "memxfer"


class Row(NamedTuple):
    """One line as it stands in a part; `line` is `None` when it is too long to be read."""

    part: str
    number: int
    line: bytes | None


class PageReader:
    """Pages of the parts of one archive. Keeps each part's stream open between its pages."""

    def __init__(self, reader: ArchiveReader, parts: Sequence[ArchivePart]) -> None:
        self._reader = reader
        self._parts = {part.name: part for part in parts}
        self._streams: dict[str, PartStream] = {}

    def close(self) -> None:
        """Close the streams."""
        while self._streams:
            self._streams.popitem()[1].close()

    def page(self, name: str, cursor: str | None, limit: int) -> tuple[list[Row], str | None]:
        """Return rows and the next cursor.

        Raises:
            ValueError: The cursor is of no use for this archive.
            FatalError: The part is damaged, or there is none of that name.
        """
        stream = self._stream(name, START if cursor is None else Place.parse(cursor))
        try:
            rows = [Row(name, *row) for row in stream.read(limit, max_bytes=_PAGE_BYTES)]
            if not stream.is_at_end:
                self._streams[name] = stream
                return rows, str(stream.place)
        finally:
            if self._streams.get(name) is not stream:
                stream.close()
        return rows, None

    def _stream(self, name: str, place: Place) -> PartStream:
        if name not in self._parts:
            raise ValueError(f"the archive has no part {name}")
        stream = self._streams.pop(name, None)
        if stream and stream.place == place:
            return stream
        if stream:
            stream.close()
        return self._reader.stream(self._parts[name], place=place)


@dataclass(slots=True)
class _Group:
    lines: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    task: asyncio.Task[list[tuple[Appended, str]]] | None = None


class GroupWriter:
    """Writes of many callers, put to disk together: those that wait while the disk is busy share one sync.

    The archive is opened by the first call that needs it, since looking for a crash's traces reads files.
    After a full disk or the like it is opened anew, which finds out what is durable.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._path = path
        self._now = now
        self._lock = asyncio.Lock()
        self._writer: ArchiveWriter | None = None
        self._group: _Group | None = None
        self._origin: Origin | None = None

    async def append(self, lines: Sequence[tuple[str, bytes, bytes]]) -> list[tuple[Appended, str]]:
        """Store lines durably; see `ArchiveWriter.append_records`."""
        group = self._group
        if group is None:
            group = self._group = _Group()
            group.task = asyncio.create_task(self._commit(group))
        begin = len(group.lines)
        group.lines += lines
        assert group.task is not None  # noqa: S101 - set with the group
        # A caller that gives up must not take the others' lines along.
        outcomes = await asyncio.shield(group.task)
        return outcomes[begin : begin + len(lines)]

    async def _commit(self, group: _Group) -> list[tuple[Appended, str]]:
        async with self._lock:
            self._group = None
            return await asyncio.to_thread(self._append, group.lines)

    def _append(self, lines: Sequence[tuple[str, bytes, bytes]]) -> list[tuple[Appended, str]]:
        return self._do(lambda writer: writer.append_records(lines))

    async def begin(self, origin: Origin) -> None:
        """Say where the next lines come from."""
        async with self._lock:
            self._origin = origin
            await asyncio.to_thread(self._do, lambda writer: writer.begin(origin))

    async def find(self, keys: Sequence[str]) -> set[str]:
        """Return those keys the archive holds."""
        async with self._lock:
            return await asyncio.to_thread(self._do, lambda writer: writer.find(keys))

    async def delete(self, keys: Sequence[str]) -> int:
        """Take keys out; return how many were there."""
        async with self._lock:
            return await asyncio.to_thread(self._do, lambda writer: writer.delete(keys))

    async def finish(self) -> None:
        """Complete the archive."""
        async with self._lock:
            await asyncio.to_thread(self._do, lambda writer: writer.finish())

    async def close(self) -> None:
        """Release the files, once what is under way has ended. Idempotent."""
        async with self._lock:
            writer, self._writer = self._writer, None
            if writer:
                await asyncio.to_thread(writer.close)

    def _do(self, work: Callable[[ArchiveWriter], T]) -> T:
        if self._writer is None:
            self._writer = ArchiveWriter(self._path, now=self._now, tool=tool_name())
            if self._origin:
                self._writer.begin(self._origin)
        try:
            return work(self._writer)
        except FatalError:
            writer, self._writer = self._writer, None
            writer.close()
            raise
