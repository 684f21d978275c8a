import itertools
from datetime import UTC, datetime

import pytest

from memxfer.capabilities import (
    Capabilities,
    Channel,
    ClientKey,
    Dimension,
    DocumentChange,
    Level,
    Paging,
    Writing,
)
from memxfer.errors import RecordError
from memxfer.gaps import Census, End, build_report
from memxfer.models import (
    Attachment,
    Embedding,
    MemoryRecord,
    Message,
    RecordState,
    Relation,
    Scope,
    Validity,
    Version,
)
from memxfer.spi import Document, ReadTime, Refused, Skipped

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)

BARE = MemoryRecord(id="r1", content="text")
FULL = MemoryRecord(
    id="r1",
    content="text",
    messages=(Message(role="user", content="hi"),),
    kind="preference",
    scope=Scope(user="u", agent="a", app="p", session="s", tenant="t", group="g"),
    metadata={"k": 1},
    tags=("x",),
    created_at=AT,
    updated_at=AT,
    occurred_at=AT,
    expires_at=AT,
    validity=Validity(valid_from=AT),
    state=RecordState.ARCHIVED,
    pinned=True,
    versions=(Version(content="before", at=AT),),
    relations=(Relation(subject="a", predicate="is", object="b"),),
    embedding=Embedding(vector=(1.0,)),
    importance=0.0,
    confidence=0.5,
    provenance={"index": 1},
    attachments=(Attachment(name="f"),),
    visibility="private",
    derived_from=("r0",),
    extensions={"mem0": {"x": 1}},
    sanitised=("metadata.k",),
)

ENVELOPED = {
    Dimension.VERSIONS: ("versions", [{"content": "before", "at": "2026-01-02T03:04:05Z"}]),
    Dimension.CREATED_AT: ("created_at", "2026-01-02T03:04:05Z"),
    Dimension.UPDATED_AT: ("updated_at", "2026-01-02T03:04:05Z"),
    Dimension.OCCURRED_AT: ("occurred_at", "2026-01-02T03:04:05Z"),
    Dimension.VALIDITY: ("validity", {"valid_from": "2026-01-02T03:04:05Z"}),
    Dimension.EXPIRY: ("expires_at", "2026-01-02T03:04:05Z"),
    Dimension.INACTIVE: ("state", "archived"),
    Dimension.EXTENSIONS: ("ext", {"mem0": {"x": 1}}),
    Dimension.IDS: ("source_id", "r1"),
    Dimension.USER: ("user_id", "u"),
    Dimension.AGENT: ("agent_id", "a"),
    Dimension.APP: ("app_id", "p"),
    Dimension.SESSION: ("session_id", "s"),
    Dimension.TENANT: ("tenant_id", "t"),
    Dimension.GROUP: ("group_id", "g"),
    Dimension.SANITISED: ("sanitised", ["metadata.k"]),
    Dimension.MESSAGES: ("messages", [{"role": "user", "content": "hi"}]),
    Dimension.KIND: ("kind", "preference"),
    Dimension.METADATA: ("metadata", {"k": 1}),
    Dimension.TAGS: ("tags", ["x"]),
    Dimension.PINNING: ("pinned", True),
    Dimension.SCORES: ("scores", {"importance": 0.0, "confidence": 0.5}),
    Dimension.PROVENANCE: ("provenance", {"index": 1}),
    Dimension.RELATIONS: ("relations", [{"subject": "a", "predicate": "is", "object": "b"}]),
    Dimension.ATTACHMENTS: ("attachments", [{"name": "f"}]),
    Dimension.VISIBILITY: ("visibility", "private"),
    Dimension.DERIVED: ("derived_from", ["r0"]),
}
"""Key and value that each dimension of `FULL` has in an envelope; content and vectors have none."""


def able(*, read=Level.NATIVE, write=Level.NATIVE, package=False, search=False, **levels):
    """Capabilities with one level for all dimensions, `levels` by dimension excepted."""
    channels = {dimension: Channel(read=read, write=write) for dimension in Dimension}
    channels |= {Dimension(name): Channel(read=read, write=level) for name, level in levels.items()}
    return Capabilities(
        dimensions=channels,
        read_time=ReadTime(package=package, search=search),
        paging=Paging(style="keyset", insert_safe=True, delete_safe=True),
        writing=Writing(client_key=ClientKey.UPSERT, backdates="microsecond"),
        changes=CHANGES,
    )


CHANGES = {
    "blurred": DocumentChange(dimension=Dimension.SANITISED, text="are blurred by {target}"),
    "cut": DocumentChange(dimension=Dimension.EXTENSIONS, level=Level.NONE, text="are cut by {target}"),
}
"""What the target of these tests may do to a document."""

_numbers = itertools.count()


def document(*changes, scope="user", key=None, owner=None):
    """Return a document, under a key of its own unless one is given."""
    key = key or f"k{next(_numbers)}"
    return Document(key=key, record_id="r1", body=None, size=1, scope=scope, changes=changes, owner=owner)


def refused(code, *remedies):
    return Refused(RecordError("no", code=code), remedies=remedies)


def skipped(reason="unscoped"):
    return Skipped(reason)


@pytest.fixture
def census():
    made = Census(able(), now=NOW)
    yield made
    made.crossings.close()


@pytest.fixture
def report(census):
    """Build the report of what `census` saw: `report(source=..., target=...)`."""

    def build(*, source=None, target=None, total=None, **options):
        return build_report(
            census,
            source=End("old", source or able()),
            target=End("new", target or able()),
            total=total,
            **options,
        )

    return build


@pytest.fixture
def line(report):
    """Return the one line of a dimension that the given levels make."""

    def only(dimension, **ends):
        (found,) = [line for line in report(**ends).dimensions if line.dimension == dimension]
        return found

    return only
