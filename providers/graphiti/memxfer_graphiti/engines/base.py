"""What the provider asks of a graph database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from memxfer_graphiti.rows import Episode, Fact, Node

__all__ = ["MADE", "TABLES", "Changes", "Engine", "Listing", "Place", "nodes_of"]

TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "facts": ("facts",),
    "episodes": ("episodes",),
    "summaries": ("entities", "communities"),
}
"""What a unit is read from."""

MADE: Final = '{"memxfer":"node"}'
"""Attributes of a node that memxfer made, so that a rollback knows it from an app's."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a graph is.

    Attributes:
        namespace: Its name in document keys, the same on every machine.
        summary: The same for people.
        where: The same by whatever way one gets there.
        local: The real path of a file on this machine, which tells it from others of its name.
    """

    namespace: str
    summary: str
    where: str
    local: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page as the database gave it.

    Attributes:
        keys: Cursors of what was found, before anything was looked at.
        rows: The rows; a fact with a missing end has nothing but its uuid.
    """

    keys: Sequence[str]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Changes:
    """One batch.

    Attributes:
        facts: Facts to store.
        episodes: Episodes to store.
        in_place: Uuids of facts that are there with the same two ends.
        reworded: Uuids of facts that are there with another text, whose vectors are out of date.
        not_facts: Uuids of facts that have become episodes.
        not_episodes: Uuids of episodes that have become facts.
    """

    facts: Sequence[Fact] = ()
    episodes: Sequence[Episode] = ()
    in_place: frozenset[str] = frozenset()
    reworded: frozenset[str] = frozenset()
    not_facts: frozenset[str] = frozenset()
    not_episodes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.facts or self.episodes)


def nodes_of(facts: Sequence[Fact]) -> list[tuple[Node, Fact]]:
    """Return each end once, with the first fact that has it."""
    found: dict[str, tuple[Node, Fact]] = {}
    for fact in facts:
        for node in (fact.source, fact.target):
            found.setdefault(node.uuid, (node, fact))
    return list(found.values())


class Engine(ABC):
    """One open database. Nothing is retried; errors are memxfer's.

    Attributes:
        place: Where it is.
        lowers_keys: Cursors are compared in lower case.
        has_reference_time: A fact can say when it occurred.
        notes: What the user should know of the tables.
    """

    lowers_keys: bool = False
    has_reference_time: bool = True
    notes: tuple[str, ...] = ()
    place: Place

    async def make(self) -> None:  # noqa: B027 - a server's database is there
        """Make what is missing, before the first write. Idempotent."""

    @abstractmethod
    async def list_rows(
        self, table: str, cursor: str | None, limit: int, groups: Sequence[str] | None
    ) -> Listing:
        """Return rows below `cursor` in descending order of uuid."""

    @abstractmethod
    async def find(self, table: str, uuids: Sequence[str]) -> list[Mapping[str, Any]]:
        """Return the rows of these uuids, in no order."""

    @abstractmethod
    async def count(self, table: str, groups: Sequence[str] | None) -> int:
        """Return the number of rows that a complete listing gives."""

    @abstractmethod
    async def store(self, changes: Changes) -> frozenset[str]:
        """Store a batch in one transaction; return the uuids that are there after it.

        Raises:
            UnavailableError: Nothing was stored.
            AmbiguousError: It may have been.
        """

    @abstractmethod
    async def delete(self, uuids: Sequence[str]) -> int:
        """Remove facts and episodes, and ends that memxfer made for them; return how many were there."""

    @abstractmethod
    async def close(self) -> None:
        """Release it. Idempotent."""
