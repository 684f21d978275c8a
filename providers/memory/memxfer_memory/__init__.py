"""The `memory` provider: an in-process store that keeps everything; the reference for tests and authors."""

from memxfer_memory.client import IngestTask, MemoryStore, StoredRow
from memxfer_memory.config import MemoryConfig
from memxfer_memory.provider import MemoryReferenceProvider

__all__ = ["IngestTask", "MemoryConfig", "MemoryReferenceProvider", "MemoryStore", "StoredRow"]
