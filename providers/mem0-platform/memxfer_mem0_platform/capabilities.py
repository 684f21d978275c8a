"""What a project of the Mem0 Platform keeps, from the vendor's documentation and mem0ai 2.2.1."""

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
from memxfer_mem0_platform.client import CONNECTIONS, MAX_PAGE
from memxfer_mem0_platform.config import Mem0PlatformConfig
from memxfer_mem0_platform.fields import RESERVED

__all__ = ["capabilities_of"]

_BOTH = Channel(read=Level.NATIVE, write=Level.NATIVE)


def _read(note: str = "") -> Channel:
    return Channel(read=Level.NATIVE, write=Level.ENVELOPE, note=note)


_DIMENSIONS: dict[Dimension, Channel] = {
    **dict.fromkeys((Dimension.USER, Dimension.AGENT, Dimension.APP, Dimension.CONTENT), _BOTH),
    **dict.fromkeys(
        (
            Dimension.OCCURRED_AT,
            Dimension.VALIDITY,
            Dimension.TENANT,
            Dimension.GROUP,
            Dimension.PINNING,
            Dimension.SCORES,
            Dimension.RELATIONS,
            Dimension.ATTACHMENTS,
            Dimension.VISIBILITY,
            Dimension.DERIVED,
        ),
        Channel(write=Level.ENVELOPE),
    ),
    Dimension.SESSION: Channel(
        read=Level.NATIVE, write=Level.NATIVE, note="run_id; memories are listed with session_id"
    ),
    Dimension.METADATA: Channel(
        read=Level.NATIVE,
        write=Level.NATIVE,
        note="keys that memxfer uses itself are kept in memxfer_metadata",
    ),
    Dimension.CREATED_AT: Channel(
        read=Level.NATIVE, write=Level.NATIVE, note="sent as timestamp, cut to whole seconds"
    ),
    Dimension.EXPIRY: Channel(
        read=Level.NATIVE,
        write=Level.NATIVE,
        note="Mem0 knows whole days in UTC; a moment within a day keeps that day",
    ),
    Dimension.SEARCH: Channel(read=Level.NATIVE, write=Level.NATIVE, note="Mem0 embeds memories again"),
    Dimension.IDS: Channel(
        read=Level.NATIVE,
        write=Level.LOSSY,
        note="Mem0 gives ids of its own; the document key, with the source's id, stays in "
        "metadata.memxfer_key. A text that a scope holds already is one memory for several records",
    ),
    Dimension.SANITISED: Channel(
        read=Level.NATIVE,
        write=Level.LOSSY,
        note="NUL becomes U+2400; what JSON cannot carry is tagged text",
    ),
    Dimension.UPDATED_AT: _read("Mem0 sets it to the time of the move"),
    Dimension.KIND: _read("synthesized memories are read as insights"),
    Dimension.TAGS: _read("Mem0's categories; it assigns them by itself"),
    Dimension.INACTIVE: _read(
        "replaced_by is read; it cannot be written, so a superseded memory looks current"
    ),
    Dimension.MESSAGES: Channel(
        write=Level.ENVELOPE,
        note="a memory tells no speaker, so none is read as a turn; written turns become the text where a "
        "record has no other",
    ),
    Dimension.PROVENANCE: _read("the messages that Mem0 made a memory of"),
    Dimension.EXTENSIONS: _read("fields of Mem0 that no record has"),
    Dimension.EMBEDDINGS: Channel(note="never shown, and made anew"),
}

_FIELDS = {
    name: CustomExtension(carried="per_record", description=description)
    for name, description in (
        ("mem0.lifecycle_state", "a state of Mem0's other than active, superseded and expired"),
        ("mem0.structured_attributes", "attributes beyond the parts of a date"),
        ("mem0.expiration_date", "an expiry that is no day"),
        ("mem0.replaced_by", "a successor that is not one id"),
        ("mem0.zoneless", "times without a zone, which are read as UTC"),
        ("mem0.last_change", "how the present text came about, where the row itself does not tell"),
        ("mem0.history_missing", "no history"),
        ("mem0.history_mismatch", "a text that the history does not end with"),
    )
}
_SERVICES = {
    "mem0.export": CustomExtension(
        carried="operations_only", description="exports in the form of a schema, written by a model"
    ),
    "mem0.profiles": CustomExtension(carried="operations_only", description="a generated profile per user"),
    "mem0.graph": CustomExtension(carried="operations_only", description="relations between entities"),
    "mem0.custom_categories": CustomExtension(
        carried="per_scope", description="the project's own list of categories"
    ),
}
_CHANGES = {
    "nul_replaced": DocumentChange(
        dimension=Dimension.SANITISED,
        text="hold NUL characters; each arrives at {target} as the visible sign U+2400",
    ),
    "expiry_rounded": DocumentChange(
        dimension=Dimension.EXPIRY,
        text="expire within a day; {target} knows whole days in UTC, and keeps them to the end of that day",
    ),
    "dated_otherwise": DocumentChange(
        dimension=Dimension.CREATED_AT,
        text="have no date of creation; {target} gets the date of their last change, or of what they tell",
    ),
    "dated_today": DocumentChange(
        dimension=Dimension.CREATED_AT,
        level=Level.NONE,
        text="have no date at all; {target} gives them the day of the move",
    ),
}
_AXES = (Axis.USER, Axis.AGENT, Axis.APP, Axis.SESSION)


def capabilities_of(config: Mem0PlatformConfig, role: Role | None) -> Capabilities:
    """Return what a connection keeps.

    Args:
        config: Its settings.
        role: What it is open for. The fields that only Mem0 has are read, and have no place on writing;
            only an app lets Mem0 extract.
    """
    versions = Channel(
        read=Level.NATIVE if config.history else Level.NONE,
        note="text, time, event and messages of each; no earlier version can be written",
    )
    extracts = role is Role.APP and config.infer
    required = () if config.unscoped else tuple(frozenset({axis}) for axis in _AXES)
    return Capabilities(
        dimensions={**_DIMENSIONS, Dimension.VERSIONS: versions},
        identity=Identity(axes=frozenset(_AXES), required_to_write=required),
        paging=Paging(style="page_number", insert_safe=False, delete_safe=False, max_page=MAX_PAGE),
        writing=Writing(
            verbatim=not extracts,
            max_batch=1,
            client_key=ClientKey.NONE,
            acknowledges="async" if extracts else "sync",
            backdates="second",
            rollback="id",
            merges_repeats=True,
        ),
        limits=Limits(reserved_keys=RESERVED, concurrency=CONNECTIONS),
        read_time=ReadTime(search=True),
        custom=_SERVICES if role is Role.TARGET else {**_FIELDS, **_SERVICES},
        changes=_CHANGES,
    )
