"""Opening the two ends of a move."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from memxfer.config import Config, load_config, state_dir_of
from memxfer.errors import MemxferError, NotReadyError
from memxfer.migration.evidence import ConnectionEvidence, load_evidence
from memxfer.migration.observer import Observer, SilentObserver
from memxfer.migration.options import Endpoint
from memxfer.migration.same_store import check_two_stores
from memxfer.spi import BackendInfo, MemoryProvider, Role
from memxfer.spi.learning import declared_word

__all__ = [
    "Entrance",
    "OpenEnd",
    "check",
    "entrance_of",
    "evidence_of",
    "named",
    "open_end",
    "opened",
    "overruled",
]

_LONGEST_WAIT = 60.0
_DEFAULT_WAIT = 15.0


@dataclass(frozen=True, slots=True)
class OpenEnd:
    """A connected provider, and the name the user knows it by."""

    name: str
    provider: MemoryProvider[Any]
    info: BackendInfo


@dataclass(frozen=True, slots=True)
class Entrance:
    """A provider that is not connected yet.

    Attributes:
        name: What the user calls it.
        provider: The provider.
        is_connection: It is a named connection of the configuration; only those have evidence.
    """

    name: str
    provider: MemoryProvider[Any]
    is_connection: bool = False


@asynccontextmanager
async def open_pair(
    source: Endpoint,
    target: Endpoint,
    *,
    config: Config | None,
    observer: Observer,
    state_dir: str | Path | None = None,
    wait_ready: bool = False,
) -> AsyncIterator[tuple[OpenEnd, OpenEnd]]:
    """Open both ends of a move, the source first, and close them at the end of the block.

    Raises:
        ConfigError: Both are the same store.
        ConfigError, ProviderError: As `open_end`.
    """
    async with (
        open_end(source, Role.SOURCE, config=config, state_dir=state_dir, observer=observer) as read,
        open_end(
            target,
            Role.TARGET,
            config=config,
            state_dir=state_dir,
            observer=observer,
            wait_ready=wait_ready,
        ) as write,
    ):
        check_two_stores(read.provider, write.provider, names=(read.name, write.name))
        yield read, write


@asynccontextmanager
async def open_end(
    endpoint: Endpoint,
    role: Role,
    *,
    config: Config | None,
    state_dir: str | Path | None = None,
    observer: Observer,
    wait_ready: bool = False,
) -> AsyncIterator[OpenEnd]:
    """Open one end of a move, and close it at the end of the block.

    What a probe learned about a named connection is applied once it is connected, if the store is the
    one that was probed; on a target it is told, and a setting that it overrules is named.

    Raises:
        ConfigError: The kept evidence is damaged.
        ConfigError, ProviderError: As the provider's `connect` raises them, with the connection named.
    """
    entrance = entrance_of(endpoint, config=config, observer=observer)
    place = state_dir_of(state_dir, config=config)
    async with _recalled(entrance, role, place, observer=observer, wait_ready=wait_ready) as end:
        yield end


@asynccontextmanager
async def _recalled(
    entrance: Entrance, role: Role, state_dir: Path, *, observer: Observer, wait_ready: bool = False
) -> AsyncIterator[OpenEnd]:
    kept = load_evidence(state_dir, entrance.name) if entrance.is_connection else None
    async with opened(entrance, role, observer=observer, wait_ready=wait_ready) as end:
        if kept is not None:
            _recall(kept, end, role, observer)
        yield end


@asynccontextmanager
async def opened(
    entrance: Entrance, role: Role, *, observer: Observer, wait_ready: bool = False
) -> AsyncIterator[OpenEnd]:
    """Connect as `role`, pass on warnings, and close at the end of the block; goes by no evidence.

    Raises:
        ConfigError, ProviderError: As the provider's `connect` raises them, with the connection named.
    """
    name, provider = entrance.name, entrance.provider
    try:
        info = await _connect(name, provider, role, observer=observer, wait_ready=wait_ready)
        for warning in info.warnings:
            observer.notice("warning", f"{name}: {warning}")
        yield OpenEnd(name, provider, info)
    finally:
        await provider.aclose()


def entrance_of(endpoint: Endpoint, *, config: Config | None, observer: Observer) -> Entrance:
    """Build the provider that an endpoint means; contacts nothing.

    Raises:
        ConfigError: There is no such connection, or its block is wrong.
    """
    if isinstance(endpoint, MemoryProvider):
        return Entrance(endpoint.name, endpoint)
    config = config or load_config()
    connection = config.connection(endpoint)
    for field in connection.literal_secrets():
        observer.notice("warning", f"{endpoint}: {field} is written out in {connection.origin}; use env:NAME")
    try:
        return Entrance(endpoint, connection.open(), endpoint in config.connections)
    except MemxferError as error:
        raise named(error, endpoint) from error


def _recall(kept: ConnectionEvidence, end: OpenEnd, role: Role, observer: Observer) -> None:
    day = kept.probed_at[:10]
    if not kept.is_about(end.provider.store()):
        if role is Role.TARGET:
            observer.notice(
                "warning",
                f"{end.name}: the probe of {day} was of another store ({kept.provider} {kept.namespace!r}) "
                "and is not gone by; probe this one",
            )
        return
    before = end.provider.capabilities()
    end.provider.learn(kept.findings())
    if role is Role.TARGET:
        after = end.provider.capabilities()
        for claim in kept.claims:
            declared, now = declared_word(before, claim.path), declared_word(after, claim.path)
            if declared is not None and now is not None and declared != now:
                observer.notice(*overruled(end, claim.path, declared, now, day=day))
            elif claim.path.startswith("operations.") and claim.found == "no":
                observer.notice(*overruled(end, claim.path, claim.declared, claim.found, day=day))


def overruled(
    end: OpenEnd | Entrance, path: str, declared: str, found: str, *, day: str
) -> tuple[Literal["info", "warning"], str]:
    """Return the notice for a claim that is gone by as found and not as declared.

    A warning where the user's own setting says otherwise: what was seen is the more careful.
    """
    setting = end.provider.claim_settings.get(path)
    if setting is None or declared == "unknown":
        return "info", f"{end.name}: going by the probe of {day}: {path} is {found}, declared {declared}"
    return "warning", (
        f'{end.name}: {setting} = "{declared}" is set, but the probe of {day} saw {found}; '
        f'{found} is gone by, the more careful of the two. Set {setting} = "{found}", or probe again'
    )


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
    state_dir: str | Path | None = None,
    role: Role | None = None,
    observer: Observer | None = None,
) -> BackendInfo:
    """Connect, look, and close; writes nothing.

    Args:
        endpoint: What to look at.
        config: Where connections are named; default: the file of `load_config()`.
        state_dir: Where what was learned about the connection is kept.
        role: What it is meant for; default: source where it can be one, else target.
        observer: Takes warnings.

    Raises:
        ConfigError, ProviderError: It cannot be opened; the message says why and what to do.
    """
    observer = observer or SilentObserver()
    entrance = entrance_of(endpoint, config=config, observer=observer)
    role = role or (Role.SOURCE if entrance.provider.is_source() else Role.TARGET)
    async with _recalled(entrance, role, state_dir_of(state_dir, config=config), observer=observer) as end:
        return end.info


def evidence_of(
    endpoint: Endpoint, *, config: Config | None = None, state_dir: str | Path | None = None
) -> ConnectionEvidence | None:
    """Return what the last probe of a connection saw; `None` where there was none. Contacts nothing.

    Raises:
        ConfigError: There is no such connection, or what is kept about it is damaged.
    """
    entrance = entrance_of(endpoint, config=config, observer=SilentObserver())
    place = state_dir_of(state_dir, config=config)
    return load_evidence(place, entrance.name) if entrance.is_connection else None
