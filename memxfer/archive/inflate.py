"""Unpacking the gzip members of a part, in pieces of bounded size, and where each member begins."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from memxfer.archive.layout import damaged, open_private

__all__ = ["DamagedError", "Inflater", "Measure", "deflate", "measure"]

_READ = 128 * 1024
_UNPACK = 256 * 1024
_GZIP = 31
"""zlib's word for: 32 kB window, gzip header, checksum tested."""

_LEVEL = 1
"""Of texts, measured: three fifths of the time of level 4, for a twentieth more bytes."""


class DamagedError(Exception):
    """The bytes are no gzip members, or end within one. The caller knows which file it was."""


def deflate(lines: bytes) -> bytes:
    """Return one gzip member that holds `lines`; the same bytes give the same member."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(lines) + packer.flush()


class Inflater:
    """Unpacks a file member by member.

    Args:
        file: The file; is read from `start` on.
        start: Where a member begins.
        end: Where to stop, as if the file ended there.
        raw_limit: Most bytes to unpack.

    Attributes:
        members: Begin of each member met so far, in the file and in the unpacked bytes since `start`.
        whole: Where the last complete member ends in the file.
        unpacked: Bytes given out.
    """

    def __init__(self, file: BinaryIO, *, start: int, end: int, raw_limit: int) -> None:
        self._file = file
        self._end = end
        self._raw_limit = raw_limit
        self._fed = file.seek(start)
        self._packed = b""
        self._member: zlib._Decompress | None = None
        self.members: list[tuple[int, int]] = []
        self.whole = start
        self.unpacked = 0

    @property
    def is_within_member(self) -> bool:
        """Tell whether the last piece was not the end of its member."""
        return self._member is not None

    def read(self) -> bytes:
        """Return the next piece; nothing at the end.

        Raises:
            DamagedError: No member begins here, its checksum fails, it is cut short, or there is more
                than `raw_limit`.
        """
        while True:
            member = self._member or self._begin()
            if member is None:
                return b""
            if not self._packed:
                self._refill()
            starved = not self._packed
            piece = self._unpack(member)
            if piece:
                return piece
            if starved and not member.eof:
                raise DamagedError("is cut short")

    def _begin(self) -> zlib._Decompress | None:
        if not self._packed:
            self._refill()
        if not self._packed:
            return None
        self.members.append((self._fed - len(self._packed), self.unpacked))
        self._member = zlib.decompressobj(_GZIP)
        return self._member

    def _refill(self) -> None:
        self._packed = self._file.read(max(0, min(_READ, self._end - self._fed)))
        self._fed += len(self._packed)

    def _unpack(self, member: zlib._Decompress) -> bytes:
        try:
            piece = member.decompress(self._packed, _UNPACK)
        except zlib.error as error:
            raise DamagedError("is damaged") from error
        self._packed = member.unconsumed_tail
        if member.eof:
            self._packed = member.unused_data
            self.whole = self._fed - len(self._packed)
            self._member = None
        self.unpacked += len(piece)
        if self.unpacked > self._raw_limit:
            raise DamagedError("unpacks to more bytes than it should")
        return piece


@dataclass(frozen=True, slots=True)
class Measure:
    """What a part holds, up to its last complete member.

    Attributes:
        size: Bytes of the file.
        raw_size: Bytes unpacked.
        lines: Lines.
    """

    size: int = 0
    raw_size: int = 0
    lines: int = 0


def measure(path: Path, *, raw_limit: int, torn: bool = False) -> Measure:
    """Count what a part holds by unpacking it.

    Args:
        path: The file.
        raw_limit: Most bytes to unpack.
        torn: Its end may be cut off within a member, by a crash; then the cut is not an error.

    Raises:
        FatalError: The part is damaged.
    """
    whole = seen = Measure()
    with open_private(path, "rb") as file:
        inflater = Inflater(file, start=0, end=path.stat().st_size, raw_limit=raw_limit)
        try:
            while piece := inflater.read():
                if inflater.is_within_member and inflater.whole > whole.size:
                    whole = replace(seen, size=inflater.whole)
                seen = Measure(0, inflater.unpacked, seen.lines + piece.count(b"\n"))
                if not inflater.is_within_member:
                    whole = replace(seen, size=inflater.whole)
        except DamagedError as error:
            if not torn:
                raise damaged(path, str(error)) from error
    # The last member's checksum may have come alone, without a byte of text.
    return replace(seen, size=inflater.whole) if inflater.whole > whole.size else whole
