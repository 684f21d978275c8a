"""How the Mem0 server emulator behaves."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from memxfer.emulation import EmulatorSettings

__all__ = ["EMULATOR_API_KEY", "EMULATOR_USER_KEY", "Mem0ServerSettings"]

EMULATOR_API_KEY = "mem0_server_emulator_key"
"""The admin's key on an emulator as it is started; not a secret."""
EMULATOR_USER_KEY = "mem0_server_emulator_user"
"""A key that may not list without a scope; not a secret."""


class Mem0ServerSettings(EmulatorSettings):
    """Settings of `Mem0ServerEmulator`; every one can change while it runs."""

    admin_keys: tuple[str, ...] = Field(default=(EMULATOR_API_KEY,), description="may list without a scope")
    user_keys: tuple[str, ...] = Field(default=(EMULATOR_USER_KEY,), description="may not")
    store: Literal["pgvector", "qdrant"] = Field(
        default="pgvector",
        description="qdrant: lists without a scope give two rows of nulls, and no entity is found",
    )
    scanned: int = Field(default=10_000, ge=1, description="rows that the list of entities looks at")
