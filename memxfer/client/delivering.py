"""All deliveries of one outbox: a connection of its own for each backend that something waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from memxfer.client.bounded import close, within
from memxfer.client.delivery import Delivery
from memxfer.client.entries import Entry
from memxfer.client.notes import OPENING, Notes
from memxfer.client.outbox import Outbox
from memxfer.client.sending import read_identity
from memxfer.client.waits import asked_seconds
from memxfer.errors import ConfigError
from memxfer.identity import IdentityMap
from memxfer.spi import IngestState, MemoryProvider, Role, StoreIdentity

__all__ = ["Deliveries"]

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0
_LONGEST_OPENING = 60.0
_ORIGIN = StoreIdentity("app", "memxfer")

_Opened = tuple[MemoryProvider[Any], IdentityMap | None]


class Deliveries:
    """Delivers what an outbox holds, for every backend it holds something for.

    The connections are not those that the app asks with: a swap closes the latter, and what was put in
    before it still goes to where it was meant to go.

    Args:
        outbox: The queue.
        build: Makes the provider of a connection, not connected.
        notes: Logs what fails.
        timeout: Seconds that closing one connection may take.
    """

    def __init__(
        self,
        outbox: Outbox,
        build: Callable[[str], MemoryProvider[Any]],
        *,
        notes: Notes,
        timeout: float = 10.0,
    ) -> None:
        self.outbox = outbox
        self._build = build
        self._notes = notes
        self._timeout = timeout
        self._is_closed = False
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._open: dict[str, tuple[MemoryProvider[Any], Delivery]] = {}

    def start(self) -> None:
        """Go on with what an earlier process left."""
        self.outbox.listen(self.notify)
        for name in self.outbox.providers():
            self.notify(name)

    def notify(self, name: str) -> None:
        """Something was put in for this backend."""
        if name in self._open:
            self._open[name][1].notify()
        elif name not in self._opening and not self._is_closed:
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
        return await self._open[entry.provider][1].status(entry, self._timeout)

    async def aclose(self, *, drain: float = 0.0) -> None:
        """Deliver for up to `drain` seconds more, then stop; what is left stays in the outbox."""
        if drain > 0:
            await self.flush(drain)
        self._is_closed = True
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        if opening:
            await asyncio.wait(opening, timeout=self._timeout)
        self._opening.clear()
        opened, self._open = self._open, {}
        await asyncio.gather(*(self._close(name, *one) for name, one in opened.items()))

    async def _close(self, name: str, provider: MemoryProvider[Any], delivery: Delivery) -> None:
        await delivery.aclose(self._timeout)
        await close(name, provider, self._timeout)

    async def _connect(self, name: str) -> None:
        """Connect, however long it takes: what waits is on disk."""
        wait = _FIRST_WAIT
        while True:
            try:
                provider, identity = await self._opened(name)
                break
            except Exception as error:  # noqa: BLE001 - a provider may raise anything, and is tried again
                self._notes.failed(name, OPENING, error)
                if isinstance(error, ConfigError):
                    wait = _LONGEST_WAIT
                asked = asked_seconds(error)
            await asyncio.sleep(wait if asked is None else asked)
            wait = min(wait * 2, _LONGEST_WAIT)
        self._notes.worked(name)
        delivery = Delivery(self.outbox, name, provider, identity=identity, notes=self._notes)
        self._open[name] = provider, delivery
        self._opening.pop(name, None)
        delivery.start()

    async def _opened(self, name: str) -> _Opened:
        provider = self._build(name)
        try:
            identity = read_identity(provider)
            await within(_LONGEST_OPENING, provider.connect(Role.APP))
            await within(_LONGEST_OPENING, provider.begin(_ORIGIN))
        except BaseException:
            await close(name, provider, self._timeout)
            raise
        return provider, identity
