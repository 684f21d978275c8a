"""All deliveries of one outbox: a connection of its own for each backend that something waits for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from memxfer.client.delivery import Delivery
from memxfer.client.entries import Entry
from memxfer.client.outbox import Outbox
from memxfer.errors import ConfigError, MemxferError
from memxfer.spi import IngestState, MemoryProvider, Role, StoreIdentity

__all__ = ["Deliveries"]

_log = logging.getLogger("memxfer.client")

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0
_ORIGIN = StoreIdentity("app", "memxfer")


class Deliveries:
    """Delivers what an outbox holds, for every backend it holds something for.

    The connections are not those that the app asks with: a swap closes the latter, and what was put in
    before it still goes to where it was meant to go.

    Args:
        outbox: The queue.
        build: Makes the provider of a connection, not connected.
    """

    def __init__(self, outbox: Outbox, build: Callable[[str], MemoryProvider[Any]]) -> None:
        self.outbox = outbox
        self._build = build
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._open: dict[str, tuple[MemoryProvider[Any], Delivery]] = {}

    def start(self) -> None:
        """Go on with what an earlier process left."""
        for name in self.outbox.providers():
            self.notify(name)

    def notify(self, name: str) -> None:
        """Something was put in for this backend."""
        if name in self._open:
            self._open[name][1].notify()
        elif name not in self._opening:
            self._opening[name] = asyncio.create_task(self._connect(name), name=f"memxfer-outbox-{name}")

    async def flush(self, seconds: float | None = None) -> bool:
        """Wait until nothing waits any more; `False` when that took too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.outbox.emptied.wait()
        return not self.outbox.waiting

    async def status(self, entry: Entry) -> IngestState | None:
        """Ask a backend how far it is with an entry; `None` where it is not connected."""
        if entry.provider not in self._open:
            return None
        return await self._open[entry.provider][1].status(entry)

    async def aclose(self, *, drain: float = 0.0) -> None:
        """Deliver for up to `drain` seconds more, then stop; what is left stays in the outbox."""
        if drain > 0:
            await self.flush(drain)
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        self._opening.clear()
        opened, self._open = self._open, {}
        for provider, delivery in opened.values():
            await delivery.aclose()
            await provider.aclose()

    async def _connect(self, name: str) -> None:
        """Connect, however long it takes: what waits is on disk."""
        wait = _FIRST_WAIT
        while True:
            provider = None
            try:
                provider = self._build(name)
                await provider.connect(Role.APP)
                await provider.begin(_ORIGIN)
                break
            except MemxferError as error:
                if provider is not None:
                    await provider.aclose()
                _log.error("documents for %s wait: %s", name, error)
                if isinstance(error, ConfigError):
                    wait = _LONGEST_WAIT
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
        delivery = Delivery(self.outbox, name, provider)
        self._open[name] = provider, delivery
        del self._opening[name]
        delivery.start()
