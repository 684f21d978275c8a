"""Which document keys a project holds: by the mark on what was written, in the graphs that can have it.

Keys alone do not say whose they are. The owner of a key that was prepared in this process is remembered;
for others every graph of the project is asked, which costs one request a graph and list at least.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from memxfer.spi import Document, RecordError
from memxfer_zep.config import ZepConfig
from memxfer_zep.containers import MARK
from memxfer_zep.marks import KEY
from memxfer_zep.paging import rows_of
from memxfer_zep.targets import TargetId

if TYPE_CHECKING:
    from memxfer_zep.client import ZepClient

__all__ = ["Lookup", "Owners"]

_REMEMBERED: Final = 50_000
_KEYS_A_REQUEST: Final = 50
_SOURCE_OF_FACTS: Final = "fact_triple"

Found = dict[str, tuple[str, ...]]


class Owners:
    """Remembers in which container each of the last keys goes, bounded."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def note(self, document: Document) -> None:
        """Remember one document's."""
        place = document.containers[0]
        value = place.spec.get("user_id") if place.kind == "user" else place.spec.get("group", "")
        self._known[document.key] = (place.kind, str(value))
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def of(self, key: str) -> tuple[str, str] | None:
        """Return kind and id of the container of a key, if it is remembered."""
        return self._known.get(key)


class Lookup:
    """Looks keys up.

    Args:
        client: Makes the calls.
        config: What this connection writes.
        owners: Where keys go, as far as known.
    """

    def __init__(self, client: ZepClient, config: ZepConfig, owners: Owners) -> None:
        self._client = client
        self._config = config
        self._owners = owners
        self._filters: dict[str, bool] = {}

    async def find(self, keys: Sequence[str]) -> Found:
        """Return the target ids of those keys that are there.

        Raises:
            TransientError, FatalError: As classified; ask again.
        """
        found: Found = {}
        by_owner: dict[tuple[str, str] | None, list[str]] = {}
        for key in dict.fromkeys(keys):
            by_owner.setdefault(self._owners.of(key), []).append(key)
        anywhere = by_owner.pop(None, [])
        for owner, wanted in by_owner.items():
            async for graph in self._graphs_of(*(owner or ("", ""))):
                await self._in_graph(graph, wanted, found)
        if anywhere:
            async for graph in self._every_graph():
                await self._in_graph(graph, anywhere, found)
                if all(key in found for key in anywhere):
                    break
        return found

    # -- where --------------------------------------------------------------------------------

    async def _graphs_of(self, kind: str, name: str) -> AsyncIterator[str]:
        if kind == "user":
            user = await self._client.user_by_id(name)
            if user is not None:
                yield str(user.get("graph_uuid") or user["uuid"])
            return
        graph = await self._client.graph_by_id(name) if name else None
        if graph is not None:
            yield str(graph["uuid"])
            return
        async for row in self._own_graphs():
            if not name or name in (row.get("name"), row["uuid"]):
                yield str(row["uuid"])

    async def _own_graphs(self) -> AsyncIterator[dict[str, Any]]:
        """Give the standalone graphs that memxfer made, and those that its groups may have been."""
        async for row in rows_of(self._client.graphs):
            said = row.get("description")
            is_ours = isinstance(said, str) and said.startswith(f"{MARK} ")
            if row.get("uuid") and (is_ours or self._config.container == "owner"):
                yield row

    async def _every_graph(self) -> AsyncIterator[str]:
        seen: set[str] = set()
        async for row in self._own_graphs():
            if str(row["uuid"]) not in seen:
                seen.add(str(row["uuid"]))
                yield str(row["uuid"])
        if self._config.container == "graph-per-job" and self._config.write in ("fact", "episode"):
            return
        async for row in rows_of(self._client.users):
            graph = str(row.get("graph_uuid") or row["uuid"])
            if graph not in seen:
                seen.add(graph)
                yield graph

    # -- what ---------------------------------------------------------------------------------

    async def _in_graph(self, graph: str, keys: Sequence[str], found: Found) -> None:
        wanted = frozenset(keys)
        try:
            if self._config.write in ("auto", "fact"):
                await self._facts(graph, wanted, found)
            if self._config.write != "fact":
                await self._episodes(graph, wanted, found)
        except RecordError as error:
            if error.code != "not_found":  # a graph that is gone holds nothing
                raise

    async def _facts(self, graph: str, wanted: frozenset[str], found: Found) -> None:
        async for row in self._marked("facts", graph, wanted):
            _note(found, wanted, row.get("attributes"), [TargetId("fact", graph, str(row.get("uuid")))])

    async def _episodes(self, graph: str, wanted: frozenset[str], found: Found) -> None:
        threads: dict[str, None] = {}
        async for row in self._marked("episodes", graph, wanted):
            if row.get("source") == _SOURCE_OF_FACTS:
                continue
            thread = row.get("thread_uuid")
            if isinstance(thread, str) and thread:
                # A message: what was written is the message, the episode is its shadow.
                if _key_of(row.get("metadata")) in wanted:
                    threads[thread] = None
            else:
                _note(found, wanted, row.get("metadata"), [TargetId("episode", graph, str(row.get("uuid")))])
        for thread in threads:
            async for row in rows_of(partial(self._client.rows, "messages", thread)):
                _note(found, wanted, row.get("metadata"), [TargetId("message", thread, str(row.get("uuid")))])

    async def _marked(
        self, listing: str, graph: str, wanted: frozenset[str]
    ) -> AsyncIterator[dict[str, Any]]:
        """Give rows that may have one of the keys: filtered by Zep, or all where it does not filter."""
        if self._filters.get(listing, True):
            try:
                for marks in _filters(sorted(wanted)):
                    async for row in rows_of(partial(self._client.marked, listing, graph, marks)):
                        yield row
            except RecordError as error:
                if error.code == "not_found":
                    raise
                self._filters[listing] = False
            else:
                return
        async for row in rows_of(partial(self._client.marked, listing, graph, None)):
            yield row


def _filters(keys: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    for start in range(0, len(keys), _KEYS_A_REQUEST):
        some = list(keys[start : start + _KEYS_A_REQUEST])
        yield {"type": "and", "filters": [{"property_name": KEY, "operator": "in", "value": some}]}


def _key_of(metadata: Any) -> str | None:
    found = metadata.get(KEY) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else None


def _note(found: Found, wanted: frozenset[str], metadata: Any, ids: Sequence[TargetId]) -> None:
    """Add ids to what is found, if the row has one of the keys: the filter alone is not believed."""
    key = _key_of(metadata)
    if key in wanted and key is not None:
        more = tuple(str(one) for one in ids)
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), *more)))
