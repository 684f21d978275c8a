"""Making what has to be in the target before documents can go into it: once, and never an orphan."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from memxfer.engine.calls import Caller
from memxfer.engine.control import StopCause, Stopped
from memxfer.engine.settings import EngineSettings
from memxfer.errors import AmbiguousError, BatchRefusedError, ProviderError, RecordError
from memxfer.ledger import Change, ContainerRow, Containers, ContainerStore
from memxfer.retry import Backoff
from memxfer.spi import (
    Container,
    Document,
    Ensured,
    IngestState,
    MemoryProvider,
    SupportsContainers,
    SupportsIngestStatus,
    Wanted,
)

__all__ = ["Placer"]

_MOST_REMEMBERED = 100_000

_Place = tuple[str, str | None]
"""A kind and the name of what it is in: such containers are made one call after the other."""


class Placer:
    """Sees to the containers of documents; shared by everything that sends.

    Each container is noted before it is asked for, and its id once it is there. A call of which nobody
    knows whether it was carried out is followed by one that says so: the target then looks first.

    Args:
        target: Connected as target.
        caller: Makes the calls to it.
        store: Where containers are noted.
        settings: How to wait for what the target has accepted.
    """

    def __init__(
        self, target: MemoryProvider[Any], caller: Caller, *, store: ContainerStore, settings: EngineSettings
    ) -> None:
        self._target = target
        self._caller = caller
        self._store = store
        self._settings = settings
        self._rows = Containers(store, token=lambda: secrets.token_hex(16))
        self._known: dict[str, str] = {}
        self._underway: dict[str, asyncio.Future[str]] = {}
        self._order: WeakValueDictionary[_Place, asyncio.Lock] = WeakValueDictionary()

    async def place(self, documents: Sequence[Document]) -> list[Document | RecordError]:
        """Return the documents with the ids of their containers, or why there is no place for them.

        Raises:
            Stopped: The run stops.
        """
        if not any(document.containers for document in documents):
            return list(documents)
        failures: dict[str, RecordError] = {}
        ids: dict[str, str] = {}
        for level in _levels(documents):
            await self._ensure_level(level, ids, failures)
        return [_placed(document, ids, failures) for document in documents]

    # -- one level ----------------------------------------------------------------------------

    async def _ensure_level(
        self, level: Mapping[str, Container], ids: dict[str, str], failures: dict[str, RecordError]
    ) -> None:
        """See to containers none of which is in another of them."""
        mine: defaultdict[_Place, list[Container]] = defaultdict(list)
        others: dict[str, asyncio.Future[str]] = {}
        for name, container in level.items():
            found = self._find(name)
            if found is not None:
                ids[name] = found
            elif container.within in failures:
                failures[name] = failures[container.within]
            elif name in self._underway:
                others[name] = self._underway[name]
            else:
                self._underway[name] = asyncio.get_running_loop().create_future()
                mine[container.kind, container.within].append(container)
        try:
            for place, containers in mine.items():
                await self._make_all(place, containers, ids, failures)
        finally:
            self._let_go(containers for containers in mine.values())
        for name, future in others.items():
            try:
                ids[name] = await future
            except RecordError as error:
                failures[name] = error

    def _find(self, name: str) -> str | None:
        found = self._known.get(name)
        if found is None:
            row = self._rows.find(name)
            if row is not None and row.target_id is not None and row.task is None:
                found = row.target_id
                self._remember(name, found)
        return found

    def _remember(self, name: str, target_id: str) -> None:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()  # the ledger has them all
        self._known[name] = target_id

    def _let_go(self, made: Iterable[Sequence[Container]]) -> None:
        """Whoever waits for a container that this call did not get to hears of it."""
        for containers in made:
            for container in containers:
                future = self._underway.pop(container.name)
                if not future.done():
                    future.set_exception(Stopped())
                future.exception()

    async def _make_all(
        self,
        place: _Place,
        containers: Sequence[Container],
        ids: dict[str, str],
        failures: dict[str, RecordError],
    ) -> None:
        most = self._containing().container_batch.get(place[0], 1)
        for start in range(0, len(containers), most):
            chunk = containers[start : start + most]
            if place[1] is None:
                found = await self._make(chunk, None)
            else:
                async with self._order.setdefault(place, asyncio.Lock()):
                    found = await self._make(chunk, ids[place[1]])
            for container, result in zip(chunk, found, strict=True):
                future = self._underway[container.name]
                if isinstance(result, RecordError):
                    failures[container.name] = result
                    future.set_exception(result)
                else:
                    ids[container.name] = result
                    self._remember(container.name, result)
                    future.set_result(result)

    # -- one call -----------------------------------------------------------------------------

    async def _make(
        self, containers: Sequence[Container], within_id: str | None
    ) -> Sequence[str | RecordError]:
        """Find or make containers with one call; what one of them is refused for costs no other."""
        change = Change()
        now = self._caller.clock.now()
        rows = [self._rows.intend(change, container, at=now) for container in containers]
        await self._store.commit(change)
        try:
            answers = await self._ask(containers, rows, within_id)
        except (RecordError, BatchRefusedError) as error:
            await self._drop(rows)
            if len(containers) > 1:
                return [(await self._make([one], within_id))[0] for one in containers]
            return [_refused(error)]
        change = Change()
        for row, answer in zip(rows, answers, strict=True):
            self._rows.made(change, row.name, answer)
        await self._store.commit(change)
        return [await self._ready(row, answer) for row, answer in zip(rows, answers, strict=True)]

    async def _ask(
        self, containers: Sequence[Container], rows: Sequence[ContainerRow], within_id: str | None
    ) -> Sequence[Ensured]:
        known = {index: row for index, row in enumerate(rows) if row.target_id is not None}
        if known:
            # An earlier run has its id, and never saw the end of its task.
            return [
                Ensured(row.target_id, row.task)
                if row.target_id
                else (await self._ask([one], [row], within_id))[0]
                for one, row in zip(containers, rows, strict=True)
            ]
        backoff = Backoff(self._caller.settings.retry)
        extra = 0
        while True:
            wanted = [
                self._wanted(container, row, within_id, row.tries + extra)
                for container, row in zip(containers, rows, strict=True)
            ]
            try:
                answers = await self._caller.write(partial(self._containing().ensure, wanted))
            except AmbiguousError as error:
                extra += 1
                await self._wait(backoff, error)
            else:
                if len(answers) != len(wanted):
                    raise ProviderError(
                        f"{self._target.name} gave {len(answers)} answers for {len(wanted)} containers: "
                        "a bug of its",
                        provider=self._target.name,
                    )
                return answers

    def _wanted(self, container: Container, row: ContainerRow, within_id: str | None, tries: int) -> Wanted:
        taken = self._rows.taken(container) if tries > 1 else frozenset[str]()
        return Wanted(container, within_id, row.token, tries, row.since, taken)

    async def _wait(self, backoff: Backoff, error: AmbiguousError) -> None:
        wait = backoff.next_wait()
        if wait is None:
            self._caller.control.stop(
                StopCause.UNAVAILABLE,
                f"{error} (tried {backoff.tries} times); resume the job when it answers again",
                error=error,
            )
            raise Stopped from error
        await self._caller.control.sleep(wait)

    async def _drop(self, rows: Sequence[ContainerRow]) -> None:
        change = Change()
        for row in rows:
            if row.tries == 1:
                self._rows.drop(change, row.name)
        await self._store.commit(change)

    async def _ready(self, row: ContainerRow, answer: Ensured) -> str | RecordError:
        """Wait until a container can be used."""
        target = self._target
        if answer.task is None:
            return answer.target_id
        if not isinstance(target, SupportsIngestStatus):
            raise ProviderError(
                f"{target.name} gives tasks and cannot be asked about them", provider=target.name
            )
        task, pause = answer.task, self._settings.poll_first
        while True:
            status = await self._caller.read(lambda: target.ingest_status(task))
            if status.state is not IngestState.PROCESSING:
                break
            await self._caller.control.sleep(pause)
            pause = min(pause * 2, self._settings.poll_most)
        change = Change()
        if status.state is IngestState.FAILED:
            self._rows.drop(change, row.name)
        else:
            self._rows.ready(change, row.name)
        await self._store.commit(change)
        return _refused(status.error) if status.state is IngestState.FAILED else answer.target_id

    def _containing(self) -> SupportsContainers:
        if not isinstance(self._target, SupportsContainers):
            raise ProviderError(
                f"{self._target.name} asks for containers and cannot make any: a bug of its",
                provider=self._target.name,
            )
        return self._target


def _levels(documents: Iterable[Document]) -> list[dict[str, Container]]:
    """Return the containers by depth: what is in another comes after it."""
    found: dict[str, Container] = {}
    depths: dict[str, int] = {}
    for document in documents:
        for container in document.containers:
            if container.name not in found:
                found[container.name] = container
                depths[container.name] = 0 if container.within is None else depths[container.within] + 1
    levels: list[dict[str, Container]] = [{} for _ in range(max(depths.values(), default=-1) + 1)]
    for name, depth in depths.items():
        levels[depth][name] = found[name]
    return levels


def _placed(
    document: Document, ids: Mapping[str, str], failures: Mapping[str, RecordError]
) -> Document | RecordError:
    for container in document.containers:
        if container.name in failures:
            return failures[container.name]
    if not document.containers:
        return document
    return msgspec.structs.replace(
        document, container_ids=tuple(ids[one.name] for one in document.containers)
    )


def _refused(error: ProviderError | None) -> RecordError:
    """Return why nothing can go into a container, as an error of each record."""
    if isinstance(error, RecordError):
        return error
    if error is None:
        return RecordError("the target could not make what the record goes into", code="no_container")
    return RecordError(
        str(error),
        provider=error.provider,
        operation=error.operation,
        status=error.status,
        correlation_id=error.correlation_id,
        code=error.code or "no_container",
    )
