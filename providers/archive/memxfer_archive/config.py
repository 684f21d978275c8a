"""What an `archive` connection can say."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from memxfer.spi import ConnectionConfig

__all__ = ["ArchiveConfig"]


class ArchiveConfig(ConnectionConfig):
    """A folder on this machine."""

    path: Path = Field(description="the archive's folder; made when written to")
    origin: str | None = Field(
        None,
        description="PROVIDER:NAMESPACE; reads only what came from that store, "
        "for an archive that holds the records of several",
    )
