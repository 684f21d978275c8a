"""A store is not moved into itself: each record would be there twice, or replace itself."""

from __future__ import annotations

from typing import Any

from memxfer.errors import ConfigError
from memxfer.spi import MemoryProvider

__all__ = ["check_two_stores", "is_same_store"]


def is_same_store(source: MemoryProvider[Any], target: MemoryProvider[Any]) -> bool:
    """Tell whether two connected providers lead to one store, under whatever names.

    Where both know their place, that decides: two connections may call one store by two namespaces, and
    two folders may hold collections of one name. An archive of a store is another store than that one.
    """
    if source.name != target.name:
        return False
    here, there = source.place(), target.place()
    if here is not None and there is not None:
        return here == there
    return source.store() == target.store()


def check_two_stores(
    source: MemoryProvider[Any], target: MemoryProvider[Any], *, names: tuple[str, str]
) -> None:
    """Refuse a move of a store into itself.

    Args:
        source: Connected as source.
        target: Connected as target.
        names: What the user calls them.

    Raises:
        ConfigError: It is one store.
    """
    if not is_same_store(source, target):
        return
    store = target.store()
    same = names[0] if names[0] == names[1] else f"{names[0]} and {names[1]}"
    raise ConfigError(
        f"source and target are the same store: {same} ({store.provider} {store.namespace!r}). "
        "A move into it would store its records twice or replace them; name another target. "
        "To keep a copy, move to an archive: memxfer migrate SOURCE archive:./backup"
    )
