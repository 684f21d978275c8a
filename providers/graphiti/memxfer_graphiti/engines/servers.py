"""Graphiti's graph on a server: Neo4j or FalkorDB. Written from graphiti-core 0.31.1, and not run.

There a fact is an edge with its attributes as properties. Graphiti's own drivers make indices when they are
made, log the parameters of a query that fails, and retry; so the vendor's client is used directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from memxfer.spi import (
    AmbiguousError,
    AuthError,
    ConfigError,
    ProviderError,
    Role,
    UnavailableError,
    format_time,
)
from memxfer.spi.places import address_place
from memxfer_graphiti.config import NAME, GraphitiConfig
from memxfer_graphiti.engines.base import MADE, Changes, Engine, Listing, Place, nodes_of
from memxfer_graphiti.engines.sessions import FalkorSession, Neo4jSession
from memxfer_graphiti.rows import Episode, Fact, Node
from memxfer_graphiti.sdk import import_sdk

__all__ = ["ServerEngine", "Session"]

_PATTERN: Final = "(n:Entity)-[e:RELATES_TO]->(m:Entity)"
_MATCH: Final = {
    "facts": _PATTERN,
    "episodes": "(e:Episodic)",
    "entities": "(e:Entity)",
    "communities": "(e:Community)",
}
_COLUMNS: Final = {
    "facts": "e.uuid AS uuid, e.group_id AS group_id, e.name AS name, e.fact AS fact, "
    "e.created_at AS created_at, e.valid_at AS valid_at, e.invalid_at AS invalid_at, "
    "e.expired_at AS expired_at, e.reference_time AS reference_time, e.episodes AS episodes, "
    "properties(e) AS attributes, n.uuid AS source_uuid, n.name AS source_name, labels(n) AS source_labels, "
    "m.uuid AS target_uuid, m.name AS target_name, labels(m) AS target_labels",
    "episodes": "e.uuid AS uuid, e.group_id AS group_id, e.name AS name, e.source AS source, "
    "e.source_description AS source_description, e.content AS content, e.created_at AS created_at, "
    "e.valid_at AS valid_at, e.entity_edges AS entity_edges",
    "entities": "e.uuid AS uuid, e.group_id AS group_id, e.name AS name, labels(e) AS labels, "
    "e.created_at AS created_at, e.summary AS summary, properties(e) AS attributes",
    "communities": "e.uuid AS uuid, e.group_id AS group_id, e.name AS name, e.created_at AS created_at, "
    "e.summary AS summary",
}
_SAVE_NODES: Final = "UNWIND $rows AS r MERGE (n:Entity {uuid: r.uuid}) ON CREATE SET n = r"
_SAVE_FACTS: Final = (
    "UNWIND $rows AS r MATCH (n:Entity {uuid: r.source_uuid, group_id: r.group_id}) "
    "MATCH (m:Entity {uuid: r.target_uuid, group_id: r.group_id}) "
    "MERGE (n)-[e:RELATES_TO {uuid: r.uuid}]->(m) SET e = r RETURN e.uuid AS uuid"
)
_SAVE_EPISODES: Final = "UNWIND $rows AS r MERGE (e:Episodic {uuid: r.uuid}) SET e = r RETURN e.uuid AS uuid"
_DROP_FACTS: Final = "MATCH (:Entity)-[e:RELATES_TO]->(:Entity) WHERE e.uuid IN $uuids DELETE e"
_DROP_EPISODES: Final = "MATCH (e:Episodic) WHERE e.uuid IN $uuids DETACH DELETE e"
_ENDS: Final = f"MATCH {_PATTERN} WHERE e.uuid IN $uuids RETURN e.uuid AS uuid, n.uuid AS n, m.uuid AS m"
_LONE: Final = (
    "MATCH (n:Entity) WHERE n.uuid IN $uuids AND n.memxfer = $made AND n.summary = '' "
    "AND NOT (n)--() DELETE n"
)


class Session(Protocol):
    """A client of a server, as far as it is needed."""

    async def ask(self, cypher: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Run a query that changes nothing."""
        ...

    async def change(self, statements: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[dict[str, Any]]]:
        """Run queries in one transaction, where the server has such."""
        ...

    def refusal(self, error: Exception) -> bool | None:
        """Tell whether an error refuses the password (true) or happened before anything was sent (false)."""
        ...

    async def close(self) -> None:
        """Release it."""
        ...


class ServerEngine(Engine):
    """A database on a server.

    Args:
        session: Its client.
        place: Where it is.
        is_falkor: FalkorDB: times are text there, and an index gives rows that are not below a cursor.
    """

    def __init__(self, session: Session, place: Place, *, is_falkor: bool) -> None:
        self._session = session
        self._is_falkor = is_falkor
        self.lowers_keys = is_falkor
        self.place = place

    @classmethod
    async def open(cls, config: GraphitiConfig, role: Role) -> ServerEngine:
        """Open the database of a connection; a target gets Graphiti's indices."""
        is_falkor = config.engine == "falkordb"
        database = config.database or ("default_db" if is_falkor else "neo4j")
        session: Session = (FalkorSession if is_falkor else Neo4jSession)(config, database)
        engine = cls(session, _place(config, database), is_falkor=is_falkor)
        try:
            await engine.count("episodes", None)
            if role is Role.TARGET:
                await engine._build_indices()
        except BaseException:
            await engine.close()
            raise
        return engine

    async def close(self) -> None:
        """Release it. Idempotent."""
        await self._session.close()

    async def _build_indices(self) -> None:
        """Make Graphiti's own indices, where they are missing."""
        queries = import_sdk("graphiti_core.graph_queries")
        kind = import_sdk("graphiti_core.driver.driver").GraphProvider
        provider = kind.FALKORDB if self._is_falkor else kind.NEO4J
        for query in (*queries.get_range_indices(provider), *queries.get_fulltext_indices(provider)):
            try:
                await self._session.change([(str(query), {})])
            except Exception as error:  # noqa: BLE001 - two vendors' own
                if "already" not in str(error).lower():
                    raise self._failure(error, "connect") from None

    async def _ask(self, cypher: str, **params: Any) -> list[dict[str, Any]]:
        try:
            return await self._session.ask(cypher, params)
        except Exception as error:  # noqa: BLE001 - two vendors' own, and the text may quote a memory
            raise self._failure(error, "read") from None

    def _failure(self, error: Exception, operation: str) -> ProviderError:
        kind = type(error).__name__
        if self._session.refusal(error):
            return AuthError(f"{self.place.summary} refuses name or password ({kind})", provider=NAME)
        return UnavailableError(f"{self.place.summary}: {kind}", provider=NAME, operation=operation)

    # -- reading ------------------------------------------------------------------------------

    async def list_rows(
        self, table: str, cursor: str | None, limit: int, groups: Sequence[str] | None
    ) -> Listing:
        """Return rows below `cursor`; on FalkorDB in a form that its range index has no part in."""
        key = "toLower(e.uuid)" if self._is_falkor else "e.uuid"
        where = [f"{key} < $cursor"] if cursor is not None else []
        where += ["e.group_id IN $groups"] if groups is not None else []
        clause = f" WHERE {' AND '.join(where)}" if where else ""
        found = await self._ask(
            f"MATCH {_MATCH[table]}{clause} RETURN {_COLUMNS[table]} ORDER BY {key} DESC LIMIT {limit}",
            cursor=cursor,
            groups=list(groups or ()),
        )
        keys = [str(row["uuid"]) for row in found]
        return Listing([key.lower() for key in keys] if self._is_falkor else keys, found)

    async def find(self, table: str, uuids: Sequence[str]) -> list[Mapping[str, Any]]:
        """Return the rows of these uuids."""
        if not uuids:
            return []
        cypher = f"MATCH {_MATCH[table]} WHERE e.uuid IN $uuids RETURN {_COLUMNS[table]}"
        return list(await self._ask(cypher, uuids=list(uuids)))

    async def count(self, table: str, groups: Sequence[str] | None) -> int:
        """Return the number of rows."""
        where = "" if groups is None else " WHERE e.group_id IN $groups"
        found = await self._ask(
            f"MATCH {_MATCH[table]}{where} RETURN count(e) AS rows", groups=list(groups or ())
        )
        return int(found[0]["rows"])

    # -- writing ------------------------------------------------------------------------------

    async def store(self, changes: Changes) -> frozenset[str]:
        """Store a batch: on Neo4j in one transaction, on FalkorDB query by query."""
        answers = await self._change(self._statements(changes))
        return frozenset(str(row["uuid"]) for rows in answers for row in rows if row.get("uuid"))

    def _statements(self, changes: Changes) -> list[tuple[str, Mapping[str, Any]]]:
        moved = [fact.uuid for fact in changes.facts if fact.uuid not in changes.in_place]
        gone = sorted({*moved, *changes.not_facts})
        steps: list[tuple[str, Mapping[str, Any]]] = []
        if gone:  # a fact whose ends are others now would be a second edge
            steps.append((_DROP_FACTS, {"uuids": gone}))
        if changes.not_episodes:
            steps.append((_DROP_EPISODES, {"uuids": sorted(changes.not_episodes)}))
        if changes.facts:
            nodes = [self._node_row(*one) for one in nodes_of(changes.facts)]
            steps += [
                (_SAVE_NODES, {"rows": nodes}),
                (_SAVE_FACTS, {"rows": [self._fact_row(fact) for fact in changes.facts]}),
            ]
        if changes.episodes:
            steps.append((_SAVE_EPISODES, {"rows": [self._episode_row(one) for one in changes.episodes]}))
        return steps

    async def _change(self, steps: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[dict[str, Any]]]:
        try:
            return await self._session.change(steps)
        except Exception as error:  # noqa: BLE001 - two vendors' own, and the text may quote a memory
            if self._session.refusal(error) is not None:
                raise self._failure(error, "write") from None
            raise AmbiguousError(
                f"{self.place.summary} did not say that a batch was stored ({type(error).__name__})",
                provider=NAME,
                operation="write",
            ) from None

    async def delete(self, uuids: Sequence[str]) -> int:
        """Remove facts and episodes, and ends that memxfer made and nothing else uses."""
        wanted = list(uuids)
        ends = await self._ask(_ENDS, uuids=wanted)
        episodes = await self.find("episodes", wanted)
        steps: list[tuple[str, Mapping[str, Any]]] = [
            (_DROP_FACTS, {"uuids": wanted}),
            (_DROP_EPISODES, {"uuids": wanted}),
            (_LONE, {"uuids": sorted({row[end] for row in ends for end in ("n", "m")}), "made": MADE}),
        ]
        await self._change(steps)
        return len({row["uuid"] for row in ends}) + len(episodes)

    # -- rows ---------------------------------------------------------------------------------

    def _time(self, value: datetime | None) -> Any:
        return format_time(value) if value is not None and self._is_falkor else value

    def _node_row(self, node: Node, fact: Fact) -> dict[str, Any]:
        return {
            "uuid": node.uuid,
            "name": node.name,
            "group_id": fact.group_id,
            "summary": "",
            "created_at": self._time(fact.created_at),
            "memxfer": MADE,
        }

    def _fact_row(self, fact: Fact) -> dict[str, Any]:
        columns = {
            "source_uuid": fact.source.uuid,
            "target_uuid": fact.target.uuid,
            "uuid": fact.uuid,
            "name": fact.name,
            "group_id": fact.group_id,
            "fact": fact.fact,
            "episodes": list(fact.episodes),
            "created_at": self._time(fact.created_at),
            "valid_at": self._time(fact.valid_at),
            "invalid_at": self._time(fact.invalid_at),
            "expired_at": self._time(fact.expired_at),
            "reference_time": self._time(fact.reference_time),
        }
        return {**fact.attributes, **columns}

    def _episode_row(self, episode: Episode) -> dict[str, Any]:
        return {
            "uuid": episode.uuid,
            "name": episode.name,
            "group_id": episode.group_id,
            "source": episode.source,
            "source_description": episode.source_description,
            "content": episode.content,
            "entity_edges": list(episode.entity_edges),
            "created_at": self._time(episode.created_at),
            "valid_at": self._time(episode.valid_at),
        }


def _place(config: GraphitiConfig, database: str) -> Place:
    parts = urlsplit(config.uri or "")
    if not parts.hostname:
        raise ConfigError("uri: names no host; write bolt://HOST:7687 or redis://HOST:6379")
    host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    name = f"{host}/{database}"
    return Place(name, f"{config.engine} {name}", f"{config.engine} {address_place(name)}")
