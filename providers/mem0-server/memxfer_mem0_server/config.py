"""What a `mem0-server` connection can say."""

from __future__ import annotations

from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from memxfer.spi import RemoteConfig, decision

__all__ = ["NAME", "Mem0ServerConfig"]

NAME = "mem0-server"
"""The provider's name."""


class Mem0ServerConfig(RemoteConfig):
    """One self-hosted Mem0 server; `base_url` has no default, and the key is best the admin's."""

    takes_login: ClassVar[bool] = True

    namespace: str | None = Field(
        None, min_length=1, description="stable name of the server in document keys; default: its address"
    )
    history: bool = decision(
        True, description="read the earlier versions of each memory; costs one request per memory"
    )

    @property
    def url(self) -> str:
        """Address of the server."""
        return self.base_url or ""

    @property
    def place(self) -> str:
        """What document keys are made of: `namespace`, else host, port and path, never a login."""
        parts = urlsplit(self.url)
        return self.namespace or parts.netloc.rpartition("@")[2] + parts.path

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if self.base_url is None:
            raise ValueError(
                'base_url is missing: a self-hosted server has no usual one; set base_url = "..."'
            )
        return self
