"""What a connection in `memxfer.toml` can say; every provider's `config` extends one of these."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, field_validator

from memxfer.ids import DEFAULT_TEMPLATE

__all__ = [
    "FOLDER",
    "ConnectionConfig",
    "RemoteConfig",
    "RetrySettings",
    "Timeouts",
    "decision",
    "is_this_machine",
]

FOLDER = "folder"
"""Key of the validation context under which a connection is told the folder of its configuration file."""


class _Settings(BaseModel):
    # A wrong value may be a key in the wrong place: errors name the field and never quote.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Timeouts(_Settings):
    """Seconds a remote call may take."""

    connect: float = Field(5.0, gt=0, description="seconds to open a connection")
    read: float = Field(60.0, gt=0, description="seconds without a byte of the answer")
    write: float = Field(30.0, gt=0, description="seconds without sending a byte")


class RetrySettings(_Settings):
    """How long a call that failed for now is tried again."""

    attempts: int = Field(
        8, ge=1, description="tries of one call, the first included; refusals with 429 do not count"
    )
    backoff: float = Field(0.5, gt=0, description="seconds before the second try; doubles, with jitter")
    backoff_max: float = Field(30.0, gt=0, description="longest wait between two tries, in seconds")


def decision(default: Any, **options: Any) -> Any:
    """Return a pydantic field for a setting that decides what becomes of records, or whose they are.

    A plan notes such settings, and is not carried out under others.

    Args:
        default: The setting's default.
        options: As `pydantic.Field` takes them.
    """
    return Field(default, json_schema_extra={"decides": True}, **options)


class ConnectionConfig(_Settings):
    """The part of a connection that every provider has.

    Fields of type `Path` are made absolute before the model sees them: they count from the folder of the
    configuration file. A provider with paths inside other values resolves them against `folder`.
    """

    _folder: Path | None = PrivateAttr(None)

    provider: str = Field(description="name of the provider, or my_module:MyProvider")
    document_id: str = Field(
        DEFAULT_TEMPLATE, description="template of the keys of documents written to this connection"
    )
    batch_size: int | None = Field(
        None, ge=1, description="documents per write; default: the most the target takes"
    )
    page_size: int | None = Field(
        None, ge=1, description="records per read; default: the most the source gives"
    )
    max_rate: float | None = Field(None, gt=0, description="most requests per second to this connection")
    quota_share: float = Field(
        0.7,
        gt=0,
        le=1,
        description="share of the backend's rate limit that memxfer may use once it learns limits; not yet",
    )
    retry: RetrySettings = Field(RetrySettings(), description="tries and waits after failures")
    identity: Path | None = decision(
        None, description="CSV file that says whose records become whose in this target"
    )
    widening: Literal["allow"] | None = decision(
        None,
        description="owners that this backend cannot tell apart: allow them to share their memories; "
        "undecided blocks the job",
    )
    oversize: Literal["skip"] | None = decision(
        None, description="records over this backend's limits: skip; undecided blocks the job"
    )
    unit_price: float | None = Field(
        None, ge=0, description="what one document costs to write, for the estimate of `memxfer plan`"
    )
    allow_empty: bool = Field(False, description="a source without a single record is not an error")

    def model_post_init(self, context: Any) -> None:
        """Keep the folder that relative paths count from."""
        if isinstance(context, dict):
            self._folder = context.get(FOLDER)

    @property
    def folder(self) -> Path:
        """Folder of the configuration file; the working folder for a connection that stands in none."""
        return self._folder or Path.cwd()

    def decisions(self) -> dict[str, str]:
        """Return the settings that decide what becomes of records, where they differ from the default."""
        found = {}
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            value = getattr(self, name)
            if isinstance(extra, dict) and extra.get("decides") and value != field.default:
                found[name] = _told(value)
        return found


def _told(value: Any) -> str:
    if isinstance(value, Path):
        return value.name  # where a file lies differs between machines; what is in it has a digest
    return ", ".join(sorted(value)) if isinstance(value, frozenset) else str(value)


class RemoteConfig(ConnectionConfig):
    """A backend across the network."""

    takes_login: ClassVar[bool] = False
    """Whether `base_url` may hold a login; not where `api_key` goes into the same header."""

    api_key: SecretStr = Field(description="the key, best as a reference: env:NAME or file:PATH")
    base_url: str | None = Field(None, description="address of the service; default: the vendor's")
    timeouts: Timeouts = Field(Timeouts(), description="seconds for connect, read, write")

    @field_validator("base_url")
    @classmethod
    def _is_plain(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not re.match(r"https?://[^/\s]", url):
            raise ValueError("must start with http:// or https:// and name a host")
        if re.search(r"[?#\s]", url):
            raise ValueError(
                "must end before any ? or #: paths are put behind it. A key belongs into api_key"
            )
        parts = _address(url)
        if "@" in parts.netloc and not cls.takes_login:
            raise ValueError(
                "must not hold a login (user:password@): it would be sent in place of the key; use api_key"
            )
        return url.rstrip("/")

    @property
    def sends_in_clear(self) -> bool:
        """Whether the key travels unencrypted: `base_url` is `http://` and names another machine."""
        parts = urlsplit(self.base_url or "")
        return parts.scheme == "http" and not is_this_machine(parts.hostname or "")


def _address(url: str) -> SplitResult:
    """Return the parts of an address; the errors of the standard library would quote them."""
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError("must name a host, and after a colon a port")
    return parts


def is_this_machine(host: str) -> bool:
    """Tell whether a host name or address is a loopback one."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
