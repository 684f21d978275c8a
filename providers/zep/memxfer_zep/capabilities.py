"""What can be read out of Zep Cloud, by unit. It is a source: nothing is written."""

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
from memxfer_zep.config import Unit
from memxfer_zep.mapping import CUSTOM
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
    "facts": (Dimension.VALIDITY, Dimension.INACTIVE, Dimension.RELATIONS, Dimension.UPDATED_AT),
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
    ("episodes", Dimension.SESSION): "the thread's uuid",
    ("messages", Dimension.CREATED_AT): "when Zep received it; when it was said is occurred_at",
    ("episodes", Dimension.CREATED_AT): "when Zep received it; when it happened is occurred_at",
    ("summaries", Dimension.CONTENT): "derived by Zep from episodes and facts",
    ("summaries", Dimension.UPDATED_AT): "when a thread or document was summarised last",
}


def capabilities_of(unit: Unit) -> Capabilities:
    """Return what a connection that reads this unit keeps."""
    return Capabilities(
        dimensions={
            dimension: Channel(read=Level.NATIVE, note=_NOTES.get((unit, dimension), ""))
            for dimension in (*_ALWAYS, *_BY_UNIT[unit])
        }
        | {
            Dimension.VERSIONS: Channel(
                note="a superseded fact is a fact of its own, without a link to the one that followed"
            )
        },
        identity=Identity(axes=frozenset({Axis.USER, Axis.SESSION, Axis.GROUP})),
        paging=Paging(
            style="cursor",
            # By uuid, which never changes; messages sort by arrival, where two may have the same moment.
            insert_safe=unit != "messages",
            delete_safe=unit != "messages",
            max_page=MAX_PAGE,
            # Zep does not say how long a cursor lives.
            cursors_expire=True,
        ),
        read_time=ReadTime(search=True, package=True, as_of=False),
        custom={
            f"zep.{name}": CustomExtension(carried="per_record", description=text)
            for name, text in CUSTOM.items()
        },
    )
