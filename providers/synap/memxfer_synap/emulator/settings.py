"""How the Synap emulator behaves."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from memxfer.emulation import EmulatorSettings

EMULATOR_API_KEY = "synap_emulator_key"
"""The key that works on an emulator as it is started; not a secret."""

B2C = "equals_customer"

Isolation = Literal["strict", "equals_customer"]
DuplicatePolicy = Literal["update", "row_error", "conflict", "echo", "store_twice"]


class SynapKey(BaseModel):
    """One API key: one instance of one client.

    Instance and client ids are derived from the key unless given, so they survive a restart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(min_length=1)
    client_id: str = ""
    instance_id: str = Field(default="", pattern=r"^(inst_[0-9a-f]{16})?$")
    isolation: Isolation | None = Field(default=None, description="the emulator's isolation unless given")
    management: bool = Field(default=False, description="may delete a whole customer")


class Retrieval(BaseModel):
    """The `retrieval` block of a context fetch that went wrong; level `failed` returns nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    degraded: bool = True
    level: Literal["partial", "minimal", "failed"] = "failed"
    code: Literal["timeout", "overloaded", "unavailable", "internal"] = "timeout"


class SynapSettings(EmulatorSettings):
    """Settings of `SynapEmulator`; every one can change while it runs."""

    keys: tuple[SynapKey, ...] = (SynapKey(key=EMULATOR_API_KEY),)
    isolation: Isolation = Field(default="strict", description="strict = B2B, equals_customer = B2C")
    duplicate_policy: DuplicatePolicy = Field(
        default="update", description="what a known document_id means; Synap documents four of these"
    )
    processing_delay_seconds: float = Field(default=0.0, ge=0, description="from accepted to completed")
    processing_jitter_seconds: float = Field(default=0.0, ge=0, description="up to this much on top")
    batch_documents: int = Field(default=100, ge=1)
    document_bytes: int = Field(default=100_000, ge=1, description="larger documents are refused")
    source_document_id: Literal["client", "internal"] = "client"
    null_ids_in_failed_rows: bool = Field(
        default=False,
        description="failed batch rows have no ingestion_id; SDK 0.6.9 raises TypeError on that",
    )
    not_ready_seconds: float = Field(
        default=0.0, ge=0, description="409 instance_not_ready for so long from when it is set"
    )
    turns_recorded: int | None = Field(
        default=None, ge=0, description="most turns of a transcript that are recorded; none = all"
    )
    credits: float | None = Field(default=None, ge=0, description="402 when spent; none = unlimited")
    credits_per_document: float = Field(default=1.0, ge=0)
    fetch_levels: Literal["isolated", "merged"] = Field(
        default="isolated",
        description="merged: a user's fetch also reads the customer's and the client's memories, and a "
        "customer's the client's; the vendor's pages and its SDK contradict each other",
    )
    retrieval: Retrieval | None = Field(default=None, description="degrades context fetches")
    delete_cap: int = Field(default=1000, ge=1, description="documents that one data.delete call removes")


class Caller(BaseModel):
    """Who a request comes from, once its key is known."""

    model_config = ConfigDict(frozen=True)

    key: str
    client_id: str
    instance_id: str
    isolation: Isolation
    management: bool

    @property
    def is_b2c(self) -> bool:
        """Whether users are their own customers."""
        return self.isolation == B2C


def caller_of(key: SynapKey, isolation: Isolation) -> Caller:
    """Fill in what a key leaves open."""
    digest = hashlib.sha256(key.key.encode()).hexdigest()
    return Caller(
        key=key.key,
        client_id=key.client_id or f"cli_{digest[16:32]}",
        instance_id=key.instance_id or f"inst_{digest[:16]}",
        isolation=key.isolation or isolation,
        management=key.management,
    )
