"""Graphiti's graph in a Kuzu file.

There a fact is a node between two others (`RelatesToNode_`, graphiti-core 0.31.1, `kuzu_driver.py`).
Graphiti's own save takes one query a row, and reports success when an end is missing; here a batch is a
few queries over lists in one transaction, ends first, and what is there afterwards is asked for. Kuzu
drops the offset of a time without converting it, and gives naive times back: both ways are UTC here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from memxfer.spi import (
    AmbiguousError,
    BatchRefusedError,
    FatalError,
    ProviderError,
    Role,
    UnavailableError,
)
from memxfer.spi.places import path_place
from memxfer_graphiti.config import NAME, GraphitiConfig
from memxfer_graphiti.engines.base import MADE, Changes, Engine, Listing, Place, nodes_of
from memxfer_graphiti.engines.kuzu_file import COMMIT, OUT_OF_MEMORY, KuzuFile
from memxfer_graphiti.engines.kuzu_tables import LABELS, PATTERN, Tables
from memxfer_graphiti.rows import Episode, Fact, Node
from memxfer_graphiti.sdk import import_sdk

__all__ = ["KuzuEngine"]

T = TypeVar("T")


def _time(name: str) -> str:
    return f"e.{name} = CASE WHEN r.{name} = '' THEN NULL ELSE timestamp(r.{name}) END"


def _list(name: str) -> str:
    return (
        f"e.{name} = CASE WHEN r.{name} = '' THEN CAST([] AS STRING[]) ELSE string_split(r.{name}, ',') END"
    )


# A list of rows must have one type per field: an absent time or list goes as empty text.
_SAVE_NODES: Final = (
    "UNWIND $rows AS r MERGE (e:Entity {uuid: r.uuid}) ON CREATE SET e.name = r.name, "
    "e.group_id = r.group_id, e.labels = string_split(r.labels, ','), e.summary = '', "
    "e.created_at = timestamp(r.created_at), e.attributes = r.attributes"
)
_SAVE_OLD_FACTS: Final = (
    "UNWIND $rows AS r MERGE (e:RelatesToNode_ {uuid: r.uuid}) SET e.group_id = r.group_id, e.name = r.name, "
    f"e.fact = r.fact, e.attributes = r.attributes, {_list('episodes')}, "
    + ", ".join(map(_time, ("created_at", "valid_at", "invalid_at", "expired_at")))
)
_SAVE_FACTS: Final = f"{_SAVE_OLD_FACTS}, {_time('reference_time')}"
_SAVE_EPISODES: Final = (
    "UNWIND $rows AS r MERGE (e:Episodic {uuid: r.uuid}) SET e.group_id = r.group_id, e.name = r.name, "
    "e.source = r.source, e.source_description = r.source_description, e.content = r.content, "
    f"{_list('entity_edges')}, {_time('created_at')}, {_time('valid_at')}"
)
# The fact is looked up first: by the ends first, Kuzu takes eight times as long.
_TIE: Final = (
    "UNWIND $rows AS r MATCH (e:RelatesToNode_ {uuid: r.uuid}) MATCH (n:Entity {uuid: r.source}) "
    "MATCH (m:Entity {uuid: r.target}) CREATE (n)-[:RELATES_TO]->(e)-[:RELATES_TO]->(m)"
)
_UNTIE: Final = (
    "UNWIND $uuids AS u MATCH (e:RelatesToNode_ {uuid: u}) MATCH (n:Entity)-[r:RELATES_TO]->(e) DELETE r",
    "UNWIND $uuids AS u MATCH (e:RelatesToNode_ {uuid: u}) MATCH (e)-[r:RELATES_TO]->(m:Entity) DELETE r",
)
_FORGET_VECTORS: Final = "MATCH (e:RelatesToNode_) WHERE e.uuid IN $uuids SET e.fact_embedding = NULL"
_TIED: Final = (
    f"UNWIND $uuids AS u MATCH (e:RelatesToNode_ {{uuid: u}}) MATCH {PATTERN} RETURN e.uuid AS uuid"
)
_ENDS: Final = (
    f"UNWIND $uuids AS u MATCH (e:RelatesToNode_ {{uuid: u}}) MATCH {PATTERN} "
    "RETURN n.uuid AS source, m.uuid AS target"
)
_LONE: Final = (
    "MATCH (n:Entity) WHERE n.uuid IN $uuids AND n.attributes = $made AND n.summary = '' "
    "AND NOT EXISTS { MATCH (n)-[]-() } DELETE n"
)
_FROM_A_COPY: Final = (
    "an app was killed while it wrote its log into the file; a private copy is read, where Kuzu finishes that"
)


class KuzuEngine(Engine):
    """A Kuzu file of an app's, or one that memxfer makes."""

    def __init__(self, file: KuzuFile, config: GraphitiConfig) -> None:
        self._file: KuzuFile | None = file
        self._config = config
        self._tables: Tables | None = None
        self._is_writable = False
        place = file.place
        self.place = Place(place.name, f"Kuzu {place}", path_place(place), str(place))

    @classmethod
    async def open(cls, config: GraphitiConfig, role: Role) -> KuzuEngine:
        """Open the file of a connection as it is; see `open_engine`."""
        assert config.path is not None  # noqa: S101 - the settings see to it
        engine = cls(KuzuFile.acquire(config.path), config)
        try:
            await engine._run(engine._look_at_source if role is Role.SOURCE else engine._look_at_target)
        except BaseException:
            await engine.close()
            raise
        return engine

    def _look_at_source(self, file: KuzuFile) -> None:
        file.open_for_reading(self._config.buffer_pool_mb)
        tables = Tables.of(file)
        tables.check_readable(self._config.unit)
        self._learn(file, tables, tables.reading_notes(self._config.unit))

    def _look_at_target(self, file: KuzuFile) -> None:
        if file.open_to_look(self._config.buffer_pool_mb):
            self._learn_target(file, Tables.of(file))

    def _learn_target(self, file: KuzuFile, tables: Tables) -> None:
        tables.check_writable(self._config.write)
        if tables.is_complete:
            self._learn(file, tables, tables.writing_notes(self._config.write))

    def _learn(self, file: KuzuFile, tables: Tables, notes: Sequence[str]) -> None:
        self._tables = tables
        self.has_reference_time = tables.has_reference_time
        self.notes = (*notes, _FROM_A_COPY) if file.is_copy else tuple(notes)

    async def make(self) -> None:
        """Open the file for writing, and make it where it is missing: a look at a target writes nothing."""
        if not self._is_writable:
            await self._run(self._make)
            self._is_writable = True

    def _make(self, file: KuzuFile) -> None:
        file.open_for_writing(self._config.buffer_pool_mb)
        tables = Tables.of(file)
        if not tables.is_complete and tables.can_be_completed:
            file.query(_schema())
            tables = Tables.of(file)
        self._learn_target(file, tables)

    async def close(self) -> None:
        """Release it. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            await file.release()

    async def _run(self, call: Callable[[KuzuFile], T]) -> T:
        if self._file is None:
            raise ProviderError("the Kuzu file is closed; call connect first", provider=NAME)
        return await self._file.run(call, self._file)

    async def _ask(self, cypher: str, **params: Any) -> list[dict[str, Any]]:
        return await self._run(lambda file: file.query(cypher, **params))

    # -- reading ------------------------------------------------------------------------------

    async def list_rows(
        self, table: str, cursor: str | None, limit: int, groups: Sequence[str] | None
    ) -> Listing:
        """Return rows below `cursor`: first their uuids, then, by primary key, what belongs to them."""
        if self._tables is None:  # a target that is still to be made
            return Listing((), ())
        where: list[str] = []
        params: dict[str, Any] = {}
        if cursor is not None:
            where, params = ["e.uuid < $cursor"], {"cursor": cursor}
        if groups is not None:
            where, params = [*where, "e.group_id IN $groups"], {**params, "groups": list(groups)}
        clause = f" WHERE {' AND '.join(where)}" if where else ""
        found = await self._ask(
            f"MATCH (e:{LABELS[table]}){clause} RETURN e.uuid AS uuid ORDER BY e.uuid DESC LIMIT {limit}",
            **params,
        )
        keys = [row["uuid"] for row in found]
        rows = await self.find(table, keys)
        whole = {row["uuid"] for row in rows}
        return Listing(keys, [*rows, *({"uuid": key} for key in keys if key not in whole)])

    async def find(self, table: str, uuids: Sequence[str]) -> list[Mapping[str, Any]]:
        """Return the rows of these uuids; a fact whose ends are missing is none."""
        tables = self._tables
        if not uuids or tables is None:
            return []
        match = f"UNWIND $uuids AS u MATCH (e:{LABELS[table]} {{uuid: u}})"
        tied = f" MATCH {PATTERN}" if table == "facts" else ""
        found = await self._ask(f"{match}{tied} RETURN {tables.returns(table)}", uuids=list(uuids))
        return [tables.row(table, row) for row in found]

    async def count(self, table: str, groups: Sequence[str] | None) -> int:
        """Return the number of rows, half facts among them."""
        if self._tables is None:
            return 0
        where, params = ("", {}) if groups is None else (" WHERE e.group_id IN $g", {"g": list(groups)})
        found = await self._ask(f"MATCH (e:{LABELS[table]}){where} RETURN count(*) AS rows", **params)
        return sum(int(row["rows"]) for row in found)

    # -- writing ------------------------------------------------------------------------------

    async def store(self, changes: Changes) -> frozenset[str]:
        """Store a batch in one transaction."""
        await self.make()
        tables = self._tables
        assert tables is not None  # noqa: S101 - they are there once the file is made
        return await self._run(lambda file: _in_transaction(file, changes, tables))

    async def delete(self, uuids: Sequence[str]) -> int:
        """Remove facts and episodes, and ends that memxfer made and nothing else uses."""
        wanted = list(dict.fromkeys(uuids))
        if not wanted or self._tables is None:
            return 0
        await self.make()
        return await self._run(lambda file: _delete(file, wanted))


def _schema() -> str:
    """Return Graphiti's own schema; nothing of it calls a model."""
    return str(import_sdk("graphiti_core.driver.kuzu_driver").SCHEMA_QUERIES)


def _in_transaction(file: KuzuFile, changes: Changes, tables: Tables) -> frozenset[str]:
    file.query("BEGIN TRANSACTION")
    try:
        stored = _store(file, changes, tables)
    except (UnavailableError, FatalError) as error:
        _roll_back(file)
        is_many = len(changes.facts) + len(changes.episodes) > 1
        if error.code == "refused" or (error.code == OUT_OF_MEMORY and is_many):
            raise BatchRefusedError(str(error), provider=NAME, operation="write", code=error.code) from None
        raise
    except BaseException:
        _roll_back(file)
        raise
    _commit(file)
    return stored


def _roll_back(file: KuzuFile) -> None:
    try:
        file.query("ROLLBACK")
    except ProviderError:  # Kuzu ends a transaction by itself when a query of it fails
        return


def _commit(file: KuzuFile) -> None:
    try:
        file.query(COMMIT)
    except ProviderError as error:
        _roll_back(file)
        raise AmbiguousError(
            f"{error}; whether a batch was stored is not known", provider=NAME, operation="write"
        ) from error


def _store(file: KuzuFile, changes: Changes, tables: Tables) -> frozenset[str]:
    if changes.not_episodes:
        file.query(_drop("Episodic"), uuids=sorted(changes.not_episodes))
    if changes.not_facts:
        file.query(_drop("RelatesToNode_"), uuids=sorted(changes.not_facts))
    if changes.episodes:
        file.query(_SAVE_EPISODES, rows=[_episode_row(one) for one in changes.episodes])
    tied = _store_facts(file, changes, tables) if changes.facts else frozenset()
    return tied | {one.uuid for one in changes.episodes}


def _store_facts(file: KuzuFile, changes: Changes, tables: Tables) -> frozenset[str]:
    file.query(_SAVE_NODES, rows=[_node_row(node, fact) for node, fact in nodes_of(changes.facts)])
    facts = _with_own_ends(file, changes.facts)
    if not facts:
        return frozenset()
    loose = [fact for fact in facts if fact.uuid not in changes.in_place]
    if loose:
        for cypher in _UNTIE:  # what is left of a fact whose end an app has deleted
            file.query(cypher, uuids=[fact.uuid for fact in loose])
    save = _SAVE_FACTS if tables.has_reference_time else _SAVE_OLD_FACTS
    file.query(save, rows=[_fact_row(fact) for fact in facts])
    if loose:
        file.query(_TIE, rows=[_tie_row(fact) for fact in loose])
    if changes.reworded and tables.has_vectors:
        file.query(_FORGET_VECTORS, uuids=sorted(changes.reworded))
    return _tied(file, facts)


def _with_own_ends(file: KuzuFile, facts: Sequence[Fact]) -> list[Fact]:
    """Return the facts whose ends are of their group: a node of another owner's is not for them."""
    uuids = [node.uuid for node, _ in nodes_of(facts)]
    cypher = "UNWIND $uuids AS u MATCH (e:Entity {uuid: u}) RETURN e.uuid AS uuid, e.group_id AS group_id"
    groups = {row["uuid"]: row["group_id"] for row in file.query(cypher, uuids=uuids)}
    return [
        fact
        for fact in facts
        if groups.get(fact.source.uuid) == fact.group_id == groups.get(fact.target.uuid)
    ]


def _tied(file: KuzuFile, facts: Sequence[Fact]) -> frozenset[str]:
    """Return which facts have both ends; the others, which nobody would see, are taken away again."""
    tied = {row["uuid"] for row in file.query(_TIED, uuids=[fact.uuid for fact in facts])}
    lost = [fact.uuid for fact in facts if fact.uuid not in tied]
    if lost:
        file.query(_drop("RelatesToNode_"), uuids=lost)
    return frozenset(tied)


def _delete(file: KuzuFile, uuids: list[str]) -> int:
    file.query("BEGIN TRANSACTION")
    try:
        ends = {row[end] for row in file.query(_ENDS, uuids=uuids) for end in ("source", "target")}
        gone = sum(_dropped(file, label, uuids) for label in ("RelatesToNode_", "Episodic"))
        if ends:
            file.query(_LONE, uuids=sorted(ends), made=MADE)
    except BaseException:
        _roll_back(file)
        raise
    _commit(file)
    return gone


def _dropped(file: KuzuFile, label: str, uuids: list[str]) -> int:
    there = file.query(f"UNWIND $uuids AS u MATCH (e:{label} {{uuid: u}}) RETURN count(*) AS n", uuids=uuids)
    file.query(_drop(label), uuids=uuids)
    return int(there[0]["n"])


def _drop(label: str) -> str:
    return f"UNWIND $uuids AS u MATCH (e:{label} {{uuid: u}}) DETACH DELETE e"


# -- rows -------------------------------------------------------------------------------------


def _node_row(node: Node, fact: Fact) -> dict[str, str]:
    return {
        "uuid": node.uuid,
        "name": node.name,
        "group_id": fact.group_id,
        "labels": ",".join(("Entity", *node.labels)),
        "created_at": _stamp(fact.created_at),
        "attributes": MADE,
    }


def _fact_row(fact: Fact) -> dict[str, str]:
    return {
        "uuid": fact.uuid,
        "group_id": fact.group_id,
        "name": fact.name,
        "fact": fact.fact,
        "created_at": _stamp(fact.created_at),
        "valid_at": _stamp(fact.valid_at),
        "invalid_at": _stamp(fact.invalid_at),
        "expired_at": _stamp(fact.expired_at),
        "reference_time": _stamp(fact.reference_time),
        "episodes": ",".join(fact.episodes),
        "attributes": msgspec.json.encode(fact.attributes).decode(),
    }


def _tie_row(fact: Fact) -> dict[str, str]:
    return {"uuid": fact.uuid, "source": fact.source.uuid, "target": fact.target.uuid}


def _episode_row(episode: Episode) -> dict[str, str]:
    return {
        "uuid": episode.uuid,
        "group_id": episode.group_id,
        "name": episode.name,
        "source": episode.source,
        "source_description": episode.source_description,
        "content": episode.content,
        "created_at": _stamp(episode.created_at),
        "valid_at": _stamp(episode.valid_at),
        "entity_edges": ",".join(episode.entity_edges),
    }


def _stamp(value: datetime | None) -> str:
    return "" if value is None else value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
