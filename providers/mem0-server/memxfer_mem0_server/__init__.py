"""A self-hosted Mem0 server (its REST API) as a source."""

from memxfer_mem0_server.config import Mem0ServerConfig
from memxfer_mem0_server.provider import Mem0ServerProvider

__all__ = ["Mem0ServerConfig", "Mem0ServerProvider"]
