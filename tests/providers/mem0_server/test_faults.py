"""Every way a call can go wrong: right classes, waits, and neither memory nor key in sight."""

import logging

import httpx
import pytest
from pydantic import ValidationError

from memxfer.spi import (
    AuthError,
    ConfigError,
    FatalError,
    RateLimitedError,
    Role,
    UnavailableError,
)
from memxfer_mem0_server import Mem0ServerConfig, Mem0ServerProvider
from memxfer_mem0_server.emulator import EMULATOR_API_KEY

pytestmark = pytest.mark.anyio

_PRIVATE = "the locker code is forty-one seventy"
NOT_AN_ID = "no-uuid"
UNKNOWN = "00000000-0000-4000-8000-000000000000"

ANSWERS = {
    "400": ({"status": 400}, FatalError, "listing_refused"),
    "422": ({"status": 422, "body": {"detail": [{"input": _PRIVATE}]}}, FatalError, "listing_refused"),
    "404": ({"status": 404}, FatalError, "listing_refused"),
    "401": ({"status": 401}, AuthError, "auth"),
    "429": ({"status": 429}, RateLimitedError, "rate_limited"),
    "500": ({"status": 500, "body": {"detail": _PRIVATE}}, UnavailableError, "http_500"),
    "502": ({"status": 502}, UnavailableError, "http_502"),
    "307": ({"status": 307, "headers": {"location": "/memories/"}}, FatalError, "http_307"),
    "closed": ({"close": "eof"}, UnavailableError, "no_answer"),
    "reset": ({"close": "reset"}, UnavailableError, "no_answer"),
    "cut": ({"cut": 20, "when": "after"}, UnavailableError, "no_answer"),
    "malformed": ({"malformed": True, "when": "after"}, UnavailableError, "unreadable_answer"),
    "no list": ({"status": 200, "body": {"hello": 1}}, FatalError, "not_mem0"),
}


@pytest.mark.parametrize(("action", "kind", "code"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_is_an_error_of_its_kind_and_asked_for_once(server, action, kind, code, caplog):
    caplog.set_level(logging.DEBUG)
    server.put(3, user_id="ann", memory=_PRIVATE)
    provider = await server.connected()
    [partition] = [one async for one in provider.list_partitions()]
    server.break_with(**action)
    with pytest.raises(kind) as caught:
        await provider.read_page(partition, None, 10)
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert (caught.value.provider, caught.value.operation) == ("mem0-server", "read")
    assert server.emulator.faults.report()[0]["seen"] == 1
    shown = f"{caught.value}{caught.value.__cause__}{provider.config!r}"
    shown += "".join(one.getMessage() for one in caplog.records)
    assert "locker" not in shown
    assert EMULATOR_API_KEY not in shown


@pytest.mark.parametrize(
    ("style", "seconds", "wait"), [("integer", 7, 7), ("decimal", 1.5, 1.5), ("absent", 5, None)]
)
async def test_the_wait_of_a_429_is_read_however_it_is_written(server, style, seconds, wait):
    provider = await server.connected()
    server.break_with("/entities", status=429, retry_after=style, retry_after_seconds=seconds)
    with pytest.raises(RateLimitedError) as caught:
        await anext(provider.list_partitions())
    if wait is None:
        assert caught.value.retry_after is None
    else:
        assert caught.value.retry_after == wait


@pytest.mark.parametrize(
    "rows", [{"results": []}, [{"type": "user", "id": "x"}], [{"type": "team"}], [None]], ids=str
)
async def test_entities_that_cannot_be_read_are_not_left_out(server, rows):
    provider = await server.connected()
    server.break_with("/entities", status=200, body=rows)
    with pytest.raises(FatalError, match="base_url"):
        await anext(provider.list_partitions())


@pytest.mark.parametrize("name", [UNKNOWN, NOT_AN_ID, "", "..", "a/b"])
async def test_an_id_that_is_not_there_or_none_at_all_is_nothing(server, name):
    provider = await server.connected()
    assert await provider.get(name) is None
    assert await provider.history(name) == ()


async def test_a_502_of_a_good_id_is_a_server_that_is_down(server):
    [name] = server.put(user_id="ann")
    provider = await server.connected()
    server.break_with("/memories/", status=502)
    with pytest.raises(UnavailableError):
        await provider.get(name)


@pytest.mark.parametrize("key", ["", " ", "k\ney", "schlüssel"])
async def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(server, key):
    with pytest.raises(ConfigError, match="api_key") as caught:
        await server.connected(api_key=key)
    assert not key.strip() or key not in str(caught.value)


async def test_what_is_no_mem0_server_is_not_taken_for_one(server):
    server.break_with("/memories", status=404)
    with pytest.raises(FatalError, match="base_url"):
        await server.connected()


async def test_a_key_without_rights_at_all_is_refused(server):
    server.break_with("/", status=403)
    with pytest.raises(AuthError):
        await server.connected()


async def test_the_server_has_no_usual_address_and_a_name_in_keys(server):
    with pytest.raises(ValidationError, match="base_url"):
        Mem0ServerConfig(provider="mem0-server", api_key="k")
    assert not Mem0ServerProvider.is_target()
    plain = await server.connected(base_url=server.url + "/")
    assert plain.store().namespace == server.url.removeprefix("http://")
    assert (await server.connected(namespace="mine")).store().namespace == "mine"
    hidden = Mem0ServerConfig(provider="mem0-server", api_key="k", base_url="http://ann:secret@host:1/x")
    assert hidden.place == "host:1/x"


# -- the emulator -------------------------------------------------------------------------------


@pytest.fixture
def wire(emulated):
    with httpx.Client(
        base_url=emulated.url, headers={"X-API-Key": EMULATOR_API_KEY}, trust_env=False
    ) as client:
        yield client


def test_the_emulator_has_the_cap_and_no_redirects(emulated, wire):
    emulated.put(25, user_id="ann")
    assert wire.get("/memories?top_k=1001").status_code == 422
    assert len(wire.get("/memories").json()["results"]) == 20
    assert len(wire.get("/memories?user_id=ann&top_k=1000").json()["results"]) == 25
    assert wire.get("/memories/?user_id=ann").status_code == 404
    assert wire.get("/memories", headers={"X-API-Key": "no"}).status_code == 401
    token = {"Authorization": f"Token {EMULATOR_API_KEY}", "X-API-Key": ""}
    assert wire.get("/memories", headers=token).status_code == 401


def test_an_update_moves_a_row_to_the_end_of_the_emulator_s_window(emulated, wire):
    names = emulated.put(5, user_id="ann")
    assert wire.put(f"/memories/{names[0]}", json={"text": "new"}).status_code == 200
    listed = wire.get("/memories?user_id=ann&top_k=4").json()["results"]
    assert [row["id"] for row in listed] == names[1:]
    assert [one["event"] for one in wire.get(f"/memories/{names[0]}/history").json()] == ["UPDATE"]


def test_the_emulator_adds_with_its_date_hides_what_has_expired_and_deletes(emulated, wire):
    body = {"user_id": "ann", "messages": [{"role": "user", "content": "hi"}], "infer": False}
    added = wire.post("/memories", json={**body, "metadata": {"created_at": "2024-01-01T00:00:00Z"}}).json()
    name = added["results"][0]["id"]
    assert wire.get(f"/memories/{name}").json()["created_at"] == "2024-01-01T00:00:00Z"
    emulated.put(user_id="ann", expiration_date="2020-01-01")
    assert len(wire.get("/memories?user_id=ann").json()["results"]) == 1
    assert len(wire.get("/memories?user_id=ann&show_expired=true").json()["results"]) == 2
    assert wire.delete(f"/memories/{name}").status_code == 200
    assert wire.get(f"/memories/{name}").json() is None
    assert wire.get("/memories/no-uuid").status_code == 502
    assert wire.post("/memories", json={"messages": []}).status_code == 400


def test_the_emulator_s_entities_stop_at_the_scan(emulated, wire):
    emulated.put(8, user_id="ann", run_id="r")
    emulated.configure(scanned=5)
    assert {row["type"]: row["total_memories"] for row in wire.get("/entities").json()} == {
        "user": 5,
        "run": 5,
    }


async def test_the_connection_s_address_may_end_in_a_slash_and_is_shown_without_a_login(server):
    info = await server.provider(base_url=server.url + "/").connect(Role.SOURCE)
    assert info.summary == f"Mem0 server {server.url.removeprefix('http://')}"
