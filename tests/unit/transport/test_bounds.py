"""What a hostile or broken server may send: every answer ends, and none costs more than its bound."""

import asyncio
import gzip
import zlib

import pytest

from memxfer.errors import AmbiguousError, AuthError, FatalError, UnavailableError
from memxfer.spi import Timeouts
from memxfer.transport import error_for_status, exchange, open_client

pytestmark = pytest.mark.anyio

QUICK = Timeouts(connect=2, read=0.3, write=2)
PATIENT = Timeouts(connect=5, read=20, write=5)
TEXT = b'{"ok": true}'


def packed_text(text):
    return gzip.compress(text, mtime=0)


def packed(coding, size):
    """Return so many zero bytes, packed, without holding them."""
    packer = zlib.compressobj(1, zlib.DEFLATED, {"gzip": 31, "deflate": 15}[coding])
    piece = bytes(2**20)
    return b"".join([*(packer.compress(piece) for _ in range(size // 2**20)), packer.flush()])


def answering(head, body=b"", *, status=b"200 OK"):
    async def behaviour(connection):
        while await connection.read_request():
            lines = [b"HTTP/1.1 " + status, *head, b"Content-Length: %d" % len(body)]
            await connection.send(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    return behaviour


async def ask(server, *, is_write=False, timeouts=PATIENT):
    async with open_client(server.url, timeouts=timeouts) as client:
        method = "POST" if is_write else "GET"
        return await exchange(client, method, "/x", is_write=is_write, provider="p", operation="o")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_small_answer_that_unpacks_to_hundreds_of_megabytes_is_given_up_early(serving, coding):
    bomb = packed(coding, 2**28)
    async with serving(answering([b"Content-Encoding: " + coding.encode()], bomb)) as server:
        with pytest.raises(FatalError, match="over 64 MiB") as caught:
            await ask(server)
    assert caught.value.code == "answer_too_large"


async def test_no_piece_of_an_answer_is_large_however_well_it_is_packed(serving):
    async with (
        serving(answering([b"Content-Encoding: gzip"], packed("gzip", 2**25))) as server,
        open_client(server.url, timeouts=PATIENT) as client,
        client.stream("GET", "/x") as response,
    ):
        sizes = [len(piece) async for piece in response.aiter_bytes()]
    assert sum(sizes) == 2**25
    assert max(sizes) <= 2**16


async def test_an_endless_chunked_answer_is_given_up(serving):
    async def endless(connection):
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await connection.send(b"100000\r\n" + bytes(2**20) + b"\r\n")

    async with serving(endless) as server:
        with pytest.raises(AmbiguousError, match="too large"):
            await ask(server, is_write=True)


async def trickle_in_the_body(connection):
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await connection.send(b" ")
        await asyncio.sleep(0.05)


async def trickle_in_the_head(connection):
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(10**6):
        await connection.send(b"X-%d: y\r\n" % number)
        await asyncio.sleep(0.05)


async def trickle_in_a_refusal(connection):
    await connection.read_request()
    await connection.send(b"HTTP/1.1 503 No\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await connection.send(b" ")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("behaviour", [trickle_in_the_body, trickle_in_the_head, trickle_in_a_refusal])
async def test_a_byte_now_and_then_does_not_keep_an_exchange_alive(serving, behaviour):
    waits = Timeouts(connect=0.3, read=0.3, write=0.3)
    async with serving(behaviour) as server, asyncio.timeout(4):
        with pytest.raises(UnavailableError):
            await ask(server, timeouts=waits)


async def test_a_slow_answer_that_keeps_its_pace_arrives(serving):
    async def steadily(connection):
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 320000\r\n\r\n")
        for _ in range(20):
            await connection.send(bytes(16_000))
            await asyncio.sleep(0.04)

    async with serving(steadily) as server:
        assert len((await ask(server, timeouts=QUICK)).content) == 320_000


@pytest.mark.parametrize(
    "head", [[b"X-%d: y" % number for number in range(5000)], [b"X-Long: " + b"y" * 500_000]]
)
async def test_absurd_headers_are_no_http(serving, head):
    async with serving(answering(head, TEXT)) as server:
        with pytest.raises(UnavailableError, match="not HTTP"):
            await ask(server)


@pytest.mark.parametrize("status", [b"401 No", b"500 Broken"])
@pytest.mark.parametrize("is_packed", [False, True])
async def test_a_huge_page_of_a_refusal_is_cut_off_and_its_status_counts(serving, status, is_packed):
    size = 20 * 2**20
    body = packed("gzip", size) if is_packed else bytes(size)
    head = [b"Content-Encoding: gzip"] if is_packed else []
    async with serving(answering(head, body, status=status)) as server:
        response = await ask(server)
    assert response.status_code == int(status[:3])
    assert len(response.content) <= 256 * 1024


@pytest.mark.parametrize(
    "head",
    [
        [b"Content-Encoding: br"],
        [b"Content-Encoding: gzip"],
        [b"Content-Encoding: gzip, gzip"],
        [b"Content-Encoding: zstd"],
    ],
)
async def test_a_refusal_whose_page_cannot_be_unpacked_is_still_that_refusal(serving, head):
    async with serving(answering(head, b"hello", status=b"401 No")) as server:
        response = await ask(server)
    assert (response.status_code, response.content) == (401, b"")


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ([b"Content-Encoding: br"], TEXT),
        ([b"Content-Encoding: zstd"], TEXT),
        ([b"Content-Encoding: gzip, gzip"], packed_text(packed_text(TEXT))),
        ([b"Content-Encoding: gzip", b"Content-Encoding: gzip"], packed_text(packed_text(TEXT))),
        ([b"Content-Encoding: gzip"], packed_text(TEXT)[:-6]),
        ([b"Content-Encoding: deflate"], b"\xff\xff\xff"),
    ],
)
async def test_what_was_not_asked_for_or_is_broken_is_no_answer(serving, head, body):
    async with serving(answering(head, body)) as server:
        with pytest.raises(UnavailableError, match="decompressed"):
            await ask(server)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", packed_text(TEXT)),
        (b"x-gzip", packed_text(TEXT)),
        (b"GZIP", packed_text(TEXT)),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", zlib.compress(TEXT)[2:-4]),
        (b"identity", TEXT),
        (b"gzip", b""),
    ],
)
async def test_packed_answers_are_unpacked(serving, coding, body):
    async with serving(answering([b"Content-Encoding: " + coding], body)) as server:
        assert (await ask(server)).content == (TEXT if body else b"")


async def test_only_what_can_be_bounded_is_asked_for_whatever_the_caller_takes(serving):
    async with serving(answering([], TEXT)) as server:
        async with open_client(server.url, timeouts=PATIENT) as client:
            await client.get("/x", headers={"Accept-Encoding": "br, zstd, *"})
        [(head, _)] = server.requests
    assert b"accept-encoding: gzip, deflate\r\n" in head.lower()


async def test_a_connection_whose_answer_was_not_read_to_its_end_is_not_used_again(serving):
    async with serving(answering([], bytes(2**20), status=b"401 No")) as server:
        async with open_client(server.url, timeouts=PATIENT) as client:
            for _ in range(2):
                assert (await client.get("/x")).status_code == 401
        assert server.connections == 2


async def test_a_redirect_to_another_host_takes_no_key_there(serving):
    async with serving(answering([], TEXT)) as other:
        head = [b"Location: " + other.url.encode()]
        async with serving(answering(head, status=b"307 Away")) as server:
            async with open_client(
                server.url, timeouts=PATIENT, headers={"Authorization": "Bearer k"}
            ) as client:
                response = await client.get("/x")
            refused = error_for_status(response.status_code, is_write=False, now=None)
        assert isinstance(refused, FatalError)
        assert not isinstance(refused, AuthError)
        assert other.requests == []
