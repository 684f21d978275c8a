"""What a `mem0` connection can say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from memxfer.spi import RemoteConfig, decision

__all__ = ["ASSIGN", "DEFAULT_BASE_URL", "Mem0PlatformConfig"]

DEFAULT_BASE_URL = "https://api.mem0.ai"
"""The vendor's host (mem0ai 2.2.1, `MemoryClient`)."""

ASSIGN = "assign:"


class Mem0PlatformConfig(RemoteConfig):
    """One project of the Mem0 Platform: one API key belongs to one project."""

    namespace: str | None = Field(
        None, min_length=1, description="stable name of the project in document keys; default: its id"
    )
    scopes: Literal["filter", "entities"] = Field(
        "filter",
        description='as a source, "filter": one listing of everything; "entities": one listing per user, '
        "agent, app and run, where the service refuses the filter",
    )
    history: bool = decision(True, description="as a source, read the earlier versions of each memory")
    unscoped: str | None = decision(
        None,
        pattern=r"^(skip|assign:[^\s*][^\n]*)$",
        description="as a target, records without user, agent, app and session: skip, or assign:USER",
    )
    undated: Literal["skip", "send"] | None = decision(
        None,
        description="as a target, records without any date: skip, or send (Mem0 dates them with the day "
        "of the move); undecided blocks the job",
    )

    infer: bool = decision(
        False,
        description="for an app, whether Mem0 extracts memories of its own from turns and raw text "
        "(queued, in its own words), rather than keep them as they are; a migration never does",
    )

    @property
    def url(self) -> str:
        """Address of the service."""
        return self.base_url or DEFAULT_BASE_URL
