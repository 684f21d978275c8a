"""Ids of what was made in Zep, such that any later process can find it: with kind and place.

Zep addresses a fact, an episode and an entity by their graph and their uuid, so the uuid alone is no handle.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["TargetId", "ingestion_of", "read_ingestion"]

_FORM = re.compile(r"(user|graph|thread|node|fact|episode|message):([0-9A-Fa-f-]+)(?::([0-9A-Fa-f-]+))?")


@dataclass(frozen=True, slots=True)
class TargetId:
    """`fact:GRAPH:UUID` and the like.

    Attributes:
        kind: `user`, `graph`, `thread`, `node`, `fact`, `episode` or `message`.
        place: What it is in: the graph; of a user, the user's graph; of a thread, the user; of a message,
            the thread. A graph is in itself.
        uuid: Zep's id of it.
    """

    kind: str
    place: str
    uuid: str

    @classmethod
    def parse(cls, text: str) -> TargetId | None:
        """Read what `str` wrote; `None` for anything else."""
        found = _FORM.fullmatch(text)
        if found is None:
            return None
        kind, place, uuid = found.groups()
        return cls(kind, place, uuid or place)

    def __str__(self) -> str:
        return (
            f"{self.kind}:{self.place}"
            if self.place == self.uuid
            else f"{self.kind}:{self.place}:{self.uuid}"
        )


def ingestion_of(task: str, ids: Sequence[str]) -> str:
    """Return the handle of a task and of what it is to make of one document."""
    return " ".join((task, *ids))


def read_ingestion(handle: str) -> tuple[str, tuple[str, ...]]:
    """Return the task and the target ids of a handle."""
    task, *ids = handle.split(" ")
    return task, tuple(ids)
