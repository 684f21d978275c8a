"""Runs an emulator on a loopback socket, in the foreground or in a thread."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from .access import is_loopback
from .admin_client import AdminClient
from .emulator import Emulator

_START_SECONDS = 10.0
_STOP_SECONDS = 10.0


class Connection:
    """A connection's transport that sends the head and the body of an answer together.

    uvicorn writes them one after the other: two packets and two system calls per answer. Writes of
    one turn of the event loop leave as one here. It also lets a fault end the connection for real.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._pending: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send with whatever else is written in this turn."""
        if not self._pending:
            asyncio.get_running_loop().call_soon(self.flush)
        self._pending.append(data)

    def flush(self) -> None:
        """Send what is pending now."""
        data, self._pending = b"".join(self._pending), []
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Send what is pending, then end the connection in order (FIN)."""
        self.flush()
        self._transport.close()

    def reset(self) -> None:
        """Drop what is pending and reset the connection (RST)."""
        self._pending = []
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]  # uvicorn picks the base when imported
    def connection_made(self, transport: asyncio.Transport) -> None:
        connection = Connection(transport)
        # each request's scope["state"] is a copy of this
        self.app_state: dict[str, Any] = {**self.app_state, "connection": connection}
        super().connection_made(connection)


class _Server(uvicorn.Server):
    def __init__(self, emulator: Emulator[Any], on_started: Callable[[], None]) -> None:
        config = uvicorn.Config(
            emulator.app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


@dataclass(frozen=True)
class RunningServer:
    """An emulator that answers at `base_url` until its `with` block ends; `admin` controls it."""

    emulator: Emulator[Any]
    base_url: str
    admin: AdminClient


def _bind(host: str, port: int) -> tuple[socket.socket, str]:
    address = "127.0.0.1" if host == "localhost" else host
    if not is_loopback(address):
        raise ValueError(f"An emulator has no real authentication: {host!r} is not a loopback address")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(1024)
    except OSError:
        sock.close()
        raise
    shown = f"[{address}]" if ":" in address else address
    return sock, f"http://{shown}:{sock.getsockname()[1]}"


@contextmanager
def serve_in_thread(
    emulator: Emulator[Any], *, host: str = "127.0.0.1", port: int = 0
) -> Iterator[RunningServer]:
    """Serve an emulator from a thread of this process; for tests.

    The emulator stays open afterwards: `emulator.close()` is the caller's.

    Args:
        emulator: What to serve.
        host: A loopback address.
        port: 0 picks a free one.

    Raises:
        ValueError: `host` is not loopback.
        OSError: The port is taken.
    """
    sock, base_url = _bind(host, port)
    started = threading.Event()
    server = _Server(emulator, started.set)
    thread = threading.Thread(
        target=server.run, args=([sock],), name=f"{emulator.name}-emulator", daemon=True
    )
    thread.start()
    admin = AdminClient(base_url)
    try:
        if not started.wait(_START_SECONDS):
            raise TimeoutError(f"The {emulator.name} emulator did not start in {_START_SECONDS} s")
        yield RunningServer(emulator, base_url, admin)
    finally:
        admin.close()
        server.should_exit = True
        thread.join(_STOP_SECONDS)
        sock.close()


def _to_stdout(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run(
    emulator: Emulator[Any],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    announce: Callable[[str], None] = _to_stdout,
) -> None:
    """Serve an emulator in the foreground until SIGINT or SIGTERM, then close it.

    Args:
        emulator: What to serve.
        host: A loopback address; anything else is refused.
        port: 0 picks a free one.
        announce: Gets one line with the address and how to log in, once connections are accepted.

    Raises:
        ValueError: `host` is not loopback.
        OSError: The port is taken.
    """
    sock, base_url = _bind(host, port)
    server = _Server(
        emulator, lambda: announce(f"{emulator.name} emulator on {base_url} ({emulator.banner()})")
    )
    try:
        server.run([sock])
    except KeyboardInterrupt:
        pass
    finally:
        sock.close()
        emulator.close()
