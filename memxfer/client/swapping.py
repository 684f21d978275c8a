"""Another backend while the app runs: no call fails for it, and none ends on a closed connection."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from memxfer.client.client import ClientSettings, MemoryClient, ProviderLike
from memxfer.client.entries import ClientClosedError
from memxfer.client.live import Live
from memxfer.client.operations import CapabilityGap, capability_gaps
from memxfer.client.outbox import Outbox
from memxfer.errors import ConfigError
from memxfer.spi import Clock

__all__ = ["SwappableClient"]

_log = logging.getLogger("memxfer.client")


@dataclass(slots=True, eq=False)
class _Turnout:
    """A connection with the calls that are under way on it."""

    live: Live
    calls: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()

    def enter(self) -> None:
        self.calls += 1
        self.idle.clear()

    def leave(self) -> None:
        self.calls -= 1
        if not self.calls:
            self.idle.set()


class SwappableClient(MemoryClient):
    """A `MemoryClient` that is on one of its providers at a time, and can go over to another.

    Only the provider in use is connected. Calls that began on it end on it, also after a swap; what was
    put into the outbox before goes to where it was meant to go.

    Args:
        providers: Connections by name; each is only opened when it is swapped to.
        default_provider: The one to begin with; default: the first.
        outbox: As for `MemoryClient`; an app that swaps under load wants one.
        settings: As for `MemoryClient`.
        drain: Seconds that a swap waits for the calls under way on the old provider. After that it is
            closed under them.
        clock: Time.
    """

    def __init__(
        self,
        providers: Mapping[str, ProviderLike],
        default_provider: str | None = None,
        *,
        outbox: Outbox | str | Path | None = None,
        settings: ClientSettings | None = None,
        drain: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(providers, default_provider, outbox=outbox, settings=settings, clock=clock)
        self._drain = drain
        self._swapping = asyncio.Lock()
        self._current: _Turnout | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> str:
        """The provider that calls go to."""
        return self.default_provider

    async def _open_default(self) -> None:
        live = self._make(self.default_provider)
        await self._try_to_open(live)
        self._take_up(live)

    def live(self, name: str | None = None) -> Live:
        """Return the connection in use; it may not be open yet.

        Raises:
            ConfigError: Another one than that in use is named.
            ClientClosedError, ProviderError: The client is closed, or not initialized.
        """
        return self._in_use(name).live

    def _in_use(self, name: str | None) -> _Turnout:
        self._check_open()
        turnout = self._current
        if turnout is None:
            raise ClientClosedError("the client is being closed; make a new one")
        if name not in (None, turnout.live.name):
            self._name_known(str(name))
            raise ConfigError(f"{name} is not in use, {turnout.live.name} is; swap to it first")
        return turnout

    async def swap(self, name: str) -> list[CapabilityGap]:
        """Go over to another provider; return what the app has to do without from now on.

        It is connected and checked first; until then, and if that fails, nothing changes. Then new
        calls go to it, the old one is closed once the calls under way on it have ended. Two swaps at
        once come one after the other. A cancelled swap has either not begun or is complete.

        Raises:
            ConfigError: There is no such provider, or its settings are wrong.
            ProviderError: It cannot be used, or did not open within the time-out of a call; the client
                stays where it is.
        """
        async with self._swapping:
            old = self._in_use(None)
            if name == self.default_provider:
                return []
            opened = self._make(name)
            try:
                await opened.ready()
            except BaseException:
                await opened.aclose()
                raise
            before = self.default_provider
            self._take_up(opened)  # from here on nothing waits: the swap has happened
            _log.info("memory went over from %s to %s", before, name)
            closing = asyncio.create_task(self._retire(old), name=f"memxfer-retire-{before}")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            return _told(before, old.live, opened)

    def _take_up(self, live: Live) -> None:
        self._current = _Turnout(live)
        self.default_provider = live.name

    async def _retire(self, turnout: _Turnout) -> None:
        try:
            async with asyncio.timeout(self._drain):
                await turnout.idle.wait()
        except TimeoutError:
            _log.warning(
                "%d calls on %s did not end within %s s; it is closed under them",
                turnout.calls,
                turnout.live.name,
                self._drain,
            )
        await turnout.live.aclose()

    async def drained(self) -> None:
        """Wait until every provider that was left is closed."""
        while closing := set(self._closing):
            await asyncio.gather(*closing, return_exceptions=True)
            # Each takes itself out too, but only once the loop turns; Python 3.13 does not let it turn here.
            self._closing -= closing

    async def aclose(self) -> None:
        """Let calls and outbox come to their ends, then close everything. Idempotent."""
        async with self._swapping:
            if os.getpid() == self._process:
                await self._close_live()
            await super().aclose()

    async def _close_live(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            await self._retire(current)
        await self.drained()

    @asynccontextmanager
    async def lease(
        self, provider: str | None = None, *, seconds: float | None = None
    ) -> AsyncIterator[Live]:
        """Stay on the provider of now for several calls, whatever is swapped meanwhile.

        Args:
            provider: The one in use; no other can be named.
            seconds: As for `MemoryClient.lease`.

        Raises:
            ConfigError: Another one than that in use is named.
            FatalError, UnavailableError: It cannot be opened.
            ClientClosedError, ProviderError: The client is closed, or not initialized.
        """
        turnout = self._in_use(provider)
        turnout.enter()
        try:
            await turnout.live.ready(seconds)
            yield turnout.live
        finally:
            turnout.leave()


def _told(before: str, old: Live, new: Live) -> list[CapabilityGap]:
    """Log what calls will fail, and whom the new backend does not tell apart."""
    gaps = capability_gaps(old.provider, new.provider)
    for kind, words in (("operation", "has no"), ("axis", "does not tell memories apart by")):
        names = [gap.name for gap in gaps if gap.kind == kind]
        if names:
            _log.warning("%s %s %s, which %s does", new.name, words, ", ".join(names), before)
    return gaps
