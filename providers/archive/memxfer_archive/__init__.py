"""The `archive` provider: memxfer's own archive folder as a source and a target."""

from memxfer_archive.config import ArchiveConfig
from memxfer_archive.provider import ArchiveProvider

__all__ = ["ArchiveConfig", "ArchiveProvider"]
