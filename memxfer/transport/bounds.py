"""The bounds of one answer: bytes on the wire, bytes unpacked, seconds until it is whole.

`httpx` and `aiohttp` bound neither the size of a body nor the time it takes: a time-out starts anew with
every piece, and a gzip body of 1 MB unpacks to 1 GB. So bodies are unpacked here, piece by piece. What
precedes a body is bounded by `aiohttp` (8 KiB a line, 128 headers, 3.14) and by the client's patience.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Final

import httpx

__all__ = ["ACCEPTED", "MOST_BYTES", "AnswerTooLargeError", "bounded"]

ACCEPTED: Final = "gzip, deflate"
"""What a request may ask a body to be packed with: what can be unpacked in bounded pieces."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of an answer, on the wire and unpacked: over sixty times the largest page of any provider."""

_MOST_OF_A_REFUSAL: Final = 256 * 1024
"""Most bytes of an answer that is no success; the rest of it is not read. Its status says what it means."""

_SLOWEST: Final = 16 * 1024
"""Bytes per second that a body has to make on the whole, once the time for its first byte is over."""

_PIECE: Final = 64 * 1024
_GZIP: Final = 31
_ZLIB: Final = 15
_RAW: Final = -15
_CODINGS: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


class AnswerTooLargeError(httpx.ReadError):
    """An answer has more bytes than any that memxfer asks for; the rest of it was not read."""


def bounded(response: httpx.Response, *, seconds: float) -> httpx.Response:
    """Return `response` with a body that is unpacked and bounded; call it when the head has arrived.

    Reading the body raises `AnswerTooLargeError` beyond `MOST_BYTES`, `httpx.ReadTimeout` when it takes
    longer than its size explains, and `httpx.DecodingError` when it does not unpack. The body of a
    refusal is cut off instead, at a quarter megabyte or where it is damaged: its status is what counts.

    Args:
        response: An answer whose body was not read.
        seconds: How long the body may take before its bytes are counted against the clock.
    """
    names = response.headers.get_list("content-encoding", split_commas=True)
    codings = [name.strip().lower() for name in names if name.strip().lower() not in ("", "identity")]
    if codings:  # unpacked here; httpx would do it again
        del response.headers["content-encoding"]
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - the transport is asynchronous
    response.stream = _Body(stream, codings, seconds=seconds, is_refusal=response.is_error)
    return response


class _Body(httpx.AsyncByteStream):
    def __init__(
        self, packed: httpx.AsyncByteStream, codings: list[str], *, seconds: float, is_refusal: bool
    ) -> None:
        self._packed = packed
        self._codings = codings
        self._seconds = seconds
        self._is_refusal = is_refusal
        self._most = _MOST_OF_A_REFUSAL if is_refusal else MOST_BYTES

    async def __aiter__(self) -> AsyncIterator[bytes]:
        given = 0
        try:
            unpacker = _Unpacker(self._codings)
            async with aclosing(self._in_time()) as wire:
                async for packed in wire:
                    for piece in unpacker.feed(packed):
                        given += len(piece)
                        self._check(given)
                        yield piece
            unpacker.end()
        except (AnswerTooLargeError, httpx.DecodingError):
            if not self._is_refusal:
                raise

    async def aclose(self) -> None:
        await self._packed.aclose()

    async def _in_time(self) -> AsyncGenerator[bytes]:
        """Give the pieces as they come, within the bounds of the wire."""
        begun = asyncio.get_running_loop().time()
        taken = 0
        pieces = aiter(self._packed)
        while True:
            try:
                async with asyncio.timeout_at(begun + self._seconds + taken / _SLOWEST):
                    piece = await anext(pieces, None)
            except TimeoutError as error:
                raise httpx.ReadTimeout("the answer was not complete in time") from error
            if piece is None:
                return
            taken += len(piece)
            self._check(taken)
            yield piece

    def _check(self, count: int) -> None:
        if count > self._most:
            raise AnswerTooLargeError(f"the answer has over {self._most} bytes")


class _Unpacker:
    def __init__(self, codings: list[str]) -> None:
        if len(codings) > 1 or any(coding not in _CODINGS for coding in codings):
            raise httpx.DecodingError("the answer is packed in a way that was not asked for")
        self._may_be_raw = codings == ["deflate"]
        self._member = zlib.decompressobj(_CODINGS[codings[0]]) if codings else None
        self._is_begun = False

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """Give what `packed` unpacks to, in pieces; what follows the end of the packed body is ignored."""
        if self._member is None:
            yield packed
            return
        while packed and not self._member.eof:
            piece = self._unpack(self._member, packed)
            packed = self._member.unconsumed_tail
            if piece:
                yield piece

    def end(self) -> None:
        """Check that the body was whole."""
        if self._member and self._is_begun and not self._member.eof:
            raise httpx.DecodingError("the answer ends within its packing")

    def _unpack(self, member: zlib._Decompress, packed: bytes) -> bytes:
        is_first, self._is_begun = not self._is_begun, True
        try:
            return member.decompress(packed, _PIECE)
        except zlib.error as error:
            if not (is_first and self._may_be_raw):
                raise httpx.DecodingError("the answer could not be unpacked") from error
        # Some servers send deflate without the envelope that HTTP asks for.
        self._may_be_raw = False
        self._member = zlib.decompressobj(_RAW)
        return self._unpack(self._member, packed)
