"""The transport for clients that block, against the socket server, from a thread as vendors call it."""

import asyncio
import threading

import httpx
import pytest

from memxfer.errors import UnavailableError
from memxfer.spi import Timeouts
from memxfer.transport import AnswerTooLargeError, BlockingTransport, classify

pytestmark = pytest.mark.anyio

QUICK = Timeouts(connect=0.3, read=0.3, write=0.3)


def client_for(server):
    transport = BlockingTransport(server.url, timeouts=QUICK, connections=2)
    return httpx.Client(transport=transport, base_url=server.url, timeout=0.3, trust_env=False)


async def ok(connection):
    while await connection.read_request():
        await connection.send(connection.ok)


async def test_bodies_go_both_ways_over_connections_that_are_kept(serving):
    async with serving(ok) as server:
        with client_for(server) as client:
            for _ in range(3):
                response = await asyncio.to_thread(client.post, "/x", json={"a": 1})
                assert response.json() == {"ok": True}
        assert (server.connections, server.requests[2][1]) == (1, b'{"a":1}')


async def test_an_answer_that_trickles_in_is_given_up(serving):
    async def trickle(connection):
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await connection.send(b"X-A: b\r\n")
            await asyncio.sleep(0.05)

    async with serving(trickle) as server, asyncio.timeout(4):
        with client_for(server) as client, pytest.raises(httpx.TransportError) as caught:
            await asyncio.to_thread(client.get, "/x")
    assert isinstance(classify(caught.value, is_write=False), UnavailableError)


async def test_an_answer_without_end_is_given_up(serving):
    async def endless(connection):
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await connection.send(bytes(2**20))

    async with serving(endless) as server:
        with client_for(server) as client, pytest.raises(AnswerTooLargeError):
            await asyncio.to_thread(client.get, "/x")


async def test_closing_ends_what_is_under_way_and_the_thread(serving):
    asked = asyncio.Event()

    async def never(connection):
        await connection.read_request()
        asked.set()
        await asyncio.Event().wait()

    before = threading.active_count()
    async with serving(never) as server:
        transport = BlockingTransport(server.url, timeouts=Timeouts(), connections=2)
        client = httpx.Client(transport=transport, base_url=server.url, trust_env=False)
        call = asyncio.create_task(asyncio.to_thread(client.get, "/x"))
        await asked.wait()
        client.close()
        with pytest.raises(httpx.ReadError):
            await call
    assert not any(thread.name == "memxfer-transport" for thread in threading.enumerate())
    assert threading.active_count() <= before + 1  # the pool of `to_thread`
