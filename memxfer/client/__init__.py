"""Memory for apps while they run: one client over every provider, and another provider without a restart."""

from memxfer.client.client import ClientSettings, MemoryClient, ProviderLike
from memxfer.client.entries import ClientClosedError, OutboxFullError
from memxfer.client.operations import CapabilityGap, Operation, capability_gaps
from memxfer.client.outbox import Outbox
from memxfer.client.results import Handle, IngestProgress, IngestState, MemoryPage
from memxfer.client.swapping import SwappableClient
from memxfer.client.sync import SyncMemoryClient
from memxfer.client.turns import turn_id
from memxfer.spi import ContextPackage, Hit

__all__ = [
    "CapabilityGap",
    "ClientClosedError",
    "ClientSettings",
    "ContextPackage",
    "Handle",
    "Hit",
    "IngestProgress",
    "IngestState",
    "MemoryClient",
    "MemoryPage",
    "Operation",
    "Outbox",
    "OutboxFullError",
    "ProviderLike",
    "SwappableClient",
    "SyncMemoryClient",
    "capability_gaps",
    "turn_id",
]
