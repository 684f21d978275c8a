"""What a target takes: documents in batches; and what it answers: one receipt per document.

Both are made for every record, so they are structs: a frozen dataclass takes ten times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from memxfer.errors import ProviderError, RecordError
from memxfer.models import Scope

__all__ = [
    "IDENTITY_MAPPED",
    "Container",
    "Document",
    "Ensured",
    "IngestState",
    "IngestStatus",
    "Joined",
    "Outcome",
    "Prepared",
    "Refused",
    "Skipped",
    "Wanted",
    "WriteReceipt",
]


IDENTITY_MAPPED = "identity_mapped"
"""The change of a document whose record was given another owner before the target mapped it."""

MOST_LANES = 256
"""Lanes whose documents wait for company at once; beyond, the one opened first goes."""


class Container(msgspec.Struct, frozen=True, gc=False):
    """Something that must be there before what goes into it: a user, a thread, a graph, an entity.

    Attributes:
        name: Tells it from all others of the job, on every run: `"thread:ann/42"`. What the target calls
            it is the provider's business.
        kind: A short stable word; those of one kind and place are made together.
        within: Name of the container it is in; that one stands before it in `Document.containers`.
        spec: What the provider needs to make it, as JSON values.
    """

    name: str
    kind: str
    within: str | None = None
    spec: Mapping[str, Any] = {}


class Document(msgspec.Struct, frozen=True, gc=False):  # many wait at a time, and none leads to itself
    """One thing to be stored in the target.

    Attributes:
        key: The stable key; the target's own id where it takes one.
        record_id: The source's id of the record it was made from.
        body: The provider's wire form; opaque to everybody else.
        size: Bytes of `body` on the wire, near enough to bound memory and requests.
        scope: Name of the target scope it lands in, `"user"`; for histograms.
        owner: The axes by which the target keeps it apart from other documents, as the target will
            have them: whoever shares all of them shares the memory. `Scope()` is everybody; `None`
            means that the target has all axes of the record.
        changes: What this document alters or leaves out beyond what the target's capabilities say,
            as short stable words: `"nul_replaced"`, `"envelope_dropped"`. Never silent: they are
            counted, and the record's original belongs in the residue.
        containers: What must be there before it, outermost first; the engine has it made once.
        container_ids: The target's ids of `containers`, in the same order. Given to `write`, empty before.
        lane: Documents of different lanes never share a request: `"facts of graph 7"`.
        group: It is a part of something that is sent as a whole, and waits until all parts are listed:
            `"conversation:ann/42"`. See `SupportsGroups`.
        rank: Where it stands in its group: parts are sorted by it, then by listing order.
    """

    key: str
    record_id: str
    body: Any
    size: int
    scope: str
    changes: tuple[str, ...] = ()
    owner: Scope | None = None
    containers: tuple[Container, ...] = ()
    container_ids: tuple[str, ...] = ()
    lane: str = ""
    group: str | None = None
    rank: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """One request's worth of a group.

    Attributes:
        document: What is sent. Its `key` and `record_id` are those of its first part.
        count: How many parts it is made of, from where the one before it ended.
        is_idempotent: Sending it again stores nothing twice, whatever `writing.client_key` says of others.
    """

    document: Document
    count: int
    is_idempotent: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A container that the target is asked for.

    Attributes:
        container: What it is.
        within_id: The target's id of the container it is in.
        token: 32 hex digits that this container has on every try: a mark to find it by, or a part of an
            idempotency key.
        tries: 1 the first time. Above that, an earlier try may have made it: look before making another.
        since: When the first try was noted, UTC.
        taken: Target ids, of the same kind and place, that belong to other containers of the job.
            Only given when `tries` is above 1. What one container of a call gets is taken for the others.
    """

    container: Container
    within_id: str | None
    token: str
    tries: int
    since: datetime
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ensured:
    """A container that is there, or will be once its task has ended.

    Attributes:
        target_id: The target's id of it.
        task: Handle to ask `ingest_status` about, where it cannot be used yet.
        is_new: Made for this job; `False` where it was there before.
    """

    target_id: str
    task: str | None = None
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Skipped:
    """The record is left out because the user decided so.

    Attributes:
        reason: A short stable word, `"unscoped"`.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The record cannot be written.

    Attributes:
        error: Why; its `code` is a short stable word.
        remedies: The config lines or flags, one of which would settle it. Given when a decision is
            missing (then the job does not start), empty when the record can never be stored.
    """

    error: RecordError
    remedies: tuple[str, ...] = ()


Prepared = Document | Skipped | Refused
"""What becomes of one record before anything is sent."""


class Outcome(StrEnum):
    """What the target did with one document."""

    CREATED = "created"
    UPDATED = "updated"
    PRESENT = "present"
    """It held the document already and kept what it had."""
    PENDING = "pending"
    """Accepted, not stored yet; poll `ingestion_id`."""
    REJECTED = "rejected"
    """Refused for good; `error.code == "duplicate"` when the key exists already."""
    UNKNOWN = "unknown"
    """It may have happened."""


class WriteReceipt(msgspec.Struct, frozen=True):
    """The fate of one document in one write.

    Attributes:
        outcome: What happened.
        target_ids: Ids of what the target stored for it.
        ingestion_id: Handle to ask for its progress, when `PENDING`.
        error: Why it was rejected, or why its fate is unknown. Of a document that was taken (`CREATED`,
            `UPDATED`, `PENDING`): why it cannot be said that all of it was; its records then count as
            failed, with the code `not_proven`.
        correlation_id: The backend's id of the request.
    """

    outcome: Outcome
    target_ids: tuple[str, ...] = ()
    ingestion_id: str | None = None
    error: ProviderError | None = None
    correlation_id: str | None = None


class IngestState(StrEnum):
    """How far the target has come with an accepted document."""

    PROCESSING = "processing"
    STORED = "stored"
    FAILED = "failed"
    GONE = "gone"
    """The target does not know the ingestion id any more."""


@dataclass(frozen=True, slots=True)
class IngestStatus:
    """Progress of one accepted document.

    Attributes:
        state: How far it is.
        target_ids: What was made of it so far. `STORED` without any counts as failed (`no_memories`) where
            the target reports ids.
        error: Why it failed, or why a part of it did.
        partial: Stored, but the target reports that part of it failed; its records count as failed.
    """

    state: IngestState
    target_ids: tuple[str, ...] = ()
    error: ProviderError | None = None
    partial: bool = False
