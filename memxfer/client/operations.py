"""Which backend can do what, and what is missing between two of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from memxfer.capabilities import Dimension
from memxfer.errors import UnsupportedOperationError
from memxfer.spi import (
    MemoryProvider,
    SupportsDelete,
    SupportsGet,
    SupportsPackage,
    SupportsScopedList,
    SupportsSearch,
    SupportsUpdate,
)

if TYPE_CHECKING:
    from memxfer.client.live import Live

__all__ = ["OPERATIONS", "CapabilityGap", "Operation", "capability_gaps", "has_operation", "require"]

Operation = Literal["ingest", "search", "get", "list_memories", "update", "delete", "package"]

OPERATIONS: Mapping[Operation, Callable[[MemoryProvider[Any]], bool]] = {
    "ingest": lambda provider: provider.is_target(),
    "search": lambda provider: isinstance(provider, SupportsSearch),
    "get": lambda provider: isinstance(provider, SupportsGet),
    "list_memories": lambda provider: isinstance(provider, SupportsScopedList),
    "update": lambda provider: isinstance(provider, SupportsUpdate),
    "delete": lambda provider: isinstance(provider, SupportsDelete),
    "package": lambda provider: isinstance(provider, SupportsPackage | SupportsSearch),
}


@dataclass(frozen=True, slots=True)
class CapabilityGap:
    """Something that one backend has and another has less of.

    Attributes:
        kind: An operation of the client, a dimension of a memory, or an axis of a scope.
        name: Which.
        detail: What the other has.
    """

    kind: Literal["operation", "dimension", "axis"]
    name: str
    detail: str


def has_operation(provider: MemoryProvider[Any], operation: Operation) -> bool:
    """Tell whether a provider can serve a call."""
    return OPERATIONS[operation](provider)


def require(live: Live, operation: Operation, able: Callable[[Operation], Sequence[str]]) -> None:
    """Make sure that a connection can serve a call.

    Args:
        live: The connection.
        operation: What it is to do.
        able: Returns the names of those that can, for the message.

    Raises:
        UnsupportedOperationError: It cannot; the message names those that can.
    """
    if has_operation(live.provider, operation):
        return
    others = able(operation)
    who = f"{', '.join(others)} can" if others else "none of the configured providers can"
    raise UnsupportedOperationError(
        f"{live.name} ({live.provider.name}) has no {operation}; {who}",
        provider=live.name,
        operation=operation,
    )


def capability_gaps(before: MemoryProvider[Any], after: MemoryProvider[Any]) -> list[CapabilityGap]:
    """Return what an app that goes from one backend to another has to do without.

    Args:
        before: The backend it uses.
        after: The backend it would use. Neither has to be connected.
    """
    gaps = [
        CapabilityGap("operation", operation, f"{after.name} has none")
        for operation in OPERATIONS
        if has_operation(before, operation) and not has_operation(after, operation)
    ]
    mine, theirs = before.capabilities(), after.capabilities()
    gaps += [
        CapabilityGap("axis", axis.value, f"{after.name} does not tell memories apart by it")
        for axis in sorted(mine.identity.axes - theirs.identity.axes)
    ]
    for dimension in Dimension:
        kept, taken = mine.channel(dimension), theirs.channel(dimension)
        if taken.write < kept.write:
            level = taken.write.name.lower()
            gaps.append(
                CapabilityGap(
                    "dimension", dimension.value, f"{after.name} takes it: {level}. {taken.note}".strip()
                )
            )
    return gaps
