"""Every way a connection can fail, on a real socket, and what it is taken for."""

import asyncio
import contextlib
import socket

import aiohttp
import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from memxfer.errors import AmbiguousError, UnavailableError
from memxfer.spi import Timeouts
from memxfer.transport import classify, exchange, open_client, was_sent

pytestmark = pytest.mark.anyio

QUICK = Timeouts(connect=0.3, read=0.3, write=0.3)
PATIENT = Timeouts(connect=5, read=5, write=5)


async def close_before_reading(connection):
    connection.writer.close()


async def close_after_request(connection):
    await connection.read_request()
    connection.writer.close()


async def close_within_headers(connection):
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    connection.writer.close()


async def cut_body(connection):
    await connection.read_request()
    await connection.send(connection.ok[:-5])
    connection.writer.close()


async def reset_after_request(connection):
    await connection.read_request()
    connection.reset()


async def reset_within_body(connection):
    await connection.read_request()
    await connection.send(connection.ok[:-5])
    connection.reset()


async def never_answer(connection):
    await connection.read_request()
    await asyncio.Event().wait()


async def stall_within_body(connection):
    await connection.read_request()
    await connection.send(connection.ok[:-5])
    await asyncio.Event().wait()


async def answer_garbage(connection):
    await connection.read_request()
    await connection.send(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
    connection.writer.close()


async def answer_broken_gzip(connection):
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!")


LOST = [
    (close_before_reading, "closed without an answer|reset"),
    (close_after_request, "closed without an answer"),
    (close_within_headers, "closed without an answer|not HTTP"),
    (cut_body, "cut off"),
    (reset_after_request, "reset"),
    (reset_within_body, "reset|cut off"),
    (never_answer, "in time"),
    (stall_within_body, "in time"),
    (answer_garbage, "not HTTP"),
    (answer_broken_gzip, "decompressed"),
]


async def ask(url, method="POST", *, is_write=True, timeouts=QUICK, **client_options):
    async with open_client(url, timeouts=timeouts, **client_options) as client:
        return await exchange(
            client, method, "/x", is_write=is_write, provider="p", operation="o", content=b'{"a":1}'
        )


@pytest.mark.parametrize(("behaviour", "words"), LOST, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_write_whose_answer_is_lost_is_ambiguous_and_sent_once(serving, behaviour, words):
    async with serving(behaviour) as server:
        with pytest.raises(AmbiguousError, match=words) as caught:
            await ask(server.url)
    assert server.connections == 1
    assert len(server.requests) <= 1
    assert (caught.value.provider, caught.value.operation) == ("p", "o")
    assert was_sent(caught.value.__cause__)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(("behaviour", "words"), LOST, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_read_whose_answer_is_lost_is_unavailable_and_not_sent_again_by_the_library(
    serving, behaviour, words, method
):
    async with serving(behaviour) as server:
        with pytest.raises(UnavailableError, match=words):
            await ask(server.url, method, is_write=False)
    assert server.connections == 1
    assert len(server.requests) <= 1


async def test_aiohttp_by_itself_does_send_a_get_again(serving):
    """The habit that the shared client switches off; if it goes away, so can the middleware."""
    async with serving(close_after_request) as server:
        async with httpx.AsyncClient(transport=AiohttpTransport(), trust_env=False) as client:
            with pytest.raises(httpx.HTTPError):
                await client.get(server.url)
        assert len(server.requests) == 2


async def test_httpx_aiohttp_by_itself_reports_a_lost_answer_like_a_connection_never_made(serving):
    async with (
        serving(close_after_request) as server,
        httpx.AsyncClient(transport=AiohttpTransport(), trust_env=False) as client,
    ):
        with pytest.raises(httpx.ConnectTimeout) as lost:
            await client.post(server.url, content=b"x")
    assert isinstance(lost.value.__cause__, aiohttp.ServerDisconnectedError)
    assert isinstance(classify(lost.value, is_write=True), AmbiguousError)


async def test_a_refused_connection_sent_nothing(refused_port):
    with pytest.raises(UnavailableError, match="connection refused") as caught:
        await ask(f"http://127.0.0.1:{refused_port}")
    assert not was_sent(caught.value.__cause__)
    assert "base_url" in str(caught.value)


async def test_a_name_that_does_not_resolve_sent_nothing():
    with pytest.raises(UnavailableError) as caught:
        await ask("http://no-such-host.invalid:1", timeouts=PATIENT, proxy=None)
    assert not was_sent(caught.value.__cause__)


async def test_a_full_backlog_is_a_connection_that_was_never_made():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        fillers = [await _filler(listening.getsockname()) for _ in range(3)]
        try:
            with pytest.raises((UnavailableError, AmbiguousError)) as caught:
                await ask(url)
        finally:
            for filler in fillers:
                filler.close()
    if isinstance(caught.value, AmbiguousError):
        pytest.skip("this kernel takes connections beyond the backlog")
    assert "no connection in time" in str(caught.value)


async def _filler(address):
    sock = socket.socket()
    sock.setblocking(False)
    with contextlib.suppress(TimeoutError, OSError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, address), 0.1)
    return sock


async def test_waiting_too_long_for_a_free_connection_sent_nothing(serving):
    async with (
        serving(never_answer) as server,
        open_client(server.url, timeouts=Timeouts(connect=0.2, read=5, write=5), connections=1) as client,
    ):
        busy = asyncio.create_task(client.post("/busy", content=b"x"))
        while not server.requests:
            await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="no connection in time"):
            await exchange(client, "POST", "/x", is_write=True, provider="p", operation="o", content=b"y")
        busy.cancel()
        with pytest.raises(asyncio.CancelledError):
            await busy
    assert len(server.requests) == 1


async def test_a_peer_that_never_reads_is_given_up_and_ambiguous(serving):
    async def never_read(connection):
        await asyncio.Event().wait()

    big = b"x" * 30_000_000
    async with (
        serving(never_read, read_limit=1024) as server,
        open_client(server.url, timeouts=QUICK) as client,
    ):
        client._transport._patience = lambda request: 0.3
        with pytest.raises(AmbiguousError, match="in time"):
            await exchange(client, "POST", "/x", is_write=True, provider="p", operation="o", content=big)


async def test_the_patience_for_a_big_request_grows_with_its_size():
    async with open_client("http://127.0.0.1:9", timeouts=Timeouts(connect=1, read=2, write=3)) as client:
        small = client.build_request("POST", "/", content=b"")
        big = client.build_request("POST", "/", content=b"x" * 160 * 1024)
        assert client._transport._patience(small) == 6
        assert client._transport._patience(big) == 16


async def test_a_connection_closed_while_idle_is_not_used_again(serving):
    closed = asyncio.Event()

    async def answer_once_and_close(connection):
        await connection.read_request()
        await connection.send(connection.ok)
        connection.writer.close()
        await connection.writer.wait_closed()
        closed.set()

    async with serving(answer_once_and_close) as server, open_client(server.url, timeouts=PATIENT) as client:
        for number in (1, 2):
            closed.clear()
            answer = await exchange(
                client, "POST", "/x", is_write=True, provider="p", operation="o", content=b"x"
            )
            assert answer.json() == {"ok": True}
            await closed.wait()
            await asyncio.sleep(0)
            assert (server.connections, len(server.requests)) == (number, number)


async def test_a_post_on_a_connection_that_dies_as_it_is_reused_is_ambiguous_and_not_sent_again(serving):
    async def answer_once_then_drop_the_second(connection):
        await connection.read_request()
        await connection.send(connection.ok)
        await connection.read_request()
        connection.writer.close()

    async with serving(answer_once_then_drop_the_second) as server:
        async with open_client(server.url, timeouts=PATIENT) as client:
            await exchange(client, "POST", "/1", is_write=True, provider="p", operation="o", content=b"1")
            with pytest.raises(AmbiguousError):
                await exchange(client, "POST", "/2", is_write=True, provider="p", operation="o", content=b"2")
        assert server.connections == 1
        assert [body for _, body in server.requests] == [b"1", b"2"]


async def test_cancelling_an_exchange_is_no_failure_of_the_backend(serving):
    async with serving(never_answer) as server:
        task = asyncio.create_task(ask(server.url, timeouts=PATIENT))
        while not server.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
