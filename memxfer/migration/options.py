"""What a caller may set for one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from memxfer.errors import ConfigError
from memxfer.spi import MemoryProvider

__all__ = ["Endpoint", "Options", "StopSignal"]

Endpoint = str | MemoryProvider[Any]
"""A connection's name, `PROVIDER:LOCATION`, or a provider of the caller's own."""


@dataclass(frozen=True, slots=True)
class Options:
    """Tuning and consent of one run.

    Attributes:
        where: Which records, as `--where` takes it.
        sample: Move no more than so many records.
        scan: Read no more than so many records to count losses; `None`: all of them.
        accept_loss: Dimensions, groups or `all`, whose loss is agreed to.
        accept_decisions: Settings of the target's connection, such as `unscoped`, that a resumed job goes
            on under although they have changed since it was agreed.
        residue: Which originals are kept beside the ledger: those of records that the target does not
            hold whole, all, or none.
        dry_run: Check everything and write nothing.
        listers: Partitions read side by side, 1 to 64.
        writers: Writes under way at once, 1 to 64.
        buffer_bytes: Bytes of records in memory.
        wait_ready: Wait for a target that is still being set up.
        on_uncertain: What to do with a document that may have been stored and cannot be asked about.
        settle: Wait until the target has processed what it accepted.

    Raises:
        ConfigError: A number is below 1.
    """

    where: str | None = None
    sample: int | None = None
    scan: int | None = None
    accept_loss: tuple[str, ...] = ()
    accept_decisions: tuple[str, ...] = ()
    residue: Literal["lossy", "full", "off"] = "lossy"
    dry_run: bool = False
    listers: int = 16
    writers: int = 16
    buffer_bytes: int = 16 * 2**20
    wait_ready: bool = False
    on_uncertain: Literal["stop", "resend", "skip"] = "stop"
    settle: bool = True

    def __post_init__(self) -> None:
        for name in ("sample", "scan", "listers", "writers", "buffer_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value}: it takes a number from 1")


class StopSignal:
    """Asks a run to finish what is under way and keep its place. Call it on the event loop."""

    def __init__(self) -> None:
        self.is_set = False
        self._listeners: list[Callable[[], None]] = []

    def request(self) -> None:
        """Ask; more calls change nothing."""
        if not self.is_set:
            self.is_set = True
            for listener in self._listeners:
                listener()

    def on_request(self, listener: Callable[[], None]) -> None:
        """Call `listener` when asked; at once if that was before."""
        self._listeners.append(listener)
        if self.is_set:
            listener()
