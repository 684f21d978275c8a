"""Databases that Graphiti keeps its graph in, behind one face."""

from memxfer_graphiti.engines.base import TABLES, Changes, Engine, Listing, Place
from memxfer_graphiti.engines.opening import open_engine

__all__ = ["TABLES", "Changes", "Engine", "Listing", "Place", "open_engine"]
