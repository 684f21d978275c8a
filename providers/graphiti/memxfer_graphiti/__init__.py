"""Graphiti graphs, on Kuzu, FalkorDB or Neo4j, as source and target, without a model."""

from memxfer_graphiti.config import GraphitiConfig
from memxfer_graphiti.provider import GraphitiProvider

__all__ = ["GraphitiConfig", "GraphitiProvider"]
