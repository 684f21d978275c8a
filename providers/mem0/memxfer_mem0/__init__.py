"""Mem0 for memxfer: the open-source library over its own vector store and history database."""

from memxfer_mem0.config import Mem0OssConfig
from memxfer_mem0.provider import Mem0OssProvider

__all__ = ["Mem0OssConfig", "Mem0OssProvider"]
