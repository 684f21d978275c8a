"""The Mem0 Platform for memxfer: the hosted service, through the vendor's own client."""

from memxfer_mem0_platform.config import Mem0PlatformConfig
from memxfer_mem0_platform.provider import Mem0PlatformProvider

__all__ = ["Mem0PlatformConfig", "Mem0PlatformProvider"]
