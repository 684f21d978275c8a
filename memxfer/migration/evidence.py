"""What a probe saw of a connection, kept beside its jobs: `<state-dir>/connections/<name>.json`."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memxfer.errors import ConfigError
from memxfer.spi import Finding, StoreIdentity

__all__ = [
    "FORMAT",
    "Claim",
    "ClaimVerdict",
    "ConnectionEvidence",
    "evidence_file",
    "load_evidence",
    "prepare_folder",
    "save_evidence",
]

FORMAT = 1
_FOLDER = "connections"
_LARGEST = 2**20


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClaimVerdict(StrEnum):
    """How a claim came out."""

    CONFIRMED = "confirmed"
    DOWNGRADED = "downgraded"
    NOT_TESTABLE = "not_testable"


class Claim(_Model):
    """One claim of a connection, and what was seen of it.

    Attributes:
        path: The claim, as a path into the capabilities: `writing.client_key`.
        declared: The word that the provider declares, `unknown` included.
        found: The word that fits what was seen; `None`: nothing could be seen.
        verdict: How it came out.
        note: One sentence; why, where it was not met or could not be tested.
    """

    path: str
    declared: str
    found: str | None = None
    verdict: ClaimVerdict
    note: str = ""


class ConnectionEvidence(_Model):
    """What one probe saw; never a secret, never content.

    Attributes:
        format: Of this file.
        connection: Name of the connection.
        provider: Whose store it was.
        namespace: Which store it was; evidence counts for no other.
        probed_at: When, ISO 8601 in UTC.
        memxfer: Version of memxfer.
        sdk: The vendor's SDK and its version, where the connection calls one: `maximem-synap 0.6.9`.
        claims: Every claim that was looked at.
    """

    format: Literal[1] = 1
    connection: str
    provider: str
    namespace: str
    probed_at: str
    memxfer: str
    sdk: str | None = None
    claims: tuple[Claim, ...] = ()

    def is_about(self, store: StoreIdentity) -> bool:
        """Tell whether `store` is the store that was probed."""
        return (self.provider, self.namespace) == (store.provider, store.namespace)

    def findings(self) -> tuple[Finding, ...]:
        """Return what was seen, for `MemoryProvider.learn`."""
        return tuple(
            Finding(path=claim.path, found=claim.found, note=claim.note)
            for claim in self.claims
            if claim.found is not None
        )


def evidence_file(state_dir: str | Path, connection: str) -> Path:
    """Return where the evidence of a connection is kept."""
    return Path(state_dir) / _FOLDER / f"{quote(connection, safe=' @+,=')}.json"


def prepare_folder(state_dir: str | Path) -> None:
    """Make the folder of the evidence, for this user alone.

    Raises:
        ConfigError: It cannot be written.
    """
    folder = Path(state_dir) / _FOLDER
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        scratch = folder / ".probe"
        scratch.touch()
        scratch.unlink()
    except OSError as error:
        raise ConfigError(
            f"the evidence cannot be kept in {folder}: {error.strerror}; name another folder with --state-dir"
        ) from error


def load_evidence(state_dir: str | Path, connection: str) -> ConnectionEvidence | None:
    """Return what is kept about a connection; `None` where nothing is.

    Raises:
        ConfigError: The file is damaged, cannot be read, or was written by a later memxfer.
    """
    file = evidence_file(state_dir, connection)
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}; fix its permissions or pass --state-dir"
        ) from error
    evidence = _parsed(data, file)
    # On a disk that ignores case, `New` and `new` have one file: it is the other's.
    return evidence if evidence.connection == connection else None


def save_evidence(state_dir: str | Path, evidence: ConnectionEvidence) -> Path:
    """Keep evidence, in place of what was kept before: whole or not at all, for this user's eyes alone.

    Raises:
        ConfigError: The state folder cannot be written.
    """
    file = evidence_file(state_dir, evidence.connection)
    scratch = file.with_name(f".{file.name}.tmp")
    prepare_folder(state_dir)
    try:
        scratch.unlink(missing_ok=True)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(evidence.model_dump_json(indent=2) + "\n")
            out.flush()
            os.fsync(out.fileno())
        scratch.replace(file)
    except OSError as error:
        raise ConfigError(
            f"the evidence cannot be kept in {file}: {error.strerror}; name another folder with --state-dir"
        ) from error
    return file


class _Header(BaseModel):
    model_config = ConfigDict(extra="ignore")

    format: Any = Field(None)


def _parsed(data: bytes, file: Path) -> ConnectionEvidence:
    again = "remove it, then run `memxfer providers check CONNECTION --probe` again"
    if len(data) > _LARGEST:
        raise ConfigError(f"{file} is damaged: it is too large; {again}")
    try:
        found = _Header.model_validate_json(data).format
        if isinstance(found, int) and found > FORMAT:
            raise ConfigError(
                f"{file} was written by a later memxfer (format {found}); update memxfer, or {again}"
            )
        evidence = ConnectionEvidence.model_validate_json(data)
        evidence.findings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "its form"
        raise ConfigError(f"{file} is damaged at {where}: {first['msg']}; {again}") from None
    return evidence
