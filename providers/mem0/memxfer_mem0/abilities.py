"""What Mem0's open-source library keeps: the capabilities of one connection."""

from __future__ import annotations

from memxfer.spi import (
    Axis,
    Capabilities,
    Channel,
    ClientKey,
    CustomExtension,
    Dimension,
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
    Dimension.USER: _BOTH,
    Dimension.AGENT: _BOTH,
    Dimension.SESSION: Channel(read=Level.NATIVE, write=Level.NATIVE, note="Mem0 calls it run_id"),
    Dimension.IDS: Channel(
        read=Level.NATIVE,
        write=Level.LOSSY,
        note="ids that are no UUIDs become UUIDs made from the document key",
    ),
    Dimension.EXPIRY: Channel(
        read=Level.NATIVE,
        write=Level.LOSSY,
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
            Dimension.MESSAGES,
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

_IDENTITY = Identity(
    axes=frozenset({Axis.USER, Axis.AGENT, Axis.SESSION}),
    required_to_write=(frozenset({Axis.USER}), frozenset({Axis.AGENT}), frozenset({Axis.SESSION})),
)


def capabilities_of(
    *,
    knows_history: bool | None,
    is_flat: bool,
    is_experimental: bool,
    max_batch: int,
    with_vectors: bool,
    reuse_vectors: bool,
) -> Capabilities:
    """Return the capabilities of a connection.

    Args:
        knows_history: Whether there is a history database; `None` before connecting.
        is_flat: Whether the store holds no nested metadata.
        is_experimental: Whether the listing is Mem0's own.
        max_batch: Most documents of one write.
        with_vectors: Whether embeddings are read.
        reuse_vectors: Whether embeddings are kept when they fit.
    """
    dimensions = {
        **_FIXED,
        Dimension.METADATA: _metadata(is_flat=is_flat),
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
        custom={
            "history": CustomExtension(
                carried="per_record", description="the text of a memory before each change, with its time"
            ),
            "procedural": CustomExtension(
                carried="per_record", description="procedural memories of agents (memory_type)"
            ),
        },
        evidence=evidence,
    )


def _metadata(*, is_flat: bool) -> Channel:
    note = "fields named like Mem0's own are kept in memxfer_metadata"
    if is_flat:
        return Channel(
            read=Level.NATIVE, write=Level.LOSSY, note=f"{note}; Chroma holds nested values as JSON text"
        )
    return Channel(read=Level.NATIVE, write=Level.NATIVE, note=note)


def _versions(knows_history: bool | None) -> Channel:
    if knows_history is False:
        return Channel(note="there is no history database")
    return Channel(
        read=Level.NATIVE, write=Level.LOSSY, note="text, time, event and speaker; no metadata per version"
    )


def _writing(max_batch: int) -> Writing:
    return Writing(max_batch=max_batch, client_key=ClientKey.UPSERT, backdates="microsecond", rollback="id")
