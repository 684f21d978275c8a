"""What a client's socket sees."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from memxfer.emulation import AdminClient, Answer, run, serve_in_thread
from memxfer.emulation.server import Connection

KEY = {"authorization": "Bearer secret"}


@pytest.fixture
def raw(server):
    """Send bytes, return all bytes until the other side ends; a reset is raised."""
    address = urlsplit(server.base_url)

    def exchange(request: bytes) -> bytes:
        with socket.create_connection((address.hostname, address.port), timeout=5) as sock:
            sock.sendall(request)
            parts = []
            while part := sock.recv(65536):
                parts.append(part)
            return b"".join(parts)

    return exchange


def post(body: bytes = b"x", host: str = "127.0.0.1") -> bytes:
    head = f"POST /notes HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer secret\r\n"
    return head.encode() + b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def rule(**action):
    return {"match": {"path": "/notes"}, "action": action}


def test_every_answer_says_that_it_is_an_emulator(server):
    for path in ("/open", "/nowhere", "/_emulator/config"):
        header = httpx.get(server.base_url + path).headers["x-emulator"]
        assert header == "memxfer notes emulator, built from public documentation"


def test_unknown_routes_are_not_found_in_the_backends_format(server):
    answer = httpx.get(f"{server.base_url}/nowhere")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_path_and_query_reach_the_handler(server):
    answer = httpx.get(f"{server.base_url}/notes/a%20b?x=1", headers=KEY)
    assert answer.json() == {"number": "a b", "query": {"x": "1"}}


def test_a_wrong_key_is_refused(server):
    assert (
        httpx.post(f"{server.base_url}/notes", headers={"authorization": "Bearer wrong"}).status_code == 401
    )


def test_an_answer_without_content_has_no_body(server):
    answer = httpx.delete(f"{server.base_url}/notes/1", headers=KEY)
    assert (answer.status_code, answer.content) == (204, b"")


class _Writes:
    """A transport that only notes what it is told."""

    def __init__(self):
        self.log = []

    def __getattr__(self, name):
        return lambda *values: self.log.append((name, *values))

    def is_closing(self):
        return False


def test_what_one_turn_writes_leaves_in_one_piece():
    transport = _Writes()

    async def turns():
        connection = Connection(transport)
        for head, body in ((b"head ", b"body"), (b"next ", b"one")):
            connection.write(head)
            connection.write(body)
            await asyncio.sleep(0)
        connection.write(b"last")
        connection.close()
        await asyncio.sleep(0)

    asyncio.run(turns())
    assert transport.log == [("write", b"head body"), ("write", b"next one"), ("write", b"last"), ("close",)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_closed_connection_ends_without_a_byte(server, raw, when):
    server.admin.inject(rule(when=when, close="eof"))
    assert raw(post(b"one")) == b""
    assert server.admin.summary()["documents"] == (when == "after")
    assert server.admin.requests()["by_status"] == {"closed": 1}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_reset_connection_is_reset(server, raw, when):
    server.admin.inject(rule(when=when, close="reset"))
    with pytest.raises(ConnectionResetError):
        raw(post(b"one"))
    assert server.admin.summary()["documents"] == (when == "after")


def test_a_cut_body_is_shorter_than_it_said(server, raw):
    server.admin.inject(rule(when="after", cut=10))
    head, _, body = raw(post()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert len(body) == 10
    assert int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) > 10


def test_httpx_takes_a_cut_body_for_a_protocol_error(server):
    server.admin.inject(rule(when="after", cut=10))
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{server.base_url}/notes", headers=KEY)


def test_a_request_that_breaks_off_is_not_processed(server, raw, eventually):
    address = urlsplit(server.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as sock:
        sock.sendall(post(b"x" * 100)[:-50])
    raw(post(b"whole"))
    eventually(lambda: server.admin.summary()["documents"] == 1)
    assert server.emulator.stored == [b"whole"]


def test_a_foreign_host_name_gets_nothing(server, raw):
    assert raw(post(host="evil.example")).startswith(b"HTTP/1.1 403")
    assert server.admin.summary()["documents"] == 0


def test_a_large_body_is_refused_after_it_was_read(server):
    server.admin.configure(request_bytes=1000)
    answer = httpx.post(f"{server.base_url}/notes", content=b"x" * 3_000_000, headers=KEY)
    assert (answer.status_code, server.admin.summary()["documents"]) == (413, 0)


def test_the_server_binds_loopback_only(server):
    with pytest.raises(ValueError, match="not a loopback"), serve_in_thread(server.emulator, host="0.0.0.0"):
        pass
    with pytest.raises(ValueError, match="not a loopback"):
        run(server.emulator, host="192.0.2.1")


def test_a_taken_port_is_an_os_error(server):
    port = urlsplit(server.base_url).port
    with pytest.raises(OSError, match="in use"), serve_in_thread(server.emulator, port=port):
        pass


def test_the_socket_is_free_once_the_server_stopped(server):
    with serve_in_thread(server.emulator) as second:
        base_url = second.base_url
        assert httpx.get(f"{base_url}/open").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base_url}/open")


def test_an_answer_of_bytes_is_sent_as_it_is():
    assert Answer(200, b"<html>").content() == b"<html>"
    assert json.loads(Answer(200, {"a": None}).content()) == {"a": None}


def test_the_admin_client_reports_refusals(server):
    with contextlib.closing(AdminClient(server.base_url)) as admin, pytest.raises(httpx.HTTPStatusError):
        admin.configure(no_such_setting=1)
