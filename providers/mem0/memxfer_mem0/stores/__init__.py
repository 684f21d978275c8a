"""The vector stores that hold Mem0's rows: a cursor and a write for each."""

from memxfer_mem0.stores.base import Access, Row, VectorStore
from memxfer_mem0.stores.opening import open_store

__all__ = ["Access", "Row", "VectorStore", "open_store"]
