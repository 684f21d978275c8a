"""How far Zep is with what it accepted: many documents share a task, and one question answers for all."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from memxfer.spi import IngestState, IngestStatus, NotReadyError, RecordError
from memxfer_zep.config import NAME
from memxfer_zep.paging import rows_of
from memxfer_zep.targets import TargetId, read_ingestion

if TYPE_CHECKING:
    from memxfer_zep.client import ZepClient

__all__ = ["Tasks"]

_KEPT: Final = 1_000
_PAUSE: Final = 1.0
"""Seconds between two looks at tasks that still run."""
_ENDED: Final = ("succeeded", "partial", "failed")


class Tasks:
    """Asks about tasks.

    Args:
        client: Makes the calls.
    """

    def __init__(self, client: ZepClient) -> None:
        self._client = client
        self._ended: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._running: OrderedDict[str, tuple[dict[str, Any], set[str]]] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}
        self._earlier: dict[str, list[str]] = {}

    async def status(self, handle: str) -> IngestStatus:
        """Return how far one document is, by the handle of its receipt.

        Raises:
            TransientError: The question could not be asked now.
        """
        task_uuid, ids = read_ingestion(handle)
        try:
            task = await self._task(task_uuid, handle)
        except RecordError:  # no handle of Zep's
            task = None
        if task is None:
            return IngestStatus(IngestState.GONE, ids)
        state = str(task.get("status"))
        if state not in _ENDED:
            return IngestStatus(IngestState.PROCESSING, ids)
        if state == "failed":
            return IngestStatus(IngestState.FAILED, error=_failed(task))
        return IngestStatus(IngestState.STORED, ids) if state == "succeeded" else await self._part(task, ids)

    async def wait_for_earlier(self, asked: str) -> bool:
        """Make sure that all Zep had accepted when this was first asked has ended; then facts are listed.

        Args:
            asked: Names the question: asked again under this name, it is about the same tasks.

        Returns:
            `False` where Zep does not list tasks: then nobody knows.

        Raises:
            NotReadyError: Some still run; ask again.
        """
        if asked not in self._earlier:
            try:
                self._earlier[asked] = [uuid async for uuid in self._unfinished()]
            except RecordError:
                return False
        left = [uuid for uuid in self._earlier[asked] if not await self._has_ended(uuid)]
        if left:
            self._earlier[asked] = left
            raise NotReadyError(
                f"zep is still busy with {len(left)} tasks; whether these are among them shows when they end",
                retry_after=_PAUSE,
                provider=NAME,
                operation="lookup",
                code="tasks_in_progress",
            )
        del self._earlier[asked]
        return True

    async def _unfinished(self) -> AsyncIterator[str]:
        for status in ("pending", "processing"):
            async for row in rows_of(partial(self._client.tasks, None, status)):
                if isinstance(row.get("uuid"), str):
                    yield row["uuid"]

    async def _has_ended(self, uuid: str) -> bool:
        task = await self._client.task(uuid)
        return task is None or task.get("status") in _ENDED

    async def _task(self, uuid: str, handle: str) -> dict[str, Any] | None:
        lock = self._locks.setdefault(uuid, asyncio.Lock())
        try:
            async with lock:
                return self._known(uuid, handle) or await self._asked(uuid, handle)
        finally:
            if not lock.locked():
                self._locks.pop(uuid, None)

    def _known(self, uuid: str, handle: str) -> dict[str, Any] | None:
        """Return an answer that this document has not had yet, or that will not change."""
        if uuid in self._ended:
            return self._ended[uuid]
        task, told = self._running.get(uuid, (None, {handle}))
        if handle in told:
            return None
        told.add(handle)
        return task

    async def _asked(self, uuid: str, handle: str) -> dict[str, Any] | None:
        task = await self._client.task(uuid)
        if task is None:
            return None
        if task.get("status") in _ENDED:
            self._running.pop(uuid, None)
            self._ended[uuid] = task
        else:
            self._running[uuid] = (task, {handle})
        for kept in (self._ended, self._running):
            if len(kept) > _KEPT:
                kept.popitem(last=False)
        return task

    async def _part(self, task: dict[str, Any], ids: Sequence[str]) -> IngestStatus:
        """Tell what a task that went partly wrong made of a document; what it does not name is asked for."""
        target = TargetId.parse(ids[0]) if len(ids) == 1 else None
        if target is None or target.kind != "fact":
            return IngestStatus(IngestState.STORED, tuple(ids), error=_failed(task), partial=True)
        result = task.get("result")
        edges = result.get("edges") if isinstance(result, dict) else None
        made = (
            {row.get("edge_uuid") for row in edges if isinstance(row, dict)}
            if isinstance(edges, list)
            else None
        )
        if made is None:
            is_there = await self._client.edge(target.place, target.uuid) is not None
        else:
            is_there = target.uuid in made
        if is_there:
            return IngestStatus(IngestState.STORED, tuple(ids))
        return IngestStatus(IngestState.FAILED, error=_failed(task))


def _failed(task: dict[str, Any]) -> RecordError:
    from memxfer.transport import redact  # with an HTTP client behind it

    said = task.get("error")
    error = said if isinstance(said, dict) else {}
    message = error.get("message")
    reason = f": {redact(message)}" if isinstance(message, str) and message else ""
    code = error.get("code")
    return RecordError(
        f"zep accepted it and could not store it{reason}",
        provider=NAME,
        operation="ingest_status",
        code=code if isinstance(code, str) and code else "not_stored",
    )
