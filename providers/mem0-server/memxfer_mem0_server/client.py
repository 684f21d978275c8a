"""The self-hosted server's calls, each sent once. It has no SDK: plain REST with `X-API-Key`.

No trailing slashes, no redirects, no page beyond the first (repository `server/`, run with pgvector).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from memxfer.spi import ConfigError, FatalError, ProviderError, RecordError, UnavailableError
from memxfer.transport import error_for_status, exchange, open_client, redact
from memxfer_mem0_server.config import NAME, Mem0ServerConfig

__all__ = ["AXES", "MOST_ROWS", "Entity", "Mem0ServerClient"]

MOST_ROWS: Final = 1000
"""Largest `top_k`; a larger one is refused with 422."""
AXES: Final[Mapping[str, str]] = {"user": "user_id", "agent": "agent_id", "session": "run_id"}
"""Axes of a scope, in the order in which a memory of several belongs to the first; and the server's names."""

_TYPES = {"user": "user", "agent": "agent", "run": "session"}
_AT_ONCE = 8
_NO_SUCH_ID = (400, 404, 422, 502)


@dataclass(frozen=True, slots=True)
class Entity:
    """A user, agent or run, with the number of memories that the server's scan found of it."""

    axis: str
    name: str
    total: int


class Mem0ServerClient:
    """Sends each call once; raises nothing but the errors of `memxfer.errors`.

    Args:
        config: The connection's settings.
        now: Gives the time of day.

    Raises:
        ConfigError: The key cannot be sent as a header.
    """

    def __init__(self, config: Mem0ServerConfig, *, now: Callable[[], datetime]) -> None:
        key = config.api_key.get_secret_value().strip()
        if not key or not key.isascii() or not key.isprintable():
            # Checked here: the error of a header that cannot be sent would quote the key.
            raise ConfigError("api_key is empty, or has characters that no key has")
        self._now = now
        self._http = open_client(config.url, timeouts=config.timeouts, headers={"X-API-Key": key})
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.aclose()

    async def entities(self, *, operation: str = "read") -> list[Entity]:
        """Return users, agents and runs of the first 10,000 rows of the store.

        Raises:
            FatalError: The server has no such list, or it is none.
        """
        answer = await self._listing("/entities", {}, operation)
        if not isinstance(answer, list):
            raise _no_mem0(operation)
        return [_entity(row, operation) for row in answer]

    async def memories(
        self, scope: Mapping[str, str], *, most: int = MOST_ROWS, operation: str = "read"
    ) -> list[Any]:
        """Return up to `most` memories of a scope, expired ones too, in no order that lasts.

        Args:
            scope: Axis to id; empty: of everybody, which the server grants to admins only.
            most: Most rows wanted, at most 1000.
            operation: What is being done.
        """
        params = {AXES[axis]: name for axis, name in scope.items()}
        answer = await self._listing(
            "/memories", {**params, "top_k": most, "show_expired": "true"}, operation
        )
        rows = _rows(answer)
        if rows is None:
            raise _no_mem0(operation)
        return rows

    async def get(self, memory_id: str) -> dict[str, Any] | None:
        """Return one memory; `None` when there is none (200 with `null`; 502 for what is no id)."""
        answer = await self._of_one(memory_id, "", "get")
        if answer is not None and not isinstance(answer, dict):
            raise _unreadable("get")
        return answer

    async def history(self, memory_id: str) -> list[Any]:
        """Return what happened to one memory; nothing for an id that is not known."""
        answer = await self._of_one(memory_id, "/history", "history")
        rows = [] if answer is None else _rows(answer)
        if rows is None:
            raise _unreadable("history")
        return rows

    # -- calling ------------------------------------------------------------------------------

    async def _of_one(self, memory_id: str, part: str, operation: str) -> Any:
        if not memory_id or memory_id in (".", ".."):
            return None
        try:
            return await self._get(f"/memories/{quote(memory_id, safe='')}{part}", {}, operation)
        except ProviderError as error:
            is_unknown = error.status == 404 or (error.status in _NO_SUCH_ID and not _is_uuid(memory_id))
            if not is_unknown:
                raise
            return None

    async def _listing(self, path: str, params: Mapping[str, Any], operation: str) -> Any:
        try:
            return await self._get(path, params, operation)
        except RecordError as error:
            raise FatalError(
                f"mem0-server refuses the listing ({error.status}); check base_url and the server's version",
                provider=NAME,
                operation=operation,
                status=error.status,
                correlation_id=error.correlation_id,
                code="listing_refused",
            ) from error

    async def _get(self, path: str, params: Mapping[str, Any], operation: str) -> Any:
        async with self._turns:
            response = await exchange(
                self._http,
                "GET",
                path,
                is_write=False,
                provider=NAME,
                operation=operation,
                params=dict(params),
            )
        if response.status_code != httpx.codes.OK:
            raise error_for_status(
                response.status_code,
                is_write=False,
                now=self._now(),
                headers=dict(response.headers),
                text=redact(_said(response)),
                provider=NAME,
                operation=operation,
                correlation_id=response.headers.get("x-request-id"),
            )
        try:
            return msgspec.json.decode(response.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _unreadable(operation) from None


def _rows(answer: Any) -> list[Any] | None:
    """Return the rows of a bare list, `{"results"}` or `{"memories"}`."""
    if isinstance(answer, list):
        return answer
    fields = answer if isinstance(answer, dict) else {}
    return next(
        (fields[name] for name in ("results", "memories") if isinstance(fields.get(name), list)), None
    )


def _entity(row: Any, operation: str) -> Entity:
    fields = row if isinstance(row, dict) else {}
    axis, name, total = _TYPES.get(str(fields.get("type"))), fields.get("id"), fields.get("total_memories")
    is_whole = axis is not None and isinstance(name, str) and name and type(total) is int
    if not is_whole:  # one entity left out would be its memories left out
        raise _no_mem0(operation)
    return Entity(str(axis), str(name), int(str(total)))


def _said(response: httpx.Response) -> str:
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    detail = body.get("detail") if isinstance(body, dict) else None
    return detail if isinstance(detail, str) else ""


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _no_mem0(operation: str) -> FatalError:
    return FatalError(
        "what answers does not list memories and entities as a self-hosted Mem0 server does; check base_url "
        "and the server's version (the hosted platform is the provider `mem0`)",
        provider=NAME,
        operation=operation,
        code="not_mem0",
    )


def _unreadable(operation: str) -> UnavailableError:
    return UnavailableError(
        "mem0-server's answer cannot be read", provider=NAME, operation=operation, code="unreadable_answer"
    )
