"""Ids that say where the thing is, so that 200,000 documents need no table of ids."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

_INGESTION = "8"
_MEMORY = "9"
_FAILED = "a"
MAX_MEMORIES = 0xFFF


@dataclass(frozen=True)
class IdScheme:
    """Makes UUIDs out of a store's random salt, a document's sequence number and a memory's index.

    They are deterministic for a document, so memories need not exist before somebody asks.

    Args:
        salt: 15 hex digits, new with every reset, so that ids of a past life are unknown.
    """

    salt: str

    def ingestion(self, seq: int) -> str:
        """Return the ingestion id of document `seq`."""
        return self._make(_INGESTION, 0, seq)

    def memory(self, seq: int, index: int) -> str:
        """Return the id of the `index`-th memory of document `seq`."""
        return self._make(_MEMORY, index, seq)

    def failed(self, number: int) -> str:
        """Return an ingestion id for a refused row; no status is kept for it."""
        return self._make(_FAILED, 0, number)

    def seq_of_ingestion(self, value: str) -> int | None:
        """Return the sequence number in an ingestion id, or `None` for any other id."""
        found = self._read(value)
        return found[2] if found and found[0] == _INGESTION else None

    def place_of_memory(self, value: str) -> tuple[int, int] | None:
        """Return sequence number and index of a memory id, or `None` for any other id."""
        found = self._read(value)
        return (found[2], found[1]) if found and found[0] == _MEMORY else None

    def _make(self, kind: str, index: int, seq: int) -> str:
        salt = self.salt
        return f"{salt[:8]}-{salt[8:12]}-4{salt[12:15]}-{kind}{index:03x}-{seq:012x}"

    def _read(self, value: str) -> tuple[str, int, int] | None:
        try:
            text = str(uuid.UUID(value))
        except ValueError:
            return None
        if text[:18] != self._make(_INGESTION, 0, 0)[:18]:
            return None
        return text[19], int(text[20:23], 16), int(text[24:], 16)
