"""Optional operations, guarded: what a provider's own methods return and raise passes the scrubber too.

The methods of `MemoryProvider` are templates, and see what comes back. Optional operations are the
author's own methods, and callers call them directly; so they are wrapped when a provider is defined.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from memxfer.errors import FatalError
from memxfer.spi.reading import Page, Partition
from memxfer.spi.runtime import ContextPackage
from memxfer.spi.scrubbing import Scrubber
from memxfer.spi.settings import RemoteConfig
from memxfer.spi.writing import Ensured, IngestStatus, WriteReceipt

if TYPE_CHECKING:
    from memxfer.spi.provider import MemoryProvider, StoreIdentity

__all__ = ["bounded_count", "guard_operations"]

_OPERATIONS = (
    *("count", "get", "lookup", "delete", "history", "ingest_status", "ensure", "join", "partitions"),
    *("search", "search_level", "list_scoped", "update", "package", "create"),
)
_MOST_ROWS = 2**62
"""Beyond, a count fits into no ledger."""
_GUARDED = "_memxfer_is_guarded"


def guard_operations(kind: type[MemoryProvider[Any]]) -> None:
    """Wrap the optional operations that a provider's class has, and that are not wrapped yet."""
    for name in _OPERATIONS:
        method = inspect.getattr_static(kind, name, None)
        if inspect.isfunction(method) and not hasattr(method, _GUARDED):
            setattr(kind, name, _guarded(method))
    method = inspect.getattr_static(kind, "store", None)
    if inspect.isfunction(method) and not hasattr(method, _GUARDED):
        kind.store = _guarded_store(method)  # type: ignore[method-assign]  # the same method, guarded


def bounded_count(count: Any) -> int | None:
    """Return how many rows a backend says there are; `None` for what is no such number."""
    is_count = isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _MOST_ROWS
    return count if is_count else None


def _guarded_store(method: Callable[..., StoreIdentity]) -> Callable[..., StoreIdentity]:
    @functools.wraps(method)
    def store(self: MemoryProvider[Any]) -> StoreIdentity:
        with self._scrubbed() as scrubber:
            identity = method(self)
            if isinstance(self.config, RemoteConfig):  # the name of a local store is the user's own
                scrubber.check_ids([identity.namespace])
                if not identity.namespace.isprintable():
                    raise FatalError(
                        "what answers names its store by a text with control characters; check base_url",
                        code="bad_id",
                    )
            return identity

    setattr(store, _GUARDED, True)
    return store


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: MemoryProvider[Any], *arguments: Any, **named: Any) -> Any:
        with self._scrubbed() as scrubber:
            answer = method(self, *arguments, **named)
            if inspect.isawaitable(answer) or isinstance(answer, AsyncIterator):
                return answer
            return _checked(answer, scrubber)

    @functools.wraps(method)
    async def call_later(self: MemoryProvider[Any], *arguments: Any, **named: Any) -> Any:
        with self._scrubbed() as scrubber:
            return _checked(await method(self, *arguments, **named), scrubber)

    @functools.wraps(method)
    async def give(self: MemoryProvider[Any], *arguments: Any, **named: Any) -> AsyncIterator[Any]:
        with self._scrubbed() as scrubber:
            async for item in method(self, *arguments, **named):
                yield _checked(item, scrubber)

    if inspect.iscoroutinefunction(method):
        chosen: Callable[..., Any] = call_later
    elif inspect.isasyncgenfunction(method):
        chosen = give
    else:
        chosen = call
    setattr(chosen, _GUARDED, True)
    return chosen


def _checked(answer: Any, scrubber: Scrubber) -> Any:
    """Return an answer that can be stored and shown; records in it are left as they are."""
    if isinstance(answer, Page):
        scrubber.check_ids([answer.next_cursor])
        for defect in answer.defects:
            scrubber.error(defect.error)
    elif isinstance(answer, IngestStatus):
        scrubber.check_ids(answer.target_ids)
        if answer.error is not None:
            scrubber.error(answer.error)
    elif isinstance(answer, WriteReceipt):
        return scrubber.receipts([answer])[0]
    elif isinstance(answer, ContextPackage):
        return replace(answer, correlation_id=scrubber.token(answer.correlation_id))
    elif isinstance(answer, Partition):
        scrubber.check_ids([answer.name])
        return replace(answer, total=bounded_count(answer.total))
    elif isinstance(answer, int):
        if bounded_count(answer) is None:
            raise FatalError("what answers gives a count that is none; check base_url", code="bad_count")
    else:
        scrubber.check_ids(_ids(answer))
    return answer


def _ids(answer: Any) -> Iterator[str | None]:
    if isinstance(answer, dict):  # of a look-up
        yield from (one for ids in answer.values() for one in ids)
    elif isinstance(answer, Iterable) and not isinstance(answer, str):
        for one in answer:
            if isinstance(one, Ensured):
                yield from (one.target_id, one.task)
