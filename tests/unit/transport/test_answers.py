from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memxfer.errors import (
    AmbiguousError,
    AuthError,
    BatchRefusedError,
    FatalError,
    NotReadyError,
    QuotaExceededError,
    RateLimitedError,
    RecordError,
    UnavailableError,
)
from memxfer.transport import error_for_status, redact, retry_after

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
DAY = 86_400.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "Fri, 20 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"Retry-After": "Fri, 20 Nov 2026 12:00:30 -0000"}, 30.0),
        ({}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "Fri, 99 Nov 2026 12:00:30 GMT"}, None),
        ({"Retry-After": "Fri, 20 Nov 2026 12:00:30 +9999999999999999"}, None),
        ({"Retry-After": "Fri, 20 Nov 2026 12:00:30 +9900"}, None),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2359"}, DAY),
        ({"Retry-After": "1_0"}, None),
        ({"Retry-After": "\u0663"}, None),
        ({"Retry-After": "0x10"}, None),
        ({"Retry-After": "1e308"}, DAY),
        ({"Retry-After": "1e3000"}, DAY),
        ({"Retry-After": "9" * 5000}, None),
        ({"Retry-After": "259200"}, DAY),
        ({"X-RateLimit-Reset": "1e308"}, DAY),
        ({"X-RateLimit-Reset": str(EPOCH + 999_999)}, DAY),
        ({"X-RateLimit-Reset": "12"}, 12.0),
        ({"X-RateLimit-Reset": str(EPOCH + 9)}, 9.0),
        ({"X-RateLimit-Reset": str((EPOCH + 9) * 1000)}, 9.0),
        ({"X-RateLimit-Reset": str(EPOCH - 9)}, 0.0),
        ({"X-RateLimit-Reset": "later"}, None),
        ({"Retry-After": "2", "X-RateLimit-Reset": str(EPOCH + 9)}, 2.0),
        ({"Retry-After": "soon", "X-RateLimit-Reset": str(EPOCH + 9)}, 9.0),
    ],
)
def test_the_wait_is_read_in_every_form(headers, seconds):
    assert retry_after(headers, now=NOW) == seconds


@given(st.text(), st.text())
def test_no_header_value_breaks_the_reading(first, second):
    wait = retry_after({"Retry-After": first, "X-RateLimit-Reset": second}, now=NOW)
    assert wait is None or 0 <= wait <= DAY


@pytest.mark.parametrize("kind", [RateLimitedError, NotReadyError])
@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(7, 7.0), (-1, 0.0), (10**400, DAY), (float("inf"), DAY), (1e308, DAY), (float("nan"), None)],
)
def test_whatever_a_body_asks_to_wait_the_error_says_at_most_a_day(kind, asked, seconds):
    assert kind("later", retry_after=asked).retry_after == seconds


@pytest.mark.parametrize(
    ("status", "on_write", "on_read"),
    [
        (401, AuthError, AuthError),
        (403, AuthError, AuthError),
        (402, QuotaExceededError, QuotaExceededError),
        (425, RateLimitedError, RateLimitedError),
        (429, RateLimitedError, RateLimitedError),
        (400, BatchRefusedError, RecordError),
        (409, BatchRefusedError, RecordError),
        (413, BatchRefusedError, RecordError),
        (422, BatchRefusedError, RecordError),
        (418, BatchRefusedError, RecordError),
        (404, FatalError, RecordError),
        (405, FatalError, FatalError),
        (407, FatalError, FatalError),
        (408, AmbiguousError, UnavailableError),
        (500, AmbiguousError, UnavailableError),
        (502, AmbiguousError, UnavailableError),
        (503, AmbiguousError, UnavailableError),
        (504, AmbiguousError, UnavailableError),
        (201, AmbiguousError, UnavailableError),
        (202, AmbiguousError, UnavailableError),
        (302, AmbiguousError, FatalError),
    ],
)
def test_a_status_becomes_what_to_do_next(status, on_write, on_read):
    def error(is_write):
        return error_for_status(
            status, is_write=is_write, now=NOW, provider="p", operation="o", correlation_id="c"
        )

    assert type(error(True)) is on_write
    assert type(error(False)) is on_read
    assert (error(True).status, error(True).provider, error(True).correlation_id) == (status, "p", "c")


@pytest.mark.parametrize("reason", ["trial_limit_reached", "subscription_inactive"])
def test_a_429_that_waiting_does_not_cure_stops_the_job(reason):
    error = error_for_status(429, is_write=True, now=NOW, reason=reason)
    assert type(error) is QuotaExceededError
    assert error.code == reason


def test_a_429_with_another_reason_is_a_rate_limit_with_its_wait():
    error = error_for_status(429, is_write=True, now=NOW, reason="busy", headers={"Retry-After": "1.5"})
    assert type(error) is RateLimitedError
    assert error.retry_after == 1.5


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        (409, "document_id already exists", "duplicate"),
        (400, "duplicate document", "duplicate"),
        (409, "", "conflict"),
        (413, "", "too_large"),
        (422, "field required", "invalid"),
    ],
)
def test_a_refusal_gets_a_short_code(status, text, code):
    assert error_for_status(status, is_write=True, now=NOW, text=text).code == code


def test_the_text_of_the_backend_is_in_the_message():
    assert "field required" in str(error_for_status(422, is_write=True, now=NOW, text="field required"))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("document_id already exists", "document_id already exists"),
        ("document is larger than 100000 bytes", "document is larger than [...] bytes"),
        ("document 'Ann lives at Elm 5' is invalid", "document '[...] at [...]' is invalid"),
        ("Pineapple!", "[...]!"),
        ("", ""),
    ],
)
def test_only_the_words_of_error_messages_stay(text, kept):
    assert redact(text) == kept


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
def test_no_foreign_word_survives(text):
    marked = f"invalid field {text} Zanzibar4711"
    assert "zanzibar" not in redact(marked).lower()
    assert "4711" not in redact(marked)
    assert len(redact(marked)) <= 200


@pytest.mark.parametrize("reason", ["Bearer sk-1", "<html>", "a\x1b[2J", "x" * 65])
def test_a_reason_that_is_no_word_is_not_told(reason):
    error = error_for_status(402, is_write=True, now=NOW, reason=reason)
    assert (error.code, "(402)" in str(error)) == ("quota", True)
