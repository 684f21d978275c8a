"""The Mem0 Platform's calls, through the vendor's `MemoryClient`, each sent once.

The client is synchronous: its async twin asks for the key's project with a blocking call, without a
time-out and past our HTTP client, when it is built (mem0ai 2.2.1). So calls run on threads of our own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from memxfer.spi import ConfigError, FatalError, ProviderError, RecordError
from memxfer_mem0_platform.answers import Added, Listed, read_added, read_listed
from memxfer_mem0_platform.config import Mem0PlatformConfig
from memxfer_mem0_platform.sdk import import_mem0
from memxfer_mem0_platform.wire import NAME, WatchedClient, meaning_of, unreadable

__all__ = ["CONNECTIONS", "MAX_PAGE", "Mem0PlatformClient", "Project"]

CONNECTIONS = 16
"""Calls at a time."""
MAX_PAGE = 200
"""Rows of the largest page that is documented."""
EVENTS_PAGE = 100

_NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Project:
    """What the ping names: whose key it is."""

    org_id: str
    project_id: str


class Mem0PlatformClient:
    """Sends each call once; raises nothing but the errors of `memxfer.errors`. Open it with `open`.

    Args:
        config: The connection's settings.
        now: Gives the time of day.
    """

    def __init__(self, config: Mem0PlatformConfig, *, now: Callable[[], datetime]) -> None:
        self._config = config
        self._now = now
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="memxfer-mem0-platform")
        self._http = WatchedClient(config.url, timeouts=config.timeouts, connections=CONNECTIONS)
        self._sdk: Any = None

    async def open(self) -> Project:
        """Build the vendor's client, which asks whose key it is.

        It refuses a ping that names no organisation and project (mem0ai 2.2.1).

        Raises:
            AuthError, UnavailableError: The key is refused; nobody answers.
            FatalError: It is no Mem0 Platform that answers.
            ProviderNotInstalledError: mem0ai is not installed.
        """
        self._sdk = await self._call("connect", lambda _: self._build())
        return Project(str(self._sdk.org_id), str(self._sdk.project_id))

    def _build(self) -> Any:
        vendor = import_mem0()
        key = self._config.api_key.get_secret_value().strip()
        if not key or not key.isascii() or not key.isprintable():
            # Checked here: the error of a header that cannot be sent would quote the key.
            raise ConfigError("api_key is empty, or has characters that no key has")
        return vendor.MemoryClient(api_key=key, host=self._config.url, client=self._http)

    async def aclose(self) -> None:
        """Release threads and connections. Idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._http.close()

    # -- reading ------------------------------------------------------------------------------

    async def page(self, filters: Mapping[str, Any], page: int, size: int) -> Listed:
        """Return one page of memories, expired and merged ones too; one past the end is empty.

        Raises:
            FatalError: The service refuses the filter.
        """
        answer = await self._read(
            "read",
            lambda sdk: sdk.get_all(
                filters=dict(filters), page=page, page_size=size, show_expired=True, include_merged=True
            ),
            page=page,
        )
        return _page(answer, "read")

    async def scoped(self, filters: Mapping[str, Any], page: int, size: int) -> Listed:
        """Return one page of memories, as an app sees them: without those expired or merged.

        Raises:
            RecordError: The service refuses the filter.
        """
        call = "list_memories"
        try:
            answer = await self._call(
                call, lambda sdk: sdk.get_all(filters=dict(filters), page=page, page_size=size)
            )
        except RecordError as error:
            if error.code == _NOT_FOUND and page > 1:
                return Listed([], has_next=False)
            raise
        return _page(answer, call)

    async def search(self, query: str, filters: Mapping[str, Any], limit: int) -> Listed:
        """Return the memories that fit a question, best first, each with its `score`.

        With the service's own defaults for threshold and ranking.

        Raises:
            RecordError: The service refuses the question or the filter.
        """
        answer = await self._call("search", lambda sdk: sdk.search(query, filters=dict(filters), top_k=limit))
        return _page(answer, "search")

    async def entities(self, page: int, size: int) -> Listed:
        """Return one page of users, agents, apps and runs; one past the end is empty."""
        params = {"page": page, "page_size": size}
        answer = await self._read("read", lambda sdk: _get(sdk, "/v1/entities/", params), page=page)
        return _page(answer, "read")

    async def events(self, page: int) -> Listed | None:
        """Return one page of what happened to all memories; `None` where the service lists it not."""
        params = {"page": page, "limit": EVENTS_PAGE}
        try:
            answer = await self._call("history", lambda sdk: _get(sdk, "/v1/memories/events/", params))
        except (RecordError, FatalError) as error:
            if error.status not in (400, 404, 405):
                raise
            return Listed([]) if page > 1 else None
        return _page(answer, "history")

    async def history(self, memory_id: str) -> list[Any]:
        """Return what happened to one memory."""
        answer = await self._absent("history", lambda sdk: sdk.history(memory_id))
        return [] if answer is None else _page(answer, "history").rows

    async def get(self, memory_id: str) -> dict[str, Any] | None:
        """Return one memory; `None` when there is none of that id."""
        if not _is_id(memory_id):
            return None
        answer = await self._absent("get", lambda sdk: sdk.get(memory_id))
        if answer is not None and not isinstance(answer, dict):
            raise unreadable("get", is_write=False)
        return answer

    async def total(self) -> int:
        """Return how many memories the project says it has."""
        answer = await self._read("count", lambda sdk: _get(sdk, "/v1/stats/", {}), page=1)
        found = answer.get("total_memories") if isinstance(answer, dict) else None
        if not isinstance(found, int):
            raise unreadable("count", is_write=False)
        return found

    # -- writing ------------------------------------------------------------------------------

    async def add(self, body: Mapping[str, Any]) -> Added:
        """Add one memory.

        Args:
            body: Keywords of `MemoryClient.add`, `infer` among them: it is true unless said otherwise.

        Raises:
            AmbiguousError: It may have happened.
            BatchRefusedError, TransientError, FatalError: It has not.
        """
        answer = await self._call("write", lambda sdk: sdk.add(**body), is_write=True)
        added = read_added(answer)
        if added is None:
            raise unreadable("write", is_write=True)
        return added

    async def event(self, event_id: str) -> Any:
        """Return the progress of a queued add; `None` when it is not known."""
        return await self._absent("ingest_status", lambda sdk: _get(sdk, f"/v1/event/{event_id}/", {}))

    async def delete(self, memory_id: str) -> bool:
        """Delete one memory, and none that it superseded; `False` when it was gone already."""
        if not _is_id(memory_id):
            return False
        return await self._absent("delete", lambda sdk: sdk.delete(memory_id)) is not None

    async def update(self, memory_id: str, text: str) -> dict[str, Any] | None:
        """Replace the text of one memory; `None` when there is none of that id.

        Raises:
            AmbiguousError: It may have happened.
            RecordError, TransientError, FatalError: It has not.
        """
        if not _is_id(memory_id):
            return None
        try:
            answer = await self._call("update", lambda sdk: sdk.update(memory_id, text=text), is_write=True)
        except (RecordError, FatalError) as error:
            # 404, on a write a matter of the address, is here one of the memory; 400 may be one of the id
            if error.status not in (400, 404) or await self.get(memory_id) is not None:
                raise
            return None
        if not isinstance(answer, dict):
            raise unreadable("update", is_write=True)
        return answer

    # -- calling ------------------------------------------------------------------------------

    async def _absent(self, operation: str, call: Callable[[Any], Any]) -> Any:
        """Return an answer about one id, `None` when it is unknown: 404, or 400 for what is no id."""
        try:
            return await self._call(operation, call)
        except RecordError as error:
            if error.code != _NOT_FOUND and error.status != 400:
                raise
            return None

    async def _read(self, operation: str, call: Callable[[Any], Any], *, page: int) -> Any:
        """Return a listing's answer; a 404 is its end, unless it is the first page that is not there."""
        try:
            return await self._call(operation, call)
        except RecordError as error:
            if error.code == _NOT_FOUND and page > 1:
                return []
            raise _refused_listing(error, operation) from error

    async def _call(self, operation: str, call: Callable[[Any], Any], *, is_write: bool = False) -> Any:
        work = partial(self._run, operation, call, is_write=is_write)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _run(self, operation: str, call: Callable[[Any], Any], *, is_write: bool) -> Any:
        exchange = self._http.watch()
        try:
            return call(self._sdk)
        except (ProviderError, ConfigError, ModuleNotFoundError):
            raise
        except Exception as failure:
            meaning = meaning_of(failure, exchange, operation=operation, is_write=is_write, now=self._now)
            if operation == "connect":
                meaning = _refused_ping(meaning)
            raise meaning from failure


def _is_id(memory_id: str) -> bool:
    """Tell whether an id can stand in a path: an empty one, or dots, would name what is above it."""
    return bool(memory_id.strip("."))


def _get(sdk: Any, path: str, params: Mapping[str, Any]) -> Any:
    """Ask for what the client has no method for, with its own HTTP client."""
    response = sdk.client.get(path, params=dict(params))
    response.raise_for_status()
    return response.json()


def _page(answer: Any, operation: str) -> Listed:
    listed = read_listed(answer)
    if listed is None:
        raise unreadable(operation, is_write=False)
    return listed


def _refused_listing(error: RecordError, operation: str) -> FatalError:
    remedy = "check base_url" if error.code == _NOT_FOUND else 'try scopes = "entities" on the connection'
    return FatalError(
        f"mem0 refuses the listing ({error.status}); {remedy}",
        provider=NAME,
        operation=operation,
        status=error.status,
        correlation_id=error.correlation_id,
        code="listing_refused",
    )


def _refused_ping(error: ProviderError) -> ProviderError:
    """Make a ping that has no sense of Mem0's a reason to stop."""
    if not isinstance(error, RecordError) and error.code != "unreadable_answer":
        return error
    return FatalError(
        "what answers is not the Mem0 Platform: it does not say whose key it is; check base_url "
        "(a self-hosted Mem0 server speaks another language)",
        provider=NAME,
        operation="connect",
        status=error.status,
        code="not_mem0",
    )
