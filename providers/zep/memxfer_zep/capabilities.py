"""What a connection to Zep Cloud keeps: reading by unit, writing by form."""

from __future__ import annotations

from memxfer.spi import (
    Axis,
    Capabilities,
    Channel,
    ClientKey,
    CustomExtension,
    Dimension,
    DocumentChange,
    Identity,
    Level,
    Limits,
    Paging,
    ReadTime,
    Role,
    Writing,
)
from memxfer_zep.config import Unit, ZepConfig
from memxfer_zep.mapping import CUSTOM
from memxfer_zep.marks import RESERVED
from memxfer_zep.partitions import MAX_PAGE

__all__ = ["capabilities_of"]

_ALWAYS = (
    Dimension.CONTENT,
    Dimension.IDS,
    Dimension.CREATED_AT,
    Dimension.USER,
    Dimension.GROUP,
    Dimension.KIND,
    Dimension.METADATA,
    Dimension.PROVENANCE,
    Dimension.EXTENSIONS,
    Dimension.SANITISED,
)
_TURNS = (Dimension.OCCURRED_AT, Dimension.SESSION, Dimension.MESSAGES)
_BY_UNIT: dict[Unit, tuple[Dimension, ...]] = {
    "facts": (
        Dimension.SESSION,
        Dimension.VALIDITY,
        Dimension.INACTIVE,
        Dimension.RELATIONS,
        Dimension.UPDATED_AT,
    ),
    "episodes": _TURNS,
    "messages": _TURNS,
    "summaries": (Dimension.SESSION, Dimension.TAGS, Dimension.UPDATED_AT),
}
_NOTES: dict[tuple[Unit, Dimension], str] = {
    (
        "facts",
        Dimension.CONTENT,
    ): "facts are what Zep's model extracted; the app's own words are the episodes",
    ("facts", Dimension.UPDATED_AT): "when the fact was superseded; Zep notes no other change",
    ("facts", Dimension.METADATA): "a fact's attributes; metadata of its episodes with fact_episodes",
    ("facts", Dimension.SESSION): "of facts that memxfer wrote; Zep's own belong to no thread",
    ("episodes", Dimension.SESSION): "the thread's uuid",
    ("messages", Dimension.CREATED_AT): "when Zep received it; when it was said is occurred_at",
    ("episodes", Dimension.CREATED_AT): "when Zep received it; when it happened is occurred_at",
    ("summaries", Dimension.CONTENT): "derived by Zep from episodes and facts",
    ("summaries", Dimension.UPDATED_AT): "when a thread or document was summarised last",
}


_N, _L, _E = Level.NATIVE, Level.LOSSY, Level.ENVELOPE

_WRITE_ALWAYS: dict[Dimension, tuple[Level, str]] = {
    Dimension.CONTENT: (_N, ""),
    Dimension.IDS: (_L, "Zep gives ids of its own; the document key, with the source's id, goes along"),
    Dimension.USER: (_N, ""),
    Dimension.CREATED_AT: (
        _L,
        "Zep stamps the moment of the move; the date goes along as memxfer_created_at",
    ),
    Dimension.METADATA: (_N, "10 keys with ours; nested values, and what is beyond, as JSON text under one"),
    Dimension.SANITISED: (_L, "NUL becomes U+2400; what JSON cannot carry is tagged text"),
    Dimension.SEARCH: (_N, "Zep embeds again"),
    **dict.fromkeys(
        (
            Dimension.UPDATED_AT,
            Dimension.OCCURRED_AT,
            Dimension.VALIDITY,
            Dimension.EXPIRY,
            Dimension.INACTIVE,
            Dimension.EXTENSIONS,
            Dimension.AGENT,
            Dimension.APP,
            Dimension.SESSION,
            Dimension.TENANT,
            Dimension.GROUP,
            Dimension.KIND,
            Dimension.TAGS,
            Dimension.MESSAGES,
            Dimension.PINNING,
            Dimension.SCORES,
            Dimension.PROVENANCE,
            Dimension.RELATIONS,
            Dimension.ATTACHMENTS,
            Dimension.VISIBILITY,
            Dimension.DERIVED,
        ),
        (_E, ""),
    ),
}
_WRITE_FORM: dict[str, dict[Dimension, tuple[Level, str]]] = {
    "fact": {
        Dimension.VALIDITY: (_N, "valid_at, invalid_at and expired_at; not when it was recorded first"),
        Dimension.RELATIONS: (_L, "the first one; names in UPPER_SNAKE, entities cut to 50 characters"),
    },
    "episode": {
        Dimension.CONTENT: (_N, "as the episode; Zep extracts facts of its own from it"),
        Dimension.OCCURRED_AT: (_N, "reference_time; the date of creation where there is no other"),
    },
    "message": {
        Dimension.CONTENT: (_N, "as the message; Zep extracts facts of its own from it"),
        Dimension.OCCURRED_AT: (_L, "reference_time of each turn, where the turn has none of its own"),
        Dimension.MESSAGES: (_L, "role, name, text and time of each; not its metadata"),
        Dimension.SESSION: (_L, "a thread each, under an id of Zep's; the source's id goes along"),
    },
}
_WRITE_AUTO: dict[Dimension, tuple[Level, str]] = {
    Dimension.MESSAGES: (_L, "turns of a user's session become messages of a thread, others text"),
    Dimension.SESSION: (_L, "a thread each for turns; other memories carry it as memxfer_session"),
}
"""What is told of a connection that writes turns as messages and all else as facts or episodes."""
_JOB_USER = (Level.LOSSY, "goes along as memxfer_user; Zep cannot tell users apart in the job's graph")

_CHANGES = {
    "nul_replaced": DocumentChange(
        dimension=Dimension.SANITISED,
        text="hold NUL characters; each arrives at {target} as the visible sign U+2400",
    ),
    "metadata_packed": DocumentChange(
        dimension=Dimension.METADATA,
        text="have metadata that {target} does not take as it is (nested, or over 10 keys); that part goes "
        "along as JSON text under memxfer_meta, and no filter finds it",
    ),
    "envelope_dropped": DocumentChange(
        dimension=Dimension.EXTENSIONS,
        level=Level.NONE,
        text="use up the 10 keys of {target}; what would travel under memxfer is left out for them",
    ),
    "relations_cut": DocumentChange(
        dimension=Dimension.RELATIONS,
        text="have several relations; {target} keeps the first of each",
    ),
    "turn_metadata_dropped": DocumentChange(
        dimension=Dimension.MESSAGES,
        text="have metadata on single turns, which {target} does not get",
    ),
    "recorded_anew": DocumentChange(
        dimension=Dimension.VALIDITY,
        text="say when they were recorded first; for {target} that is the moment of the move",
    ),
    "validity_dropped": DocumentChange(
        dimension=Dimension.VALIDITY,
        level=Level.NONE,
        text="are too long for a fact; {target} keeps them as episodes, which have no validity",
    ),
    "relations_dropped": DocumentChange(
        dimension=Dimension.RELATIONS,
        level=Level.NONE,
        text="are too long for a fact; {target} keeps them as episodes, which have no relations",
    ),
    "dated_today": DocumentChange(
        dimension=Dimension.OCCURRED_AT,
        level=Level.NONE,
        text="have no date at all; {target} takes the moment of the move for when they happened",
    ),
}
_MAX_BATCH = 100


def capabilities_of(config: ZepConfig, role: Role | None) -> Capabilities:
    """Return what a connection keeps.

    Args:
        config: What it reads and what it writes.
        role: What it is open for. The fields that only Zep has are read, and have no place on writing.
    """
    unit = config.unit
    return Capabilities(
        dimensions=_dimensions(config),
        identity=Identity(
            axes=frozenset({Axis.USER, Axis.SESSION, Axis.GROUP}), required_to_write=_required(config)
        ),
        paging=Paging(
            style="cursor",
            # By uuid, which never changes; messages sort by arrival, where two may have the same moment.
            insert_safe=unit != "messages",
            delete_safe=unit != "messages",
            max_page=MAX_PAGE,
            # Zep does not say how long a cursor lives.
            cursors_expire=True,
        ),
        writing=_writing(config),
        limits=Limits(reserved_keys=RESERVED),
        read_time=ReadTime(search=True, package=True, as_of=False),
        custom={} if role is Role.TARGET else _CUSTOM,
        changes=_CHANGES,
    )


_CUSTOM = {
    f"zep.{name}": CustomExtension(carried="per_record", description=text) for name, text in CUSTOM.items()
}


def _writing(config: ZepConfig) -> Writing:
    return Writing(
        verbatim=True,
        max_batch=_MAX_BATCH if config.write in ("auto", "fact") else 1,
        client_key=ClientKey.NONE,
        acknowledges="async",
        backdates="microsecond",
        # No single message can be deleted, only its thread.
        rollback="scope" if config.write == "message" else "id",
    )


def _required(config: ZepConfig) -> tuple[frozenset[Axis], ...]:
    if config.write == "message":
        return (frozenset({Axis.USER, Axis.SESSION}),)
    if config.unscoped or config.container == "graph-per-job":
        return ()
    return (frozenset({Axis.USER}), frozenset({Axis.GROUP}))


def _dimensions(config: ZepConfig) -> dict[Dimension, Channel]:
    read, write = (*_ALWAYS, *_BY_UNIT[config.unit]), _written(config)
    return {
        dimension: Channel(
            read=Level.NATIVE if dimension in read else Level.NONE,
            write=write[dimension][0] if dimension in write else Level.NONE,
            note="; ".join(
                filter(None, (_NOTES.get((config.unit, dimension), ""), write.get(dimension, (0, ""))[1]))
            ),
        )
        for dimension in (*read, *(one for one in write if one not in read))
    } | {
        Dimension.VERSIONS: Channel(
            note="a superseded fact is a fact of its own, without a link to the one that followed"
        ),
        Dimension.EMBEDDINGS: Channel(note="never shown, and made anew"),
    }


def _written(config: ZepConfig) -> dict[Dimension, tuple[Level, str]]:
    """Return the levels of writing; where each record may take another form, those of facts."""
    form = "fact" if config.write == "auto" else config.write
    found = {**_WRITE_ALWAYS, **_WRITE_FORM[form]}
    if config.write == "auto":
        found |= _WRITE_AUTO
    if config.container == "graph-per-job" and form != "message":
        found[Dimension.USER] = _JOB_USER
    return found
