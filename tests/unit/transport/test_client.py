import base64
import json

import httpx
import pytest

from memxfer.errors import ConfigError
from memxfer.spi import Timeouts
from memxfer.transport import exchange, open_client, proxy_from_environment

pytestmark = pytest.mark.anyio

TIMEOUTS = Timeouts(connect=5, read=5, write=5)
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def environment(monkeypatch):
    for name in (*VARIABLES, *map(str.lower, VARIABLES), "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


async def answer_ok(connection):
    while await connection.read_request():
        await connection.send(connection.ok)


async def test_a_body_of_megabytes_arrives_whole_with_its_length(serving):
    body = json.dumps({"documents": ["é" * 1000] * 1500}).encode()
    async with serving(answer_ok) as server:
        async with open_client(server.url, timeouts=TIMEOUTS) as client:
            assert (await client.post("/x", content=body)).status_code == 200
        [(head, received)] = server.requests
    assert received == body
    assert b"content-length: %d" % len(body) in head.lower()
    assert b"transfer-encoding" not in head.lower()


async def test_connections_are_kept_and_no_more_than_asked_for(serving):
    async with serving(answer_ok) as server:
        async with open_client(server.url, timeouts=TIMEOUTS, connections=2) as client:
            for _ in range(5):
                await client.get("/x")
        assert (server.connections, len(server.requests)) == (1, 5)


async def test_a_redirect_is_an_answer_and_not_followed(serving):
    async def redirect(connection):
        await connection.read_request()
        await connection.send(b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n")

    async with serving(redirect) as server:
        async with open_client(server.url, timeouts=TIMEOUTS) as client:
            assert (await client.post("/x", content=b"x")).status_code == 302
        assert len(server.requests) == 1


async def test_cookies_are_not_kept(serving):
    async def set_cookie(connection):
        while await connection.read_request():
            await connection.send(connection.ok.replace(b"\r\n", b"\r\nSet-Cookie: a=b\r\n", 1))

    async with serving(set_cookie) as server:
        async with open_client(server.url, timeouts=TIMEOUTS) as client:
            await client.get("/x")
            await client.get("/x")
        assert b"cookie" not in server.requests[1][0].lower()


async def test_an_exchange_keeps_no_cookie_and_asks_below_the_base_address(serving):
    async def set_cookie(connection):
        while await connection.read_request():
            await connection.send(connection.ok.replace(b"\r\n", b"\r\nSet-Cookie: a=b\r\n", 1))

    about = {"is_write": False, "provider": "p", "operation": "o"}
    async with serving(set_cookie) as server:
        async with open_client(f"{server.url}/base", timeouts=TIMEOUTS) as client:
            for path, params in (("/x", {"n": "1"}), ("/x", {"n": "2"}), ("/y/a%2Fb", None)):
                assert (await exchange(client, "GET", path, params=params, **about)).status_code == 200
        heads = [head.lower() for head, _ in server.requests]
    targets = [head.split(b" ")[1] for head in heads]
    assert targets == [b"/base/x?n=1", b"/base/x?n=2", b"/base/y/a%2fb"]
    assert not any(b"cookie" in head for head in heads)


async def test_the_observer_sees_answers_and_failures(serving):
    seen = []

    async def answer_once(connection):
        await connection.read_request()
        await connection.send(connection.ok)
        await connection.read_request()
        connection.writer.close()

    async with (
        serving(answer_once) as server,
        open_client(server.url, timeouts=TIMEOUTS, observe=seen.append) as client,
    ):
        await client.get("/x")
        with pytest.raises(httpx.ReadError):
            await client.get("/x")
    assert [type(item) for item in seen] == [httpx.Response, httpx.ReadError]


async def test_a_login_in_the_address_becomes_a_header_and_is_nowhere_else(serving):
    about = {"is_write": False, "provider": "p", "operation": "o"}
    async with serving(answer_ok) as server:
        address = server.url.replace("http://", "http://ann:pa%40ss@")
        async with open_client(address, timeouts=TIMEOUTS) as client:
            await client.get("/x")
            await exchange(client, "GET", "/x", **about)
            assert "ann" not in str(client.base_url)
        login = b"authorization: basic " + base64.b64encode(b"ann:pa@ss").lower()
    assert [login in head.lower() for head, _ in server.requests] == [True, True]


async def test_a_proxy_is_used_when_it_is_named_and_gets_its_login(serving):
    async with serving(answer_ok) as proxy:
        address = f"http://user:pa%40ss@127.0.0.1:{proxy.port}"
        async with open_client("http://backend.example", timeouts=TIMEOUTS, proxy=address) as client:
            assert (await client.get("/x")).status_code == 200
        [(head, _)] = proxy.requests
    assert head.startswith(b"GET http://backend.example/x HTTP/1.1")
    login = base64.b64encode(b"user:pa@ss")
    assert b"proxy-authorization: basic " + login.lower() in head.lower()


async def test_a_tunnel_for_https_gets_the_proxy_login_too(serving):
    async def refuse_tunnel(connection):
        await connection.read_request()
        await connection.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    async with serving(refuse_tunnel) as proxy:
        address = f"http://user:pass@127.0.0.1:{proxy.port}"
        async with open_client("https://backend.example", timeouts=TIMEOUTS, proxy=address) as client:
            with pytest.raises(httpx.HTTPError):
                await client.get("/x")
        [(head, _)] = proxy.requests
    assert head.startswith(b"CONNECT backend.example:443")
    assert b"proxy-authorization: basic" in head.lower()


async def test_the_environment_proxy_is_taken_unless_switched_off(serving, environment):
    async with serving(answer_ok) as proxy:
        environment.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with open_client("http://backend.example", timeouts=TIMEOUTS) as client:
            await client.get("/x")
        assert len(proxy.requests) == 1


async def test_this_machine_is_never_reached_through_a_proxy(serving, environment):
    async with serving(answer_ok) as proxy, serving(answer_ok) as server:
        environment.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with open_client(server.url, timeouts=TIMEOUTS) as client:
            await client.get("/x")
        assert (len(proxy.requests), len(server.requests)) == (0, 1)


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, "https://api.example", None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "https://api.example", "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://api.example", None),
        ({"https_proxy": "proxy:3128"}, "https://api.example", "http://proxy:3128"),
        ({"ALL_PROXY": "http://proxy:1"}, "http://api.example", "http://proxy:1"),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "example"}, "http://api.example", None),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "*"}, "http://api.example", None),
        ({"HTTP_PROXY": "http://proxy:1"}, "http://localhost:80", None),
        ({"HTTP_PROXY": "http://proxy:1"}, "http://[::1]:80", None),
        ({"HTTP_PROXY": "http://proxy:1"}, "http://127.8.9.1", None),
    ],
)
async def test_the_environment_names_the_proxy(environment, variables, url, expected):
    for name, value in variables.items():
        environment.setenv(name, value)
    assert proxy_from_environment(url) == expected


async def test_a_socks_proxy_is_refused_by_name(environment):
    environment.setenv("ALL_PROXY", "socks5://proxy:1080")
    with pytest.raises(ConfigError, match=r"socks5.*NO_PROXY=api\.example"):
        proxy_from_environment("https://api.example")
