"""What a Graphiti connection can say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from memxfer.spi import ConnectionConfig, decision

__all__ = ["ASSIGN", "NAME", "SHARED", "EngineName", "GraphitiConfig", "OwnerAxis", "Unit", "WriteAs"]

NAME = "graphiti"
"""The provider's name."""

ASSIGN = "assign:"
SHARED = "shared"

EngineName = Literal["kuzu", "falkordb", "neo4j"]
Unit = Literal["facts", "episodes", "summaries"]
WriteAs = Literal["auto", "fact", "episode"]
OwnerAxis = Literal["user", "group", "app", "tenant"]


def _names_each(names: frozenset[str] | None) -> frozenset[str] | None:
    if names is not None and not all(names):
        raise ValueError("must name at least one, and none of them empty")
    return names


class GraphitiConfig(ConnectionConfig):
    """One graph database that Graphiti keeps its graph in."""

    engine: EngineName = Field(
        "kuzu", description="where the graph is: kuzu (a file), falkordb or neo4j (both untested)"
    )
    path: Path | None = Field(None, description="kuzu: the database file; made by the first write")
    uri: str | None = Field(
        None,
        min_length=1,
        description="address of the server: bolt://HOST:7687 (neo4j), redis://HOST:6379 (falkordb)",
    )
    username: str | None = Field(None, description="name for the server")
    password: SecretStr | None = Field(
        None, description="password for the server, best as a reference: env:NAME or file:PATH"
    )
    database: str | None = Field(
        None,
        min_length=1,
        description="database of the server; default: neo4j, or default_db. On FalkorDB Graphiti itself "
        "has one per group",
    )
    namespace: str | None = Field(
        None,
        min_length=1,
        description="stable name of the graph in document keys; default: the file's name, on a server "
        "host and database",
    )
    unit: Unit = decision(
        "facts",
        description="as a source, what is one memory: facts (edges), episodes (raw texts) or summaries (of "
        "entities and communities); one only, since the others tell the same things again",
    )
    current_only: bool = decision(
        False,
        description="as a source, leave out facts that have ended or were superseded; they are counted",
    )
    groups: Annotated[frozenset[str] | None, Field(min_length=1), AfterValidator(_names_each)] = decision(
        None, description="as a source, only these groups, by group_id or by the id of their owner"
    )
    group_is: OwnerAxis = decision(
        "user",
        description="whose id a plain group_id is: user, group, app or tenant",
    )
    write: WriteAs = decision(
        "auto",
        description="as a target, what a record becomes: fact, episode, or auto: a fact where it has a "
        "relation or a validity, or is a fact or preference",
    )
    unscoped: str | None = decision(
        None,
        pattern=r"^(skip|shared|assign:[^\n]+)$",
        description="as a target, records without any owner: skip, shared (Graphiti's default group), or "
        "assign:USER",
    )
    buffer_pool_mb: int = Field(
        512, ge=64, description="kuzu: most megabytes of memory for its pages (its own default: 80 % of all)"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.unit != "facts" and self.current_only:
            raise ValueError(f'current_only is for unit = "facts"; {self.unit} do not end. Remove it')
        if self.engine == "kuzu":
            self._check_file()
        elif self.uri is None:
            raise ValueError(f'engine = "{self.engine}" needs uri, the address of the server')
        elif self.path is not None:
            raise ValueError(f'path is for engine = "kuzu"; {self.engine} is reached by uri. Remove it')
        return self

    def _check_file(self) -> None:
        if self.path is None or str(self.path) in ("", "."):
            raise ValueError('engine = "kuzu" needs path, the database file')
        if self.path.name == ":memory:":
            raise ValueError("a Kuzu database in memory is its process's own; memxfer needs a file")
        if self.uri is not None:
            raise ValueError(
                'uri is for a server; a Kuzu database is a file. Remove it, or set engine = "..."'
            )
