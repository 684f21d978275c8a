"""Every way a call can go wrong: right classes, waits, ids for the vendor's support, and no content."""

import logging

import pytest
from pydantic import ValidationError

from memxfer.spi import (
    AuthError,
    ConfigError,
    CursorExpiredError,
    FatalError,
    QuotaExceededError,
    RateLimitedError,
    RecordError,
    Role,
    Timeouts,
    UnavailableError,
)

pytestmark = pytest.mark.anyio

_PRIVATE = "the locker code is forty-one seventy"

ANSWERS = {
    "400": ({"status": 400}, RecordError, "invalid"),
    "legacy id": ({"preset": "invalid_identifier"}, RecordError, "invalid"),
    "dead cursor": ({"preset": "invalid_cursor"}, CursorExpiredError, "cursor_expired"),
    "401": ({"status": 401}, AuthError, "auth"),
    "403": ({"status": 403}, AuthError, "auth"),
    "402": ({"preset": "payment_required"}, QuotaExceededError, "payment_required"),
    "404": ({"preset": "not_found"}, RecordError, "not_found"),
    "409": ({"status": 409}, RecordError, "conflict"),
    "413": ({"status": 413}, RecordError, "too_large"),
    "422": ({"status": 422}, RecordError, "invalid"),
    "429": ({"preset": "rate_limited"}, RateLimitedError, "rate_limited"),
    "500": ({"status": 500}, UnavailableError, "http_500"),
    "502 html": ({"preset": "html"}, UnavailableError, "http_502"),
    "503": ({"status": 503}, UnavailableError, "http_503"),
    "302": ({"status": 302, "headers": {"location": "/x"}}, FatalError, "http_302"),
    "closed": ({"close": "eof"}, UnavailableError, "no_answer"),
    "reset": ({"close": "reset"}, UnavailableError, "no_answer"),
    "cut": ({"cut": 20, "when": "after"}, UnavailableError, "no_answer"),
    "malformed": ({"malformed": True, "when": "after"}, UnavailableError, "http_200"),
    "not a page": ({"status": 200, "body": [1]}, UnavailableError, "http_200"),
    "items are none": ({"status": 200, "body": {"items": "many"}}, UnavailableError, "unreadable"),
    "odd error body": ({"status": 404, "body": [_PRIVATE]}, UnavailableError, "http_404"),
}


@pytest.fixture
async def page_of(zep):
    _, graph = zep.user()
    zep.facts(graph, 3, fact=_PRIVATE)

    async def make(**settings):
        provider = await zep.connected(**settings)
        [partition] = [one async for one in provider.list_partitions()]
        return lambda: provider.read_page(partition, None, 10)

    return make


@pytest.mark.parametrize(("action", "kind", "code"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_is_an_error_of_its_kind_and_asked_for_once(zep, page_of, action, kind, code):
    read = await page_of()
    zep.break_with("/api/v4/graphs", **action)
    with pytest.raises(kind) as caught:
        await read()
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert (caught.value.provider, caught.value.operation) == ("zep", "read")
    assert _PRIVATE not in str(caught.value)
    assert zep.emulator.faults.report()[0]["seen"] == 1
    zep.break_with("/nowhere", status=500)
    assert len((await read()).records) == 3


async def test_the_vendor_s_own_id_of_a_refusal_is_kept(zep, page_of):
    read = await page_of()
    zep.break_with("/api/v4/graphs", status=400, body={"error": {"code": "x", "request_id": "req-7"}})
    with pytest.raises(RecordError) as caught:
        await read()
    assert caught.value.correlation_id == "req-7"


@pytest.mark.parametrize(
    ("style", "seconds", "low", "high"),
    [("integer", 7, 7, 7), ("decimal", 1.5, 1.5, 1.5), ("date", 40, 30, 42), ("absent", 5, None, None)],
)
async def test_the_wait_of_a_429_is_read_however_it_is_written(zep, page_of, style, seconds, low, high):
    read = await page_of()
    zep.clock.now = zep.providers[0].clock.now().timestamp()
    zep.break_with("/api/v4/graphs", status=429, retry_after=style, retry_after_seconds=seconds)
    with pytest.raises(RateLimitedError) as caught:
        await read()
    wait = caught.value.retry_after
    assert wait is None if low is None else low <= wait <= high


async def test_without_retry_after_the_reset_of_the_limit_is_the_wait(zep, page_of):
    read = await page_of()
    reset = int(zep.providers[0].clock.now().timestamp()) + 30
    zep.break_with("/api/v4/graphs", status=429, headers={"x-ratelimit-reset": str(reset)})
    with pytest.raises(RateLimitedError) as caught:
        await read()
    assert 20 < caught.value.retry_after <= 30


async def test_an_answer_that_takes_too_long_is_given_up_by_the_connection_s_own_time(zep, page_of):
    read = await page_of(timeouts=Timeouts(connect=2, read=0.2, write=1))
    zep.break_with("/api/v4/graphs", delay_seconds=1.0)
    with pytest.raises(UnavailableError, match="in time"):
        await read()


async def test_a_text_that_is_no_utf8_is_unreadable_and_no_crash(zep, page_of, monkeypatch):
    read = await page_of()
    monkeypatch.setattr("httpx.Response.json", _raise(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")))
    with pytest.raises(UnavailableError, match="cannot be read"):
        await read()


def _raise(error):
    def fail(*_args, **_options):
        raise error

    return fail


async def test_errors_and_logs_carry_no_memory_and_no_key(zep, page_of, caplog):
    caplog.set_level(logging.DEBUG)
    read = await page_of(unit="facts")
    zep.break_with("/api/v4/graphs", status=400, body={"error": {"message": f"bad request: {_PRIVATE}"}})
    with pytest.raises(RecordError, match="bad request") as caught:
        await read()
    seen, error = [], caught.value
    while error is not None:  # a traceback shows all of these
        seen.append(str(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert not any("forty-one" in text for text in seen)
    assert "zep_emulator_key" not in caplog.text + repr(zep.providers)
    assert not any("forty-one" in one.getMessage() for one in caplog.records)


# -- connecting ---------------------------------------------------------------------------------


async def test_the_preflight_names_the_project_and_warns_of_ended_facts(zep):
    info = await zep.provider().connect(Role.SOURCE)
    assert info.summary == "Zep project emulated, facts"
    assert info.details["address"] == f"{zep.url}/api/v4"
    assert "current_only" in info.warnings[0]
    assert (await zep.provider(current_only=True).connect(Role.SOURCE)).warnings == ()


async def test_an_account_of_v3_is_refused_with_the_remedy(zep):
    zep.configure(api="v3")
    with pytest.raises(ConfigError, match=r"speaks v4 only\. Move the project to v4"):
        await zep.provider().connect(Role.SOURCE)


async def test_a_key_that_v3_refuses_says_so_too(zep):
    zep.configure(api="v3")
    with pytest.raises(AuthError, match="v3"):
        await zep.provider(api_key="wrong").connect(Role.SOURCE)


@pytest.mark.parametrize(
    ("action", "kind", "text"),
    [
        ({"status": 404, "body": "nobody here"}, ConfigError, "v4 only"),
        ({"status": 200, "body": "<html>"}, ConfigError, "v4 only"),
        ({"preset": "not_found"}, ConfigError, "set project"),
        ({"preset": "html"}, UnavailableError, "502"),
        ({"status": 401}, AuthError, "api_key"),
        ({"status": 403}, AuthError, "set project"),
        ({"status": 429, "retry_after": "integer"}, RateLimitedError, "slow down"),
    ],
    ids=str,
)
async def test_a_service_that_is_no_zep_is_told_from_one_that_is_down(zep, action, kind, text):
    zep.break_with("/api/v4/project", **action)
    with pytest.raises(kind, match=text):
        await zep.provider().connect(Role.SOURCE)


async def test_a_project_without_a_uuid_needs_a_name_and_a_named_one_is_not_asked_for(zep):
    zep.configure(project_uuids=False)
    with pytest.raises(ConfigError, match='project = "NAME"'):
        await zep.provider().connect(Role.SOURCE)
    provider = await zep.connected(project="mine")
    assert provider.store().namespace == "mine"
    with pytest.raises(AuthError):
        await zep.connected(project="mine", api_key="wrong")


# -- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"unit": ["facts", "episodes"]},
        {"unit": "everything"},
        {"unit": "episodes", "current_only": True},
        {"unit": "messages", "fact_episodes": 1},
        {"unit": "messages", "graphs": ["kb"]},
        {"users": []},
        {"users": [""]},
        {"fact_episodes": 11},
        {"base_url": "https://api.getzep.com/api/v2"},
        {"write": "everything"},
        {"write": "message", "container": "graph-per-job"},
        {"unscoped": "assign:"},
        {"undated": "today"},
        {"fact_chars": 0},
    ],
    ids=str,
)
async def test_settings_that_double_or_contradict_are_refused(zep, settings):
    with pytest.raises(ValidationError):
        zep.config(**settings)


@pytest.mark.parametrize("path", ["", "/", "/api/v4", "/api/v4/"])
async def test_the_address_may_name_the_api_or_not(zep, path):
    assert zep.config(base_url=f"https://zep.example{path}").url == "https://zep.example/api/v4"
    assert zep.config(base_url=None).url == "https://api.getzep.com/api/v4"


async def test_what_is_read_is_a_decision_of_the_plan(zep):
    decided = zep.config(current_only=True, users=["ann", "bob"], fact_episodes=2, project="x").decisions()
    assert decided == {"current_only": "True", "users": "ann, bob", "fact_episodes": "2"}
    written = zep.config(write="fact", container="graph-per-job", undated="send", unscoped="skip")
    assert written.decisions() == {
        "write": "fact",
        "container": "graph-per-job",
        "undated": "send",
        "unscoped": "skip",
    }
