"""What the emulated Synap holds, in SQLite."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from memxfer.emulation import StateFile

from .documents import DOCUMENT_DECODER, Accepted, Document
from .extraction import Outcome, extract, text_of
from .ids import IdScheme
from .scoping import Owner

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
  seq INTEGER PRIMARY KEY, instance TEXT NOT NULL, document_id TEXT NOT NULL, live INTEGER NOT NULL,
  owner TEXT NOT NULL, origin TEXT NOT NULL, accepted_at REAL NOT NULL, memories INTEGER NOT NULL,
  outcome TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS documents_by_id ON documents (instance, document_id, live);
CREATE INDEX IF NOT EXISTS documents_by_owner ON documents (instance, owner, live, memories);
CREATE TABLE IF NOT EXISTS repeats (instance TEXT NOT NULL, document_id TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS repeats_by_id ON repeats (instance, document_id);
CREATE TABLE IF NOT EXISTS changes (
  seq INTEGER NOT NULL, position INTEGER NOT NULL, content TEXT, updated_at REAL, deleted_at REAL,
  PRIMARY KEY (seq, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS conversations (
  instance TEXT NOT NULL, conversation_id TEXT NOT NULL, external_id TEXT NOT NULL, owner TEXT NOT NULL,
  seq INTEGER, digest TEXT, at REAL NOT NULL, PRIMARY KEY (instance, conversation_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS turns (
  instance TEXT NOT NULL, conversation_id TEXT NOT NULL, position INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (instance, conversation_id, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deletions (
  instance TEXT NOT NULL, deletion_id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = "seq, instance, document_id, live, owner, origin, accepted_at, memories, outcome, body"

# CROSS JOIN keeps the order of the inner query, which walks the index
_PAGE = f"""
SELECT {", ".join(f"d.{name}" for name in _COLUMNS.split(", "))}, page.stored, page.arrived + (
  SELECT COUNT(*) FROM repeats r WHERE r.instance = page.instance AND r.document_id = page.document_id)
FROM (
  SELECT instance, document_id, SUM(live) AS stored, COUNT(*) AS arrived,
    MAX(seq) FILTER (WHERE live = 1) AS latest
  FROM documents GROUP BY instance, document_id HAVING SUM(live) > 0 LIMIT ? OFFSET ?) page
CROSS JOIN documents d ON d.seq = page.latest
"""  # noqa: S608 - constants


@dataclass(frozen=True)
class StoredDocument:
    """A document as it was accepted."""

    seq: int
    instance: str
    document_id: str
    is_live: bool
    owner: Owner
    origin: str
    accepted_at: float
    memories: int
    outcome: Outcome
    body: bytes

    def decoded(self) -> Document:
        """Return the document as it was sent."""
        return DOCUMENT_DECODER.decode(self.body)


@dataclass(frozen=True)
class Memory:
    """A memory of a stored document, with what was changed since."""

    memory_id: str
    source: StoredDocument
    position: int
    memory_type: str
    content: str
    updated_at: float | None


class SynapStore:
    """Documents, the memories derived from them, conversations and deletion records.

    Rows of replaced and deleted documents stay, as not live: job status outlives the data.

    Args:
        path: The state file; temporary when `None`.
        new_id: Makes random UUIDs.
    """

    def __init__(self, path: Path | None, *, new_id: Callable[[], uuid.UUID] = uuid.uuid4) -> None:
        self._new_id = new_id
        self.state = StateFile(path, schema=_SCHEMA)
        self.db = self.state.db
        self._load()

    def _load(self) -> None:
        self.db.execute("INSERT OR IGNORE INTO meta VALUES ('salt', ?)", (self._new_id().hex[:15],))
        (salt,) = self.db.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()
        (last,) = self.db.execute("SELECT COALESCE(MAX(seq), 0) FROM documents").fetchone()
        self.ids = IdScheme(salt)
        self.last_seq: int = last

    def clear(self) -> None:
        """Delete everything; ids given out before are unknown from now on."""
        self.state.clear()
        self._load()

    def live_seqs(self, instance: str, document_ids: Sequence[str]) -> dict[str, list[int]]:
        """Return the live copies of each document id that has any; transcripts have ids of their own."""
        marks = ",".join("?" * len(document_ids))
        rows = self.db.execute(
            "SELECT document_id, seq FROM documents "  # noqa: S608 - only question marks are put in
            f"WHERE instance = ? AND document_id IN ({marks}) AND live = 1 "
            "AND origin <> 'transcript' ORDER BY seq",
            (instance, *document_ids),
        )
        found: dict[str, list[int]] = {}
        for document_id, seq in rows:
            found.setdefault(document_id, []).append(seq)
        return found

    def add(
        self, instance: str, at: float, new: Sequence[tuple[int, str, Accepted]], replaced: Iterable[int]
    ) -> None:
        """Insert documents under their sequence numbers, retire replaced ones; in a transaction."""
        gone = set(replaced)
        self.db.executemany(
            f"INSERT INTO documents ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
            [
                (
                    seq,
                    instance,
                    key,
                    seq not in gone,
                    doc.owner.key,
                    doc.origin,
                    at,
                    doc.memories,
                    doc.outcome,
                    doc.body,
                )
                for seq, key, doc in new
            ],
        )
        self.retire(gone)

    def retire(self, seqs: Iterable[int]) -> None:
        """Make documents not live, and their memories with them."""
        self.db.executemany("UPDATE documents SET live = 0 WHERE seq = ?", [(seq,) for seq in seqs])

    def note_repeats(self, instance: str, document_ids: Iterable[str]) -> None:
        """Count documents that arrived again and were not stored."""
        self.db.executemany("INSERT INTO repeats VALUES (?, ?)", [(instance, one) for one in document_ids])

    def number(self, name: str) -> float:
        """Return a named counter of the state file."""
        row = self.db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return float(row[0]) if row else 0.0

    def add_to(self, name: str, amount: float) -> None:
        """Raise a named counter."""
        self.db.execute(
            "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + ?2",
            (name, amount),
        )

    def document(self, instance: str, seq: int) -> StoredDocument | None:
        """Return one document, live or not."""
        return next(self._documents("WHERE seq = ? AND instance = ?", (seq, instance)), None)

    def owned(self, instance: str, owner: Owner) -> Iterator[StoredDocument]:
        """Return the live documents of exactly this owner, in order of arrival."""
        return self._documents(
            "WHERE instance = ? AND owner = ? AND live = 1 ORDER BY seq", (instance, owner.key)
        )

    def owned_by_customer(self, instance: str, customer_id: str) -> Iterator[StoredDocument]:
        """Return the live documents of a customer and all its users."""
        found = self._documents("WHERE instance = ? AND live = 1 ORDER BY seq", (instance,))
        return (document for document in found if document.owner.customer_id == customer_id)

    def page(self, offset: int, limit: int) -> Iterator[tuple[StoredDocument, int, int]]:
        """Return distinct live documents by id: the latest copy, times stored, times received."""
        rows = self.db.execute(_PAGE, (limit, offset))
        return ((_document(row[:-2]), row[-2], row[-1]) for row in rows)

    def distinct(self) -> tuple[int, int]:
        """Return how many distinct documents are live, and how many of them more than once."""
        found = self.db.execute(
            "SELECT COUNT(*), COALESCE(SUM(stored > 1), 0) FROM (SELECT SUM(live) AS stored FROM documents "
            "GROUP BY instance, document_id HAVING SUM(live) > 0)"
        )
        return cast("tuple[int, int]", found.fetchone())

    def counts(self) -> dict[str, int]:
        """Return totals; from indexes alone, whatever the number of documents."""
        distinct, twice = self.distinct()
        rows, documents, memories = self.db.execute(
            "SELECT COUNT(*), COALESCE(SUM(live), 0), COALESCE(SUM(live * memories), 0) "
            "FROM documents INDEXED BY documents_by_owner"
        ).fetchone()
        (deleted,) = self.db.execute(
            "SELECT COUNT(*) FROM changes JOIN documents USING (seq) "
            "WHERE live = 1 AND deleted_at IS NOT NULL"
        ).fetchone()
        return {
            "documents": documents,
            "distinct_ids": distinct,
            "stored_twice": twice,
            "memories": memories - deleted,
            "received": rows + self._count("repeats"),
            "conversations": self._count("conversations"),
        }

    def memories(self, document: StoredDocument) -> list[Memory]:
        """Return a document's memories as they are now; none for one that is not live."""
        if not document.is_live or not document.memories:
            return []
        extracts = extract(text_of(document.decoded().document), document.memories)
        changed = self._changes(document.seq)
        return [
            self._memory(document, position, one.memory_type, one.content, changed.get(position))
            for position, one in enumerate(extracts)
            if position not in changed or changed[position][2] is None
        ]

    def memory(self, instance: str, memory_id: str) -> Memory | None:
        """Return one memory, or `None` when it never was or is deleted."""
        place = self.ids.place_of_memory(memory_id)
        document = self.document(instance, place[0]) if place else None
        if not place or not document:
            return None
        return next((one for one in self.memories(document) if one.position == place[1]), None)

    def memory_ids(self, document: StoredDocument) -> list[str]:
        """Return the ids that processing gave a document's memories, deleted or not."""
        return [self.ids.memory(document.seq, position) for position in range(document.memories)]

    def change(self, memory: Memory, content: str, at: float) -> None:
        """Replace a memory's content."""
        self.db.execute(
            "INSERT INTO changes VALUES (?, ?, ?, ?, NULL) ON CONFLICT DO UPDATE "
            "SET content = excluded.content, updated_at = excluded.updated_at",
            (memory.source.seq, memory.position, content, at),
        )

    def delete(self, memory: Memory, at: float) -> None:
        """Delete a memory; its document stays."""
        self.db.execute(
            "INSERT INTO changes VALUES (?, ?, NULL, NULL, ?) ON CONFLICT DO UPDATE "
            "SET deleted_at = excluded.deleted_at",
            (memory.source.seq, memory.position, at),
        )

    def close(self) -> None:
        """Close the state file."""
        self.state.close()

    def _changes(self, seq: int) -> dict[int, tuple[Any, ...]]:
        rows = self.db.execute(
            "SELECT position, content, updated_at, deleted_at FROM changes WHERE seq = ?", (seq,)
        )
        return {row[0]: row[1:] for row in rows}

    def _memory(
        self,
        document: StoredDocument,
        position: int,
        memory_type: str,
        content: str,
        change: tuple[Any, ...] | None,
    ) -> Memory:
        edited, updated_at = change[:2] if change else (None, None)
        memory_id = self.ids.memory(document.seq, position)
        return Memory(memory_id, document, position, memory_type, edited or content, updated_at)

    def _documents(self, where: str, values: tuple[Any, ...]) -> Iterator[StoredDocument]:
        cursor = self.db.execute(f"SELECT {_COLUMNS} FROM documents {where}", values)  # noqa: S608 - constants
        return map(_document, cursor)

    def _count(self, table: str) -> int:
        (count,) = self.db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()  # noqa: S608 - a constant
        return cast("int", count)


def _document(row: sqlite3.Row | tuple[Any, ...]) -> StoredDocument:
    seq, instance, key, live, owner, origin, at, memories, outcome, body = row
    return StoredDocument(
        seq, instance, key, bool(live), Owner.from_key(owner), origin, at, memories, outcome, body
    )
