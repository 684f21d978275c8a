"""A provider that fails on request, around one that does not."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from memxfer.capabilities import Capabilities
from memxfer.errors import (
    AmbiguousError,
    AuthError,
    BatchRefusedError,
    CursorExpiredError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    RecordError,
    UnavailableError,
)
from memxfer.models import MemoryRecord
from memxfer.spi import (
    BackendInfo,
    Defect,
    Document,
    MemoryProvider,
    Outcome,
    Page,
    Partition,
    Prepared,
    Role,
    StoreIdentity,
    WriteReceipt,
)
from memxfer.testing.faults import Fault, FaultKind, FaultScript, SimulatedCrashError

__all__ = ["FaultyProvider"]

_T = TypeVar("_T")
_ASYNC_OPERATIONS = (
    *("count", "get", "lookup", "delete", "history", "ingest_status", "ensure"),
    *("search", "list_scoped", "update", "package", "create"),
)
_VALUES = ("lookup_visibility", "container_batch")
_OPTIONAL = (*_ASYNC_OPERATIONS, *_VALUES, "partitions", "join")
_EMPTY_MARK = "empty-page:"

_RAISED: dict[FaultKind, Callable[..., ProviderError]] = {
    FaultKind.UNAVAILABLE: functools.partial(UnavailableError, "injected: nobody answers", status=503),
    FaultKind.AUTH: functools.partial(AuthError, "injected: the key is refused", status=401),
    FaultKind.QUOTA: functools.partial(QuotaExceededError, "injected: the account has run out", status=402),
    FaultKind.BATCH_REFUSED: functools.partial(
        BatchRefusedError, "injected: the batch is refused", status=422
    ),
}


class FaultyProvider(MemoryProvider[Any]):
    """Wraps any provider and injects faults; what is not injected is the inner provider's own doing.

    It has exactly the roles and optional operations of `inner`, less those in `hidden`, so the engine
    treats it alike. It keeps no state of the backend: a new wrapper around a new inner provider goes
    on from a saved cursor.

    Args:
        inner: The provider to wrap; connect the wrapper, not this.
        faults: What goes wrong, and when.
        seed: Of the faults that come by chance.
        hidden: Optional operations to take away: `lookup`, `count`, `get`, ...

    Raises:
        ValueError: `hidden` names something else.
    """

    name = "faulty"
    summary = "wrapper that injects faults, for tests"

    def __new__(
        cls,
        inner: MemoryProvider[Any],
        faults: Iterable[Fault] = (),
        *,
        seed: int = 0,
        hidden: Collection[str] = (),
    ) -> FaultyProvider:
        """Make a wrapper whose class has the operations of `inner`: they are detected on the class."""
        del faults, seed  # for __init__
        unknown = frozenset(hidden) - frozenset(_ASYNC_OPERATIONS)
        if unknown:
            raise ValueError(f"cannot hide {', '.join(sorted(unknown))}; only {', '.join(_ASYNC_OPERATIONS)}")
        return super().__new__(_class_for(cls, type(inner), frozenset(hidden)))

    def __init__(
        self,
        inner: MemoryProvider[Any],
        faults: Iterable[Fault] = (),
        *,
        seed: int = 0,
        hidden: Collection[str] = (),
    ) -> None:
        super().__init__(inner.config, clock=inner.clock)
        self.inner = inner
        self.script = FaultScript(faults, seed=seed)

    # -- forwarded ----------------------------------------------------------------------------

    async def _connect(self, role: Role) -> BackendInfo:
        return await self._call("connect", lambda: self.inner.connect(role))

    async def _aclose(self) -> None:
        await self.inner.aclose()

    async def _begin(self, source: StoreIdentity) -> None:
        await self._call("begin", lambda: self.inner.begin(source))

    async def _finish(self) -> None:
        await self._call("finish", self.inner.finish)

    def _capabilities(self) -> Capabilities:
        """Return what the inner provider declares."""
        return self.inner.capabilities()

    def store(self) -> StoreIdentity:
        """Return the inner provider's store."""
        return self.inner.store()

    def place(self) -> str | None:
        """Return the inner provider's place."""
        return self.inner.place()

    def _prepare(self, record: MemoryRecord, key: str, envelope: Mapping[str, Any]) -> Prepared:
        return self.inner.prepare(record, key, envelope)

    # -- reading ------------------------------------------------------------------------------

    async def read_page(self, partition: Partition, cursor: str | None, limit: int) -> Page:
        """Read one page of the inner provider, spoilt as the script says."""
        self._check_ready(Role.SOURCE)
        faults = self.script.next_call("read_page")
        passed, empties = _unwrap(cursor)
        if FaultKind.CURSOR_EXPIRED in faults and cursor is not None:
            raise CursorExpiredError("injected: the cursor is no longer known", provider=self.name)
        if FaultKind.EMPTY_PAGE in faults:
            return Page([], f"{_EMPTY_MARK}{empties + 1}:{passed or ''}")
        page = await self._spoil(faults, lambda: self.inner.read_page(partition, passed, limit))
        return _spoil_page(page, faults, cursor)

    # -- writing ------------------------------------------------------------------------------

    async def _write(self, batch: Sequence[Document]) -> list[WriteReceipt]:
        faults = self.script.next_call("write")
        if FaultKind.AMBIGUOUS_BEFORE in faults:
            return [_unknown(self.name) for _ in batch]
        if FaultKind.ONE_REJECTED in faults:
            return [_rejected(self.name), *await self._send(faults, batch[1:])]
        receipts = await self._send(faults, batch)
        if FaultKind.AMBIGUOUS_AFTER in faults:
            return [_unknown(self.name) for _ in batch]
        return receipts[:-1] if FaultKind.DROPPED_RECEIPTS in faults else receipts

    async def _send(self, faults: Mapping[FaultKind, Fault], batch: Sequence[Document]) -> list[WriteReceipt]:
        if not batch:
            return []
        return await self._spoil(faults, lambda: self.inner.write(batch))

    # -- faults of any call -------------------------------------------------------------------

    async def _call(self, operation: str, call: Callable[[], Awaitable[_T]]) -> _T:
        return await self._spoil(self.script.next_call(operation), call)

    async def _spoil(self, faults: Mapping[FaultKind, Fault], call: Callable[[], Awaitable[_T]]) -> _T:
        if FaultKind.SLOW in faults:
            await self.clock.sleep(faults[FaultKind.SLOW].seconds)
        if FaultKind.CRASH_BEFORE in faults:
            raise SimulatedCrashError
        if FaultKind.RATE_LIMITED in faults:
            wait = faults[FaultKind.RATE_LIMITED].retry_after
            raise RateLimitedError("injected: too fast", retry_after=wait, provider=self.name, status=429)
        for kind, error in _RAISED.items():
            if kind in faults:
                raise error(provider=self.name)
        answer = await call()
        if FaultKind.CRASH_AFTER in faults:
            raise SimulatedCrashError
        return answer


def _unwrap(cursor: str | None) -> tuple[str | None, int]:
    """Return the inner provider's cursor, and how many empty pages were put before it."""
    if cursor is None or not cursor.startswith(_EMPTY_MARK):
        return cursor, 0
    count, _, inner = cursor.removeprefix(_EMPTY_MARK).partition(":")
    return inner or None, int(count)


def _spoil_page(page: Page, faults: Mapping[FaultKind, Fault], cursor: str | None) -> Page:
    records = list(page.records)
    defects = list(page.defects)
    if FaultKind.REORDERED_ROWS in faults:
        records.reverse()
    if FaultKind.DEFECT_ROW in faults and records:
        defects.append(Defect(records.pop(0).id, RecordError("injected: unreadable", code="unreadable")))
    if FaultKind.VANISHED_ROWS in faults:
        records = records[:-1]
    if FaultKind.DUPLICATED_ROWS in faults:
        records = records[:1] + records
    changed = replace(page, records=records, defects=defects)
    if FaultKind.LYING_TOTAL in faults:
        total = page.total if page.total is not None else len(page.records)
        changed = replace(changed, total=int(total * faults[FaultKind.LYING_TOTAL].factor))
    if FaultKind.REPEATED_CURSOR in faults and cursor is not None:
        changed = replace(changed, next_cursor=cursor)
    return changed


def _lost(provider: str, operation: str) -> AmbiguousError:
    return AmbiguousError("injected: the answer was lost", provider=provider, operation=operation)


def _unknown(provider: str) -> WriteReceipt:
    return WriteReceipt(Outcome.UNKNOWN, error=_lost(provider, "write"))


def _rejected(provider: str) -> WriteReceipt:
    error = RecordError("injected: refused", provider=provider, operation="write", status=422, code="invalid")
    return WriteReceipt(Outcome.REJECTED, error=error)


@functools.cache
def _class_for(
    base: type[FaultyProvider], inner: type[MemoryProvider[Any]], hidden: frozenset[str]
) -> type[FaultyProvider]:
    body: dict[str, Any] = {
        "__module__": __name__,
        "name": inner.name,
        "summary": inner.summary,
        "config_model": inner.config_model,
        "is_source": classmethod(lambda cls: inner.is_source()),  # noqa: ARG005 - called on the class
        "is_target": classmethod(lambda cls: inner.is_target()),  # noqa: ARG005 - called on the class
        "from_location": inner.from_location,
    }
    body |= {
        operation: _forward(operation)
        for operation in _OPTIONAL
        if getattr(inner, operation, None) is not None and operation not in hidden
    }
    return type(f"Faulty{inner.__name__}", (base,), body)


def _forward(operation: str) -> Any:
    if operation in _VALUES:
        return property(lambda self: getattr(self.inner, operation))
    if operation == "partitions":
        return lambda self: self.inner.partitions()
    if operation == "join":
        return lambda self, parts: self.inner.join(parts)

    async def forwarded(self: FaultyProvider, *arguments: Any, **named: Any) -> Any:
        call = getattr(self.inner, operation)
        faults = self.script.next_call(operation)
        if FaultKind.AMBIGUOUS_BEFORE in faults:
            raise _lost(self.name, operation)
        answer = await self._spoil(faults, lambda: call(*arguments, **named))
        if FaultKind.AMBIGUOUS_AFTER in faults:
            raise _lost(self.name, operation)
        lie = faults.get(FaultKind.LYING_TOTAL)
        return int(answer * lie.factor) if lie else answer

    return forwarded
