"""What a `memory` connection can say: a name, and which backend it plays."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from memxfer.spi import Axis, ClientKey, ConnectionConfig, Dimension, decision
from memxfer_memory.mapping import DROPPABLE

__all__ = ["MemoryConfig"]


class MemoryConfig(ConnectionConfig):
    """A store in this process. Connections that name the same `store` share its records."""

    store: str = Field("default", description="name of the store; the same name is the same store")
    max_page: int = Field(1000, ge=1, description="most records in one page")
    max_batch: int = Field(100, ge=1, description="most documents in one write")
    listing: Literal["keyset", "offset"] = Field(
        "keyset", description="offset: newest first by position, so that writes between pages shift rows"
    )
    split_by: Literal["none", "user"] = Field("none", description="one partition, or one per user")
    client_key: ClientKey = Field(ClientKey.UPSERT, description="what a second document of one key does")
    acknowledges: Literal["sync", "async"] = Field(
        "sync", description="async: a document is stored when its progress has been asked for often enough"
    )
    polls_until_stored: int = Field(
        1, ge=1, description="questions after which an accepted document is stored"
    )
    content_bytes: int | None = decision(None, ge=0, description="longest content, in bytes of UTF-8")
    metadata_keys: int | None = decision(None, ge=0, description="most keys of a record's metadata")
    metadata_depth: int | None = decision(None, ge=1, description="deepest nesting of a record's metadata")
    required_axes: frozenset[Axis] = decision(frozenset(), description="axes that every record must name")
    unscoped: Literal["undecided", "skip"] = decision(
        "undecided", description="what becomes of records without a required axis"
    )
    drops: frozenset[Dimension] = decision(
        frozenset(), description="dimensions the store does not keep on writing"
    )
    refuses: frozenset[str] = Field(frozenset(), description="ids of records the store refuses when written")

    @field_validator("drops")
    @classmethod
    def _can_be_dropped(cls, drops: frozenset[Dimension]) -> frozenset[Dimension]:
        unknown = drops - DROPPABLE
        if unknown:
            names = ", ".join(sorted(unknown))
            raise ValueError(f"{names}: every store keeps these; take them out of drops")
        return drops
