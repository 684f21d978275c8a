"""What a Synap connection can say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from memxfer.spi import RemoteConfig, decision

__all__ = ["ASSIGN", "DEFAULT_BASE_URL", "DocumentType", "SynapConfig"]

DEFAULT_BASE_URL = "https://synap-cloud-prod.maximem.ai"
"""The vendor's production host (SDK 0.6.9, `HTTPTransport.DEFAULT_BASE_URL`)."""

ASSIGN = "assign:"

DocumentType = Literal[
    "ai-chat-conversation", "document", "email", "pdf", "image", "audio", "meeting-transcript"
]


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
        description="records without a user: skip, customer (shared by the customer's users), "
        "client (shared by everybody) or assign:USER; undecided blocks the job",
    )
    undated: Literal["skip", "send"] | None = decision(
        None, description="records without any date: skip, or send them without one; undecided blocks the job"
    )
    mode: Literal["long-range", "fast"] = decision(
        "long-range", description="how thoroughly Synap extracts; long-range for migrations"
    )
    conversations: Literal["documents", "transcript"] = decision(
        "documents",
        description="turns of conversations: documents (one each) or transcript (a conversation is one call, "
        "with the time of every turn)",
    )
    document_type: DocumentType | None = decision(
        None, description="type of all documents; default: ai-chat-conversation for turns, else document"
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

    @property
    def url(self) -> str:
        """Address of the service."""
        return self.base_url or DEFAULT_BASE_URL
