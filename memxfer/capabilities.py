"""What a connected backend can keep, dimension by dimension, and the numbers it is bounded by.

A `Capabilities` object belongs to a connected instance and is pure: reading it does no I/O.
Operations that are methods (`SupportsGet`, `SupportsLookup`, ...) are detected, not declared.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

__all__ = [
    "Axis",
    "Capabilities",
    "Channel",
    "ClientKey",
    "CustomExtension",
    "Dimension",
    "DimensionGroup",
    "DocumentChange",
    "Evidence",
    "Identity",
    "Level",
    "Limits",
    "Paging",
    "ReadTime",
    "Writing",
]


class Level(IntEnum):
    """How faithfully one side handles one dimension; higher is better."""

    NONE = 0
    ENVELOPE = 1
    LOSSY = 2
    NATIVE = 3


class DimensionGroup(StrEnum):
    """Where a dimension stands in a report; consent may name a whole group."""

    VERSIONING = "versioning"
    TEMPORAL = "temporal"
    PACKAGING = "packaging"
    EXTENSIONS = "extensions"
    IDENTITY = "identity"
    CONTENT = "content"
    CONTEXT = "context"


class Dimension(StrEnum):
    """One aspect of a memory that a move can keep, approximate or lose."""

    VERSIONS = "versions"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    OCCURRED_AT = "occurred_at"
    VALIDITY = "validity"
    EXPIRY = "expiry"
    INACTIVE = "inactive"
    PACKAGING = "packaging"
    SEARCH = "search"
    EXTENSIONS = "extensions"
    IDS = "ids"
    USER = "user"
    AGENT = "agent"
    APP = "app"
    SESSION = "session"
    TENANT = "tenant"
    GROUP = "group"
    CONTENT = "content"
    SANITISED = "sanitised"
    KIND = "kind"
    METADATA = "metadata"
    TAGS = "tags"
    MESSAGES = "messages"
    PINNING = "pinning"
    SCORES = "scores"
    PROVENANCE = "provenance"
    RELATIONS = "relations"
    EMBEDDINGS = "embeddings"
    ATTACHMENTS = "attachments"
    VISIBILITY = "visibility"
    DERIVED = "derived"


class Axis(StrEnum):
    """One axis of a scope; the names are those of `Scope`'s fields."""

    USER = "user"
    AGENT = "agent"
    APP = "app"
    SESSION = "session"
    TENANT = "tenant"
    GROUP = "group"


class Evidence(StrEnum):
    """How a claim is known."""

    DECLARED = "declared"
    PROBED = "probed"
    OBSERVED = "observed"


class ClientKey(StrEnum):
    """What a target does with a document whose key it already holds."""

    NONE = "none"
    """It takes no key; only a look-up can tell what is there."""
    UNKNOWN = "unknown"
    """It takes a key, and nobody knows what a second one does."""
    DEDUPE = "dedupe"
    """It answers with what it has and stores nothing new."""
    UPSERT = "upsert"
    """It replaces what it has."""
    REJECT = "reject"
    """It refuses the second one, by document or by batch."""
    APPEND = "append"
    """It stores the document again."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Channel(_Model):
    """Levels of one dimension, out of the backend (`read`) and into it (`write`)."""

    read: Level = Level.NONE
    write: Level = Level.NONE
    note: str = ""
    """One sentence, when the level alone does not tell the story."""

    @field_serializer("read", "write")
    def _name_of_level(self, level: Level) -> str:
        return level.name.lower()


class Identity(_Model):
    """Which axes of a scope the backend has, and which a write must name."""

    axes: frozenset[Axis] = frozenset()
    required_to_write: tuple[frozenset[Axis], ...] = ()
    """Alternatives; a write must name every axis of at least one. Empty: none is required."""


class Paging(_Model):
    """How a listing behaves while the store is written to."""

    style: Literal["keyset", "cursor", "page_number", "offset", "snapshot", "none"] = "none"
    insert_safe: bool = False
    """No row that existed throughout the walk is missed or repeated because others were inserted."""
    delete_safe: bool = False
    max_page: int = 100
    cursors_expire: bool = False

    @property
    def is_stable(self) -> bool:
        """Whether rows keep their place in a listing while others come and go."""
        return self.style == "keyset" or (self.insert_safe and self.delete_safe)


class Writing(_Model):
    """How the backend takes documents."""

    verbatim: bool = True
    """What is read back is what was sent; `False`: the backend extracts or rewrites."""
    max_batch: int = 1
    client_key: ClientKey = ClientKey.NONE
    keeps_apart: bool = False
    """Records that share a key are both kept where their owner or their date of creation differs."""
    acknowledges: Literal["sync", "async"] = "sync"
    """`async`: a write is accepted first and stored later; the engine polls."""
    reports_ids: bool = True
    backdates: Literal["none", "day", "second", "millisecond", "microsecond"] = "none"
    rollback: Literal["none", "id", "tag", "scope"] = "none"
    merges_repeats: bool = False
    """Documents of one owner with the same text become one."""
    ordered: bool = False
    """Documents of one owner must arrive in time order."""


class Limits(_Model):
    """Bounds, in the units their names give; `None`: none known."""

    content_bytes: int | None = None
    metadata_bytes: int | None = None
    metadata_keys: int | None = None
    metadata_depth: int | None = None
    reserved_keys: frozenset[str] = frozenset()
    id_pattern: str | None = None
    requests_per_minute: int | None = None
    concurrency: int | None = None


class ReadTime(_Model):
    """What apps can ask of the backend at run time.

    Attributes:
        levels: Which memories a question about a user reads, where the backend keeps some at wider levels
            (a customer's, everybody's): `merged`, those of the wider levels too; `isolated`, the user's
            alone; `unknown`; `none`, where there is one level.
    """

    search: bool = False
    package: bool = False
    as_of: bool = False
    levels: Literal["none", "unknown", "merged", "isolated"] = "none"


class CustomExtension(_Model):
    """Something only this backend has."""

    carried: Literal["per_record", "per_scope", "operations_only"]
    description: str


class DocumentChange(_Model):
    """What a provider may have to do to a single document, beyond what its levels say of all.

    Attributes:
        dimension: What it touches.
        level: What is left of it: `LOSSY`, or `NONE`.
        text: What it means, following "n memories"; `{target}` stands for the connection's name.
    """

    dimension: Dimension
    level: Level = Level.LOSSY
    text: str

    @field_serializer("level")
    def _name_of_level(self, level: Level) -> str:
        return level.name.lower()


class Capabilities(_Model):
    """Everything a plan needs to know about one side of a move."""

    dimensions: dict[Dimension, Channel] = Field(default_factory=dict)
    identity: Identity = Identity()
    paging: Paging | None = None
    """`None`: not a source."""
    writing: Writing | None = None
    """`None`: not a target."""
    limits: Limits = Limits()
    read_time: ReadTime = ReadTime()
    custom: dict[str, CustomExtension] = Field(default_factory=dict)
    """By name; one that is carried per record is the field of that name in `extensions[PROVIDER]`."""
    changes: dict[str, DocumentChange] = Field(default_factory=dict)
    """By the words of `Document.changes`."""
    evidence: dict[str, Evidence] = Field(default_factory=dict)
    """Claims known better than by declaration, by field path: `{"writing.client_key": "probed"}`."""

    def channel(self, dimension: Dimension) -> Channel:
        """Return the levels of `dimension`; one that is not declared is `NONE` both ways."""
        return self.dimensions.get(dimension, Channel())

    def own_fields(self) -> frozenset[str]:
        """Return the extensions that the backend has a place for in each record: `PROVIDER.FIELD`."""
        return frozenset(name for name, one in self.custom.items() if one.carried == "per_record")
