"""Another backend while the app runs: no call fails for it, and none ends on a closed connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from memxfer.client.client import ClientSettings, MemoryClient, ProviderLike
from memxfer.client.live import Live
from memxfer.client.operations import CapabilityGap, capability_gaps
from memxfer.client.outbox import Outbox
from memxfer.errors import ConfigError, ProviderError
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

    async def initialize(self) -> None:
        """Connect the provider to begin with. Idempotent.

        Raises:
            ConfigError, ProviderError: It cannot be used.
        """
        if self._current is None:
            self._take_up(await self.open(self.default_provider))
            if self._outbox_at is not None:
                self._start_outbox(self._outbox_at)

    async def swap(self, name: str) -> list[CapabilityGap]:
        """Go over to another provider; return what the app has to do without from now on.

        It is connected and checked first; until then, and if that fails, nothing changes. Then new
        calls go to it, the old one is closed once the calls under way on it have ended. Two swaps at
        once come one after the other. A cancelled swap has either not begun or is complete.

        Raises:
            ConfigError: There is no such provider, or its settings are wrong.
            ProviderError: It cannot be used; the client stays where it is.
        """
        async with self._swapping:
            if self._current is None:
                raise ProviderError("the client is not open; call initialize() first")
            if name == self.default_provider:
                return []
            opened = await self.open(name)
            old = self._current
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
        self._live = {live.name: live}

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
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def aclose(self) -> None:
        """Let calls and outbox come to their ends, then close everything. Idempotent."""
        async with self._swapping:
            current, self._current = self._current, None
            if current is not None:
                await self._retire(current)
            await self.drained()
            self._live = {}
            await super().aclose()

    @asynccontextmanager
    async def lease(self, provider: str | None = None) -> AsyncIterator[Live]:
        """Stay on the provider of now for several calls, whatever is swapped meanwhile.

        Raises:
            ConfigError: Another one than that in use is named.
        """
        turnout = self._current
        if turnout is None:
            raise ProviderError("the client is not open; call initialize() first")
        if provider not in (None, turnout.live.name):
            raise ConfigError(f"{provider} is not in use, {turnout.live.name} is; swap to it first")
        turnout.enter()
        try:
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
