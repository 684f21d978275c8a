"""Where a walk through the project is, and which rows it asks for.

Pages have numbers, and shift while rows come and go. So a walk first takes what was there when it began,
which new rows cannot shift, and then what came since (and what is dated in the future). Both moments are
in the cursor: another process goes on with the same walk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memxfer.spi import CursorExpiredError, Partition, Scope
from memxfer_mem0_platform.fields import KEY, SCOPE
from memxfer_mem0_platform.wire import NAME

__all__ = ["ANYBODY", "EVERYTHING", "Place", "by_key", "entity_partition", "filters_of", "is_listed_here"]

ANYBODY: dict[str, Any] = {"OR": [{field: "*"} for field in SCOPE.values()]}
"""Everything: a wildcard matches what is set, so one axis alone would miss the memories without it."""

EVERYTHING = "all"

_CURSOR = re.compile(r"(settled|later):(\d+)@(\d{4}-\d\d-\d\dT[0-9:.]+Z)")
_AXES = tuple(SCOPE)
_NAMES = {"user": "user", "agent": "agent", "app": "app", "run": "session"}


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a walk.

    Attributes:
        is_later: Whether it is among the rows that came since `before`.
        offset: Rows read so far of that part.
        before: When the walk began, ISO 8601 in UTC.
    """

    is_later: bool
    offset: int
    before: str

    @classmethod
    def parse(cls, cursor: str) -> Place:
        """Read a cursor.

        Raises:
            CursorExpiredError: It is none of ours.
        """
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise CursorExpiredError(
                "the cursor is not one of mem0's; the listing begins again", provider=NAME, operation="read"
            )
        return cls(found[1] == "later", int(found[2]), found[3])

    def __str__(self) -> str:
        return f"{'later' if self.is_later else 'settled'}:{self.offset}@{self.before}"

    def page(self, size: int) -> int:
        """Return the number of the page of this size that has the next row; it may have earlier ones too."""
        return self.offset // size + 1

    def after(self, size: int) -> Place:
        """Return the place behind that page."""
        return Place(self.is_later, self.page(size) * size, self.before)

    def then(self) -> Place | None:
        """Return the place after the last page of this part."""
        return None if self.is_later else Place(True, 0, self.before)

    def when(self) -> dict[str, Any]:
        """Return the condition for this part's rows."""
        return {"created_at": {"gt" if self.is_later else "lte": self.before}}


def filters_of(partition: Partition, place: Place | None) -> dict[str, Any]:
    """Return the filter of a partition, of one part of it or (`None`) whole.

    The OR of wildcards stands inside the AND: next to one it would be ignored.
    """
    axis = partition.spec.get("axis")
    whose = {SCOPE[axis]: partition.spec["name"]} if axis else ANYBODY
    return whose if place is None else {"AND": [whose, place.when()]}


def by_key(key: str) -> dict[str, Any]:
    """Return the filter for what was written under a document key."""
    return {"AND": [ANYBODY, {"metadata": {KEY: key}}]}


def entity_partition(row: Any) -> Partition | None:
    """Return the partition of one entity; `None` for a kind that is not known."""
    if not isinstance(row, Mapping):
        return None
    axis, name = _NAMES.get(str(row.get("type"))), row.get("name")
    if axis is None or not isinstance(name, str) or not name:
        return None
    return Partition(name=f"{axis}:{name}", spec={"axis": axis, "name": name})


def is_listed_here(scope: Scope, partition: Partition) -> bool:
    """Tell whether a row of this scope belongs to this partition.

    A memory of several entities is listed under each of them, and counts for the first in the order
    user, agent, app, session. Asked for an entity that is called `*`, the service gives everybody's.
    """
    axis = partition.spec.get("axis")
    if axis is None:
        return True
    first = next((one for one in _AXES if getattr(scope, one) is not None), None)
    return first == axis and bool(getattr(scope, axis) == partition.spec["name"])
