"""One thread per store.

Embedded Qdrant, Chroma, FAISS and SQLite block, and not all of them bear two threads. Every call on
a store runs on its one thread, so the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, TypeVar

__all__ = ["Worker"]

T = TypeVar("T")


class Worker:
    """A thread that runs calls one after the other; connections to one place share it."""

    _shared: ClassVar[dict[str, tuple[Worker, int]]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, place: str) -> None:
        self._place = place
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="memxfer-mem0")

    @classmethod
    def acquire(cls, place: str) -> Worker:
        """Return the thread of `place`, started on first use; give it back with `release`."""
        with cls._lock:
            worker, users = cls._shared.get(place) or (cls(place), 0)
            cls._shared[place] = (worker, users + 1)
            return worker

    def release(self) -> None:
        """Give the thread back; it ends with its last user."""
        with self._lock:
            _, users = self._shared[self._place]
            if users > 1:
                self._shared[self._place] = (self, users - 1)
                return
            del self._shared[self._place]
            self._executor.shutdown(wait=False)

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run `call(*args)` on the thread and wait for it without blocking the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)
