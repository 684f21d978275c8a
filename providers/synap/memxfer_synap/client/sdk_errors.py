"""What the SDK's exceptions mean when the exchange itself was not seen.

Only a fallback: SDK 0.6.9 sends through our client, and then the wire decides. The names are those of
`maximem_synap.models.errors` 0.6.9, looked up on the exception's own classes.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from memxfer.spi import (
    AmbiguousError,
    BatchRefusedError,
    FatalError,
    NotReadyError,
    ProviderError,
    RateLimitedError,
    RecordError,
    UnavailableError,
)
from memxfer.transport import error_for_status, redact
from memxfer_synap.client.answers import NAME

__all__ = ["from_sdk", "unsent"]

_STATUS = {
    "AuthenticationError": 401,
    "InsufficientCreditsError": 402,
    "RateLimitError": 429,
    "InvalidInputError": 422,
    "ContextNotFoundError": 404,
    "ConflictError": 409,
    "ServiceUnavailableError": 503,
}
_HTTP = re.compile(r"HTTP (\d{3})\b")
_REFUSED = "Connection failed"


def from_sdk(error: Exception, *, operation: str, is_write: bool, now: datetime) -> ProviderError:
    """Return the error for an exception whose exchange was not seen.

    Args:
        error: What the SDK raised.
        operation: What was being done.
        is_write: Whether doing it twice would do it twice.
        now: The time of day, aware.
    """
    names = [kind.__name__ for kind in type(error).__mro__]
    details = _details(error, operation)
    own = _own_refusal(error, names, details)
    if own is not None:
        return own
    if "NetworkTimeoutError" in names and str(error).startswith(_REFUSED):
        return UnavailableError("synap cannot be reached; check base_url", code="unreachable", **details)
    status = next((_STATUS[name] for name in names if name in _STATUS), None) or _status_in(error)
    if status is None:
        return _doubt(error, is_write, details)
    found = error_for_status(
        status,
        is_write=is_write,
        now=now,
        text=redact(str(error)),
        reason=getattr(error, "reason", None),
        **details,
    )
    if isinstance(found, RateLimitedError):
        found.retry_after = _seconds(error)
    return found


def unsent(error: Exception, *, operation: str, is_write: bool) -> ProviderError:
    """Return the error for an exception before anything was sent: the SDK refused by itself."""
    names = [kind.__name__ for kind in type(error).__mro__]
    details = _details(error, operation)
    own = _own_refusal(error, names, details)
    if own is not None:
        return own
    if "AuthenticationError" in names:
        return FatalError("the Synap SDK lost its connection; start again", code="sdk", **details)
    message = f"the Synap SDK would not send this ({type(error).__name__})"
    kind = BatchRefusedError if is_write else RecordError
    return kind(message, code="invalid", **details)


def _own_refusal(error: Exception, names: list[str], details: dict[str, Any]) -> ProviderError | None:
    if "InstanceNotReadyError" in names:
        message = "this Synap instance is still being built (new ones take 15 to 20 minutes)"
        return NotReadyError(message, retry_after=_seconds(error), code="instance_not_ready", **details)
    if "InstanceBuildFailedError" in names:
        message = "this Synap instance could not be built; rebuild it in the dashboard, or ask Synap"
        return FatalError(message, code="instance_build_failed", **details)
    if "SynapTransientError" in names and "invalid literal for int()" in str(error):
        # a 429 whose Retry-After is a decimal or a date: the SDK loses both
        return RateLimitedError("synap asks to slow down", code="rate_limited", **details)
    return None


def _doubt(error: Exception, is_write: bool, details: dict[str, Any]) -> ProviderError:
    kind = AmbiguousError if is_write else UnavailableError
    return kind(f"the Synap SDK failed without an answer ({type(error).__name__})", code="sdk", **details)


def _details(error: Exception, operation: str) -> dict[str, Any]:
    found = getattr(error, "correlation_id", None)
    return {"provider": NAME, "operation": operation, "correlation_id": found or None}


def _status_in(error: Exception) -> int | None:
    found = _HTTP.search(str(error))
    return int(found.group(1)) if found else None


def _seconds(error: Exception) -> float | None:
    value = getattr(error, "retry_after_seconds", None)
    return value if isinstance(value, int | float) else None
