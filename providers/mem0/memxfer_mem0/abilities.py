"""What Mem0's open-source library keeps: the capabilities of one connection."""

from __future__ import annotations

from memxfer.spi import (
    Axis,
    Capabilities,
    Channel,
    ClientKey,
    CustomExtension,
    Dimension,
    DocumentChange,
    Evidence,
    Identity,
    Level,
    Limits,
    Paging,
    ReadTime,
    Writing,
)

__all__ = ["capabilities_of"]

_BOTH = Channel(read=Level.NATIVE, write=Level.NATIVE)

_FIXED: dict[Dimension, Channel] = {
    Dimension.CONTENT: _BOTH,
    Dimension.CREATED_AT: _BOTH,
    Dimension.UPDATED_AT: _BOTH,
    Dimension.METADATA: Channel(
        read=Level.NATIVE,
        write=Level.NATIVE,
        note="fields named like Mem0's own are kept in memxfer_metadata; Chroma holds nested values as text",
    ),
    Dimension.USER: _BOTH,
    Dimension.AGENT: _BOTH,
    Dimension.SESSION: Channel(read=Level.NATIVE, write=Level.NATIVE, note="Mem0 calls it run_id"),
    Dimension.IDS: Channel(
        read=Level.NATIVE,
        write=Level.NATIVE,
        note="ids that are no UUIDs become UUIDs made from the document key",
    ),
    Dimension.EXPIRY: Channel(
        read=Level.NATIVE,
        write=Level.NATIVE,
        note="Mem0 knows whole days in UTC; a moment within a day keeps that day",
    ),
    Dimension.KIND: Channel(
        read=Level.NATIVE, write=Level.NATIVE, note="kinds Mem0 does not know are kept in memory_type"
    ),
    Dimension.PROVENANCE: Channel(
        read=Level.NATIVE,
        write=Level.NATIVE,
        note="actor_id, role and attributed_to are Mem0's own; the rest is kept in memxfer_provenance",
    ),
    Dimension.MESSAGES: Channel(
        read=Level.NATIVE,
        write=Level.NATIVE,
        note="a memory of a run with a role is a turn, with actor_id as its name; other turns are kept in "
        "memxfer_messages",
    ),
    Dimension.SANITISED: Channel(
        read=Level.NATIVE, write=Level.LOSSY, note="values that are not JSON are stored as tagged text"
    ),
    Dimension.EXTENSIONS: Channel(
        read=Level.NATIVE, write=Level.ENVELOPE, note="fields of Mem0 itself go back to their places"
    ),
    Dimension.INACTIVE: Channel(
        read=Level.NATIVE,
        write=Level.ENVELOPE,
        note="expired follows from the expiry date; archived or superseded memories would be active in Mem0",
    ),
    Dimension.SEARCH: Channel(
        read=Level.NATIVE, write=Level.NATIVE, note="memories are embedded again when they are written"
    ),
    **dict.fromkeys(
        (
            Dimension.OCCURRED_AT,
            Dimension.VALIDITY,
            Dimension.APP,
            Dimension.TENANT,
            Dimension.GROUP,
            Dimension.TAGS,
            Dimension.PINNING,
            Dimension.SCORES,
            Dimension.RELATIONS,
            Dimension.ATTACHMENTS,
            Dimension.VISIBILITY,
            Dimension.DERIVED,
        ),
        Channel(write=Level.ENVELOPE),
    ),
}

_CUSTOM = {
    f"mem0.{name}": CustomExtension(carried="per_record", description=description)
    for name, description in (
        ("payload", "fields of Mem0's own in the form the app wrote them"),
        ("absent", "fields of Mem0's own that the app did not write"),
        ("of", "which text those fields belong to"),
        ("zoneless", "times without a zone, which are read as UTC"),
        ("last_change", "how the present text came about, where the row itself does not tell"),
        ("history_missing", "no row in the history database"),
        ("history_mismatch", "a text that the history database does not end with"),
    )
}
"""What Mem0 has beyond the fields of a record; it is written back to where it came from."""

_CHANGES = {
    "id_replaced": DocumentChange(
        dimension=Dimension.IDS,
        text="have ids that are no UUIDs; {target} gets UUIDs made from their document keys",
    ),
    "expiry_rounded": DocumentChange(
        dimension=Dimension.EXPIRY,
        text="expire within a day; {target} knows whole days in UTC, and keeps them to the end of that day",
    ),
    "history_simplified": DocumentChange(
        dimension=Dimension.VERSIONS,
        text="have a history with more than text, time, event and speaker; {target} keeps those",
    ),
    "metadata_as_text": DocumentChange(
        dimension=Dimension.METADATA,
        text="have nested metadata, which {target} holds as JSON text; memxfer reads it back as it was",
    ),
}

_IDENTITY = Identity(
    axes=frozenset({Axis.USER, Axis.AGENT, Axis.SESSION}),
    required_to_write=(frozenset({Axis.USER}), frozenset({Axis.AGENT}), frozenset({Axis.SESSION})),
)


def capabilities_of(
    *,
    knows_history: bool | None,
    is_experimental: bool,
    max_batch: int,
    with_vectors: bool,
    reuse_vectors: bool,
) -> Capabilities:
    """Return the capabilities of a connection.

    Args:
        knows_history: Whether there is a history database; `None` before connecting.
        is_experimental: Whether the listing is Mem0's own.
        max_batch: Most documents of one write.
        with_vectors: Whether embeddings are read.
        reuse_vectors: Whether embeddings are kept when they fit.
    """
    dimensions = {
        **_FIXED,
        Dimension.VERSIONS: _versions(knows_history),
        Dimension.EMBEDDINGS: Channel(
            read=Level.LOSSY if with_vectors else Level.NONE,
            write=Level.LOSSY if reuse_vectors else Level.NONE,
            note="vectors of the same model and size only; cosine distance scales them to length one",
        ),
    }
    evidence = {} if knows_history is None else {"dimensions.versions": Evidence.PROBED}
    return Capabilities(
        dimensions=dimensions,
        identity=_IDENTITY,
        paging=Paging(
            style="snapshot" if is_experimental else "keyset",
            insert_safe=True,
            delete_safe=not is_experimental,
            max_page=1000,
        ),
        writing=None if is_experimental else _writing(max_batch),
        limits=Limits(id_pattern=r"\S+", concurrency=1),
        read_time=ReadTime(search=True),
        custom=_CUSTOM,
        changes=_CHANGES,
        evidence=evidence,
    )


def _versions(knows_history: bool | None) -> Channel:
    if knows_history is False:
        return Channel(note="there is no history database")
    note = "text, time, event and speaker of each; no metadata per version"
    return Channel(read=Level.NATIVE, write=Level.NATIVE, note=note)


def _writing(max_batch: int) -> Writing:
    return Writing(max_batch=max_batch, client_key=ClientKey.UPSERT, backdates="microsecond", rollback="id")
