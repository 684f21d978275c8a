"""Synap's wire: what is sent and answered, and two clients that do it, behind one port.

Their modules are imported when a connection opens: `sdk` costs a second and a half.
"""

from memxfer_synap.client.port import (
    BatchAnswer,
    ContextAnswer,
    ContextQuery,
    FoundMemory,
    Job,
    Row,
    SynapClient,
    SynapDocument,
    SynapTranscript,
    SynapTurn,
    TranscriptAnswer,
    WhoAmI,
)

__all__ = [
    "BatchAnswer",
    "ContextAnswer",
    "ContextQuery",
    "FoundMemory",
    "Job",
    "Row",
    "SynapClient",
    "SynapDocument",
    "SynapTranscript",
    "SynapTurn",
    "TranscriptAnswer",
    "WhoAmI",
]
