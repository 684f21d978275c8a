"""Registered conversations and their turns."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .scoping import Owner
from .store import SynapStore

_NAMESPACE = uuid.UUID("5f7c1a52-3a3e-5d0e-9a5c-2f1d8f6b7a10")


@dataclass(frozen=True)
class Conversation:
    """A conversation that Synap knows; `seq` is the document of its transcript, if one was ingested."""

    conversation_id: str
    external_id: str
    owner_key: str
    seq: int | None
    digest: str | None


def conversation_uuid(external_id: str) -> str:
    """Return the UUID that an id of any shape is known by."""
    try:
        return str(uuid.UUID(external_id))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, external_id))


class Conversations:
    """The conversations of a store."""

    def __init__(self, store: SynapStore) -> None:
        self._store = store

    def find(self, instance: str, conversation_id: str) -> Conversation | None:
        """Return a registered conversation."""
        row = self._store.db.execute(
            "SELECT conversation_id, external_id, owner, seq, digest FROM conversations "
            "WHERE instance = ? AND conversation_id = ?",
            (instance, conversation_id),
        ).fetchone()
        return Conversation(*row) if row else None

    def register(self, instance: str, conversation: Conversation, at: float) -> None:
        """Register a conversation, or attach a transcript to one known by its messages; in a transaction."""
        self._store.db.execute(
            "INSERT INTO conversations VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET seq = COALESCE(excluded.seq, seq), digest = COALESCE(excluded.digest, digest)",
            (
                instance,
                conversation.conversation_id,
                conversation.external_id,
                conversation.owner_key,
                conversation.seq,
                conversation.digest,
                at,
            ),
        )

    def append(self, instance: str, conversation_id: str, turns: Sequence[dict[str, Any]]) -> None:
        """Add turns after those there are; in a transaction."""
        last = self.count(instance, conversation_id)
        self._store.db.executemany(
            "INSERT INTO turns VALUES (?, ?, ?, ?)",
            [
                (instance, conversation_id, position, msgspec.json.encode(turn))
                for position, turn in enumerate(turns, last + 1)
            ],
        )

    def count(self, instance: str, conversation_id: str) -> int:
        """Return how many turns there are."""
        (count,) = self._store.db.execute(
            "SELECT COALESCE(MAX(position), 0) FROM turns WHERE instance = ? AND conversation_id = ?",
            (instance, conversation_id),
        ).fetchone()
        return int(count)

    def turns(self, instance: str, conversation_id: str, *, start: int, limit: int) -> list[dict[str, Any]]:
        """Return turns from position `start` (the first is 1), each with its `position`; -1: all of them."""
        rows = self._store.db.execute(
            "SELECT position, body FROM turns WHERE instance = ? AND conversation_id = ? AND position >= ? "
            "ORDER BY position LIMIT ?",
            (instance, conversation_id, start, limit),
        )
        return [{"position": position, **msgspec.json.decode(body)} for position, body in rows]

    def owned(self, instance: str, is_owner: Callable[[Owner], bool]) -> list[str]:
        """Return the ids of the conversations of chosen owners."""
        rows = self._store.db.execute(
            "SELECT conversation_id, owner FROM conversations WHERE instance = ?", (instance,)
        )
        return [conversation_id for conversation_id, owner in rows if is_owner(Owner.from_key(owner))]

    def drop(self, instance: str, conversation_id: str) -> None:
        """Forget a conversation and its turns; memories stay. In a transaction."""
        for table in ("turns", "conversations"):
            self._store.db.execute(
                f"DELETE FROM {table} WHERE instance = ? AND conversation_id = ?",  # noqa: S608 - constants
                (instance, conversation_id),
            )
