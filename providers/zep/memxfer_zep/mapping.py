"""What Zep's rows mean as memories. Nothing is dropped: what has no field of its own is an extension."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from memxfer.spi import (
    Ignored,
    MemoryRecord,
    Message,
    RecordState,
    Relation,
    Scope,
    Validity,
    parse_time,
)
from memxfer_zep.marks import PREDICATE, SESSION, USER, Books

__all__ = ["CUSTOM", "HAS_MEMORY", "Owner", "Row", "record_of"]

CUSTOM: Final[Mapping[str, str]] = {
    "user_uuid": "Zep's own id of the user",
    "graph_uuid": "the graph it is in",
    "graph_name": "display name of a standalone graph",
    "thread_uuid": "Zep's own id of the thread, where the app gave it another",
    "name": "name of an entity; or of a fact's relation, where its ends are not known",
    "hyperedge_uuid": "the fact of many ends that it is a part of",
    "scope": "kind of edge",
    "processed": "whether Zep has finished extracting from it",
    "content_policy": "what a content policy found",
    "last_summarized_episode_valid_at": "latest episode that a summary covers",
    "shadowed_metadata": "metadata of a fact's episodes under keys that the fact has itself",
    "unreadable_times": "times that are no times, as Zep wrote them",
    "degree": "live facts at an entity",
}
"""Fields beyond those of a record, with what they are."""

HAS_MEMORY: Final = "HAS_MEMORY"
"""Name of the relation of a memory that is no relation itself: from its owner to its kind."""

_SOURCE_OF_FACTS: Final = "fact_triple"
_EPISODIC: Final = "episodic"
_MENTION: Final = Ignored("mention", harmless=True)
_FACT_SOURCE: Final = Ignored("fact_source", harmless=True)
_ENDED: Final = Ignored("ended", harmless=True)


class Owner(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose a partition's rows are; part of the partition's spec.

    Attributes:
        user: External id of the user, else the uuid.
        user_uuid: Zep's own id of the user.
        group: Id of a standalone graph: the app's, else the uuid.
        graph_name: Its display name.
        thread: Id of the thread: the app's, else the uuid.
    """

    user: str | None = None
    user_uuid: str | None = None
    group: str | None = None
    graph_name: str | None = None
    thread: str | None = None


class Row(msgspec.Struct, frozen=True):
    """A row as Zep answers it.

    Attributes:
        body: Its JSON.
        episodes: Episodes of a fact, as far as they were asked for.
    """

    body: dict[str, Any]
    episodes: Sequence[Mapping[str, Any]] = ()


class _Fields:
    """A row being read: what is taken is taken out, what is left becomes extensions."""

    def __init__(self, row: Row, owner: Owner) -> None:
        # a row that is no object raises here and becomes a defect
        self._left = {name: value for name, value in dict(row.body.items()).items() if value is not None}
        self._bad_times: dict[str, Any] = {}
        self.owner = owner
        self.books = Books({})

    def take(self, name: str) -> Any:
        """Return a field of any type and take it out; `None` if it is not there."""
        return self._left.pop(name, None)

    def text(self, name: str) -> str | None:
        """Take a text out; what is none stays where it is."""
        return self.take(name) if isinstance(self._left.get(name), str) else None

    def mapping(self, name: str) -> dict[str, Any]:
        """Take an object out; what is none stays where it is."""
        return self.take(name) if isinstance(self._left.get(name), dict) else {}

    def texts(self, name: str) -> tuple[str, ...]:
        """Take a list of texts out; what is none stays where it is."""
        value = self._left.get(name)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(self.take(name))
        return ()

    def time(self, name: str) -> datetime | None:
        """Take a time out. Go's zero time (the year 1) is none; what cannot be read is kept as it is."""
        value = self.take(name)
        if value is None:
            return None
        try:
            found = parse_time(value)
        except (ValueError, TypeError):
            self._bad_times[name] = value
            return None
        return None if found.year == 1 else found

    def has_bad(self, *names: str) -> bool:
        """Tell whether one of these times was there and could not be read."""
        return any(name in self._bad_times for name in names)

    def content(self, *names: str) -> str:
        """Take the text that makes the row a memory.

        Raises:
            ValueError: None of them is a text.
        """
        found = next((text for text in map(self.text, names) if text is not None), None)
        if found is None:
            raise ValueError("the row has no text")
        return found

    def id(self) -> str:
        """Take the uuid out.

        Raises:
            ValueError: There is none.
        """
        return self.content("uuid")

    def extensions(self, **more: Any) -> dict[str, dict[str, Any]]:
        """Return what is left, and `more` where it is something."""
        owner = {"user_uuid": self.owner.user_uuid, "graph_name": self.owner.graph_name}
        own = {"unreadable_times": self._bad_times, **more}
        added = {name: value for name, value in {**owner, **own}.items() if value}
        left = {**added, **self._left}
        ours = self.books.extension()
        return {**({"zep": left} if left else {}), **({"memxfer": ours} if ours else {})}

    def scope(self, session: str | None = None) -> Scope:
        """Return whose it is."""
        kept, user = self.books.text(USER), self.owner.user
        group = self.owner.group
        if kept is not None and user is None:  # a job's own graph is nobody's group
            user, group = kept, None
        return Scope(user=user, group=group, session=self.books.text(SESSION) or session)

    def own(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return metadata without what memxfer put there, which tells more of the record from then on."""
        self.books = Books(metadata)
        return self.books.metadata


def record_of(
    row: Row, listing: str, owner: Owner, *, now: datetime, current_only: bool = False
) -> MemoryRecord | Ignored:
    """Return what a row means, or why it is no memory of its own.

    No memories: edges and episodes that only tie a fact to its origin, entities without a summary, and
    ended facts when only current ones are wanted. Harmless, but for entities that have attributes.

    Args:
        row: As Zep answered it.
        listing: Which list it came from, see `ZepClient.rows`.
        owner: Whose it is.
        now: The time of day; a fact whose validity ended before is superseded.
        current_only: Leave out ended facts.

    Raises:
        ValueError, TypeError, AttributeError: The row has no uuid, no text, or no sense.
    """
    fields = _Fields(row, owner)
    if listing == "facts":
        return _fact(fields, row.episodes, now=now, current_only=current_only)
    return _DECODERS[listing](fields)


# -- facts ------------------------------------------------------------------------------------


def _fact(
    fields: _Fields, episodes: Sequence[Mapping[str, Any]], *, now: datetime, current_only: bool
) -> MemoryRecord | Ignored:
    identifier, content = fields.id(), fields.text("fact")
    if content is None:
        if fields.take("scope") == _EPISODIC:  # it only says which episode mentions an entity
            return _MENTION
        raise ValueError("the edge has no fact")
    validity = Validity(
        valid_from=fields.time("valid_at"),
        valid_to=fields.time("invalid_at"),
        recorded_at=fields.time("created_at"),
        invalidated_at=fields.time("expired_at"),
    )
    has_ended = _has_ended(validity, now) or fields.has_bad("expired_at")
    if has_ended and current_only:
        return _ENDED
    metadata, shadowed = _with_episodes(fields.mapping("attributes"), episodes)
    metadata = fields.own(metadata)
    relation = _relation(fields)
    return MemoryRecord(
        id=identifier,
        content=content,
        kind="fact",
        scope=fields.scope(),
        metadata=metadata,
        created_at=fields.books.created_at() or validity.recorded_at,
        updated_at=validity.invalidated_at,
        validity=validity,
        state=RecordState.SUPERSEDED if has_ended else RecordState.ACTIVE,
        relations=(relation,) if relation else (),
        provenance=_origin(fields, episodes),
        extensions=fields.extensions(shadowed_metadata=shadowed),
    )


def _has_ended(validity: Validity, now: datetime) -> bool:
    return validity.invalidated_at is not None or (validity.valid_to is not None and validity.valid_to <= now)


def _relation(fields: _Fields) -> Relation | None:
    """Return the triple where both ends are known; else all of it stays an extension."""
    left = fields.extensions().get("zep", {})
    ends = [left.get(f"{end}_node_name") or left.get(f"{end}_node_uuid") for end in ("source", "target")]
    name = left.get("name", "")
    if fields.books.marks and name == HAS_MEMORY:  # written for a memory that was no relation
        fields.take("name")
        return None
    if not all(isinstance(text, str) and text for text in ends) or not isinstance(name, str):
        return None
    for taken in ("name", "source_node_name", "target_node_name"):
        fields.take(taken)
    labels = {
        "subject_labels": fields.texts("source_node_labels"),
        "object_labels": fields.texts("target_node_labels"),
    }
    return Relation(
        subject=str(ends[0]),
        predicate=fields.books.text(PREDICATE) or name,
        object=str(ends[1]),
        subject_id=fields.text("source_node_uuid"),
        object_id=fields.text("target_node_uuid"),
        attributes={name: list(value) for name, value in labels.items() if value},
    )


def _with_episodes(
    own: dict[str, Any], episodes: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Add the metadata of a fact's episodes to its own; return what it hides as well."""
    metadata: dict[str, Any] = dict(own)
    shadowed: dict[str, Any] = {}
    for episode in episodes:
        theirs = episode.get("metadata")
        for name, value in theirs.items() if isinstance(theirs, dict) else ():
            if name not in metadata:
                metadata[name] = value
            elif metadata[name] != value:
                shadowed.setdefault(name, value)
    return metadata, shadowed


def _origin(fields: _Fields, episodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    threads = dict.fromkeys(one["thread_uuid"] for one in episodes if isinstance(one.get("thread_uuid"), str))
    found = {"episode_uuids": list(fields.texts("episode_uuids")), "thread_uuids": list(threads)}
    return {name: value for name, value in found.items() if value}


# -- episodes and messages --------------------------------------------------------------------


def _episode(fields: _Fields) -> MemoryRecord | Ignored:
    source = fields.text("source")
    if source == _SOURCE_OF_FACTS:  # the trace that writing a fact leaves
        return _FACT_SOURCE
    identifier, content = fields.id(), fields.content("content")
    happened, arrived = fields.time("reference_time"), fields.time("created_at")
    metadata = fields.own(fields.mapping("metadata"))
    turns = _turns(fields, content, "role_name", happened or arrived) if source == "message" else ()
    provenance = {
        "source": source,
        "source_description": fields.text("source_description"),
        "document_id": fields.text("document_id"),
    }
    return MemoryRecord(
        id=identifier,
        content=content,
        kind="message" if source == "message" else "episode",
        messages=turns,
        scope=fields.scope(fields.text("thread_uuid")),
        metadata=metadata,
        created_at=fields.books.created_at() or arrived,
        occurred_at=happened,
        provenance={name: value for name, value in provenance.items() if value},
        extensions=fields.extensions(),
    )


def _message(fields: _Fields) -> MemoryRecord:
    identifier, content = fields.id(), fields.content("content")
    happened, arrived = fields.time("reference_time"), fields.time("created_at")
    metadata = fields.own(fields.mapping("metadata"))
    thread = fields.text("thread_uuid")
    session = fields.books.text(SESSION) or fields.owner.thread or thread
    return MemoryRecord(
        id=identifier,
        content=content,
        kind="message",
        messages=_turns(fields, content, "name", happened or arrived),
        scope=fields.scope(session),
        metadata=metadata,
        created_at=fields.books.created_at() or arrived,
        occurred_at=happened,
        extensions=fields.extensions(thread_uuid=thread if thread != session else None),
    )


def _turns(fields: _Fields, content: str, name: str, at: datetime | None) -> tuple[Message, ...]:
    role = fields.text("role")
    if role is None:
        return ()
    return (Message(role=role, content=content, name=fields.text(name), at=at),)


# -- summaries --------------------------------------------------------------------------------


def _node(fields: _Fields) -> MemoryRecord | Ignored:
    identifier, summary = fields.id(), fields.text("summary")
    if not summary:
        return Ignored("no_summary", harmless=not fields.take("attributes"))
    name = fields.text("name")
    provenance = {
        "episode_uuids": list(fields.texts("episode_uuids")),
        "episode_uuids_truncated": fields.take("episode_uuids_truncated"),
    }
    return MemoryRecord(
        id=identifier,
        content=f"{name}: {summary}" if name else summary,
        kind="entity",
        scope=fields.scope(),
        metadata=fields.mapping("attributes"),
        tags=fields.texts("labels"),
        created_at=fields.time("created_at"),
        provenance={name: value for name, value in provenance.items() if value},
        extensions=fields.extensions(name=name),
    )


def _summary(fields: _Fields) -> MemoryRecord | Ignored:
    identifier, summary = fields.id(), fields.text("summary")
    if not summary:
        return Ignored("no_summary", harmless=True)
    document = fields.text("document_id")
    return MemoryRecord(
        id=identifier,
        content=summary,
        kind="summary",
        scope=fields.scope(fields.text("thread_uuid")),
        created_at=fields.time("created_at"),
        updated_at=fields.time("last_summarized_at"),
        provenance={"document_id": document} if document else {},
        extensions=fields.extensions(),
    )


_DECODERS: Final[Mapping[str, Callable[[_Fields], MemoryRecord | Ignored]]] = {
    "episodes": _episode,
    "messages": _message,
    "nodes": _node,
    "thread_summaries": _summary,
    "document_summaries": _summary,
}
