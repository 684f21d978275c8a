"""Which scopes to list, so that each is listed completely: or that it cannot be done.

A listing holds 1000 rows and knows no next page, and which 1000 changes with every update. So no scope
that fills an answer may be trusted. A memory of a large user is read by its agent or its run, where that
is small, else by two or three of them together; the counts of the server's entities prove that none is
missing. Where they do not, reading is refused before anything is moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations, product
from typing import Any, Final

from memxfer.spi import FatalError, Partition, Scope, canonical_json
from memxfer_mem0_server.client import AXES, MOST_ROWS, Entity, Mem0ServerClient
from memxfer_mem0_server.config import NAME
from memxfer_mem0_server.mapping import scope_of

__all__ = ["UNSCOPED", "Named", "Survey", "is_listed_here", "named", "partition_of", "refusal"]

Named = tuple[tuple[str, str], ...]
"""A scope to list: pairs of axis and id, in the order of the axes."""

UNSCOPED = "unscoped"

_SCANNED: Final = 10_000
"""Rows that the list of entities looks at; what lies behind them is not counted."""
_REMEDY = "connect the provider `mem0-oss` to the server's own Postgres instead"


class Survey:
    """Finds the scopes to list.

    A survey that fails goes on, when it is repeated, with what it has not asked yet.

    Args:
        client: Where to ask.
    """

    def __init__(self, client: Mem0ServerClient) -> None:
        self._client = client
        self._answers: dict[Named, dict[str, Scope]] = {}

    async def partitions(self, anybody: Sequence[Any] | None) -> list[Partition]:
        """Return the slices: together they give every memory, each row to one of them.

        Args:
            anybody: What the server lists without a scope; `None` where it does not.

        Raises:
            FatalError: The server cannot list everything it holds.
        """
        entities = await self._client.entities()
        _check_trust(entities, anybody)
        _check_scan(entities)
        totals: dict[Named, int] = {((one.axis, one.name),): one.total for one in entities}
        large = {one for one, total in totals.items() if total >= MOST_ROWS}
        small = [one for one in totals if one not in large]
        scopes = list(small)
        if large or sum(totals.values()) >= _SCANNED:
            scopes += await self._intersected(small, large)
            self._prove(totals, scopes, large)
        self._answers.clear()
        unscoped = [partition_of((), large)] if _lists_unscoped(anybody) else []
        return [partition_of(one, large, total=totals.get(one, 0)) for one in scopes] + unscoped

    async def _intersected(self, small: Sequence[Named], large: set[Named]) -> list[Named]:
        """Ask for the small scopes, and for intersections of large ones; return those that are small."""
        for one in small:
            if not await self._is_small(one):
                raise _too_large(one, "now fills an answer of the listing")
        found: list[Named] = []
        for size in (2, 3):
            for one in _meetings(large, size):
                if await self._is_small(one):
                    found.append(one)
                else:
                    large.add(one)
        return [one for one in found if self._answers[one]]

    async def _is_small(self, one: Named) -> bool:
        if one not in self._answers:
            rows = await self._client.memories(dict(one))
            ids = {row["id"]: scope_of(row) for row in rows if isinstance(row, dict) and _has_id(row)}
            if len(rows) < MOST_ROWS and len(ids) < len(rows):
                raise refusal(f"{_words(one)} has rows without an id, so they cannot be counted", "no_ids")
            if len(rows) >= MOST_ROWS:
                return False
            self._answers[one] = ids
        return True

    def _prove(self, totals: Mapping[Named, int], scopes: Iterable[Named], large: Collection[Named]) -> None:
        """Refuse unless every large entity's memories were all seen, and fewer than the scan looks at."""
        seen = {name: scope for one in scopes for name, scope in self._answers[one].items()}
        if len(seen) >= _SCANNED:
            raise _too_many()
        counts: Counter[Named] = Counter(
            ((axis, name),) for scope in seen.values() for axis, name in named(scope)
        )
        for one, total in totals.items():
            if one in large and counts[one] < total:
                raise _too_large(
                    one, f"has {total} memories, of which agents, users and runs give {counts[one]}"
                )


# -- whose row ------------------------------------------------------------------------------------


def named(scope: Scope) -> Named:
    """Return the axes that a scope has of those that the server knows."""
    return tuple((axis, value) for axis in AXES if (value := getattr(scope, axis)) is not None)


def partition_of(one: Named, large: Collection[Named], *, total: int = 0) -> Partition:
    """Return the slice of a scope; it knows which scopes are too large, to tell whose row is whose.

    Args:
        one: The scope; none for the memories without any.
        large: Scopes that no answer holds.
        total: Memories that the server counts in it.
    """
    if not one:
        return Partition(name=UNSCOPED, spec={"scope": {}, "large": []})
    single = len(one) == 1
    name = f"{one[0][0]}:{one[0][1]}" if single else canonical_json(dict(one)).decode()
    others = [dict(each) for each in sorted(large)]
    return Partition(name=name, spec={"scope": dict(one), "large": others, "total": total})


def is_listed_here(scope: Scope, partition: Partition) -> bool:
    """Tell whether a row of this scope belongs to this slice: the first that lists it completely.

    The order is user, agent, run, then two of them, then all three.
    """
    axes = named(scope)
    if not axes:
        return partition.name == UNSCOPED
    large = partition.spec["large"]
    choices = (dict(one) for size in (1, 2, 3) for one in combinations(axes, size))
    first = next((one for one in choices if one not in large), None)
    return bool(first == partition.spec["scope"])


def _meetings(large: Collection[Named], size: int) -> list[Named]:
    """Return intersections of so many axes all of whose parts are too large by themselves."""
    names = {axis: sorted(one for one in large if len(one) == 1 and one[0][0] == axis) for axis in AXES}
    groups = (product(*(names[axis] for axis in axes)) for axes in combinations(AXES, size))
    merged = (tuple(part for one in parts for part in one) for group in groups for parts in group)
    return [
        one
        for one in merged
        if all(part in large for less in range(1, size) for part in combinations(one, less))
    ]


def _has_id(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("id"), str)


# -- refusing -------------------------------------------------------------------------------------


def _check_scan(entities: Sequence[Entity]) -> None:
    sums: Counter[str] = Counter()
    for one in entities:
        sums[one.axis] += one.total
    if max(sums.values(), default=0) >= _SCANNED:
        raise _too_many()


def _check_trust(entities: Sequence[Entity], anybody: Sequence[Any] | None) -> None:
    rows = anybody or ()
    if entities or not rows or all(_is_unscoped(row) for row in rows):
        return
    raise refusal(
        "mem0-server lists no user, agent or run, yet it holds rows: as a server whose store is Qdrant does, "
        "since its lists without a scope are broken",
        "entities_missing",
    )


def _is_unscoped(row: Any) -> bool:
    return isinstance(row, dict) and _has_id(row) and not named(scope_of(row))


def _lists_unscoped(anybody: Sequence[Any] | None) -> bool:
    found = [row for row in anybody or () if _is_unscoped(row)]
    if found and len(anybody or ()) >= MOST_ROWS:
        raise refusal(
            "mem0-server has memories without user, agent and run, and too many others to list them all",
            "over_cap",
        )
    return bool(found)


def _too_many() -> FatalError:
    return refusal(
        f"mem0-server has {_SCANNED} memories or more, and its list of entities does not look further",
        "over_cap",
    )


def _too_large(one: Named, why: str) -> FatalError:
    return refusal(
        f"mem0-server cannot list {_words(one)} completely: it {why}, and a listing ends at {MOST_ROWS}",
        "over_cap",
    )


def refusal(message: str, code: str) -> FatalError:
    """Return the error that nothing is read with, and what to do instead."""
    return FatalError(f"{message}; {_REMEDY}", provider=NAME, operation="read", code=code)


def _words(one: Named) -> str:
    return " with ".join(f"{'run' if axis == 'session' else axis} {name}" for axis, name in one)
