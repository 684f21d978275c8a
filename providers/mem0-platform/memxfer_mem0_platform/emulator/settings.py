"""How the Mem0 Platform emulator behaves."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from memxfer.emulation import EmulatorSettings

__all__ = ["EMULATOR_API_KEY", "Collapse", "Mem0PlatformSettings"]

EMULATOR_API_KEY = "m0-local-only-key"
"""The key that works on an emulator as it is started; not a secret."""

Collapse = Literal["existing_id", "empty", "off"]


class Mem0PlatformSettings(EmulatorSettings):
    """Settings of `Mem0PlatformEmulator`; every one can change while it runs."""

    api_keys: tuple[str, ...] = Field(
        default=(EMULATOR_API_KEY,), description="keys of the one project; any number, as after a rotation"
    )
    org_id: str = "org_emulator"
    project_id: str | None = Field(default="proj_emulator", description="none: the ping names no project")
    collapse: Collapse = Field(
        default="existing_id",
        description="a text that its scope holds already: answered with that memory's id, answered "
        "without results, or (off) stored again; Mem0 documents that it is not stored, not the answer",
    )
    answers_late: bool = Field(
        default=False, description="infer=False is queued as well, as infer=True always is"
    )
    extraction: Literal["all", "without_metadata", "nothing"] = Field(
        default="all",
        description="what infer=True makes of messages: a memory of each, with the metadata of the add or "
        "without, or nothing; Mem0 has a model for it, and tells neither",
    )
    event_seconds: float = Field(default=0.0, ge=0, description="from queued to stored")
    inserts_between_pages: int = Field(
        default=0, ge=0, description="memories of a user `drift` that appear after each page with a next one"
    )
    deletes_between_pages: int = Field(
        default=0, ge=0, description="memories already listed that disappear after such a page"
    )
    max_page_size: int = Field(default=200, ge=1, description="larger pages are cut to this")
    wildcard_or: bool = Field(
        default=True, description="whether an OR of wildcards counts as naming an entity; 400 otherwise"
    )
    has_events: bool = Field(default=True, description="whether /v1/memories/events/ exists")
    offset: Literal["utc", "pacific"] = Field(
        default="utc", description="how times are written; Pacific until client 1.0.6"
    )
