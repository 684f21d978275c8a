"""A source that lists over HTTP, for benchmarks: a server in a process of its own, and a provider for it.

Rows are made as they are asked for, the same every time, of some 400 bytes: every tenth has two
versions, every twentieth expires. As a script it serves until its standard input ends, as it does when
the parent dies, however that happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx
import msgspec
from aiohttp import web

from memxfer import spi
from memxfer.transport import exchange, open_client

SPACES = 32
MAX_PAGE = 100
KINDS = 1_000
"""Rows that differ in more than id and text; the server has them ready."""


def _tail(kind: int) -> bytes:
    """Return a row without its beginning, `{"id":"m000000001","memory":"1`."""
    created = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(minutes=kind * 37)
    row: dict[str, Any] = {
        "user_id": f"user-{kind % 97}",
        "agent_id": f"agent-{kind % 5}",
        "run_id": f"run-{kind % 331}",
        "categories": [f"category-{kind % 11}", f"category-{kind % 7}"],
        "metadata": {"topic": f"t{kind % 9}", "source": {"channel": "chat", "turn": kind}},
        "created_at": created.isoformat(),
        "updated_at": (created + timedelta(hours=kind % 50)).isoformat(),
    }
    if kind % 10 == 0:
        at = [(created - timedelta(days=days)).isoformat() for days in (2, 1)]
        row["history"] = [{"memory": "As it was before.", "at": one} for one in at]
    if kind % 20 == 1:
        row["expires_at"] = "2030-01-01T00:00:00Z"
    text = f" is a detail worth keeping, café {kind % 13}: " + "what the user said about it. " * 3
    return text.encode() + b'",' + msgspec.json.encode(row)[1:]


TAILS = [_tail(kind) for kind in range(KINDS)]


async def _spaces(request: web.Request) -> web.Response:
    rows = int(request.match_info["rows"]) // SPACES
    return web.json_response([{"name": f"space-{space}", "rows": rows} for space in range(SPACES)])


async def _memories(request: web.Request) -> web.Response:
    """Give a page of a space, of a store with as many rows as the address says."""
    rows = int(request.match_info["rows"]) // SPACES
    begin = int(request.query["cursor"] or 0)
    end = min(begin + min(int(request.query["limit"]), MAX_PAGE), rows)
    first = int(request.query["space"].rpartition("-")[2]) * rows
    numbers = range(first + begin, first + end)
    body = b",".join(
        [b'{"id":"m%09d","memory":"%d%b' % (number, number, TAILS[number % KINDS]) for number in numbers]
    )
    following = b'"%d"' % end if end < rows else b"null"
    body = b'{"results":[%b],"next":%b}' % (body, following)
    return web.Response(body=body, content_type="application/json")


async def _serve() -> None:
    app = web.Application()
    app.add_routes([web.get("/{rows}/spaces", _spaces), web.get("/{rows}/memories", _memories)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run the server in a process of its own; gives its address, to be followed by `/ROWS`."""
    command = [sys.executable, __file__]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline() if process.stdout else 0)}"
    finally:
        process.communicate()


# -- the provider ---------------------------------------------------------------------------------


class _Past(msgspec.Struct):
    memory: str
    at: str


class _Row(msgspec.Struct):
    id: str
    memory: str
    created_at: str
    updated_at: str
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    categories: list[str] = []
    metadata: dict[str, Any] = {}
    history: list[_Past] = []
    expires_at: str | None = None


class _Page(msgspec.Struct):
    results: list[_Row]
    next: str | None = None


_pages = msgspec.json.Decoder(_Page)
_KEPT = ("content", "ids", "user", "agent", "session", "metadata", "tags", "versions", "expiry")


class PagesProvider(spi.MemoryProvider[spi.RemoteConfig]):
    """Lists the server's rows as any provider over HTTP would."""

    name: ClassVar[str] = "bench-pages"
    summary: ClassVar[str] = "the benchmarks' source over HTTP"
    config_model = spi.RemoteConfig

    def _capabilities(self) -> spi.Capabilities:
        given = spi.Channel(read=spi.Level.NATIVE)
        return spi.Capabilities(
            dimensions={spi.Dimension(name): given for name in (*_KEPT, "created_at", "updated_at")},
            paging=spi.Paging(style="keyset", insert_safe=True, delete_safe=True, max_page=MAX_PAGE),
        )

    async def _connect(self, role: spi.Role) -> spi.BackendInfo:
        self._client = open_client(self.config.base_url or "", timeouts=self.config.timeouts)
        return spi.BackendInfo("pages over HTTP")

    async def _aclose(self) -> None:
        await self._client.aclose()

    def store(self) -> spi.StoreIdentity:
        return spi.StoreIdentity(self.name, "bench")

    async def partitions(self) -> AsyncIterator[spi.Partition]:
        for space in (await self._get("/spaces")).json():
            yield spi.Partition(name=space["name"], total=space["rows"])

    async def _read_page(self, partition: spi.Partition, cursor: str | None, limit: int) -> spi.RawPage:
        asked = {"space": partition.name, "limit": str(limit), "cursor": cursor or ""}
        page = _pages.decode((await self._get("/memories", params=asked)).content)
        return spi.RawPage(page.results, page.next, partition.total)

    async def _get(self, path: str, **request: Any) -> httpx.Response:
        answer = await exchange(
            self._client, "GET", path, is_write=False, provider=self.name, operation="read", **request
        )
        return answer.raise_for_status()

    def _decode(self, row: _Row, partition: spi.Partition) -> spi.MemoryRecord:
        return spi.MemoryRecord(
            id=row.id,
            content=row.memory,
            scope=spi.Scope(user=row.user_id, agent=row.agent_id, session=row.run_id),
            metadata=row.metadata,
            tags=tuple(row.categories),
            created_at=spi.parse_time(row.created_at),
            updated_at=spi.parse_time(row.updated_at),
            expires_at=spi.parse_time(row.expires_at) if row.expires_at else None,
            versions=tuple(
                [spi.Version(content=old.memory, at=spi.parse_time(old.at)) for old in row.history]
            ),
        )


if __name__ == "__main__":
    asyncio.run(_serve())
