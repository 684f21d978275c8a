import asyncio
from datetime import UTC

import pytest
from pydantic import SecretStr, ValidationError

from memxfer.ids import DEFAULT_TEMPLATE
from memxfer.spi import ConnectionConfig, RemoteConfig, RetrySettings, SystemClock, Timeouts


def remote(**settings):
    return RemoteConfig(provider="x", api_key=SecretStr("s3cret"), **settings)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("http://127.0.0.1:8090//", "http://127.0.0.1:8090"),
        ("https://x/v1/", "https://x/v1"),
        (None, None),
    ],
)
def test_an_address_loses_its_trailing_slashes_alone(given, kept):
    assert remote(base_url=given).base_url == kept


@pytest.mark.parametrize(
    "url", ["api.example.com", "ftp://x", "", "http://", "https:///", "http:// x", "file:///x"]
)
def test_an_address_that_leads_nowhere_is_refused(url):
    with pytest.raises(ValidationError, match="must start with http:// or https://"):
        remote(base_url=url)


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0},
        {"page_size": 0},
        {"max_rate": 0},
        {"max_rate": -1},
        {"quota_share": 0},
        {"quota_share": 1.01},
        {"retry": {"attempts": 0}},
        {"retry": {"backoff": 0}},
        {"retry": {"backoff_max": 0}},
        {"timeouts": {"connect": 0}},
        {"timeouts": {"read": -1}},
        {"timeouts": {"write": float("nan")}},
        {"timeouts": {"total": 3}},
        {"colour": "red"},
    ],
)
def test_a_setting_out_of_bounds_or_unknown_is_refused(settings):
    with pytest.raises(ValidationError):
        remote(**settings)


def test_the_smallest_settings_are_taken():
    settings = remote(
        batch_size=1,
        page_size=1,
        max_rate=0.001,
        quota_share=1,
        retry={"attempts": 1},
        timeouts={"connect": 0.1},
    )

    assert (settings.batch_size, settings.quota_share, settings.retry.attempts) == (1, 1.0, 1)


def test_the_defaults_are_those_of_the_documentation():
    plain = ConnectionConfig(provider="x")

    assert (plain.document_id, plain.batch_size, plain.max_rate, plain.quota_share, plain.allow_empty) == (
        DEFAULT_TEMPLATE,
        None,
        None,
        0.7,
        False,
    )
    assert plain.retry == RetrySettings(attempts=8, backoff=0.5, backoff_max=30.0)
    assert remote().timeouts == Timeouts(connect=5.0, read=60.0, write=30.0)


def test_settings_are_frozen_and_keep_the_key_to_themselves():
    settings = remote()

    with pytest.raises(ValidationError, match="frozen"):
        settings.batch_size = 3
    assert "s3cret" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_every_setting_says_what_it_is_for():
    undocumented = [
        f"{model.__name__}.{name}"
        for model in (RemoteConfig, RetrySettings, Timeouts)
        for name, field in model.model_fields.items()
        if not field.description
    ]

    assert undocumented == []


def test_the_machines_clock_is_aware_and_never_goes_back():
    clock = SystemClock()

    before = clock.monotonic()
    asyncio.run(clock.sleep(0))

    assert clock.now().tzinfo is UTC
    assert clock.monotonic() >= before
