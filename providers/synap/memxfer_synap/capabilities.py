"""What a Synap instance keeps of a record. Nothing is ever read back: it is a target only."""

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
    ReadTime,
    Writing,
)
from memxfer_synap.config import SynapConfig
from memxfer_synap.metadata import ENVELOPE, PLAIN_KEYS
from memxfer_synap.transcripts import TURN_KEYS

__all__ = ["MAX_BATCH", "capabilities_of"]

MAX_BATCH = 100
"""Documents per batch, as the vendor documents; the SDK does not check."""

_ENVELOPED = (
    Dimension.IDS,
    Dimension.UPDATED_AT,
    Dimension.VALIDITY,
    Dimension.EXPIRY,
    Dimension.EXTENSIONS,
    Dimension.AGENT,
    Dimension.APP,
    Dimension.SESSION,
    Dimension.GROUP,
    Dimension.KIND,
    Dimension.TAGS,
    Dimension.PINNING,
    Dimension.SCORES,
    Dimension.PROVENANCE,
    Dimension.RELATIONS,
    Dimension.ATTACHMENTS,
    Dimension.VISIBILITY,
    Dimension.DERIVED,
)
_NOTES = {
    Dimension.IDS: "the key becomes document_id; memories get ids of Synap's own",
    Dimension.KIND: "Synap infers the type of every memory again",
    Dimension.SESSION: "also sent as conversation_id: a UUID made of it where it is none, with "
    "original_conversation_id beside it. A conversation fetch finds transcripts alone",
    Dimension.VALIDITY: "no field takes it; Synap reads validity out of the text, or not at all",
    Dimension.RELATIONS: "Synap builds its graph anew from the text",
}
_LOSSY = {
    Dimension.CONTENT: "Synap keeps what it extracts: none, one or several memories a document",
    Dimension.SANITISED: "NUL becomes U+2400; what JSON cannot carry is tagged text",
    Dimension.CREATED_AT: "sent as document_created_at and original_created_at; a memory's own created_at "
    "is the time of the migration",
    Dimension.OCCURRED_AT: "sent as document_created_at, one time for all turns of a record",
    Dimension.INACTIVE: "an ended or superseded fact looks current",
    Dimension.METADATA: "stored with the document, not indexed, and not returned with a memory",
    Dimension.MESSAGES: "turns become labelled lines; names and times of single turns are not kept",
}
_TRANSCRIPT = {
    Dimension.SESSION: Channel(
        write=Level.LOSSY,
        note="a user's turns become the registered conversation of that id, which a fetch finds; what is no "
        "turn carries conversation_id alone",
    ),
    Dimension.MESSAGES: Channel(
        write=Level.NATIVE,
        note="every turn keeps its text, time and speaker in the transcript; there are two roles, user and "
        "assistant, and another one stays readable in the turn's metadata",
    ),
    Dimension.CREATED_AT: Channel(
        write=Level.LOSSY,
        note="sent as the turn's timestamp where it has no other, and as original_created_at; a memory's own "
        "created_at is the time of the migration",
    ),
    Dimension.OCCURRED_AT: Channel(
        write=Level.LOSSY, note="sent as the timestamp of a turn, or as document_created_at"
    ),
}
"""What differs where conversations go as transcripts."""
_NONE = {
    Dimension.VERSIONS: "only the latest text is sent",
    Dimension.EMBEDDINGS: "Synap makes its own",
}
_CHANGES = {
    "nul_replaced": DocumentChange(
        dimension=Dimension.SANITISED,
        text="hold NUL characters, which {target} does not take; each arrives as the visible sign U+2400",
    ),
    "envelope_dropped": DocumentChange(
        dimension=Dimension.EXTENSIONS,
        level=Level.NONE,
        text="carry more than fits into {target}'s metadata; what travels under memxfer is left out for them",
    ),
}
_TURN_CHANGES = {
    "role_replaced": DocumentChange(
        dimension=Dimension.MESSAGES,
        text="have turns of another role than user and assistant; {target} takes them for the assistant's "
        "(a human's for the user's), and the role stays in the turn's metadata",
    ),
    "empty_turns_left_out": DocumentChange(
        dimension=Dimension.MESSAGES, text="have turns without text, which {target} does not get"
    ),
    "turns_as_text": DocumentChange(
        dimension=Dimension.MESSAGES,
        text="have turns that are no part of a user's conversation; {target} gets them as labelled text, "
        "without the names and times of single turns",
    ),
}
_CUSTOM = {
    "synap.document_type": CustomExtension(carried="per_record", description="how a document is read"),
    "synap.merge_strategy": CustomExtension(
        carried="operations_only", description="how an update meets what is there"
    ),
    "synap.scope_ladder": CustomExtension(
        carried="per_scope", description="levels between customer and user, on accounts that have them"
    ),
    "synap.transcript_ingest": CustomExtension(
        carried="operations_only",
        description='conversations with a time per turn; see conversations = "transcript"',
    ),
    "synap.forget": CustomExtension(
        carried="operations_only", description="deletion by description, approved by a person"
    ),
}


def capabilities_of(config: SynapConfig, *, is_b2c: bool) -> Capabilities:
    """Return what this instance keeps, from the vendor's documentation and SDK 0.6.9."""
    as_transcripts = config.conversations == "transcript"
    dimensions = _dimensions(is_b2c)
    return Capabilities(
        dimensions={**dimensions, **_TRANSCRIPT} if as_transcripts else dimensions,
        identity=_identity(config, is_b2c),
        writing=Writing(
            verbatim=False,
            max_batch=MAX_BATCH,
            client_key=ClientKey(config.duplicate_policy),
            acknowledges="async",
            backdates="second",
            rollback="id",
        ),
        limits=Limits(
            content_bytes=config.document_bytes,
            metadata_bytes=config.metadata_bytes,
            reserved_keys=PLAIN_KEYS | {ENVELOPE} | (TURN_KEYS if as_transcripts else frozenset()),
            concurrency=16,  # the SDK's pool has 20 connections and fails calls that wait for one (0.6.9)
        ),
        read_time=ReadTime(search=True, package=True, levels=config.fetch_levels),
        custom=_CUSTOM,
        changes={**_CHANGES, **_TURN_CHANGES} if as_transcripts else _CHANGES,
    )


def _dimensions(is_b2c: bool) -> dict[Dimension, Channel]:
    tenant = (
        Channel(write=Level.ENVELOPE, note="this instance is B2C: it takes no customer")
        if is_b2c
        else Channel(write=Level.NATIVE)
    )
    return {
        **{one: Channel(write=Level.ENVELOPE, note=_NOTES.get(one, "")) for one in _ENVELOPED},
        **{one: Channel(write=Level.LOSSY, note=note) for one, note in _LOSSY.items()},
        **{one: Channel(note=note) for one, note in _NONE.items()},
        Dimension.USER: Channel(write=Level.NATIVE),
        Dimension.TENANT: tenant,
    }


def _identity(config: SynapConfig, is_b2c: bool) -> Identity:
    """Tell which axes a record must name; what the connection decides, a record need not."""
    user, tenant = frozenset({Axis.USER}), frozenset({Axis.TENANT})
    if is_b2c:
        return Identity(axes=user, required_to_write=() if config.unscoped else (user,))
    if config.customer_id:
        return Identity(axes=user | tenant, required_to_write=() if config.unscoped else (user, tenant))
    return Identity(axes=user | tenant, required_to_write=(user | tenant, tenant))
