"""Reading a part: lines out of bounded pieces, and a place to go on from."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from memxfer.archive.inflate import DamagedError, Inflater
from memxfer.archive.layout import MAX_LINES, MAX_RAW, damaged, disk_trouble, open_private
from memxfer.archive.line import MAX_LINE

__all__ = ["START", "PartStream", "Place", "pick_lines"]

_PAGE = 500
_PAGE_BYTES = 8 * 1024 * 1024

_PLACE = re.compile(r"([0-9]{1,15})\.([0-9]{1,15})\.([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next line of a part begins; the same in every process.

    Attributes:
        member: Byte of the file at which a gzip member begins.
        skip: Unpacked bytes from there to the line.
        line: The line's number in the part, from 0.
    """

    member: int = 0
    skip: int = 0
    line: int = 0

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read what `str` wrote.

        Raises:
            ValueError: It is no place.
        """
        match = _PLACE.fullmatch(text)
        if match is None:
            raise ValueError("not a place in a part of an archive")
        return cls(*(int(number) for number in match.groups()))

    def __str__(self) -> str:
        return f"{self.member}.{self.skip}.{self.line}"


START = Place()


class PartStream:
    """The lines of one part file, from a place on, a few hundred kilobytes at a time.

    Args:
        path: The file.
        place: Where to begin; one that `place` gave for this file.
        end: Bytes of the file to read; `None`: all of it.
        raw_limit: Most bytes the part may unpack to; more is a bomb.
        lines: How many lines it has, where a manifest says so; another number is damage.
        skipped: Numbers of lines to leave out.

    Raises:
        ValueError: No line begins at `place`.
    """

    def __init__(
        self,
        path: Path,
        *,
        raw_limit: int,
        place: Place = START,
        end: int | None = None,
        lines: int | None = None,
        skipped: Collection[int] = (),
    ) -> None:
        self._path = path
        self._expected = lines
        self._most_lines = MAX_LINES if lines is None else lines
        self._skipped = skipped
        self._file = open_private(path, "rb")
        size = self._file.seek(0, 2)
        self._inflater = Inflater(
            self._file, start=place.member, end=size if end is None else end, raw_limit=raw_limit
        )
        self._lines: deque[bytes | None] = deque()
        self._overlong: deque[int] = deque()
        self._dropped = 0
        self._tail = b""
        self._is_ended = False
        self._start = place.member
        self._at = place.skip
        self._line = place.line
        try:
            if place != START:
                self._skip(place.skip)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    @property
    def place(self) -> Place:
        """Where the next unread line begins."""
        members = self._inflater.members
        index = bisect_right(members, self._at, key=lambda member: member[1]) - 1
        del members[: max(index, 0)]
        member, begin = members[0] if members else (self._start, 0)
        return Place(member, self._at - begin, self._line)

    @property
    def is_at_end(self) -> bool:
        """Tell whether every line was read.

        Raises:
            FatalError: The part is damaged.
        """
        while not self._lines and not self._is_ended:
            self._fill()
        return not self._lines

    def read(self, limit: int, *, max_bytes: int) -> list[tuple[int, bytes | None]]:
        """Return up to `limit` lines with their numbers, fewer once they come to `max_bytes` together.

        A line over `MAX_LINE` is `None`; blank lines and those to be skipped are left out.

        Raises:
            FatalError: The part is damaged, cut short, or unpacks to more than it should.
        """
        found: list[tuple[int, bytes | None]] = []
        taken = 0
        lines = self._lines
        while len(found) < limit and taken < max_bytes and (lines or not self.is_at_end):
            line = lines.popleft()
            size = self._overlong.popleft() if line is None else len(line)
            if line != b"" and self._line not in self._skipped:
                found.append((self._line, line))
                taken += len(line or b"")
            # The last line may have no newline.
            self._at = min(self._at + size + 1, self._inflater.unpacked)
            self._line += 1
        return found

    def _skip(self, count: int) -> None:
        try:
            while (piece := self._inflater.read()) and len(piece) <= count:
                count -= len(piece)
        except DamagedError as error:
            raise ValueError("no line of the part begins there") from error
        if count > len(piece):
            raise ValueError("the part ends before that place")
        self._split(piece[count:])

    def _fill(self) -> None:
        try:
            with disk_trouble(self._path.parent.parent, "read"):
                piece = self._inflater.read()
        except DamagedError as error:
            raise damaged(self._path, str(error)) from error
        self._is_ended = not piece
        # A last line without its newline is still a line.
        self._split(piece or (b"\n" if self._tail or self._dropped else b""))
        count = self._line + len(self._lines)
        if count > self._most_lines:
            raise damaged(self._path, f"has more lines than the {self._most_lines} it should have at most")
        if self._is_ended and self._expected is not None and count != self._expected:
            raise damaged(self._path, f"has {count} lines; the manifest says {self._expected}")

    def _split(self, piece: bytes) -> None:
        if self._dropped:
            rest, newline, piece = piece.partition(b"\n")
            self._dropped += len(rest)
            if not newline:
                return
            self._give_up_line()
        *lines, self._tail = (self._tail + piece).split(b"\n")
        self._lines.extend(lines)
        if len(self._tail) > MAX_LINE:
            self._dropped, self._tail = len(self._tail), b""

    def _give_up_line(self) -> None:
        self._lines.append(None)
        self._overlong.append(self._dropped)
        self._dropped = 0


def pick_lines(path: Path, end: int | None, *, wanted: Mapping[int, str]) -> Iterator[tuple[str, bytes]]:
    """Give single lines of a part, each with the name it is wanted by.

    Args:
        path: The part.
        end: Bytes of the file to read; `None`: all of it.
        wanted: Names by line number.

    Raises:
        FatalError: The part is damaged.
    """
    last = max(wanted)
    with PartStream(path, raw_limit=MAX_RAW, end=end) as stream:
        while rows := stream.read(_PAGE, max_bytes=_PAGE_BYTES):
            yield from ((wanted[at], line) for at, line in rows if at in wanted and line is not None)
            if rows[-1][0] >= last:
                return
