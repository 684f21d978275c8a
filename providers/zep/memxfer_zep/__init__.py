"""Zep Cloud (API v4) as a source: facts, episodes, messages or summaries, through the vendor's SDK."""

from memxfer_zep.config import ZepConfig
from memxfer_zep.provider import ZepProvider

__all__ = ["ZepConfig", "ZepProvider"]
