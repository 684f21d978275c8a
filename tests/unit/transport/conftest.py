"""A server below HTTP, as fixtures: it does to a connection whatever a test asks for."""

import asyncio
import socket
import struct
from contextlib import asynccontextmanager

import pytest

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n" + b'{"ok":true}'


class Exchange:
    """One connection, in the hands of a test's behaviour."""

    ok = OK

    def __init__(self, server, reader, writer):
        self.server = server
        self.reader = reader
        self.writer = writer

    async def read_request(self):
        """Read one whole request; `None` when the client has gone."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length:" in line),
            0,
        )
        body = await self.reader.readexactly(length)
        self.server.requests.append((head, body))
        return head, body

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    def reset(self):
        """Abort with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class SocketServer:
    """Counts connections and whole requests."""

    def __init__(self):
        self.connections = 0
        self.requests = []
        self.port = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def _serving(behaviour, *, read_limit=2**16):
    """Serve `behaviour(exchange)` on a loopback port, once per connection."""
    server = SocketServer()
    tasks = set()

    async def connected(reader, writer):
        server.connections += 1
        task = asyncio.current_task()
        tasks.add(task)
        try:
            await behaviour(Exchange(server, reader, writer))
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, limit=read_limit)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def serving():
    """Give `serving(behaviour)`, an async context manager."""
    return _serving


@pytest.fixture
def refused_port():
    """Give a loopback port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
