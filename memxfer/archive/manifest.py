"""`manifest.json`: what the archive holds, and the sums that prove it."""

from __future__ import annotations

import uuid
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from memxfer.archive.layout import MANIFEST_NAME, MAX_LINES, MAX_RAW, read_bounded, replace_file
from memxfer.errors import ConfigError
from memxfer.ids import stable_uuid

__all__ = [
    "FORMAT",
    "VERSION",
    "Manifest",
    "Origin",
    "PartEntry",
    "Writing",
    "read_manifest",
    "write_manifest",
]

FORMAT = "memxfer-archive"
VERSION = 1
_MAX_BYTES = 64 * 1024 * 1024


class _Model(BaseModel):
    # Lenient: a later release may add fields within one version.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Origin(_Model):
    """The store that records came from."""

    provider: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.namespace}"


class PartEntry(_Model):
    """One sealed part. Its file is named by its number, so a manifest cannot point anywhere else."""

    number: int = Field(ge=1, lt=10**9)
    lines: int = Field(ge=0, le=MAX_LINES)
    superseded: int = Field(0, ge=0)
    """Lines that a later line of the same key replaced, or that were deleted."""
    size: int = Field(ge=0)
    """Bytes of the file."""
    raw_size: int = Field(ge=0, le=MAX_RAW)
    """Bytes of its lines, unpacked."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    origin: int | None = Field(None, ge=0)
    """Which of the manifest's origins; `None`: not known."""

    @property
    def records(self) -> int:
        """Lines that count."""
        return self.lines - self.superseded


class Writing(_Model):
    """What is being written: the origin of all parts that the manifest does not list yet."""

    origin: int | None = Field(None, ge=0)


class Manifest(_Model):
    """The whole of `manifest.json`."""

    format: Literal["memxfer-archive"] = "memxfer-archive"
    version: int = VERSION
    id: str
    """Made once; the namespace of records whose store is not known."""
    tool: str = ""
    created_at: datetime
    updated_at: datetime
    complete: bool = False
    """`False`: somebody writes, or crashed; parts beyond those listed may follow."""
    records: int = Field(0, ge=0, le=10**15)
    origins: tuple[Origin, ...] = ()
    parts: tuple[PartEntry, ...] = ()
    writing: Writing | None = None

    @classmethod
    def new(cls, root: Path, *, now: datetime, tool: str) -> Manifest:
        """Return the manifest of an archive without records.

        Its id is made from the folder and the machine, so that a plan and the run that follows it name
        the same archive, although the plan writes nothing.
        """
        archive_id = stable_uuid("archive", str(root.resolve()), str(uuid.getnode()))
        return cls(id=archive_id, tool=tool, created_at=now, updated_at=now, complete=True)

    @model_validator(mode="after")
    def _lists_each_part_once(self) -> Self:
        numbers = [part.number for part in self.parts]
        if len(set(numbers)) != len(numbers):
            raise ValueError("a part is listed twice")
        return self

    def origin_at(self, index: int | None) -> Origin | None:
        """Return the origin a part or `writing` names; `None`: not known."""
        return self.origins[index] if index is not None and index < len(self.origins) else None


def read_manifest(root: Path) -> Manifest | None:
    """Return the manifest of the archive in folder `root`, `None` if there is none.

    Raises:
        ConfigError: It is no manifest of an archive, or one of a version this memxfer cannot read.
    """
    path = root / MANIFEST_NAME
    try:
        data = read_bounded(path, _MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; put the real file there") from error
    _check_format(path, data)
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigError(
            f"{path} is damaged at {where!r}: {first['msg']}; copy it again, or take it from a backup"
        ) from error


class _Header(_Model):
    format: str = ""
    version: int = 0


def _check_format(path: Path, data: bytes) -> None:
    try:
        header = _Header.model_validate_json(data)
    except ValidationError as error:
        raise ConfigError(f"{path} is not the manifest of a memxfer archive") from error
    if header.format != Manifest.model_fields["format"].default:
        raise ConfigError(f"{path} is not the manifest of a memxfer archive (format {header.format[:40]!r})")
    if header.version != VERSION:
        raise ConfigError(
            f"{path} has version {header.version}; this memxfer reads version {VERSION}: "
            "use the release that wrote the archive, or a newer one"
        )


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Put a manifest in place, durably and at once."""
    replace_file(root / MANIFEST_NAME, manifest.model_dump_json(indent=1).encode())
