"""The vendor's SDK as a client: one request a call, no retries, pages by hand, errors classified.

The SDK's own pager is not used: it stops at an empty page even where that page has a cursor for the next
one (zep-cloud 4.0.1).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import httpx

from memxfer.spi import (
    ConfigError,
    CursorExpiredError,
    ProviderError,
    ProviderNotInstalledError,
    RawPage,
    UnavailableError,
)
from memxfer.transport import FAILURES, classify, error_for_status, open_client, redact
from memxfer_zep.config import NAME, ZepConfig

__all__ = ["ZepClient", "open_zep_client"]

T = TypeVar("T")

_NOT_FOUND: Final = 404
_FORBIDDEN: Final = 403
_GONE: Final = "not_found"
_V3: Final = (
    "this looks like Zep's older API (v3): memxfer speaks v4 only. Move the project to v4 "
    "(it works with zep-cloud 4), use a key of a v4 project, or correct base_url"
)
_UNREADABLE = (UnicodeDecodeError, RecursionError)
"""What the SDK lets through from an answer that is not JSON or nests absurdly."""

_NO_PROJECT: Final = (400, 404, 405, 422)
_NAME_IT: Final = 'set project = "NAME" on the connection, and keep it'

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
    """

    def __init__(self, sdk: Any, http: httpx.AsyncClient, *, now: Callable[[], datetime]) -> None:
        self._sdk = sdk
        self._http = http
        self._now = now

    async def project(self) -> dict[str, Any]:
        """Return the key's project.

        Raises:
            ConfigError: What answers is no API v4.
            AuthError: The key is refused.
        """
        return _plain(await self._call("connect", self._sdk.project.get))

    async def try_listing(self) -> None:
        """Ask for one user, to see whether the key is good; errors as for `project`."""
        await self._call("connect", lambda: self._sdk.user.list(page_size=1))

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
            return _plain(await self._call("read", call))
        except ProviderError as error:
            if error.code == _GONE:
                return None
            raise

    async def _page(self, call: Callable[[], Awaitable[Any]]) -> RawPage:
        found = await self._call("read", call)
        page = found if isinstance(found, dict) else _plain(found.response)
        rows = page.get("items") or []
        if not isinstance(rows, list):
            raise _unreadable("read")
        total = page.get("total_size")
        return RawPage(rows, page.get("next_cursor") or None, total if isinstance(total, int) else None)

    async def _call(self, operation: str, call: Callable[[], Awaitable[T]]) -> T | dict[str, Any]:
        """Call the SDK; the answer as JSON where its models could not read it.

        Errors of the SDK quote the whole answer, memories included, so they are not kept as a cause.
        """
        from zep_cloud.core.api_error import ApiError
        from zep_cloud.core.parse_error import ParsingError

        try:
            return await call()
        except ParsingError as error:
            if error.status_code == 200 and isinstance(error.body, dict):
                return error.body
            meaning = self._refusal(error.status_code, error.headers, error.body, operation)
        except ApiError as error:
            meaning = self._refusal(error.status_code, error.headers, error.body, operation)
        except FAILURES as error:
            where = str(self._http.base_url).rstrip("/")
            raise classify(error, is_write=False, provider=NAME, operation=operation, where=where) from error
        except _UNREADABLE:
            meaning = _unreadable(operation)
        raise meaning

    def _refusal(
        self, status: int | None, headers: Mapping[str, str] | None, body: Any, operation: str
    ) -> Exception:
        if status is None:
            return _unreadable(operation)
        said = _Said(body)
        if operation == "connect" and said.is_no_v4(status):
            return ConfigError(f"zep does not answer as an API v4 should ({status}); {_V3}")
        if operation == "connect" and status in _NO_PROJECT and said.is_v4:
            return ConfigError(f"zep does not show the key's project ({status}); {_NAME_IT}")
        if status == _NOT_FOUND and not said.is_v4:
            return UnavailableError(
                f"what answers for zep knows no such address ({status}), and it is not Zep that says so",
                provider=NAME,
                operation=operation,
                status=status,
                code="http_404",
            )
        if status == 400 and "cursor" in f"{said.code} {said.param}":
            return CursorExpiredError(
                "zep does not know this cursor any more",
                provider=NAME,
                operation=operation,
                status=status,
                correlation_id=said.request_id,
                code="cursor_expired",
            )
        return error_for_status(
            status,
            is_write=False,
            now=self._now(),
            headers=headers,
            text="; ".join(filter(None, (redact(said.message), _hint(said, status, operation)))),
            reason=said.code or None,
            provider=NAME,
            operation=operation,
            correlation_id=said.request_id or (headers or {}).get("x-request-id"),
        )


class _Said:
    """An error's body: `{"error": {...}}` in v4, `{"message": ...}` in v3, a page from a proxy.

    Attributes:
        is_v4: Worded as v4 does.
        is_v3: Worded as v3 does.
    """

    def __init__(self, body: Any) -> None:
        plain = _plain(body) if hasattr(body, "model_dump") else body
        fields = plain if isinstance(plain, dict) else {}
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


def _plain(model: Any) -> dict[str, Any]:
    """Return a model of the SDK's as the JSON it was read from, unknown fields included."""
    if isinstance(model, dict):
        return model
    found: dict[str, Any] = model.model_dump(by_alias=True, exclude_unset=True)
    return found


def _unreadable(operation: str) -> UnavailableError:
    return UnavailableError(
        "zep's answer cannot be read", provider=NAME, operation=operation, code="unreadable"
    )
