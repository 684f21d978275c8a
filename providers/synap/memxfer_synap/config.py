"""What a Synap connection can say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from memxfer.spi import RemoteConfig, decision

__all__ = ["ASSIGN", "DEFAULT_BASE_URL", "DocumentType", "Mode", "SynapConfig"]

DEFAULT_BASE_URL = "https://synap-cloud-prod.maximem.ai"
"""The vendor's production host (SDK 0.6.9, `HTTPTransport.DEFAULT_BASE_URL`)."""

ASSIGN = "assign:"

DocumentType = Literal[
    "ai-chat-conversation", "document", "email", "pdf", "image", "audio", "meeting-transcript"
]
Mode = Literal["long-range", "fast"]


def _known_decision(value: str) -> str:
    if value in ("skip", "customer", "client") or (value.startswith(ASSIGN) and value != ASSIGN):
        return value
    raise ValueError('must be "skip", "customer", "client" or "assign:USER"')


class SynapConfig(RemoteConfig):
    """One Synap instance: one API key is one instance."""

    transport: Literal["sdk", "http"] = Field(
        "sdk", description='"sdk": the vendor\'s SDK sends; "http": memxfer sends the same JSON itself'
    )
    customer_id: str | None = decision(
        None,
        min_length=1,
        description="customer of records that name no tenant; needed on B2B instances, refused on B2C ones",
    )
    instance_id: str | None = Field(
        None,
        pattern=r"^inst_[0-9a-fA-F]{16}$",
        description="the instance the key must belong to; default: whichever it belongs to",
    )
    unscoped: Annotated[str, AfterValidator(_known_decision)] | None = decision(
        None,
        description="records without a user: skip, customer (at the level of the customer's users), "
        "client (at the level of everybody) or assign:USER; undecided blocks the job",
    )
    undated: Literal["skip", "send"] | None = decision(
        None, description="records without any date: skip, or send them without one; undecided blocks the job"
    )
    mode: Mode = decision(
        "long-range",
        description="how thoroughly Synap extracts: long-range, or fast, the default while an app runs",
    )
    read_mode: Literal["fast", "accurate"] = Field(
        "fast", description="how an app's questions are answered: fast, or accurate"
    )
    fetch_levels: Literal["unknown", "merged", "isolated"] = Field(
        "unknown",
        description="which levels Synap reads for a question about a user: merged, the customer's and the "
        "client's too; isolated, the user's alone; where it is not merged, each level is asked",
    )
    cache: Literal["off", "sqlite"] = Field(
        "off",
        description="sqlite: the SDK keeps what an app asked for on disk, for minutes; off: it does not",
    )
    cache_path: Path | None = Field(None, description="folder of the cache; default: the SDK's, ~/.synap")
    conversations: Literal["documents", "transcript"] = decision(
        "documents",
        description="turns of conversations: documents (one each) or transcript (a conversation is one call, "
        "with the time of every turn)",
    )
    document_type: DocumentType | None = decision(
        None,
        description="type of documents that name none of their own; default: ai-chat-conversation for turns, "
        "else document",
    )
    document_bytes: int = decision(
        100_000, ge=1, description="largest content in bytes; Synap sets it per instance and publishes none"
    )
    metadata_bytes: int = decision(16_384, ge=2, description="largest metadata in bytes of JSON")
    duplicate_policy: Literal["unknown", "upsert", "dedupe", "reject", "append"] = Field(
        "unknown",
        description="what this instance does with a document_id it knows: unknown, upsert, dedupe, reject "
        "or append; the vendor's pages disagree",
    )

    @field_validator("cache")
    @classmethod
    def _cached_by_the_sdk(cls, value: str, info: ValidationInfo) -> str:
        if value != "off" and info.data.get("transport") == "http":
            raise ValueError('"sqlite" is the cache of the SDK: remove transport = "http", or the cache')
        return value

    @property
    def url(self) -> str:
        """Address of the service."""
        return self.base_url or DEFAULT_BASE_URL
