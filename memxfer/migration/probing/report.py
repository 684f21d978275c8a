"""What a probe tells; its JSON is the command line's contract."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from memxfer.migration.evidence import Claim, ConnectionEvidence

__all__ = ["Leftover", "ProbeReport", "ProbeStatus"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProbeStatus(StrEnum):
    """How far a probe came; what it wrote is removed in any case."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class Leftover(_Model):
    """Something a probe wrote, or may have written, and could not remove.

    Attributes:
        key: The document's key; empty where it is not known.
        target_ids: The target's ids of it, where they are known.
        ingestion_id: The handle to ask for its progress, where there is one.
        reason: Why it is still there, or may be.
    """

    key: str
    target_ids: tuple[str, ...] = ()
    ingestion_id: str | None = None
    reason: str


class ProbeReport(_Model):
    """What a probe saw.

    Attributes:
        connection: What the user calls the backend.
        provider: Whose store it is.
        namespace: Which store it is.
        status: How far the probe came. Only a complete one is kept as evidence.
        probed_at: When, ISO 8601 in UTC.
        sdk: The vendor's SDK and its version, where the connection calls one.
        owner: The user that all its records belonged to.
        documents: Documents it sent.
        claims: Every claim, and how it came out.
        leftovers: What it could not remove.
        evidence_file: Where the evidence is kept; `None`: it is not.
        message: One sentence for people. Not part of the JSON.
    """

    connection: str
    provider: str
    namespace: str
    status: ProbeStatus
    probed_at: str
    sdk: str | None = None
    owner: str
    documents: int
    claims: tuple[Claim, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    evidence_file: str | None = None
    message: str = Field("", exclude=True)
    cause: str = Field("", exclude=True)
    """Why it stopped early, for the exit code: "", "auth", "quota", "unavailable", "interrupted", ..."""

    def as_evidence(self, *, memxfer: str) -> ConnectionEvidence:
        """Return what is worth keeping of it."""
        return ConnectionEvidence(
            connection=self.connection,
            provider=self.provider,
            namespace=self.namespace,
            probed_at=self.probed_at,
            memxfer=memxfer,
            sdk=self.sdk,
            claims=self.claims,
        )
