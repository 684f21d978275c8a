"""What an answer's status and headers mean, in the errors of `memxfer.errors`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from memxfer.errors import (
    AmbiguousError,
    AuthError,
    BatchRefusedError,
    FatalError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    RecordError,
    UnavailableError,
)
from memxfer.waits import bounded_wait

__all__ = ["error_for_status", "is_duplicate_text", "retry_after"]

_EPOCH_FROM: Final = 1_000_000_000
"""Smaller resets are seconds to wait, larger ones a moment (in 2001 or later)."""
_EPOCH_MS_FROM: Final = 100_000_000_000
_NUMBER: Final = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*", re.ASCII)
_LONGEST_HEADER: Final = 100
_REASON: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_QUOTA_REASONS = frozenset({"trial_limit_reached", "subscription_inactive", "insufficient_credits"})
_SETUP = {
    404: "has no such address",
    405: "does not take this method here",
    407: "is behind a proxy that asks for a login",
    426: "asks for another protocol",
}
_CODES = {404: "not_found", 409: "conflict", 410: "not_found", 413: "too_large", 414: "too_large"}
_DUPLICATE = re.compile(r"\b(duplicate\w*|already|exists|conflict\w*)\b", re.IGNORECASE)


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds that a refusal asks to wait, `None` if it does not say.

    Reads `Retry-After` as an integer, a decimal or an HTTP date, else `X-RateLimit-Reset` as seconds
    to wait or as an epoch time (in seconds or milliseconds). Bounded as `bounded_wait` says; what cannot
    be read counts as absent. Never raises.

    Args:
        headers: Response headers, looked up without regard to case.
        now: The time of day, aware; dates and epoch times are measured from it.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    asked = _seconds_or_date(lowered.get("retry-after", ""), now)
    if asked is not None:
        return bounded_wait(asked)
    reset = _number(lowered.get("x-ratelimit-reset", ""))
    if reset is None or reset < _EPOCH_FROM:
        return bounded_wait(reset)
    moment = reset / 1000 if reset >= _EPOCH_MS_FROM else reset
    return bounded_wait(moment - now.timestamp())


def _seconds_or_date(text: str, now: datetime) -> float | None:
    seconds = _number(text)
    if seconds is not None or len(text) > _LONGEST_HEADER:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):  # the parser lets all of them through
        return None


def _number(text: str) -> float | None:
    return float(text) if len(text) <= _LONGEST_HEADER and _NUMBER.fullmatch(text) else None


def error_for_status(
    status: int,
    *,
    is_write: bool,
    now: datetime,
    headers: Mapping[str, str] | None = None,
    text: str = "",
    reason: str | None = None,
    provider: str = "",
    operation: str = "",
    correlation_id: str | None = None,
) -> ProviderError:
    """Return the error for a status that is not the success the provider expects.

    | status | on a write | on a read |
    |---|---|---|
    | 401, 403 | `AuthError` | `AuthError` |
    | 402; 429 with a reason that waiting does not cure | `QuotaExceededError` | the same |
    | 425, 429 | `RateLimitedError` | the same |
    | 404, 405, 407, 426 | `FatalError`: the address is wrong | 404: `RecordError`, else the same |
    | other 4xx | `BatchRefusedError` | `RecordError` |
    | 408, 5xx, 1xx, 3xx, unexpected 2xx | `AmbiguousError` | `UnavailableError`; 3xx `FatalError` |

    A 503 on a write stays ambiguous: a proxy in front may have lost the answer of a backend that stored.

    Args:
        status: HTTP status.
        is_write: Whether doing it twice would do it twice. A delete by id is none.
        now: The time of day, aware; for `Retry-After`.
        headers: Response headers.
        text: What the backend said, already redacted; ends up in the error's text.
        reason: The backend's machine-readable reason, where it gives one; counts only if it is one word.
        provider: Name of the provider.
        operation: What was being done.
        correlation_id: The backend's id of the request.

    Returns:
        The error, with `status`, and `code`: `duplicate`, `conflict`, `too_large`, `not_found`,
        `invalid`, `rate_limited`, or the backend's reason.
    """
    details: dict[str, Any] = {
        "provider": provider,
        "operation": operation,
        "status": status,
        "correlation_id": correlation_id,
    }
    reason = reason if reason and _REASON.fullmatch(reason) else None
    said = f": {text}" if text else ""
    name = provider or "the backend"
    refusal = _refusal(status, reason, name, said, details)
    if refusal is not None:
        return refusal
    if status in (425, 429):
        wait = retry_after(headers or {}, now=now)
        return RateLimitedError(
            f"{name} asks to slow down ({status}){said}", retry_after=wait, code="rate_limited", **details
        )
    if 400 <= status < 500 and status != 408:
        return _request_error(status, is_write, text, name, said, details)
    return _no_result(status, is_write, name, said, details)


def is_duplicate_text(text: str) -> bool:
    """Tell whether a refusal, or its code, reads as if the document were there already."""
    return _DUPLICATE.search(text.replace("_", " ")) is not None


def _refusal(
    status: int, reason: str | None, name: str, said: str, details: dict[str, Any]
) -> ProviderError | None:
    if status in (401, 403):
        message = f"{name} refused the key ({status}){said}; check the connection's api_key"
        return AuthError(message, code="auth", **details)
    if status == 402 or (status == 429 and reason in _QUOTA_REASONS):
        message = f"{name}'s account has run out ({reason or status}){said}; top it up, then resume"
        return QuotaExceededError(message, code=reason or "quota", **details)
    return None


def _request_error(
    status: int, is_write: bool, text: str, name: str, said: str, details: dict[str, Any]
) -> ProviderError:
    if status in _SETUP and (is_write or status != 404):
        message = f"{name} {_SETUP[status]} ({status}){said}; check base_url"
        return FatalError(message, code=f"http_{status}", **details)
    code = "duplicate" if is_duplicate_text(text) else _CODES.get(status, "invalid")
    if is_write:
        return BatchRefusedError(f"{name} refused the request ({status}){said}", code=code, **details)
    return RecordError(f"{name} refused the request ({status}){said}", code=code, **details)


def _no_result(status: int, is_write: bool, name: str, said: str, details: dict[str, Any]) -> ProviderError:
    code = f"http_{status}"
    if is_write:
        message = f"{name} may or may not have done it: it answered {status}{said}"
        return AmbiguousError(message, code=code, **details)
    if 300 <= status < 400:
        return FatalError(f"{name} sends elsewhere ({status}){said}; check base_url", code=code, **details)
    return UnavailableError(f"{name} is not available: it answered {status}{said}", code=code, **details)
