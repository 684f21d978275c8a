"""Waiting for a backend's code no longer than agreed, whatever it does with being cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from memxfer.errors import UnavailableError
from memxfer.spi import IngestStatus, MemoryProvider, SupportsIngestStatus

__all__ = ["close", "ingest_status", "within"]

T = TypeVar("T")

_log = logging.getLogger("memxfer.client")

_GRACE = 0.5
"""Seconds that cancelled work gets to clean up before it is left to itself."""
_abandoned: set[asyncio.Task[Any]] = set()


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns.

    Unlike `asyncio.timeout`, this also ends when the work swallows its cancellation: such work is left
    to itself, and what it raises later is dropped.

    Raises:
        TimeoutError: It took longer than `seconds`.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _stop(task)
        raise
    if not done:
        await _stop(task)
        raise TimeoutError
    return task.result()


async def _stop(task: asyncio.Task[Any]) -> None:
    _abandoned.add(task)
    task.add_done_callback(_forget)
    task.cancel()
    await asyncio.wait({task}, timeout=_GRACE)


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()


async def close(name: str, provider: MemoryProvider[Any], seconds: float) -> None:
    """Close a provider; log it if that fails or takes longer than `seconds`. Never raises."""
    try:
        await within(seconds, provider.aclose())
    except TimeoutError:
        _log.warning("%s did not close within %g s and is left to itself", name, seconds)
    except Exception as error:  # noqa: BLE001 - nothing that closing raises may keep the rest open
        _log.warning("%s did not close: unexpected %s", name, type(error).__name__)


async def ingest_status(
    name: str, provider: SupportsIngestStatus, ingestion_id: str, seconds: float
) -> IngestStatus:
    """Ask how far a backend is with a document.

    Raises:
        UnavailableError: It did not answer within `seconds`. What the provider raises passes.
    """
    try:
        return await within(seconds, provider.ingest_status(ingestion_id))
    except TimeoutError as error:
        raise UnavailableError(
            f"{name} did not say within {seconds:g} s how far it is", provider=name, code="timeout"
        ) from error
