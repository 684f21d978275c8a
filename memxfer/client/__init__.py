"""Memory for apps while they run: one client over every provider, and another provider without a restart."""

from memxfer.client.client import ClientSettings, MemoryClient, ProviderLike
from memxfer.client.entries import OutboxFullError
from memxfer.client.inputs import turn_id
from memxfer.client.operations import CapabilityGap, Operation, capability_gaps
from memxfer.client.outbox import Outbox
from memxfer.client.results import Handle, IngestProgress, IngestState, MemoryPage
from memxfer.client.swapping import SwappableClient
from memxfer.client.sync import SyncMemoryClient
from memxfer.spi import ContextPackage, Hit

__all__ = [
    "CapabilityGap",
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
