"""Remembering what was seen, in bounded memory, however much it is."""

from __future__ import annotations

import sqlite3

import xxhash

from memxfer.errors import LedgerError

__all__ = ["Marks"]

_IN_MEMORY = 16_384
_CACHE_KIB = 1_024


class Marks:
    """A set of texts or bytes that grows without a bound, while its memory does not.

    It keeps a digest of 16 bytes of each. The first `most` are in memory; all that come after are in
    a temporary file of SQLite, which has no name and is gone with the process. Membership is exact but for
    two with one digest (xxh3, 128 bits).

    Args:
        most: Digests in memory; about 100 bytes each.
    """

    def __init__(self, most: int = _IN_MEMORY) -> None:
        self._most = most
        self._first: set[bytes] = set()
        self._rest: sqlite3.Connection | None = None

    def add(self, item: str | bytes) -> bool:
        """Remember `item`; return whether it is new.

        Raises:
            LedgerError: The temporary folder is full or cannot be written.
        """
        data = item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item
        digest = xxhash.xxh3_128_digest(data)
        if digest in self._first:
            return False
        if len(self._first) < self._most:
            self._first.add(digest)
            return True
        try:
            self._rest = self._rest or _temporary()
            return self._rest.execute("INSERT OR IGNORE INTO mark VALUES (?)", (digest,)).rowcount == 1
        except sqlite3.Error as error:
            raise LedgerError(
                f"what was listed cannot be remembered in the temporary folder ({error}); free some space "
                "there or set TMPDIR to another folder, then resume the job"
            ) from error

    def clear(self) -> None:
        """Forget everything and give the file back."""
        self._first.clear()
        if self._rest is not None:
            self._rest.close()
            self._rest = None


def _temporary() -> sqlite3.Connection:
    connection = sqlite3.connect("", isolation_level=None)
    connection.executescript(
        f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE_KIB}; "
        "CREATE TABLE mark (digest BLOB PRIMARY KEY) WITHOUT ROWID; BEGIN;"
    )
    return connection
