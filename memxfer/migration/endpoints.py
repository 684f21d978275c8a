"""Opening the two ends of a move."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from memxfer.config import Config, load_config
from memxfer.errors import MemxferError, NotReadyError
from memxfer.migration.observer import Observer, SilentObserver
from memxfer.migration.options import Endpoint
from memxfer.spi import BackendInfo, MemoryProvider, Role

__all__ = ["OpenEnd", "check", "named", "open_end"]

_LONGEST_WAIT = 60.0
_DEFAULT_WAIT = 15.0


@dataclass(frozen=True, slots=True)
class OpenEnd:
    """A connected provider, and the name the user knows it by."""

    name: str
    provider: MemoryProvider[Any]
    info: BackendInfo


@asynccontextmanager
async def open_end(
    endpoint: Endpoint, role: Role, *, config: Config | None, observer: Observer, wait_ready: bool = False
) -> AsyncIterator[OpenEnd]:
    """Open one end of a move, and close it at the end of the block.

    Raises:
        ConfigError, ProviderError: As the provider's `connect` raises them, with the connection named.
    """
    name, provider = _build(endpoint, config, observer)
    async with _opened(name, provider, role, observer=observer, wait_ready=wait_ready) as end:
        yield end


@asynccontextmanager
async def _opened(
    name: str, provider: MemoryProvider[Any], role: Role, *, observer: Observer, wait_ready: bool
) -> AsyncIterator[OpenEnd]:
    try:
        info = await _connect(name, provider, role, observer=observer, wait_ready=wait_ready)
        for warning in info.warnings:
            observer.notice("warning", f"{name}: {warning}")
        yield OpenEnd(name, provider, info)
    finally:
        await provider.aclose()


def _build(endpoint: Endpoint, config: Config | None, observer: Observer) -> tuple[str, MemoryProvider[Any]]:
    if isinstance(endpoint, MemoryProvider):
        return endpoint.name, endpoint
    connection = (config or load_config()).connection(endpoint)
    for field in connection.literal_secrets():
        observer.notice("warning", f"{endpoint}: {field} is written out in {connection.origin}; use env:NAME")
    try:
        return endpoint, connection.open()
    except MemxferError as error:
        raise named(error, endpoint) from error


async def _connect(
    name: str, provider: MemoryProvider[Any], role: Role, *, observer: Observer, wait_ready: bool
) -> BackendInfo:
    while True:
        try:
            return await provider.connect(role)
        except NotReadyError as error:
            if not wait_ready:
                raise named(error, name) from error
            seconds = min(error.retry_after or _DEFAULT_WAIT, _LONGEST_WAIT)
            observer.notice("info", f"{name} is not ready yet; asking again in {seconds:.0f} s")
            await provider.clock.sleep(seconds)
        except MemxferError as error:
            raise named(error, name) from error


def named(error: MemxferError, name: str) -> MemxferError:
    """Put the connection's name before the message, once."""
    text = str(error)
    if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
        error.args = (f"connection {name}: {text}", *error.args[1:])
    return error


async def check(
    endpoint: Endpoint,
    *,
    config: Config | None = None,
    role: Role | None = None,
    observer: Observer | None = None,
) -> BackendInfo:
    """Connect, look, and close; writes nothing.

    Args:
        endpoint: What to look at.
        config: Where connections are named; default: the file of `load_config()`.
        role: What it is meant for; default: source where it can be one, else target.
        observer: Takes warnings.

    Raises:
        ConfigError, ProviderError: It cannot be opened; the message says why and what to do.
    """
    observer = observer or SilentObserver()
    name, provider = _build(endpoint, config, observer)
    role = role or (Role.SOURCE if provider.is_source() else Role.TARGET)
    async with _opened(name, provider, role, observer=observer, wait_ready=False) as end:
        return end.info
