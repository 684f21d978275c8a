"""The vendor's SDK as a client: one request a call, no retries, pages by hand, errors classified.

The SDK's own pager is not used: it stops at an empty page even where that page has a cursor for the next
one (zep-cloud 4.0.1).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final

import httpx

from memxfer.spi import ConfigError, ProviderError, ProviderNotInstalledError, RawPage
from memxfer.transport import open_client
from memxfer_zep.answers import GONE, Answered, plain
from memxfer_zep.calls import Caller, unreadable
from memxfer_zep.config import ZepConfig
from memxfer_zep.writes import ZepWrites

__all__ = ["ZepClient", "open_zep_client"]

_ORDER: Final[Mapping[str, Any]] = {"order_by": "uuid", "order": "asc"}
"""An uuid never changes, so rows keep their place while others come and go."""


def open_zep_client(config: ZepConfig, *, now: Callable[[], datetime]) -> ZepClient:
    """Build the vendor's SDK over memxfer's HTTP client. Opens no connection yet.

    Args:
        config: The connection's settings.
        now: Gives the time of day.

    Raises:
        ProviderNotInstalledError: `zep-cloud` is not installed.
        ConfigError: An older zep-cloud is installed, or the environment names an unsupported proxy.
    """
    vendor = _import_sdk()
    http = open_client(config.url, timeouts=config.timeouts)
    # With a client of ours the SDK sets no time-out of its own: those of the connection hold.
    sdk = vendor.AsyncZep(
        api_key=config.api_key.get_secret_value(), base_url=config.url, httpx_client=http, max_retries=0
    )
    return ZepClient(sdk, http, now=now)


def _import_sdk() -> Any:
    try:
        import zep_cloud
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "zep_cloud":
            raise
        raise ProviderNotInstalledError("Zep's SDK is not installed: pip install 'memxfer[zep]'") from error
    try:
        import zep_cloud.lookup  # v3 of the SDK has no such part
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the zep-cloud that is installed is older than 4; memxfer needs zep-cloud>=4.0.1,<5: "
            "pip install --upgrade 'memxfer[zep]'"
        ) from error
    return zep_cloud


class ZepClient:
    """The calls that a walk through a project makes. Every method raises the errors of `memxfer.errors`.

    Args:
        sdk: An `AsyncZep` without retries.
        http: The client it sends through; closed with this one.
        now: Gives the time of day.

    Attributes:
        writes: The calls that a target needs beside these.
    """

    def __init__(self, sdk: Any, http: httpx.AsyncClient, *, now: Callable[[], datetime]) -> None:
        self._sdk = sdk
        self._http = http
        self._caller = Caller(http, now=now)
        self.writes = ZepWrites(sdk, self._caller)

    async def project(self) -> dict[str, Any]:
        """Return the key's project.

        Raises:
            ConfigError: What answers is no API v4.
            AuthError: The key is refused.
        """
        return plain(await self._caller("connect", self._sdk.project.get))

    async def try_listing(self) -> None:
        """Ask for one user, to see whether the key is good; errors as for `project`."""
        await self._caller("connect", lambda: self._sdk.user.list(page_size=1))

    async def users(self, cursor: str | None, limit: int) -> RawPage:
        """Return a page of users, in order of uuid."""
        return await self._page(lambda: self._sdk.user.list(cursor=cursor, page_size=limit, **_ORDER))

    async def graphs(self, cursor: str | None, limit: int) -> RawPage:
        """Return a page of graphs, in order of uuid; graphs of users may be among them."""
        return await self._page(lambda: self._sdk.graph.list(cursor=cursor, page_size=limit, **_ORDER))

    async def threads(self, cursor: str | None, limit: int, *, user_uuid: str | None = None) -> RawPage:
        """Return a page of threads, of one user or of all, in order of uuid."""
        return await self._page(
            lambda: self._sdk.thread.list(cursor=cursor, page_size=limit, user_uuid=user_uuid, **_ORDER)
        )

    async def newest_threads(self, cursor: str | None, limit: int, *, user_uuid: str) -> RawPage:
        """Return a page of a user's threads, the latest made first."""
        newest: Mapping[str, Any] = {"order_by": "created_at", "order": "desc"}
        return await self._page(
            lambda: self._sdk.thread.list(cursor=cursor, page_size=limit, user_uuid=user_uuid, **newest)
        )

    async def tasks(self, kind: str | None, status: str, cursor: str | None, limit: int) -> RawPage:
        """Return a page of the project's tasks of one kind (`graph.add_nodes`), or all, in one state."""
        return await self._page(
            lambda: self._sdk.task.list(cursor=cursor, page_size=limit, type=kind, status=status)
        )

    async def task(self, task_uuid: str) -> dict[str, Any] | None:
        """Return a task, `None` if Zep does not know it."""
        return await self._one(lambda: self._sdk.task.get(task_uuid))

    async def edge(self, graph_uuid: str, edge_uuid: str) -> dict[str, Any] | None:
        """Return a fact of a graph, `None` if it is not there (yet)."""
        return await self._one(lambda: self._sdk.graph.edge.get(graph_uuid, edge_uuid))

    async def user_node(self, user_uuid: str) -> dict[str, Any] | None:
        """Return the entity that stands for a user in the user's graph."""
        return await self._one(lambda: self._sdk.user.get_node(user_uuid))

    async def marked(
        self, listing: str, graph: str, marks: Mapping[str, Any] | None, cursor: str | None, limit: int
    ) -> RawPage:
        """Return a page of a graph's facts or episodes whose episode has one of some marks in its metadata.

        Args:
            listing: `facts` or `episodes`.
            graph: The graph's uuid.
            marks: The filter, as a group of metadata filters; `None`: all of them.
            cursor: `None` for the first page.
            limit: Most rows wanted, at most 100.

        Raises:
            RecordError: Zep does not take the filter.
        """
        from zep_cloud.types import EdgeListFilters, EpisodeListFilters, MetadataFilterGroup

        list_them, order = self._listings()[listing]
        model = EdgeListFilters if listing == "facts" else EpisodeListFilters
        if marks is None:
            return await self._page(lambda: list_them(graph, cursor=cursor, page_size=limit, **order))
        filters = model(metadata_filters=MetadataFilterGroup.model_validate(marks))
        return await self._page(
            lambda: list_them(graph, cursor=cursor, page_size=limit, filters=filters, **order)
        )

    async def search_facts(self, graph: str, query: str, limit: int) -> RawPage:
        """Return the facts of a graph that fit a question, best first, each with its `score`.

        With Zep's own default for ranking (`rrf`, zep-cloud 4.0.1).

        Args:
            graph: The graph's uuid.
            query: The question.
            limit: Most rows wanted, at most 50 (vendor's reference of API v4).
        """
        return await self._page(
            lambda: self._sdk.graph.search_edges(graph, query=query, page_size=limit), operation="search"
        )

    async def context(self, graph: str, query: str) -> Answered:
        """Return Zep's text for a question: `context`, its `results`, and whether it is `truncated`."""
        get = self._sdk.graph.with_raw_response.get_context
        return await self._answered(lambda: get(graph, query=query, include_results=True))

    async def thread_context(self, thread: str) -> Answered:
        """Return Zep's text for a thread as it stands: `context`. It takes no question (zep-cloud 4.0.1)."""
        get = self._sdk.thread.with_raw_response.get_context
        return await self._answered(lambda: get(thread))

    async def rows(self, listing: str, parent: str, cursor: str | None, limit: int) -> RawPage:
        """Return a page of what a graph or thread holds.

        Args:
            listing: `facts`, `episodes`, `messages`, `nodes`, `thread_summaries` or `document_summaries`.
            parent: The uuid of the graph; of the thread for `messages`.
            cursor: `None` for the first page.
            limit: Most rows wanted, at most 100.

        Raises:
            CursorExpiredError: The cursor is not known any more.
        """
        list_them, order = self._listings()[listing]
        return await self._page(lambda: list_them(parent, cursor=cursor, page_size=limit, **order))

    def _listings(self) -> dict[str, tuple[Callable[..., Awaitable[Any]], Mapping[str, Any]]]:
        graph, thread = self._sdk.graph, self._sdk.thread
        return {
            "facts": (graph.edge.list, _ORDER),
            "episodes": (graph.episode.list, _ORDER),
            # Messages sort by nothing but their arrival.
            "messages": (thread.list_messages, {"order_by": "created_at", "order": "asc"}),
            "nodes": (graph.node.list, _ORDER),
            "thread_summaries": (graph.thread_summary.list, _ORDER),
            "document_summaries": (graph.document_summary.list, _ORDER),
        }

    async def user(self, user_uuid: str) -> dict[str, Any] | None:
        """Return the user of a uuid, `None` if there is none."""
        return await self._one(lambda: self._sdk.user.get(user_uuid))

    async def user_by_id(self, user_id: str) -> dict[str, Any] | None:
        """Return the user of an external id, `None` if there is none."""
        return await self._one(lambda: self._sdk.user.lookup(user_id=user_id))

    async def graph(self, graph_uuid: str) -> dict[str, Any] | None:
        """Return the graph of a uuid, `None` if there is none."""
        return await self._one(lambda: self._sdk.graph.get(graph_uuid))

    async def graph_by_id(self, graph_id: str) -> dict[str, Any] | None:
        """Return the graph of an external id, `None` if there is none."""
        return await self._one(lambda: self._sdk.graph.lookup(graph_id=graph_id))

    async def thread(self, thread_uuid: str) -> dict[str, Any] | None:
        """Return the thread of a uuid, `None` if there is none."""
        return await self._one(lambda: self._sdk.thread.get(thread_uuid))

    async def episode(self, graph_uuid: str, episode_uuid: str) -> dict[str, Any] | None:
        """Return one episode of a graph, `None` if it is gone."""
        return await self._one(lambda: self._sdk.graph.episode.get(graph_uuid, episode_uuid))

    async def aclose(self) -> None:
        """Close the HTTP client; the SDK has nothing to close."""
        await self._http.aclose()

    # -- calling ------------------------------------------------------------------------------

    async def _one(self, call: Callable[[], Awaitable[Any]]) -> dict[str, Any] | None:
        try:
            return plain(await self._caller("read", call))
        except ProviderError as error:
            if error.code == GONE:
                return None
            raise

    async def _answered(self, call: Callable[[], Awaitable[Any]]) -> Answered:
        found = await self._caller("package", call)
        if isinstance(found, dict):
            return Answered(found)
        return Answered(plain(found.data), request_id=found.headers.get("x-request-id"))

    async def _page(self, call: Callable[[], Awaitable[Any]], *, operation: str = "read") -> RawPage:
        found = await self._caller(operation, call)
        page = found if isinstance(found, dict) else plain(found.response)
        rows = page.get("items") or []
        if not isinstance(rows, list):
            raise unreadable(operation)
        total = page.get("total_size")
        return RawPage(rows, page.get("next_cursor") or None, total if isinstance(total, int) else None)
