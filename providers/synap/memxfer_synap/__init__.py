"""Synap (Maximem) as a target: documents in, through the vendor's SDK or over plain HTTP."""

from memxfer_synap.config import SynapConfig
from memxfer_synap.provider import SynapProvider

__all__ = ["SynapConfig", "SynapProvider"]
