"""One call of the vendor's SDK: no retries, the answer as JSON, every failure as an error of memxfer's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import httpx

from memxfer.spi import (
    AmbiguousError,
    BatchRefusedError,
    ConfigError,
    CursorExpiredError,
    ProviderError,
    UnavailableError,
)
from memxfer.transport import FAILURES, classify, error_for_status, redact
from memxfer_zep.answers import GONE, plain
from memxfer_zep.config import NAME

__all__ = ["Caller", "unreadable"]

T = TypeVar("T")

_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_FORBIDDEN: Final = 403
_V3: Final = (
    "this looks like Zep's older API (v3): memxfer speaks v4 only. Move the project to v4 "
    "(it works with zep-cloud 4), use a key of a v4 project, or correct base_url"
)
_UNREADABLE = (UnicodeDecodeError, RecursionError)
"""What the SDK lets through from an answer that is not JSON or nests absurdly."""

_NO_PROJECT: Final = (400, 404, 405, 422)
_NAME_IT: Final = 'set project = "NAME" on the connection, and keep it'


class Caller:
    """Calls the SDK and says what went wrong in the errors of `memxfer.errors`.

    Args:
        http: The client that the SDK sends through.
        now: Gives the time of day.
    """

    def __init__(self, http: httpx.AsyncClient, *, now: Callable[[], datetime]) -> None:
        self._http = http
        self._now = now

    async def __call__(
        self, operation: str, call: Callable[[], Awaitable[T]], *, is_write: bool = False
    ) -> T | dict[str, Any]:
        """Call the SDK; the answer as JSON where its models could not read it.

        Errors of the SDK quote the whole answer, memories included, so they are not kept as a cause.

        Args:
            operation: What is being done, for errors.
            call: Makes one request.
            is_write: Whether doing it twice would do it twice.

        Raises:
            AmbiguousError: A write may or may not have happened.
            ProviderError: As classified.
        """
        from zep_cloud.core.api_error import ApiError
        from zep_cloud.core.parse_error import ParsingError

        try:
            return await call()
        except ParsingError as error:
            if _is_success(error.status_code, is_write=is_write) and isinstance(error.body, dict):
                return error.body
            meaning = self._refusal(error.status_code, error.headers, error.body, operation, is_write)
        except ApiError as error:
            meaning = self._refusal(error.status_code, error.headers, error.body, operation, is_write)
        except FAILURES as error:
            where = str(self._http.base_url).rstrip("/")
            raise classify(
                error, is_write=is_write, provider=NAME, operation=operation, where=where
            ) from error
        except _UNREADABLE:
            meaning = unreadable(operation, is_write=is_write)
        raise meaning

    def _refusal(
        self,
        status: int | None,
        headers: Mapping[str, str] | None,
        body: Any,
        operation: str,
        is_write: bool,
    ) -> Exception:
        if status is None:
            return unreadable(operation, is_write=is_write)
        said = _Said(body)
        if operation == "connect" and said.is_no_v4(status):
            return ConfigError(f"zep does not answer as an API v4 should ({status}); {_V3}")
        if operation == "connect" and status in _NO_PROJECT and said.is_v4:
            return ConfigError(f"zep does not show the key's project ({status}); {_NAME_IT}")
        request_id = said.request_id or (headers or {}).get("x-request-id")
        known = _known(status, said, operation, request_id, is_write=is_write)
        if known is not None:
            return known
        return error_for_status(
            status,
            is_write=is_write,
            now=self._now(),
            headers=headers,
            text="; ".join(filter(None, (redact(said.message), _hint(said, status, operation)))),
            reason=said.code or None,
            provider=NAME,
            operation=operation,
            correlation_id=request_id,
        )


def _known(
    status: int, said: _Said, operation: str, request_id: str | None, *, is_write: bool
) -> ProviderError | None:
    """Return the error for what Zep means by some statuses, `None` for the rest."""
    details: dict[str, Any] = {
        "provider": NAME,
        "operation": operation,
        "status": status,
        "correlation_id": request_id,
    }
    if status == _NOT_FOUND and not said.is_v4:
        reason = f"what answers for zep knows no such address ({status}), and it is not Zep that says so"
        return UnavailableError(reason, code="http_404", **details)
    if status == _NOT_FOUND and is_write:
        reason = f"zep does not have what this was to go into ({status}): {redact(said.message)}"
        return BatchRefusedError(reason, code=GONE, **details)
    if status == _CONFLICT and operation == "write":
        # The key of a request is made of the request itself: whoever holds it has sent the same before.
        reason = f"zep has seen this request before and does not say what became of it ({status})"
        return AmbiguousError(reason, code="conflict", **details)
    if status == 400 and "cursor" in f"{said.code} {said.param}":
        return CursorExpiredError("zep does not know this cursor any more", code="cursor_expired", **details)
    return None


def _is_success(status: int | None, *, is_write: bool) -> bool:
    return status in (200, 201, 202) if is_write else status == 200


class _Said:
    """An error's body: `{"error": {...}}` in v4, `{"message": ...}` in v3, a page from a proxy.

    Attributes:
        is_v4: Worded as v4 does.
        is_v3: Worded as v3 does.
    """

    def __init__(self, body: Any) -> None:
        said = plain(body) if hasattr(body, "model_dump") else body
        fields = said if isinstance(said, dict) else {}
        found = fields.get("error")
        error = found if isinstance(found, dict) else {}
        self.is_v4 = bool(error)
        self.is_v3 = not error and isinstance(fields.get("message"), str)
        self.code = _text(error.get("code"))
        self.param = _text(error.get("param"))
        self.message = _text(error.get("message") or fields.get("message"))
        self.request_id = _text(error.get("request_id")) or None

    def is_no_v4(self, status: int) -> bool:
        """Tell whether the answer to the first question shows that nothing here speaks API v4."""
        return not self.is_v4 and (status < 300 or status in (400, 404, 405, 410, 422))


def _hint(said: _Said, status: int, operation: str) -> str:
    if said.is_v3:
        return _V3
    if operation == "connect" and status == _FORBIDDEN:
        return f"if the key is good and may only not read the project, {_NAME_IT}"
    return ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def unreadable(operation: str, *, is_write: bool = False) -> ProviderError:
    """Return the error for an answer that makes no sense; after a write, nobody knows what it meant."""
    if is_write:
        return AmbiguousError(
            "zep may or may not have done it: its answer cannot be read",
            provider=NAME,
            operation=operation,
            code="unreadable",
        )
    return UnavailableError(
        "zep's answer cannot be read", provider=NAME, operation=operation, code="unreadable"
    )
