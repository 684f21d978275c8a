"""What can be read out of a self-hosted Mem0 server. It is a source here: nothing is written."""

from __future__ import annotations

from memxfer.spi import (
    Axis,
    Capabilities,
    Channel,
    CustomExtension,
    Dimension,
    Identity,
    Level,
    Paging,
    ReadTime,
)
from memxfer_mem0_server.client import MOST_ROWS
from memxfer_mem0_server.config import Mem0ServerConfig

__all__ = ["capabilities_of"]

_NOTES: dict[Dimension, str] = {
    Dimension.CONTENT: "",
    Dimension.IDS: "",
    Dimension.CREATED_AT: "",
    Dimension.UPDATED_AT: "",
    Dimension.EXPIRY: "Mem0 knows whole days in UTC",
    Dimension.INACTIVE: "expired memories",
    Dimension.USER: "",
    Dimension.AGENT: "",
    Dimension.SESSION: "run_id",
    Dimension.KIND: "memories of a role are messages, procedural ones procedures",
    Dimension.MESSAGES: "a memory of a run that has a role is a turn, with actor_id as its name",
    Dimension.METADATA: "",
    Dimension.PROVENANCE: "actor, role, and whom it is attributed to",
    Dimension.EXTENSIONS: "fields of Mem0 that no record has",
    Dimension.SANITISED: "",
}
_CUSTOM = {
    f"mem0.{name}": CustomExtension(carried="per_record", description=description)
    for name, description in (
        ("memory_type", "a type of Mem0's other than procedural"),
        ("hash", "a digest that is not the text's"),
        ("expiration_date", "an expiry that is no day"),
        ("zoneless", "times without a zone, which are read as UTC"),
        ("last_change", "how the present text came about, where the row itself does not tell"),
        ("history_missing", "no history"),
        ("history_mismatch", "a text that the history does not end with"),
    )
}


def capabilities_of(config: Mem0ServerConfig) -> Capabilities:
    """Return what a connection gives."""
    versions = Channel(
        read=Level.NATIVE if config.history else Level.NONE, note="text, time, event and speaker of each"
    )
    return Capabilities(
        dimensions={
            **{name: Channel(read=Level.NATIVE, note=note) for name, note in _NOTES.items()},
            Dimension.VERSIONS: versions,
            Dimension.EMBEDDINGS: Channel(note="never shown"),
        },
        identity=Identity(axes=frozenset((Axis.USER, Axis.AGENT, Axis.SESSION))),
        # The server has no pages: a whole scope is read, sorted by id, and given out in pages.
        paging=Paging(style="keyset", insert_safe=True, delete_safe=True, max_page=MOST_ROWS),
        read_time=ReadTime(search=True),
        custom=_CUSTOM,
    )
